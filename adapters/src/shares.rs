//! A bound on work that is done at the same time, with fair shares: one client, provider, host or address never has all of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound of one kind of work.
pub struct Shares {
    name: &'static str,
    all: Arc<Semaphore>,
    each: &'static [usize],
    taken: Arc<Mutex<HashMap<String, usize>>>,
    refused: AtomicU64,
}

/// A place for one piece of work; it is free again when this is dropped.
pub struct Share {
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

/// The owners of a place, counted against their shares.
struct Counted {
    taken: Arc<Mutex<HashMap<String, usize>>>,
    owners: Vec<String>,
}

impl Shares {
    /// At most `most` at the same time, and of one owner at most what `each` says at its place: a client, say, and then a host.
    #[must_use]
    pub fn new(name: &'static str, most: usize, each: &'static [usize]) -> Self {
        Self { name, all: Arc::new(Semaphore::new(most)), each, taken: Arc::default(), refused: AtomicU64::new(0) }
    }

    /// A place for work of these owners, in the order of their bounds, if there is one now. Refusals are logged and counted.
    pub fn try_take(&self, owners: &[&str]) -> Option<Share> {
        let counted = self.count(owners);
        let place = counted.and_then(|counted| Some((counted, Arc::clone(&self.all).try_acquire_owned().ok()?)));
        self.given(place, owners)
    }

    /// The same, waiting up to `patience` for a place. An owner that has its share waits for nothing.
    pub async fn take(&self, owners: &[&str], patience: Duration) -> Option<Share> {
        let Some(counted) = self.count(owners) else { return self.given(None, owners) };
        let place = tokio::time::timeout(patience, Arc::clone(&self.all).acquire_owned()).await;
        self.given(place.ok().and_then(Result::ok).map(|place| (counted, place)), owners)
    }

    /// How many places are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.all.available_permits()
    }

    /// How often a place was refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn given(&self, place: Option<(Counted, OwnedSemaphorePermit)>, owners: &[&str]) -> Option<Share> {
        if place.is_none() {
            let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
            // A flood of refusals is no flood of lines.
            if refused.is_power_of_two() || refused.is_multiple_of(1_000) {
                tracing::warn!(limit = self.name, owners = owners.join(" "), refused, "limit reached");
            }
        }
        place.map(|(counted, place)| Share { _place: place, _counted: counted })
    }

    fn count(&self, owners: &[&str]) -> Option<Counted> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Each has a bound of its own; the last one is that of all further ones.
        let bounds = self.each.iter().chain(std::iter::repeat(self.each.last().unwrap_or(&0)));
        if owners.iter().zip(bounds).any(|(owner, most)| taken.get(*owner).is_some_and(|count| count >= most)) {
            return None;
        }
        for owner in owners {
            *taken.entry((*owner).to_owned()).or_default() += 1;
        }
        let owners = owners.iter().map(|owner| (*owner).to_owned()).collect();
        Some(Counted { taken: Arc::clone(&self.taken), owners })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in &self.owners {
            if let Some(count) = taken.get_mut(owner) {
                *count -= 1;
                if *count == 0 {
                    taken.remove(owner);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_has_more_than_a_share_and_what_is_given_back_is_there_again() {
        let shares = Shares::new("test", 4, &[1, 2]);
        let own: Vec<Share> = ["a", "b"].map(|own| shares.try_take(&[own, "host"]).unwrap()).into();
        assert!(shares.try_take(&["a", "other"]).is_none() && shares.try_take(&["c", "host"]).is_none());
        let others = (shares.try_take(&["c", "other"]).unwrap(), shares.try_take(&["d", "other"]).unwrap());
        assert!(shares.try_take(&["e", "third"]).is_none(), "all are taken");
        assert!(shares.take(&["e", "third"], Duration::from_millis(20)).await.is_none());
        assert_eq!(shares.refused(), 4);
        drop(own);
        assert!(shares.try_take(&["a", "host"]).is_some());
        drop(others);
        assert!(shares.taken.lock().unwrap().is_empty(), "nothing is kept of owners that are gone");
    }

    #[tokio::test]
    async fn who_waits_gets_the_next_place() {
        let shares = Arc::new(Shares::new("test", 1, &[1]));
        let first = shares.try_take(&["a"]).unwrap();
        let waiting = tokio::spawn({
            let shares = Arc::clone(&shares);
            async move { shares.take(&["b"], Duration::from_secs(5)).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap());
    }
}
