//! Signing-key rotation as a pure function of time.
//!
//! Time is cut into periods of equal length. The key of a period signs in that period; it is published one period ahead,
//! so that every relying party has seen it before it signs, and stays published one period after, so that what it
//! signed can still be verified. No node has to tell another: they all read the same clock.

use std::time::Duration;

/// How often keys change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    period: u64,
}

/// The numbers of the keys that are published at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// Published so that what it signed can be verified; `None` in the very first period.
    pub retiring: Option<u64>,
    /// Signs.
    pub current: u64,
    /// Published ahead.
    pub next: u64,
}

impl Phase {
    /// The published keys, the signing one first.
    pub fn published(&self) -> impl Iterator<Item = u64> {
        [Some(self.current), Some(self.next), self.retiring].into_iter().flatten()
    }
}

impl Rotation {
    /// A rotation with this period; at least one hour, so that overlap outlives every token.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        Self { period: period.as_secs().max(3_600) }
    }

    /// The length of a period, in seconds.
    #[must_use]
    pub fn period(&self) -> u64 {
        self.period
    }

    /// The phase at `now`, in seconds since 1970.
    #[must_use]
    pub fn at(&self, now: u64) -> Phase {
        let current = now / self.period;
        Phase { retiring: current.checked_sub(1), current, next: current + 1 }
    }

    /// When the phase after the one at `now` begins, in seconds since 1970.
    #[must_use]
    pub fn next_change(&self, now: u64) -> u64 {
        (now / self.period + 1) * self.period
    }

    /// When the last use of a period's key ends, in seconds since 1970: it can be deleted from then on.
    #[must_use]
    pub fn retired_at(&self, number: u64) -> u64 {
        (number + 2) * self.period
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_is_published_before_it_signs_and_after(now in 10_000u64..4_000_000_000, hours in 1u64..2_000) {
            let rotation = Rotation::every(Duration::from_secs(hours * 3_600));
            let phase = rotation.at(now);
            let later = rotation.at(rotation.next_change(now));
            prop_assert_eq!(later.current, phase.next);
            prop_assert_eq!(later.retiring, Some(phase.current));
            prop_assert!(phase.published().any(|number| number == later.current));
            prop_assert!(later.published().any(|number| number == phase.current));
            prop_assert!(rotation.retired_at(phase.current) > now + hours * 3_600);
        }
    }
}
