//! The consent page and its answer. Nothing leaves before the answer, and its receipt, are on disk.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_core::consent::Receipt;
use gateway_core::error::Failure;
use gateway_core::interaction::{Stage, Transaction};
use gateway_core::params::Params;
use http::{Request, StatusCode};

use super::Visit;
use super::flow::{Offer, Proof};
use crate::app::App;
use crate::http::{reply, request};
use crate::pages;

/// `GET /login/{transaction}/consent`.
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match visit.offered(&id).await {
        Ok((transaction, _, offer)) => match visit.consent_page(&transaction, &offer) {
            Some(page) => {
                let html = page.html(false);
                visit.kept(reply::page(StatusCode::OK, html, transaction.request.redirect()), transaction)
            }
            None => visit.stop(transaction, Failure::PolicyRefused),
        },
        Err(response) => *response,
    }
}

/// `POST /login/{transaction}/consent`.
pub async fn answer(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    if !request::is_same_origin(&parts, &app.issuer) {
        return visit.failure_page(StatusCode::FORBIDDEN, Failure::WrongStep, None);
    }
    let Ok(form) = request::form(&parts, body).await else {
        return visit.failure_page(StatusCode::BAD_REQUEST, Failure::WrongStep, None);
    };
    match visit.offered(&id).await {
        Ok((transaction, proof, offer)) => visit.settle(transaction, proof, offer, &form).await,
        Err(response) => *response,
    }
}

impl Visit<'_> {
    /// The transaction, proof and release that wait for an answer, all of them judged anew.
    async fn offered(&self, id: &str) -> Result<(Transaction, Proof, Offer), Box<Response>> {
        let transaction = self.running(id).await?;
        if !matches!(transaction.stage, Stage::Answered { .. }) {
            return Err(Box::new(self.stop(transaction, Failure::WrongStep)));
        }
        let proof = match self.waiting(&transaction).await {
            Ok(Some(proof)) => proof,
            Ok(None) => return Err(Box::new(self.stop(transaction, Failure::AlreadyFinished))),
            Err(error) => return Err(Box::new(self.internal(&*error, Some(&transaction)))),
        };
        match self.offer_again(&transaction, &proof).await {
            Ok(offer) => Ok((transaction, proof, offer)),
            Err(failure) => Err(Box::new(self.stop(transaction, failure))),
        }
    }

    fn consent_page(&self, transaction: &Transaction, offer: &Offer) -> Option<pages::Consent> {
        pages::Consent::new(&self.active, self.locale(Some(transaction)), transaction, &offer.proposal)
    }

    async fn settle(&self, transaction: Transaction, proof: Proof, offer: Offer, form: &Params) -> Response {
        let one = |name| form.one(name).ok().flatten();
        match one("decision") {
            Some("allow") => {}
            Some("refuse") => {
                let error = Failure::ConsentRefused.to_oauth();
                return self.refuse(&transaction, &error).await;
            }
            _ => return self.stop(transaction, Failure::WrongStep),
        }
        let Some(page) = self.consent_page(&transaction, &offer) else {
            return self.stop(transaction, Failure::PolicyRefused);
        };
        // The answer is to the very page that was shown: its terms, its words, its language. If anything changed
        // meanwhile, the new question is put first.
        if one("question") != Some(page.question()) {
            let again = format!("{}/login/{}/consent", self.app.issuer, transaction.id);
            return self.kept(reply::see_other(&again), transaction);
        }
        let receipt = self.receipt(&transaction, &offer, form, page.question());
        // The yes to crossing a border stands by itself: without it there is no yes.
        if receipt.lacks_export() {
            let html = page.html(true);
            let response = reply::page(StatusCode::UNPROCESSABLE_ENTITY, html, transaction.request.redirect());
            return self.kept(response, transaction);
        }
        self.issue(transaction, &proof, offer, Some(receipt)).await
    }

    fn receipt(&self, transaction: &Transaction, offer: &Offer, form: &Params, question: &str) -> Receipt {
        let ticked: Vec<&str> = form.all("claim").collect();
        let agreed = offer.proposal.items.iter().filter(|item| !item.optional || ticked.contains(&item.claim.as_str()));
        let service = self.active.catalog.policies().service(&offer.proposal.service);
        let remember = service.and_then(|service| service.remember_consent).unwrap_or_default();
        Receipt {
            id: transaction.id.to_string(),
            subject: offer.subject.clone(),
            proposal: offer.proposal.clone(),
            agreed: agreed.map(|item| item.claim.clone()).collect(),
            text_digest: question.to_owned(),
            locale: self.locale(Some(transaction)),
            given_at: self.now,
            remembered_until: self.now.plus(remember),
            export: form.one("export").ok().flatten() == Some("yes"),
            withdrawn_at: None,
        }
    }
}
