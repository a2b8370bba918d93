//! `POST /match/{authority}`: an authority says that two accounts are one person's.
//!
//! The word is the signature's, not the connection's. It is bound to this gateway, to both accounts and to the purpose; it
//! is shown in the person's ledger, and the person can undo it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_core::assertion::UpstreamSubject;
use gateway_core::digest::keyed;
use gateway_core::ids::{PersonId, ProviderId, base64url};
use gateway_core::link::{Entry, Ground, Signals, Status};
use http::{Request, StatusCode};
use serde_json::json;

use super::Visit;
use super::person::PersonError;
use crate::app::App;
use crate::authority::MatchAnswer;
use crate::http::{reply, request};
use crate::links::LinkError;
use crate::store::{StoreError, Write};

/// `POST /match/{authority}`.
pub async fn post(State(app): State<Arc<App>>, Path(authority): Path<String>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let error = |status, code: &str, why: &str| reply::json(status, &json!({"error": code, "error_description": why}));
    let Some(known) = visit.active.catalog.authority(&authority) else {
        return error(StatusCode::NOT_FOUND, "invalid_client", "there is no such authority");
    };
    let body = request::bytes(body).await.ok();
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
        Err(PersonError::Link(LinkError::Store(StoreError::Conflict))) => {
            error(StatusCode::CONFLICT, "invalid_request", "the person has another account of that provider linked")
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
        let (first, new_first) = self.somebody(&answer.first.provider, &answer.first.subject).await?;
        let (second, new_second) = self.somebody(&answer.second.provider, &answer.second.subject).await?;
        if first == second {
            return Ok(());
        }
        let number = keyed(b"match", &[authority.as_bytes(), answer.reference.as_bytes()]);
        let entry = Entry {
            id: base64url(number.get(..16).unwrap_or_default()),
            made_at: self.now,
            changed_at: self.now,
            first: answer.first.provider.clone(),
            second: answer.second.provider.clone(),
            ground: Ground::Authority { authority: authority.to_owned(), reference: answer.reference.clone() },
            signals: Signals::none(),
            status: Status::Active,
            person: second.clone(),
            previous: first,
            account: links.account(&answer.first.provider, &answer.first.subject),
        };
        let new = [new_first, new_second].into_iter().flatten().collect();
        match links.enter(&entry, new, self.now).await {
            // Said twice is said once, even after the person undid it.
            Err(LinkError::Store(StoreError::Conflict)) => {
                let known = links.ledger(&second, self.now).await?.iter().any(|known| known.id == entry.id);
                if known { Ok(()) } else { Err(LinkError::Store(StoreError::Conflict).into()) }
            }
            done => Ok(done?),
        }
    }

    /// The person that an account is; somebody new where it was never seen, and the write that says so.
    async fn somebody(
        &self,
        provider: &ProviderId,
        subject: &UpstreamSubject,
    ) -> Result<(PersonId, Option<Write>), PersonError> {
        let links = self.links();
        let account = links.account(provider, subject);
        if let Some(person) = links.person(&account, self.now).await? {
            return Ok((person, None));
        }
        let person = PersonId::from_random(self.app.entropy.bytes()?);
        let write = links.first_seen(&account, &person)?;
        Ok((person, Some(write)))
    }
}
