//! What leaves the process sealed: transaction cookies, and the records in which personal data waits.
//!
//! A record is sealed under a key derived from the master key *and* the bearer secret that names it. The store holds
//! neither, so reading it opens nothing.

use certs::vault::{Sealer, Vault, VaultError};
use gateway_core::digest::{Digest, keyed};
use gateway_core::time::{SKEW, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ports::{Entropy, NoEntropy};

/// How long a cookie key seals before the next takes over; it opens for as long again.
const COOKIE_KEY_PERIOD: u64 = 86_400;

/// Why something cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It was changed, is for another purpose, or was sealed under a key that is gone.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// What was sealed is not what was expected.
    #[error("a sealed record has an unknown form")]
    Record(#[from] serde_json::Error),
    /// What was sealed is not what was expected.
    #[error("a sealed cookie has an unknown form")]
    Cookie(#[from] postcard::Error),
}

/// Seals and opens under the master key.
pub struct Seals {
    vault: Vault,
    entropy: Entropy,
}

impl Seals {
    /// Seals under this vault.
    #[must_use]
    pub fn new(vault: Vault) -> Self {
        Self { vault, entropy: Entropy::default() }
    }

    /// A key of its own for one purpose, the same on every node and after every restart.
    ///
    /// # Errors
    /// [`SealError::Vault`].
    pub fn key(&self, purpose: &str) -> Result<Vec<u8>, SealError> {
        Ok(self.vault.derive(purpose, b"1")?.to_vec())
    }

    fn cookie_sealer(&self, period: u64) -> Result<Sealer, SealError> {
        Ok(self.vault.sealer("cookie", &period.to_be_bytes())?)
    }

    /// Seals a value into a cookie of this name, in a form without field names: ten of them share a request header.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn cookie<T: Serialize>(&self, name: &str, value: &T, now: Timestamp) -> Result<Vec<u8>, SealError> {
        let sealer = self.cookie_sealer(now.0 / COOKIE_KEY_PERIOD)?;
        Ok(sealer.seal(&postcard::to_stdvec(value)?, name.as_bytes(), self.entropy.bytes()?)?)
    }

    /// Opens a cookie of this name, sealed under the current key, the one before, or, by a node whose clock is ahead, the next.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open_cookie<T: DeserializeOwned>(&self, name: &str, sealed: &[u8], now: Timestamp) -> Result<T, SealError> {
        let period = now.0 / COOKIE_KEY_PERIOD;
        let open = |period| Ok::<_, SealError>(self.cookie_sealer(period)?.open(sealed, name.as_bytes())?);
        let ahead = now.plus(SKEW).0 / COOKIE_KEY_PERIOD;
        let plain = open(period).or_else(|error| if ahead > period { open(ahead) } else { Err(error) });
        let plain = plain.or_else(|_| open(period.saturating_sub(1)))?;
        Ok(postcard::from_bytes(&plain)?)
    }

    /// Seals a record for whoever holds `secret`.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn record<T: Serialize>(&self, secret: &str, value: &T) -> Result<Vec<u8>, SealError> {
        let sealer = self.vault.sealer("record", secret.as_bytes())?;
        Ok(sealer.seal(&serde_json::to_vec(value)?, b"", self.entropy.bytes()?)?)
    }

    /// Opens a record with the secret it was sealed for. One that cannot be read is as good as none: it is named in the log, and its
    /// owner is asked again.
    pub fn open_record<T: DeserializeOwned>(&self, secret: &str, sealed: &[u8]) -> Option<T> {
        let opened = self.vault.sealer("record", secret.as_bytes()).and_then(|sealer| sealer.open(sealed, b""));
        let opened = opened.map_err(SealError::from).and_then(|plain| Ok(serde_json::from_slice(&plain)?));
        opened.inspect_err(|error| tracing::error!(%error, "a stored record cannot be read")).ok()
    }

    /// Seals bytes that rest in the durable class, bound to their name.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn at_rest(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok(self.vault.sealer("at-rest", b"1")?.seal(plain, name.as_bytes(), self.entropy.bytes()?)?)
    }

    /// Opens bytes that rest in the durable class.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open_at_rest(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok(self.vault.sealer("at-rest", b"1")?.open(sealed, name.as_bytes())?.to_vec())
    }

    /// A secret that follows from another value and from nothing that anybody else knows: the same input gives the same
    /// secret, so that a form posted twice is answered alike.
    ///
    /// # Errors
    /// [`SealError::Vault`].
    pub fn derived(&self, purpose: &str, value: &str) -> Result<Digest, SealError> {
        Ok(keyed(&self.key("derived")?, &[purpose.as_bytes(), value.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_opens_under_its_own_name_for_at_most_two_periods() {
        let seals = Seals::new(Vault::new([1; 32]));
        let now = Timestamp(COOKIE_KEY_PERIOD * 100 + 5);
        let sealed = seals.cookie("a", &"value", now).unwrap();
        let open = |name, at| seals.open_cookie::<String>(name, &sealed, at).ok();
        assert_eq!(open("a", now).as_deref(), Some("value"));
        assert_eq!(open("a", Timestamp(now.0 + COOKIE_KEY_PERIOD)).as_deref(), Some("value"));
        assert_eq!(open("a", Timestamp(now.0 + 2 * COOKIE_KEY_PERIOD)), None);
        assert_eq!(open("b", now), None);
    }

    /// A node that is a few seconds behind at midnight opens what another one sealed.
    #[test]
    fn a_cookie_of_a_node_whose_clock_is_ahead_opens() {
        let seals = Seals::new(Vault::new([1; 32]));
        let midnight = Timestamp(COOKIE_KEY_PERIOD * 100);
        let sealed = seals.cookie("a", &"value", midnight).unwrap();
        let open = |at| seals.open_cookie::<String>("a", &sealed, at).ok();
        assert_eq!(open(Timestamp(midnight.0 - 5)).as_deref(), Some("value"));
        assert_eq!(open(Timestamp(midnight.0 - 600)), None);
    }

    #[test]
    fn a_record_opens_only_with_its_own_secret() {
        let seals = Seals::new(Vault::new([1; 32]));
        let sealed = seals.record("secret", &"value").unwrap();
        assert_eq!(seals.open_record::<String>("secret", &sealed).unwrap(), "value");
        assert!(seals.open_record::<String>("other", &sealed).is_none());
        assert!(Seals::new(Vault::new([2; 32])).open_record::<String>("secret", &sealed).is_none());
    }
}
