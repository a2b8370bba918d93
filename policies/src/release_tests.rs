use gateway_core::assertion::{Assertion, UpstreamSubject};
use gateway_core::claims::Claims;
use gateway_core::jurisdiction::Jurisdiction;
use gateway_core::time::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::expression::Expression;
use crate::functions;
use crate::set::tests::service;
use crate::vocabulary::Codes;

/// 2026-11-22 00:00 in Guangdong.
const NOW: Timestamp = Timestamp(1_795_276_800);

fn assertion(claims: &Value) -> Assertion {
    Assertion {
        provider: "hk".parse().unwrap(),
        jurisdiction: Jurisdiction::HongKong,
        subject: UpstreamSubject::parse("x").unwrap(),
        session: None,
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

fn ask(claims: &ClaimsRequest) -> Requested<'_> {
    Requested { claims, checked: None, yes_no: false, today: NOW.date() }
}

fn run(rows: &str, claims: &Value, names: &[&str]) -> Result<Vec<(String, Value)>, ReleaseError> {
    let (service, root) = (service("s", rows), functions::root(Arc::default()));
    let assertion = assertion(claims);
    let scope = Scope::new(&root, &assertion, NOW.date());
    let released = release(&service, &scope, ask(&asked(names)), &Gate::Open)?;
    Ok(released.into_iter().map(|r| (r.claim().to_string(), r.value)).collect())
}

/// A claim that is called a yes or no lets nothing else out, whatever its row was made to say.
#[test]
fn a_yes_or_no_is_never_anything_else() {
    let yes_no = |from: &str| {
        let (service, root) = (service("s", &row("over_18", from, "\"clear\"")), functions::root(Arc::default()));
        let assertion = assertion(&json!({"name": "CHAN, Tai Man", "adult": true}));
        let scope = Scope::new(&root, &assertion, NOW.date());
        release(&service, &scope, Requested { yes_no: true, ..ask(&asked(&["over_18", "name"])) }, &Gate::Open)
    };
    assert_eq!(yes_no("claims.name"), Err(ReleaseError::Failed("over_18".into())));
    assert_eq!(yes_no("claims.adult").unwrap().len(), 1);
    assert_eq!(yes_no("claims.nothing").unwrap().len(), 0);
}

#[test]
fn absence_is_answered_as_the_row_says() {
    let person = json!({"email": null, "empty": ""});
    for source in ["claims.email", "claims.nothing", "claims.empty"] {
        let run = |missing: &str| run(&row("name", source, missing), &person, &["name"]);
        assert_eq!(run("\"set\"\ndefault = \"none\"").unwrap(), [("name".to_owned(), json!("none"))]);
        assert_eq!(run("\"keep\"").unwrap(), []);
        assert_eq!(run("\"clear\"").unwrap(), []);
        assert_eq!(run("\"fail\"").unwrap_err(), ReleaseError::Missing("name".to_owned()));
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
fn functions_answer_questions_and_give_no_more_away() {
    let person = json!({
        "n": "A123456(3)", "birthdate": "2008-11-22", "year": "1938", "name": "CHAN, Tai Man", "sex": "male",
        "permit": "H1234567803", "first_permit": "H12345678", "resident": "440099197903140019", "residence": "810000188001010015",
    });
    let codes: Codes = [("gb".to_owned(), [("male".to_owned(), "1".to_owned())].into())].into();
    let root = functions::root(Arc::new(codes));
    let assertion = assertion(&person);
    let scope = Scope::new(&root, &assertion, NOW.date());
    let value = |from: &str| {
        from.parse::<Expression>()
            .unwrap()
            .evaluate(&scope)
            .map(|value| value.unwrap_or_else(|| json!(format!("nothing: {from}"))))
    };
    for (from, expected) in [
        ("mask(claims.n, 1, 0)", json!("A*********")),
        ("mask(claims.n, 3, 2)", json!("A12*****3)")),
        ("mask(claims.n, 5, 1)", json!("**********")),
        ("mask(claims.n, 9223372036854775807, 9223372036854775807)", json!("**********")),
        ("mask(claims.n, -5, 2)", json!("********3)")),
        ("over(claims.birthdate, 18)", json!(true)),
        ("over(claims.birthdate, 19)", json!(false)),
        ("age(claims.birthdate)", json!(18)),
        ("year(claims.birthdate)", json!(2008)),
        ("valid('hkid', claims.n)", json!(true)),
        ("valid('bir', claims.n)", json!(false)),
        ("valid('home_return_permit', claims.permit)", json!(true)),
        ("same_holder(claims.permit, claims.first_permit)", json!(true)),
        ("population(claims.permit)", json!("hk")),
        ("population(claims.resident)", json!("mainland")),
        ("population(claims.residence)", json!("hk")),
        ("code('gb', claims.sex)", json!("1")),
        ("family_name(claims.name) + '|' + given_name(claims.name)", json!("CHAN|Tai Man")),
        ("lower(trim(upper(claims.sex)))", json!("male")),
        ("has(claims.email)", json!(false)),
        ("claims.sex == 'male' ? 'm' : 'f'", json!("m")),
        ("today + jurisdiction + provider", json!("2026-11-22HKhk")),
    ] {
        assert_eq!(value(from), Ok(expected), "{from}");
    }
    for from in [
        "over(claims.year, 18)",
        "over(claims.birthdate, 'x')",
        "code('gb', claims.name)",
        "code('none', claims.sex)",
        "population(claims.n)",
        "valid('driving-licence', claims.n)",
        "family_name(claims.sex)",
        "claims.sex + 1",
    ] {
        assert_eq!(value(from), Err(crate::expression::Failed), "{from}");
    }
}

/// A full document number does not leave under another name.
#[test]
fn what_an_expression_may_show_is_known() {
    let shown =
        |source: &str| source.parse::<Expression>().unwrap().shown().iter().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(shown("claims.hkid"), "hkid");
    assert_eq!(shown("mask(claims.hkid, 1, 0)"), "");
    assert_eq!(shown("claims.hkid + mask(claims.bir, 1, 0)"), "hkid");
    assert_eq!(shown("valid('hkid', claims.hkid) ? 'yes' : lower(claims.bir)"), "bir");
    assert_eq!(shown("has(claims.hkid)"), "");
    // Put together first, a mask covers nothing.
    assert_eq!(shown("mask(claims.hkid + 'xxxxxxxxxx', 10, 0)"), "hkid");
    assert_eq!(shown("mask(claims.hkid, size(claims.hkid), 0)"), "hkid");
    assert_eq!(shown("claims.hkid.mask(1, 0)"), "hkid");
    assert_eq!(shown("[claims.hkid][0]"), "hkid");
    assert_eq!(shown("mask(claims.hkid, 1, 0) == claims.bir ? 'a' : 'b'"), "bir");
}

#[test]
fn the_language_is_closed() {
    for bad in ["claims.a.map(x, x)", "foo", "env", "getenv('A')", "matches(claims.a, '(a+)+')", "claims.", "1 +"] {
        assert!(bad.parse::<Expression>().is_err(), "{bad}");
    }
    assert!("a".repeat(501).parse::<Expression>().is_err());
    assert!("(".repeat(17).parse::<Expression>().is_err());
    assert!("claims.a == 'x' ? claims.b : 'y'".parse::<Expression>().is_ok());
}

#[test]
fn errors_name_no_value() {
    let person = json!({"n": {"deep": "SECRET-VALUE"}});
    let error = run(&row("name", "mask(claims.n, 1, 1)", "\"fail\""), &person, &["name"]).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("SECRET"));
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

    /// Nothing crosses a border whose class no instrument covers there, whatever name the service has for it; what the
    /// service cannot do without is not left out in silence.
    #[test]
    fn nothing_crosses_a_border_uncovered(
        have in proptest::collection::btree_set(prop::sample::select(vec!["a", "b", "d", "e"]), 0..5),
        rows in proptest::collection::vec(
            (
                prop::sample::select(vec!["name", "email", "gender"]),
                prop::sample::select(vec!["a", "b", "d", "e"]),
                prop::sample::select(vec!["clear", "keep", "fail"]),
            ),
            1..5,
        ),
        covered in proptest::collection::btree_set(
            prop::sample::select(vec![DataClass::General, DataClass::Sensitive]), 0..3),
    ) {
        let class_of = |from: &str| if ["d", "e"].contains(&from) { DataClass::Sensitive } else { DataClass::General };
        let text: String =
            rows.iter().map(|(claim, from, missing)| row(claim, &format!("claims.{from}"), &format!("{missing:?}"))).collect();
        let person: serde_json::Map<String, Value> = have.iter().map(|from| ((*from).to_owned(), json!(from))).collect();
        let (service, root) = (service("s", &text), functions::root(Arc::default()));
        let assertion = assertion(&Value::Object(person));
        let cover = Arc::new(Cover { instrument: "i".into(), filing: "f".into() });
        let gate = |class| covered.contains(&class).then(|| Arc::clone(&cover));
        let scope = Scope::new(&root, &assertion, NOW.date());
        let refused = rows.iter().any(|(_, from, missing)| {
            *missing == "fail" && !(have.contains(from) && covered.contains(&class_of(from)))
        });
        match release(&service, &scope, ask(&asked(&["name", "email", "gender"])), &Gate::Border(&gate)) {
            Ok(released) => {
                prop_assert!(!refused);
                for one in released {
                    let from = one.value.as_str().unwrap();
                    prop_assert!(covered.contains(&class_of(from)), "{from} went out");
                    prop_assert_eq!(one.cover.as_ref(), Some(&cover));
                }
            }
            Err(_) => prop_assert!(refused),
        }
    }

    #[test]
    fn no_expression_panics(source in "\\PC{0,60}") {
        let _ = source.parse::<Expression>();
    }
}
