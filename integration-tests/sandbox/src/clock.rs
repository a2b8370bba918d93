//! The one place in the sandbox that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

/// Whole seconds since the Unix epoch, now; every lifetime in the simulators is measured with it.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "a simulator has no clock port; this is its only use of the system clock"
)]
pub fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
