//! Consent: what is put to the person, and the receipt of what they said.

use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::ids::{ClientId, ProviderId, ServiceId, base64url};
use crate::jurisdiction::Crossing;
use crate::locale::Locale;
use crate::time::Timestamp;

/// One claim put to the person: names and reasons, never the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The claim's name.
    pub claim: String,
    /// Why the service wants it: the code of a purpose.
    pub purpose: String,
    /// The legal ground, as the policy cites it.
    pub ground: String,
    /// An optional claim may be left out; it is never ticked beforehand.
    pub optional: bool,
}

/// What is asked of one person for one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Who receives.
    pub client: ClientId,
    /// For which matter.
    pub service: ServiceId,
    /// Where the data comes from.
    pub provider: ProviderId,
    /// The border it crosses, if any.
    pub crossing: Option<Crossing>,
    /// What would be released.
    pub items: Vec<Item>,
    /// A digest of what the items' names stand for: where each value comes from, and who the recipient is in law.
    pub terms: String,
    /// The policy that says so.
    pub policy_version: String,
}

impl Proposal {
    /// A digest of everything that the person's answer depends on: when it changes, an earlier answer no longer holds.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let all = (&self.client, &self.service, &self.provider, &self.crossing, &self.items, &self.terms);
        base64url(&sha256(&serde_json::to_vec(&all).unwrap_or_default()))
    }
}

/// The durable record of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its own id, quoted in the audit record.
    pub id: String,
    /// The person, as the recipient's sector knows them.
    pub subject: String,
    /// What was put to them.
    pub proposal: Proposal,
    /// The claims they agreed to.
    pub agreed: Vec<String>,
    /// SHA-256 of the exact page text, base64url.
    pub text_digest: String,
    /// The language of that text.
    pub locale: Locale,
    /// When they answered.
    pub given_at: Timestamp,
    /// Until when the answer serves without being asked again; equal to `given_at` when it serves once.
    pub remembered_until: Timestamp,
}

impl Receipt {
    /// True when this answer still covers `proposal` without asking again.
    #[must_use]
    pub fn covers(&self, proposal: &Proposal, now: Timestamp) -> bool {
        !self.remembered_until.is_past(now) && self.proposal.fingerprint() == proposal.fingerprint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        let item = Item { claim: "name".into(), purpose: "apply".into(), ground: "consent".into(), optional: false };
        let proposal = Proposal {
            client: "a".parse().unwrap(),
            service: "s".parse().unwrap(),
            provider: "p".parse().unwrap(),
            crossing: None,
            items: vec![item],
            terms: "t".into(),
            policy_version: "1".into(),
        };
        Receipt {
            id: "r".into(),
            subject: "x".into(),
            proposal,
            agreed: vec!["name".into()],
            text_digest: String::new(),
            locale: Locale::En,
            given_at: Timestamp(10),
            remembered_until: Timestamp(20),
        }
    }

    #[test]
    fn an_answer_covers_the_same_question_until_it_expires() {
        let receipt = receipt();
        assert!(receipt.covers(&receipt.proposal, Timestamp(19)));
        assert!(!receipt.covers(&receipt.proposal, Timestamp(20)));
    }

    #[test]
    fn an_answer_does_not_cover_one_claim_more_or_another_purpose() {
        let receipt = receipt();
        let mut more = receipt.proposal.clone();
        more.items.push(Item { claim: "hkid".into(), ..more.items[0].clone() });
        let mut other = receipt.proposal.clone();
        other.items[0].purpose = "advertise".into();
        let mut elsewhere = receipt.proposal.clone();
        elsewhere.terms = "another source for the same name, or another recipient".into();
        for changed in [more, other, elsewhere] {
            assert!(!receipt.covers(&changed, Timestamp(11)));
        }
    }
}
