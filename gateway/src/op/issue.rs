//! The only place that mints. A code needs a [`Permit`]; tokens need a grant that the store has already taken, and a
//! `Permit` of their own.

use axum::response::Response;
use gateway_core::audit::{Event, LoginFacts};
use gateway_core::claims::Claims;
use gateway_core::consent::Receipt;
use gateway_core::error::Failure;
use gateway_core::ids::base64url;
use gateway_core::interaction::{Origin, Transaction};
use gateway_core::secret::Secret;
use gateway_core::token::{ACCESS_TOKEN_LIFETIME, AccessGrant, CODE_LIFETIME, CodeGrant, Grounds, id_token};
use policies::Permit;
use policies::mapping::Released;
use serde_json::{Value, json};

use super::Visit;
use super::flow::{Offer, Proof, consent_key};
use super::session::SessionError;
use crate::app::App;
use crate::keys::algorithm;
use crate::store::take::Taken;
use crate::store::{Batch, Class, Key, RETENTION, StoreError, Write};

/// Codes, by digest.
pub(super) const CODES: &str = "code";
/// Access tokens, by digest.
pub(super) const ACCESS: &str = "access";

impl Visit<'_> {
    /// Commits consent, link and audit record in one durable step, then sends the code.
    ///
    /// The code follows from the transaction, so that a form posted twice gets the same answer and not two.
    pub(super) async fn issue(
        &self,
        transaction: Transaction,
        proof: &Proof,
        offer: Offer,
        answer: Option<Receipt>,
    ) -> Response {
        match self.try_issue(&transaction, proof, &offer, answer).await {
            Ok(code) => {
                let to = transaction.request.reply_to();
                let mut response = self.client_response(&to, &[("code", code.expose())]);
                Self::forget(&mut response, &transaction);
                match self.begin_session(&mut response, &proof.known.person, &proof.assertion).await {
                    Ok(()) => response,
                    Err(error) => self.internal(&error, Some(&transaction)),
                }
            }
            Err(IssueError::Finished) => self.stop(transaction, Failure::AlreadyFinished),
            Err(IssueError::Other(error)) => self.internal(&error, Some(&transaction)),
        }
    }

    async fn try_issue(
        &self,
        transaction: &Transaction,
        proof: &Proof,
        offer: &Offer,
        answer: Option<Receipt>,
    ) -> Result<Secret<String>, IssueError> {
        let code = self.app.seals.derived("code", transaction.id.as_str()).map_err(SessionError::from)?;
        let code = Secret::new(base64url(&code));
        let receipt = answer.as_ref().or(offer.receipt.as_ref());
        let agreed = receipt.map(|receipt| receipt.agreed.as_slice()).unwrap_or_default();
        let released: Vec<&Released> =
            offer.released.iter().filter(|r| agreed.iter().any(|name| name == r.claim.as_str())).collect();
        let event = Event::CodeIssued(Box::new(facts(transaction, proof, offer, receipt, &released)));
        match self.commit_release(transaction, proof, offer, answer.as_ref(), event).await {
            Ok(()) => {}
            // The form was posted twice: the first post made the code, and the same one answers this post.
            Err(StoreError::Conflict) => return self.same_code_again(code).await,
            Err(error) => return Err(SessionError::from(error).into()),
        }
        let grant = self.code_grant(transaction, proof, offer, &released);
        let sealed = self.app.seals.record(code.expose(), &grant).map_err(SessionError::from)?;
        let until = Some(self.now.plus(CODE_LIFETIME));
        let write = Write::Put(Key::of_secret(CODES, code.expose()), sealed, until);
        self.app.store.commit(Class::Ephemeral, Batch::of(write), self.now).await.map_err(SessionError::from)?;
        Ok(code)
    }

    async fn same_code_again(&self, code: Secret<String>) -> Result<Secret<String>, IssueError> {
        let key = Key::of_secret(CODES, code.expose());
        match self.app.store.get(Class::Ephemeral, &key, self.now).await.map_err(SessionError::from)? {
            Some(_) => Ok(code),
            None => Err(IssueError::Finished),
        }
    }

    /// The one durable commit of a sign-in: that it is finished, the link, the receipt, the audit record.
    async fn commit_release(
        &self,
        transaction: &Transaction,
        proof: &Proof,
        offer: &Offer,
        answer: Option<&Receipt>,
        event: Event,
    ) -> Result<(), StoreError> {
        let until = Some(transaction.request.received_at.plus(2 * gateway_core::interaction::TRANSACTION_LIFETIME));
        let finished = Write::Insert(Key::new("finished", transaction.id.as_str()), Vec::new(), until);
        let mut batch = Batch::of(finished).recording(event);
        batch.writes.extend(proof.known.write());
        if let Some(receipt) = answer {
            let bytes = serde_json::to_vec(receipt).map_err(|error| StoreError::Unavailable(error.to_string()))?;
            let kept = Some(self.now.plus(RETENTION));
            batch = batch
                .and(Write::Put(consent_key(&offer.subject, &offer.proposal), bytes.clone(), kept))
                .and(Write::Insert(Key::new("receipt", &receipt.id), bytes, kept));
        }
        self.app.store.commit(Class::Durable, batch, self.now).await
    }

    fn code_grant(&self, transaction: &Transaction, proof: &Proof, offer: &Offer, released: &[&Released]) -> CodeGrant {
        let request = &transaction.request;
        let mut id_token_claims = Claims::default();
        let mut userinfo_claims = Claims::default();
        for claim in released {
            let name = claim.claim.as_str();
            if request.claims.id_token.contains_key(name) {
                id_token_claims.set(&claim.claim, claim.value.clone());
            }
            if request.claims.asks_in_userinfo(name) || !request.claims.id_token.contains_key(name) {
                userinfo_claims.set(&claim.claim, claim.value.clone());
            }
        }
        CodeGrant {
            id: transaction.id.to_string(),
            client: request.client.clone(),
            redirect: request.redirect.clone(),
            code_challenge: request.code_challenge.clone(),
            nonce: request.nonce.clone(),
            service: request.service.clone(),
            grounds: grounds(&offer.permit, proof),
            scopes: request.claims.scopes.clone(),
            subject: offer.subject.clone(),
            acr: offer.permit.stated(),
            amr: proof.assertion.amr.clone(),
            auth_time: proof.assertion.auth_time,
            id_token_claims,
            userinfo_claims,
            issued_at: self.now,
        }
    }
}

