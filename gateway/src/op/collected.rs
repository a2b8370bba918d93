//! Answers that wait for whoever asked: the person is elsewhere, and no browser carries anything back (RFC 8628).
//!
//! Both sides lead to one random *handle*. Whoever asked finds it under the code that only they have, the person under the
//! code that the terminal shows. A grant waits sealed under the handle; which of several answers counts is one durable insert.

use std::time::Duration;

use axum::response::Response;
use gateway_core::authorize::Collection;
use gateway_core::digest::sha256;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::base64url;
use gateway_core::interaction::Transaction;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use gateway_core::token::CodeGrant;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::Visit;
use super::ciba::ASKED_OF;
use super::token::{Caller, internal, take_and_mint, unless_replayed};
use crate::app::App;
use crate::http::reply;
use crate::pages;
use crate::seal::SealError;
use crate::store::{Batch, Class, Key, StoreError, Write};

/// Which answer counts, by the handle's digest; nothing where the person said no.
const ANSWERED: &str = "collection-answered";
/// Grants, by the handle's digest and the answer.
const GRANTS: &str = "collection";
/// When whoever asked last looked, and how long they have to wait between.
const PACE: &str = "collection-pace";
/// Whom to tell, by the handle's digest.
const PINGS: &str = "collection-ping";
/// The answers that were told.
const RUNG: &str = "collection-rung";
/// How long whoever is told has to take it: the person's page waits for that.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long answers are remembered after nobody can come for them any more.
const AFTERWARDS: Duration = Duration::from_secs(3_600);
/// The shortest time between two looks, in seconds, until somebody comes too soon (RFC 8628 section 3.2).
pub(super) const INTERVAL: u64 = 5;

/// What became of a request.
pub(super) enum Answered {
    /// The person said no, or could not.
    Denied,
    /// The grant of this answer waits.
    Approved(String),
}

fn digest(handle: &Secret<String>) -> String {
    base64url(&sha256(handle.expose().as_bytes()))
}

/// Where the grant of one answer waits: of one person, in one sign-in, to one page.
pub(super) fn place(handle: &Secret<String>, answer: &str) -> Key {
    Key::new(GRANTS, &format!("{}.{answer}", digest(handle)))
}

/// That an answer, whose grant waits at this place, is the one that counts: part of the commit that its grant waits for.
pub(super) fn approved(collection: &Collection, place: &str) -> Write {
    let until = collection.expires_at.plus(AFTERWARDS);
    let answer = place.rsplit('.').next().unwrap_or_default().as_bytes().to_vec();
    Write::Insert(Key::new(ANSWERED, &digest(&collection.handle)), answer, Some(until))
}

/// What became of a request; nothing yet, where the person has not answered.
pub(super) async fn answer(app: &App, handle: &Secret<String>, now: Timestamp) -> Result<Option<Answered>, StoreError> {
    let found = app.store.get(Class::Durable, &Key::new(ANSWERED, &digest(handle)), now).await?;
    Ok(found.map(|by| match String::from_utf8(by) {
        Ok(by) if !by.is_empty() => Answered::Approved(by),
        _ => Answered::Denied,
    }))
}

/// How somebody who asked is told that there is an answer (CIBA section 10.2).
#[derive(Serialize, Deserialize)]
pub(super) struct Ping {
    pub(super) uri: Url,
    pub(super) token: Secret<String>,
    pub(super) auth_req_id: Secret<String>,
}

/// The write that lays it down.
pub(super) fn lay_down_ping(app: &App, collection: &Collection, ping: &Ping) -> Result<Write, SealError> {
    let sealed = app.seals.record(collection.handle.expose(), ping)?;
    Ok(Write::Put(Key::new(PINGS, &digest(&collection.handle)), sealed, Some(collection.expires_at)))
}

