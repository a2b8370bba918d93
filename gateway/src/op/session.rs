//! The session: a proven login that may serve further services in the same browser.
//!
//! It is made when a code is issued and not before, so there is no half session; its identifier is new each time.

use axum::response::Response;
use gateway_core::assertion::Assertion;
use gateway_core::circumstances::{Place, own_browser};
use gateway_core::ids::{ClientId, PersonId, base64url};
use gateway_core::interaction::Transaction;
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Visit;
use crate::http::{reply, request};
use crate::notices::{Notice, NoticeError};
use crate::ports::NoEntropy;
use crate::seal::SealError;
use crate::store::{Batch, Class, Key, StoreError, Write};

const COOKIE: &str = "__Host-session";
const TABLE: &str = "session";
/// Sessions that ended before their time. The record of one may come back with an ephemeral class that lost its last seconds; this
/// does not.
const ENDED: &str = "session-ended";

/// A person who signed in, in this browser.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    /// Names it in records; nobody outside hears of it.
    pub(super) id: String,
    /// Who they are behind all their providers.
    pub(super) person: PersonId,
    /// What was proved.
    pub(super) assertion: Assertion,
    /// The class of the place where it was made.
    #[serde(default = "own_browser")]
    pub(super) place: Place,
    /// When the session ends, used or not.
    pub(super) ends_at: Timestamp,
}

/// Why a session cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    #[error(transparent)]
    Notice(#[from] NoticeError),
}

impl Visit<'_> {
    /// The session of this browser, if there is one and it lives.
    pub(super) async fn session(&self) -> Result<Option<Session>, SessionError> {
        let Some(secret) = request::cookie(self.parts, COOKIE) else { return Ok(None) };
        let stored = self.app.store.get(Class::Ephemeral, &Key::of_secret(TABLE, secret), self.now).await?;
        let session = stored.and_then(|sealed| self.app.seals.open_record::<Session>(secret, &sealed));
        let Some(session) = session else { return Ok(None) };
        if session.ends_at.is_past(self.now) || session.place.is_shared() || self.has_ended(&session.id).await? {
            return Ok(None);
        }
        if self.ended_upstream(&session.assertion).await? {
            // Whom it served by another provider, or before this one told of logouts, hears now.
            self.end_session(&session).await?;
            return Ok(None);
        }
        Ok(Some(session))
    }

    async fn has_ended(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.app.store.get(Class::Durable, &Key::new(ENDED, id), self.now).await?.is_some())
    }

    /// Ends a session, on record and with a notice for each client that wants one, and then its record, if it is this browser's.
    pub(super) async fn end_session(&self, session: &Session) -> Result<Vec<(ClientId, Option<Notice>)>, SessionError> {
        let mark = Write::Put(Key::new(ENDED, &session.id), Vec::new(), Some(session.ends_at));
        let told = self.lay_down_notices(&session.id, &|_| true, Some(mark)).await?;
        self.delete_session().await?;
        Ok(told)
    }

    /// Removes the record of this browser's session; the cookie that is left names nothing any more.
    async fn delete_session(&self) -> Result<(), StoreError> {
        let Some(secret) = request::cookie(self.parts, COOKIE) else { return Ok(()) };
        let batch = Batch::of(Write::Delete(Key::of_secret(TABLE, secret)));
        self.app.store.commit(Class::Ephemeral, batch, self.now).await
    }

    /// Takes the session's cookie from the browser.
    pub(super) fn forget_session(response: &mut Response) {
        reply::drop_cookie(response, COOKIE);
    }

    /// When a session that rests on this sign-in ends.
    pub(super) fn session_ends(&self, assertion: &Assertion) -> Timestamp {
        assertion.received_at.plus(self.app.session_lifetime)
    }

    /// The name of the session that this transaction begins: the same, however often its last form is posted.
    pub(super) fn session_id(&self, transaction: &Transaction) -> Result<String, SessionError> {
        Ok(base64url(&self.app.seals.derived("session", transaction.id.as_str())?))
    }

    /// The name of the session that a sign-in of this person leads to: the one that this browser has, where that is theirs, so that
    /// whom it served is not forgotten when they sign in anew; or else `fresh`.
    pub(super) async fn session_of(&self, person: &PersonId, fresh: String) -> Result<String, SessionError> {
        let own = self.session().await?.filter(|old| old.person == *person);
        Ok(own.map_or(fresh, |old| old.id))
    }

    /// Puts a session of this name ([`Visit::session_of`]), made at a client of this place, in place of the browser's old one. It
    /// ends a fixed time after the sign-in that it rests on. Where the old one was another, that ends: whom it served is told.
    pub(super) async fn begin_session(
        &self,
        response: &mut Response,
        id: String,
        place: Place,
        (person, assertion): (&PersonId, &Assertion),
    ) -> Result<(), SessionError> {
        if let Some(old) = self.session().await?.filter(|old| old.id != id) {
            self.end_session(&old).await?;
        }
        let ends_at = self.session_ends(assertion);
        let secret = self.app.entropy.token()?;
        let session = Session { id, person: person.clone(), assertion: assertion.clone(), place, ends_at };
        let sealed = self.app.seals.record(secret.expose(), &session)?;
        let mut batch = Batch::of(Write::Put(Key::of_secret(TABLE, secret.expose()), sealed, Some(ends_at)));
        if let Some(old) = request::cookie(self.parts, COOKIE) {
            batch = batch.and(Write::Delete(Key::of_secret(TABLE, old)));
        }
        self.app.store.commit(Class::Ephemeral, batch, self.now).await?;
        reply::set_cookie(response, COOKIE, secret.expose(), ends_at.0.saturating_sub(self.now.0));
        Ok(())
    }
}
