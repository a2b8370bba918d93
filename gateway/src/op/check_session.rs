//! `/check-session` (OpenID Connect Session Management 1.0): a portal's page asks a frame of ours, without a request to anybody,
//! whether the browser is still in the session that the portal knows.
//!
//! The frame can know only what its cookie says. It is set for clients that registered for it and for nobody else, and where a
//! browser keeps it from the frame the answer is `error`, on which a portal does nothing. An end that the browser has no part
//! in (a provider's word, staff) shows in no cookie: back-channel logout tells of those.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use gateway_core::consent::Mode;
use gateway_core::digest::{keyed, sha256};
use gateway_core::ids::base64url;
use gateway_core::interaction::Transaction;
use gateway_core::time::Timestamp;
use url::Url;

use super::Visit;
use super::session::SessionError;
use crate::app::App;
use crate::http::{reply, request};
use crate::pages;

/// What the frame reads: a name for the session that leads back to nothing, and when it ends.
const COOKIE: &str = "__Host-browser-state";
/// What it reads when there is no session any more.
const NONE: &str = "none.0";
/// How much longer than its session the cookie stays, in seconds: to say that it is over.
const AFTERWARDS: u64 = 86_400;

/// `GET /check-session`: for the pages of clients that registered for it, and inside nobody else's.
pub async fn frame(State(app): State<Arc<App>>) -> Response {
    let active = app.bundle();
    let clients = active.clients().filter(|client| client.session_management);
    let pages = clients.flat_map(|client| &client.redirect_uris).filter_map(|uri| Url::parse(uri.as_str()).ok());
    let origins: BTreeSet<String> = pages.map(|page| page.origin().ascii_serialization()).collect();
    reply::frame(pages::CHECK_SESSION_PAGE.to_owned(), &origins)
}

impl Visit<'_> {
    /// The `session_state` for a client's answer (section 3.2), where it asked for such and may know the session.
    pub(super) fn session_state(
        &self,
        transaction: &Transaction,
        session: &str,
    ) -> Result<Option<String>, SessionError> {
        let request = &transaction.request;
        let client = self.active.client(&request.client).map(|registered| &registered.client);
        let service = self.active.catalog.policies().service(&request.service);
        let known = service.is_some_and(|service| service.consent != Mode::Anonymous);
        let Some(client) = client.filter(|client| client.session_management && known) else { return Ok(None) };
        let Some(redirect) = request.redirect() else { return Ok(None) };
        let salt = self.app.entropy.token()?;
        let told = [client.id.on_the_wire(), &redirect.origin(), &self.browser_state(session), salt.expose()];
        Ok(Some(format!("{}.{}", base64url(&sha256(told.join(" ").as_bytes())), salt.expose())))
    }

    fn browser_state(&self, session: &str) -> String {
        base64url(&keyed(self.app.pairwise.expose(), &[b"browser-state", session.as_bytes()]))
    }

    /// Lets the frame know of a session: in a browser where a portal asks for it, or did before.
    pub(super) fn show_session(&self, response: &mut Response, session: &str, ends_at: Timestamp, asked: bool) {
        if asked || request::cookie(self.parts, COOKIE).is_some() {
            let value = format!("{}.{}", self.browser_state(session), ends_at.0);
            let seconds = ends_at.0.saturating_sub(self.now.0) + AFTERWARDS;
            reply::set_readable_cookie(response, COOKIE, &value, seconds);
        }
    }

    /// Lets the frame know that there is no session any more.
    pub(super) fn show_no_session(&self, response: &mut Response) {
        if request::cookie(self.parts, COOKIE).is_some() {
            reply::set_readable_cookie(response, COOKIE, NONE, AFTERWARDS);
        }
    }
}
