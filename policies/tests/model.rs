//! A tiny executable model of the decision, written apart from the engine, and random documents and logins put to both.
//!
//! `MODEL_CASES=1000000 cargo test -p policies --release --test model` for the long run.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use gateway_core::assurance::Assurance;
use gateway_core::authorize::AcrRequest;
use gateway_core::circumstances::{AgeLimit, Capacity, Login, Person, WeekMinute};
use gateway_core::client::Client;
use policies::decide::Demand;
use policies::set::{Document, Parts};
use policies::{Facts, PolicySet, Provider};

/// Random numbers that are the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())].clone()
    }

    /// One time in `sides` something, else nothing.
    fn some<T>(&mut self, sides: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.roll(sides) == 0 { Some(make(self)) } else { None }
    }

    fn few<T: Clone>(&mut self, of: &[T]) -> Vec<T> {
        let kept: Vec<T> = of.iter().filter(|_| self.roll(2) == 0).cloned().collect();
        if kept.is_empty() { vec![self.pick(of)] } else { kept }
    }
}

const PROVIDERS: [(&str, &str); 3] = [("hk", "HK"), ("mo", "MO"), ("gd", "CN-GD")];
/// A client, where it stands, the class of its place, and whether staff help there.
const CLIENTS: [(&str, &str, &str, bool); 4] = [
    ("portal", "CN-GD", "browser", false),
    ("phone", "CN-GD", "app", false),
    ("counter", "CN-GD", "counter", true),
    ("abroad", "HK", "browser", false),
];
/// The words of every provider, and what they reach.
const WORDS: [(&str, u8, u8); 4] = [("a", 1, 1), ("b", 2, 1), ("c", 2, 2), ("d", 3, 3)];
const POPULATIONS: [&str; 5] = ["mainland", "hk", "macao", "taiwan", "other"];
const LIMITS: [u8; 5] = [0, 14, 18, 60, 70];
const CAPACITIES: [&str; 3] = ["own", "legal-person", "assisted"];
const PLACES: [&str; 4] = ["browser", "app", "kiosk", "counter"];
const JURISDICTIONS: [&str; 3] = ["CN-GD", "HK", "MO"];

/// The conditions of a row, as an officer means them.
#[derive(Default, Clone)]
struct Row {
    forbid: bool,
    providers: Option<Vec<&'static str>>,
    clients: Option<Vec<&'static str>>,
    from: Option<Vec<&'static str>>,
    to: Option<Vec<&'static str>>,
    places: Option<Vec<&'static str>>,
    signed_in_at: Option<Vec<&'static str>>,
    populations: Option<Vec<&'static str>>,
    age_from: Option<u8>,
    age_below: Option<u8>,
    capacities: Option<Vec<&'static str>>,
    /// From day, to day (0 is Monday), opening minute, closing minute.
    hours: Option<(usize, usize, u16, u16)>,
    assurance: (u8, u8),
    within: Option<u64>,
    older_than: Option<u64>,
    unstated: bool,
}

/// A login, as an officer sees it.
struct Case {
    client: usize,
    provider: usize,
    word: &'static str,
    age: u64,
    stated: bool,
    signed_in_at: &'static str,
    population: Option<&'static str>,
    /// In years.
    years: Option<u8>,
    legal: bool,
    day: u16,
    minute: u16,
    asked: Option<(u8, u8)>,
    max_age: Option<u64>,
}

impl Row {
    fn random(dice: &mut Dice, forbid: bool) -> Self {
        let ids: Vec<&'static str> = PROVIDERS.iter().map(|(id, _)| *id).collect();
        let clients: Vec<&'static str> = CLIENTS.iter().map(|client| client.0).collect();
        let mut row = Self {
            forbid,
            providers: if forbid { dice.some(3, |dice| dice.few(&ids)) } else { Some(dice.few(&ids)) },
            clients: dice.some(5, |dice| dice.few(&clients)),
            from: dice.some(6, |dice| dice.few(&JURISDICTIONS)),
            to: dice.some(6, |dice| dice.few(&JURISDICTIONS)),
            places: dice.some(5, |dice| dice.few(&PLACES)),
            signed_in_at: dice.some(5, |dice| dice.few(&PLACES)),
            populations: dice.some(4, |dice| dice.few(&POPULATIONS)),
            age_from: dice.some(4, |dice| dice.pick(&LIMITS)),
            age_below: dice.some(5, |dice| dice.pick(&LIMITS)),
            capacities: dice.some(3, |dice| dice.few(&CAPACITIES)),
            hours: dice.some(4, |dice| {
                let (first, opens) = (dice.roll(7), dice.roll(1_400) as u16);
                (first, first + dice.roll(7 - first), opens, opens + 1 + dice.roll(1_440 - usize::from(opens)) as u16)
            }),
            assurance: (1 + dice.roll(3) as u8, 1 + dice.roll(3) as u8),
            within: dice.some(3, |dice| 60 * dice.roll(20) as u64),
            older_than: dice.some(4, |dice| 60 * dice.roll(20) as u64),
            unstated: dice.roll(5) == 0,
        };
        if forbid {
            row.assurance = (1, 1);
            row.within = None;
        } else {
            (row.older_than, row.unstated) = (None, false);
        }
        row
    }

