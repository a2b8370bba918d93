//! What a client has used up: timestamps must not go back, nonces and business identifiers not repeat.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Values remembered of each kind; a simulator that has seen more forgets them all.
const CAPACITY: usize = 1_000_000;

/// The values one client has used.
#[derive(Default)]
pub(super) struct Sequence(Mutex<Used>);

#[derive(Default)]
struct Used {
    timestamp: u64,
    nonces: HashSet<String>,
    business_ids: HashSet<String>,
}

/// Why a timestamp and nonce are not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The timestamp is smaller than one used before.
    Stale,
    /// The nonce was used before.
    Repeated,
}

impl Sequence {
    /// Uses up a timestamp and a nonce together, or neither.
    pub(super) fn admit(&self, timestamp: u64, nonce: &str) -> Result<(), Refused> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if timestamp < used.timestamp {
            return Err(Refused::Stale);
        }
        if !remember(&mut used.nonces, nonce) {
            return Err(Refused::Repeated);
        }
        used.timestamp = timestamp;
        Ok(())
    }

    /// Uses up a business identifier; `false` when it was used before.
    pub(super) fn claim_business_id(&self, id: &str) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remember(&mut used.business_ids, id)
    }
}

fn remember(set: &mut HashSet<String>, value: &str) -> bool {
    if set.len() >= CAPACITY {
        set.clear();
    }
    set.insert(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_may_stand_still_but_not_go_back() {
        let sequence = Sequence::default();
        assert_eq!(sequence.admit(10, "a"), Ok(()));
        assert_eq!(sequence.admit(10, "b"), Ok(()));
        assert_eq!(sequence.admit(9, "c"), Err(Refused::Stale));
        assert_eq!(sequence.admit(11, "a"), Err(Refused::Repeated));
        assert_eq!(sequence.admit(10, "c"), Ok(()), "refused calls use nothing up");
    }
}
