//! What the adapters of all nodes agree on, over the store.
//!
//! **Time stamps that never go backwards.** A provider may demand that no request carries a smaller stamp than one before
//! it. Giving every request a stamp of its own does not achieve that with many requests on their way: a later one may
//! arrive first. So time is cut into windows that all nodes share, and every request of a window carries the window's
//! stamp: inside a window nothing can be overtaken. One window ends before the next begins, with a pause between them
//! that is longer than requests differ on their way. A window is claimed by one atomic insert in the durable class, so
//! that stamps rise through restarts and clocks set back; it costs one commit in half a minute, and a call that falls
//! into the pause waits for its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adapters::shared::{Shared, SharedError};
use async_trait::async_trait;
use gateway_core::digest::sha256;
use gateway_core::ids::base64url;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::ports::Clock;
use crate::seal::Seals;
use crate::store::{Batch, Class, Key, Store, StoreError, Write};

/// How long one window lasts, in milliseconds: the oldest that a stamp can be.
const WINDOW: u64 = 30_000;
/// The pause between two windows, in milliseconds: more than requests differ on their way and nodes' clocks from each
/// other. What exceeds it is refused by the provider and sent again.
const PAUSE: u64 = 300;
/// How often a window is tried for: nodes that claim at once make way for one of them each time.
const ATTEMPTS: usize = 50;
/// How long a window that was claimed stays so.
const CLAIMED: Duration = Duration::from_secs(86_400);

/// A stretch of time, by the nodes' clocks in milliseconds, and the stamp of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    stamp: u64,
    from: u64,
    until: u64,
}

/// What is to be done about a stamp now.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// Use this one.
    Stamp(u64),
    /// It begins in so many milliseconds.
    Wait(u64),
    /// It is over, or a clock was set back: this one is next.
    Claim(Window),
}

impl Window {
    fn turn(self, now: u64) -> Turn {
        let lasts = self.until.saturating_sub(now);
        if now >= self.from && lasts > 0 && lasts <= WINDOW {
            return Turn::Stamp(self.stamp);
        }
        if now < self.from && self.from - now <= PAUSE {
            return Turn::Wait(self.from - now);
        }
        // After a clock was set back the old window lies ahead, and nothing on its way can be later than now.
        let ended = self.until.min(now);
        let from = now.max(ended + PAUSE);
        Turn::Claim(Self { stamp: now.max(self.stamp + 1), from, until: from + WINDOW })
    }

    /// The same for a call whose stamp was refused: another node, whose clock is ahead, is in a later window already.
    fn turn_after(self, refused: Option<u64>, now: u64) -> Turn {
        match refused {
            Some(refused) if self.stamp <= refused => {
                Turn::Claim(Self { stamp: now.max(refused + 1), from: now, until: now + WINDOW })
            }
            _ => self.turn(now),
        }
    }

    /// What comes before the first.
    const NONE: Self = Self { stamp: 0, from: 0, until: 0 };
}

/// The shared state of one node.
pub struct SharedState {
    store: Arc<Store>,
    seals: Arc<Seals>,
    clock: Arc<dyn Clock>,
    windows: Mutex<HashMap<String, Window>>,
}

impl SharedState {
    /// Over this node's store.
    #[must_use]
    pub fn new(store: Arc<Store>, seals: Arc<Seals>, clock: Arc<dyn Clock>) -> Self {
        Self { store, seals, clock, windows: Mutex::default() }
    }

    async fn stored(&self, key: &Key, now: Timestamp) -> Result<Window, SharedError> {
        let stored = self.store.get(Class::Durable, key, now).await.map_err(unavailable)?;
        match stored {
            None => Ok(Window::NONE),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| SharedError(error.to_string())),
        }
    }

    /// Claims the window that follows `before`; false when another node was faster.
    async fn claim(&self, key: &Key, before: Window, next: Window, now: Timestamp) -> Result<bool, SharedError> {
        let bytes = serde_json::to_vec(&next).map_err(|error| SharedError(error.to_string()))?;
        let gate = Key::new("stamp-after", &format!("{}/{}", key.id(), before.stamp));
        let batch = Batch::of(Write::Insert(gate, Vec::new(), Some(now.plus(CLAIMED)))).and(Write::Put(
            key.clone(),
            bytes,
            None,
        ));
        match self.store.commit(Class::Durable, batch, now).await {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }
}

