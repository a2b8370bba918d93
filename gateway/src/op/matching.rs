//! `POST /match/{authority}`: an authority says that two accounts are one person's.
//!
//! The word is the signature's, not the connection's. It is bound to this gateway, to both accounts and to the purpose; it
//! is shown in the person's ledger, and the person can undo it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_core::ids::PersonId;
use gateway_core::link::{Actor, Entry, Ground, Signals, Status};
use http::{Request, StatusCode};
use serde_json::json;

use super::Visit;
use super::person::PersonError;
use crate::app::App;
use crate::authority::MatchAnswer;
use crate::http::{reply, request};
use crate::links::LinkError;
use crate::store::StoreError;

/// `POST /match/{authority}`.
pub async fn post(State(app): State<Arc<App>>, Path(authority): Path<String>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let error = |status, code: &str, why: &str| reply::json(status, &json!({"error": code, "error_description": why}));
    // Read before anything is answered: over HTTP/2 an answer that comes before the body may be lost with the stream.
    let body = request::bytes(body).await.ok();
    let Some(known) = visit.active.catalog.authority(&authority) else {
        return error(StatusCode::NOT_FOUND, "invalid_client", "there is no such authority");
    };
    let Some(token) = body.as_ref().and_then(|body| std::str::from_utf8(body).ok()) else {
        return error(StatusCode::BAD_REQUEST, "invalid_request", "the body is not a token");
    };
    let answer = match known.read(token.trim(), &app.issuer, visit.now) {
        Ok(answer) => answer,
        Err(why) => {
            tracing::warn!(authority, %why, "match answer refused");
            return error(StatusCode::BAD_REQUEST, "invalid_request", &why.to_string());
        }
    };
    match visit.linked_by(&authority, &answer).await {
        Ok(()) => reply::empty(StatusCode::NO_CONTENT),
        Err(PersonError::Link(LinkError::Otherwise)) => {
            error(StatusCode::CONFLICT, "invalid_request", "one of the accounts is linked otherwise")
        }
        Err(why) => {
            tracing::error!(authority, %why, "match answer");
            error(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "try again")
        }
    }
}

impl Visit<'_> {
    async fn linked_by(&self, authority: &str, answer: &MatchAnswer) -> Result<(), PersonError> {
        let links = self.links();
        let account = links.account(&answer.first.provider, &answer.first.subject);
        let other = links.account(&answer.second.provider, &answer.second.subject);
        let (first, second) = (self.somebody(&account).await?, self.somebody(&other).await?);
        let id = links.entry_id(&["match", authority, &answer.reference]);
        if first == second {
            // Said twice is said once, even after the person undid it: the number is used up all the same.
            return match links.use_up(&id, self.now).await {
                Ok(()) | Err(LinkError::Store(StoreError::Conflict)) => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
        let by = Actor::Authority { authority: authority.to_owned(), reference: answer.reference.clone() };
        let entry = Entry {
            id,
            made_at: self.now,
            changed_at: self.now,
            first: answer.first.provider.clone(),
            second: answer.second.provider.clone(),
            ground: Ground::Authority { authority: authority.to_owned(), reference: answer.reference.clone() },
            signals: Signals::none(),
            status: Status::Active,
            person: second.clone(),
            previous: first,
            account,
            other,
        };
        match links.enter(&entry, by, self.now).await {
            Err(LinkError::Store(StoreError::Conflict) | LinkError::Otherwise) => {
                let known = links.entry(&second, &entry.id, self.now).await?;
                let same = known.is_some_and(|known| known.account == entry.account && known.other == entry.other);
                if same { Ok(()) } else { Err(LinkError::Otherwise.into()) }
            }
            done => Ok(done?),
        }
    }

    /// The person that an account is; somebody new where it was never seen.
    async fn somebody(&self, account: &str) -> Result<PersonId, PersonError> {
        match self.links().person(account, self.now).await? {
            Some(person) => Ok(person),
            None => Ok(PersonId::from_random(self.app.entropy.bytes()?)),
        }
    }
}
