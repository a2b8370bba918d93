//! The question to policy: what a proven login is put to it as, what it answers, and the record of that.

use gateway_core::assertion::Assertion;
use gateway_core::audit::{Decision, Event, RefusedFacts, Shadow};
use gateway_core::authorize::AuthorizationRequest;
use gateway_core::circumstances::{Login, Place};
use gateway_core::client::Client;
use gateway_core::consent::Mode;
use gateway_core::error::Failure;
use gateway_core::ids::{PersonId, ProviderId, Sector, ServiceId};
use gateway_core::interaction::{Evidence, Origin, Transaction};
use gateway_core::subject::pairwise;
use policies::choose::Candidate;
use policies::decide::Demand;
use policies::provider::AssuranceRow;
use policies::{Facts, Permit, Refusal};

use super::Visit;
use super::flow::Proof;
use crate::app::{Active, App};
use crate::store::{Batch, Class, StoreError};

/// A proven login, judged: what policy knows of it, and the verdict.
pub(super) struct Judged {
    /// Nothing, when the provider said something of the person that no policy knows.
    pub(super) login: Option<Login>,
    pub(super) verdict: Result<Permit, Refusal>,
}

/// The rules that speak of a sign-in's course and not of policy.
const OUTSIDE: [&str; 3] = ["request-login", "data-asked-for", "client-is-admitted"];

