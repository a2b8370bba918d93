//! `/account`: what a person who signed in here can see and undo, and where they sign out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::error::Failure;
use gateway_core::link::Actor;
use gateway_core::locale::Locale;
use gateway_core::logout::LogoutRequest;
use http::{Request, StatusCode};

use super::Visit;
use super::session::Session;
use crate::app::App;
use crate::http::{reply, request};
use crate::links::LinkError;
use crate::pages::Account;
use crate::store::StoreError;

/// `GET /account`.
pub async fn show(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let locale = visit.chosen_locale();
    match visit.present().await {
        Ok(Some(session)) => {
            let entries = visit.links().ledger(&session.person, visit.now).await;
            let receipts = visit.receipts().of(&session.person, visit.now).await;
            let (entries, receipts) = match (entries, receipts) {
                (Ok(entries), Ok(receipts)) => (entries, receipts),
                (Err(error), _) => return visit.internal(&error, None),
                (_, Err(error)) => return visit.internal(&error, None),
            };
            let (provider, recent) = (&session.assertion.provider, visit.is_recent(&session));
            let page = Account::signed_in(&visit.active, locale, provider, (&entries, &receipts), recent);
            reply::page(StatusCode::OK, page.html(), None)
        }
        Ok(None) => reply::page(StatusCode::OK, Account::signed_out(locale).html(), None),
        Err(response) => *response,
    }
}

/// `POST /account/undo`: a link ends. Whoever holds either account may end it.
pub async fn undo(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let (session, entry) = match visit.change(body, "entry").await {
        Ok(change) => change,
        Err(response) => return *response,
    };
    let by = Actor::Person { provider: session.assertion.provider.clone() };
    match visit.links().undo(&session.person, &entry, by, visit.now).await {
        // Posted twice: it is undone.
        Ok(_) | Err(LinkError::NoEntry | LinkError::Store(StoreError::Conflict)) => {
            reply::see_other(&format!("{}/account", app.issuer))
        }
        Err(error) => visit.internal(&error, None),
    }
}

/// `POST /account/withdraw`: a consent is taken back. It stops the next release at once.
pub async fn withdraw(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let (session, receipt) = match visit.change(body, "receipt").await {
        Ok(change) => change,
        Err(response) => return *response,
    };
    match visit.receipts().withdraw(&session.person, &receipt, visit.now).await {
        // Posted twice: it is taken back.
        Ok(_) => reply::see_other(&format!("{}/account", app.issuer)),
        Err(error) => visit.internal(&error, None),
    }
}

/// `POST /account/sign-out`: this gateway's session ends, and every portal that it served is told. The provider's is the provider's:
/// the page says so, and leads to where it can be ended, if that is known.
pub async fn sign_out(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    if !request::is_same_origin(&parts, &app.issuer) {
        return visit.failure_page(StatusCode::FORBIDDEN, Failure::WrongStep, None);
    }
    visit.log_out(&LogoutRequest::default()).await
}

/// How recent a sign-in has to be for its person to change links: at a shared machine the next person is not far.
const RECENT: Duration = Duration::from_secs(600);

impl Visit<'_> {
    /// Somebody changes something of theirs: the session, and what one field of the form names.
    async fn change(&self, body: Body, field: &'static str) -> Result<(Session, String), Box<Response>> {
        let form = request::form(self.parts, body).await.ok();
        let form = form.filter(|_| request::is_same_origin(self.parts, &self.app.issuer));
        let Some(form) = form else {
            return Err(Box::new(self.failure_page(StatusCode::FORBIDDEN, Failure::WrongStep, None)));
        };
        match self.present().await? {
            Some(session) if self.is_recent(&session) => {
                Ok((session, form.one(field).ok().flatten().unwrap_or_default().to_owned()))
            }
            _ => Err(Box::new(reply::see_other(&format!("{}/account", self.app.issuer)))),
        }
    }

    fn is_recent(&self, session: &Session) -> bool {
        session.assertion.received_at.age(self.now) <= RECENT
    }

    /// The session of this browser, if it is still about whom it was made for.
    pub(super) async fn present(&self) -> Result<Option<Session>, Box<Response>> {
        let session = match self.session().await {
            Ok(Some(session)) => session,
            Ok(None) => return Ok(None),
            Err(error) => return Err(Box::new(self.internal(&error, None))),
        };
        let known = self.person(&session.assertion, None).await;
        let known = known.map_err(|error| Box::new(self.internal(&error, None)))?;
        Ok((known.person == session.person).then_some(session))
    }

    /// The language asked for on this page, or by the browser.
    pub(super) fn chosen_locale(&self) -> Locale {
        self.asked_locale().unwrap_or_else(|| self.locale(None))
    }

    /// The language asked for on this page.
    pub(super) fn asked_locale(&self) -> Option<Locale> {
        let params = request::query(self.parts).ok()?;
        params.one("lang").ok().flatten().and_then(Locale::from_tag)
    }
}
