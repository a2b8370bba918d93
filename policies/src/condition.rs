//! The conditions of a row: each is read from the document, judged on a situation, written as Cedar, and put in words.
//!
//! Of a person not everything is known. A condition that cannot be judged lets nobody in and keeps everybody out: in an
//! `allow` row it counts as not holding, in a `forbid` row as holding.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use gateway_core::assurance::{Assurance, Level};
use gateway_core::circumstances::{AgeLimit, Capacity, Hours, Person, Place, Population, WeekMinute};
use gateway_core::document::Section;
use gateway_core::error::Failure;
use gateway_core::ids::{ClientId, ProviderId};
use gateway_core::jurisdiction::Jurisdiction;

use crate::limits::Looks;

/// What a row's conditions are judged on: one login at one client, all that policy may look at.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Who vouches.
    pub provider: &'a ProviderId,
    /// Who would receive.
    pub client: &'a ClientId,
    /// Where the provider stands.
    pub from: Jurisdiction,
    /// Where the client stands.
    pub to: Jurisdiction,
    /// The class of the place.
    pub place: Place,
    /// Who the person is, in general terms, and the capacity they act in at this client.
    pub person: Person,
    /// When.
    pub at: WeekMinute,
    /// What the login reached.
    pub assurance: Assurance,
    /// How long ago it was.
    pub age: Duration,
    /// Whether the provider said when it was.
    pub time_stated: bool,
    /// The class of the place where the person signed in.
    pub signed_in_at: Place,
}

/// One condition of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The provider is one of these.
    Providers(Vec<ProviderId>),
    /// The client is one of these.
    Clients(Vec<ClientId>),
    /// The provider stands in one of these places.
    From(Vec<Jurisdiction>),
    /// The client stands in one of these places.
    To(Vec<Jurisdiction>),
    /// The place is of one of these classes.
    Places(Vec<Place>),
    /// The person is a resident of one of these places.
    Populations(Vec<Population>),
    /// The person is at least so old.
    AgeFrom(AgeLimit),
    /// The person is younger.
    AgeBelow(AgeLimit),
    /// The person acts in one of these capacities.
    Capacities(Vec<Capacity>),
    /// It is one of these hours.
    Hours(Vec<Hours>),
    /// The person was proofed at least so surely.
    Identity(Level),
    /// The login was done at least so surely.
    Authentication(Level),
    /// The login is no older.
    Within(Duration),
    /// The login is older.
    OlderThan(Duration),
    /// The provider did not say when the login was.
    TimeUnstated,
    /// The person signed in at a place of one of these classes: here, or where the session was made that serves.
    SignedInAt(Vec<Place>),
}

impl Condition {
    /// Whether it holds; `None` when it cannot be judged.
    #[must_use]
    pub fn holds(&self, at: &Situation<'_>) -> Option<bool> {
        Some(match self {
            Self::Providers(providers) => providers.contains(at.provider),
            Self::Clients(clients) => clients.contains(at.client),
            Self::From(places) => places.contains(&at.from),
            Self::To(places) => places.contains(&at.to),
            Self::Places(places) => places.contains(&at.place),
            Self::Populations(populations) => populations.contains(&at.person.population?),
            Self::AgeFrom(limit) => at.person.age? >= *limit,
            Self::AgeBelow(limit) => at.person.age? < *limit,
            Self::Capacities(capacities) => capacities.contains(&at.person.capacity),
            Self::Hours(hours) => hours.iter().any(|hours| hours.contain(at.at)),
            Self::Identity(level) => at.assurance.identity >= *level,
            Self::Authentication(level) => at.assurance.authentication >= *level,
            Self::Within(most) => at.age <= *most,
            Self::OlderThan(least) => at.age > *least,
            Self::TimeUnstated => !at.time_stated,
            Self::SignedInAt(places) => places.contains(&at.signed_in_at),
        })
    }