impl Visit<'_> {
    /// **The** question to policy, for every path that rests on an assertion.
    pub(super) fn judge(&self, request: &AuthorizationRequest, proof: &Proof) -> Judged {
        let (assertion, policies) = (&proof.assertion, self.active.catalog.policies());
        let in_answer = proof.origin() == Origin::ThisLogin && assertion.is_in_answer();
        let age = self.age(assertion, in_answer);
        let now = (self.now.week_minute(), self.now.date());
        let login = policies.login(assertion, (age, proof.signed_in_at), now);
        let verdict = match &login {
            Err(refusal) => Err(refusal.clone()),
            Ok(_) if self.meaning(assertion).is_none() => {
                Err(Refusal::by(Failure::AssuranceTooLow, "acr-in-provider-table"))
            }
            // Data that was not asked for is not missing at the provider; it has to be fetched.
            Ok(_) if !assertion.covers(&self.needed(request, &assertion.provider)) => {
                Err(Refusal::by(Failure::ClaimMissing, "data-asked-for"))
            }
            // The session may be that of the person before.
            Ok(_) if proof.origin() == Origin::Session && self.is_on_shared_machine(request) => {
                Err(Refusal::by(Failure::NotFresh, "request-login"))
            }
            // Whatever the provider was told, only its answer shows that the person signed in anew.
            Ok(_) if self.demands_login(request, &assertion.provider) && !in_answer => {
                Err(Refusal::by(Failure::NotFresh, "request-login"))
            }
            Ok(login) => self.active.decide(&Facts {
                client: &request.client,
                service: &request.service,
                login,
                demand: Demand { acr: &request.acr, max_age: request.max_age },
            }),
        };
        if let Err(refusal) = &verdict {
            tracing::info!(
                client = %request.client, service = %request.service, provider = %assertion.provider,
                rules = refusal.rules.join(","), code = refusal.failure.code(), version = policies.version(), "refused"
            );
        }
        Judged { login: login.ok(), verdict }
    }

    /// A decision as it is recorded: everything it was made on, and what a draft in shadow would have said.
    pub(super) fn decision(
        &self,
        request: &AuthorizationRequest,
        login: &Login,
        outcome: &str,
        rules: &[String],
    ) -> Decision {
        let demand = Demand { acr: &request.acr, max_age: request.max_age };
        let facts = Facts { client: &request.client, service: &request.service, login, demand };
        recorded(self.app, &self.active, &facts, (outcome, rules))
    }

    /// Leaves a record of a login that policy refused, or whose release it did. The person did prove it: it is no visit
    /// that may never come back.
    pub(super) async fn record_refusal(
        &self,
        transaction: &Transaction,
        judged: &Judged,
        failure: Failure,
    ) -> Result<(), StoreError> {
        let (Some(login), verdict) = (&judged.login, &judged.verdict) else { return Ok(()) };
        let rules = match verdict {
            // What the sign-in itself still lacked was no decision of a policy.
            Err(refusal) if refusal.rules.iter().any(|rule| OUTSIDE.contains(&rule.as_str())) => return Ok(()),
            Err(refusal) => refusal.rules.as_slice(),
            // Permitted, and yet nothing could go out.
            Ok(permit) => permit.rules(),
        };
        let decision = self.decision(&transaction.request, login, failure.code(), rules);
        let facts = RefusedFacts { trace: Self::trace(transaction), decision };
        let batch = Batch::default().recording(Event::SignInRefused(Box::new(facts)));
        self.app.store.commit(Class::Durable, batch, self.now).await
    }

    /// What the provider's words mean by the table that is active now; nothing, when it does not have them.
    pub(super) fn meaning(&self, assertion: &Assertion) -> Option<&AssuranceRow> {
        self.active.catalog.policies().meaning(&assertion.provider, assertion.acr.as_deref(), &assertion.amr)
    }

    /// How long ago the person authenticated. Reading our pages makes an answer no older, as long as that takes no longer
    /// than a sign-in usually may.
    fn age(&self, assertion: &Assertion, in_answer: bool) -> std::time::Duration {
        let on_our_pages = assertion.received_at.age(self.now) <= gateway_core::interaction::TRANSACTION_LIFETIME;
        if in_answer && on_our_pages { std::time::Duration::ZERO } else { assertion.age(self.now) }
    }

    /// The claims of a provider that this request needs: what the decision looks at, and what a release would read.
    pub(super) fn needed(&self, request: &AuthorizationRequest, provider: &ProviderId) -> Vec<String> {
        let parties = (&request.client, &request.service, provider);
        self.active.catalog.policies().needed(parties, &request.claims, self.now.date())
    }

    pub(super) fn evidence(
        &self,
        request: &AuthorizationRequest,
        proof: &Proof,
        verdict: &Result<Permit, Refusal>,
    ) -> Evidence {
        let asked_for = request.subject.as_ref();
        let right_subject = asked_for.is_none_or(|asked| self.subject(request, proof).as_ref() == Some(asked));
        let verdict = verdict.as_ref().map(|_| ()).map_err(|refusal| refusal.failure);
        Evidence { origin: proof.origin(), verdict, right_subject }
    }

    /// The person, as this client's sector knows them.
    pub(super) fn subject(&self, request: &AuthorizationRequest, proof: &Proof) -> Option<String> {
        let client = &self.active.client(&request.client)?.client;
        Some(self.subject_at(client, &request.service, &proof.known.person))
    }

    /// A person, as a client knows them at a service: an anonymous service knows nobody whom any other knows.
    pub(super) fn subject_at(&self, client: &Client, service: &ServiceId, person: &PersonId) -> String {
        let anonymous = self.active.catalog.policies().service(service).is_some_and(|s| s.consent == Mode::Anonymous);
        let own = anonymous.then(|| Sector::anonymous(service));
        pairwise(&self.app.pairwise, person, own.as_ref().unwrap_or(&client.sector))
    }

    /// The trusted providers, with whether each can serve this request.
    pub(super) fn candidates(&self, request: &AuthorizationRequest) -> Vec<Candidate> {
        let policies = self.active.catalog.policies();
        let demand = Demand { acr: &request.acr, max_age: request.max_age };
        let mut candidates = policies.candidates(&request.client, &request.service, demand, self.now.week_minute());
        for candidate in &mut candidates {
            candidate.fit = candidate.fit.and(self.can_be_fresh(request, &candidate.provider));
        }
        candidates
    }

    /// The class of the place where a request is answered: where its client stands. A request that its client polls for is
    /// answered in a browser of the person's own; where an unknown client stands, anybody may.
    pub(super) fn signs_in_at(&self, request: &AuthorizationRequest) -> Place {
        match self.active.client(&request.client) {
            _ if request.collection().is_some() => Place::Browser,
            Some(registered) => registered.client.place,
            None => Place::Kiosk,
        }
    }

    /// Whether many people use the browser of a request, one after the other.
    pub(super) fn is_on_shared_machine(&self, request: &AuthorizationRequest) -> bool {
        self.signs_in_at(request).is_shared()
    }

    /// Whether the person has to sign in anew at a provider: the client demands it, or the provider's own session may be
    /// that of the person before on this machine and can be passed over.
    pub(super) fn demands_login(&self, request: &AuthorizationRequest, provider: &ProviderId) -> bool {
        let can = self.active.catalog.policies().provider(provider).map(|provider| provider.can);
        let on_demand = can.is_some_and(|can| can.reauthenticates_on_demand);
        request.demands_login() || on_demand && self.is_on_shared_machine(request)
    }

    /// Whether a provider can do what a request demands of the login itself.
    pub(super) fn can_be_fresh(&self, request: &AuthorizationRequest, provider: &ProviderId) -> Result<(), Failure> {
        let can = self.active.catalog.policies().provider(provider).map(|provider| provider.can);
        let anew = can.is_some_and(|can| can.reauthenticates_on_demand || can.reauthenticates_always);
        if anew || !request.demands_login() { Ok(()) } else { Err(Failure::NotFresh) }
    }
}

/// A decision as it is recorded: everything it was made on, and what a draft in shadow would have said.
pub(super) fn recorded(app: &App, active: &Active, facts: &Facts<'_>, (outcome, rules): (&str, &[String])) -> Decision {
    let shadow = app.shadow().and_then(|draft| {
        let (would, rules) = match draft.decide(facts) {
            Ok(permit) => ("permit".to_owned(), permit.rules().to_vec()),
            Err(refusal) => (refusal.failure.code().to_owned(), refusal.rules),
        };
        let shadow = Shadow { policy_version: draft.version().to_owned(), outcome: would, rules };
        (shadow.outcome != outcome).then_some(shadow)
    });
    let assisted = active.client(facts.client).is_some_and(|registered| registered.client.staff_assisted);
    Decision {
        client: facts.client.clone(),
        service: facts.service.clone(),
        login: facts.login.clone(),
        assisted,
        asked_acr: facts.demand.acr.clone(),
        asked_max_age: facts.demand.max_age,
        policy_version: active.catalog.policies().version().to_owned(),
        outcome: outcome.to_owned(),
        rules: rules.to_vec(),
        shadow,
    }
}
