//! The difference by meaning put to the engine itself: random pairs of documents that use every condition at its edges, and logins
//! at each limit, right before it and right after.
//!
//! `PROPTEST_CASES=20000 cargo test -p policies --release --test diff_engine` for the long run.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::circumstances::{AgeLimit, Capacity, Login, Person, Place, Population, WeekMinute};
use gateway_core::client::Client;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};
use policies::decide::Demand;
use policies::diff::{Diff, Direction, diff};
use policies::set::{Document, Parts};
use policies::{Facts, PolicySet, Provider};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

const TEXTS: &str = "{ zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }";
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const CLIENTS: [(&str, &str, &str, bool); 3] =
    [("portal", "CN-GD", "browser", false), ("desk", "CN-GD", "counter", true), ("abroad", "HK", "app", false)];
/// Providers, where they stand, of whom they vouch, and whether they say so, and the capacity, of each.
const PROVIDERS: [(&str, &str, &[&str], bool); 2] =
    [("hk", "HK", &["hk", "macao"], true), ("gd", "CN-GD", &["mainland"], false)];
/// Spans at the ends of what a document may say, and beside each other.
const SPANS: [u64; 5] = [0, 1, 2, 60, 49_710 * 86_400];
/// A row of a translation table: word, methods, identity, authentication.
type Words = (&'static str, &'static [&'static str], u8, u8);
/// Translation tables.
const TABLES: [&[Words]; 4] = [
    &[("a", &[], 1, 1), ("b", &[], 2, 1), ("b", &["face"], 2, 2), ("c", &[], 3, 3)],
    &[("a", &[], 1, 1), ("b", &["face"], 2, 3), ("b", &["card"], 2, 1), ("c", &[], 3, 3)],
    &[("a", &[], 1, 1), ("b", &["card"], 2, 1), ("b", &["face"], 2, 3), ("c", &[], 3, 3)],
    &[("a", &["card", "face"], 3, 1), ("b", &[], 2, 2)],
];
/// Raw Cedar that compares with numbers at the ends, and one that compares with nothing.
const CEDAR: [&str; 9] = [
    "forbid(principal, action, resource == Service::\"s\") when { context.minute > 1438 };",
    "forbid(principal, action, resource == Service::\"s\") when { context.minute < 1 && context.weekday == 7 };",
    "forbid(principal, action, resource == Service::\"s\") when { context.age > 0 };",
    "forbid(principal, action, resource == Service::\"s\") when { [1, 600].contains(context.minute) };",
    "permit(principal == Provider::\"gd\", action, resource == Service::\"s\") when { context.age == 4294967295 };",
    "permit(principal, action, resource == Service::\"s\") when { context.weekday > 6 && context.authentication > 2 };",
    "permit(principal, action, resource == Service::\"s\") when { context has years && context.years >= 70 };",
    "forbid(principal, action, resource == Service::\"s\") when { context.capacity == \"assisted\" || !context.timeStated };",
    "forbid(principal, action, resource == Service::\"s\") when { context.signedInAt == \"app\" };",
];

/// A condition of a row, as it stands in a document.
#[derive(Debug, Clone, PartialEq)]
enum Condition {
    List(&'static str, Vec<&'static str>),
    Years(&'static str, u8),
    Span(&'static str, u64),
    /// First day, last day, and the minutes at which it opens and closes.
    Hours(Vec<(usize, usize, u16, u16)>),
    Level(&'static str, u8),
    Unstated,
}

impl Condition {
    fn name(&self) -> &'static str {
        match self {
            Self::List(name, _) | Self::Years(name, _) | Self::Span(name, _) | Self::Level(name, _) => name,
            Self::Hours(_) => "hours",
            Self::Unstated => "unstated_time",
        }
    }

    fn toml(&self) -> String {
        let clock = |minute: &u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let hours = |(first, last, opens, closes): &(usize, usize, u16, u16)| {
            let days: Vec<&str> = DAYS.iter().skip(*first).take(last + 1 - first).copied().collect();
            format!("{} {}-{}", days.join(","), clock(opens), clock(closes))
        };
        let name = self.name();
        match self {
            Self::List(_, words) => format!("{name} = {words:?}\n"),
            Self::Years(_, number) | Self::Level(_, number) => format!("{name} = {number}\n"),
            Self::Span(_, seconds) => format!("{name} = \"{seconds}s\"\n"),
            Self::Hours(list) => format!("{name} = {:?}\n", list.iter().map(hours).collect::<Vec<_>>()),
            Self::Unstated => format!("{name} = true\n"),
        }
    }
}

/// A row: whether it forbids, and its conditions by name.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    forbid: bool,
    conditions: BTreeMap<&'static str, Condition>,
}

impl Row {
    fn new(forbid: bool, conditions: Vec<Condition>) -> Self {
        let of_allow = |name| matches!(name, "identity" | "authentication" | "max_age");
        let of_forbid = |name| matches!(name, "older_than" | "unstated_time");
        let fits = |name| if forbid { !of_allow(name) } else { !of_forbid(name) };
        let mut conditions: BTreeMap<_, _> =
            conditions.into_iter().map(|c| (c.name(), c)).filter(|(name, _)| fits(*name)).collect();
        let least = [
            Condition::List("providers", vec!["hk", "gd"]),
            Condition::Level("identity", 1),
            Condition::Level("authentication", 1),
        ];
        let needed = if forbid && !conditions.is_empty() {
            0
        } else if forbid {
            1
        } else {
            3
        };
        for condition in least.into_iter().take(needed) {
            conditions.entry(condition.name()).or_insert(condition);
        }
        Self { forbid, conditions }
    }
}

/// A version of the service: its rows, raw Cedar, and the table of the provider `hk`.
#[derive(Debug, Clone, PartialEq)]
struct Version {
    rows: Vec<Row>,
    cedar: Option<&'static str>,
    table: usize,
    regional_hop: bool,
    offered_by: Vec<&'static str>,
}

impl Version {
    /// Compiles it. With `exactly`, raw Cedar that holds for nobody keeps the engine from giving one login's verdict to another.
    fn compile(&self, exactly: bool) -> PolicySet {
        let never = "forbid(principal, action, resource == Service::\"s\") when { context.age < 0 };";
        let cedar: Vec<&str> = self.cedar.into_iter().chain(exactly.then_some(never)).collect();
        let cedar = if cedar.is_empty() { String::new() } else { format!("cedar = '{}'\n", cedar.join(" ")) };
        let row = |row: &Row| {
            let head = if row.forbid { "[[forbid]]\n" } else { "[[allow]]\n" };
            head.to_owned() + &row.conditions.values().map(Condition::toml).collect::<String>()
        };
        let text = format!(
            "service = \"s\"\nresource = \"https://s.example/s\"\nclients = {:?}\nregional_hop = {}\nname = {TEXTS}\n{cedar}{}",
            self.offered_by,
            self.regional_hop,
            self.rows.iter().map(row).collect::<String>()
        );
        let clients = CLIENTS.map(|(id, jurisdiction, place, assisted)| {
            let text = format!(
                "client_id = \"{id}\"\njurisdiction = \"{jurisdiction}\"\nsector = \"{id}\"\nname = {TEXTS}\noperator = {TEXTS}\n\
                 place = \"{place}\"\nstaff_assisted = {assisted}\nredirect_uris = [\"https://portal.example/cb\"]\n\
                 token_endpoint_auth_method = \"none\"\n"
            );
            Client::from_document(id, &text).unwrap()
        });
        PolicySet::compile(Parts {
            services: &[Document { file: "s.toml".into(), text: text.clone() }],
            clients: clients.iter().collect(),
            providers: vec![provider(0, self.table), provider(1, 0)],
            ..Parts::default()
        })
        .unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
    }
}

fn provider(which: usize, table: usize) -> Provider {
    let (id, jurisdiction, populations, says) = PROVIDERS.get(which).unwrap();
    let mut text = format!("id = \"{id}\"\njurisdiction = \"{jurisdiction}\"\nname = {TEXTS}\n");
    for (word, methods, identity, authentication) in *TABLES.get(table).unwrap() {
        text += &format!(
            "[[assurance]]\nacr = \"{word}\"\namr_any = {methods:?}\nidentity = {identity}\nauthentication = {authentication}\n"
        );
    }
    text += &format!("[person]\npopulations = {populations:?}\n");
    text += if *says { "population_from = ['claims.population']\ncapacity = 'claims.capacity'\n" } else { "" };
    Provider::from_document(id, &text, |_| Some(())).unwrap().0
}

/// Some of these words, at least one.
fn some(name: &'static str, words: &'static [&'static str]) -> impl Strategy<Value = Condition> {
    subsequence(words, 1..=words.len()).prop_map(move |words| Condition::List(name, words))
}

fn hours() -> impl Strategy<Value = Condition> {
    let days = prop_oneof![Just((0, 6)), (0..7_usize).prop_map(|day| (day, day)), (0..7_usize, 0..7_usize)];
    let opens = select(vec![0, 0, 1, 540, 1_438, 1_439]);
    let window = (days, opens, select(vec![1_440, 1_440, 1, 2, 541, 1_439]))
        .prop_map(|((a, b), opens, closes)| (a.min(b), a.max(b), opens, if closes > opens { closes } else { 1_440 }));
    prop::collection::vec(window, 1..=2).prop_map(Condition::Hours)
}

fn condition() -> impl Strategy<Value = Condition> {
    let years = select(AgeLimit::ALL.map(AgeLimit::years).to_vec());
    prop_oneof![
        1 => some("providers", &["hk", "gd"]),
        1 => some("clients", &["portal", "desk", "abroad"]),
        1 => some("from", &["CN-GD", "HK", "MO"]),
        1 => some("to", &["CN-GD", "HK", "MO"]),
        1 => some("places", &["browser", "app", "kiosk", "counter"]),
        1 => some("signed_in_at", &["browser", "app", "kiosk", "counter"]),
        1 => some("populations", &["mainland", "hk", "macao", "taiwan", "other"]),
        1 => some("capacities", &["own", "legal-person", "assisted"]),
        1 => (select(vec!["age_from", "age_below"]), years).prop_map(|(name, years)| Condition::Years(name, years)),
        1 => (select(vec!["max_age", "older_than"]), select(SPANS.to_vec())).prop_map(|(name, span)| Condition::Span(name, span)),
        1 => (select(vec!["identity", "authentication"]), 1..=3_u8).prop_map(|(name, level)| Condition::Level(name, level)),
        3 => hours(),
        1 => Just(Condition::Unstated),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    let level = (1..=3_u8).prop_map(|level| Condition::Level("authentication", level));
    (prop::bool::weighted(0.3), level, prop::collection::vec(condition(), 0..3))
        .prop_map(|(forbid, level, conditions)| Row::new(forbid, std::iter::once(level).chain(conditions).collect()))
}

/// A table of the provider `hk`: mostly one of the two that differ in the order of their rows alone.
fn table() -> impl Strategy<Value = usize> {
    select(vec![0, 1, 1, 2, 2, 3])
}

fn version() -> impl Strategy<Value = Version> {
    let rows = (row(), prop::collection::vec(row(), 0..2));
    let cedar = prop::option::weighted(0.2, select(CEDAR.to_vec()));
    let offered_by = subsequence(vec!["portal", "desk", "abroad"], 1..=2);
    (rows, cedar, table(), any::<bool>(), offered_by).prop_map(
        |((first, more), cedar, table, regional_hop, offered_by)| {
            let first = Row::new(false, first.conditions.into_values().collect());
            Version { rows: std::iter::once(first).chain(more).collect(), cedar, table, regional_hop, offered_by }
        },
    )
}

/// What an officer does to a document.
#[derive(Debug, Clone)]
enum Edit {
    Say(Index, Condition),
    Unsay(Index, Index),
    Drop(Index),
    Add(Row),
    Raw(Option<&'static str>),
    Table(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (any::<Index>(), condition()).prop_map(|(row, condition)| Edit::Say(row, condition)),
        4 => (any::<Index>(), any::<Index>()).prop_map(|(row, condition)| Edit::Unsay(row, condition)),
        1 => any::<Index>().prop_map(Edit::Drop),
        1 => row().prop_map(Edit::Add),
        2 => prop::option::of(select(CEDAR.to_vec())).prop_map(Edit::Raw),
        2 => table().prop_map(Edit::Table),
    ]
}

fn edited(old: &Version, edits: Vec<Edit>) -> Version {
    let mut new = old.clone();
    for edit in edits {
        let rows = new.rows.len();
        match edit {
            Edit::Say(at, condition) if rows > 0 => {
                let row = new.rows.get_mut(at.index(rows)).unwrap();
                let mut conditions = row.conditions.clone();
                conditions.insert(condition.name(), condition);
                *row = Row::new(row.forbid, conditions.into_values().collect());
            }
            Edit::Unsay(at, which) if rows > 0 => {
                let row = new.rows.get_mut(at.index(rows)).unwrap();
                let mut left: Vec<Condition> = row.conditions.clone().into_values().collect();
                left.remove(which.index(left.len()));
                *row = Row::new(row.forbid, left);
            }
            Edit::Drop(at) if rows > 0 => drop(new.rows.remove(at.index(rows))),
            Edit::Say(..) | Edit::Unsay(..) | Edit::Drop(_) => {}
            Edit::Add(row) => new.rows.push(row),
            Edit::Raw(cedar) => new.cedar = cedar,
            Edit::Table(table) => new.table = table,
        }
    }
    new
}

/// Logins at the limits of two versions, numbered: what their documents name, and what lies right before and after.
struct Grid {
    people: Vec<(usize, Option<Population>, Capacity)>,
    words: Vec<(Option<&'static str>, Vec<&'static str>)>,
    years: Vec<Option<AgeLimit>>,
    ages: Vec<u64>,
    stated: Vec<bool>,
    signed_in_at: &'static [Place],
    moments: Vec<u16>,
}

impl Grid {
    /// With `all`, also where no limit is.
    fn of(versions: [&Version; 2], all: bool) -> Self {
        let raw = all || versions.iter().any(|version| version.cedar.is_some());
        let mut signed_in_at = raw;
        let (mut years, mut stated, mut ages, mut moments) = (raw, raw, BTreeSet::from([0]), BTreeSet::from([0]));
        let around = |limit: u64| [limit.checked_sub(1), Some(limit), limit.checked_add(1)].into_iter().flatten();
        // Goes round: Monday 00:00 follows the last minute of Sunday.
        let about = |day: u16, minute: u16| [10_079, 0, 1].map(|more| (day * 1_440 + minute + more) % 10_080);
        for condition in versions.iter().flat_map(|version| &version.rows).flat_map(|row| row.conditions.values()) {
            match condition {
                Condition::List("signed_in_at", _) => signed_in_at = true,
                Condition::List(..) | Condition::Level(..) => {}
                Condition::Years(..) => years = true,
                Condition::Unstated => stated = true,
                Condition::Span(_, span) => ages.extend(around(*span)),
                Condition::Hours(list) => moments.extend(list.iter().flat_map(|(first, last, opens, closes)| {
                    (*first..=*last)
                        .flat_map(move |day| [*opens, *closes].map(|minute| about(day as u16, minute)))
                        .flatten()
                })),
            }
        }
        if raw {
            ages.extend([1, u64::from(u32::MAX)].into_iter().flat_map(around).chain([u64::MAX]));
            moments.extend((0..7).flat_map(|day| [1, 600, 1_439].map(|minute| about(day, minute))).flatten());
        }
        let mut people = Vec::new();
        for (which, (_, _, known, says)) in PROVIDERS.iter().enumerate() {
            let known = known.iter().map(|word| Some(word.parse().unwrap()));
            for population in known.chain(says.then_some(None)) {
                people.extend([Capacity::Own, Capacity::LegalPerson].map(|capacity| (which, population, capacity)));
                people.extend(says.then_some((which, population, Capacity::Assisted)));
            }
        }
        let every_word = ["a", "b", "c", "unheard-of"].map(Some).into_iter().chain([None]);
        let methods = [vec![], vec!["face"], vec!["card"], vec!["card", "face"]];
        let every_age = AgeLimit::ALL.into_iter().map(Some).chain([None]);
        Self {
            people,
            words: every_word.flat_map(|word| methods.clone().map(|methods| (word, methods))).collect(),
            years: if years { every_age.collect() } else { vec![Some(AgeLimit::reached_at(30))] },
            ages: ages.into_iter().collect(),
            stated: if stated { vec![true, false] } else { vec![true] },
            signed_in_at: if signed_in_at { Place::ALL } else { &[Place::Browser] },
            moments: moments.into_iter().collect(),
        }
    }

    fn len(&self) -> u64 {
        let sides = [
            self.people.len(),
            self.words.len(),
            self.years.len(),
            self.ages.len(),
            self.stated.len(),
            self.signed_in_at.len(),
            self.moments.len(),
        ];
        sides.iter().map(|side| *side as u64).product()
    }

    fn login(&self, mut number: u64) -> Login {
        fn pick<'a, T>(number: &mut u64, of: &'a [T]) -> &'a T {
            let sides = of.len() as u64;
            let picked = of.get((*number % sides) as usize).unwrap();
            *number /= sides;
            picked
        }
        let (which, population, capacity) = *pick(&mut number, &self.people);
        let (acr, amr) = pick(&mut number, &self.words);
        let person = Person { population, age: *pick(&mut number, &self.years), capacity };
        Login {
            provider: PROVIDERS.get(which).unwrap().0.parse().unwrap(),
            acr: acr.map(str::to_owned),
            amr: amr.iter().map(|method| (*method).to_owned()).collect(),
            age: *pick(&mut number, &self.ages),
            time_stated: *pick(&mut number, &self.stated),
            signed_in_at: *pick(&mut number, self.signed_in_at),
            person,
            at: WeekMinute::try_from(*pick(&mut number, &self.moments)).unwrap(),
        }
    }

    /// Each login once, in an order that jumps about.
    fn logins(&self, from: u64) -> impl Iterator<Item = Login> {
        let (len, step) = (self.len(), 1_000_000_007);
        assert!(!len.is_multiple_of(step));
        (0..len).map(move |number| self.login((from % len + number % len * (step % len)) % len))
    }
}

fn permits(set: &PolicySet, client: &ClientId, login: &Login) -> bool {
    let service: ServiceId = "s".parse().unwrap();
    set.decide(&Facts { client, service: &service, login, demand: Demand::NONE }).is_ok()
}

/// The changes of decisions that a difference tells: whether somebody gains, at which client, with which provider.
fn told(diff: &Diff) -> BTreeSet<(bool, ClientId, ProviderId)> {
    let read = |change: &policies::diff::Change| {
        let (head, _) = change.what.split_once(':').unwrap();
        let (client, provider) = head.strip_prefix("at ").unwrap().split_once(" with ").unwrap();
        (change.direction == Direction::Widening, client.parse().unwrap(), provider.parse().unwrap())
    };
    diff.changes.iter().map(read).collect()
}

fn check(old: &Version, new: &Version, seed: u64) -> Result<(), TestCaseError> {
    const SAMPLES: usize = 200;
    let sets = [old.compile(false), new.compile(false)];
    let exact = [old.compile(true), new.compile(true)];
    let [before, after] = &sets;
    let diff = diff(before, after, "2026-11-22".parse().unwrap());
    prop_assert!(diff.inexact.is_empty());
    let told = told(&diff);
    let clients = CLIENTS.map(|(id, ..)| id.parse::<ClientId>().unwrap());
    for login in Grid::of([old, new], true).logins(seed).take(SAMPLES) {
        for client in &clients {
            let [was, is] = exact.each_ref().map(|set| permits(set, client, &login));
            let kept = sets.each_ref().map(|set| permits(set, client, &login));
            prop_assert_eq!(kept, [was, is], "a kept verdict is another's: {:?} at {}", login, client);
            let change = (is, client.clone(), login.provider.clone());
            prop_assert!(was == is || told.contains(&change), "{:?} is not told of {:?}: {:#?}", change, login, diff);
        }
    }
    for (gains, client, provider) in &told {
        let grid = Grid::of([old, new], false);
        let mut logins = grid.logins(seed).filter(|login| login.provider == *provider);
        let answers = |sets: &[PolicySet; 2], login: &Login| sets.each_ref().map(|set| permits(set, client, login));
        let changes = |login: &Login| [&sets, &exact].iter().all(|sets| answers(sets, login) == [!gains, *gains]);
        prop_assert!(logins.any(|login| changes(&login)), "{} at {} with {}: to nobody", gains, client, provider);
    }
    Ok(())
}

/// A difference of two versions asks about every class of login, so a few pairs take a while unless told otherwise.
fn config() -> ProptestConfig {
    let told = std::env::var_os("PROPTEST_CASES").is_some();
    if told { ProptestConfig::default() } else { ProptestConfig::with_cases(32) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_told_is_what_the_engine_does(old in version(), edits in prop::collection::vec(edit(), 0..4), seed: u64) {
        check(&old, &edited(&old, edits), seed)?;
    }

    #[test]
    fn what_is_told_of_unrelated_documents_is_what_the_engine_does(old in version(), new in version(), seed: u64) {
        check(&old, &new, seed)?;
    }
}