impl Visit<'_> {
    /// What follows an answer, once: it is off its person's list, and whoever asked is told, where they want to be. They look for
    /// themselves as well.
    pub(super) async fn answered(&self, collection: &Collection) {
        let key = Key::new(PINGS, &digest(&collection.handle));
        let told = async {
            let once = Write::Insert(Key::new(RUNG, key.id()), Vec::new(), Some(collection.expires_at));
            let mut batch = Batch::of(once);
            if !collection.listed.is_empty() {
                batch = batch.and(Write::Delete(Key::new(ASKED_OF, &collection.listed)));
            }
            match self.app.store.commit(Class::Ephemeral, batch, self.now).await {
                Err(StoreError::Conflict) => return Ok(()),
                done => done?,
            }
            let Some(sealed) = self.app.store.get(Class::Ephemeral, &key, self.now).await? else { return Ok(()) };
            let Some(ping) = self.app.seals.open_record::<Ping>(collection.handle.expose(), &sealed) else {
                return Ok(());
            };
            let body = serde_json::json!({"auth_req_id": ping.auth_req_id.expose()}).to_string();
            let request = http::Request::post(ping.uri.as_str())
                .header(CONTENT_TYPE, "application/json")
                .header(AUTHORIZATION, format!("Bearer {}", ping.token.expose()))
                .body(body.into_bytes())?;
            let status = tokio::time::timeout(PATIENCE, self.app.http().send(request)).await??.status();
            if !status.is_success() {
                tracing::info!(status = status.as_u16(), "a client did not take a notification");
            }
            Ok::<_, super::access::Error>(())
        };
        if let Err(error) = told.await {
            tracing::warn!(%error, "a client was not notified");
        }
    }

    /// The person said no, or cannot go on. Whatever was said before stays said.
    pub(super) async fn deny(&self, collection: &Collection) -> Result<(), StoreError> {
        let until = collection.expires_at.plus(AFTERWARDS);
        let write = Write::Insert(Key::new(ANSWERED, &digest(&collection.handle)), Vec::new(), Some(until));
        match self.app.store.commit(Class::Durable, Batch::of(write), self.now).await {
            Ok(()) => {
                self.answered(collection).await;
                Ok(())
            }
            Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The last page of a sign-in that no browser carries back.
    pub(super) fn collected_page(&self, transaction: &Transaction, approved: bool) -> Response {
        reply::page(StatusCode::OK, pages::device_done(self.locale(Some(transaction)), approved), None)
    }
}

/// When somebody last looked, in seconds, and how long they have to wait until the next time.
#[derive(Serialize, Deserialize)]
struct Pace(u64, u64);

/// Whether whoever holds `secret` may look now (RFC 8628 section 3.5): too soon makes the wait five seconds longer.
async fn keep_pace(app: &App, secret: &str, until: Timestamp) -> Result<(), OAuthError> {
    let (key, now) = (Key::of_secret(PACE, secret), app.now());
    let last = app.store.get(Class::Ephemeral, &key, now).await.map_err(|error| internal(&error))?;
    let last = last.and_then(|last| serde_json::from_slice::<Pace>(&last).ok());
    let (too_soon, interval) = match last {
        // The clock counts whole seconds: whoever is a part of one early is not early.
        Some(Pace(at, interval)) if now.0.saturating_sub(at) + 1 < interval => (true, interval + INTERVAL),
        Some(Pace(_, interval)) => (false, interval),
        None => (false, INTERVAL),
    };
    let pace = serde_json::to_vec(&Pace(now.0, interval)).map_err(|error| internal(&error))?;
    let write = Batch::of(Write::Put(key, pace, Some(until)));
    app.store.commit(Class::Ephemeral, write, now).await.map_err(|error| internal(&error))?;
    if too_soon { Err(OAuthError::new(OAuthCode::SlowDown, "wait five seconds longer from now on")) } else { Ok(()) }
}

/// The tokens for whoever comes with `secret`, once the person agreed. `over` says that nobody can agree any more.
pub(super) async fn collect(
    caller: &Caller<'_>,
    secret: &Secret<String>,
    collection: &Collection,
    over: bool,
    (taken, resource): (Key, Option<&str>),
) -> Result<Value, OAuthError> {
    match try_collect(caller, secret, collection, over, (taken.clone(), resource)).await {
        // Nothing was answered yet, so nothing was taken.
        Err(error) if matches!(error.code, OAuthCode::AuthorizationPending | OAuthCode::SlowDown) => Err(error),
        outcome => unless_replayed(caller.app, &taken, &caller.client.id, outcome).await,
    }
}

async fn try_collect(
    caller: &Caller<'_>,
    secret: &Secret<String>,
    collection: &Collection,
    over: bool,
    (taken, resource): (Key, Option<&str>),
) -> Result<Value, OAuthError> {
    let (app, now) = (caller.app, caller.app.now());
    if collection.expires_at.is_past(now) {
        return Err(expired());
    }
    let answered = answer(app, &collection.handle, now).await.map_err(|error| internal(&error))?;
    let by = match answered {
        None if over => return Err(expired()),
        // Whoever is told that an answer waits may come for it at once, however lately they looked.
        None => {
            keep_pace(app, secret.expose(), collection.expires_at).await?;
            return Err(OAuthError::new(OAuthCode::AuthorizationPending, "the person has not answered yet"));
        }
        Some(Answered::Denied) => return Err(OAuthError::new(OAuthCode::AccessDenied, "the person did not agree")),
        Some(Answered::Approved(by)) => by,
    };
    let grant = find(app, &collection.handle, &by, now).await.map_err(|error| internal(&*error))?;
    take_and_mint(caller, grant.ok_or_else(expired)?, resource, taken).await
}

fn expired() -> OAuthError {
    OAuthError::new(OAuthCode::ExpiredToken, "nobody answered in time: ask again")
}

async fn find(
    app: &App,
    handle: &Secret<String>,
    by: &str,
    now: Timestamp,
) -> Result<Option<CodeGrant>, super::access::Error> {
    let stored = app.store.get(Class::Ephemeral, &place(handle, by), now).await?;
    let opened = stored.and_then(|sealed| app.seals.open_record::<CodeGrant>(handle.expose(), &sealed));
    Ok(opened.filter(|grant| !grant.ends_at.is_past(now)))
}
