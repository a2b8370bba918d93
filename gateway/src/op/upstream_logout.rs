//! `/backchannel-logout/{provider}` (OpenID Connect Back-Channel Logout 1.0): a provider says that somebody signed out there. The
//! sessions that rest on that sign-in end here, and every portal that they served is told.
//!
//! A session lies under a secret that only its browser has, so none can be looked up. What ended is marked instead, and a
//! session is held against the marks each time it is read; with each code of such a provider it is written which session it belongs
//! to, so that portals hear at once. What providers never say by themselves costs nothing.

use std::sync::Arc;

use adapters::Over;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::future::join_all;
use gateway_core::assertion::Assertion;
use gateway_core::digest::keyed;
use gateway_core::error::{Failure, OAuthCode, OAuthError};
use gateway_core::ids::{ProviderId, base64url};
use gateway_core::params::Params;
use gateway_core::time::Timestamp;
use http::Request;

use super::Visit;
use super::session::SessionError;
use crate::app::App;
use crate::http::{reply, request};
use crate::notices::{self, Notice};
use crate::store::{Batch, Class, Key, StoreError, Write};

/// What ended at a provider, and when we heard.
const ENDED: &str = "upstream-ended";
/// Words of providers that were taken.
const HEARD: &str = "upstream-heard";
/// The sessions that rest on a sign-in at a provider.
const SERVED: &str = "upstream-served";
/// The most that are looked at.
const MOST: usize = 500;

/// `POST /backchannel-logout/{provider}`.
pub async fn post(State(app): State<Arc<App>>, Path(provider): Path<String>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    // Strangers may post as well, and no more than so many are looked at together.
    let Ok(_place) = app.deliveries.try_acquire() else { return refused(OAuthCode::TemporarilyUnavailable, "busy") };
    let Ok(form) = request::form(&parts, body).await else { return refused(OAuthCode::InvalidRequest, "no form") };
    let notices = match visit.heard(&provider, &form).await {
        Ok(notices) => notices,
        Err(error) => return reply::refused("backchannel logout", &error),
    };
    // The provider need not wait until every portal has heard; who does not is told again later.
    let telling = Arc::clone(&app);
    tokio::spawn(async move {
        let sent = join_all(notices.iter().map(|notice| notices::send(&telling, notice))).await;
        if let Some(Err(error)) = sent.into_iter().find(Result::is_err) {
            tracing::error!(%error, "telling portals");
        }
    });
    reply::empty(http::StatusCode::OK)
}

fn refused(code: OAuthCode, why: &'static str) -> Response {
    reply::refused("backchannel logout", &OAuthError::new(code, why))
}

impl Visit<'_> {
    /// Takes a provider's word, once, and ends what it says; whom to tell.
    async fn heard(&self, provider: &str, form: &Params) -> Result<Vec<Notice>, OAuthError> {
        let wrong = |why: &'static str| OAuthError::new(OAuthCode::InvalidRequest, why);
        let internal = |error: &dyn std::error::Error| {
            tracing::error!(%error, "backchannel logout");
            OAuthError::new(OAuthCode::ServerError, "try again")
        };
        let id: ProviderId = provider.parse().map_err(|_| wrong("no such provider"))?;
        let adapter = self.active.adapters.get(&id).filter(|adapter| adapter.tells_logout());
        let adapter = adapter.ok_or_else(|| wrong("this provider is not known to tell of logouts"))?;
        let token = form.one("logout_token")?.ok_or_else(|| wrong("logout_token is missing"))?;
        let said = adapter.logged_out(token, self.now).await.map_err(|error| {
            tracing::warn!(provider = %id, %error, "a logout token is not believed");
            match error.failure() {
                Failure::ProviderUnavailable => OAuthError::new(OAuthCode::TemporarilyUnavailable, "try again"),
                _ => wrong("the logout token is not believed"),
            }
        })?;
        let name = match &said.what {
            Over::Session(session) => self.upstream_name(&id, "session", session.expose()),
            Over::Person(subject) => self.upstream_name(&id, "person", subject.expose()),
        };
        let word = self.upstream_name(&id, "word", said.id.expose());
        let until = self.now.plus(self.app.session_lifetime);
        let batch = Batch::of(Write::Insert(Key::new(HEARD, &word), Vec::new(), Some(said.expires_at)));
        let batch = batch.and(Write::Put(Key::new(ENDED, &name), self.now.0.to_string().into_bytes(), Some(until)));
        match self.app.store.commit(Class::Durable, batch, self.now).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => return Err(wrong("this logout token was used before")),
            Err(error) => return Err(internal(&error)),
        }
        self.notices_for(&name).await.map_err(|error| internal(&error))
    }

    /// Lays down whom to tell of the sessions that rest on what ended.
    async fn notices_for(&self, name: &str) -> Result<Vec<Notice>, SessionError> {
        let first = Key::new(SERVED, &format!("{name}/"));
        let served = self.app.store.list(SERVED, Some(&first), MOST, self.now).await?;
        let mut notices = Vec::new();
        for (key, _) in served {
            let Some(session) = key.as_str().strip_prefix(first.as_str()) else { break };
            notices.extend(self.lay_down_notices(session).await?.into_iter().filter_map(|(_, notice)| notice));
        }
        Ok(notices)
    }

    /// Whether the provider said that the sign-in behind an assertion is over.
    pub(super) async fn ended_upstream(&self, assertion: &Assertion) -> Result<bool, StoreError> {
        for name in self.upstream_names(assertion) {
            let ended = self.app.store.get(Class::Durable, &Key::new(ENDED, &name), self.now).await?;
            // One that cannot be read ended everything.
            let at = ended.map(|at| std::str::from_utf8(&at).ok().and_then(|at| at.parse().ok()).unwrap_or(u64::MAX));
            if at.is_some_and(|at| assertion.received_at <= Timestamp(at)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The writes that remember which session rests on a sign-in.
    pub(super) fn rests_on(&self, assertion: &Assertion, session: &str, until: Timestamp) -> Vec<Write> {
        let names = self.upstream_names(assertion).into_iter();
        names.map(|name| Write::Put(Key::new(SERVED, &format!("{name}/{session}")), Vec::new(), Some(until))).collect()
    }

    /// The names under which a sign-in may be said to be over; none where its provider never says so.
    fn upstream_names(&self, assertion: &Assertion) -> Vec<String> {
        let id = &assertion.provider;
        if !self.active.adapters.get(id).is_some_and(|adapter| adapter.tells_logout()) {
            return Vec::new();
        }
        let person = self.upstream_name(id, "person", assertion.subject.expose());
        let session = assertion.session.iter().map(|session| self.upstream_name(id, "session", session.expose()));
        std::iter::once(person).chain(session).collect()
    }

    /// A name that leads back to nothing.
    fn upstream_name(&self, provider: &ProviderId, kind: &str, value: &str) -> String {
        let parts = [b"upstream", provider.as_str().as_bytes(), kind.as_bytes(), value.as_bytes()];
        base64url(&keyed(self.app.pairwise.expose(), &parts))
    }
}
