//! Results on their way to the client, the honest ones and the others.

use openssl::error::ErrorStack;
use serde_json::{Value, json};

use super::rpc::{self, Members, Refusal};
use super::tickets::{Kind, Ticket};
use super::{Client, Misbehaviour, Shared, control::Count, crypto, keys, profile};

/// Tells the client what the person decided.
pub(super) async fn deliver(shared: &Shared, ticket: &Ticket, approved: bool) {
    let Some(client) = shared.client(&ticket.client_id) else { return };
    let misbehaviour = shared.steering.misbehaviour();
    let Ok(body) = compose(shared, client, (ticket, approved), &misbehaviour) else { return };
    let url = &client.registered.result_callback;
    shared.steering.note_callback(url, &body);
    let times = if misbehaviour == Misbehaviour::DuplicateCallback { 2 } else { 1 };
    for _ in 0..times {
        shared.steering.count(Count::Callbacks);
        let status = post(shared, url, body.clone()).await;
        shared.steering.note_status(status);
    }
}

/// Tells the client once more what the person decided; nothing is kept for a replay.
pub(super) async fn again(shared: &Shared, business_id: &str, approved: bool) -> u16 {
    let Some(ticket) = shared.tickets.by_business_id(business_id) else { return 0 };
    let Some(client) = shared.client(&ticket.client_id) else { return 0 };
    let misbehaviour = shared.steering.misbehaviour();
    match compose(shared, client, (&ticket, approved), &misbehaviour) {
        Ok(body) => post(shared, &client.registered.result_callback, body).await,
        Err(_) => 0,
    }
}

/// Sends the client's own latest request back to it as a result.
pub(super) async fn reflect(shared: &Shared) -> u16 {
    let (Ok(request), Some(client)) =
        (serde_json::from_slice::<Value>(&shared.steering.last_sealed()), shared.clients.first())
    else {
        return 0;
    };
    let Ok(mut body) = rpc::envelope(rpc::SUCCESS, "SUCCESS") else { return 0 };
    body.insert("content".to_owned(), request.get("content").cloned().unwrap_or_default());
    post(shared, &client.registered.result_callback, json!(body).to_string()).await
}

/// Sends the latest callback once more.
pub(super) async fn replay(shared: &Shared) -> u16 {
    match shared.steering.last_callback() {
        Some((url, body)) => post(shared, &url, body).await,
        None => 0,
    }
}

/// Sends a result made by somebody who knows the client's public key and nothing secret.
pub(super) async fn forge(shared: &Shared, business_id: &str, state: &str) -> u16 {
    let ticket = shared.tickets.by_business_id(business_id);
    let client = match &ticket {
        Some(ticket) => shared.client(&ticket.client_id),
        None => shared.clients.first(),
    };
    let Some(client) = client else { return 0 };
    let content = forged_content(shared, ticket.as_ref(), business_id, state);
    let body = crypto::random().and_then(|key| sealed_body(shared, client, rpc::SUCCESS, (&key, &content)));
    match body {
        Ok(body) => post(shared, &client.registered.result_callback, body).await,
        Err(_) => 0,
    }
}

/// Everything right about the request, with the data of another person.
fn forged_content(shared: &Shared, ticket: Option<&Ticket>, business_id: &str, state: &str) -> Value {
    let concerned = ticket.map_or("", |ticket| ticket.person.as_str());
    let other = shared.accounts().find(|(person, _)| person.id != concerned);
    let wanted = profile::FIELDS.map(str::to_owned);
    let mut content = other.map(|(person, account)| profile::members(person, account, &wanted)).unwrap_or_default();
    content.insert("businessID".to_owned(), business_id.into());
    content.insert("state".to_owned(), state.into());
    let open_id = ticket.map_or_else(|| crypto::url_base64(&[0; 32]), |ticket| ticket.open_id.clone());
    content.insert("openID".to_owned(), open_id.into());
    Value::Object(content)
}

fn compose(
    shared: &Shared,
    client: &Client,
    (ticket, approved): (&Ticket, bool),
    misbehaviour: &Misbehaviour,
) -> Result<String, Refusal> {
    match misbehaviour {
        Misbehaviour::GarbageCallback => return Ok("<html>not a result</html>".to_owned()),
        Misbehaviour::ResultCode(code) => {
            return Ok(Value::Object(rpc::envelope(code, "refused on request")?).to_string());
        }
        _ => {}
    }
    let key = match misbehaviour {
        Misbehaviour::CallbackForeignCek => crypto::random()?,
        // A request outlives a short key; the client finds the new one with getKey.
        _ => keys::live(shared, client)?.key,
    };
    let code = match misbehaviour {
        Misbehaviour::SealedResultCode(code) => code,
        _ if approved => rpc::SUCCESS,
        _ => ticket.kind.rejected(),
    };
    let content = Value::Object(result(shared, ticket, approved, misbehaviour));
    Ok(sealed_body(shared, client, code, (&key, &content))?)
}

fn result(shared: &Shared, ticket: &Ticket, approved: bool, misbehaviour: &Misbehaviour) -> Members {
    let mut content = Members::new();
    if let (true, Kind::Profile, Some((person, account))) = (approved, ticket.kind, shared.account(&ticket.person)) {
        content = profile::members(person, account, &ticket.fields);
    }
    if *misbehaviour == Misbehaviour::WrongCheckDigit {
        profile::spoil_check_digit(&mut content);
    }
    if approved {
        content.insert("openID".to_owned(), ticket.open_id.clone().into());
    }
    let state = match misbehaviour {
        Misbehaviour::CallbackWrongState => "a-state-nobody-sent",
        _ => &ticket.state,
    };
    content.insert("businessID".to_owned(), ticket.business_id.clone().into());
    content.insert("state".to_owned(), state.into());
    content
}

fn sealed_body(
    shared: &Shared,
    client: &Client,
    code: &str,
    (key, content): (&crypto::Key, &Value),
) -> Result<String, ErrorStack> {
    let message = if code == rpc::SUCCESS { "SUCCESS" } else { "rejected by the person" };
    let mut body = rpc::envelope(code, message)?;
    body.insert("secretKey".to_owned(), keys::wrapped(shared, client, key)?.into());
    body.insert("content".to_owned(), rpc::encrypt(shared, key, content)?.into());
    Ok(json!(body).to_string())
}

async fn post(shared: &Shared, url: &str, body: String) -> u16 {
    shared.http.post_json(url, body).await.unwrap_or(0)
}