    /// What it looks at, and where it changes its mind. A condition that did not say so would be judged by a kept verdict about
    /// another login, and by `diff` not at all.
    #[must_use]
    pub(crate) fn looks_at(&self) -> Looks {
        match self {
            Self::Providers(_) | Self::Clients(_) | Self::From(_) | Self::To(_) | Self::Places(_) => Looks::Parties,
            Self::Populations(_) => Looks::Population,
            Self::AgeFrom(_) | Self::AgeBelow(_) => Looks::Age,
            Self::Capacities(_) => Looks::Capacity,
            Self::Hours(hours) => Looks::Moment(hours.iter().flat_map(|hours| hours.limits()).collect()),
            Self::Identity(_) | Self::Authentication(_) => Looks::Assurance,
            // Both change after the age that they name.
            Self::Within(age) | Self::OlderThan(age) => Looks::LoginAge(age.as_secs().checked_add(1)),
            Self::TimeUnstated => Looks::TimeStated,
            Self::SignedInAt(_) => Looks::SignedInAt,
        }
    }

    /// The condition in Cedar. `unknown` is what holds when it cannot be judged.
    #[must_use]
    pub(crate) fn cedar(&self, unknown: bool) -> String {
        let guarded = |attribute: &str, condition: String| {
            format!("(if context has {attribute} then {condition} else {unknown})")
        };
        match self {
            Self::Providers(ids) => one_of("principal", ids.iter().map(|id| format!("Provider::\"{id}\""))),
            Self::Clients(ids) => one_of("context.client", ids.iter().map(|id| format!("Client::\"{id}\""))),
            Self::From(places) => one_of("context.from", places.iter().map(|place| format!("\"{place}\""))),
            Self::To(places) => one_of("context.to", places.iter().map(|place| format!("\"{place}\""))),
            Self::Places(places) => one_of("context.place", places.iter().map(|place| format!("\"{place}\""))),
            Self::Populations(populations) => {
                let words = populations.iter().map(|population| format!("\"{population}\""));
                guarded("population", one_of("context.population", words))
            }
            Self::AgeFrom(limit) => guarded("years", format!("context.years >= {}", limit.years())),
            Self::AgeBelow(limit) => guarded("years", format!("context.years < {}", limit.years())),
            Self::Capacities(capacities) => {
                one_of("context.capacity", capacities.iter().map(|capacity| format!("\"{capacity}\"")))
            }
            Self::Hours(hours) => any(hours.iter().flat_map(|hours| {
                let Range { start, end } = hours.minutes();
                hours.weekdays().map(move |day| {
                    format!("(context.weekday == {day} && context.minute >= {start} && context.minute < {end})")
                })
            })),
            Self::Identity(level) => format!("context.identity >= {}", u8::from(*level)),
            Self::Authentication(level) => format!("context.authentication >= {}", u8::from(*level)),
            Self::Within(most) => format!("context.age <= {}", most.as_secs()),
            Self::OlderThan(least) => format!("context.age > {}", least.as_secs()),
            Self::TimeUnstated => "!context.timeStated".to_owned(),
            Self::SignedInAt(places) => one_of("context.signedInAt", places.iter().map(|place| format!("\"{place}\""))),
        }
    }

