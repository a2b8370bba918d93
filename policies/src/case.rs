//! Cases: one login as somebody describes it, in the provider's own words. Examples in documents and the case files of
//! `gateway policy explain` are the same thing.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_core::assertion::{Assertion, UNKNOWN_AGE, UpstreamSubject};
use gateway_core::circumstances::Place;
use gateway_core::claims::Claims;
use gateway_core::document::{Problems, Section, Source};
use gateway_core::error::Failure;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};
use gateway_core::jurisdiction::Jurisdiction;
use gateway_core::time::Timestamp;
use serde_json::Value;

/// A described login.
#[derive(Debug, Clone)]
pub struct Case {
    /// For which service; an example is about its own document's.
    pub service: Option<ServiceId>,
    /// Who would receive; the first client of the service when it does not say.
    pub client: Option<ClientId>,
    /// Who vouches.
    pub provider: ProviderId,
    /// What the provider says of how surely.
    pub acr: Option<String>,
    /// The methods it names.
    pub amr: Vec<String>,
    /// How long ago the person signed in; `None` when the provider does not say.
    pub signed_in: Option<Duration>,
    /// The class of the place where that was; at the client's own when it does not say.
    pub signed_in_at: Option<Place>,
    /// When.
    pub at: Timestamp,
    /// What the provider says of the person.
    pub claims: Claims,
}

/// A case with the answer that its author expects.
#[derive(Debug, Clone)]
pub struct Example {
    /// What it shows.
    pub about: String,
    /// The line in its document.
    pub line: usize,
    /// The case.
    pub case: Case,
    /// The answer: nothing, or why not.
    pub expect: Result<(), Failure>,
    /// The claims that go out when everything is asked for, in name order; `None` when the example does not say.
    pub released: Option<Vec<String>>,
}

/// When a case happens that does not say: a Wednesday morning.
const USUALLY: &str = "2026-03-04 10:00";

impl Case {
    /// Reads a case file.
    ///
    /// # Errors
    /// Every problem in the file.
    pub fn from_document(file: &str, text: &str) -> Result<Self, Problems> {
        Source::new(file, text).read(read_case)
    }

    /// The login as an adapter would have proved it, standing where its provider does.
    #[must_use]
    pub fn assertion(&self, jurisdiction: Jurisdiction) -> Option<Assertion> {
        Some(Assertion {
            provider: self.provider.clone(),
            jurisdiction,
            subject: UpstreamSubject::parse("example")?,
            session: None,
            acr: self.acr.clone(),
            amr: self.amr.clone(),
            auth_time: self.signed_in.map(|ago| self.at.minus(ago)),
            time_stated: self.signed_in.is_some(),
            asked_at: self.at,
            received_at: self.at,
            claims: self.claims.clone(),
            asked: None,
        })
    }

    /// How long ago the person signed in.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.signed_in.unwrap_or(UNKNOWN_AGE)
    }
}

pub(crate) fn read_case(doc: &Section<'_>) -> Option<Case> {
    let (service, client, provider) = (doc.optional("service"), doc.optional("client"), doc.require("provider"));
    let (acr, amr) = (doc.optional("acr"), doc.list("amr"));
    let unknown = doc.optional::<String>("signed_in").is_some_and(|text| text == "unknown");
    let signed_in = if unknown { None } else { Some(doc.duration("signed_in").unwrap_or_default()) };
    let signed_in_at = doc.optional("signed_in_at");
    let at: String = doc.optional("at").unwrap_or_else(|| USUALLY.to_owned());
    let at = moment(&at);
    if at.is_none() {
        doc.refuse_field("at", "expected a date and a time such as 2026-03-04 10:00 (UTC+8)");
    }
    let words: BTreeMap<String, Value> = doc
        .section("claims")
        .map(|claims| claims.words::<String>())
        .into_iter()
        .flatten()
        .map(|(name, text)| (name, Value::String(text)))
        .collect();
    let claims = Claims::from_object(words.into_iter().collect());
    Some(Case { service, client, provider: provider?, acr, amr, signed_in, signed_in_at, at: at?, claims })
}

fn moment(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(' ')?;
    let (hour, minute) = time.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2)?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let at = Timestamp::of(date.parse().ok()?, hour * 60 + minute);
    // What it would be written as tells what there is no moment for: 24:00, 09:60, or the time before 1970.
    let minute = at.week_minute().minute();
    (format!("{} {:02}:{:02}", at.date(), minute / 60, minute % 60) == text).then_some(at)
}

pub(crate) fn read_example(row: &Section<'_>) -> Option<Example> {
    let (about, case) = (row.require("about"), read_case(row));
    let expect = match row.require::<String>("expect")?.as_str() {
        "permit" => Some(Ok(())),
        code => Failure::from_code(code).map(Err),
    };
    if expect.is_none() {
        row.refuse_field("expect", "must be permit, or the code of a failure such as CB-402");
    }
    let released = row.has("released").then(|| {
        let mut names: Vec<String> = row.list("released");
        names.sort();
        names
    });
    Some(Example { about: about?, line: row.line(), case: case?, expect: expect?, released })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_one_that_is_written_or_none() {
        for written in ["2026-03-04 10:00", "1970-01-01 08:00", "2026-12-31 23:59", "2026-01-01 00:00"] {
            let at = moment(written).unwrap();
            assert!(
                written.starts_with(&at.date().to_string()) && written.ends_with(&at.week_minute().to_string()[4..])
            );
        }
        for bad in [
            "2026-03-04 24:00",
            "2026-03-04 09:60",
            "2026-03-04 +9:00",
            "1970-01-01 07:59",
            "1950-01-01 10:00",
            "2026-03-04 9:00",
            "2026-02-30 09:00",
        ] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }
}
