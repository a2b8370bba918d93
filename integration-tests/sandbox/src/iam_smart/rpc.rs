//! What all calls have in common: who is calling, is it fresh, decrypt, work, encrypt the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, header};
use openssl::error::ErrorStack;
use serde_json::{Map, Value, json};

use super::control::Count;
use super::crypto::{self, IV, Key};
use super::sequence::Refused;
use super::{Client, Misbehaviour, Shared};
use crate::{entropy, web};

/// The code of success.
pub(super) const SUCCESS: &str = "D00000";

const HANG: Duration = Duration::from_secs(600);

/// Longest nonce and business identifier.
pub(super) const ID_LIMIT: usize = 36;

/// Smaller than any timestamp in milliseconds since 2001; catches clients that send seconds.
const MILLISECONDS: u64 = 1_000_000_000_000;

/// A return code other than success, and what a developer should read.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

impl From<ErrorStack> for Refusal {
    fn from(error: ErrorStack) -> Self {
        Self::new("D30003", error.to_string())
    }
}

/// A request as decrypted.
pub(super) type Members = Map<String, Value>;

/// What an endpoint does with an authentic call.
type Work = fn(&Arc<Shared>, &Client, &Members) -> Result<Value, Refusal>;

/// A call whose body and answer are encrypted.
pub(super) async fn sealed(
    shared: &Arc<Shared>,
    count: Count,
    (headers, body): (&HeaderMap, &[u8]),
    work: Work,
) -> Response {
    shared.steering.count(count);
    shared.steering.note_sealed(body);
    if let Some(response) = intercept(shared).await {
        return response;
    }
    if let (Misbehaviour::RequestCode(code), Count::Profile | Count::StepUp) = (shared.steering.misbehaviour(), count) {
        return respond(Err(Refusal::new(&code, "refused on request")));
    }
    let result = authenticate(shared, headers, body).and_then(|client| {
        let key = client.cek.live().ok_or_else(|| Refusal::new("D30002", "there is no live content key"))?.key;
        let answer = work(shared, client, &decrypt(&key, body)?)?;
        Ok(Some(Value::from(encrypt_answer(shared, &key, &answer)?)))
    });
    respond(result)
}

/// A call without a body, whose answer, if any, is not encrypted.
pub(super) async fn plain(
    shared: &Shared,
    count: Count,
    (headers, body): (&HeaderMap, &[u8]),
    work: fn(&Shared, &Client) -> Result<Option<Value>, Refusal>,
) -> Response {
    shared.steering.count(count);
    if let Some(response) = intercept(shared).await {
        return response;
    }
    let result = authenticate(shared, headers, body).and_then(|client| {
        if !body.is_empty() {
            return Err(Refusal::new("D20003", "the body of this call must be empty"));
        }
        work(shared, client)
    });
    respond(result)
}

/// Does what a misbehaviour wants instead of, or before, answering.
async fn intercept(shared: &Shared) -> Option<Response> {
    match shared.steering.misbehaviour_of_call() {
        Misbehaviour::Slow(delay) => tokio::time::sleep(delay).await,
        Misbehaviour::Hang => tokio::time::sleep(HANG).await,
        Misbehaviour::Garbage => {
            return Some(web::respond(StatusCode::OK, "application/json", "<html>maintenance</html>"));
        }
        Misbehaviour::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Some(web::respond(status, "text/plain; charset=utf-8", String::new()));
        }
        Misbehaviour::Code(code) | Misbehaviour::CodeOnce(code) => {
            return Some(respond(Err(Refusal::new(&code, "refused on request"))));
        }
        Misbehaviour::StaleOnce => return Some(respond(Err(stale()))),
        _ => {}
    }
    None
}

fn stale() -> Refusal {
    Refusal::new("D20003", "timestamp is smaller than one used before")
}

/// The calling client, whose timestamp and nonce are used up.
fn authenticate<'a>(shared: &'a Shared, headers: &HeaderMap, body: &[u8]) -> Result<&'a Client, Refusal> {
    let content_type = header(headers, header::CONTENT_TYPE.as_str())?;
    if content_type.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Refusal::new("D20003", "the content type must be application/json"));
    }
    let client_id = header(headers, "clientID")?;
    let client = shared.client(client_id).ok_or_else(|| Refusal::new("D20003", "clientID is not known"))?;
    if header(headers, "signatureMethod")? != crypto::METHOD {
        return Err(Refusal::new("D20005", "signatureMethod must be HmacSHA256"));
    }
    let (timestamp, nonce) = (header(headers, "timestamp")?, header(headers, "nonce")?);
    let head = format!("{client_id}{}{timestamp}{nonce}", crypto::METHOD);
    let expected = crypto::sign(&client.registered.client_secret, &head, body)?;
    // The header is compared as it must be written: base64 that is not URL-encoded is wrong.
    if !entropy::same_secret(header(headers, "signature")?, &expected) {
        shared.steering.count(Count::BadSignatures);
        return Err(Refusal::new("D20006", "the signature is wrong or not URL-encoded"));
    }
    admit(shared, client, timestamp, nonce)?;
    Ok(client)
}

