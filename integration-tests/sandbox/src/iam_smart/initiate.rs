//! Requests after the login: check, open a ticket, and let the phone do what it is told to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde_json::{Value, json};

use super::control::Count;
use super::rpc::{self, ID_LIMIT, Members, Refusal, text};
use super::tickets::{Kind, Ticket};
use super::{Approval, Client, Grant, Misbehaviour, Shared, crypto, phone, profile, query};

/// `POST /api/v1/account/auth/profile/initiateRequest`
pub(super) async fn profile(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let response = rpc::sealed(&shared, Count::Profile, (&headers, &body), |shared, client, request| {
        initiate(shared, client, request, Kind::Profile)
    })
    .await;
    held_back(&shared).await;
    response
}

/// `POST /api/v1/account/stepup/initiateRequest`. What else the call carries is not public, so any
/// further member is accepted.
pub(super) async fn step_up(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let response = rpc::sealed(&shared, Count::StepUp, (&headers, &body), |shared, client, request| {
        initiate(shared, client, request, Kind::StepUp)
    })
    .await;
    held_back(&shared).await;
    response
}

async fn held_back(shared: &Shared) {
    if shared.steering.misbehaviour() == Misbehaviour::ResultFirst {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn initiate(shared: &Arc<Shared>, client: &Client, request: &Members, kind: Kind) -> Result<Value, Refusal> {
    shared.steering.note_request(kind, request);
    let grant = granted(shared, client, request)?;
    let source = text(request, "source")?;
    if !query::is_source(source) {
        return Err(Refusal::new("D20007", "source is not known"));
    }
    let redirect_uri = text(request, "redirectURI")?;
    query::check_redirect(client, redirect_uri)?;
    let state = text(request, "state")?;
    query::check_state(state)?;
    let fields = match kind {
        Kind::Profile => profile_fields(&grant, request)?,
        Kind::StepUp => Vec::new(),
    };
    let ticket = Ticket {
        id: crypto::token()?,
        kind,
        client_id: grant.client_id,
        person: grant.person,
        business_id: business_id(client, request)?.to_owned(),
        state: state.to_owned(),
        open_id: text(request, "openID")?.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        fields,
        opened: Instant::now(),
        decided: false,
    };
    let id = ticket.id.clone();
    show_to_phone(shared, ticket, grant.hold);
    Ok(json!({ "authByQR": source == query::PC, "ticketID": id }))
}

/// The grant behind the access token, if it is this client's and about this person.
fn granted(shared: &Shared, client: &Client, request: &Members) -> Result<Grant, Refusal> {
    let grant = shared.access_tokens.get(text(request, "accessToken")?);
    let grant = grant.filter(|grant| grant.client_id == client.registered.client_id);
    let grant = grant.ok_or_else(|| Refusal::new("D20009", "accessToken is unknown or expired"))?;
    let open_id = shared.account(&grant.person).map(|(person, _)| client.open_id(person));
    if open_id.as_deref() != Some(text(request, "openID")?) {
        return Err(Refusal::new("D20010", "openID is not that of the access token"));
    }
    Ok(grant)
}

fn profile_fields(grant: &Grant, request: &Members) -> Result<Vec<String>, Refusal> {
    if !grant.scopes.iter().any(|scope| scope == "eidapi_profiles") {
        return Err(Refusal::new("D20015", "the login did not ask for eidapi_profiles"));
    }
    let asked = match request.get("profileFields") {
        None => return Err(Refusal::new("D20001", "profileFields is missing")),
        Some(Value::Array(asked)) if asked.is_empty() => {
            return Err(Refusal::new("D20002", "profileFields is empty"));
        }
        Some(Value::Array(asked)) => asked,
        Some(_) => return Err(Refusal::new("D20003", "profileFields must be an array")),
    };
    let mut fields: Vec<String> = Vec::new();
    for field in asked.iter().map(|field| field.as_str().unwrap_or_default()) {
        if !profile::FIELDS.contains(&field) {
            return Err(Refusal::new("D20003", format!("{field:?} is not a profile field")));
        }
        if fields.iter().any(|known| known == field) {
            return Err(Refusal::new("D20004", format!("{field} is repeated")));
        }
        fields.push(field.to_owned());
    }
    Ok(fields)
}

/// Uses up the business identifier, which is the last check, so that a refused call can be mended.
fn business_id<'a>(client: &Client, request: &'a Members) -> Result<&'a str, Refusal> {
    let id = text(request, "businessID")?;
    if !id.is_ascii() || id.len() > ID_LIMIT {
        return Err(Refusal::new("D20003", "businessID must be ASCII of at most 36 characters"));
    }
    if !client.sequence.claim_business_id(id) {
        return Err(Refusal::new("D20011", "duplicated businessID"));
    }
    Ok(id)
}

fn show_to_phone(shared: &Arc<Shared>, ticket: Ticket, hold: bool) {
    let plan = match shared.steering.plan() {
        Approval::Never => return,
        _ if hold => Approval::Manual,
        plan => plan,
    };
    let id = ticket.id.clone();
    shared.tickets.open(ticket);
    let later = |delay: Duration, approved: bool| {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            phone::settle(&shared, &id, approved).await;
        });
    };
    match plan {
        Approval::AtOnce => later(Duration::ZERO, true),
        Approval::After(delay) => later(delay, true),
        Approval::Refuse => later(Duration::ZERO, false),
        Approval::Manual | Approval::Never => {}
    }
}
