//! How much of each kind of work is done at the same time, and how often one party may cause a write.
//!
//! A place is taken when there is work for it: what can be refused by reading and checking is refused before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use adapters::shares::Shares;
use gateway_core::time::Timestamp;
use moka::sync::Cache;

/// Bounds of concurrent work: of all, and of one owner of each kind.
pub struct Limits {
    /// Deliveries that are believed, by provider.
    pub deliveries: Shares,
    /// Logout tokens that are believed, by provider.
    pub logouts: Shares,
    /// Request objects that are fetched, by client, host, and the address of the browser.
    pub by_reference: Shares,
    /// Trust chains of entities that are not known yet, by host.
    pub climbs: Shares,
    /// Trust chains of clients that are known, by host.
    pub renewals: Shares,
    /// Trust chains that anybody asks for, by host.
    pub resolving: Shares,
    /// Check lists, by client and by the document that it registered under. Each makes many calls.
    pub checklists: Shares,
    /// User codes that are typed, by address. A wrong one keeps its place for a moment.
    pub guesses: Shares,
    /// Sign-ins that begin at a provider, by provider and address: each makes a call there.
    pub direct: Shares,
    /// Sign-ins that are finished, by person.
    pub releases: Rate,
    /// Sign-ins that policy refuses, by person: each leaves a record.
    pub refusals: Rate,
    /// Registrations by their document, and changes of one by its client.
    pub registrations: Rate,
    /// Sign-ins that begin at a provider, by address.
    pub direct_rate: Rate,
    /// Authorization requests that are too large for a cookie, by address: each is kept.
    pub large_requests: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deliveries: Shares::new("deliveries", 256, &[192]),
            logouts: Shares::new("logout tokens", 256, &[192]),
            by_reference: Shares::new("requests by reference", 32, &[16, 16, 2]),
            climbs: Shares::new("trust chains of strangers", 16, &[4]),
            renewals: Shares::new("trust chains of clients", 16, &[4]),
            resolving: Shares::new("trust chains that are asked for", 8, &[2]),
            checklists: Shares::new("check lists", 4, &[1, 2]),
            guesses: Shares::new("user codes", 64, &[32]),
            direct: Shares::new("sign-ins from a provider", 32, &[16, 4]),
            releases: Rate::new("sign-ins of one person", [(30, MINUTE), (1_000, DAY)]),
            refusals: Rate::new("refused sign-ins of one person", [(30, MINUTE), (1_000, DAY)]),
            registrations: Rate::new("registrations", [(30, MINUTE), (500, DAY)]),
            large_requests: Rate::new("large authorization requests", [(120, MINUTE), (20_000, DAY)]),
            direct_rate: Rate::new("sign-ins from a provider", [(120, MINUTE), (20_000, DAY)]),
        }
    }
}

/// How many owners of one rate are counted; beyond that the ones that come least often start anew.
const OWNERS: u64 = 100_000;

/// Spans of rates, in seconds.
const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

/// How often each owner may do something, on this node: so many times in a span of seconds, for each of two spans.
pub struct Rate {
    name: &'static str,
    bounds: [(u32, u64); 2],
    counts: Cache<(String, u64, u64), Arc<AtomicU32>>,
}

impl Rate {
    /// At most so many times in each span of so many seconds.
    #[must_use]
    pub fn new(name: &'static str, bounds: [(u32, u64); 2]) -> Self {
        let longest = bounds.iter().map(|(_, span)| *span).max().unwrap_or(DAY);
        let counts = Cache::builder().max_capacity(OWNERS).time_to_live(Duration::from_secs(longest)).build();
        Self { name, bounds, counts }
    }

    /// Counts one more; false when it is one too many.
    pub fn allows(&self, owner: &str, now: Timestamp) -> bool {
        self.bounds.iter().all(|(most, span)| {
            let window = (owner.to_owned(), *span, now.0 / span.max(&1));
            let count = self.counts.get_with(window, Arc::default).fetch_add(1, Ordering::Relaxed);
            if count == *most {
                tracing::warn!(limit = self.name, owner, most, span, "limit reached");
            }
            count < *most
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_owner_has_its_own_count_and_a_new_one_in_each_span() {
        let rate = Rate::new("test", [(2, 60), (5, 3_600)]);
        let now = Timestamp(600);
        let allowed = |owner, now| (0..3).map(|_| rate.allows(owner, now)).collect::<Vec<_>>();
        assert_eq!(allowed("a", now), [true, true, false]);
        assert_eq!(allowed("b", now), [true, true, false]);
        assert_eq!(allowed("a", Timestamp(660)), [true, true, false]);
        // The longer span counts what the shorter one let pass.
        assert_eq!(allowed("a", Timestamp(720)), [true, false, false]);
        assert_eq!(allowed("a", Timestamp(4_000)), [true, true, false]);
    }
}
