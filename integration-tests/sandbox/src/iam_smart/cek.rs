//! The content encryption key of one client: at most one lives at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openssl::error::ErrorStack;

use super::crypto::{self, Key};
use crate::clock::now_unix;

/// How long a key lives unless told otherwise.
pub(super) const LIFE: Duration = Duration::from_secs(3600);

/// A key and the time it has.
#[derive(Clone)]
pub(super) struct Cek {
    pub(super) key: Key,
    /// Milliseconds since the epoch; the sandbox's clock gives whole seconds.
    pub(super) issued_at: u64,
    pub(super) life: Duration,
    made: Instant,
}

/// The live key of a client, if any.
#[derive(Default)]
pub(super) struct CekStore(Mutex<Option<Cek>>);

impl CekStore {
    /// The live key.
    pub(super) fn live(&self) -> Option<Cek> {
        self.lock().clone().filter(|cek| cek.made.elapsed() < cek.life)
    }

    /// The live key, or a new one that lives `life`.
    pub(super) fn live_or_new(&self, life: Duration) -> Result<Cek, ErrorStack> {
        let mut slot = self.lock();
        if let Some(live) = slot.as_ref().filter(|cek| cek.made.elapsed() < cek.life) {
            return Ok(live.clone());
        }
        let cek = Cek { key: crypto::random()?, issued_at: now_unix() * 1000, life, made: Instant::now() };
        *slot = Some(cek.clone());
        Ok(cek)
    }

    /// Drops the key, live or not.
    pub(super) fn revoke(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Cek>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
