//! Linking another account of the same person, in the middle of a sign-in: the offer, the proof of the other account,
//! the question, and the entry.
//!
//! Both proofs are given in one browser, in one transaction, minutes apart, each to its own provider, for this purpose;
//! they wait sealed for this transaction alone. A link is made only by the person's own yes on a page that shows both.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_core::error::Failure;
use gateway_core::ids::{PersonId, ProviderId};
use gateway_core::interaction::{LinkOffer, LinkQuestion, Origin, Stage, Transaction};
use gateway_core::link::{COMPARED, Entry, Ground, Signals, Status};
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use http::header::USER_AGENT;
use http::{Request, StatusCode};
use policies::service::LinkWith;

use super::Visit;
use super::flow::Proof;
use super::session::SessionError;
use super::waiting::Leg;
use crate::app::App;
use crate::http::{reply, request};
use crate::links::LinkError;
use crate::pages;
use crate::store::StoreError;

/// What the person is asked about.
#[derive(Debug, Clone)]
struct Question {
    first: Secret<String>,
    with: ProviderId,
    second: Option<Secret<String>>,
}

/// `GET /login/{transaction}/link`.
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match visit.running(&id) {
        Err(response) => *response,
        Ok(transaction) => match question(&transaction) {
            Some(question) => visit.link_page(transaction, &question).await,
            None => visit.where_it_is(transaction),
        },
    }
}

/// `POST /login/{transaction}/link`.
pub async fn answer(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    if !request::is_same_origin(&parts, &app.issuer) {
        return visit.failure_page(StatusCode::FORBIDDEN, Failure::WrongStep, None);
    }
    let Ok(form) = request::form(&parts, body).await else {
        return visit.failure_page(StatusCode::BAD_REQUEST, Failure::WrongStep, None);
    };
    match visit.running(&id) {
        Err(response) => *response,
        Ok(transaction) => match question(&transaction) {
            Some(question) => visit.answer_link(transaction, question, &form).await,
            None => visit.where_it_is(transaction),
        },
    }
}

fn question(transaction: &Transaction) -> Option<Question> {
    match transaction.stage.clone() {
        Stage::Linking { first, with, second } => Some(Question { first, with, second }),
        _ => None,
    }
}

