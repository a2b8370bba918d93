//! `/backchannel-logout/{provider}` (OpenID Connect Back-Channel Logout 1.0): a provider says that somebody signed out there. The
//! sessions that rest on that sign-in end here, and every portal that they served by it is told.
//!
//! A session's record lies under a secret that only its browser has. So what ended is marked, and a session is held against the marks of
//! its provider each time it is read; and with each code it is written which session and client rest on the sign-in, so that portals
//! hear without waiting for the browser. All of it can be said again: a provider that did not hear our answer says it twice. What
//! providers never say by themselves costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use adapters::LoggedOut;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::future::join_all;
use gateway_core::assertion::Assertion;
use gateway_core::digest::keyed;
use gateway_core::error::{Failure, OAuthCode, OAuthError};
use gateway_core::ids::{ClientId, ProviderId, base64url};
use gateway_core::interaction::TRANSACTION_LIFETIME;
use gateway_core::params::Params;
use gateway_core::time::Timestamp;
use http::{Request, StatusCode};

use super::Visit;
use super::session::SessionError;
use crate::app::App;
use crate::http::{reply, request};
use crate::notices::{self, NoticeError};
use crate::store::{Batch, Class, Key, StoreError, Write};

/// What ended at a provider, and when.
const ENDED: &str = "upstream-ended";
/// The sessions and clients that rest on a sign-in at a provider: `{name}/{session}/{client}`.
const SERVED: &str = "upstream-served";
/// How many of them are read at a time.
const PAGE: usize = 200;

/// `POST /backchannel-logout/{provider}`.
pub async fn post(State(app): State<Arc<App>>, Path(provider): Path<String>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let refused = |error: &OAuthError| reply::refused("backchannel logout", error);
    let said = {
        let visit = Visit::new(&app, &parts);
        let Some(id) = visit.tells_logout(&provider) else {
            let _ = request::bytes(body).await;
            return refused(&wrong("this provider is not known to tell of logouts"));
        };
        match request::form(&parts, body).await {
            Ok(form) => visit.believed(&id, &form).await.map(|said| (id, said)),
            Err(error) => Err(error.into()),
        }
    };
    let (id, said) = match said {
        Ok(said) => said,
        Err(error) => return refused(&error),
    };
    let Some(place) = app.limits.logouts.try_take(&[id.as_str()]) else {
        return refused(&OAuthError::new(OAuthCode::TemporarilyUnavailable, "busy"));
    };
    // What was begun is done, also when the provider no longer waits for the answer.
    let done = tokio::spawn(async move {
        let _place = place;
        Visit::new(&app, &parts).take_note(&id, &said).await
    });
    match done.await {
        Ok(Ok(())) => reply::empty(StatusCode::OK),
        Ok(Err(error)) => {
            tracing::error!(%error, "backchannel logout");
            refused(&OAuthError::new(OAuthCode::ServerError, "say it again"))
        }
        Err(error) => {
            tracing::error!(%error, "backchannel logout");
            refused(&OAuthError::new(OAuthCode::ServerError, "say it again"))
        }
    }
}

fn wrong(why: &'static str) -> OAuthError {
    OAuthError::new(OAuthCode::InvalidRequest, why)
}

