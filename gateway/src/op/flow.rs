//! Carries out what the dispatcher says. Every step up to the consent page comes through [`Visit::proceed`]; the answer to
//! that page is judged anew by the same [`Visit::judge`] and [`Visit::offer`].

use std::time::Duration;

use axum::response::Response;
use gateway_core::assertion::Assertion;
use gateway_core::authorize::AuthorizationRequest;
use gateway_core::circumstances::{Login, Place, own_browser};
use gateway_core::consent::{Item, Mode, Proposal};
use gateway_core::details::Details;
use gateway_core::digest::sha256;
use gateway_core::error::Failure;
use gateway_core::ids::{PersonId, ProviderId, base64url};
use gateway_core::interaction::{
    Consent, Hop, LinkOffer, LinkQuestion, Origin, Situation, Stage, Step, Transaction, next,
};
use gateway_core::jurisdiction::Crossing;
use gateway_core::locale::Texts;
use gateway_core::secret::Secret;
use http::StatusCode;
use http::header::USER_AGENT;
use policies::Permit;
use policies::decide::Demand;
use policies::release::{ReleaseError, Released};
use serde::{Deserialize, Serialize};

use super::Visit;
use super::judge::Judged;
use super::person::Known;
use super::session::SessionError;
use crate::http::{reply, request};
use crate::pages;
use crate::ports::NoEntropy;
use crate::receipts::{self, Line};
use crate::store::{Batch, Class, Key, StoreError, Write};

/// A proven login on its way to a release.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    /// The session that it comes from; none, when it was given in this sign-in.
    pub(super) session: Option<String>,
    /// The class of the place where the person signed in.
    pub(super) signed_in_at: Place,
    pub(super) assertion: Assertion,
    pub(super) known: Known,
}

impl Proof {
    /// Where it comes from.
    pub(super) fn origin(&self) -> Origin {
        if self.session.is_some() { Origin::Session } else { Origin::ThisLogin }
    }
}

/// An assertion that waits, sealed, for the person's answer.
#[derive(Serialize, Deserialize)]
struct Waiting {
    session: Option<String>,
    #[serde(default = "own_browser")]
    signed_in_at: Place,
    person: PersonId,
    assertion: Assertion,
}

/// A permitted release, ready to be put to the person or to go out.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) permit: Permit,
    /// What the permit rests on.
    pub(super) login: Login,
    pub(super) proposal: Proposal,
    pub(super) released: Vec<Released>,
    /// Who receives it in law.
    pub(super) recipient: Texts,
    /// What the request says of its matter, as far as the service knows it.
    pub(super) details: Option<Details>,
    pub(super) subject: String,
    /// The name of the question that the proposal is.
    pub(super) question: String,
    /// The latest answer to it.
    pub(super) latest: Option<Line>,
    /// Anybody can pretend to be a public client, so its releases are never silent (CVE-2023-34246). Neither are those to a
    /// terminal or on a shared machine, where somebody else may stand.
    always_ask: bool,
}

const WAITING: &str = "waiting";
/// How long a person has for an answer at a machine that many people use.
const AT_SHARED_MACHINE: Duration = Duration::from_secs(180);

