//! `/callback/{provider}`: back from a provider. Each provider has a path of its own, so that one cannot answer for
//! another (mix-up, RFC 9700 section 4.4.2.2).

use std::sync::Arc;

use adapters::Step;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_core::assertion::Assertion;
use gateway_core::error::Failure;
use gateway_core::ids::{ProviderId, TransactionId};
use gateway_core::interaction::{Hop, LinkQuestion, Stage, Transaction};
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use http::{Request, StatusCode};

use super::Visit;
use super::flow::Proof;
use super::waiting::Leg;
use crate::app::App;
use crate::http::{reply, request};
use crate::store::{Batch, Class, Key, StoreError, Write};

/// `GET /callback/{provider}`.
pub async fn get(State(app): State<Arc<App>>, Path(provider): Path<String>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match request::query(&parts) {
        Ok(params) => visit.callback(&provider, &params).await,
        Err(_) => visit.failure_page(StatusCode::BAD_REQUEST, Failure::ProviderMisbehaved, None),
    }
}

/// `POST /callback/{provider}` (Form Post Response Mode). The post is cross-site and comes without our cookies, so the
/// browser brings the same answer again by GET.
pub async fn post(State(app): State<Arc<App>>, Path(provider): Path<String>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let (Ok(params), Ok(provider)) = (request::form(&parts, body).await, provider.parse::<ProviderId>()) else {
        return visit.failure_page(StatusCode::BAD_REQUEST, Failure::ProviderMisbehaved, None);
    };
    reply::see_other(&format!("{}/callback/{provider}?{}", app.issuer, params.encode()))
}

impl Visit<'_> {
    async fn callback(&self, provider: &str, params: &Params) -> Response {
        let transaction = match self.returning(params).await {
            Ok(transaction) => transaction,
            Err(response) => return *response,
        };
        let (expected, hop) = match &transaction.stage {
            Stage::Upstream(hop) => ((&hop.state, &hop.provider), Some(hop.clone())),
            // The provider's app brings the browser back to where it waits.
            Stage::Waiting(wait) => ((&wait.state, &wait.provider), None),
            // The page was loaded again: show where the sign-in is now, without looking at the answer again.
            Stage::Answered { .. } | Stage::Linking { .. } => return self.where_it_is(transaction),
            Stage::Choosing => return self.stop(transaction, Failure::WrongStep),
        };
        if Some(expected.0) != state(params).as_ref() || expected.1.as_str() != provider {
            tracing::warn!(trace = Self::trace(&transaction), provider, "an answer that was not asked for");
            return self.failure_page(StatusCode::FORBIDDEN, Failure::WrongStep, Some(&transaction));
        }
        let Some(hop) = hop else { return self.where_it_is(transaction) };
        match self.take_answer(&hop.state).await {
            Ok(()) => self.finish(transaction, &hop, params).await,
            Err(StoreError::Conflict) => self.fell_short(transaction, Failure::AlreadyFinished),
            Err(error) => self.internal(&error, Some(&transaction)),
        }
    }

    /// The transaction that `state` names, if this browser has it.
    async fn returning(&self, params: &Params) -> Result<Transaction, Box<Response>> {
        let state = state(params);
        let id = state.as_ref().and_then(|state| state.expose().get(..TransactionId::LENGTH));
        let id =
            id.ok_or_else(|| Box::new(self.failure_page(StatusCode::BAD_REQUEST, Failure::ProviderMisbehaved, None)))?;
        self.running(id).await
    }

    /// One answer is looked at once, whatever comes of it: the gate before the code is exchanged.
    pub(super) async fn take_answer(&self, name: &Secret<String>) -> Result<(), StoreError> {
        let until = self.now.plus(3 * gateway_core::interaction::TRANSACTION_LIFETIME);
        let mark = Write::Insert(Key::of_secret("answered", name.expose()), Vec::new(), Some(until));
        self.app.store.commit(Class::Ephemeral, Batch::of(mark), self.now).await
    }

    async fn finish(&self, transaction: Transaction, hop: &Hop, params: &Params) -> Response {
        let Some(adapter) = self.active.adapters.get(&hop.provider) else {
            return self.stop(transaction, Failure::ProviderNotAccepted);
        };
        let (fresh, state) = match self.draw(&transaction) {
            Ok(drawn) => drawn,
            Err(error) => return self.internal(&error, Some(&transaction)),
        };
        let step = Step { state: state.expose(), fresh: &fresh, now: self.now };
        let progress = adapter.finish(hop.memo.expose(), params, step).await;
        let leg = Leg { provider: &hop.provider, state: &state, left_at: hop.left_at };
        self.progressed(transaction, leg, progress).await
    }

    /// Goes on with what a provider proved.
    pub(super) async fn proved(&self, transaction: Transaction, leg: Leg<'_>, answer: adapters::Answer) -> Response {
        if matches!(transaction.link, LinkQuestion::Proving { .. }) {
            return self.proved_other(transaction, leg, answer).await;
        }
        let Some(assertion) = self.assertion(leg, answer) else {
            return self.stop(transaction, Failure::ProviderNotAccepted);
        };
        match self.person(&assertion, None).await {
            Ok(known) => {
                let signed_in_at = self.signs_in_at(&transaction.request);
                let proof = Proof { session: None, signed_in_at, assertion, known };
                self.proceed(transaction, Some(proof), None).await
            }
            Err(error) => self.internal(&error, Some(&transaction)),
        }
    }

    /// What was proved, in the provider's own words.
    pub(super) fn assertion(&self, leg: Leg<'_>, answer: adapters::Answer) -> Option<Assertion> {
        let provider = self.active.catalog.policies().provider(leg.provider)?;
        // Only a provider that authenticates anew every time can be silent about when: what it was told travelled
        // through the browser, and proves nothing.
        let anew = provider.can.reauthenticates_always.then_some(leg.left_at);
        Some(Assertion {
            provider: leg.provider.clone(),
            jurisdiction: provider.jurisdiction,
            subject: answer.subject,
            session: answer.session,
            acr: answer.acr,
            amr: answer.amr,
            auth_time: answer.auth_time.or(anew),
            time_stated: answer.auth_time.is_some(),
            asked_at: leg.left_at,
            received_at: self.now,
            claims: answer.claims,
            asked: answer.asked,
        })
    }
}

fn state(params: &Params) -> Option<Secret<String>> {
    params.one("state").ok().flatten().map(|state| Secret::new(state.to_owned()))
}
