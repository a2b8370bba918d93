//! `/register` (RFC 7591, OpenID Connect Dynamic Client Registration 1.0) and `/register/{client}` (RFC 7592): portals
//! register themselves under a document of the bundle that lets them, and look after their registration.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_core::audit::RegistrationChange;
use gateway_core::client::SubjectType;
use gateway_core::credential::SecretDigest;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::ClientId;
use gateway_core::secret::Secret;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};

use super::sector::lists_all;
use super::token::internal;
use crate::admission::Admission;
use crate::app::{Active, App};
use crate::catalog::Registered;
use crate::http::{reply, request};
use crate::roll::{Record, RollError};
use crate::server::FOLLOW;
use crate::store::StoreError;

/// How often an entry is tried again when others came first.
const TRIES: usize = 16;

/// What only the server says of a client (RFC 7592 section 2.2).
const OURS: [&str; 4] =
    ["registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"];

/// What is told to its client once, and kept as digests only.
#[derive(Default)]
struct Told {
    secret: Option<Secret<String>>,
    access_token: Option<Secret<String>>,
}

impl Told {
    /// What somebody who brought their token is told again (RFC 7592 section 3).
    fn again(parts: &Parts) -> Self {
        Self { secret: None, access_token: bearer(parts).map(|token| Secret::new(token.to_owned())) }
    }
}

/// `POST /register`.
pub async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let metadata = read(&parts, body).await;
    let answer = async {
        let token = bearer(&parts).ok_or_else(no_token)?;
        register(&app, token, metadata?).await
    };
    answered(answer.await, StatusCode::CREATED)
}

/// `GET /register/{client}`.
pub async fn get(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let active = app.bundle();
    let found =
        own(&active, &id, &parts).map(|(id, record, _)| information(&app, &active, &id, record, &Told::again(&parts)));
    answered(found, StatusCode::OK)
}

/// `PUT /register/{client}`.
pub async fn put(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let metadata = read(&parts, body).await;
    let answer = async { update(&app, &id, &parts, metadata?).await };
    answered(answer.await, StatusCode::OK)
}

/// `DELETE /register/{client}`.
pub async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let removed = async {
        not_too_often(&app, &own(&app.bundle(), &id, &parts)?.0)?;
        let gone = |active: &Active| own(active, &id, &parts).map(|(id, ..)| (id, None));
        enter(&app, (RegistrationChange::Removed, ""), gone).await
    };
    match removed.await {
        Ok(_) => reply::empty(StatusCode::NO_CONTENT),
        Err(error) => answered(Err(error), StatusCode::OK),
    }
}

pub(super) fn answered(answer: Result<Value, OAuthError>, status: StatusCode) -> Response {
    match answer {
        Ok(value) => reply::json(status, &value),
        Err(error) if error.code == OAuthCode::InvalidToken => {
            reply::bearer_error(StatusCode::UNAUTHORIZED, Some(&error))
        }
        Err(error) => reply::refused("registration", &error),
    }
}

/// One answer for a token that is missing, unknown, or another client's, and for a client that is gone (RFC 7592 section 2).
pub(super) fn no_token() -> OAuthError {
    OAuthError::new(OAuthCode::InvalidToken, "a token for this is needed")
}

fn invalid(why: impl Into<String>) -> OAuthError {
    OAuthError::new(OAuthCode::InvalidClientMetadata, why.into())
}

async fn read(parts: &Parts, body: Body) -> Result<Map<String, Value>, OAuthError> {
    let kind = request::header(parts, CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
    let bytes = request::bytes(body).await?;
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        return Err(invalid("the content type must be application/json"));
    }
    serde_json::from_slice(&bytes).map_err(|_| invalid("the body must be a JSON object"))
}

fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, token) = request::header(parts, AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

async fn register(app: &App, token: &str, metadata: Map<String, Value>) -> Result<Value, OAuthError> {
    let mut told = Told { access_token: Some(token_of(app)?), ..Told::default() };
    let (active, now) = (app.bundle(), app.now());
    let admission = admission(app, &active, token)?;
    let fresh = app.entropy.bytes().map_err(|error| internal(&error))?;
    let id = ClientId::registering_itself(&admission.template.id, fresh).map_err(|error| internal(&error))?;
    let metadata = admission.vouched(&metadata, Some(now))?;
    let metadata = admission.normalized(&metadata)?;
    if uses_secret(&metadata) {
        told.secret = Some(token_of(app)?);
    }
    let digest = |secret: &Option<Secret<String>>| secret.as_ref().map(|secret| SecretDigest::of(secret.expose()));
    let client = admission.client(&metadata, &id, digest(&told.secret).as_ref())?;
    // What is looked at may lie elsewhere.
    not_too_often(app, &admission.template.id)?;
    check(app, client).await?;
    let access = digest(&told.access_token);
    let record = Record {
        metadata,
        secret: digest(&told.secret).map(|digest| digest.as_str().to_owned()),
        registration_access_token: access.map(|digest| digest.as_str().to_owned()).unwrap_or_default(),
        issued_at: now,
        changed_at: now,
        live: false,
        vouched: None,
    };
    enter(app, (RegistrationChange::Registered, ""), |active| {
        let admission = self::admission(app, active, token)?;
        if active.registered_under(admission, app.now()) >= admission.terms.most {
            return Err(OAuthError::new(OAuthCode::AccessDenied, "as many are registered as may be"));
        }
        Ok((id.clone(), Some(record.clone())))
    })
    .await?;
    tracing::info!(client = %id, "registered");
    Ok(information(app, &app.bundle(), &id, &record, &told))
}

async fn update(app: &App, id: &str, parts: &Parts, metadata: Map<String, Value>) -> Result<Value, OAuthError> {
    let (active, now, mut told) = (app.bundle(), app.now(), Told::again(parts));
    let (id, before, admission) = own(&active, id, parts)?;
    if let Some(ours) = OURS.iter().find(|name| metadata.contains_key(**name)) {
        return Err(invalid(format!("{ours}: is not for the client to say")));
    }
    if metadata.get("client_id").and_then(Value::as_str) != Some(id.as_str()) {
        return Err(invalid("client_id: must be the client's own"));
    }
    let known = before.secret.as_ref().and_then(|digest| digest.parse::<SecretDigest>().ok());
    let said = metadata.get("client_secret").map(|secret| secret.as_str().unwrap_or_default());
    if said.is_some_and(|said| !known.as_ref().is_some_and(|known| known.matches(said))) {
        return Err(invalid("client_secret: must be the client's own; another cannot be chosen"));
    }
    let metadata = admission.normalized(&admission.vouched(&metadata, Some(now))?)?;
    let secret = match (uses_secret(&metadata), known) {
        (false, _) => None,
        (true, Some(known)) => Some(known),
        (true, None) => {
            let secret = told.secret.insert(token_of(app)?);
            Some(SecretDigest::of(secret.expose()))
        }
    };
    let client = admission.client(&metadata, &id, secret.as_ref())?;
    not_too_often(app, &id)?;
    check(app, client).await?;
    let secret = secret.map(|digest| digest.as_str().to_owned());
    let same = metadata == before.metadata;
    if same && secret == before.secret {
        return Ok(information(app, &active, &id, before, &told));
    }
    let record = Record {
        secret,
        changed_at: if same { before.changed_at } else { now },
        // What was checked is not what it is now.
        live: before.live && same,
        metadata,
        ..before.clone()
    };
    enter(app, (RegistrationChange::Updated, ""), |active| {
        own(active, id.as_str(), parts).map(|(id, ..)| (id, Some(record.clone())))
    })
    .await?;
    Ok(information(app, &app.bundle(), &id, &record, &told))
}

/// Each change is a durable record, and every node takes it up.
fn not_too_often(app: &App, client: &ClientId) -> Result<(), OAuthError> {
    if app.limits.registrations.allows(client.as_str(), app.now()) {
        return Ok(());
    }
    Err(OAuthError::new(OAuthCode::TemporarilyUnavailable, "too many changes: try again in a minute"))
}

fn token_of(app: &App) -> Result<Secret<String>, OAuthError> {
    app.entropy.token().map_err(|error| internal(&error))
}

fn uses_secret(metadata: &Map<String, Value>) -> bool {
    let method = metadata.get("token_endpoint_auth_method").and_then(Value::as_str);
    matches!(method, Some("client_secret_basic" | "client_secret_post"))
}

/// The document that an initial access token lets register under, today.
fn admission<'a>(app: &App, active: &'a Active, token: &str) -> Result<&'a Admission, OAuthError> {
    let lets = |admission: &&Admission| {
        let terms = &admission.terms;
        let known = terms.initial_access_tokens.iter().any(|digest| digest.matches(token));
        known && terms.until.is_none_or(|until| app.now().date() <= until)
    };
    active.catalog.admissions().find(lets).ok_or_else(no_token)
}