impl Visit<'_> {
    /// Begins a sign-in: the browser's session may serve, but for a shared machine, where it may be somebody else's.
    pub(super) async fn begin(&self, transaction: Transaction) -> Response {
        if self.is_on_shared_machine(&transaction.request) {
            let left = match self.give_up_left().await {
                Ok(left) => left,
                Err(error) => return self.internal(&error, Some(&transaction)),
            };
            let mut response = self.proceed(transaction, None, None).await;
            left.iter().for_each(|left| Self::forget(&mut response, left));
            return response;
        }
        let session = match self.session().await {
            Ok(session) => session,
            Err(error) => return self.internal(&error, Some(&transaction)),
        };
        let Some(session) = session else { return self.proceed(transaction, None, None).await };
        let preferred = session.assertion.provider.clone();
        match self.person(&session.assertion, None).await {
            Ok(known) if known.person == session.person => {
                let proof = Proof {
                    session: Some(session.id),
                    signed_in_at: session.place,
                    assertion: session.assertion,
                    known,
                };
                self.proceed(transaction, Some(proof), Some(&preferred)).await
            }
            // The link was undone or moved meanwhile: the old login proves nothing about this person.
            Ok(_) => self.proceed(transaction, None, None).await,
            Err(error) => self.internal(&error, Some(&transaction)),
        }
    }

    /// Asks the dispatcher what comes next, and does it.
    pub(super) async fn proceed(
        &self,
        mut transaction: Transaction,
        proof: Option<Proof>,
        preferred: Option<&ProviderId>,
    ) -> Response {
        let request = &transaction.request;
        let judged = proof.as_ref().map(|proof| (proof, self.judge(request, proof)));
        let evidence = judged.as_ref().map(|(proof, judged)| self.evidence(request, proof, &judged.verdict));
        // Who else could serve is asked only when nothing serves yet.
        let served = evidence.is_some_and(|evidence| evidence.verdict.is_ok() && evidence.right_subject);
        let candidates = if served { Vec::new() } else { self.candidates(request) };
        let eligible: Vec<ProviderId> =
            candidates.iter().filter(|candidate| candidate.fit.is_ok()).map(|c| c.provider.clone()).collect();
        // Where only one provider is trusted there is nothing to choose.
        let only =
            if let ([one], [_]) = (candidates.as_slice(), eligible.as_slice()) { Some(&one.provider) } else { None };
        let mut situation = Situation {
            request,
            evidence,
            consent: Consent::Unknown,
            link: LinkOffer::Unknown,
            eligible: &eligible,
            preferred: preferred.filter(|provider| eligible.contains(provider)).or(only),
        };
        let mut step = next(&situation);
        let mut offer = None;
        if let (Step::LookUp, Some((proof, Judged { verdict: Ok(permit), login: Some(login) }))) = (&step, &judged) {
            situation.link = match self.link_offer(&transaction, proof).await {
                Ok(link) => link,
                Err(error) => return self.internal(&error, Some(&transaction)),
            };
            match self.offer(request, proof, (permit.clone(), login.clone())).await {
                Ok(ready) => {
                    situation.consent = ready.consent(self);
                    step = next(&situation);
                    offer = Some(ready);
                }
                Err(OfferError::Release(error)) => {
                    tracing::warn!(trace = Self::trace(&transaction), %error, "release");
                    step = Step::Stop(error.failure());
                }
                Err(OfferError::Store(error)) => return self.internal(&error, Some(&transaction)),
            }
        }
        if let (Step::Stop(failure), Some((proof, judged))) = (&step, &judged) {
            if !self.app.limits.refusals.allows(proof.known.person.as_str(), self.now) {
                return self.stop(transaction, Failure::Busy);
            }
            if let Err(error) = self.record_refusal(&transaction, judged, *failure).await {
                return self.internal(&error, Some(&transaction));
            }
            transaction.fell_short = Some(proof.assertion.provider.clone());
        }
        self.carry_out(step, transaction, proof, offer).await
    }

    async fn carry_out(
        &self,
        step: Step,
        transaction: Transaction,
        proof: Option<Proof>,
        offer: Option<Offer>,
    ) -> Response {
        match (step, proof, offer) {
            (Step::Choose, ..) => self.choose(transaction),
            (Step::GoUpstream(provider), ..) => self.go_upstream(transaction, &provider).await,
            (Step::OfferLink(with), Some(proof), _) => self.offer_link(transaction, proof, with).await,
            (Step::AskConsent, Some(proof), Some(_)) => self.wait_for_consent(transaction, proof).await,
            (Step::Issue, Some(proof), Some(offer)) => self.issue(transaction, &proof, offer, None).await,
            (Step::Stop(failure), ..) => self.stop(transaction, failure),
            (Step::Reply(error), ..) => self.refuse(&transaction, &error).await,
            // Fail closed: a step without what it needs is no step.
            (Step::LookUp | Step::OfferLink(_) | Step::AskConsent | Step::Issue, ..) => {
                self.stop(transaction, Failure::Internal)
            }
        }
    }

    async fn offer(
        &self,
        request: &AuthorizationRequest,
        proof: &Proof,
        (permit, login): (Permit, Login),
    ) -> Result<Offer, OfferError> {
        let catalog = &self.active.catalog;
        let service = catalog.policies().service(&request.service);
        let client = self.active.client(&request.client).map(|registered| &registered.client);
        let (Some(service), Some(client)) = (service, client) else {
            return Err(ReleaseError::Unknown("the service").into());
        };
        let (assertion, today) = (&proof.assertion, self.now.date());
        let released = catalog.policies().release(&client.id, &service.id, assertion, &request.claims, today)?;
        let item = |released: &Released| Item {
            claim: released.row.claim.to_string(),
            purpose: released.row.purpose.clone(),
            ground: released.row.ground.clone(),
            optional: released.row.optional,
            cover: released.cover.as_deref().cloned(),
        };
        let sources: Vec<String> = released.iter().map(|released| released.row.means()).collect();
        let classes: Vec<&str> = released.iter().map(|released| released.row.class.as_str()).collect();
        let again = client.refresh_lifetime.filter(|_| request.claims.wants_offline());
        let again = again.map(|span| span.as_secs());
        // Nobody stands between a portal that registered itself and what it says of itself: with that the question changes.
        let itself = client.id.registered_itself();
        let itself = itself.then(|| format!("{:?}", (&client.name, &client.pages, &client.redirect_uris)));
        let details = catalog.policies().details_known(&service.id, request.details.as_ref());
        let shown = details.as_ref().map(|said| catalog.policies().details_shown(&service.id, said));
        let said = (&client.operator, itself, &details, shown);
        let terms = serde_json::to_vec(&(sources, classes, again, said)).unwrap_or_default();
        let proposal = Proposal {
            client: client.id.clone(),
            service: service.id.clone(),
            provider: proof.assertion.provider.clone(),
            crossing: Crossing::between(proof.assertion.jurisdiction, client.jurisdiction),
            mode: service.consent,
            items: released.iter().map(item).collect(),
            terms: base64url(&sha256(&terms)),
            policy_version: permit.policy_version().to_owned(),
        };
        let subject = self.subject_at(client, &service.id, &proof.known.person);
        let account = self.links().account_of(&proof.assertion);
        let question = receipts::question(&subject, &account, &proposal);
        let latest = self.receipts().latest(&question, self.now).await?;
        let always_ask = client.is_public() || request.collection().is_some() || self.is_on_shared_machine(request);
        let recipient = client.operator.clone();
        Ok(Offer { permit, login, proposal, released, recipient, details, subject, question, latest, always_ask })
    }

    /// Shows the chooser.
    pub(super) fn choose(&self, mut transaction: Transaction) -> Response {
        transaction.stage = Stage::Choosing;
        transaction.stop_proving();
        let Some(service) = self.active.catalog.policies().service(&transaction.request.service) else {
            return self.stop(transaction, Failure::PolicyRefused);
        };
        let candidates = self.candidates(&transaction.request);
        let page =
            pages::Chooser::new(&self.active, self.locale(Some(&transaction)), &transaction, service, &candidates);
        let response = reply::page(StatusCode::OK, page.html(), transaction.request.redirect());
        self.kept(response, transaction)
    }

    /// Sends the browser to a provider that can serve this request.
    pub(super) async fn go_upstream(&self, mut transaction: Transaction, provider: &ProviderId) -> Response {
        transaction.stop_proving();
        let request = &transaction.request;
        let policies = self.active.catalog.policies();
        let demand = Demand { acr: &request.acr, max_age: request.max_age };
        let fit = policies.fit(&request.client, &request.service, provider, demand, self.now.week_minute());
        // Whoever fell short is asked for more: asking for the same again would be a loop.
        let fell_short = transaction.failure == Some(Failure::AssuranceTooLow);
        let (Some(ask), Some(document)) =
            (policies.ask(&request.service, provider, demand, fell_short), policies.provider(provider))
        else {
            return self.stop(transaction, Failure::ProviderNotAccepted);
        };
        if let Err(failure) = fit.and(self.can_be_fresh(request, provider)) {
            return self.stop(transaction, failure);
        }
        let on_demand = document.can.reauthenticates_on_demand;
        let anew = self.demands_login(request, provider) && on_demand;
        // A portal's hint may be a document number: it does not cross a border before the person agreed.
        let client = self.active.client(&request.client).map(|registered| registered.client.jurisdiction);
        let crosses = client != Some(document.jurisdiction);
        let wish = adapters::Wish {
            acr_values: document.words_for(ask.assurance),
            methods: document.methods_for(ask.assurance),
            // Zero obliges the provider to state when the person signed in (OpenID Connect Core section 3.1.2.1).
            max_age: if anew { Some(std::time::Duration::ZERO) } else { ask.max_age.filter(|_| on_demand) },
            login: anew,
            login_hint: request.login_hint.clone().filter(|_| !crosses),
            locale: Some(self.locale(Some(&transaction))),
            data: self.needed(request, provider),
            user_agent: request::header(self.parts, USER_AGENT).map(str::to_owned),
        };
        self.depart(transaction, provider, &wish).await
    }

    /// Leaves for a provider with a wish. Whatever was open at one is closed.
    pub(super) async fn depart(
        &self,
        mut transaction: Transaction,
        provider: &ProviderId,
        wish: &adapters::Wish,
    ) -> Response {
        self.close_request(&transaction).await;
        let Some(adapter) = self.active.adapters.get(provider) else {
            return self.stop(transaction, Failure::ProviderNotAccepted);
        };
        let (fresh, state) = match self.draw(&transaction) {
            Ok(drawn) => drawn,
            Err(error) => return self.internal(&error, Some(&transaction)),
        };
        let step = adapters::Step { state: state.expose(), fresh: &fresh, now: self.now };
        match adapter.begin(wish, step).await {
            Ok(departure) => {
                let hop = Hop { provider: provider.clone(), state, memo: departure.memo, left_at: self.now };
                transaction.stage = Stage::Upstream(hop);
                self.kept(reply::see_other(departure.url.as_str()), transaction)
            }
            Err(error) => {
                tracing::warn!(provider = %provider, trace = Self::trace(&transaction), %error, "begin");
                self.fell_short(transaction, error.failure())
            }
        }
    }

    /// A provider did not prove what it was asked for. Where it was asked about another account to link, the sign-in
    /// itself goes on.
    pub(super) fn fell_short(&self, transaction: Transaction, failure: Failure) -> Response {
        match transaction.link {
            LinkQuestion::Proving { .. } => self.back_to_link(transaction, failure),
            LinkQuestion::Open | LinkQuestion::Answered => self.stop(transaction, failure),
        }
    }

    /// Fresh randomness for an adapter.
    pub(super) fn fresh(&self) -> Result<adapters::Fresh, NoEntropy> {
        Ok(adapters::Fresh::new(self.app.entropy.bytes()?))
    }

    /// What one step of a sign-in at a provider draws: randomness, and the `state` of whatever the step starts.
    pub(super) fn draw(&self, transaction: &Transaction) -> Result<(adapters::Fresh, Secret<String>), NoEntropy> {
        Ok((self.fresh()?, self.state(transaction)?))
    }

    /// A `state`: the transaction's id, so that the callback finds its cookie, and 80 random bits that it must match.
    fn state(&self, transaction: &Transaction) -> Result<Secret<String>, NoEntropy> {
        let random = base64url(&self.app.entropy.bytes::<10>()?);
        Ok(Secret::new(format!("{}{random}", transaction.id)))
    }

    /// Lays a proof aside, sealed, for this transaction.
    pub(super) async fn lay_aside(
        &self,
        transaction: &Transaction,
        proof: Proof,
    ) -> Result<Secret<String>, SessionError> {
        let secret = self.app.entropy.token()?;
        let waiting = Waiting {
            session: proof.session,
            signed_in_at: proof.signed_in_at,
            person: proof.known.person,
            assertion: proof.assertion,
        };
        let sealed = self.app.seals.record(secret.expose(), &waiting)?;
        // Whoever links an account may wait for another provider meanwhile.
        let until = transaction.expires_at.plus(2 * gateway_core::interaction::TRANSACTION_LIFETIME);
        let write = Write::Put(Key::of_secret(WAITING, secret.expose()), sealed, Some(until));
        self.app.store.commit(Class::Ephemeral, Batch::of(write), self.now).await?;
        Ok(secret)
    }

    /// A sign-in in which somebody proved who they are waits for their answer no longer than they stand there, where the next person
    /// would find it.
    pub(super) fn ends_soon(&self, transaction: &mut Transaction) {
        if self.is_on_shared_machine(&transaction.request) {
            transaction.expires_at = transaction.expires_at.min(self.now.plus(AT_SHARED_MACHINE));
        }
    }

    /// Lays the proof aside, and sends the browser to the consent page.
    async fn wait_for_consent(&self, mut transaction: Transaction, proof: Proof) -> Response {
        self.ends_soon(&mut transaction);
        match self.lay_aside(&transaction, proof).await {
            Ok(assertion) => {
                let page = format!("{}/login/{}/consent", self.app.issuer, transaction.id);
                transaction.stage = Stage::Answered { assertion };
                self.kept(reply::see_other(&page), transaction)
            }
            Err(error) => self.internal(&error, Some(&transaction)),
        }
    }

    /// The proof that waits for this transaction's answer.
    pub(super) async fn waiting(
        &self,
        transaction: &Transaction,
    ) -> Result<Option<Proof>, Box<dyn std::error::Error + Send + Sync>> {
        match &transaction.stage {
            Stage::Answered { assertion } => self.laid_aside(assertion).await,
            _ => Ok(None),
        }
    }

    /// A proof that was laid aside under this name.
    pub(super) async fn laid_aside(
        &self,
        name: &Secret<String>,
    ) -> Result<Option<Proof>, Box<dyn std::error::Error + Send + Sync>> {
        let secret = name.expose();
        let stored = self.app.store.get(Class::Ephemeral, &Key::of_secret(WAITING, secret), self.now).await?;
        let waiting = stored.and_then(|sealed| self.app.seals.open_record::<Waiting>(secret, &sealed));
        let Some(waiting) = waiting else { return Ok(None) };
        let known = self.person(&waiting.assertion, Some(waiting.person)).await?;
        Ok(Some(Proof {
            session: waiting.session,
            signed_in_at: waiting.signed_in_at,
            assertion: waiting.assertion,
            known,
        }))
    }

    /// The release that waits, judged anew: the policy may have changed since the page was shown.
    pub(super) async fn offer_again(&self, transaction: &Transaction, proof: &Proof) -> Result<Offer, Failure> {
        let judged = self.judge(&transaction.request, proof);
        let permit = judged.verdict.map_err(|refusal| refusal.failure)?;
        let permitted = (permit, judged.login.ok_or(Failure::PolicyRefused)?);
        let offer = self.offer(&transaction.request, proof, permitted).await.map_err(|error| match error {
            OfferError::Release(error) => error.failure(),
            OfferError::Store(error) => {
                tracing::error!(%error, "offer");
                Failure::Busy
            }
        })?;
        // Somebody may have been linked to another person since the page was shown.
        let asked_for = transaction.request.subject.as_ref();
        if asked_for.is_some_and(|asked| *asked != offer.subject) { Err(Failure::PolicyRefused) } else { Ok(offer) }
    }

    /// Shows why a sign-in cannot go on, and keeps it, so that the person can choose another way. What cannot be done just now can be
    /// asked for again where it stands.
    pub(super) fn stop(&self, mut transaction: Transaction, failure: Failure) -> Response {
        if failure != Failure::Busy {
            transaction.stage = Stage::Choosing;
            transaction.failure = Some(failure);
        }
        let status = match failure {
            Failure::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Failure::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Failure::ProviderUnavailable | Failure::ProviderMisbehaved | Failure::ProviderRefused => {
                StatusCode::BAD_GATEWAY
            }
            _ => StatusCode::FORBIDDEN,
        };
        let response = self.failure_page(status, failure, Some(&transaction));
        self.kept(response, transaction)
    }

    /// The response, with the transaction in its cookie.
    pub(super) fn kept(&self, mut response: Response, transaction: Transaction) -> Response {
        match self.keep(&mut response, transaction) {
            Ok(()) => response,
            Err(error) => self.internal(&error, None),
        }
    }
}

impl Offer {
    fn consent(&self, visit: &Visit<'_>) -> Consent {
        match &self.latest {
            _ if self.always_ask => Consent::Needed,
            // Nothing about the person goes out: there is nothing to agree to.
            _ if self.proposal.mode == Mode::Anonymous => Consent::Covered,
            Some(line) if line.receipt.covers(&self.proposal, visit.now) => Consent::Covered,
            _ => Consent::Needed,
        }
    }
}

/// Why an offer cannot be put together.
#[derive(Debug, thiserror::Error)]
enum OfferError {
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
