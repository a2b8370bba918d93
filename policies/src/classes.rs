//! Every login that a service's rows can tell apart, once.
//!
//! Rows speak of limits: an age, a span of time, an opening hour. Between two limits that any version names, all logins are
//! alike to them ([`limits`](crate::limits)); so the first of each class stands for all.

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::circumstances::{AgeLimit, Capacity, Login, Person, Place, Population};
use gateway_core::ids::ProviderId;

use crate::limits::Limits;
use crate::provider::Provider;
use crate::service::{Service, Traits};
use crate::set::PolicySet;

/// One login of every class that the rows of these versions can tell apart.
pub(crate) struct Classes {
    /// Whether any row asks where somebody is a resident.
    pub(crate) by_place: bool,
    /// Whether any row asks how old somebody is.
    pub(crate) by_age: bool,
    /// Whether any row asks at what class of place somebody signed in.
    pub(crate) by_signed_in_at: bool,
    providers: Vec<Vouched>,
    ages: Vec<Option<AgeLimit>>,
    stated: Vec<bool>,
    signed_in_at: &'static [Place],
    limits: Limits,
}

impl Classes {
    /// The classes of these versions of a service.
    pub(crate) fn of(sets: &[&PolicySet], services: &[Option<&Service>; 2]) -> Self {
        let services: Vec<&Service> = services.iter().copied().flatten().collect();
        let told = |apart: fn(Traits) -> bool| services.iter().any(|service| apart(service.traits()));
        let (by_place, by_age) = (told(|traits| traits.place), told(|traits| traits.age));
        let by_signed_in_at = told(|traits| traits.signed_in_at);
        let known_age = Some(AgeLimit::reached_at(30));
        let every_age = || std::iter::once(None).chain(AgeLimit::ALL.map(Some)).collect();
        Self {
            by_place,
            by_age,
            by_signed_in_at,
            providers: providers(sets, by_place),
            ages: if by_age { every_age() } else { vec![known_age] },
            stated: if told(|traits| traits.stated) { vec![true, false] } else { vec![true] },
            signed_in_at: if by_signed_in_at { Place::ALL } else { &[Place::Browser] },
            limits: Limits::of(&services),
        }
    }

    /// One login of each.
    pub(crate) fn logins(&self) -> impl Iterator<Item = Login> {
        let people = |vouched: &Vouched| {
            let mut people = Vec::new();
            for population in &vouched.populations {
                for age in &self.ages {
                    for capacity in &vouched.capacities {
                        people.push(Person { population: *population, age: *age, capacity: *capacity });
                    }
                }
            }
            people
        };
        let mut ways = Vec::new();
        for vouched in &self.providers {
            for (person, words) in people(vouched).into_iter().flat_map(|p| vouched.words.iter().map(move |w| (p, w))) {
                ways.push((&vouched.provider, person, words));
            }
        }
        let mut times = Vec::new();
        for age in self.limits.ages.firsts() {
            for stated in &self.stated {
                for moment in self.limits.moments.firsts() {
                    times.extend(self.signed_in_at.iter().map(|place| (*age, *stated, *moment, *place)));
                }
            }
        }
        ways.into_iter().flat_map(move |(provider, person, (acr, amr))| {
            times.clone().into_iter().map(move |(age, time_stated, at, signed_in_at)| Login {
                provider: provider.clone(),
                acr: acr.clone(),
                amr: amr.clone(),
                age,
                time_stated,
                person,
                at,
                signed_in_at,
            })
        })
    }
}

type Words = Vec<(Option<String>, Vec<String>)>;

/// A provider, with every word that a table of its versions knows and everybody it vouches for.
struct Vouched {
    provider: ProviderId,
    words: Words,
    populations: Vec<Option<Population>>,
    capacities: Vec<Capacity>,
}

/// The providers of these versions.
fn providers(sets: &[&PolicySet], by_place: bool) -> Vec<Vouched> {
    let ids: BTreeSet<&ProviderId> = sets.iter().flat_map(|set| set.providers()).map(|provider| &provider.id).collect();
    let of = |id: &ProviderId| {
        let known: Vec<&Provider> = sets.iter().filter_map(|set| set.provider(id)).collect();
        let mut populations: Vec<Option<Population>> = Vec::new();
        for population in known.iter().flat_map(|provider| &provider.person.populations).copied().map(Some) {
            if !populations.contains(&population) {
                populations.push(population);
            }
        }
        let everybody_known = known
            .iter()
            .all(|provider| provider.person.populations.len() == 1 && provider.person.population_from.is_empty());
        if !everybody_known || populations.is_empty() {
            populations.push(None);
        }
        if !by_place {
            populations.truncate(1);
        }
        // Staff are the client's; only a provider that has a word for capacities could say by itself that they help.
        let says = known.iter().any(|provider| provider.person.capacity.is_some());
        let capacities = Capacity::ALL.iter().copied().filter(|capacity| says || *capacity != Capacity::Assisted);
        Vouched { provider: id.clone(), words: words(&known), populations, capacities: capacities.collect() }
    };
    ids.into_iter().map(of).collect()
}

/// Every word of a provider's tables, with none of its methods, one, or two. More decide nothing else: the row that counts in a
/// table needs one method at most, and there are two tables at most.
fn words(known: &[&Provider]) -> Words {
    let mut methods: BTreeMap<&Option<String>, BTreeSet<&String>> = BTreeMap::new();
    for row in known.iter().flat_map(|provider| &provider.table) {
        methods.entry(&row.acr).or_default().extend(&row.amr_any);
    }
    let tables_differ = known.windows(2).any(|pair| matches!(pair, [a, b] if a.table != b.table));
    let mut words = Words::new();
    for (acr, methods) in methods {
        words.push((acr.clone(), Vec::new()));
        for (place, method) in methods.iter().enumerate() {
            words.push((acr.clone(), vec![(*method).clone()]));
            let others = methods.iter().skip(place + 1).filter(|_| tables_differ);
            words.extend(others.map(|other| (acr.clone(), vec![(*method).clone(), (*other).clone()])));
        }
    }
    words
}
