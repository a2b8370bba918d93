//! The difference by meaning put to what goes out: random pairs of documents with release rows, borders and days at their edges.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;

use gateway_core::assertion::{Assertion, UpstreamSubject};
use gateway_core::claims::{Claims, ClaimsRequest};
use gateway_core::client::Client;
use gateway_core::jurisdiction::Jurisdiction;
use gateway_core::time::{Date, Timestamp};
use policies::diff::{Diff, Direction, diff};
use policies::set::{Document, Parts};
use policies::vocabulary::Vocabulary;
use policies::{PolicySet, Provider};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::Value;

const TEXTS: &str = "{ zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }";
/// Days around today, over the end of a year, and far ahead.
const DAYS: [&str; 8] =
    ["2026-12-29", "2026-12-30", "2026-12-31", "2027-01-01", "2027-01-02", "2027-01-03", "2027-01-04", "2099-12-31"];
/// Its place among the days.
const TODAY: usize = 1;
/// Claims, and their class.
const CLAIMS: [(&str, &str); 3] = [("name", "general"), ("email", "sensitive"), ("over_18", "general")];

/// What both versions share: of each instrument its first day, its classes, and the last day of its filing.
#[derive(Debug, Clone)]
struct World {
    instruments: Vec<(usize, Vec<&'static str>, Option<usize>)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    claim: usize,
    upper: bool,
    on_missing: &'static str,
    optional: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Version {
    instruments: Vec<usize>,
    rows: Vec<Row>,
    /// The last day on which each claim goes out.
    until: [Option<usize>; 3],
    yes_no: bool,
}

impl Row {
    fn toml(&self) -> String {
        let (claim, _) = CLAIMS.get(self.claim).unwrap();
        let from = if self.upper { format!("upper(claims.{claim})") } else { format!("claims.{claim}") };
        let on_missing = if self.on_missing == "set" { "set\"\ndefault = \"none" } else { self.on_missing };
        format!(
            "[[release]]\nclaim = \"{claim}\"\nfrom = '{from}'\non_missing = \"{on_missing}\"\noptional = {}\npurpose = \"use\"\n\
             ground = \"consent\"\n",
            self.optional
        )
    }
}

/// A day that a document names: the day after is one of the days as well.
fn named_day() -> impl Strategy<Value = usize> {
    select(vec![0, 1, 2, 3, 4, 5, 7])
}

fn world() -> impl Strategy<Value = World> {
    let classes = subsequence(vec!["general", "sensitive"], 1..=2);
    let instrument = (named_day(), classes, prop::option::weighted(0.8, named_day()));
    prop::collection::vec(instrument, 3).prop_map(|instruments| World { instruments })
}

fn row() -> impl Strategy<Value = Row> {
    let on_missing = select(vec!["fail", "clear", "keep", "set"]);
    (0..CLAIMS.len(), prop::bool::weighted(0.2), on_missing, any::<bool>()).prop_map(
        |(claim, upper, on_missing, optional)| {
            // What the reader refuses: a claim that may be left out and has to be there, and a text for a yes or no.
            let on_missing = if claim == 2 && on_missing == "set" { "clear" } else { on_missing };
            Row { claim, upper: upper && claim != 2, on_missing, optional: optional && on_missing != "fail" }
        },
    )
}

fn version() -> impl Strategy<Value = Version> {
    let until = || prop::option::weighted(0.3, named_day());
    let rows = prop::collection::vec(row(), 1..4);
    (subsequence(vec![0, 1, 2], 0..=3), rows, [until(), until(), until()], prop::bool::weighted(0.2))
        .prop_map(|(instruments, rows, until, yes_no)| Version { instruments, rows, until, yes_no })
}

/// Two versions: the second has some parts of another, and the rest of the first.
fn versions() -> impl Strategy<Value = (Version, Version)> {
    (version(), version(), any::<[bool; 6]>()).prop_map(
        |(old, other, [instruments, rows, more, until, yes_no, choice])| {
            let mut new = old.clone();
            if instruments {
                new.instruments.clone_from(&other.instruments);
            }
            if rows && more {
                new.rows.clone_from(&other.rows);
            } else if rows {
                new.rows.pop();
            }
            if until {
                new.until = other.until;
            }
            if choice {
                new.rows.iter_mut().for_each(|row| row.optional = row.on_missing != "fail");
            }
            new.yes_no = if yes_no { other.yes_no } else { old.yes_no };
            (old, new)
        },
    )
}

impl Version {
    fn compile(&self, world: &World) -> PolicySet {
        let day = |index: &usize| *DAYS.get(*index).unwrap();
        let mut vocabulary = Vocabulary::default();
        let texts = TEXTS.get(1..).unwrap();
        let mut words = String::from("[claims]\n");
        for (claim, class) in CLAIMS {
            words += &format!("{claim} = {{ class = \"{class}\", yes_no = {}, {texts}\n", claim == "over_18");
        }
        words += &format!("[purposes]\nuse = {TEXTS}\n[grounds]\nconsent = {TEXTS}\n[retire.claims]\n");
        for ((claim, _), until) in CLAIMS.iter().zip(&self.until) {
            words += &until.as_ref().map(|until| format!("{claim} = \"{}\"\n", day(until))).unwrap_or_default();
        }
        vocabulary.add_document("v", &words).unwrap();
        let mut filings = String::new();
        let mut instruments = Vec::new();
        for (number, (from, classes, until)) in world.instruments.iter().enumerate() {
            let text = format!(
                "instrument = \"i{number}\"\ncrossings = [\"HK>CN-GD\"]\nclasses = {classes:?}\nregistered_in = [\"guangzhou\"]\n\
                 in_force_from = \"{}\"\nname = {TEXTS}\n",
                day(from)
            );
            instruments.push(Document { file: format!("i{number}"), text });
            let filing = |until| {
                format!("[[filing]]\ninstrument = \"i{number}\"\nnumber = \"1\"\nvalid_until = \"{}\"\n", day(until))
            };
            filings += &until.as_ref().map(filing).unwrap_or_default();
        }
        let client = format!(
            "client_id = \"portal\"\njurisdiction = \"CN-GD\"\nsector = \"s\"\nname = {TEXTS}\noperator = {TEXTS}\n\
             registered_in = \"guangzhou\"\ncontact = \"1\"\nverification_only = {}\nredirect_uris = [\"https://portal.example/cb\"]\n\
             token_endpoint_auth_method = \"none\"\n{filings}",
            self.yes_no
        );
        let provider = |id: &str, jurisdiction: &str| {
            let text = format!(
                "id = \"{id}\"\njurisdiction = \"{jurisdiction}\"\nname = {TEXTS}\n[[assurance]]\nacr = \"a\"\nidentity = 1\n\
                 authentication = 1\n[person]\npopulations = [\"hk\"]\n"
            );
            Provider::from_document(id, &text, |_| Some(())).unwrap().0
        };
        let names: Vec<String> = self.instruments.iter().map(|number| format!("i{number}")).collect();
        let service = format!(
            "service = \"s\"\nresource = \"https://s.example/s\"\nclients = [\"portal\"]\ninstruments = {names:?}\nname = {TEXTS}\n\
             [[allow]]\nproviders = [\"hk\", \"gd\"]\nidentity = 1\nauthentication = 1\n{}",
            self.rows.iter().map(Row::toml).collect::<String>()
        );
        PolicySet::compile(Parts {
            services: &[Document { file: "s".into(), text: service.clone() }],
            instruments: &instruments,
            clients: vec![&Client::from_document("c", &client).unwrap()],
            providers: vec![provider("hk", "HK"), provider("gd", "CN-GD")],
            vocabulary,
            ..Parts::default()
        })
        .unwrap_or_else(|problems| panic!("{problems:?}\n{service}"))
    }

    /// The classes of data that may go from a place on a day, as an officer understands the documents.
    fn open(&self, world: &World, from: &str, day: usize) -> BTreeSet<&'static str> {
        let classes = self.rows.iter().map(|row| CLAIMS.get(row.claim).unwrap().1);
        let covers = |class: &&str| {
            from == "CN-GD"
                || self.instruments.iter().any(|number| {
                    let (begins, classes, until) = world.instruments.get(*number).unwrap();
                    classes.contains(class) && *begins <= day && until.is_some_and(|until| day <= until)
                })
        };
        classes.filter(covers).collect()
    }
}

fn date(day: usize) -> Date {
    DAYS.get(day).map_or("2100-01-01", |day| day).parse().unwrap()
}

/// What goes out about somebody of whom the provider says this; nothing, when the sign-in ends.
fn released(set: &PolicySet, from: Jurisdiction, said: &[&str], day: usize) -> Option<Vec<(String, Value)>> {
    let value = |claim: &str| if claim == "over_18" { Value::Bool(true) } else { Value::String(format!("a {claim}")) };
    let claims = said.iter().map(|claim| ((*claim).to_owned(), value(claim))).collect();
    let assertion = Assertion {
        provider: if from == Jurisdiction::HongKong { "hk" } else { "gd" }.parse().unwrap(),
        jurisdiction: from,
        subject: UpstreamSubject::parse("s").unwrap(),
        session: None,
        acr: Some("a".to_owned()),
        amr: vec![],
        auth_time: None,
        time_stated: false,
        asked_at: Timestamp(0),
        received_at: Timestamp(0),
        claims: Claims::from_object(claims),
        asked: None,
    };
    let asked = ClaimsRequest {
        userinfo: CLAIMS.iter().map(|(claim, _)| ((*claim).to_owned(), false)).collect(),
        ..ClaimsRequest::default()
    };
    let released = set.release(&"portal".parse().unwrap(), &"s".parse().unwrap(), &assertion, &asked, date(day));
    released.ok().map(|released| released.iter().map(|r| (r.claim().to_string(), r.value.clone())).collect())
}

/// What is told of borders, and what an officer would tell.
fn borders(diff: &Diff, world: &World, old: &Version, new: &Version) -> [BTreeSet<String>; 2] {
    let told = diff.changes.iter().map(|change| change.what.clone()).filter(|what| what.contains(" data may "));
    let mut expected = BTreeSet::new();
    for from in ["CN-GD", "HK"] {
        let mut seen = BTreeSet::new();
        for day in TODAY..=DAYS.len() {
            let (was, is) = (old.open(world, from, day), new.open(world, from, day));
            let on = if day == TODAY { String::new() } else { format!(" on {}", date(day)) };
            for (may, ways) in [("may now go", &is - &was), ("may no longer go", &was - &is)] {
                for class in ways.into_iter().filter(|class| seen.insert((may, *class))).collect::<Vec<_>>() {
                    expected.insert(format!("{class} data {may} from {from} to portal{on}"));
                }
            }
        }
    }
    [told.collect(), expected]
}

proptest! {
    #[test]
    fn without_a_widening_nothing_more_goes_out_on_any_day(world in world(), (old, new) in versions()) {
        let (before, after) = (old.compile(&world), new.compile(&world));
        let diff = diff(&before, &after, date(TODAY));
        let [told, expected] = borders(&diff, &world, &old, &new);
        prop_assert_eq!(told, expected);
        prop_assert!(old != new || diff.changes.is_empty(), "{:#?}", diff);
        if diff.changes.iter().any(|change| change.direction == Direction::Widening) {
            return Ok(());
        }
        for said in [&[][..], &["name"], &["email"], &["over_18"], &["name", "email"], &["name", "email", "over_18"]] {
            for (day, from) in (TODAY..=DAYS.len()).flat_map(|day| [(day, Jurisdiction::HongKong), (day, Jurisdiction::Guangdong)]) {
                let Some(is) = released(&after, from, said, day) else { continue };
                let was = released(&before, from, said, day);
                prop_assert!(was.is_some(), "{:?} from {} on {} sign in now: {:#?}", said, from, date(day), diff);
                let more: Vec<_> = is.into_iter().filter(|item| !was.iter().flatten().any(|was| was == item)).collect();
                prop_assert!(more.is_empty(), "{:?} from {} on {}: {:?} {:#?}", said, from, date(day), more, diff);
            }
        }
    }
}
