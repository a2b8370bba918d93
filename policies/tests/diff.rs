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
const CLIENT: &str = "registered_in = \"guangzhou\"\ncontact = \"1\"\nredirect_uris = [\"https://portal.example/cb\"]\n\
    token_endpoint_auth_method = \"none\"\n[[filing]]\ninstrument = \"contract\"\nnumber = \"1\"\nvalid_until = \"2030-12-31\"\n";
const SERVICE: &str = "instruments = [\"contract\"]\n[[allow]]\nproviders = [\"hk\"]\nidentity = 2\nauthentication = 2\n\
    max_age = \"10m\"\n[[release]]\nclaim = \"name\"\nfrom = 'claims.name'\non_missing = \"fail\"\npurpose = \"use\"\nground = \"consent\"\n";

fn set(provider: &str, client: &str, service: &str) -> PolicySet {
    set_with("", provider, client, service)
}

/// The same, with more words.
fn set_with(more: &str, provider: &str, client: &str, service: &str) -> PolicySet {
    let mut vocabulary = Vocabulary::default();
    let words = format!(
        "[claims]\nname = {{ class = \"general\", {}\nemail = {{ class = \"general\", {}\nhkid = {{ class = \"number\", {}\n[purposes]\nuse = {TEXTS}\nother = {TEXTS}\n\
         [grounds]\nconsent = {TEXTS}\nlaw = {{ citation = \"Law 1\", {}\n{more}",
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
    let instrument = |id: &str, from: &str| {
        format!(
            "instrument = \"{id}\"\ncrossings = [\"HK>CN-GD\"]\nclasses = [\"general\"]\nregistered_in = [\"guangzhou\"]\n\
             in_force_from = \"{from}\"\n{head}"
        )
    };
    let client = Client::from_document("c", &client).unwrap_or_else(|problems| panic!("{problems:?}"));
    let document = |text: String| Document { file: "d".into(), text };
    PolicySet::compile(Parts {
        services: &[document(service)],
        instruments: &[document(instrument("contract", "2024-01-01")), document(instrument("later", "2027-01-01"))],
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

/// The changes from one version of the service's document to another, and back.
fn between(old: &str, new: &str) -> (Diff, Diff) {
    let (old, new) = (set(PROVIDER, CLIENT, old), set(PROVIDER, CLIENT, new));
    (diff(&old, &new, today()), diff(&new, &old, today()))
}

fn with_hours(hours: &str) -> String {
    SERVICE.replace("max_age", &format!("hours = [{hours}]\nmax_age"))
}

/// Opening widens, closing narrows, and somebody at that moment is named.
fn opens(closed: &str, open: &str, at: &str) {
    let (there, back) = between(closed, open);
    assert_eq!(directions(&there), [Direction::Widening], "{closed}\n{open}\n{:#?}", there.changes);
    assert_eq!(directions(&back), [Direction::Narrowing], "{closed}\n{open}\n{:#?}", back.changes);
    let example = there.changes.first().and_then(|change| change.example.clone()).unwrap();
    assert!(example.ends_with(at), "{example}: not at {at}\n{closed}\n{open}");
}

/// The minute after 24:00 was taken for the one before it, so no login stood for it.
#[test]
fn a_weekend_that_opens_is_told_where_the_week_was_written_to_24_00() {
    opens(&with_hours("\"Mon-Fri 00:00-24:00\""), SERVICE, "Sat 00:00");
    opens(&with_hours("\"Mon-Fri 00:00-23:59\""), SERVICE, "Mon 23:59");
    opens(&with_hours("\"Mon-Fri 00:00-24:00\""), &with_hours("\"daily 00:00-24:00\""), "Sat 00:00");
}

#[test]
fn the_minute_after_sunday_24_00_is_monday_00_00() {
    opens(&with_hours("\"Sun 00:00-24:00\""), SERVICE, "Mon 00:00");
    opens(&with_hours("\"Sun 23:59-24:00\""), SERVICE, "Mon 00:00");
    opens(&with_hours("\"Sun 00:00-24:00\""), &with_hours("\"Sun 00:00-24:00\", \"Mon 00:00-00:01\""), "Mon 00:00");
    opens(&with_hours("\"Sun 00:00-23:59\""), &with_hours("\"Sun 00:00-24:00\""), "Sun 23:59");
}

#[test]
fn the_end_of_every_day_is_a_limit_like_any_other() {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    for (day, next) in DAYS.iter().zip(DAYS.iter().cycle().skip(1)) {
        let until_24 = format!("\"{day} 12:00-24:00\"");
        if *day != "Sun" {
            opens(&with_hours(&format!("\"Mon-{day} 00:00-24:00\"")), SERVICE, &format!("{next} 00:00"));
        }
        // Of moments that are alike the first in the week is named.
        let first = if *day == "Sun" { "Mon" } else { next };
        opens(
            &with_hours(&until_24),
            &with_hours(&format!("{until_24}, \"{next} 00:00-24:00\"")),
            &format!("{first} 00:00"),
        );
        opens(&with_hours(&format!("\"{day} 12:00-23:59\"")), &with_hours(&until_24), &format!("{day} 23:59"));
        opens(&with_hours(&until_24), &with_hours(&format!("\"{day} 00:00-24:00\"")), &format!("{day} 00:00"));
    }
}

#[test]
fn hours_that_cover_the_week_are_no_condition() {
    for all in ["\"daily 00:00-24:00\"", "\"Mon-Fri 00:00-24:00\", \"Sat,Sun 00:00-12:00\", \"Sat,Sun 12:00-24:00\""] {
        let (there, back) = between(&with_hours(all), SERVICE);
        assert!(there.changes.is_empty() && back.changes.is_empty(), "{all}: {there:#?} {back:#?}");
    }
}

#[test]
fn an_age_of_a_login_has_logins_on_both_sides_of_every_limit() {
    let within = |age: &str| SERVICE.replace("10m", age);
    opens(&within("0s"), &within("1s"), "1s ago, on a Mon 00:00");
    opens(&within("600s"), &within("601s"), "601s ago, on a Mon 00:00");
    // An unknown age is more than any that a document may name.
    opens(&within("49710d"), &SERVICE.replace("max_age = \"10m\"\n", ""), "4294944001s ago, on a Mon 00:00");
    let older =
        |age: &str| format!("{}[[forbid]]\nolder_than = \"{age}\"\n", SERVICE.replace("max_age = \"10m\"\n", ""));
    opens(&older("0s"), &older("1s"), "1s ago, on a Mon 00:00");
    opens(&older("49709d"), &older("49710d"), "4294857601s ago, on a Mon 00:00");
}

#[test]
fn a_provider_may_say_that_somebody_is_helped_by_staff() {
    let provider = format!("{PROVIDER}capacity = 'claims.capacity'\n");
    let assisted = SERVICE.replace("max_age", "capacities = [\"own\", \"assisted\"]\nmax_age");
    let (old, new) = (set(&provider, CLIENT, SERVICE), set(&provider, CLIENT, &assisted));
    assert_eq!(directions(&diff(&old, &new, today())), [Direction::Widening]);
    assert_eq!(directions(&diff(&new, &old, today())), [Direction::Narrowing]);
}

/// Rows of a table that change places decide otherwise about nobody but those who used both methods.
#[test]
fn two_methods_together_are_asked_about_where_tables_differ() {
    let table = |first: &str, second: &str| {
        let row = |method: &str| {
            let authentication = if method == "face" { 2 } else { 1 };
            format!(
                "[[assurance]]\nacr = \"mixed\"\namr_any = [\"{method}\"]\nidentity = 2\nauthentication = {authentication}\n"
            )
        };
        format!("{}{}{PROVIDER}", row(first), row(second))
    };
    let (old, new) = (table("face", "card"), table("card", "face"));
    let (old, new) = (set(&old, CLIENT, SERVICE), set(&new, CLIENT, SERVICE));
    let there = diff(&old, &new, today());
    assert_eq!(directions(&there), [Direction::Widening], "{there:#?}");
    assert!(there.changes.iter().all(|change| change.what.contains("mixed with card+face")), "{there:#?}");
    assert_eq!(directions(&diff(&new, &old, today())), [Direction::Narrowing]);
}

/// What may cross a border is compared on the days to come as well: an instrument comes into force, a filing runs out.
#[test]
fn a_border_that_opens_later_is_told_with_its_first_day() {
    let client = CLIENT.replace("2030-12-31", "2026-12-31").to_owned()
        + "[[filing]]\ninstrument = \"later\"\nnumber = \"2\"\nvalid_until = \"2030-12-31\"\n";
    let both = SERVICE.replace("[\"contract\"]", "[\"contract\", \"later\"]");
    let (old, new) = (set(PROVIDER, &client, SERVICE), set(PROVIDER, &client, &both));
    let says = |old: &PolicySet, new: &PolicySet, today: &str| -> Vec<String> {
        diff(old, new, today.parse().unwrap()).changes.into_iter().map(|change| change.what).collect()
    };
    let may_now = "general data may now go from HK to portal";
    assert_eq!(says(&old, &new, "2026-11-22"), [format!("{may_now} on 2027-01-01")]);
    assert_eq!(says(&old, &new, "2026-12-31"), [format!("{may_now} on 2027-01-01")]);
    assert_eq!(says(&old, &new, "2027-01-01"), [may_now]);
    assert_eq!(says(&old, &new, "2030-12-31"), [may_now]);
    assert!(says(&old, &new, "2031-01-01").is_empty(), "both filings have run out");
    assert_eq!(directions(&diff(&old, &new, today())), [Direction::Widening]);
    assert_eq!(directions(&diff(&new, &old, today())), [Direction::Narrowing]);
    // Both cover for a while, and then only one.
    let client = client.replace("2026-12-31", "2027-06-30");
    let (old, new) = (set(PROVIDER, &client, SERVICE), set(PROVIDER, &client, &both));
    for today in ["2027-02-01", "2027-06-30"] {
        assert_eq!(says(&old, &new, today), [format!("{may_now} on 2027-07-01")]);
        assert_eq!(says(&new, &old, today), ["general data may no longer go from HK to portal on 2027-07-01"]);
    }
}

/// A row that ends sign-ins for want of its claim lets people in when it ends itself.
#[test]
fn a_claim_that_is_given_up_sooner_lets_in_whom_it_kept_out() {
    let until = |day: &str| format!("[retire.claims]\nname = \"{day}\"\n");
    let keeps = |service: &str, sooner: &str, later: &str| {
        let (old, new) = (set_with(later, PROVIDER, CLIENT, service), set_with(sooner, PROVIDER, CLIENT, service));
        directions(&diff(&old, &new, today()))
    };
    assert_eq!(keeps(SERVICE, &until("2027-01-01"), ""), [Direction::Widening]);
    assert_eq!(keeps(SERVICE, &until("2027-01-01"), &until("2027-01-02")), [Direction::Widening]);
    let clear = SERVICE.replace("\"fail\"", "\"clear\"");
    assert_eq!(keeps(&clear, &until("2027-01-01"), &until("2027-01-02")), [Direction::Narrowing]);
    assert_eq!(keeps(&clear, &until("2027-01-01"), &until("2027-01-01")), []);
}

#[test]
fn a_client_that_is_told_no_more_than_yes_or_no_lets_in_whom_a_claim_kept_out() {
    let yes_no = format!("verification_only = true\n{CLIENT}");
    let (there, back) = there_and_back(PROVIDER, &yes_no, SERVICE);
    assert!(there.changes.iter().any(|change| change.direction == Direction::Widening
        && change.what.contains("people without a claim that it is told no more")));
    assert_eq!(directions(&back), [Direction::Widening]);
    let clear = SERVICE.replace("\"fail\"", "\"clear\"");
    let (old, new) = (set(PROVIDER, CLIENT, &clear), set(PROVIDER, &yes_no, &clear));
    assert_eq!(directions(&diff(&old, &new, today())), [Direction::Narrowing]);
}

#[test]
fn no_field_of_a_client_changes_unseen() {
    for more in ["place = \"kiosk\"", "staff_assisted = true", "backchannel_user_code_parameter = true"] {
        let (there, _) = there_and_back(PROVIDER, &format!("{more}\n{CLIENT}"), SERVICE);
        assert!(directions(&there).contains(&Direction::Widening), "{more}: {there:#?}");
    }
}

#[test]
fn cedar_that_calculates_or_compares_facts_is_never_told_to_widen_nothing() {
    for condition in [
        "context.minute + 1 > 600",
        "context.client != Client::\"a\\\"b\" && context.minute * 2 > 600",
        "context.age > context.minute",
    ] {
        let cedar =
            format!("cedar = '''forbid(principal, action, resource == Service::\"s\") when {{ {condition} }};'''\n");
        let (there, back) = there_and_back(PROVIDER, CLIENT, &format!("{cedar}{SERVICE}"));
        for diff in [there, back] {
            assert!(
                diff.inexact.len() == 1 && directions(&diff).contains(&Direction::Widening),
                "{condition}: {diff:#?}"
            );
        }
    }
}

#[test]
fn cedar_that_compares_with_a_number_has_logins_on_both_sides_of_it() {
    let cedar = |condition: &str| {
        format!(
            "cedar = '''forbid(principal, action, resource == Service::\"s\") when {{ {condition} }};'''\n{SERVICE}"
        )
    };
    for (closed, open, at) in [
        ("context.minute < 1", "context.minute < 0", "Mon 00:00"),
        ("context.minute > 1438", "context.minute > 1439", "Mon 23:59"),
        ("context.weekday >= 7", "context.weekday >= 8", "Sun 00:00"),
        ("context.age == 600", "context.age == 601", "10m ago, on a Mon 00:00"),
    ] {
        opens(&cedar(closed), &cedar(open), at);
    }
    let (there, back) = between(&cedar("context.minute > 1439 || context.age < 0"), SERVICE);
    assert!(there.changes.is_empty() && back.changes.is_empty(), "{there:#?}");
}

/// Each of these counted as neither more nor less.
#[test]
fn more_of_people_is_a_widening_whatever_it_is_called() {
    let widens = |before: &str, after: &str| {
        let (before, after) = (set(PROVIDER, CLIENT, before), set(PROVIDER, CLIENT, after));
        let widens = |from, to| directions(&diff(from, to, today())).contains(&Direction::Widening);
        (widens(&before, &after), widens(&after, &before))
    };
    let bare = SERVICE.split("[[release]]").next().unwrap();
    let mode = |mode: &str| format!("consent = \"{mode}\"\n{bare}");
    assert_eq!(widens(&mode("anonymous"), &mode("required")), (true, false));
    assert_eq!(widens(&mode("anonymous"), &mode("notice")), (true, false));
    let with = |more: &str| format!("{SERVICE}{more}");
    let link = |level: u8| format!("[link]\nprovider = \"hk\"\nidentity = 2\nauthentication = {level}\n");
    let detail = format!("[detail.reference]\nkind = \"text\"\nname = {TEXTS}\n");
    assert_eq!(widens(SERVICE, &with(&detail)), (true, false));
    let choices =
        |words: &str| format!("[detail.what]\nkind = \"choice\"\nname = {TEXTS}\n[detail.what.choices]\na = {words}\n");
    let other = TEXTS.replace("en = \"A\"", "en = \"B\"");
    assert_eq!(widens(&with(&choices(TEXTS)), &with(&choices(&other))), (true, true));
    assert_eq!(widens(&with(&link(2)), &with(&link(1))), (true, true));
    let elsewhere = set(PROVIDER, CLIENT, SERVICE);
    assert!(diff(&elsewhere, &elsewhere, today()).changes.is_empty());
}
