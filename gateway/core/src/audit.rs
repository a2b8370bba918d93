//! What a login leaves behind: one record an event, each chained to the one before by SHA-256.
//!
//! A record holds names of claims, never values, and nothing that leads back to a person without the gateway's keys.
//! There is one chain a node, because a single chain would be a lock on everybody.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::assurance::Assurance;
use crate::authorize::AcrRequest;
use crate::circumstances::{Login, words};
use crate::consent::Cover;
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
    /// A person proved a login that policy refused.
    SignInRefused(Box<RefusedFacts>),
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
    /// A refresh token was used; another took its place, unless its client keeps one.
    TokenRefreshed {
        /// The grant.
        grant: String,
        /// Who used it.
        client: ClientId,
    },
    /// A client gave a refresh token back; whatever was minted from its grant is revoked.
    TokenRevoked {
        /// The grant.
        grant: String,
        /// Who gave it back.
        client: ClientId,
    },
    /// A client got a token to act for itself.
    ClientTokenIssued {
        /// The grant.
        grant: String,
        /// Who got it.
        client: ClientId,
        /// For which matter.
        service: ServiceId,
        /// What it may do there.
        scopes: Vec<String>,
        /// The bundle that lists it.
        #[serde(default)]
        policy_version: String,
    },
    /// A token was exchanged for a narrower one.
    TokenExchanged(Box<ExchangeFacts>),
    /// A session ended; these clients are told.
    SessionEnded {
        /// Who is told.
        clients: Vec<ClientId>,
    },
    /// A person took their consent back.
    ConsentWithdrawn {
        /// The receipt.
        receipt: String,
        /// Who may no longer receive.
        client: ClientId,
        /// For which matter.
        service: ServiceId,
    },
    /// A portal registered itself, or its registration changed.
    Registration {
        /// The portal.
        client: ClientId,
        /// What was done.
        change: RegistrationChange,
        /// Who did it; empty for the portal itself.
        by: String,
        /// A digest of its metadata; empty when it is gone.
        metadata: String,
    },
    /// The bundle that all nodes follow changed.
    Policy {
        /// The place of this change in the order of all of them.
        epoch: u64,
        /// What was done.
        change: PolicyChange,
        /// The bundle's version; empty when a shadow ended.
        version: String,
        /// Who did it.
        by: String,
        /// The key that signed the bundle, by the name it has among the signers; empty where none was handed in.
        #[serde(default)]
        key: String,
    },
    /// An embedded store lost records that were acknowledged, and somebody decided to go on with what it still has.
    StoreLossAccepted {
        /// The last group of commits that was acknowledged.
        group: u64,
        /// Who decided.
        by: String,
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

words!(
    /// What was done to the registration of a portal that registered itself.
    RegistrationChange, "change of registration" {
        /// It registered.
        Registered = "registered",
        /// It changed its metadata.
        Updated = "updated",
        /// It passed its check list, and every service of its document is open to it.
        WentLive = "went-live",
        /// It is gone.
        Removed = "removed",
    }
);

words!(
    /// What was done to the bundle that all nodes follow.
    PolicyChange, "change of policy" {
        /// Another bundle took effect.
        Activated = "activated",
        /// An earlier bundle took effect again.
        RolledBack = "rolled-back",
        /// A draft began to be tried beside it.
        ShadowBegan = "shadow-began",
        /// The draft is tried no longer.
        ShadowEnded = "shadow-ended",
        /// A bundle whose time had not come will not take effect.
        Cancelled = "cancelled",
    }
);

/// A decision with everything it was made on: enough to make it again later, with another policy, and nothing that leads to
/// the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Who receives.
    pub client: ClientId,
    /// For which matter.
    pub service: ServiceId,
    /// What was known of the login.
    pub login: Login,
    /// Whether staff help people at that client.
    #[serde(default)]
    pub assisted: bool,
    /// The assurance that the client asked for.
    pub asked_acr: AcrRequest,
    /// The oldest login that the client accepts, in seconds.
    pub asked_max_age: Option<u64>,
    /// The bundle that decided.
    pub policy_version: String,
    /// `permit`, or the code of the failure.
    pub outcome: String,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// What a draft in shadow would have said, where there is one and it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
}

/// What a draft in shadow would have said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// The draft.
    pub policy_version: String,
    /// `permit`, or the code of the failure.
    pub outcome: String,
    /// The rules that decided.
    pub rules: Vec<String>,
}

/// A login that policy let pass, and what went out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginFacts {
    /// Quoted by the person, the client and the provider.
    pub trace: String,
    /// The grant that follows from it.
    pub grant: String,
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
    /// The assurance the login needed.
    pub asked: Assurance,
    /// The assurance it reached.
    pub reached: Assurance,
    /// Whether an earlier sign-in in this browser served.
    pub from_session: bool,
    /// The claims released, each with where it comes from; names, never values.
    pub released: Vec<Origin>,
    /// What the request says of its matter, where it says something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<DetailFacts>,
    /// The terminal that asked, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalFacts>,
    /// The receipt that covers them.
    pub receipt: String,
    /// The border crossed, if any.
    pub crossing: Option<Crossing>,
}

/// An exchange that policy let pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeFacts {
    /// The grant that both tokens come from.
    pub grant: String,
    /// The matter of the token that was given.
    pub from: ServiceId,
    /// The decision for the new one.
    #[serde(flatten)]
    pub decision: Decision,
    /// What it may do there.
    pub scopes: Vec<String>,
    /// The claims it leads to.
    pub released: Vec<String>,
    /// Who acts for the person, as the token's `act` names them, the nearest first.
    pub helpers: Vec<String>,
}

/// What a request says of its matter, as it is recorded: names, and a keyed digest of all of it, so that whoever has the values
/// can show that they are the ones, and nobody finds them from the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailFacts {
    /// The names of its fields.
    pub fields: Vec<String>,
    /// The digest.
    pub digest: String,
}

/// A terminal or a counter, as it is recorded: what it wrote for one person is nobody else's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalFacts {
    /// What it is called.
    pub name: String,
    /// Where it stands.
    pub place: String,
}

/// Where a released claim comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its name.
    pub claim: String,
    /// The row of the service's document that released it.
    pub row: String,
    /// What that row says: its expression, and what goes out when that is missing.
    pub rule: String,
    /// The provider's claims that it was made from.
    pub from: Vec<String>,
    /// The legal instrument and the filing under which it crossed the border, where it crossed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cover: Option<Cover>,
}

/// A login that policy refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedFacts {
    /// Quoted by the person, the client and the provider.
    pub trace: String,
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
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

/// What holds a chain together, whatever kinds of events there were when a record was written.
#[derive(Deserialize)]
struct Link {
    node: String,
    sequence: u64,
    previous: String,
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
        let record: Link = serde_json::from_slice(bytes).map_err(|_| Broken::Unreadable { at })?;
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
