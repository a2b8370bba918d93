//! The difference by meaning: who gains, who loses, and that nothing that widens goes unsaid.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use gateway_core::client::Client;
use gateway_core::time::Date;
use policies::diff::{Change, Diff, Direction, diff};
use policies::set::{Document, Parts};
use policies::vocabulary::Vocabulary;
use policies::{PolicySet, Provider};

const TEXTS: &str = "{ zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }";
const PROVIDER: &str = "[[assurance]]\nacr = \"low\"\nidentity = 2\nauthentication = 1\n\
    [[assurance]]\nacr = \"high\"\nidentity = 2\nauthentication = 2\n[person]\npopulations = [\"hk\", \"macao\"]\n\
    population_from = ['claims.population']\nbirthdate = 'claims.birthdate'\n";
const CLIENT: &str = "registered_in = \"guangzhou\"\nredirect_uris = [\"https://portal.example/cb\"]\n\
    token_endpoint_auth_method = \"none\"\n[[filing]]\ninstrument = \"contract\"\nnumber = \"1\"\nvalid_until = \"2030-12-31\"\n";
const SERVICE: &str = "instruments = [\"contract\"]\n[[allow]]\nproviders = [\"hk\"]\nidentity = 2\nauthentication = 2\n\
    max_age = \"10m\"\n[[release]]\nclaim = \"name\"\nfrom = 'claims.name'\non_missing = \"fail\"\npurpose = \"use\"\nground = \"consent\"\n";

