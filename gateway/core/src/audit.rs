//! What a login leaves behind: one record an event, each chained to the one before by SHA-256.
//!
//! A record holds names of claims, never values, and nothing that leads back to a person without the gateway's keys.
//! There is one chain a node, because a single chain would be a lock on everybody.

use serde::{Deserialize, Serialize};

use crate::assurance::Assurance;
use crate::digest::{Digest, sha256};
use crate::ids::{ClientId, ProviderId, ServiceId};
use crate::jurisdiction::Crossing;
use crate::time::Timestamp;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A code was sent to a client.
    CodeIssued(Box<LoginFacts>),
    /// A code was redeemed for tokens.
    CodeRedeemed {
        /// The grant.
        grant: String,
        /// Who redeemed it.
        client: ClientId,
    },
    /// A code was presented again; everything minted from it is revoked.
    CodeReplayed {
        /// The grant.
        grant: String,
        /// Who presented it.
        client: ClientId,
    },
    /// A link between two accounts of one person was made, put up for review, decided or undone.
    Link {
        /// The ledger's entry.
        entry: String,
        /// The provider whose account was brought in.
        first: ProviderId,
        /// The provider whose account it was linked with.
        second: ProviderId,
        /// Where it stands now.
        status: crate::link::Status,
        /// Who brought that about.
        by: crate::link::Actor,
    },
}

/// Enough to replay a decision later without any personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginFacts {
    /// Quoted by the person, the client and the provider.
    pub trace: String,
    /// The grant that follows from it.
    pub grant: String,
    /// Who receives.
    pub client: ClientId,
    /// For which matter.
    pub service: ServiceId,
    /// Who vouched.
    pub provider: ProviderId,
    /// The bundle that decided.
    pub policy_version: String,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// The assurance the login needed.
    pub asked: Assurance,
    /// The assurance it reached.
    pub reached: Assurance,
    /// Seconds since the person authenticated.
    pub age: u64,
    /// Whether an earlier sign-in in this browser served.
    pub from_session: bool,
    /// Names of the claims released.
    pub released: Vec<String>,
    /// The receipt that covers them.
    pub receipt: String,
    /// The border crossed, if any.
    pub crossing: Option<Crossing>,
}

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which chain.
    pub node: String,
    /// Its place in the chain, from 1.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// The hash of the record before, hex; 64 zeros for the first.
    pub previous: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// The end of a chain: everything needed to add the next record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The last record's place; 0 for an empty chain.
    pub sequence: u64,
    /// The last record's hash.
    pub hash: Digest,
}

impl Head {
    /// The head of an empty chain.
    pub const EMPTY: Self = Self { sequence: 0, hash: [0; 32] };

    /// Links one event: its stored bytes, and the head after it.
    ///
    /// # Errors
    /// Only when the event cannot be written as JSON, which no event of this type can bring about.
    pub fn link(&self, node: &str, time: Timestamp, event: &Event) -> Result<(Vec<u8>, Self), serde_json::Error> {
        let record = Record {
            node: node.to_owned(),
            sequence: self.sequence + 1,
            time,
            previous: hex(&self.hash),
            event: event.clone(),
        };
        let bytes = serde_json::to_vec(&record)?;
        let head = Self { sequence: record.sequence, hash: sha256(&bytes) };
        Ok((bytes, head))
    }

    /// Follows the chain over one stored record.
    ///
    /// # Errors
    /// [`Broken`] when the record is not the one that comes next.
    pub fn follow(&self, node: &str, bytes: &[u8]) -> Result<Self, Broken> {
        let at = self.sequence + 1;
        let record: Record = serde_json::from_slice(bytes).map_err(|_| Broken::Unreadable { at })?;
        if record.node != node || record.sequence != at {
            return Err(Broken::Missing { at });
        }
        if record.previous != hex(&self.hash) {
            return Err(Broken::Changed { at: self.sequence.max(1) });
        }
        Ok(Self { sequence: record.sequence, hash: sha256(bytes) })
    }
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A record is not there.
    #[error("record {at} is missing")]
    Missing {
        /// Its place.
        at: u64,
    },
    /// A record is not what the next one was chained to.
    #[error("record {at} was changed")]
    Changed {
        /// Its place.
        at: u64,
    },
    /// A record cannot be read.
    #[error("record {at} cannot be read")]
    Unreadable {
        /// Its place.
        at: u64,
    },
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: u64) -> Vec<Vec<u8>> {
        let mut head = Head::EMPTY;
        let mut records = Vec::new();
        for n in 0..length {
            let event = Event::CodeRedeemed { grant: n.to_string(), client: "a".parse().unwrap() };
            let (bytes, next) = head.link("node-1", Timestamp(n), &event).unwrap();
            records.push(bytes);
            head = next;
        }
        records
    }

    fn verify(records: &[Vec<u8>]) -> Result<Head, Broken> {
        records.iter().try_fold(Head::EMPTY, |head, bytes| head.follow("node-1", bytes))
    }

    #[test]
    fn a_whole_chain_verifies() {
        assert_eq!(verify(&chain(5)).unwrap().sequence, 5);
    }

    #[test]
    fn any_missing_changed_or_swapped_record_is_found() {
        for at in 0..4 {
            let mut missing = chain(5);
            missing.remove(at);
            assert!(verify(&missing).is_err());
            let mut changed = chain(5);
            let text = String::from_utf8(changed[at].clone()).unwrap().replace("\"a\"", "\"b\"");
            changed[at] = text.into_bytes();
            assert!(verify(&changed).is_err());
            let mut swapped = chain(5);
            swapped.swap(at, at + 1);
            assert!(verify(&swapped).is_err());
        }
    }
}