    fn names_nothing(&self) -> bool {
        let lists = [
            &self.providers,
            &self.clients,
            &self.from,
            &self.to,
            &self.places,
            &self.populations,
            &self.capacities,
            &self.signed_in_at,
        ];
        lists.iter().all(|list| list.is_none())
            && (self.age_from, self.age_below, self.hours, self.older_than, self.unstated)
                == (None, None, None, None, false)
    }

    fn toml(&self) -> String {
        let mut text = String::from(if self.forbid { "[[forbid]]\n" } else { "[[allow]]\n" });
        let lists = [
            ("providers", &self.providers),
            ("clients", &self.clients),
            ("from", &self.from),
            ("to", &self.to),
            ("places", &self.places),
            ("signed_in_at", &self.signed_in_at),
            ("populations", &self.populations),
            ("capacities", &self.capacities),
        ];
        for (name, list) in lists {
            text += &list.as_ref().map(|list| format!("{name} = {list:?}\n")).unwrap_or_default();
        }
        for (name, limit) in [("age_from", self.age_from), ("age_below", self.age_below)] {
            text += &limit.map(|limit| format!("{name} = {limit}\n")).unwrap_or_default();
        }
        for (name, span) in [("max_age", self.within), ("older_than", self.older_than)] {
            text += &span.map(|span| format!("{name} = \"{span}s\"\n")).unwrap_or_default();
        }
        if let Some((first, last, opens, closes)) = self.hours {
            let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
            let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            text += &format!("hours = [\"{}-{} {}-{}\"]\n", days[first], days[last], clock(opens), clock(closes));
        }
        if self.forbid {
            text += &format!("unstated_time = {}\n", self.unstated);
        } else {
            text += &format!("identity = {}\nauthentication = {}\n", self.assurance.0, self.assurance.1);
        }
        text
    }

    /// Whether every condition holds; one that cannot be judged counts as `unknown`.
    fn holds(&self, case: &Case, reached: (u8, u8)) -> bool {
        let (client, _, place, assisted) = CLIENTS[case.client];
        let (provider, from) = PROVIDERS[case.provider];
        let to = CLIENTS[case.client].1;
        let capacity = if case.legal {
            "legal-person"
        } else if assisted {
            "assisted"
        } else {
            "own"
        };
        let unknown = self.forbid;
        let among =
            |list: &Option<Vec<&'static str>>, value: &str| list.as_ref().is_none_or(|list| list.contains(&value));
        let population = match (&self.populations, case.population) {
            (None, _) => true,
            (Some(_), None) => unknown,
            (Some(list), Some(population)) => list.contains(&population),
        };
        let age = |limit: Option<u8>, right: fn(u8, u8) -> bool| match (limit, case.years) {
            (None, _) => true,
            (Some(_), None) => unknown,
            (Some(limit), Some(years)) => right(years, limit),
        };
        let own_only = !self.forbid && self.capacities.is_none() && capacity != "own";
        let open = self.hours.is_none_or(|(first, last, opens, closes)| {
            (first..=last).contains(&usize::from(case.day)) && (opens..closes).contains(&case.minute)
        });
        among(&self.providers, provider)
            && among(&self.clients, client)
            && among(&self.from, from)
            && among(&self.to, to)
            && among(&self.places, place)
            && among(&self.signed_in_at, case.signed_in_at)
            && among(&self.capacities, capacity)
            && !own_only
            && population
            && age(self.age_from, |years, limit| years >= limit)
            && age(self.age_below, |years, limit| years < limit)
            && open
            && reached.0 >= self.assurance.0
            && reached.1 >= self.assurance.1
            && self.within.is_none_or(|most| case.age <= most)
            && self.older_than.is_none_or(|least| case.age > least)
            && (!self.unstated || !case.stated)
    }
}

/// The decision.
fn model(rows: &[Row], offered_by: &[&str], case: &Case) -> bool {
    let Some((_, identity, authentication)) = WORDS.iter().find(|(word, ..)| *word == case.word) else { return false };
    let reached = (*identity, *authentication);
    let (client, to, ..) = CLIENTS[case.client];
    let from = PROVIDERS[case.provider].1;
    let between_regions = from != to && from != "CN-GD" && to != "CN-GD";
    offered_by.contains(&client)
        && !between_regions
        && rows.iter().any(|row| !row.forbid && row.holds(case, reached))
        && !rows.iter().any(|row| row.forbid && row.holds(case, reached))
        && case.asked.is_none_or(|asked| reached.0 >= asked.0 && reached.1 >= asked.1)
        && case.max_age.is_none_or(|most| case.age <= most)
}

const TEXTS: &str = "{ zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }";

