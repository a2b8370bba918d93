//! The difference between two versions by meaning: who gains, who loses, and what more or less goes out about whom.
//!
//! Rows can tell people, logins and moments apart only at the limits that they name. So every login falls into one of
//! finitely many classes, and asking both versions about one login of each class finds every difference there is: nothing
//! is sampled, nothing is missed. The exception is raw Cedar that calculates; it is said so. Days are cut into classes as well:
//! what may cross a border is compared on every day from today on on which it could change.

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::circumstances::{AgeLimit, Capacity, Login, Place, Population};
use gateway_core::consent::Mode;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};
use gateway_core::time::Date;
use serde::Serialize;

use crate::classes::Classes;
use crate::condition::span;
use crate::decide::{Demand, Facts};
use crate::provider::Provider;
use crate::raw;
use crate::service::{OnMissing, Release, Service, TokenFormat};
use crate::set::PolicySet;

mod borders;
mod clients;

/// What a change does to trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Somebody gains access, or more goes out.
    Widening,
    /// Somebody loses access, or less goes out.
    Narrowing,
    /// Neither.
    Neutral,
}

/// One change.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// What it does to trust.
    pub direction: Direction,
    /// Which service, client or provider.
    pub about: String,
    /// What changes.
    pub what: String,
    /// Somebody to whom it happens.
    pub example: Option<String>,
}

/// The differences between two versions.
#[derive(Debug, Default, Serialize)]
pub struct Diff {
    /// Every change, widening first.
    pub changes: Vec<Change>,
    /// Services whose own Cedar calculates, so that differences beyond the limits it names may be missed.
    pub inexact: Vec<ServiceId>,
}

/// Compares two versions on a day: instruments and filings come into force and run out.
#[must_use]
pub fn diff(old: &PolicySet, new: &PolicySet, today: Date) -> Diff {
    let mut diff = Diff::default();
    let ids: BTreeSet<&ServiceId> = old.services().chain(new.services()).map(|service| &service.id).collect();
    for id in ids {
        compare_service(&mut diff, (old, new), id, today);
    }
    clients::compare(&mut diff, old, new);
    borders::compare_instruments(&mut diff, old, new);
    diff.changes.sort_by(|a, b| (a.direction, &a.about).cmp(&(b.direction, &b.about)));
    diff
}

impl Diff {
    fn push(&mut self, direction: Direction, about: &dyn std::fmt::Display, what: String, example: Option<String>) {
        self.changes.push(Change { direction, about: about.to_string(), what, example });
    }

    /// Widening when `more`, narrowing when not.
    fn tell(&mut self, more: bool, about: &dyn std::fmt::Display, what: String, example: Option<String>) {
        self.push(if more { Direction::Widening } else { Direction::Narrowing }, about, what, example);
    }
}

fn compare_service(diff: &mut Diff, (old, new): (&PolicySet, &PolicySet), id: &ServiceId, today: Date) {
    let (before, after) = (old.service(id), new.service(id));
    if before.or(after).is_none() {
        return;
    }
    let both = [before, after];
    let mut someone = None;
    if decides_differently(old, new, id) {
        if both.iter().flatten().filter_map(|service| service.cedar.as_deref()).any(raw::calculates) {
            let what = "its own Cedar calculates, so somebody may gain who is not found here".to_owned();
            diff.push(Direction::Widening, id, what, None);
            diff.inexact.push(id.clone());
        }
        someone = compare_decisions(diff, (old, new), id, &both);
    }
    let example = || someone.clone().or_else(|| somebody(new, id, &both)).or_else(|| somebody(old, id, &both));
    match (before, after) {
        (Some(before), Some(after)) => compare_documents(diff, (old, new), (before, after), today, &example),
        (None, Some(after)) => diff.tell(true, id, format!("is new, with {}", claims_of(after)), example()),
        (Some(before), None) => diff.tell(false, id, format!("is gone, with {}", claims_of(before)), example()),
        (None, None) => {}
    }
}

fn claims_of(service: &Service) -> String {
    let claims: BTreeSet<&str> = service.release.iter().map(|row| row.claim.as_str()).collect();
    if claims.is_empty() { "no claims".to_owned() } else { claims.into_iter().collect::<Vec<_>>().join(", ") }
}

