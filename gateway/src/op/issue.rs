//! The only place that mints codes: a code needs an offer that rests on a [`Permit`](policies::Permit).

use axum::response::Response;
use gateway_core::assertion::Assertion;
use gateway_core::audit::{self, DetailFacts, Event, LoginFacts, TerminalFacts};
use gateway_core::authorize::{Answer, AuthorizationRequest};
use gateway_core::claims::Claims;
use gateway_core::client::GrantType;
use gateway_core::consent::{Mode, Receipt};
use gateway_core::details::Details;
use gateway_core::digest::{keyed, sha256};
use gateway_core::error::Failure;
use gateway_core::ids::{TransactionId, base64url};
use gateway_core::interaction::Transaction;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use gateway_core::token::{CODE_LIFETIME, CodeGrant};
use gateway_core::verified::{self, Verification};
use policies::release::Released;
use serde_json::{Value, json};

use super::flow::{Offer, Proof};
use super::session::SessionError;
use super::{Visit, ciba, collected, pushed};
use crate::exports;
use crate::http::reply;
use crate::receipts::{Line, Receipts};
use crate::store::{Batch, Class, Key, StoreError, Write};
use crate::usage::Retiring;

/// Codes, by digest.
pub(super) const CODES: &str = "code";

impl Visit<'_> {
    /// Commits consent, link and audit record in one durable step, then sends the code.
    ///
    /// The code follows from the transaction, the person and their answer, so that a form posted twice is answered alike,
    /// and nobody else's answer to the same transaction is.
    pub(super) async fn issue(
        &self,
        transaction: Transaction,
        proof: &Proof,
        offer: Offer,
        answer: Option<Receipt>,
    ) -> Response {
        match self.try_issue(&transaction, proof, &offer, answer).await {
            Ok((code, session)) => {
                let state = match &session {
                    Some(session) => self.session_state(&transaction, session),
                    None => Ok(None),
                };
                let state = match state {
                    Ok(state) => state,
                    Err(error) => return self.internal(&error, Some(&transaction)),
                };
                let mut params = vec![("code", code.expose().as_str())];
                params.extend(state.as_deref().map(|state| ("session_state", state)));
                let mut response = match &transaction.request.answer {
                    Answer::Carried(to) => self.client_response(to, &params),
                    Answer::Collected(_) => self.collected_page(&transaction, true),
                };
                Self::forget(&mut response, &transaction);
                let left = match session {
                    Some(session) => self.leave_session(&mut response, proof, (session, state.is_some())).await,
                    None => self.leave_nothing(&mut response).await,
                };
                if let Err(error) = left {
                    return self.internal(&error, Some(&transaction));
                }
                if let Some(collection) = transaction.request.collection() {
                    self.answered(collection).await;
                }
                response
            }
            // The person signed out in another tab while this one was asking them, or took too long.
            Err(IssueError::Over) => self.stop(transaction, Failure::Expired),
            Err(IssueError::Finished) => self.stop(transaction, Failure::AlreadyFinished),
            Err(IssueError::TooOften) => self.stop(transaction, Failure::Busy),
            // Another tab linked this very person a moment ago: the question is put again, for the person as linked.
            Err(IssueError::Again) => {
                let page = format!("{}/login/{}/consent", self.app.issuer, transaction.id);
                self.kept(reply::see_other(&page), transaction)
            }
            Err(IssueError::Other(error)) => self.internal(&error, Some(&transaction)),
        }
    }

    /// Leaves the session in the browser: the one that the sign-in comes from, or a new one. `asked` says that the portal
    /// watches it.
    async fn leave_session(
        &self,
        response: &mut Response,
        proof: &Proof,
        (session, asked): (String, bool),
    ) -> Result<(), SessionError> {
        self.show_session(response, &session, self.session_ends(&proof.assertion), asked);
        if proof.session.is_none() {
            let place = proof.signed_in_at;
            self.begin_session(response, session, place, (&proof.known.person, &proof.assertion)).await?;
        }
        Ok(())
    }

    /// Leaves nothing in the browser of a shared machine: no session, whoever's it was, and no other sign-in.
    async fn leave_nothing(&self, response: &mut Response) -> Result<(), SessionError> {
        if let Some(session) = self.session().await? {
            self.end_session(&session).await?;
        }
        self.give_up_all().await?;
        self.forget_all(response);
        Self::forget_session(response);
        self.show_no_session(response);
        Ok(())
    }

    async fn try_issue(
        &self,
        transaction: &Transaction,
        proof: &Proof,
        offer: &Offer,
        answer: Option<Receipt>,
    ) -> Result<(Secret<String>, Option<String>), IssueError> {
        // Each sign-in leaves durable records.
        if !self.app.limits.releases.allows(proof.known.person.as_str(), self.now) {
            return Err(IssueError::TooOften);
        }
        // Nobody comes any more for what waited too long.
        if transaction.request.collection().is_some_and(|collection| collection.expires_at.is_past(self.now)) {
            return Err(IssueError::Over);
        }
        let given = answer.map(|answer| Receipts::line(offer.question.clone(), offer.latest.clone(), answer));
        let standing = given.as_ref().or(offer.latest.as_ref());
        let agreed = standing.map(|line| line.receipt.agreed.as_slice()).unwrap_or_default();
        let released: Vec<&Released> =
            offer.released.iter().filter(|r| agreed.iter().any(|name| name == r.claim().as_str())).collect();
        let basis =
            [transaction.id.as_str(), &offer.subject, &offer.proposal.fingerprint(), &agreed.join(" ")].join("\n");
        let code = match transaction.request.collection() {
            Some(collection) => collection.handle.clone(),
            None => Secret::new(base64url(&self.app.seals.derived("code", &basis).map_err(SessionError::from)?)),
        };
        let session = self.living_session(transaction, proof).await?;
        // At a service that knows nobody a session would tell who came twice.
        let service = self.active.catalog.policies().service(&transaction.request.service);
        let known = service.is_some_and(|service| service.consent != Mode::Anonymous);
        let shown = session.as_deref().filter(|_| known);
        let agreed = Agreed { transaction, proof, offer, consent: standing, released: &released, session: shown };
        // The code is laid down before anything says that it was issued, so that whoever finds the sign-in finished also
        // finds its code. Nobody knows it before it is sent; one that never is ends by itself.
        let name = match transaction.request.collection() {
            // Two people may come with one terminal's code, and one may answer twice: whose answer counts, and which, the durable
            // record says.
            Some(_) => collected::place(&code, &base64url(&sha256(basis.as_bytes()))),
            None => Key::of_secret(CODES, code.expose()),
        };
        self.lay_down(&name, &code, &self.code_grant(&agreed)).await?;
        match self.commit_release(&agreed, given.as_ref(), name.id()).await {
            Ok(()) => {
                self.count_retiring(&agreed);
                self.still_signed_in(transaction, proof, session.as_deref()).await?;
                Ok((code, session))
            }
            Err(StoreError::Conflict) => {
                let finished = self.app.store.get(Class::Durable, &finished_key(transaction), self.now).await;
                let spent = self.is_answered(transaction).await;
                Err(match (finished.map_err(SessionError::from)?, spent.map_err(SessionError::from)?) {
                    // The form was posted twice: whichever post was faster, its code answers both while it lives.
                    (Some(with), _) if self.is_answered_by(&with, name.id()) => {
                        self.still_signed_in(transaction, proof, session.as_deref()).await?;
                        return Ok((code, session));
                    }
                    (None, false) => IssueError::Again,
                    _ => IssueError::Finished,
                })
            }
            Err(error) => Err(SessionError::from(error).into()),
        }
    }

    /// The session that this release belongs to: the one it comes from, if that still lives, or the one that it begins; none
    /// on a shared machine.
    async fn living_session(&self, transaction: &Transaction, proof: &Proof) -> Result<Option<String>, IssueError> {
        match &proof.session {
            _ if self.is_over(proof).await? => Err(IssueError::Over),
            _ if self.is_on_shared_machine(&transaction.request) => Ok(None),
            Some(id) => Ok(Some(id.clone())),
            None => Ok(Some(self.session_of(&proof.known.person, self.session_id(transaction)?).await?)),
        }
    }

    /// The person may have signed out while a release was being written down: then it was for nothing, and its client is told.
    async fn still_signed_in(
        &self,
        transaction: &Transaction,
        proof: &Proof,
        session: Option<&str>,
    ) -> Result<(), IssueError> {
        if !self.is_over(proof).await? {
            return Ok(());
        }
        if let Some(session) = session {
            let own = &transaction.request.client;
            self.lay_down_notices(session, &|client| client == own, None).await.map_err(SessionError::from)?;
        }
        Err(IssueError::Over)
    }

    /// Whether the session that a proof comes from has ended, or the sign-in that it is.
    async fn is_over(&self, proof: &Proof) -> Result<bool, SessionError> {
        match &proof.session {
            Some(id) => Ok(!self.lives(id).await?),
            None => Ok(self.ended_upstream(&proof.assertion).await?),
        }
    }

    /// Whether this browser's session is still the one of this name.
    async fn lives(&self, id: &str) -> Result<bool, SessionError> {
        Ok(self.session().await?.is_some_and(|session| session.id == id))
    }

    /// Whether a sign-in was finished with this code, just now.
    fn is_answered_by(&self, finished: &[u8], code_digest: &str) -> bool {
        let read = serde_json::from_slice::<(String, Timestamp)>(finished);
        read.is_ok_and(|(code, at)| code == code_digest && !at.plus(CODE_LIFETIME).is_past(self.now))
    }

    /// Stores the sealed grant under its code, if it does not lie there already.
    async fn lay_down(&self, name: &Key, code: &Secret<String>, grant: &CodeGrant) -> Result<(), SessionError> {
        let sealed = self.app.seals.record(code.expose(), grant)?;
        let write = Write::Insert(name.clone(), sealed, Some(grant.ends_at));
        match self.app.store.commit(Class::Ephemeral, Batch::of(write), self.now).await {
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The one durable commit of a sign-in: that it is finished and with which code, the link, the receipt, what crosses a
    /// border, the audit record.
    async fn commit_release(
        &self,
        agreed: &Agreed<'_>,
        given: Option<&Line>,
        code_digest: &str,
    ) -> Result<(), StoreError> {
        let Agreed { transaction, proof, offer, released, .. } = agreed;
        let until = Some(transaction.expires_at.plus(gateway_core::interaction::TRANSACTION_LIFETIME));
        let with = json!([code_digest, self.now]).to_string();
        let finished = Write::Insert(finished_key(transaction), with.into_bytes(), until);
        let mut batch = Batch::of(finished).recording(Event::CodeIssued(Box::new(self.facts(agreed))));
        batch.writes.extend(transaction.request.pushed.as_deref().map(|digest| pushed::spend(digest, self.now)));
        let collection = transaction.request.collection();
        batch.writes.extend(collection.map(|collection| collected::approved(collection, code_digest)));
        batch.writes.extend(proof.known.write.clone());
        let asks = self.active.client(&transaction.request.client).map(|registered| &registered.client);
        // Of somebody at a service that knows nobody, no name is kept.
        let asks = asks.filter(|client| agreed.session.is_some() && client.grant_types.contains(&GrantType::Ciba));
        if let Some(client) = asks {
            let known = ciba::KnownAs {
                person: proof.known.person.clone(),
                account: self.links().account_of(&proof.assertion),
                consent: agreed.consent.map(Line::reference),
            };
            let known = known.write(self.app, client, &offer.subject, self.now);
            batch.writes.push(known.map_err(|error| StoreError::Unavailable(error.to_string()))?);
        }
        if let Some(session) = agreed.session {
            // The code needs it as well, or whoever comes for the answer.
            let waits = collection.map_or(self.now.plus(CODE_LIFETIME), |collection| collection.expires_at);
            let until = self.session_ends(&proof.assertion).max(waits);
            let client = &transaction.request.client;
            let party = self.party(session, client, &offer.subject, until);
            batch.writes.push(party.map_err(|error| StoreError::Unavailable(error.to_string()))?);
            let rests_on = self.rests_on(&proof.assertion, session, client, until);
            batch.writes.extend(rests_on.map_err(|error| StoreError::Unavailable(error.to_string()))?);
        }
        batch.writes.extend(exports::marks(released, &proof.known.person, &self.app.pairwise, self.now));
        if let Some(line) = given {
            let given = self.receipts().given(line, &proof.known.person, self.now);
            batch.writes.extend(given.map_err(|error| StoreError::Unavailable(error.to_string()))?);
        }
        self.app.store.commit(Class::Durable, batch, self.now).await
    }

    /// Counts what of a release is being given up.
    fn count_retiring(&self, agreed: &Agreed<'_>) {
        let AuthorizationRequest { client, acr, .. } = &agreed.transaction.request;
        for old in &acr.old {
            self.app.usage.count(client, Retiring::Acr, &old.name, self.now);
        }
        for released in agreed.released.iter().filter(|released| released.row.until.is_some()) {
            self.app.usage.count(client, Retiring::Claim, released.claim().as_str(), self.now);
        }
    }

    /// How the person authenticated: the provider's words where they are registered ones, or else its table's.
    fn methods(&self, assertion: &Assertion) -> Vec<String> {
        let stated = assertion.amr.iter().filter(|method| METHODS.contains(&method.as_str())).cloned();
        let mut methods: Vec<String> = stated.collect();
        // A provider with words of its own may use a registered one by chance: then its words alone are not the answer.
        if methods.len() < assertion.amr.len() || methods.is_empty() {
            let by_table = self.meaning(assertion).map(|row| row.amr.clone()).unwrap_or_default();
            methods.extend(by_table.into_iter().filter(|method| !assertion.amr.contains(method)));
        }
        methods
    }

    /// The `verified_claims` of a release: of what goes out, what the provider checked.
    fn verified(
        &self,
        transaction: &Transaction,
        proof: &Proof,
        released: &[&Released],
        in_id_token: bool,
    ) -> Option<Value> {
        let policies = self.active.catalog.policies();
        let checked = policies.provider(&proof.assertion.provider)?.verification.as_ref()?;
        let was_checked =
            |released: &&&Released| released.row.from.claims().iter().all(|from| checked.claims.contains(from));
        let available = released.iter().filter(was_checked);
        let available = available.map(|released| (released.claim().to_string(), released.value.clone())).collect();
        let process = Self::trace(transaction);
        let verification =
            Verification { trust_framework: &checked.trust_framework, source: &checked.source, process: &process };
        let asked = transaction.request.claims.verified.iter().filter(|request| request.in_id_token == in_id_token);
        verified::answer(asked, &verification, &available)
    }

    fn facts(&self, agreed: &Agreed<'_>) -> LoginFacts {
        let Agreed { transaction, proof, offer, consent, released, .. } = agreed;
        let origin = |released: &&Released| audit::Origin {
            claim: released.row.claim.to_string(),
            row: released.row.id.clone(),
            rule: released.row.rule(&offer.recipient, offer.proposal.crossing),
            from: released.row.from.claims().iter().cloned().collect(),
            cover: released.cover.as_deref().cloned(),
        };
        LoginFacts {
            trace: Self::trace(transaction),
            grant: transaction.id.to_string(),
            decision: self.decision(&transaction.request, &offer.login, "permit", offer.permit.rules()),
            asked: offer.permit.asked(),
            reached: offer.permit.reached(),
            from_session: proof.session.is_some(),
            released: released.iter().map(origin).collect(),
            terminal: transaction
                .request
                .collection()
                .map(|asked| TerminalFacts { name: asked.terminal.name.clone(), place: asked.terminal.place.clone() }),
            details: offer.details.as_ref().map(|details| self.detail_facts(details)),
            receipt: consent.map(|line| line.receipt.id.clone()).unwrap_or_default(),
            crossing: offer.proposal.crossing,
        }
    }

    fn detail_facts(&self, details: &Details) -> DetailFacts {
        let digest = keyed(self.app.pairwise.expose(), &[b"details", details.to_json().to_string().as_bytes()]);
        let fields = details.fields.iter().map(|(name, _)| name.clone()).collect();
        DetailFacts { fields, digest: base64url(&digest) }
    }

    fn code_grant(&self, agreed: &Agreed<'_>) -> CodeGrant {
        let Agreed { transaction, proof, offer, consent, released, session } = agreed;
        let request = &transaction.request;
        let mut id_token_claims = Claims::default();
        let mut userinfo_claims = Claims::default();
        for claim in *released {
            let (name, asked) = (claim.claim().as_str(), &request.claims);
            if asked.id_token.contains_key(name) {
                id_token_claims.set(claim.claim(), claim.value.clone());
            }
            // Whatever was asked for by a scope of ours alone goes to the userinfo endpoint.
            let by_scope = claim.row.scope.as_ref().is_some_and(|scope| asked.scopes.contains(scope));
            let elsewhere = asked.id_token.contains_key(name) || asked.asks_as_verified(name) && !by_scope;
            if asked.asks_in_userinfo(name) || !elsewhere {
                userinfo_claims.set(claim.claim(), claim.value.clone());
            }
        }
        let rule = |released: &&Released| {
            (released.claim().to_string(), released.row.rule(&offer.recipient, offer.proposal.crossing))
        };
        CodeGrant {
            id: transaction.id.to_string(),
            client: request.client.clone(),
            redirect: request.redirect().cloned(),
            code_challenge: request.code_challenge.clone(),
            dpop_jkt: request.dpop_jkt.clone(),
            nonce: request.nonce.clone(),
            service: request.service.clone(),
            login: offer.login.clone(),
            consent: consent.map(Line::reference),
            person: proof.known.person.clone(),
            account: self.links().account_of(&proof.assertion),
            asked_acr: request.acr.clone(),
            rules: released.iter().map(rule).collect(),
            sid: session.map(|session| self.sid(session, &request.client)),
            party: session.map(|session| self.party_key(session, &request.client).id().to_owned()),
            scopes: request.claims.scopes.clone(),
            details: offer.details.clone(),
            subject: offer.subject.clone(),
            amr: self.methods(&proof.assertion),
            auth_time: proof.assertion.auth_time,
            id_token_claims,
            userinfo_claims,
            id_token_verified: self.verified(transaction, proof, released, true),
            userinfo_verified: self.verified(transaction, proof, released, false),
            issued_at: self.now,
            ends_at: request.collection().map_or(self.now.plus(CODE_LIFETIME), |collection| collection.expires_at),
        }
    }

    /// Whether the request of a sign-in was answered, by whomever.
    async fn is_answered(&self, transaction: &Transaction) -> Result<bool, StoreError> {
        match transaction.request.collection() {
            Some(collection) => Ok(collected::answer(self.app, &collection.handle, self.now).await?.is_some()),
            None => self.is_spent(transaction.request.pushed.as_deref()).await,
        }
    }
}

/// What a sign-in came to: of an offer, what the person agreed to.
struct Agreed<'a> {
    transaction: &'a Transaction,
    proof: &'a Proof,
    offer: &'a Offer,
    /// The answer that covers it; none where none was needed.
    consent: Option<&'a Line>,
    released: &'a [&'a Released],
    /// The session that it belongs to, where the client may know.
    session: Option<&'a str>,
}

const FINISHED: &str = "finished";

fn finished_key(transaction: &Transaction) -> Key {
    Key::new(FINISHED, transaction.id.as_str())
}

/// The write after which no code is issued for a sign-in any more, whoever has its cookie. One that was finished stays so.
pub(super) fn given_up(transaction: &TransactionId, until: Timestamp) -> Write {
    Write::Insert(Key::new(FINISHED, transaction.as_str()), b"given up".to_vec(), Some(until))
}

/// Authentication method names that RFC 8176 registers; a provider's others are its own business.
const METHODS: [&str; 21] = [
    "face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop", "pwd", "rba", "retina", "sc", "sms",
    "swk", "tel", "user", "vbm", "wia",
];

/// Why a code is not issued.
#[derive(Debug, thiserror::Error)]
enum IssueError {
    /// The sign-in was finished before, and its code is gone.
    #[error("finished already")]
    Finished,
    /// This person signs in more often than anybody would.
    #[error("too often")]
    TooOften,
    /// The session that the proof comes from has ended, or nobody waits for the answer any more.
    #[error("over meanwhile")]
    Over,
    /// The person was linked by another tab meanwhile.
    #[error("to be put again")]
    Again,
    #[error(transparent)]
    Other(#[from] SessionError),
}