fn unavailable(error: StoreError) -> SharedError {
    SharedError(error.to_string())
}

fn named(table: &'static str, name: &str) -> Key {
    Key::new(table, &base64url(&sha256(name.as_bytes())))
}

#[async_trait]
impl Shared for SharedState {
    async fn stamp(&self, series: &str, refused: Option<u64>) -> Result<u64, SharedError> {
        let key = named("stamp", series);
        for _ in 0..ATTEMPTS {
            let known = self.windows.lock().await.get(series).copied().unwrap_or(Window::NONE);
            match known.turn_after(refused, self.clock.millis()) {
                Turn::Stamp(stamp) => return Ok(stamp),
                Turn::Wait(millis) => {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    continue;
                }
                Turn::Claim(_) => {}
            }
            // Held while the store is asked, so that a hundred calls ask once.
            let mut windows = self.windows.lock().await;
            if windows.get(series).copied().unwrap_or(Window::NONE) != known {
                continue;
            }
            let stored = self.stored(&key, self.clock.now()).await?;
            let next = match stored.turn_after(refused, self.clock.millis()) {
                Turn::Claim(next) => {
                    if !self.claim(&key, stored, next, self.clock.now()).await? {
                        continue;
                    }
                    next
                }
                Turn::Stamp(_) | Turn::Wait(_) => stored,
            };
            windows.insert(series.to_owned(), next);
        }
        Err(SharedError("no time stamp is to be had".to_owned()))
    }

    async fn load(&self, name: &str, now: Timestamp) -> Result<Option<Secret<String>>, SharedError> {
        let key = named("shared", name);
        let Some(sealed) = self.store.get(Class::Ephemeral, &key, now).await.map_err(unavailable)? else {
            return Ok(None);
        };
        let plain = self.seals.open_at_rest(key.as_str(), &sealed).map_err(|error| SharedError(error.to_string()))?;
        Ok(String::from_utf8(plain).ok().map(Secret::new))
    }

    async fn keep(
        &self,
        name: &str,
        value: &Secret<String>,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), SharedError> {
        let key = named("shared", name);
        let sealed = self.seals.at_rest(key.as_str(), value.expose().as_bytes());
        let sealed = sealed.map_err(|error| SharedError(error.to_string()))?;
        let batch = Batch::of(Write::Put(key, sealed, Some(until)));
        self.store.commit(Class::Ephemeral, batch, now).await.map_err(unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: u64 = 1_700_000_000_000;

    #[test]
    fn a_window_serves_until_its_end_and_the_next_begins_after_a_pause() {
        let window = Window { stamp: T, from: T, until: T + WINDOW };
        assert_eq!(window.turn(T), Turn::Stamp(T));
        assert_eq!(window.turn(T + WINDOW - 1), Turn::Stamp(T));
        let end = T + WINDOW;
        let next = Window { stamp: end, from: end + PAUSE, until: end + PAUSE + WINDOW };
        assert_eq!(window.turn(end), Turn::Claim(next));
        assert_eq!(next.turn(end), Turn::Wait(PAUSE));
        assert_eq!(next.turn(end + PAUSE), Turn::Stamp(end));
        let quiet = end + 3_600_000;
        assert_eq!(window.turn(quiet), Turn::Claim(Window { stamp: quiet, from: quiet, until: quiet + WINDOW }));
    }

    #[test]
    fn a_clock_set_back_makes_no_stamp_smaller() {
        let window = Window { stamp: T, from: T, until: T + WINDOW };
        let back = T - 3_600_000;
        let Turn::Claim(next) = window.turn(back) else { panic!("no claim") };
        assert_eq!(next, Window { stamp: T + 1, from: back + PAUSE, until: back + PAUSE + WINDOW });
        assert_eq!(next.turn(back + PAUSE), Turn::Stamp(T + 1));
    }

    #[test]
    fn the_first_window_begins_at_once() {
        assert_eq!(Window::NONE.turn(T), Turn::Claim(Window { stamp: T, from: T, until: T + WINDOW }));
    }
}
