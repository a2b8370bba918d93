//! Every login that a service's rows can tell apart, once.
//!
//! Rows speak of limits: an age, a span of time, an opening hour. Between two limits that any version names, all logins are
//! alike to them; so one of each class stands for all.

use std::collections::BTreeSet;

use gateway_core::circumstances::{AgeLimit, Capacity, Login, Person, Population, WeekMinute};
use gateway_core::ids::ProviderId;

use crate::condition::Condition;
use crate::provider::Provider;
use crate::rules::limits;
use crate::service::Service;
use crate::set::PolicySet;

/// One login of every class that the rows of these versions can tell apart.
pub(crate) struct Classes {
    /// Whether any row asks where somebody is a resident.
    pub(crate) by_place: bool,
    /// Whether any row asks how old somebody is.
    pub(crate) by_age: bool,
    providers: Vec<(ProviderId, Words, Vec<Option<Population>>)>,
    ages: Vec<Option<AgeLimit>>,
    login_ages: Vec<u64>,
    stated: Vec<bool>,
    moments: Vec<WeekMinute>,
}

impl Classes {
    /// The classes of these versions of a service.
    pub(crate) fn of(sets: &[&PolicySet], services: &[Option<&Service>; 2]) -> Self {
        let services: Vec<&Service> = services.iter().copied().flatten().collect();
        let raw: Vec<&String> = services.iter().filter_map(|service| service.cedar.as_ref()).collect();
        let conditions = || services.iter().flat_map(|service| &service.rows).flat_map(|row| &row.conditions);
        let mentioned = |wanted: fn(&Condition) -> bool| !raw.is_empty() || conditions().any(wanted);
        let by_age = services.iter().any(|service| service.traits().age);
        let by_place = services.iter().any(|service| service.traits().place);
        let by_stating = mentioned(|c| matches!(c, Condition::TimeUnstated));
        let mut login_ages: BTreeSet<u64> = BTreeSet::from([0]);
        let mut moments: BTreeSet<(u16, u16)> = BTreeSet::from([(1, 0)]);
        for service in &services {
            let (ages, times) = limits(service);
            login_ages.extend(ages.iter().flat_map(|age| [*age, age + 1]));
            moments.extend(times);
        }
        for number in raw.iter().flat_map(|cedar| numbers(cedar)) {
            login_ages.extend([number.saturating_sub(1), number, number.saturating_add(1)]);
            let minute = u16::try_from(number).unwrap_or(u16::MAX);
            moments.extend(
                (1..=7)
                    .flat_map(|day| [(day, minute.saturating_sub(1)), (day, minute), (day, minute.saturating_add(1))]),
            );
        }
        let known_age = Some(AgeLimit::reached_at(30));
        let every_age = || std::iter::once(None).chain(AgeLimit::ALL.map(Some)).collect();
        Self {
            by_place,
            by_age,
            providers: providers(sets, by_place),
            ages: if by_age { every_age() } else { vec![known_age] },
            login_ages: login_ages.into_iter().collect(),
            stated: if by_stating { vec![true, false] } else { vec![true] },
            moments: moments.into_iter().map(|(day, minute)| WeekMinute::at(day - 1, minute)).collect(),
        }
    }

    /// One login of each.
    pub(crate) fn logins(&self) -> impl Iterator<Item = Login> {
        let people = |populations: &[Option<Population>]| {
            let mut people = Vec::new();
            for population in populations {
                for age in &self.ages {
                    for capacity in [Capacity::Own, Capacity::LegalPerson] {
                        people.push(Person { population: *population, age: *age, capacity });
                    }
                }
            }
            people
        };
        let mut ways = Vec::new();
        for (provider, words, populations) in &self.providers {
            for (person, words) in people(populations).into_iter().flat_map(|p| words.iter().map(move |w| (p, w))) {
                ways.push((provider, person, words));
            }
        }
        let mut times = Vec::new();
        for age in &self.login_ages {
            for stated in &self.stated {
                times.extend(self.moments.iter().map(|moment| (*age, *stated, *moment)));
            }
        }
        ways.into_iter().flat_map(move |(provider, person, (acr, amr))| {
            times.clone().into_iter().map(move |(age, time_stated, at)| Login {
                provider: provider.clone(),
                acr: acr.clone(),
                amr: amr.clone(),
                age,
                time_stated,
                person,
                at,
            })
        })
    }
}

type Words = Vec<(Option<String>, Vec<String>)>;

/// The providers of these versions, each with every word that a table of theirs knows and everybody it vouches for.
fn providers(sets: &[&PolicySet], by_place: bool) -> Vec<(ProviderId, Words, Vec<Option<Population>>)> {
    let ids: BTreeSet<&ProviderId> = sets.iter().flat_map(|set| set.providers()).map(|provider| &provider.id).collect();
    let of = |id: &ProviderId| {
        let known: Vec<&Provider> = sets.iter().filter_map(|set| set.provider(id)).collect();
        let mut words: Words = Vec::new();
        for row in known.iter().flat_map(|provider| &provider.table) {
            let methods = row.amr_any.iter().map(|method| vec![method.clone()]);
            let methods: Vec<Vec<String>> = if row.amr_any.is_empty() { vec![Vec::new()] } else { methods.collect() };
            words.extend(methods.into_iter().map(|amr| (row.acr.clone(), amr)));
        }
        words.sort();
        words.dedup();
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
        (id.clone(), words, populations)
    };
    ids.into_iter().map(of).collect()
}

/// Every whole number in a text.
fn numbers(text: &str) -> impl Iterator<Item = u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok())
}