    /// What a person and a client are told when this condition is what is missing.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Providers(_) => Failure::ProviderNotAccepted,
            Self::Clients(_) | Self::From(_) | Self::To(_) | Self::Places(_) | Self::SignedInAt(_) => {
                Failure::PolicyRefused
            }
            Self::Populations(_) | Self::AgeFrom(_) | Self::AgeBelow(_) | Self::Capacities(_) => Failure::NotEligible,
            Self::Hours(_) => Failure::NotOpen,
            Self::Identity(_) | Self::Authentication(_) => Failure::AssuranceTooLow,
            Self::Within(_) | Self::OlderThan(_) | Self::TimeUnstated => Failure::NotFresh,
        }
    }

    /// What is the case, where this condition asks.
    #[must_use]
    pub fn found(&self, at: &Situation<'_>) -> String {
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        match self {
            Self::Providers(_) => at.provider.to_string(),
            Self::Clients(_) => at.client.to_string(),
            Self::From(_) => at.from.to_string(),
            Self::To(_) => at.to.to_string(),
            Self::Places(_) => at.place.to_string(),
            Self::Populations(_) => or_unknown(at.person.population.map(|population| population.to_string())),
            Self::AgeFrom(_) | Self::AgeBelow(_) => {
                or_unknown(at.person.age.map(|limit| format!("{} or more", limit.years())))
            }
            Self::Capacities(_) => at.person.capacity.to_string(),
            Self::Hours(_) => at.at.to_string(),
            Self::Identity(_) => u8::from(at.assurance.identity).to_string(),
            Self::Authentication(_) => u8::from(at.assurance.authentication).to_string(),
            Self::Within(_) | Self::OlderThan(_) => span(at.age),
            Self::TimeUnstated => (if at.time_stated { "stated" } else { "not stated" }).to_owned(),
            Self::SignedInAt(_) => at.signed_in_at.to_string(),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Providers(ids) => write!(f, "provider is {}", list(ids)),
            Self::Clients(ids) => write!(f, "client is {}", list(ids)),
            Self::From(places) => write!(f, "provider stands in {}", list(places)),
            Self::To(places) => write!(f, "client stands in {}", list(places)),
            Self::Places(places) => write!(f, "place is {}", list(places)),
            Self::Populations(populations) => write!(f, "resident of {}", list(populations)),
            Self::AgeFrom(limit) => write!(f, "aged {} or more", limit.years()),
            Self::AgeBelow(limit) => write!(f, "aged below {}", limit.years()),
            Self::Capacities(capacities) => write!(f, "acts as {}", list(capacities)),
            Self::Hours(hours) => write!(f, "hours are {}", list(hours)),
            Self::Identity(level) => write!(f, "identity {} or more", u8::from(*level)),
            Self::Authentication(level) => write!(f, "authentication {} or more", u8::from(*level)),
            Self::Within(most) => write!(f, "signed in at most {} ago", span(*most)),
            Self::OlderThan(least) => write!(f, "signed in more than {} ago", span(*least)),
            Self::TimeUnstated => f.write_str("the provider did not say when"),
            Self::SignedInAt(places) => write!(f, "signed in at a place that is {}", list(places)),
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(" or ")
}

/// A span of time as documents write it.
pub(crate) fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds == gateway_core::assertion::UNKNOWN_AGE.as_secs() => "unknown".to_owned(),
        0 => "0s".to_owned(),
        seconds if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        seconds if seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

fn one_of(what: &str, values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    match values.as_slice() {
        [one] => format!("{what} == {one}"),
        _ => format!("[{}].contains({what})", values.join(", ")),
    }
}

fn any(conditions: impl Iterator<Item = String>) -> String {
    format!("({})", conditions.collect::<Vec<_>>().join(" || "))
}

/// Reads the conditions that both kinds of row may name.
pub(crate) fn read(row: &Section<'_>) -> Vec<Condition> {
    let limit = |name: &'static str| {
        let years = row.number(name, 0..=150).and_then(|years| u8::try_from(years).ok())?;
        AgeLimit::try_from(years).map_err(|error| row.refuse_field(name, error)).ok()
    };
    // An empty list would mean nobody, and would be read as anybody.
    for name in ["providers", "clients", "from", "to", "places", "signed_in_at", "populations", "capacities", "hours"] {
        if row.is_empty_list(name) {
            row.refuse_field(name, "is empty: name at least one, or leave the condition out");
        }
    }
    fn some<T>(list: Vec<T>, condition: impl FnOnce(Vec<T>) -> Condition) -> Option<Condition> {
        (!list.is_empty()).then(|| condition(list))
    }
    [
        some(row.list("providers"), Condition::Providers),
        some(row.list("clients"), Condition::Clients),
        some(row.list("from"), Condition::From),
        some(row.list("to"), Condition::To),
        some(row.list("places"), Condition::Places),
        some(row.list("signed_in_at"), Condition::SignedInAt),
        some(row.list("populations"), Condition::Populations),
        limit("age_from").map(Condition::AgeFrom),
        limit("age_below").map(Condition::AgeBelow),
        some(row.list("capacities"), Condition::Capacities),
        some(row.list("hours"), Condition::Hours),
    ]
    .into_iter()
    .flatten()
    .collect()
}
