//! The clock and the source of randomness: the only two places where the gateway touches either.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use gateway_core::ids::base64url;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, in whole seconds.
    fn now(&self) -> Timestamp;

    /// Now, in milliseconds since 1970.
    fn millis(&self) -> u64 {
        self.now().0.saturating_mul(1_000)
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since.map_or(0, |since| since.as_secs()))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn millis(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.ok().and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
    }
}

/// The operating system has no randomness to give: no login may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no randomness is to be had")]
pub struct NoEntropy;

/// The source of randomness.
#[derive(Debug, Default)]
pub struct Entropy(());

impl Entropy {
    /// Fresh random bytes.
    ///
    /// # Errors
    /// [`NoEntropy`]; never a weak substitute.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that draws randomness")]
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], NoEntropy> {
        let mut bytes = [0; N];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoEntropy)?;
        Ok(bytes)
    }

    /// An opaque value of 32 random bytes in base64url: codes, tokens, session identifiers.
    ///
    /// # Errors
    /// [`NoEntropy`].
    pub fn token(&self) -> Result<Secret<String>, NoEntropy> {
        Ok(Secret::new(base64url(&self.bytes::<32>()?)))
    }
}