fn set(provider: &str, client: &str, service: &str) -> PolicySet {
    let mut vocabulary = Vocabulary::default();
    let words = format!(
        "[claims]\nname = {{ class = \"general\", {}\nemail = {{ class = \"general\", {}\nhkid = {{ class = \"number\", {}\n[purposes]\nuse = {TEXTS}\nother = {TEXTS}\n\
         [grounds]\nconsent = {TEXTS}\nlaw = {{ citation = \"Law 1\", {}\n",
        &TEXTS[1..],
        &TEXTS[1..],
        &TEXTS[1..],
        &TEXTS[1..]
    );
    vocabulary.add_document("v", &words).unwrap();
    let head = format!("name = {TEXTS}\n");
    let provider = format!("id = \"hk\"\njurisdiction = \"HK\"\n{head}{provider}");
    let client =
        format!("client_id = \"portal\"\njurisdiction = \"CN-GD\"\nsector = \"s\"\n{head}operator = {TEXTS}\n{client}");
    let service =
        format!("service = \"s\"\nresource = \"https://s.example/s\"\nclients = [\"portal\"]\n{head}{service}");
    let instrument = format!(
        "instrument = \"contract\"\ncrossings = [\"HK>CN-GD\"]\nclasses = [\"general\"]\nregistered_in = [\"guangzhou\"]\n\
         in_force_from = \"2024-01-01\"\n{head}"
    );
    let client = Client::from_document("c", &client).unwrap_or_else(|problems| panic!("{problems:?}"));
    let document = |text: String| Document { file: "d".into(), text };
    PolicySet::compile(Parts {
        services: &[document(service)],
        instruments: &[document(instrument)],
        clients: vec![&client],
        providers: vec![Provider::from_document("p", &provider, |_| Some(())).unwrap().0],
        vocabulary,
        ..Parts::default()
    })
    .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn today() -> Date {
    "2026-11-22".parse().unwrap()
}

/// The changes from the documents above to these, and back.
fn there_and_back(provider: &str, client: &str, service: &str) -> (Diff, Diff) {
    let (old, new) = (set(PROVIDER, CLIENT, SERVICE), set(provider, client, service));
    (diff(&old, &new, today()), diff(&new, &old, today()))
}

fn directions(diff: &Diff) -> Vec<Direction> {
    let mut directions: Vec<Direction> = diff.changes.iter().map(|change: &Change| change.direction).collect();
    directions.dedup();
    directions
}

/// Every change of this kind widens, and its reverse narrows.
#[test]
fn what_widens_is_said_to_widen_and_its_reverse_to_narrow() {
    let service = |from: &str, to: &str| {
        assert!(SERVICE.contains(from), "{from}");
        (PROVIDER.to_owned(), CLIENT.to_owned(), SERVICE.replacen(from, to, 1))
    };
    let provider = |from: &str, to: &str| (PROVIDER.replacen(from, to, 1), CLIENT.to_owned(), SERVICE.to_owned());
    let client = |from: &str, to: &str| (PROVIDER.to_owned(), CLIENT.replacen(from, to, 1), SERVICE.to_owned());
    let second = "[[release]]\nclaim = \"email\"\nfrom = 'claims.email'\non_missing = \"clear\"\npurpose = \"use\"\nground = \"consent\"\n";
    for (what, (p, c, s)) in [
        ("a weaker login", service("authentication = 2", "authentication = 1")),
        ("an older login", service("10m", "11m")),
        ("any age of login", service("max_age = \"10m\"\n", "")),
        ("another capacity", service("max_age", "capacities = [\"own\", \"legal-person\"]\nmax_age")),
        ("a word that means more", provider("identity = 2\nauthentication = 1", "identity = 2\nauthentication = 2")),
        (
            "another word",
            provider("[person]", "[[assurance]]\nacr = \"new\"\nidentity = 2\nauthentication = 2\n[person]"),
        ),
        ("a claim more", (PROVIDER.into(), CLIENT.into(), format!("{SERVICE}{second}"))),
        ("a place more to send people", client("cb\"]", "cb\", \"https://other.example/cb\"]")),
        ("a longer memory", service("[[allow]]", "remember_consent = \"30d\"\n[[allow]]")),
        ("refreshing", client("redirect_uris", "refresh_lifetime = \"1h\"\nredirect_uris")),
    ] {
        let (there, back) = there_and_back(&p, &c, &s);
        assert!(!there.changes.is_empty(), "{what} is found");
        assert_eq!(directions(&there), [Direction::Widening], "{what}: {:#?}", there.changes);
        let narrows = directions(&back);
        assert!(!narrows.contains(&Direction::Widening) && !narrows.is_empty(), "{what}: {:#?}", back.changes);
    }
}

#[test]
fn a_gain_names_somebody_to_whom_it_happens() {
    let (there, back) =
        there_and_back(PROVIDER, CLIENT, &SERVICE.replace("max_age", "age_from = 18\npopulations = [\"hk\"]\nmax_age"));
    let [loss] = there.changes.as_slice() else { panic!("{:#?}", there.changes) };
    assert_eq!(loss.direction, Direction::Narrowing);
    assert!(loss.what.contains("at portal with hk") && loss.what.contains("macao"), "{}", loss.what);
    let example = back.changes.first().and_then(|gain| gain.example.clone()).unwrap();
    assert!(example.contains("signed in with hk (high)"), "{example}");
}

#[test]
fn an_answer_that_cannot_be_told_to_be_less_is_told_as_more() {
    let expression = SERVICE.replace("'claims.name'", "'upper(claims.name)'");
    assert_eq!(directions(&there_and_back(PROVIDER, CLIENT, &expression).0), [Direction::Widening]);
    let purpose = SERVICE.replace("purpose = \"use\"", "purpose = \"other\"");
    assert_eq!(directions(&there_and_back(PROVIDER, CLIENT, &purpose).0), [Direction::Widening]);
}

#[test]
fn a_border_that_opens_or_closes_is_told() {
    let (there, back) = there_and_back(PROVIDER, &CLIENT.replace("2030-12-31", "2026-01-01"), SERVICE);
    let closes =
        |diff: &Diff| diff.changes.iter().any(|change| change.what.contains("may no longer go from HK to portal"));
    assert!(closes(&there), "{:#?}", there.changes);
    assert!(
        back.changes
            .iter()
            .any(|change| change.direction == Direction::Widening && change.what.contains("may now go from HK"))
    );
}

#[test]
fn equal_versions_do_not_differ_and_cedar_that_calculates_is_confessed() {
    let (there, _) = there_and_back(PROVIDER, CLIENT, SERVICE);
    assert!(there.changes.is_empty() && there.inexact.is_empty(), "{there:#?}");
    let cedar = "cedar = 'forbid(principal, action, resource == Service::\"s\") when { context.minute + 1 > 600 };'\n";
    let (there, _) = there_and_back(PROVIDER, CLIENT, &format!("{cedar}{SERVICE}"));
    assert_eq!(there.inexact.len(), 1);
    let exact = "cedar = 'forbid(principal, action, resource == Service::\"s\") when { context.minute > 600 };'\n";
    let (there, _) = there_and_back(PROVIDER, CLIENT, &format!("{exact}{SERVICE}"));
    assert!(there.inexact.is_empty());
    assert_eq!(directions(&there), [Direction::Narrowing], "{:#?}", there.changes);
}
