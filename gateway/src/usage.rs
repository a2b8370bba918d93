//! How often each client still uses what is being given up (`policies/src/retire.rs`): what this node saw since it started.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use gateway_core::ids::ClientId;
use gateway_core::time::Timestamp;
use serde::Serialize;

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retiring {
    /// A name for an assurance.
    Acr,
    /// The name of a claim.
    Claim,
    /// The profile of the client.
    Profile,
    /// A key of the client.
    Key,
}

/// How often one client used one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Who.
    pub client: ClientId,
    /// What kind of thing.
    pub kind: Retiring,
    /// Which.
    pub value: String,
    /// How often.
    pub times: u64,
    /// When last.
    pub last: Timestamp,
}

/// The most rows.
const MOST: usize = 10_000;

/// All of it. There is one row for each client and thing that is given up.
#[derive(Debug, Default)]
pub struct Usage(Mutex<BTreeMap<Use, (u64, Timestamp)>>);

/// Who uses what.
type Use = (ClientId, Retiring, String);

impl Usage {
    /// Counts one use.
    pub fn count(&self, client: &ClientId, kind: Retiring, value: &str, now: Timestamp) {
        tracing::info!(%client, ?kind, value, "still uses what is being given up");
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (client.clone(), kind, value.to_owned());
        // Names of keys are for clients to choose.
        if rows.len() >= MOST && !rows.contains_key(&key) {
            return;
        }
        let row = rows.entry(key).or_insert((0, now));
        *row = (row.0.saturating_add(1), now);
    }

    /// What was counted.
    #[must_use]
    pub fn shown(&self) -> Vec<Used> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |((client, kind, value), (times, last)): (&Use, &(u64, Timestamp))| Used {
            client: client.clone(),
            kind: *kind,
            value: value.clone(),
            times: *times,
            last: *last,
        };
        rows.iter().map(used).collect()
    }
}