fn admit(shared: &Shared, client: &Client, timestamp: &str, nonce: &str) -> Result<(), Refusal> {
    let digits = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let number = timestamp.parse().ok().filter(|number| digits && *number >= MILLISECONDS);
    let number = number.ok_or_else(|| Refusal::new("D20003", "timestamp must be milliseconds"))?;
    if !nonce.is_ascii() || nonce.len() > ID_LIMIT {
        return Err(Refusal::new("D20003", "nonce must be ASCII of at most 36 characters"));
    }
    match client.sequence.admit(number, nonce) {
        Ok(()) => Ok(()),
        Err(Refused::Stale) => {
            shared.steering.count(Count::StaleTimestamps);
            Err(stale())
        }
        Err(Refused::Repeated) => Err(Refusal::new("D20004", "nonce was used before")),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| Refusal::new("D20001", format!("header {name} is missing")))?;
    if values.next().is_some() {
        return Err(Refusal::new("D20004", format!("header {name} is repeated")));
    }
    match value.to_str() {
        Ok("") => Err(Refusal::new("D20002", format!("header {name} is empty"))),
        Ok(text) => Ok(text),
        Err(_) => Err(Refusal::new("D20003", format!("header {name} is not ASCII"))),
    }
}

fn decrypt(key: &Key, body: &[u8]) -> Result<Members, Refusal> {
    let body: Members =
        serde_json::from_slice(body).map_err(|_| Refusal::new("D20003", "the body must be a JSON object"))?;
    let frame = STANDARD.decode(text(&body, "content")?).ok().and_then(|frame| crypto::open(key, &frame));
    let plain = frame.ok_or_else(|| Refusal::new("D30004", "content cannot be decrypted under the live key"))?;
    serde_json::from_slice(&plain).map_err(|_| Refusal::new("D20003", "content must be a JSON object"))
}

/// A member that must be a string with something in it.
pub(super) fn text<'a>(members: &'a Members, name: &str) -> Result<&'a str, Refusal> {
    match members.get(name) {
        None | Some(Value::Null) => Err(Refusal::new("D20001", format!("{name} is missing"))),
        Some(Value::String(text)) if text.is_empty() => Err(Refusal::new("D20002", format!("{name} is empty"))),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Refusal::new("D20003", format!("{name} must be a string"))),
    }
}

fn encrypt_answer(shared: &Shared, key: &Key, answer: &Value) -> Result<String, ErrorStack> {
    match shared.steering.misbehaviour() {
        Misbehaviour::ForeignCek => encrypt(shared, &crypto::random()?, answer),
        _ => encrypt(shared, key, answer),
    }
}

/// `content` in base64, or what the misbehaviour makes of it.
pub(super) fn encrypt(shared: &Shared, key: &Key, content: &Value) -> Result<String, ErrorStack> {
    let plain = content.to_string();
    let misbehaviour = shared.steering.misbehaviour();
    let mut frame = if misbehaviour == Misbehaviour::WrongIvLength {
        crypto::seal(key, &crypto::random::<16>()?, plain.as_bytes())?
    } else {
        crypto::seal(key, &crypto::random::<IV>()?, plain.as_bytes())?
    };
    // The first byte of the ciphertext comes after the length and the vector.
    if let (Misbehaviour::TamperedFrame, Some(byte)) = (misbehaviour, frame.get_mut(4 + IV)) {
        *byte ^= 1;
    }
    Ok(STANDARD.encode(frame))
}

/// The members that every answer and every result begins with.
pub(super) fn envelope(code: &str, message: &str) -> Result<Members, ErrorStack> {
    let mut members = Members::new();
    members.insert("txID".to_owned(), crypto::token()?.into());
    members.insert("code".to_owned(), code.into());
    members.insert("message".to_owned(), message.into());
    Ok(members)
}

fn respond(result: Result<Option<Value>, Refusal>) -> Response {
    let (code, message, content) = match result {
        Ok(content) => (SUCCESS.to_owned(), "SUCCESS".to_owned(), content),
        Err(refusal) => (refusal.code, refusal.message, None),
    };
    let Ok(mut members) = envelope(&code, &message) else {
        return web::json(StatusCode::INTERNAL_SERVER_ERROR, &json!({}));
    };
    if let Some(content) = content {
        members.insert("content".to_owned(), content);
    }
    web::json(StatusCode::OK, &Value::Object(members))
}
