//! The clock and the source of randomness: the only two places where the gateway touches either.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

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

    /// Whether the time is to be believed. While it is not, nothing is removed or replaced because of it.
    fn is_plausible(&self) -> bool {
        true
    }
}

/// How far the machine's clock may move against the time that passes, in seconds, before it is not believed.
const JUMP: u64 = 300;
/// How long it has to stay where it is, in seconds, until it is believed again.
const SETTLED: u64 = 6 * 3_600;

/// The machine's clock, held against the time that passes: a clock that jumps is wrong before or after, and nobody knows which.
#[derive(Debug)]
pub struct WatchedClock {
    began: Instant,
    watched: Mutex<Watched>,
}

/// Where the clock was.
#[derive(Debug, Clone, Copy)]
struct Watched {
    /// The second in which the process began, by the clock as it was believed last.
    believed: u64,
    /// Another one, by a clock that jumped, and since when by the time that passes.
    jumped: Option<(u64, u64)>,
}

impl Watched {
    /// Takes note of a clock that says `now` when `passed` seconds passed; whether it is believed.
    fn note(&mut self, now: u64, passed: u64) -> bool {
        let began = now.saturating_sub(passed);
        if began.abs_diff(self.believed) <= JUMP {
            // It is slewed by little again and again.
            *self = Self { believed: began, jumped: None };
            return true;
        }
        match self.jumped {
            Some((to, since)) if began.abs_diff(to) <= JUMP && passed.saturating_sub(since) >= SETTLED => {
                *self = Self { believed: began, jumped: None };
                true
            }
            Some((to, _)) if began.abs_diff(to) <= JUMP => false,
            _ => {
                self.jumped = Some((began, passed));
                false
            }
        }
    }
}

impl Default for WatchedClock {
    fn default() -> Self {
        let watched = Watched { believed: SystemClock.now().0, jumped: None };
        Self { began: Instant::now(), watched: Mutex::new(watched) }
    }
}

impl Clock for WatchedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn millis(&self) -> u64 {
        SystemClock.millis()
    }

    fn is_plausible(&self) -> bool {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.note(SystemClock.now().0, self.began.elapsed().as_secs())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_is_not_believed_until_it_is_back_or_has_stayed() {
        const T: u64 = 1_800_000_000;
        const DAYS: u64 = 40 * 86_400;
        let mut watched = Watched { believed: T, jumped: None };
        // Slewed, a little each time.
        for minute in 0..100 {
            assert!(watched.note(T + minute * 62, minute * 60));
        }
        let at = |passed: u64| T + 200 + passed;
        assert!(!watched.note(at(7_000) + DAYS, 7_000));
        assert!(!watched.note(at(7_010) + DAYS, 7_010));
        assert!(watched.note(at(7_020), 7_020), "it came back");
        assert!(!watched.note(at(7_030) - 360, 7_030), "six minutes back");
        assert!(!watched.note(at(7_040) + DAYS, 7_040));
        assert!(!watched.note(at(7_040 + SETTLED - 1) + DAYS, 7_040 + SETTLED - 1));
        assert!(watched.note(at(7_040 + SETTLED) + DAYS, 7_040 + SETTLED), "it stayed");
        assert!(watched.note(at(7_050 + SETTLED) + DAYS, 7_050 + SETTLED));
    }
}
