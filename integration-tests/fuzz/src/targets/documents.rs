//! What administrators write, and what stands on identity papers.

use std::sync::LazyLock;

use adapters::registry::Settings;
use gateway_core::assertion::Assertion;
use gateway_core::claims::Claims;
use gateway_core::client::Client;
use gateway_core::jurisdiction::Jurisdiction;
use gateway_core::papers::{Bir, CreditCode, Hkid, HomeReturnPermit, ResidentNumber};
use gateway_core::time::{Date, Timestamp};
use policies::case::Case;
use policies::expression::{Expression, Scope};
use policies::instrument::Instrument;
use policies::service::{Groups, Service};
use policies::vocabulary::Vocabulary;
use policies::{Provider, documents};
use serde_json::json;

use super::tokens::NOW;

static WORDS: LazyLock<Vocabulary> = LazyLock::new(|| {
    let mut words = Vocabulary::default();
    words.add_document("vocabulary.toml", documents::VOCABULARY).expect("the shipped words");
    words
});

/// Documents of every kind: read, or refused with a line that is in the file.
pub fn document(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines = text.lines().count().max(1) + 1;
    let problems = [
        Service::from_document("f", text, &WORDS, &Groups::new()).err(),
        Client::from_document("f", text).err(),
        Provider::from_document("f", text, Settings::read).err(),
        Instrument::from_document("f", text).err(),
        Case::from_document("f", text).err(),
        Vocabulary::default().add_document("f", text).err(),
    ];
    for problem in problems.into_iter().flatten().flatten() {
        assert!((1..=lines).contains(&problem.line), "line {} of {lines}", problem.line);
        assert!(!problem.reason.is_empty());
    }
}

fn assertion() -> Assertion {
    let claims = json!({"name": "CHAN, Tai Man", "birthdate": "1990-02-03", "hkid": "A123456(3)", "n": 7, "b": true,
        "list": ["a", 1, null], "object": {"deep": {"er": "x"}}, "empty": "", "null": null});
    Assertion {
        provider: "p".parse().expect("a name"),
        jurisdiction: Jurisdiction::HongKong,
        subject: gateway_core::assertion::UpstreamSubject::parse("x").expect("a subject"),
        session: None,
        acr: None,
        amr: Vec::new(),
        auth_time: None,
        time_stated: false,
        asked_at: Timestamp(NOW),
        received_at: Timestamp(NOW),
        claims: Claims::from_object(claims.as_object().expect("an object").clone()),
        asked: None,
    }
}

/// Mapping expressions: compiled ones end, and what they may show is among what they read.
pub fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(expression) = text.parse::<Expression>() else { return };
    assert!(expression.shown().is_subset(expression.claims()));
    let (assertion, root) = (assertion(), WORDS.functions());
    let scope = Scope::new(&root, &assertion, Date { year: 2026, month: 11, day: 22 });
    let first = expression.evaluate(&scope).ok();
    assert_eq!(first, expression.evaluate(&scope).ok(), "the same question, another answer");
}

/// Numbers of identity papers: what is taken reads the same again, and its masked form does not give it away.
pub fn number(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let same = |whole: &str, again: Option<String>, masked: String| {
        assert_eq!(again.as_deref(), Some(whole));
        let shown = whole.chars().zip(masked.chars()).filter(|(a, b)| a == b).count();
        assert!(masked.chars().count() != whole.chars().count() || shown <= whole.chars().count() / 2 + 1, "{shown}");
        assert_ne!(masked, whole);
    };
    if let Ok(number) = Hkid::parse(text) {
        same(number.expose(), Hkid::parse(number.expose()).ok().map(|n| n.expose().to_owned()), number.masked());
    }
    if let Ok(number) = ResidentNumber::parse(text) {
        let again = ResidentNumber::parse(number.expose()).ok();
        same(number.expose(), again.map(|n| n.expose().to_owned()), number.masked());
        let birth = number.birth_date();
        assert!((1..=12).contains(&birth.month()) && (1..=31).contains(&birth.day()));
    }
    if let Ok(number) = HomeReturnPermit::parse(text) {
        let again = HomeReturnPermit::parse(number.expose()).ok();
        same(number.expose(), again.map(|n| n.expose().to_owned()), number.masked());
    }
    if let Ok(number) = CreditCode::parse(text) {
        let again = CreditCode::parse(number.expose()).ok();
        same(number.expose(), again.map(|n| n.expose().to_owned()), number.masked());
    }
    if let Ok(number) = Bir::parse(text) {
        same(number.expose(), Bir::parse(number.expose()).ok().map(|n| n.expose().to_owned()), number.masked());
    }
    if let Ok(date) = text.parse::<Date>() {
        assert_eq!(date.to_string().parse::<Date>().ok(), Some(date));
    }
}
