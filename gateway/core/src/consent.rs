//! Consent: what is put to the person, and the receipt of what they said.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::circumstances::words;
use crate::digest::sha256;
use crate::ids::{ClientId, ProviderId, ServiceId, base64url};
use crate::jurisdiction::Crossing;
use crate::locale::Locale;
use crate::time::Timestamp;

words!(
    /// What a service asks of people before it is given their data.
    Mode, "way of consent" {
        /// They agree, or nothing goes out.
        Required = "required",
        /// The law provides for it; they are told.
        Notice = "notice",
        /// Nothing goes out but an identifier made for the recipient alone.
        Anonymous = "anonymous",
    }
);

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
    /// What lets it cross the border, where it crosses one.
    pub cover: Option<Cover>,
}

/// A legal instrument, and the number under which it was filed for this recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    /// The instrument's code.
    pub instrument: String,
    /// The filing.
    pub filing: String,
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
    /// What people are asked: to agree, or only to take note.
    pub mode: Mode,
    /// What would be released.
    pub items: Vec<Item>,
    /// A digest of what the items' names stand for: where each value comes from, and who the recipient is in law.
    pub terms: String,
    /// The policy that says so.
    pub policy_version: String,
}

impl Proposal {
    /// True when data about the person crosses a border, and not only an identifier.
    #[must_use]
    pub fn crosses_with_data(&self) -> bool {
        self.crossing.is_some() && !self.items.is_empty()
    }

    /// A digest of everything that the person's answer depends on: when it changes, an earlier answer no longer holds.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let all = (&self.client, &self.service, &self.provider, &self.crossing, self.mode, &self.items, &self.terms);
        base64url(&sha256(&serde_json::to_vec(&all).unwrap_or_default()))
    }
}

/// The answer that something rests on, so that it ends when the answer is taken back: which question, and which of the answers
/// to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentRef {
    /// The question.
    pub question: String,
    /// Counts the answers.
    pub generation: u64,
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
    /// Whether they agreed, separately, that their data leaves its place.
    pub export: bool,
    /// When they took it back.
    pub withdrawn_at: Option<Timestamp>,
}

impl Receipt {
    /// True when an answer needs the separate yes to the crossing of a border: whenever data crosses one.
    #[must_use]
    pub fn lacks_export(&self) -> bool {
        self.proposal.crosses_with_data() && !self.export
    }

    /// True when this answer still covers `proposal` without asking again.
    #[must_use]
    pub fn covers(&self, proposal: &Proposal, now: Timestamp) -> bool {
        self.withdrawn_at.is_none()
            && !self.lacks_export()
            && !self.remembered_until.is_past(now)
            && self.proposal.fingerprint() == proposal.fingerprint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        let item = Item {
            claim: "name".into(),
            purpose: "apply".into(),
            ground: "consent".into(),
            optional: false,
            cover: None,
        };
        let proposal = Proposal {
            client: "a".parse().unwrap(),
            service: "s".parse().unwrap(),
            provider: "p".parse().unwrap(),
            crossing: None,
            mode: Mode::Required,
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
            export: false,
            withdrawn_at: None,
        }
    }

    #[test]
    fn an_answer_covers_the_same_question_until_it_expires() {
        let receipt = receipt();
        assert!(receipt.covers(&receipt.proposal, Timestamp(19)));
        assert!(!receipt.covers(&receipt.proposal, Timestamp(20)));
    }

    #[test]
    fn data_crosses_a_border_on_a_yes_of_its_own_only() {
        let mut receipt = receipt();
        receipt.proposal.crossing = "HK>CN-GD".parse().ok();
        assert!(receipt.lacks_export() && !receipt.covers(&receipt.proposal, Timestamp(11)));
        receipt.export = true;
        assert!(receipt.covers(&receipt.proposal, Timestamp(11)));
        receipt.withdrawn_at = Some(Timestamp(12));
        assert!(!receipt.covers(&receipt.proposal, Timestamp(13)), "taken back");
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