impl Visit<'_> {
    /// The provider of this name, if it says by itself when somebody signs out.
    fn tells_logout(&self, provider: &str) -> Option<ProviderId> {
        let id: ProviderId = provider.parse().ok()?;
        self.active.adapters.get(&id).is_some_and(|adapter| adapter.tells_logout()).then_some(id)
    }

    async fn believed(&self, id: &ProviderId, form: &Params) -> Result<LoggedOut, OAuthError> {
        let adapter = self.active.adapters.get(id).ok_or_else(|| wrong("no such provider"))?;
        let token = form.one("logout_token")?.ok_or_else(|| wrong("logout_token is missing"))?;
        adapter.logged_out(token, self.now).await.map_err(|error| {
            tracing::warn!(provider = %id, %error, "a logout token is not believed");
            match error.failure() {
                Failure::ProviderUnavailable => OAuthError::new(OAuthCode::TemporarilyUnavailable, "try again"),
                _ => wrong("the logout token is not believed"),
            }
        })
    }

    /// Marks what ended, and tells every portal that was served by it. May be done again, and then changes nothing.
    async fn take_note(&self, id: &ProviderId, said: &LoggedOut) -> Result<(), SessionError> {
        let session = said.session.as_ref().map(|session| self.upstream_name(id, "session", session.expose()));
        // A sign-in that was never given a name for its session can only be meant by its person.
        let kind = if session.is_some() { "nameless" } else { "person" };
        let person = said.person.as_ref().map(|person| self.upstream_name(id, kind, person.expose()));
        // Longer than any session, and any sign-in that is still under way.
        let until = self.now.plus(self.app.session_lifetime).plus(3 * TRANSACTION_LIFETIME);
        let at = said.at.min(self.now).0;
        let names: Vec<String> = session.into_iter().chain(person).collect();
        let mut batch = Batch::default();
        for name in &names {
            // A logout that is said once more takes back no later one.
            let latest = self.ended_at(name).await?.map_or(at, |before| before.max(at));
            batch = batch.and(Write::Put(Key::new(ENDED, name), latest.to_string().into_bytes(), Some(until)));
        }
        self.app.store.commit(Class::Durable, batch, self.now).await?;
        let mut notices = Vec::new();
        for (session, clients) in self.served(&names).await? {
            match self.lay_down_notices(&session, &|client| clients.contains(client), None).await {
                Ok(told) => notices.extend(told.into_iter().filter_map(|(_, notice)| notice)),
                // One that cannot be read keeps nobody else from hearing.
                Err(error) => tracing::error!(%error, "telling portals of a logout"),
            }
        }
        for sent in join_all(notices.iter().map(|notice| notices::send(self.app, notice))).await {
            sent?;
        }
        Ok(())
    }

    /// The sessions, each with its clients, that rest on what has one of these names.
    async fn served(&self, names: &[String]) -> Result<BTreeMap<String, Vec<ClientId>>, StoreError> {
        let mut served: BTreeMap<String, Vec<ClientId>> = BTreeMap::new();
        for name in names {
            let first = Key::new(SERVED, &format!("{name}/"));
            let mut after = first.clone();
            loop {
                let page = self.app.store.list(SERVED, Some(&after), PAGE, self.now).await?;
                let own = page.iter().take_while(|(key, _)| key.as_str().starts_with(first.as_str()));
                let mut count = 0;
                for (key, sealed) in own {
                    count += 1;
                    match self.rested(key, sealed) {
                        Ok((session, client)) => served.entry(session).or_default().push(client),
                        // One that cannot be read keeps nobody else from hearing.
                        Err(error) => tracing::error!(%error, "telling portals of a logout"),
                    }
                }
                match page.last() {
                    Some((key, _)) if count == PAGE => after = key.clone(),
                    _ => break,
                }
            }
        }
        Ok(served)
    }

    fn rested(&self, key: &Key, sealed: &[u8]) -> Result<(String, ClientId), NoticeError> {
        Ok(serde_json::from_slice(&self.app.seals.open_at_rest(key.as_str(), sealed)?)?)
    }

    /// Whether the provider said that the sign-in behind an assertion is over.
    pub(super) async fn ended_upstream(&self, assertion: &Assertion) -> Result<bool, StoreError> {
        // A login that was made after it was said is another one; the provider's own clock tells, where it said when.
        let made = assertion.auth_time.filter(|_| assertion.time_stated).unwrap_or(assertion.asked_at);
        for (kind, name) in self.upstream_names(assertion) {
            let at = self.ended_at(&name).await?;
            if at.is_some_and(|at| kind == "session" || made <= Timestamp(at)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Until when what has this name is over, as far as its provider said so. A mark that cannot be read ended everything.
    async fn ended_at(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let ended = self.app.store.get(Class::Durable, &Key::new(ENDED, name), self.now).await?;
        Ok(ended.map(|at| std::str::from_utf8(&at).ok().and_then(|at| at.parse().ok()).unwrap_or(u64::MAX)))
    }

    /// The writes that remember which session and client rest on a sign-in.
    pub(super) fn rests_on(
        &self,
        assertion: &Assertion,
        session: &str,
        client: &ClientId,
        until: Timestamp,
    ) -> Result<Vec<Write>, NoticeError> {
        let write = |(_, name): (_, String)| {
            let own = keyed(self.app.pairwise.expose(), &[b"served", session.as_bytes(), client.as_str().as_bytes()]);
            let key = Key::new(SERVED, &format!("{name}/{}", base64url(&own)));
            let sealed = self.app.seals.at_rest(key.as_str(), &serde_json::to_vec(&(session, client))?)?;
            Ok(Write::Put(key, sealed, Some(until)))
        };
        self.upstream_names(assertion).into_iter().map(write).collect()
    }

    /// The names under which a sign-in may be said to be over, by kind; none where its provider never says so.
    fn upstream_names(&self, assertion: &Assertion) -> Vec<(&'static str, String)> {
        let id = &assertion.provider;
        if self.tells_logout(id.as_str()).is_none() {
            return Vec::new();
        }
        let person = assertion.subject.expose();
        let own = match &assertion.session {
            Some(session) => ("session", session.expose().as_str()),
            None => ("nameless", person),
        };
        [("person", person), own].map(|(kind, value)| (kind, self.upstream_name(id, kind, value))).to_vec()
    }

    /// A name that leads back to nothing.
    fn upstream_name(&self, provider: &ProviderId, kind: &str, value: &str) -> String {
        let parts = [b"upstream", provider.as_str().as_bytes(), kind.as_bytes(), value.as_bytes()];
        base64url(&keyed(self.app.pairwise.expose(), &parts))
    }
}