fn grounds(permit: &Permit, proof: &Proof) -> Grounds {
    Grounds {
        provider: permit.provider().clone(),
        reached: permit.reached(),
        age: permit.age().as_secs(),
        time_stated: proof.assertion.time_stated,
    }
}

fn facts(
    transaction: &Transaction,
    proof: &Proof,
    offer: &Offer,
    receipt: Option<&Receipt>,
    released: &[&Released],
) -> LoginFacts {
    LoginFacts {
        trace: Visit::trace(transaction),
        grant: transaction.id.to_string(),
        client: offer.permit.client().clone(),
        service: offer.permit.service().clone(),
        provider: offer.permit.provider().clone(),
        policy_version: offer.permit.policy_version().to_owned(),
        rules: offer.permit.rules().to_vec(),
        asked: offer.permit.asked(),
        reached: offer.permit.reached(),
        age: offer.permit.age().as_secs(),
        from_session: proof.origin == Origin::Session,
        released: released.iter().map(|claim| claim.claim.to_string()).collect(),
        receipt: receipt.map(|receipt| receipt.id.clone()).unwrap_or_default(),
        crossing: offer.proposal.crossing,
    }
}

/// Mints the tokens of a grant that was taken, under a permit of this moment (RFC 6749 section 5.1, OpenID Connect Core
/// section 3.1.3.3).
pub(super) async fn tokens(app: &App, permit: &Permit, grant: Taken<CodeGrant>) -> Result<Value, SessionError> {
    let now = app.now();
    let access = app.entropy.token()?;
    let active = app.bundle();
    let alg = active.catalog.client(permit.client()).map(|registered| algorithm(registered.client.id_token_alg));
    let alg = alg.ok_or_else(|| StoreError::Unavailable("the client is gone".to_owned()))?;
    let expires_at = now.plus(ACCESS_TOKEN_LIFETIME);
    let access_grant = AccessGrant {
        grant: grant.id.clone(),
        client: grant.client.clone(),
        service: grant.service.clone(),
        grounds: grant.grounds.clone(),
        subject: grant.subject.clone(),
        claims: grant.userinfo_claims.clone(),
        expires_at,
    };
    let hash = alg.hash(access.expose().as_bytes());
    let at_hash = base64url(hash.get(..hash.len() / 2).unwrap_or_default());
    let claims = id_token(&app.issuer, &grant, at_hash, now);
    let id_token = app.keys.sign(alg, "JWT", &claims);
    let id_token = id_token.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let sealed = app.seals.record(access.expose(), &access_grant)?;
    let write = Write::Put(Key::of_secret(ACCESS, access.expose()), sealed, Some(expires_at));
    app.store.commit(Class::Ephemeral, Batch::of(write), now).await?;
    Ok(json!({
        "access_token": access.expose(),
        "token_type": "Bearer",
        "expires_in": ACCESS_TOKEN_LIFETIME.as_secs(),
        "scope": grant.scopes.join(" "),
        "id_token": id_token,
    }))
}

/// Why a code is not issued.
#[derive(Debug, thiserror::Error)]
enum IssueError {
    /// The sign-in was finished before, and its code is gone.
    #[error("finished already")]
    Finished,
    #[error(transparent)]
    Other(#[from] SessionError),
}