/// A client's own record, for whoever brings its registration access token.
pub(super) fn own<'a>(
    active: &'a Active,
    id: &str,
    parts: &Parts,
) -> Result<(ClientId, &'a Record, &'a Admission), OAuthError> {
    let id: ClientId = id.parse().map_err(|_| no_token())?;
    let token = bearer(parts).ok_or_else(no_token)?;
    let (record, admission) = active.joined(&id).ok_or_else(no_token)?;
    let digest: SecretDigest = record.registration_access_token.parse().map_err(|_| no_token())?;
    if digest.matches(token) { Ok((id, record, admission)) } else { Err(no_token()) }
}

/// What is looked up before a client is registered: the list of its sector, if it has one (OpenID Connect Dynamic Client
/// Registration section 5).
pub(super) async fn check(app: &App, registered: Registered) -> Result<(), OAuthError> {
    match lists_all(app, &registered.client).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(invalid("sector_identifier_uri: does not list every redirect URI")),
        Err(_) => Err(invalid("sector_identifier_uri: does not answer with a list")),
    }
}

/// Enters what `change` makes of the roll as it is, and waits until every node has it. `by` says who did it, if not the client.
pub(super) async fn enter(
    app: &App,
    (kind, by): (RegistrationChange, &str),
    change: impl Fn(&Active) -> Result<(ClientId, Option<Record>), OAuthError>,
) -> Result<ClientId, OAuthError> {
    let entering = app.entering.lock().await;
    for _ in 0..TRIES {
        app.follow_roll().await.map_err(|error| internal(&error))?;
        let active = app.bundle();
        let (id, record) = change(&active)?;
        // What is so already needs no entry.
        if record.is_some() && record.as_ref() == active.roll().get(&id) {
            return Ok(id);
        }
        let entry = (&id, record.as_ref());
        match active.roll().enter(&app.store, &app.seals, entry, (kind, by), app.now()).await {
            Ok(()) => {
                app.follow_roll().await.map_err(|error| internal(&error))?;
                drop(entering);
                if app.store.is_shared() {
                    tokio::time::sleep(2 * FOLLOW).await;
                }
                return Ok(id);
            }
            Err(RollError::Store(StoreError::Conflict)) => {}
            Err(error) => return Err(internal(&error)),
        }
    }
    Err(OAuthError::new(OAuthCode::TemporarilyUnavailable, "too many register at once: try again"))
}

/// The client information response (RFC 7591 section 3.2.1, RFC 7592 section 3).
fn information(app: &App, active: &Active, id: &ClientId, record: &Record, told: &Told) -> Value {
    let mut about = record.metadata.clone();
    let public = active.client(id).is_some_and(|registered| registered.client.sector.is_public());
    let subjects = if public { SubjectType::Public } else { SubjectType::Pairwise };
    let mut set = |name: &str, value: Value| about.insert(name.to_owned(), value);
    set("client_id", id.as_str().into());
    set("client_id_issued_at", record.issued_at.0.into());
    set("registration_client_uri", format!("{}/register/{id}", app.issuer).into());
    set("live", record.live.into());
    set("subject_type", subjects.as_str().into());
    if let Some(secret) = &told.secret {
        set("client_secret", secret.expose().as_str().into());
    }
    if record.secret.is_some() {
        set("client_secret_expires_at", json!(0));
    }
    if let Some(token) = &told.access_token {
        set("registration_access_token", token.expose().as_str().into());
    }
    Value::Object(about)
}
