//! Linking another account of the same person, in the middle of a sign-in: the offer, the proof of the other account,
//! the question, and the entry.
//!
//! Both proofs are given in one browser, in one transaction, minutes apart, each to its own provider, for this purpose;
//! they wait sealed for this transaction alone. A link is made only by the person's own yes on a page that shows both.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_core::assertion::Assertion;
use gateway_core::digest::sha256;
use gateway_core::error::Failure;
use gateway_core::ids::{ProviderId, base64url};
use gateway_core::interaction::{LinkOffer, LinkQuestion, Origin, Stage, Transaction};
use gateway_core::link::{Actor, COMPARED, Entry, Ground, Signals, Status, is_personal, needs_review};
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

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What the person is asked about.
#[derive(Debug, Clone)]
struct Question {
    first: Secret<String>,
    with: ProviderId,
    second: Option<Secret<String>>,
}

impl Question {
    /// Names this question and no other: these accounts, proved this far.
    fn digest(&self) -> String {
        let second = self.second.as_ref().map(|second| second.expose().as_str()).unwrap_or_default();
        base64url(&sha256([self.first.expose(), self.with.as_str(), second].join("\n").as_bytes()))
    }
}

/// `GET /login/{transaction}/link`.
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match visit.running(&id).await {
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
    match visit.running(&id).await {
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
        let asked = transaction.link != LinkQuestion::Open || proof.origin() != Origin::ThisLogin;
        let Some(link) = self.link_with(transaction).filter(|link| !asked && link.provider != proof.assertion.provider)
        else {
            return Ok(LinkOffer::NotWanted);
        };
        // Whom the portal asked for by name must not become somebody else on the way.
        let sure = self.meaning(&proof.assertion).is_some_and(|row| row.assurance.meets(link.assurance));
        if request.subject.is_some() || !sure {
            return Ok(LinkOffer::NotWanted);
        }
        if !is_personal(&proof.assertion) {
            return Ok(LinkOffer::NotWanted);
        }
        let (links, own) = (self.links(), &proof.assertion.provider);
        let free = links.free(&links.account_of(&proof.assertion), &link.provider, self.now).await?;
        // A question that staff are looking at, or have answered, is not put again, whichever way round.
        let settled = |entry: &Entry| {
            let both = [&entry.first, &entry.second];
            let same = both.contains(&own) && both.contains(&&link.provider);
            same && matches!(entry.status, Status::UnderReview | Status::Refused)
        };
        let wanted = free.to_move && !links.ledger(&proof.known.person, self.now).await?.iter().any(settled);
        Ok(if wanted { LinkOffer::Wanted(link.provider.clone()) } else { LinkOffer::NotWanted })
    }

    fn link_with(&self, transaction: &Transaction) -> Option<&LinkWith> {
        self.active.catalog.policies().service(&transaction.request.service)?.link.as_ref()
    }

    /// Lays the first proof aside and asks.
    pub(super) async fn offer_link(&self, mut transaction: Transaction, proof: Proof, with: ProviderId) -> Response {
        self.ends_soon(&mut transaction);
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
        if !sure || !is_personal(&assertion) {
            return self.back_to_link(transaction, Failure::AssuranceTooLow);
        }
        match self.takes_in(&first, &assertion).await {
            Ok(true) => {}
            Ok(false) => return self.back_to_link(transaction, Failure::LinkedOtherwise),
            Err(error) => return self.internal(&*error, Some(&transaction)),
        }
        let stored = async {
            let known = self.person(&assertion, None).await?;
            let signed_in_at = self.signs_in_at(&transaction.request);
            let proof = Proof { session: None, signed_in_at, assertion, known };
            Ok::<_, AnyError>(self.lay_aside(&transaction, proof).await?)
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

    /// Whether the account that was proved can take the first one in.
    async fn takes_in(&self, first: &Secret<String>, second: &Assertion) -> Result<bool, AnyError> {
        let Some(first) = self.laid_aside(first).await? else { return Ok(true) };
        let links = self.links();
        let free = links.free(&links.account_of(second), &first.assertion.provider, self.now).await?;
        Ok(free.to_take_in)
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
            Ok::<_, AnyError>((first, second))
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
        let (reference, locale) = (self.reference(&transaction), self.locale(Some(&transaction)));
        let page = pages::Link::new(&self.active, locale, &transaction, &sides, (&question.digest(), &reference));
        let response = reply::page(StatusCode::OK, page.html(), transaction.request.redirect());
        self.kept(response, transaction)
    }

    async fn answer_link(&self, mut transaction: Transaction, question: Question, form: &Params) -> Response {
        let one = |name| form.one(name).ok().flatten();
        // The answer is to the very question that was shown: another tab, or a page from before the other account was
        // proved, answers nothing.
        if one("question") != Some(&question.digest()) {
            return self.to_link_page(transaction);
        }
        match (one("decision"), &question.second) {
            (Some("prove"), None) => {
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
            // A login that is left over from somebody else shows that nobody is there.
            login: true,
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
        // Somebody who signed out at either provider meanwhile is there no more.
        for proof in [&first, &second] {
            if self.ended_upstream(&proof.assertion).await.map_err(SessionError::from)? {
                return Err(LinkNow::Gone);
            }
        }
        let links = self.links();
        if first.known.person == second.known.person {
            return Ok(());
        }
        let doubt = needs_review(&first.assertion, &second.assertion);
        let entry = Entry {
            id: self.reference(transaction),
            made_at: self.now,
            changed_at: self.now,
            first: first.assertion.provider.clone(),
            second: second.assertion.provider.clone(),
            ground: Ground::BothPresent,
            signals: Signals::of(&first.assertion, &second.assertion),
            status: if doubt { Status::UnderReview } else { Status::Active },
            person: second.known.person.clone(),
            previous: first.known.person.clone(),
            account: links.account_of(&first.assertion),
            other: links.account_of(&second.assertion),
        };
        let by = Actor::Person { provider: entry.first.clone() };
        match links.enter(&entry, by, self.now).await {
            Ok(()) => Ok(()),
            Err(LinkError::Store(StoreError::Conflict) | LinkError::Otherwise) => self.why_not_linked(&entry).await,
            Err(error) => Err(LinkNow::Other(error.into())),
        }
    }

    /// The number under which the person finds the entry of this sign-in; it leads back to nothing else of it.
    fn reference(&self, transaction: &Transaction) -> String {
        self.links().entry_id(&["sign-in", transaction.id.as_str()])
    }

    /// The form was posted twice, or one of the accounts was linked otherwise meanwhile.
    async fn why_not_linked(&self, entry: &Entry) -> Result<(), LinkNow> {
        let known = self.links().entry(&entry.person, &entry.id, self.now).await;
        let known = known.map_err(|error| LinkNow::Other(error.into()))?;
        if known.is_some() { Ok(()) } else { Err(LinkNow::Otherwise) }
    }
}

/// Why a link was not made.
enum LinkNow {
    /// A proof has expired.
    Gone,
    /// The person has another account of that provider linked.
    Otherwise,
    Other(AnyError),
}

impl From<AnyError> for LinkNow {
    fn from(error: AnyError) -> Self {
        Self::Other(error)
    }
}

impl From<SessionError> for LinkNow {
    fn from(error: SessionError) -> Self {
        Self::Other(error.into())
    }
}