/// Whether anything that a decision about this service rests on differs at all.
fn decides_differently(old: &PolicySet, new: &PolicySet, id: &ServiceId) -> bool {
    let rests_on = |set: &PolicySet| {
        let service = set.service(id)?;
        let place = |client: &ClientId| set.client(client).map(|c| (c.jurisdiction, c.place, c.staff_assisted));
        let clients: BTreeMap<ClientId, _> = service.clients.iter().map(|id| (id.clone(), place(id))).collect();
        let providers: Vec<Provider> = set.providers().cloned().collect();
        Some((service.rows.clone(), service.cedar.clone(), service.regional_hop, clients, providers))
    };
    rests_on(old) != rests_on(new)
}

/// Somebody whom a version lets in.
fn somebody(set: &PolicySet, id: &ServiceId, both: &[Option<&Service>; 2]) -> Option<String> {
    let clients: BTreeSet<&ClientId> = both.iter().flatten().flat_map(|service| &service.clients).collect();
    let classes = Classes::of(&[set], both);
    clients.into_iter().find_map(|client| {
        let login = classes.logins().find(|login| permits(set, client, id, login))?;
        Some(describe(&classes, client, &login))
    })
}

fn permits(set: &PolicySet, client: &ClientId, service: &ServiceId, login: &Login) -> bool {
    set.decide(&Facts { client, service, login, demand: Demand::NONE }).is_ok()
}

/// Asks both versions about one login of every class. Somebody who gains, if anybody does.
fn compare_decisions(
    diff: &mut Diff,
    (old, new): (&PolicySet, &PolicySet),
    id: &ServiceId,
    both: &[Option<&Service>; 2],
) -> Option<String> {
    let clients: BTreeSet<&ClientId> = both.iter().flatten().flat_map(|service| &service.clients).collect();
    let classes = Classes::of(&[old, new], both);
    let mut changes: BTreeMap<(bool, &ClientId, ProviderId), Changed> = BTreeMap::new();
    for client in clients {
        for login in classes.logins() {
            let (was, is) = (permits(old, client, id, &login), permits(new, client, id, &login));
            if was != is {
                let changed = changes.entry((is, client, login.provider.clone())).or_default();
                changed.add(&login, || describe(&classes, client, &login));
            }
        }
    }
    let mut gains = None;
    for ((gain, client, provider), changed) in changes {
        let who = changed.who(&classes);
        let verb = if gain { "may now sign in" } else { "may no longer sign in" };
        if gain && gains.is_none() {
            gains.clone_from(&changed.example);
        }
        diff.tell(gain, id, format!("at {client} with {provider}: {who} {verb}"), changed.example);
    }
    gains
}

/// To whom one change happens.
#[derive(Default)]
struct Changed {
    populations: BTreeSet<Option<Population>>,
    ages: BTreeSet<Option<AgeLimit>>,
    capacities: BTreeSet<Capacity>,
    signed_in_at: BTreeSet<Place>,
    words: BTreeSet<String>,
    example: Option<String>,
}

impl Changed {
    fn add(&mut self, login: &Login, example: impl FnOnce() -> String) {
        self.populations.insert(login.person.population);
        self.ages.insert(login.person.age);
        self.capacities.insert(login.person.capacity);
        self.signed_in_at.insert(login.signed_in_at);
        self.words.insert(words(login));
        if self.example.is_none() {
            self.example = Some(example());
        }
    }

    /// Whom the change is about, as far as any row tells them apart.
    fn who(&self, classes: &Classes) -> String {
        let populations: Vec<&str> =
            self.populations.iter().map(|p| p.map_or("unknown places", Population::as_str)).collect();
        let ages: Vec<String> =
            self.ages.iter().map(|age| age.map_or("unknown".to_owned(), |age| format!("{}+", age.years()))).collect();
        let capacities: Vec<&str> = self.capacities.iter().map(|capacity| capacity.as_str()).collect();
        let mut words: Vec<String> = self.words.iter().take(3).cloned().collect();
        if let more @ 1.. = self.words.len().saturating_sub(words.len()) {
            words.push(format!("{more} more ways"));
        }
        let mut who =
            if classes.by_place { format!("residents of {}", populations.join("/")) } else { "people".to_owned() };
        if classes.by_age {
            who += &format!(" aged {}", ages.join("/"));
        }
        if classes.by_signed_in_at {
            let places: Vec<&str> = self.signed_in_at.iter().map(|place| place.as_str()).collect();
            who += &format!(" signed in at {}", places.join("/"));
        }
        format!("{who} acting as {}, by {},", capacities.join("/"), words.join(" or "))
    }
}

fn words(login: &Login) -> String {
    let acr = login.acr.as_deref().unwrap_or("no word");
    if login.amr.is_empty() { acr.to_owned() } else { format!("{acr} with {}", login.amr.join("+")) }
}