impl Visit<'_> {
    /// Whether a link is to be offered: only to somebody who has just proved an account, and has none linked there.
    pub(super) async fn link_offer(&self, transaction: &Transaction, proof: &Proof) -> Result<LinkOffer, LinkError> {
        let request = &transaction.request;
        let asked = transaction.link != LinkQuestion::Open || proof.origin != Origin::ThisLogin;
        let Some(link) = self.link_with(transaction).filter(|link| !asked && link.provider != proof.assertion.provider)
        else {
            return Ok(LinkOffer::NotWanted);
        };
        // Whom the portal asked for by name must not become somebody else on the way.
        let sure = self.meaning(&proof.assertion).is_some_and(|row| row.assurance.meets(link.assurance));
        if request.subject.is_some() || !sure {
            return Ok(LinkOffer::NotWanted);
        }
        let links = self.links();
        let linked = links.has(&proof.known.person, &link.provider, self.now).await?;
        // A question that staff are looking at, or have answered, is not put again.
        let settled = |entry: &Entry| {
            entry.second == link.provider && matches!(entry.status, Status::UnderReview | Status::Refused)
        };
        let has = linked || links.ledger(&proof.known.person, self.now).await?.iter().any(settled);
        Ok(if has { LinkOffer::NotWanted } else { LinkOffer::Wanted(link.provider.clone()) })
    }

    fn link_with(&self, transaction: &Transaction) -> Option<&LinkWith> {
        self.active.catalog.policies().service(&transaction.request.service)?.link.as_ref()
    }

    /// Lays the first proof aside and asks.
    pub(super) async fn offer_link(&self, mut transaction: Transaction, proof: Proof, with: ProviderId) -> Response {
        match self.lay_aside(&transaction, proof).await {
            Ok(first) => {
                transaction.stage = Stage::Linking { first, with, second: None };
                self.to_link_page(transaction)
            }
            Err(error) => self.internal(&error, Some(&transaction)),
        }
    }

    fn to_link_page(&self, transaction: Transaction) -> Response {
        let page = format!("{}/login/{}/link", self.app.issuer, transaction.id);
        self.kept(reply::see_other(&page), transaction)
    }

    /// The second proof is here: it waits beside the first for the person's yes.
    pub(super) async fn proved_other(
        &self,
        mut transaction: Transaction,
        leg: Leg<'_>,
        answer: adapters::Answer,
    ) -> Response {
        let LinkQuestion::Proving { first, with } = transaction.link.clone() else {
            return self.stop(transaction, Failure::WrongStep);
        };
        let assertion = self.assertion(leg, answer).filter(|assertion| assertion.provider == with);
        let Some(assertion) = assertion else { return self.back_to_link(transaction, Failure::ProviderNotAccepted) };
        let needed = self.link_with(&transaction).map(|link| link.assurance);
        let sure = self.meaning(&assertion).zip(needed).is_some_and(|(row, needed)| row.assurance.meets(needed));
        if !sure {
            return self.back_to_link(transaction, Failure::AssuranceTooLow);
        }
        let stored = async {
            let known = self.person(&assertion, None).await?;
            let proof = Proof { origin: Origin::ThisLogin, assertion, known };
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(self.lay_aside(&transaction, proof).await?)
        };
        match stored.await {
            Ok(second) => {
                transaction.stage = Stage::Linking { first, with, second: Some(second) };
                transaction.link = LinkQuestion::Open;
                self.to_link_page(transaction)
            }
            Err(error) => self.internal(&*error, Some(&transaction)),
        }
    }

    /// The other account could not be proved: the sign-in itself is not touched by that.
    pub(super) fn back_to_link(&self, mut transaction: Transaction, failure: Failure) -> Response {
        let LinkQuestion::Proving { first, with } = std::mem::take(&mut transaction.link) else {
            return self.stop(transaction, failure);
        };
        transaction.failure = Some(failure);
        transaction.stage = Stage::Linking { first, with, second: None };
        self.to_link_page(transaction)
    }

    async fn link_page(&self, transaction: Transaction, question: &Question) -> Response {
        let proofs = async {
            let first = self.laid_aside(&question.first).await?;
            let second = match &question.second {
                Some(second) => self.laid_aside(second).await?,
                None => None,
            };
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((first, second))
        };
        let (first, second) = match proofs.await {
            Ok((Some(first), second)) => (first, second),
            Ok((None, _)) => return self.stop(transaction, Failure::AlreadyFinished),
            Err(error) => return self.internal(&*error, Some(&transaction)),
        };
        if question.second.is_some() && second.is_none() {
            return self.stop(transaction, Failure::AlreadyFinished);
        }
        let sides = pages::Sides {
            first: &first.assertion,
            with: &question.with,
            second: second.as_ref().map(|proof| &proof.assertion),
        };
        let page = pages::Link::new(&self.active, self.locale(Some(&transaction)), &transaction, &sides);
        let response = reply::page(StatusCode::OK, page.html(), Some(&transaction.request.redirect));
        self.kept(response, transaction)
    }

    async fn answer_link(&self, mut transaction: Transaction, question: Question, form: &Params) -> Response {
        let decision = form.one("decision").ok().flatten();
        match (decision, &question.second) {
            (Some("link"), None) => {
                transaction.link = LinkQuestion::Proving { first: question.first, with: question.with.clone() };
                transaction.failure = None;
                self.go_and_prove(transaction, &question.with).await
            }
            (Some("link"), Some(second)) => match self.link_now(&transaction, &question.first, second).await {
                Ok(()) => self.go_on_with(transaction, &question.first).await,
                Err(LinkNow::Gone) => self.stop(transaction, Failure::AlreadyFinished),
                Err(LinkNow::Otherwise) => self.stop(transaction, Failure::LinkedOtherwise),
                Err(LinkNow::Other(error)) => self.internal(&*error, Some(&transaction)),
            },
            (Some("skip"), _) => self.go_on_with(transaction, &question.first).await,
            _ => self.stop(transaction, Failure::WrongStep),
        }
    }

    /// Goes on with the sign-in that was interrupted, as whoever its account is now.
    async fn go_on_with(&self, mut transaction: Transaction, first: &Secret<String>) -> Response {
        transaction.link = LinkQuestion::Answered;
        transaction.failure = None;
        match self.laid_aside(first).await {
            Ok(Some(proof)) => self.proceed(transaction, Some(proof), None).await,
            Ok(None) => self.stop(transaction, Failure::AlreadyFinished),
            Err(error) => self.internal(&*error, Some(&transaction)),
        }
    }

    /// Off to the provider of the other account. The service need not trust it: it is asked for this purpose only.
    async fn go_and_prove(&self, transaction: Transaction, provider: &ProviderId) -> Response {
        let needed = self.link_with(&transaction).map(|link| link.assurance);
        let document = self.active.catalog.policies().provider(provider);
        let (Some(needed), Some(document)) = (needed, document) else {
            return self.stop(transaction, Failure::ProviderNotAccepted);
        };
        let on_demand = document.can.reauthenticates_on_demand;
        let wish = adapters::Wish {
            acr_values: document.words_for(needed),
            methods: document.methods_for(needed),
            max_age: on_demand.then_some(std::time::Duration::ZERO),
            login: on_demand,
            login_hint: None,
            locale: Some(self.locale(Some(&transaction))),
            data: COMPARED.map(str::to_owned).to_vec(),
            user_agent: request::header(self.parts, USER_AGENT).map(str::to_owned),
        };
        self.depart(transaction, provider, &wish).await
    }

    /// Writes the entry: a link, or where something speaks against it, a review.
    async fn link_now(
        &self,
        transaction: &Transaction,
        first: &Secret<String>,
        second: &Secret<String>,
    ) -> Result<(), LinkNow> {
        let (first, second) = (self.laid_aside(first).await?, self.laid_aside(second).await?);
        let (Some(first), Some(second)) = (first, second) else { return Err(LinkNow::Gone) };
        let links = self.links();
        if first.known.person == second.known.person {
            return Ok(());
        }
        // A subject that was never seen becomes somebody before it is linked, so that a link can be undone.
        let new: Vec<_> = [&first, &second].into_iter().filter_map(|proof| proof.known.write.clone()).collect();
        let signals = Signals::of(&first.assertion, &second.assertion);
        let status =
            if signals.raise_a_doubt(second.assertion.is_in_answer()) { Status::UnderReview } else { Status::Active };
        let entry = Entry {
            id: transaction.id.to_string(),
            made_at: self.now,
            changed_at: self.now,
            first: first.assertion.provider.clone(),
            second: second.assertion.provider.clone(),
            ground: Ground::BothPresent,
            signals,
            status,
            person: anchor(&second),
            previous: anchor(&first),
            account: links.account_of(&first.assertion),
        };
        match links.enter(&entry, new, self.now).await {
            Ok(()) => Ok(()),
            Err(LinkError::Store(StoreError::Conflict)) => self.why_not_linked(&entry).await,
            Err(error) => Err(LinkNow::Other(error.into())),
        }
    }

    /// The form was posted twice, or the person has another account of that provider.
    async fn why_not_linked(&self, entry: &Entry) -> Result<(), LinkNow> {
        let entries =
            self.links().ledger(&entry.person, self.now).await.map_err(|error| LinkNow::Other(error.into()))?;
        if entries.iter().any(|known| known.id == entry.id) { Ok(()) } else { Err(LinkNow::Otherwise) }
    }
}

fn anchor(proof: &Proof) -> PersonId {
    proof.known.person.clone()
}

/// Why a link was not made.
enum LinkNow {
    /// A proof has expired.
    Gone,
    /// The person has another account of that provider linked.
    Otherwise,
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl From<Box<dyn std::error::Error + Send + Sync>> for LinkNow {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::Other(error)
    }
}

impl From<SessionError> for LinkNow {
    fn from(error: SessionError) -> Self {
        Self::Other(error.into())
    }
}
