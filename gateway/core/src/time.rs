//! Points in time, in whole seconds. `now` is always an argument.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01 UTC, the unit of every time in OpenID Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// The one clock-skew allowance between us and any peer, in both directions.
pub const SKEW: Duration = Duration::from_secs(60);

impl Timestamp {
    /// This time plus `span`; stops at the end of time instead of wrapping.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }

    /// This time minus `span`; stops at 1970.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_secs()))
    }

    /// How long before `now` this was; zero when it lies in the future.
    #[must_use]
    pub fn age(self, now: Self) -> Duration {
        Duration::from_secs(now.0.saturating_sub(self.0))
    }

    /// True once the thing that ends at this time has ended.
    #[must_use]
    pub fn is_past(self, now: Self) -> bool {
        now >= self
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp(5).minus(Duration::from_secs(9)), Timestamp(0));
        assert_eq!(Timestamp(u64::MAX).plus(Duration::from_secs(1)), Timestamp(u64::MAX));
        assert_eq!(Timestamp(9).age(Timestamp(5)), Duration::ZERO);
    }

    #[test]
    fn a_thing_ends_at_its_end_not_after() {
        assert!(Timestamp(10).is_past(Timestamp(10)));
        assert!(!Timestamp(10).is_past(Timestamp(9)));
    }
}
