//! The transaction cookie: one for each sign-in, so that ten tabs do not overwrite each other.
//!
//! A request that is too large to travel is kept in the ephemeral class, written once, and the cookie has its key.

use axum::response::Response;
use gateway_core::authorize::AuthorizationRequest;
use gateway_core::error::Failure;
use gateway_core::ids::{ProviderId, TransactionId, base64url};
use gateway_core::interaction::{LinkQuestion, Stage, Transaction};
use gateway_core::locale::Locale;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Visit;
use super::issue::given_up;
use super::session::SessionError;
use crate::http::{reply, request};
use crate::seal::SealError;
use crate::store::{Batch, Class, Key, StoreError, Write};

/// The names of transaction cookies begin so.
const PREFIX: &str = "__Host-login-";
/// Requests that are too large to travel.
const KEPT: &str = "transaction-request";

/// What all transaction cookies of one browser may weigh; beyond it the oldest starts are let go.
const MOST_BYTES: usize = 11 * 1024;
/// The largest request that travels, in bytes: with it a cookie stays far below the 4 KiB that browsers keep, and five fit beside
/// each other.
const MOST_CARRIED: usize = 1_200;

/// What the cookie holds.
#[derive(Serialize, Deserialize)]
struct Cookie {
    id: TransactionId,
    request: Carried,
    stage: Stage,
    locale: Option<Locale>,
    failure: Option<Failure>,
    fell_short: Option<ProviderId>,
    link: LinkQuestion,
    expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
enum Carried {
    /// The request itself.
    Here(Box<AuthorizationRequest>),
    /// The key under which it is kept.
    Kept(Secret<String>),
}

fn name(id: &TransactionId) -> String {
    format!("{PREFIX}{id}")
}

/// Whether a request is too large to travel in a cookie.
pub(super) fn is_large(request: &AuthorizationRequest) -> bool {
    postcard::to_stdvec(request).map_or(true, |bytes| bytes.len() > MOST_CARRIED)
}

impl Visit<'_> {
    /// The transaction of this id, if it is this browser's and still runs.
    pub(super) async fn transaction(&self, id: &TransactionId) -> Result<Option<Transaction>, SessionError> {
        let Some(cookie) = self.cookie(id) else { return Ok(None) };
        let (request, kept) = match cookie.request {
            Carried::Here(request) => (*request, None),
            Carried::Kept(key) => match self.kept_request(&key).await? {
                Some(request) => (request, Some(key)),
                None => return Ok(None),
            },
        };
        let Cookie { id, stage, locale, failure, fell_short, link, expires_at, .. } = cookie;
        Ok(Some(Transaction { id, request, kept, stage, locale, failure, fell_short, link, expires_at }))
    }

    fn cookie(&self, id: &TransactionId) -> Option<Cookie> {
        let name = name(id);
        let sealed = decode(request::cookie(self.parts, &name)?)?;
        let cookie: Cookie = self.app.seals.open_cookie(&name, &sealed, self.now).ok()?;
        (cookie.id == *id).then_some(cookie)
    }

    async fn kept_request(&self, key: &Secret<String>) -> Result<Option<AuthorizationRequest>, SessionError> {
        let (secret, class) = (key.expose(), Class::Ephemeral);
        let Some(sealed) = self.app.store.get(class, &Key::of_secret(KEPT, secret), self.now).await? else {
            return Ok(None);
        };
        Ok(self.app.seals.open_record(secret, &sealed))
    }

    /// Keeps a request that is too large to travel, as long as its sign-in may take, waiting for a provider included.
    pub(super) async fn keep_request(&self, request: &AuthorizationRequest) -> Result<Secret<String>, SessionError> {
        let key = self.app.entropy.token()?;
        let sealed = self.app.seals.record(key.expose(), request)?;
        let until = self.now.plus(4 * gateway_core::interaction::TRANSACTION_LIFETIME);
        let write = Write::Insert(Key::of_secret(KEPT, key.expose()), sealed, Some(until));
        self.app.store.commit(Class::Ephemeral, Batch::of(write), self.now).await?;
        Ok(key)
    }