fn clients() -> Vec<Client> {
    let client = |(id, jurisdiction, place, assisted): &(&str, &str, &str, bool)| {
        let text = format!(
            "client_id = \"{id}\"\njurisdiction = \"{jurisdiction}\"\nsector = \"{id}\"\nname = {TEXTS}\noperator = {TEXTS}\n\
             place = \"{place}\"\nstaff_assisted = {assisted}\nredirect_uris = [\"https://portal.example/cb\"]\n\
             token_endpoint_auth_method = \"none\"\n"
        );
        Client::from_document(id, &text).unwrap()
    };
    CLIENTS.iter().map(client).collect()
}

fn providers() -> Vec<Provider> {
    let provider = |(id, jurisdiction): &(&str, &str)| {
        let mut text = format!("id = \"{id}\"\njurisdiction = \"{jurisdiction}\"\nname = {TEXTS}\n");
        for (word, identity, authentication) in WORDS {
            text +=
                &format!("[[assurance]]\nacr = \"{word}\"\nidentity = {identity}\nauthentication = {authentication}\n");
        }
        Provider::from_document(id, &text, |_| Some(())).unwrap().0
    };
    PROVIDERS.iter().map(provider).collect()
}

fn login(case: &Case) -> Login {
    Login {
        provider: PROVIDERS[case.provider].0.parse().unwrap(),
        acr: Some(case.word.to_owned()),
        amr: vec![],
        age: case.age,
        time_stated: case.stated,
        person: Person {
            population: case.population.map(|population| population.parse().unwrap()),
            age: case.years.map(|years| AgeLimit::reached_at(years.into())),
            capacity: if case.legal { Capacity::LegalPerson } else { Capacity::Own },
        },
        at: WeekMinute::at(case.day, case.minute),
        signed_in_at: case.signed_in_at.parse().unwrap(),
    }
}

fn random_case(dice: &mut Dice) -> Case {
    Case {
        client: dice.roll(CLIENTS.len()),
        provider: dice.roll(PROVIDERS.len()),
        word: dice.pick(&["a", "b", "c", "d", "d", "D"]),
        age: dice.roll(1_300) as u64,
        stated: dice.roll(4) != 0,
        signed_in_at: dice.pick(&PLACES),
        population: dice.some(1, |dice| dice.pick(&POPULATIONS)).filter(|_| dice.roll(6) != 0),
        years: Some(dice.roll(90) as u8).filter(|_| dice.roll(6) != 0),
        legal: dice.roll(4) == 0,
        day: dice.roll(7) as u16,
        minute: dice.roll(1_440) as u16,
        asked: dice.some(8, |dice| (1 + dice.roll(3) as u8, 1 + dice.roll(3) as u8)),
        max_age: dice.some(8, |dice| dice.roll(1_300) as u64),
    }
}

#[test]
fn the_engine_agrees_with_the_model() {
    const LOGINS: usize = 250;
    let cases: usize = std::env::var("MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(40_000);
    let (clients, mut dice, mut permitted) = (clients(), Dice(20_261_122), 0);
    for _ in 0..cases.div_ceil(LOGINS) {
        let allows = (0..1 + dice.roll(3)).map(|_| false);
        let forbids = (0..dice.roll(3)).map(|_| true);
        let rows: Vec<Row> = allows
            .chain(forbids)
            .map(|forbid| Row::random(&mut dice, forbid))
            .filter(|row| !row.names_nothing())
            .collect();
        let offered_by = dice.few(&CLIENTS.map(|client| client.0));
        let text = format!(
            "service = \"s\"\nresource = \"https://services.example/s\"\nclients = {offered_by:?}\nname = {TEXTS}\n{}",
            rows.iter().map(Row::toml).collect::<String>()
        );
        let set = PolicySet::compile(Parts {
            services: &[Document { file: "s.toml".into(), text: text.clone() }],
            clients: clients.iter().collect(),
            providers: providers(),
            ..Parts::default()
        })
        .unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        for _ in 0..LOGINS {
            let case = random_case(&mut dice);
            let values: Vec<Assurance> = case
                .asked
                .and_then(|(identity, authentication)| {
                    Assurance::from_acr(&format!("urn:cbid:acr:i{identity}a{authentication}"))
                })
                .into_iter()
                .collect();
            let acr = AcrRequest { essential: case.asked.is_some(), values, old: vec![] };
            let demand = Demand { acr: &acr, max_age: case.max_age };
            let (client, login) = (CLIENTS[case.client].0.parse().unwrap(), login(&case));
            let facts = Facts { client: &client, service: &"s".parse().unwrap(), login: &login, demand };
            let (expected, found) = (model(&rows, &offered_by, &case), set.decide(&facts));
            assert_eq!(found.is_ok(), expected, "{found:?}\n{login:?}\nat {client}\n{text}");
            permitted += usize::from(expected);
        }
    }
    assert!(permitted > cases / 100, "only {permitted} of {cases} were let in: the dice ask too much");
}
