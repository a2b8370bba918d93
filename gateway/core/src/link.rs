//! Linking two accounts of one person: what is compared, what it decides, and the entry it leaves.
//!
//! What proves that two accounts are one person's is that the person showed both, in one browser, in one sign-in; or that
//! an authority says so. Names, birth dates and sexes prove nothing. They raise a doubt where they differ, and verified names
//! that agree keep one away where a provider cannot say that it saw the person just now. A doubt is for somebody to
//! settle: it neither links nor refuses.

use serde::{Deserialize, Serialize};

use crate::assertion::Assertion;
use crate::claims::Claims;
use crate::ids::{PersonId, ProviderId};
use crate::jurisdiction::Jurisdiction;
use crate::names::{Comparison, MATCHER_VERSION, Name, ScriptTag, compare};
use crate::time::Timestamp;

/// The claims that are compared; the provider of an account that is to be linked is asked for them.
pub const COMPARED: [&str; 6] = ["name", "name_zh", "name_zh_unverified", "birthdate", "gender", "account_kind"];

/// How one fact stands on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// It is the same, as far as both sides say it.
    Same,
    /// It is another.
    Different,
    /// One side does not say it, or not so that it could be compared.
    Unknown,
}

/// What was compared, with what result, by which rules. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signals {
    /// The Chinese names, by their match keys.
    pub name: Agreement,
    /// The birth dates, to the precision of the less precise.
    pub birthdate: Agreement,
    /// The sexes.
    pub gender: Agreement,
    /// The rules and dictionaries that compared the names.
    pub matcher: String,
}

impl Signals {
    /// Compares what two providers said.
    #[must_use]
    pub fn of(first: &Assertion, second: &Assertion) -> Self {
        let name = match (chinese_name(first), chinese_name(second)) {
            (Some((first, verified)), Some((second, also))) => match compare(&first, &second) {
                // A name that its holder may have typed in can speak against a link, and never for one.
                Comparison::Same | Comparison::SameKey if verified && also => Agreement::Same,
                Comparison::Different => Agreement::Different,
                Comparison::Same | Comparison::SameKey | Comparison::Unknown => Agreement::Unknown,
            },
            _ => Agreement::Unknown,
        };
        let texts = |claim| (text(&first.claims, claim), text(&second.claims, claim));
        let birthdate = match texts("birthdate") {
            (Some(a), Some(b)) => agreement(a.starts_with(b) || b.starts_with(a)),
            _ => Agreement::Unknown,
        };
        let gender = match texts("gender") {
            (Some(a), Some(b)) => agreement(a == b),
            _ => Agreement::Unknown,
        };
        Self { name, birthdate, gender, matcher: MATCHER_VERSION.to_owned() }
    }

    /// Nothing was compared.
    #[must_use]
    pub fn none() -> Self {
        let (name, birthdate, gender) = (Agreement::Unknown, Agreement::Unknown, Agreement::Unknown);
        Self { name, birthdate, gender, matcher: MATCHER_VERSION.to_owned() }
    }

    /// True when somebody has to look at it: something speaks against one person, or one of the accounts was shown by a
    /// login that may be left over from somebody else at the same machine, and not even verified names speak for it.
    #[must_use]
    pub fn raise_a_doubt(&self, both_are_fresh: bool) -> bool {
        let against = [self.name, self.birthdate, self.gender].contains(&Agreement::Different);
        against || (!both_are_fresh && self.name != Agreement::Same)
    }
}

fn agreement(same: bool) -> Agreement {
    if same { Agreement::Same } else { Agreement::Different }
}

fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty())
}

/// Whether a link of these accounts needs somebody to look at it first.
#[must_use]
pub fn needs_review(first: &Assertion, second: &Assertion) -> bool {
    Signals::of(first, second).raise_a_doubt(first.is_in_answer() && second.is_in_answer())
}

/// True for an account of a person themselves: what an organisation shares is nobody's to link.
#[must_use]
pub fn is_personal(assertion: &Assertion) -> bool {
    text(&assertion.claims, "account_kind").is_none_or(|kind| kind == "person" || kind == "personal")
}

/// The Chinese name as its source wrote it, and whether the source verified it.
fn chinese_name(assertion: &Assertion) -> Option<(Name, bool)> {
    let verified = text(&assertion.claims, "name_zh");
    let name = verified.or_else(|| text(&assertion.claims, "name_zh_unverified"))?;
    let script = match assertion.jurisdiction {
        Jurisdiction::Guangdong => ScriptTag::Hans,
        Jurisdiction::HongKong | Jurisdiction::Macao => ScriptTag::Hant,
    };
    Some((Name::new(name.to_owned(), script, assertion.provider.clone()), verified.is_some()))
}

