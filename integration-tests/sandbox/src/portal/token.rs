//! The portal's calls to the issuer's endpoints.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode, header};
use josekit::jwk::Jwk;
use serde_json::{Map, Value, json};
use url::form_urlencoded::byte_serialize;

use super::discovery::Metadata;
use super::http::Answer;
use super::{Failure, PortalAuth, Shared, Transaction};
use crate::clock::now_unix;
use crate::{SandboxError, entropy, jose, web};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_SECONDS: u64 = 60;

/// Exchanges a code; the answer is the token endpoint's whole JSON object.
pub(super) async fn exchange(
    shared: &Shared,
    metadata: &Metadata,
    transaction: &Transaction,
    code: &str,
) -> Result<Map<String, Value>, Failure> {
    let redirect_uri = shared.redirect_uri();
    let resource = shared.config.services.get(transaction.service).map(|service| service.resource.as_str());
    let form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", &transaction.verifier),
        ("resource", resource.unwrap_or_default()),
    ];
    post(shared, "token", &metadata.token_endpoint, form).await
}

/// Posts a form to the issuer, proving whose it is; the whole JSON object of a good answer.
pub(super) async fn post(
    shared: &Shared,
    stage: &'static str,
    url: &str,
    mut form: Vec<(&str, &str)>,
) -> Result<Map<String, Value>, Failure> {
    let mut headers = vec![
        (header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()),
        (header::ACCEPT, "application/json".to_owned()),
    ];
    let assertion;
    match &shared.config.client_auth {
        PortalAuth::SecretBasic(secret) => {
            headers.push((header::AUTHORIZATION, basic(&shared.config.client_id, secret)));
        }
        PortalAuth::PrivateKeyJwt { jwk } => {
            assertion =
                sign_assertion(shared, jwk).map_err(|error| Failure::new(stage, "no_assertion", error.to_string()))?;
            form.push(("client_id", &shared.config.client_id));
            form.push(("client_assertion_type", ASSERTION_TYPE));
            form.push(("client_assertion", &assertion));
        }
    }
    let answer = shared.config.http.send(Method::POST, url, &headers, web::encode(&form)).await?;
    read_object(stage, &answer)
}

/// Credentials for the `Authorization` header, form-encoded first (RFC 6749, section 2.3.1).
fn basic(client_id: &str, secret: &str) -> String {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(client_id), encode(secret))))
}

fn sign_assertion(shared: &Shared, jwk: &Value) -> Result<String, SandboxError> {
    let key = Jwk::from_map(jwk.as_object().cloned().unwrap_or_default())?;
    let mut header = json!({ "alg": "ES256", "typ": "JWT" });
    if let (Some(kid), Some(members)) = (jwk.get("kid"), header.as_object_mut()) {
        members.insert("kid".to_owned(), kid.clone());
    }
    let now = now_unix();
    let claims = json!({
        "iss": shared.config.client_id, "sub": shared.config.client_id, "aud": shared.config.issuer,
        "jti": entropy::token()?, "iat": now, "exp": now + ASSERTION_SECONDS,
    });
    jose::sign_es256(&key, &header, &claims)
}

/// Asks userinfo about the person behind `access_token`.
pub(super) async fn userinfo(shared: &Shared, url: &str, access_token: &str) -> Result<Map<String, Value>, Failure> {
    let headers =
        [(header::AUTHORIZATION, format!("Bearer {access_token}")), (header::ACCEPT, "application/json".to_owned())];
    let answer = shared.config.http.send(Method::GET, url, &headers, String::new()).await?;
    read_object("userinfo", &answer)
}

/// The JSON object of a good answer, or the OAuth error of a bad one.
fn read_object(stage: &'static str, answer: &Answer) -> Result<Map<String, Value>, Failure> {
    let object: Option<Map<String, Value>> = serde_json::from_slice(&answer.body).ok();
    match (answer.status, object) {
        (StatusCode::OK, Some(object)) => Ok(object),
        (status, Some(object)) => {
            let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let error = if text("error").is_empty() { status.to_string() } else { text("error") };
            Err(Failure::new(stage, error, text("error_description")))
        }
        (status, None) => Err(Failure::new(stage, "bad_answer", format!("status {status}, not a JSON object"))),
    }
}
