use gateway_core::assertion::UpstreamSubject;
use gateway_core::jurisdiction::Jurisdiction;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::set::tests::{service, words};

/// 2026-11-22 00:00 in Guangdong.
const NOW: Timestamp = Timestamp(1_795_276_800);

fn assertion(claims: &Value) -> Assertion {
    Assertion {
        provider: "hk".parse().unwrap(),
        jurisdiction: Jurisdiction::HongKong,
        subject: UpstreamSubject::parse("x").unwrap(),
        acr: None,
        amr: vec![],
        auth_time: None,
        time_stated: false,
        asked_at: NOW,
        received_at: NOW,
        claims: Claims::from_object(claims.as_object().unwrap().clone()),
        asked: None,
    }
}

fn asked(names: &[&str]) -> ClaimsRequest {
    ClaimsRequest { userinfo: names.iter().map(|n| ((*n).to_owned(), false)).collect(), ..ClaimsRequest::default() }
}

fn row(claim: &str, from: &str, missing: &str) -> String {
    format!(
        "[[release]]\nclaim = \"{claim}\"\nfrom = '{from}'\non_missing = {missing}\npurpose = \"use\"\nground = \"consent\"\n"
    )
}

fn run(rows: &str, claims: &Value, names: &[&str]) -> Result<Vec<(String, Value)>, MappingError> {
    let service = service("s", rows);
    let released = release(&service, &assertion(claims), &asked(names), NOW)?;
    Ok(released.into_iter().map(|r| (r.claim.to_string(), r.value)).collect())
}

#[test]
fn absence_is_answered_as_the_row_says() {
    let person = json!({"email": null, "empty": ""});
    for source in ["claims.email", "claims.nothing", "claims.empty"] {
        let run = |missing: &str| run(&row("name", source, missing), &person, &["name"]);
        assert_eq!(run("\"set\"\ndefault = \"none\"").unwrap(), [("name".to_owned(), json!("none"))]);
        assert_eq!(run("\"keep\"").unwrap(), []);
        assert_eq!(run("\"clear\"").unwrap(), []);
        assert_eq!(run("\"fail\"").unwrap_err(), MappingError::Missing("name".to_owned()));
    }
}

#[test]
fn keep_leaves_and_clear_removes_what_an_earlier_row_set() {
    let person = json!({"a": "A"});
    let first = row("name", "claims.a", "\"fail\"");
    let keep = format!("{first}{}", row("name", "claims.b", "\"keep\""));
    let clear = format!("{first}{}", row("name", "claims.b", "\"clear\""));
    assert_eq!(run(&keep, &person, &["name"]).unwrap(), [("name".to_owned(), json!("A"))]);
    assert_eq!(run(&clear, &person, &["name"]).unwrap(), []);
}

#[test]
fn what_was_not_asked_for_does_not_go_out() {
    let rows = format!("{}{}", row("name", "claims.a", "\"fail\""), row("email", "claims.b", "\"fail\""));
    assert_eq!(run(&rows, &json!({"a": "A", "b": "B"}), &["email"]).unwrap(), [("email".to_owned(), json!("B"))]);
}

#[test]
fn functions_answer_questions_and_mask() {
    let person = json!({"n": "A123456(3)", "birthdate": "2008-11-22", "older": "2008-11-21", "year": "1938"});
    let value = |from: &str| run(&row("name", from, "\"fail\""), &person, &["name"]).map(|mut out| out.remove(0).1);
    assert_eq!(value("mask(claims.n, 1, 0)").unwrap(), json!("A*********"));
    assert_eq!(value("mask(claims.n, 20, 20)").unwrap(), json!("**********"));
    assert_eq!(value("mask(claims.n, -5, 2)").unwrap(), json!("********3)"));
    assert_eq!(value("over(claims.birthdate, 18)").unwrap(), json!(true));
    assert_eq!(value("over(claims.birthdate, 19)").unwrap(), json!(false));
    assert_eq!(value("over(claims.year, 18)").unwrap_err(), MappingError::Failed("name".to_owned()));
    assert_eq!(
        value("over(claims.birthdate, 9223372036854775807)").unwrap_err(),
        MappingError::Failed("name".to_owned())
    );
    assert_eq!(value("today + jurisdiction + provider").unwrap(), json!("2026-11-22HKhk"));
}

#[test]
fn the_language_is_closed() {
    for bad in ["claims.a.map(x, x)", "foo", "env", "getenv('A')", "matches(claims.a, '(a+)+')", "claims.", "1 +"] {
        assert!(bad.parse::<Mapping>().is_err(), "{bad}");
    }
    assert!("a".repeat(501).parse::<Mapping>().is_err());
    assert!("(".repeat(17).parse::<Mapping>().is_err());
    assert!("claims.a == 'x' ? claims.b : 'y'".parse::<Mapping>().is_ok());
}

#[test]
fn errors_name_no_value() {
    let person = json!({"n": {"deep": "SECRET-VALUE"}});
    let error = run(&row("name", "mask(claims.n, 1, 1)", "\"fail\""), &person, &["name"]).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("SECRET"));
}

#[test]
fn civil_dates_agree_with_the_calendar() {
    for (seconds, date) in [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (951_868_800, "2000-03-01")] {
        assert_eq!(today(Timestamp(seconds)), date);
    }
    assert_eq!(today(Timestamp(NOW.0 - 8 * 3_600 - 1)), "2026-11-21");
}

proptest! {
    /// Released is a subset of permitted, and of what was asked for.
    #[test]
    fn released_is_a_subset_of_permitted(
        person in proptest::collection::btree_map("[a-e]", "[a-z]{0,4}", 0..5),
        asked_for in proptest::collection::btree_set(prop::sample::select(vec!["name", "email", "gender", "hkid"]), 0..4),
        rows in proptest::collection::vec((prop::sample::select(vec!["name", "email", "gender"]), "[a-e]"), 0..5),
    ) {
        let text: String = rows.iter().map(|(claim, from)| row(claim, &format!("claims.{from}"), "\"clear\"")).collect();
        let names: Vec<&str> = asked_for.iter().copied().collect();
        let out = run(&text, &json!(person), &names).unwrap();
        for (claim, value) in &out {
            prop_assert!(names.contains(&claim.as_str()));
            let sources = rows.iter().filter(|(name, _)| name == claim).map(|(_, from)| person.get(from));
            prop_assert!(sources.flatten().any(|source| value == source));
        }
    }

    #[test]
    fn no_expression_panics(source in "\\PC{0,60}") {
        let _ = source.parse::<Mapping>();
    }
}

#[test]
fn words_of_the_tests_exist() {
    assert!(words().claims.contains_key("name"));
}