/// Why two accounts are held to be one person's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// The person showed both in one sign-in.
    BothPresent,
    /// An authority said so.
    Authority {
        /// Which.
        authority: String,
        /// Its number for the answer.
        reference: String,
    },
}

/// Who changed an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The person, signed in at this provider.
    Person {
        /// Which provider.
        provider: ProviderId,
    },
    /// An authority, by its word.
    Authority {
        /// Which.
        authority: String,
        /// Its number for the answer.
        reference: String,
    },
    /// An officer.
    Officer {
        /// Their name.
        name: String,
    },
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The accounts are linked.
    Active,
    /// A person is to look at it; the accounts are not linked.
    UnderReview,
    /// That person said no.
    Refused,
    /// It was linked, and is no more.
    Undone,
}

/// One entry of a person's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, which the person can quote.
    pub id: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// When its status last changed.
    pub changed_at: Timestamp,
    /// The provider whose account was brought in.
    pub first: ProviderId,
    /// The provider whose account it was linked with.
    pub second: ProviderId,
    /// Why.
    pub ground: Ground,
    /// What was compared.
    pub signals: Signals,
    /// Where it stands.
    pub status: Status,
    /// The person behind both, once linked.
    pub person: PersonId,
    /// The person that the account brought in was before, and is again when it is undone.
    pub previous: PersonId,
    /// The keyed name of that account.
    pub account: String,
    /// The keyed name of the account that it was linked with.
    pub other: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::assertion::UpstreamSubject;

    fn said(jurisdiction: Jurisdiction, claims: Value) -> Assertion {
        Assertion {
            provider: "p".parse().unwrap(),
            jurisdiction,
            subject: UpstreamSubject::parse("x").unwrap(),
            session: None,
            acr: None,
            amr: vec![],
            auth_time: None,
            time_stated: false,
            asked_at: Timestamp(1_000),
            received_at: Timestamp(1_030),
            claims: Claims::from_object(claims.as_object().unwrap().clone()),
            asked: None,
        }
    }

    fn compared(hong_kong: Value, guangdong: Value) -> Signals {
        Signals::of(&said(Jurisdiction::HongKong, hong_kong), &said(Jurisdiction::Guangdong, guangdong))
    }

    #[test]
    fn a_changed_form_of_a_name_is_no_doubt() {
        let signals = compared(
            json!({"name_zh": "陳詠詩", "birthdate": "1990"}),
            json!({"name_zh": "陈咏诗", "birthdate": "1990-04-01"}),
        );
        assert_eq!(
            (signals.name, signals.birthdate, signals.gender),
            (Agreement::Same, Agreement::Same, Agreement::Unknown)
        );
        assert!(!signals.raise_a_doubt(false));
    }

    #[test]
    fn an_unverified_name_speaks_against_a_link_and_never_for_one() {
        let signals = |name: &str| compared(json!({"name_zh_unverified": name}), json!({"name_zh": "陈大文"}));
        assert_eq!((signals("陳大文").name, signals("何大文").name), (Agreement::Unknown, Agreement::Different));
    }

    #[test]
    fn an_organisations_account_is_nobodys_to_link() {
        for (kind, personal) in
            [("person", true), ("personal", true), ("staff", false), ("legal-person", false), ("entity", false)]
        {
            assert_eq!(is_personal(&said(Jurisdiction::Guangdong, json!({"account_kind": kind}))), personal, "{kind}");
        }
        assert!(is_personal(&said(Jurisdiction::HongKong, json!({}))));
    }

    #[test]
    fn a_login_that_may_be_left_over_needs_names_that_speak_for_it() {
        let silent = compared(json!({"name": "SINGH, Arjun"}), json!({"name_zh": "辛格"}));
        assert!(silent.raise_a_doubt(false) && !silent.raise_a_doubt(true));
    }

    #[test]
    fn another_name_birth_or_sex_is_a_doubt_and_silence_is_none() {
        for (hong_kong, guangdong) in [
            (json!({"name_zh": "何嘉文"}), json!({"name_zh": "何家文"})),
            (json!({"birthdate": "1990-04-01"}), json!({"birthdate": "1990-04-02"})),
            (json!({"birthdate": "1990"}), json!({"birthdate": "1991-04-02"})),
            (json!({"gender": "male"}), json!({"gender": "female"})),
        ] {
            assert!(compared(hong_kong.clone(), guangdong).raise_a_doubt(true), "{hong_kong}");
            assert!(!compared(hong_kong, json!({})).raise_a_doubt(true));
        }
    }

    #[test]
    fn a_romanised_name_is_never_compared_with_a_chinese_one() {
        let signals = compared(json!({"name": "CHAN, Wing Sze"}), json!({"name_zh": "陈咏诗"}));
        assert_eq!(signals.name, Agreement::Unknown);
    }
}