    /// Writes a transaction into its cookie.
    pub(super) fn keep(&self, response: &mut Response, transaction: Transaction) -> Result<(), SealError> {
        let Transaction { id, request, kept, stage, locale, failure, fell_short, link, expires_at } = transaction;
        let name = name(&id);
        let request = kept.map_or_else(|| Carried::Here(Box::new(request)), Carried::Kept);
        let cookie = Cookie { id, request, stage, locale, failure, fell_short, link, expires_at };
        let sealed = base64url(&self.app.seals.cookie(&name, &cookie, self.now)?);
        self.make_room(response, &name, sealed.len());
        reply::set_cookie(response, &name, &sealed, expires_at.0.saturating_sub(self.now.0));
        Ok(())
    }

    /// Ends a sign-in in which somebody has proved who they are, on record: a copy of its cookie leads to no code any more. Before
    /// that there is nothing to end, and nothing is written.
    pub(super) async fn give_up(&self, transaction: &Transaction) -> Result<(), StoreError> {
        if is_proved(&transaction.stage, &transaction.link) {
            self.end_sign_in(&transaction.id, transaction.expires_at).await
        } else {
            Ok(())
        }
    }

    /// The same for every sign-in of this browser.
    pub(super) async fn give_up_all(&self) -> Result<(), StoreError> {
        let named = request::cookies(self.parts).filter_map(|(name, _)| name.strip_prefix(PREFIX)?.parse().ok());
        let cookies: Vec<Cookie> = named.filter_map(|id| self.cookie(&id)).collect();
        for cookie in cookies {
            if is_proved(&cookie.stage, &cookie.link) {
                self.end_sign_in(&cookie.id, cookie.expires_at).await?;
            }
        }
        Ok(())
    }

    /// Gives up what people before left on a shared machine; a link on any page may ask for that, and ends nothing else.
    pub(super) async fn give_up_left(&self) -> Result<Vec<Transaction>, SessionError> {
        let named = request::cookies(self.parts).filter_map(|(name, _)| name.strip_prefix(PREFIX)?.parse().ok());
        let named: Vec<TransactionId> = named.collect();
        let mut left = Vec::new();
        for id in named {
            let Some(transaction) = self.transaction(&id).await? else { continue };
            if self.is_on_shared_machine(&transaction.request) {
                self.give_up(&transaction).await?;
                left.push(transaction);
            }
        }
        Ok(left)
    }

    async fn end_sign_in(&self, id: &TransactionId, expires_at: Timestamp) -> Result<(), StoreError> {
        let until = expires_at.plus(gateway_core::interaction::TRANSACTION_LIFETIME);
        match self.app.store.commit(Class::Durable, Batch::of(given_up(id, until)), self.now).await {
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a transaction's cookie.
    pub(super) fn forget(response: &mut Response, transaction: &Transaction) {
        reply::drop_cookie(response, &name(&transaction.id));
    }

    /// Removes every sign-in of this browser, and a question that waits from inside a provider's app.
    pub(super) fn forget_all(&self, response: &mut Response) {
        let ours = |name: &str| name.starts_with(PREFIX) || name == super::direct::COOKIE;
        for (name, _) in request::cookies(self.parts).filter(|(name, _)| ours(name)) {
            reply::drop_cookie(response, name);
        }
    }

    /// Lets the oldest sign-ins of this browser go when their cookies would outgrow a request header. Browsers send
    /// older cookies first.
    fn make_room(&self, response: &mut Response, keep: &str, adding: usize) {
        let others: Vec<(&str, usize)> = request::cookies(self.parts)
            .filter(|(name, _)| name.starts_with(PREFIX) && *name != keep)
            .map(|(name, value)| (name, name.len() + value.len()))
            .collect();
        let mut total: usize = adding + others.iter().map(|(_, size)| size).sum::<usize>();
        for (name, size) in others {
            if total <= MOST_BYTES {
                break;
            }
            reply::drop_cookie(response, name);
            total -= size;
        }
    }
}

/// Whether a proof of who somebody is waits for this sign-in.
fn is_proved(stage: &Stage, link: &LinkQuestion) -> bool {
    matches!(stage, Stage::Answered { .. } | Stage::Linking { .. }) || matches!(link, LinkQuestion::Proving { .. })
}

fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}
