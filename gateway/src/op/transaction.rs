//! The transaction cookie: one for each sign-in, so that ten tabs do not overwrite each other.

use axum::response::Response;
use gateway_core::ids::{TransactionId, base64url};
use gateway_core::interaction::Transaction;

use super::Visit;
use crate::http::{reply, request};
use crate::seal::SealError;

/// The names of transaction cookies begin so.
const PREFIX: &str = "__Host-login-";

/// What all transaction cookies of one browser may weigh; beyond it the oldest starts are let go.
const MOST_BYTES: usize = 11 * 1024;

fn name(id: &TransactionId) -> String {
    format!("{PREFIX}{id}")
}

impl Visit<'_> {
    /// The transaction of this id, if it is this browser's and still runs.
    pub(super) fn transaction(&self, id: &TransactionId) -> Option<Transaction> {
        let name = name(id);
        let sealed = decode(request::cookie(self.parts, &name)?)?;
        let transaction: Transaction = self.app.seals.open_cookie(&name, &sealed, self.now).ok()?;
        (transaction.id == *id).then_some(transaction)
    }

    /// Writes a transaction into its cookie.
    pub(super) fn keep(&self, response: &mut Response, transaction: &Transaction) -> Result<(), SealError> {
        let name = name(&transaction.id);
        let sealed = base64url(&self.app.seals.cookie(&name, transaction, self.now)?);
        self.make_room(response, &name, sealed.len());
        reply::set_cookie(response, &name, &sealed, transaction.expires_at.0.saturating_sub(self.now.0));
        Ok(())
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

fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}