fn describe(classes: &Classes, client: &ClientId, login: &Login) -> String {
    let person = login.person;
    let population = person.population.map_or("somebody of an unknown place", |population| match population {
        Population::Mainland => "a mainland resident",
        Population::HongKong => "a Hong Kong resident",
        Population::Macao => "a Macao resident",
        Population::Taiwan => "a Taiwan resident",
        Population::Other => "a resident of another place",
    });
    let age = person.age.map_or("of unknown age".to_owned(), |age| format!("of {} or more", age.years()));
    let capacity = match person.capacity {
        Capacity::Own => "for themselves",
        Capacity::LegalPerson => "for a legal person",
        Capacity::Assisted => "helped by staff",
    };
    let when = match (login.time_stated, std::time::Duration::from_secs(login.age)) {
        (true, age) => format!("{} ago", span(age)),
        (false, age) => format!("at a time that the provider did not state ({} ago)", span(age)),
    };
    let signed_in_at = login.signed_in_at;
    let place = if classes.by_signed_in_at { format!(" at a place that is {signed_in_at}") } else { String::new() };
    format!(
        "{population} {age}, {capacity}, at {client}, signed in with {} ({}) {when}{place}, on a {}",
        login.provider,
        words(login),
        login.at
    )
}

fn compare_releases(diff: &mut Diff, before: &Service, after: &Service, example: &dyn Fn() -> Option<String>) {
    let rows = |service: &Service| -> BTreeMap<String, Vec<Release>> {
        let mut rows: BTreeMap<String, Vec<Release>> = BTreeMap::new();
        for row in &service.release {
            rows.entry(row.claim.to_string()).or_default().push(Release { id: String::new(), ..row.as_ref().clone() });
        }
        rows
    };
    let (was, is) = (rows(before), rows(after));
    let claims: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    for claim in claims {
        match (was.get(claim), is.get(claim)) {
            (None, Some(rows)) => {
                diff.tell(true, &after.id, format!("{claim} goes out: {}", said(rows)), example());
            }
            (Some(rows), None) => {
                diff.tell(false, &after.id, format!("{claim} goes out no more"), example());
                if rows.iter().any(|row| row.on_missing == OnMissing::Fail) {
                    diff.tell(true, &after.id, format!("people without {claim} may now sign in"), None);
                }
            }
            (Some(was), Some(is)) if was != is => {
                let direction = weigh(was, is);
                let what = format!("{claim} was: {}; is: {}", said(was), said(is));
                diff.push(direction, &after.id, what, example());
            }
            _ => {}
        }
    }
}

/// What some release rows say.
fn said(rows: &[Release]) -> String {
    let said = |row: &Release| {
        let optional = if row.optional { ", optional" } else { "" };
        let scope = row.scope.as_ref().map(|scope| format!(", by scope {scope}")).unwrap_or_default();
        let missing = match &row.on_missing {
            OnMissing::Set(value) => format!("or else {value}"),
            OnMissing::Keep => "or else what was".to_owned(),
            OnMissing::Clear => "or else nothing".to_owned(),
            OnMissing::Fail => "or the sign-in ends".to_owned(),
        };
        let until = row.until.map(|until| format!(", until {until}")).unwrap_or_default();
        format!("{} {missing}, for {} on {}{optional}{scope}{until}", row.from.source(), row.purpose, row.ground)
    };
    rows.iter().map(said).collect::<Vec<_>>().join("; then ")
}

/// What a changed release does. Whatever is not plainly less is taken for more.
fn weigh(was: &[Release], is: &[Release]) -> Direction {
    let same_but_for_choice = {
        let alike = |row: &Release| Release { optional: true, until: None, ..row.clone() };
        was.iter().map(alike).eq(is.iter().map(alike))
    };
    let fewer_must = was.iter().zip(is).all(|(was, is)| is.optional || !was.optional);
    let no_longer = was.iter().zip(is).all(|(was, is)| match (was.until, is.until) {
        (was, is) if was == is => true,
        // From the next day on people sign in whom its row kept out for want of the claim.
        _ if was.on_missing == OnMissing::Fail => false,
        (None, _) => true,
        (Some(was), is) => is.is_some_and(|is| is <= was),
    });
    if same_but_for_choice && fewer_must && no_longer { Direction::Narrowing } else { Direction::Widening }
}

