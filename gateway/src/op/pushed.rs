//! `/par` (RFC 9126): a portal's back end hands in the request and gets a name for it, which the browser then carries.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::authorize::{self, Arrival, Refusal};
use gateway_core::error::{Failure, OAuthCode, OAuthError};
use gateway_core::params::Params;
use gateway_core::time::Timestamp;
use http::request::Parts;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client_auth::{self, authenticate};
use super::token::internal;
use super::{Visit, dpop, request_object};
use crate::app::App;
use crate::http::{reply, request};
use crate::store::{Batch, Class, Key, StoreError, Write};

/// How long a pushed request waits for its browser (RFC 9126 section 2.2; FAPI 2.0 allows less than ten minutes).
const LIFETIME: Duration = Duration::from_secs(300);

/// How long it is remembered that one was answered: longer than any sign-in that it began.
const SPENT_FOR: Duration = Duration::from_secs(86_400);

/// What every `request_uri` of ours begins with (RFC 9126 section 2.2).
pub(super) const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// Pushed requests, by digest.
const PUSHED: &str = "pushed";
/// Those that a code was issued for.
const SPENT: &str = "pushed-spent";

/// A request that was pushed and checked.
#[derive(Debug, Serialize, Deserialize)]
struct Pushed {
    client: String,
    params: String,
    signed: bool,
}

/// `POST /par`.
pub async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async { push(&app, &parts, &request::form(&parts, body).await?).await };
    let response = match answer.await {
        Ok(pushed) => reply::json(StatusCode::CREATED, &pushed),
        Err(error) => reply::refused("push", &error),
    };
    dpop::with_nonce(&app, &parts, response)
}

async fn push(app: &App, parts: &Parts, form: &Params) -> Result<Value, OAuthError> {
    client_auth::admit(app, parts, form).await;
    let visit = Visit::new(app, parts);
    // Who is sent back for a nonce comes again with the same assertion (RFC 9449 section 8).
    let held = dpop::held_key(app, parts, "/par", None)?;
    let registered = authenticate(app, &visit.active, parts, form, "/par").await?;
    // Whoever cannot prove who they are could fill the store.
    if registered.client.is_public() {
        return Err(OAuthError::new(OAuthCode::UnauthorizedClient, "a public client cannot push its requests"));
    }
    if form.one("request_uri")?.is_some() {
        return Err(OAuthError::new(OAuthCode::InvalidRequest, "request_uri is for the authorization endpoint"));
    }
    let object = form.one("request")?;
    let mut params = match object {
        Some(object) => request_object::read(app, registered, object, request_object::Of::Browser).await?,
        None => form.clone(),
    };
    // Nothing is kept that nobody would read.
    params.keep(&authorize::PARAMETERS);
    // RFC 9449 section 10.1: a proof that comes with the request names the key as well as `dpop_jkt` does.
    dpop::use_up(app, held.as_ref()).await?;
    match (held.map(|held| held.jkt), params.one("dpop_jkt")?.map(str::to_owned)) {
        (Some(proven), Some(named)) if proven != named => {
            return Err(OAuthError::new(OAuthCode::InvalidDpopProof, "dpop_jkt names another key than the proof's"));
        }
        (Some(proven), None) => params.add("dpop_jkt", &proven),
        _ => {}
    }
    let id = registered.client.id.on_the_wire();
    if params.one("client_id")? != Some(id) {
        return Err(OAuthError::new(OAuthCode::InvalidRequest, "client_id is not the client that authenticated"));
    }
    let arrival = Arrival { pushed: true, signed: object.is_some() };
    visit.checked(&params, arrival).await.map_err(as_error)?;
    let handle = app.entropy.token().map_err(|error| internal(&error))?;
    let pushed = Pushed { client: id.to_owned(), params: params.encode(), signed: arrival.signed };
    let sealed = app.seals.record(handle.expose(), &pushed).map_err(|error| internal(&error))?;
    let write = Write::Put(Key::of_secret(PUSHED, handle.expose()), sealed, Some(visit.now.plus(LIFETIME)));
    app.store.commit(Class::Ephemeral, Batch::of(write), visit.now).await.map_err(|error| internal(&error))?;
    Ok(json!({"request_uri": format!("{PREFIX}{}", handle.expose()), "expires_in": LIFETIME.as_secs()}))
}

/// What a portal's back end is told in place of a page or a redirect (RFC 9126 section 2.3).
fn as_error(refusal: Refusal) -> OAuthError {
    match refusal {
        Refusal::Reply(_, error) => error,
        Refusal::Page(Failure::RedirectMismatch) => OAuthError::new(
            OAuthCode::InvalidRequest,
            "redirect_uri is not one that is registered, and listed by the sector if it has a list",
        ),
        Refusal::Page(_) => OAuthError::new(OAuthCode::InvalidRequest, "client_id is missing or names nobody"),
    }
}

/// A request that was pushed, as it is read at the authorization endpoint.
pub(super) struct Opened {
    /// Its parameters.
    pub(super) params: Params,
    /// How it came in.
    pub(super) arrival: Arrival,
    /// The name under which it is spent.
    pub(super) digest: String,
}

impl Visit<'_> {
    /// The request behind a `request_uri` of ours; none when it is over, was answered with a code, or is another client's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn pushed(&self, uri: &str, client: Option<&str>) -> Result<Option<Opened>, StoreError> {
        let Some(handle) = uri.strip_prefix(PREFIX) else { return Ok(None) };
        let key = Key::of_secret(PUSHED, handle);
        let Some(sealed) = self.app.store.get(Class::Ephemeral, &key, self.now).await? else { return Ok(None) };
        if self.is_spent(Some(key.id())).await? {
            return Ok(None);
        }
        let opened = self.app.seals.open_record::<Pushed>(handle, &sealed);
        let opened = opened.filter(|pushed| Some(pushed.client.as_str()) == client);
        Ok(opened.and_then(|pushed| {
            let params = Params::parse(pushed.params.as_bytes()).ok()?;
            let arrival = Arrival { pushed: true, signed: pushed.signed };
            Some(Opened { params, arrival, digest: key.id().to_owned() })
        }))
    }

    /// Whether a pushed request, by its digest, was answered with a code.
    pub(super) async fn is_spent(&self, digest: Option<&str>) -> Result<bool, StoreError> {
        let Some(digest) = digest else { return Ok(false) };
        Ok(self.app.store.get(Class::Durable, &Key::new(SPENT, digest), self.now).await?.is_some())
    }
}

/// Marks a pushed request as answered: part of the commit that a code waits for, so that there is one code and no more
/// (FAPI 2.0 Security Profile section 5.3.2.2).
pub(super) fn spend(digest: &str, now: Timestamp) -> Write {
    Write::Insert(Key::new(SPENT, digest), Vec::new(), Some(now.plus(SPENT_FOR)))
}
