//! `/requests`: what waits for a person's answer from elsewhere, and the code by which they let somebody ask.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::digest::sha256;
use gateway_core::error::Failure;
use gateway_core::ids::base64url;
use gateway_core::params::Params;
use http::{Request, StatusCode};

use super::Visit;
use super::ciba::Waiting;
use super::session::Session;
use crate::app::App;
use crate::http::{reply, request};
use crate::pages::{Requests, device_done};

/// `GET /requests`.
pub async fn show(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match visit.present().await {
        Ok(session) => visit.requests_page(session.as_ref(), String::new()).await,
        Err(response) => *response,
    }
}

/// `POST /requests`: one of them is opened or refused, or a code is to be shown.
pub async fn answer(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let form = request::form(&parts, body).await.ok().filter(|_| request::is_same_origin(&parts, &app.issuer));
    let Some(form) = form else {
        return visit.failure_page(StatusCode::FORBIDDEN, Failure::WrongStep, None);
    };
    let session = match visit.present().await {
        Ok(Some(session)) => session,
        Ok(None) => return reply::see_other(&format!("{}/requests", app.issuer)),
        Err(response) => return *response,
    };
    visit.answer_request(&session, &form).await
}

/// What a page says of a request, so that an answer is to that one and to no other.
fn question(waiting: &Waiting) -> String {
    let handle = waiting.request.collection().map(|collection| collection.handle.expose().as_str()).unwrap_or_default();
    base64url(&sha256(format!("question {handle}").as_bytes()))
}

impl Visit<'_> {
    async fn requests_page(&self, session: Option<&Session>, code: String) -> Response {
        let waiting = match session {
            Some(session) => match self.waiting_for(&session.person).await {
                Ok(waiting) => waiting,
                Err(error) => return self.internal(&*error, None),
            },
            None => Vec::new(),
        };
        let shown = waiting.iter().map(|waiting| (&waiting.request, question(waiting)));
        let page = Requests::new(&self.active, self.chosen_locale(), session.is_some(), shown, code);
        reply::page(StatusCode::OK, page.html(), None)
    }

    async fn answer_request(&self, session: &Session, form: &Params) -> Response {
        let one = |name| form.one(name).ok().flatten().unwrap_or_default();
        if one("decision") == "code" {
            return match self.present_code(&session.person).await {
                Ok(code) => self.requests_page(Some(session), code).await,
                Err(error) => self.internal(&*error, None),
            };
        }
        let waiting = match self.waiting_for(&session.person).await {
            Ok(waiting) => waiting,
            Err(error) => return self.internal(&*error, None),
        };
        let Some(waiting) = waiting.into_iter().find(|waiting| question(waiting) == one("question")) else {
            return self.requests_page(Some(session), String::new()).await;
        };
        match one("decision") {
            "open" => self.open_request_of(waiting).await,
            "no" => self.refuse_request(&waiting).await,
            _ => self.failure_page(StatusCode::BAD_REQUEST, Failure::WrongStep, None),
        }
    }

    /// Begins the sign-in in which the person sees what is asked and answers. A second tab opens the same question again: which
    /// answer counts is decided where it is given.
    async fn open_request_of(&self, waiting: Waiting) -> Response {
        let mut request = waiting.request;
        request.received_at = self.now;
        match self.transaction_for(request).await {
            Ok(mut transaction) => {
                transaction.locale = Some(self.chosen_locale());
                self.begin(transaction).await
            }
            Err(error) => self.internal(&error, None),
        }
    }

    async fn refuse_request(&self, waiting: &Waiting) -> Response {
        let Some(collection) = waiting.request.collection() else {
            return self.failure_page(StatusCode::BAD_REQUEST, Failure::WrongStep, None);
        };
        match self.deny(collection).await {
            Ok(()) => reply::page(StatusCode::OK, device_done(self.chosen_locale(), false), None),
            Err(error) => self.internal(&error, None),
        }
    }
}