/// What lets tokens of other services become its own.
fn compare_exchange(diff: &mut Diff, before: &Service, after: &Service) {
    let id = &after.id;
    for (more, has, lacks, may) in [(true, after, before, "may now"), (false, before, after, "may no longer")] {
        for from in has.exchange_from.iter().filter(|from| !lacks.exchange_from.contains(from)) {
            diff.tell(more, id, format!("tokens of {from} {may} be exchanged for its own"), None);
        }
    }
    if before.helpers_from != after.helpers_from {
        diff.push(Direction::Widening, id, "other sign-ins than before show who helps a person".to_owned(), None);
    }
    if before.delegation_depth != after.delegation_depth {
        let (was, is) = (before.delegation_depth, after.delegation_depth);
        diff.tell(is > was, id, format!("{is} may act for a person, one for the other, and {was} could"), None);
    }
}

/// Compares all that is no decision about a login. A new field of a service does not compile until somebody says where it is
/// compared.
fn compare_documents(
    diff: &mut Diff,
    (old, new): (&PolicySet, &PolicySet),
    (before, after): (&Service, &Service),
    today: Date,
    example: &dyn Fn() -> Option<String>,
) {
    let Service {
        // Nothing rests on these.
        id: _,
        examples: _,
        // Compared as decisions.
        clients: _,
        rows: _,
        cedar: _,
        regional_hop: _,
        // Compared as what goes out, and where.
        release: _,
        instruments: _,
        // Compared as terms.
        name: _,
        resource: _,
        domain: _,
        public_subjects: _,
        access_token: _,
        resource_servers: _,
        back_ends: _,
        details: _,
        exchange_from: _,
        helpers_from: _,
        delegation_depth: _,
        consent: _,
        link: _,
        remember_consent: _,
    } = after;
    compare_releases(diff, before, after, example);
    borders::compare(diff, (old, new), (before, after), today);
    compare_terms(diff, before, after);
}

fn compare_terms(diff: &mut Diff, before: &Service, after: &Service) {
    let id = &after.id;
    if before.consent != after.consent {
        let ease = |mode: Mode| match mode {
            Mode::Required => 0,
            Mode::Anonymous => 0,
            Mode::Notice => 1,
        };
        let what = format!("people were asked by {}, and are by {}", before.consent, after.consent);
        // Nobody is known at an anonymous service; once they are, more goes out of everybody.
        let is_known_now = before.consent == Mode::Anonymous;
        match ease(after.consent).cmp(&ease(before.consent)) {
            std::cmp::Ordering::Equal => diff.tell(is_known_now, id, what, None),
            order => diff.tell(order.is_gt() || is_known_now, id, what, None),
        }
    }
    if before.remember_consent != after.remember_consent {
        let written = |span_of: Option<std::time::Duration>| span_of.map_or("once".to_owned(), span);
        let (was, is) = (before.remember_consent, after.remember_consent);
        diff.tell(is > was, id, format!("an answer serves {}, and served {}", written(is), written(was)), None);
    }
    if before.resource != after.resource {
        diff.push(Direction::Widening, id, "its tokens are for another resource".to_owned(), None);
    }
    if before.name != after.name || before.domain != after.domain {
        diff.push(Direction::Neutral, id, "has another name or domain".to_owned(), None);
    }
    match (before.access_token, after.access_token) {
        (was, is) if was == is => {}
        (TokenFormat::Jwt(_), TokenFormat::Jwt(alg)) => {
            diff.push(Direction::Neutral, id, format!("its tokens are signed with {}", alg.as_str()), None);
        }
        (_, TokenFormat::Jwt(_)) => diff.tell(true, id, "who holds its tokens can read them".to_owned(), None),
        (_, TokenFormat::Opaque) => {
            diff.tell(false, id, "who holds its tokens can no longer read them".to_owned(), None)
        }
    }
    if before.public_subjects != after.public_subjects {
        let what = "clients may know its people by a public `sub`, or no longer";
        diff.tell(after.public_subjects, id, what.to_owned(), None);
    }
    for server in after.resource_servers.iter().filter(|server| !before.resource_servers.contains(server)) {
        diff.tell(true, id, format!("{server} may now ask about its tokens"), None);
    }
    for server in before.resource_servers.iter().filter(|server| !after.resource_servers.contains(server)) {
        diff.tell(false, id, format!("{server} may no longer ask about its tokens"), None);
    }
    if before.details != after.details {
        let fewer = after.details.iter().all(|field| before.details.contains(field));
        diff.tell(!fewer, id, "other things are said of its matter".to_owned(), None);
    }
    if before.back_ends != after.back_ends {
        diff.push(Direction::Widening, id, "who may get its tokens without any person changed".to_owned(), None);
    }
    compare_exchange(diff, before, after);
    if before.link != after.link {
        let offers = after.link.is_some();
        diff.tell(offers, id, "offers to link another account than before, or none".to_owned(), None);
    }
}
