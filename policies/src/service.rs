//! Service documents: one government matter, its allow and forbid rows, and the claims it may be given.

use std::sync::Arc;
use std::time::Duration;

use gateway_core::assertion::UNKNOWN_AGE;
use gateway_core::assurance::Assurance;
use gateway_core::circumstances::Capacity;
use gateway_core::claims::of_scope;
use gateway_core::consent::Mode;
use gateway_core::document::{Problems, Section, Source};
use gateway_core::ids::{ClientId, ProviderId, ServiceId};
use gateway_core::locale::Texts;
use url::Url;

pub use crate::back_end::BackEnd;
use crate::back_end::read_back_end;
use crate::case::{Example, read_example};
use crate::condition::{self, Condition};
use crate::detail::{Detail, read_details};
use crate::limits::Looks;
use crate::provider::read_level;
pub use crate::release_row::{CONSENT, Groups, OnMissing, Release, group_from_document};
use crate::release_row::{check_masks, numbered, read_groups, read_releases};
pub use crate::token_format::TokenFormat;
use crate::token_format::read_format;
use crate::vocabulary::{Vocabulary, read_word};

/// What a row does when all its conditions hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It lets people in.
    Allow,
    /// It keeps people out, whatever the others say.
    Forbid,
}

/// A row: an effect, and conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name in records: `allow-1` or `forbid-1`, counted from 1.
    pub id: String,
    /// What it does.
    pub effect: Effect,
    /// When.
    pub conditions: Vec<Condition>,
}

impl Row {
    /// The providers it names.
    pub fn providers(&self) -> impl Iterator<Item = &ProviderId> {
        self.conditions
            .iter()
            .filter_map(|condition| match condition {
                Condition::Providers(providers) => Some(providers),
                _ => None,
            })
            .flatten()
    }

    /// The clients it names.
    pub fn clients(&self) -> impl Iterator<Item = &ClientId> {
        self.conditions
            .iter()
            .filter_map(|condition| match condition {
                Condition::Clients(clients) => Some(clients),
                _ => None,
            })
            .flatten()
    }

    /// The least assurance it takes.
    #[must_use]
    pub fn assurance(&self) -> Assurance {
        self.conditions.iter().fold(Assurance::LEAST, |least, condition| match condition {
            Condition::Identity(level) => Assurance { identity: *level, ..least },
            Condition::Authentication(level) => Assurance { authentication: *level, ..least },
            _ => least,
        })
    }

    /// The oldest login it takes.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.conditions.iter().find_map(|condition| match condition {
            Condition::Within(most) => Some(*most),
            _ => None,
        })
    }
}

/// An account that people are offered to link, and how surely they have to prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkWith {
    /// Its provider.
    pub provider: ProviderId,
    /// The least assurance, of both accounts.
    pub assurance: Assurance,
}

/// One government matter.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its stable code.
    pub id: ServiceId,
    /// Its name on the wire (RFC 8707).
    pub resource: Url,
    /// The portals that offer it.
    pub clients: Vec<ClientId>,
    /// Whether clients may know its people by a `sub` that other clients know as well.
    pub public_subjects: bool,
    /// What its access tokens look like.
    pub access_token: TokenFormat,
    /// The clients that may ask about its tokens: they serve what a token of this service opens.
    pub resource_servers: Vec<ClientId>,
    /// The clients that may get tokens without any person, and what they may do with them.
    pub back_ends: Vec<BackEnd>,
    /// What a request may say of its matter.
    pub details: Vec<Detail>,
    /// The services whose tokens may be exchanged for one of its own.
    pub exchange_from: Vec<ServiceId>,
    /// The services whose tokens show who helps a person; with none any token of the same client does.
    pub helpers_from: Vec<ServiceId>,
    /// How many may act for a person with its tokens, one for the other.
    pub delegation_depth: usize,
    /// What people call it.
    pub name: Texts,
    /// The field of life it belongs to.
    pub domain: Option<String>,
    /// Who is let in, and who is kept out.
    pub rows: Vec<Row>,
    /// Further Cedar policies, for what rows cannot say.
    pub cedar: Option<String>,
    /// What may go out.
    pub release: Vec<Arc<Release>>,
    /// The legal instruments under which it may cross a border, in order of preference.
    pub instruments: Vec<String>,
    /// Whether data may go from one region to the other.
    pub regional_hop: bool,
    /// What people are asked before.
    pub consent: Mode,
    /// The account that people who sign in with another provider are offered to link.
    pub link: Option<LinkWith>,
    /// How long an answer on the consent page serves without asking again; `None` asks every time.
    pub remember_consent: Option<Duration>,
    /// Cases with the answer that its author expects.
    pub examples: Vec<Example>,
}

impl Service {
    /// Reads a service document; see `policies/documents/services` for examples.
    ///
    /// # Errors
    /// Every problem in the document.
    pub fn from_document(file: &str, text: &str, words: &Vocabulary, groups: &Groups) -> Result<Self, Problems> {
        Source::new(file, text).read(|doc| read_service(doc, words, groups))
    }

    /// The rows that let people in.
    pub fn allows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.effect == Effect::Allow)
    }

    /// Whether a client offers it, by its own name or by that of the document it registered itself under.
    #[must_use]
    pub fn is_offered_by(&self, client: &ClientId) -> bool {
        self.clients.iter().any(|offers| offers.as_str() == client.in_policy())
    }

    /// Whether a client may ask about its tokens.
    #[must_use]
    pub fn is_served_by(&self, client: &ClientId) -> bool {
        self.resource_servers.iter().any(|serves| serves.as_str() == client.in_policy())
    }

    /// Whether a scope means anything here: a standard one, or one of its rows'. Others are let go of: what a scope stands for at a
    /// service is for its document to say.
    #[must_use]
    pub fn knows_scope(&self, scope: &str) -> bool {
        let own = |row: &Arc<Release>| row.scope.as_deref() == Some(scope) || row.claim.as_str() == scope;
        matches!(scope, "openid" | "offline_access") || !of_scope(scope).is_empty() || self.release.iter().any(own)
    }

    /// Every provider that some row accepts, in the order of the document.
    #[must_use]
    pub fn trusted(&self) -> Vec<&ProviderId> {
        let mut trusted: Vec<&ProviderId> = Vec::new();
        for provider in self.allows().flat_map(Row::providers) {
            if !trusted.contains(&provider) {
                trusted.push(provider);
            }
        }
        trusted
    }

    /// What of a person and a login its rules can tell apart.
    pub(crate) fn traits(&self) -> Traits {
        // Raw Cedar cannot look at what it does not name; a name may be written with an escape.
        let in_raw = |name: &str| self.cedar.as_ref().is_some_and(|raw| raw.contains(name) || raw.contains('\\'));
        let mut traits = Traits {
            age: in_raw("years"),
            place: in_raw("population"),
            capacity: in_raw("capacity"),
            stated: in_raw("timeStated"),
            signed_in_at: in_raw("signedInAt"),
        };
        for condition in self.rows.iter().flat_map(|row| &row.conditions) {
            match condition.looks_at() {
                Looks::Age => traits.age = true,
                Looks::Population => traits.place = true,
                Looks::Capacity => traits.capacity = true,
                Looks::TimeStated => traits.stated = true,
                Looks::SignedInAt => traits.signed_in_at = true,
                Looks::Parties | Looks::Assurance | Looks::Moment(_) | Looks::LoginAge(_) => {}
            }
        }
        traits
    }
}

/// What of a person and a login rules can tell apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    /// How old they are.
    pub(crate) age: bool,
    /// Where they are a resident.
    pub(crate) place: bool,
    /// For whom they act.
    pub(crate) capacity: bool,
    /// Whether the provider said when they signed in.
    pub(crate) stated: bool,
    /// At what class of place they signed in.
    pub(crate) signed_in_at: bool,
}

fn read_service(doc: &Section<'_>, words: &Vocabulary, groups: &Groups) -> Option<Service> {
    let (id, resource, name) = (doc.require("service"), doc.require::<Url>("resource"), doc.texts("name"));
    let clients: Vec<ClientId> = doc.list("clients");
    if clients.is_empty() {
        doc.refuse_field("clients", "at least one portal must offer the service");
    }
    if resource.as_ref().is_some_and(|uri| uri.fragment().is_some()) {
        doc.refuse_field("resource", "must have no fragment (RFC 8707 section 2)");
    }
    let domain = doc.has("domain").then(|| read_word(doc, "domain", &words.domains)).flatten();
    let allows = numbered(&doc.sections("allow"), read_allow);
    let forbids = numbered(&doc.sections("forbid"), |row, n| Some(read_forbid(row, n)));
    let mut release = read_groups(doc, groups);
    release.extend(read_releases(doc, words, ""));
    let consent = doc.optional("consent").unwrap_or(Mode::Required);
    check_consent(doc, consent, &release);
    check_masks(doc, words, &release);
    let access_token = read_format(doc);
    if access_token != TokenFormat::Opaque && consent == Mode::Anonymous {
        doc.refuse_field("access_token", "names the person to whoever reads it; an anonymous service knows nobody");
    }
    let remember_consent = doc.duration("remember_consent");
    if remember_consent.is_some_and(|span| span > Duration::from_secs(366 * 86_400)) {
        doc.refuse_field("remember_consent", "must be at most 366d");
    }
    let link = doc.section("link").and_then(|link| {
        let provider = link.require("provider");
        let (identity, authentication) = (read_level(&link, "identity"), read_level(&link, "authentication"));
        let assurance = Assurance { identity: identity?, authentication: authentication? };
        Some(LinkWith { provider: provider?, assurance })
    });
    Some(Service {
        id: id?,
        resource: resource?,
        clients,
        public_subjects: doc.flag("public_subjects", false),
        access_token,
        resource_servers: doc.list("resource_servers"),
        back_ends: doc.sections("back_end").iter().filter_map(read_back_end).collect(),
        details: read_details(doc),
        exchange_from: doc.list("exchange_from"),
        helpers_from: doc.list("helpers_from"),
        delegation_depth: doc.number("delegation_depth", 0..=3).map_or(0, |depth| usize::try_from(depth).unwrap_or(0)),
        name: name?,
        domain,
        rows: allows.into_iter().chain(forbids).collect(),
        cedar: doc.optional("cedar"),
        release,
        instruments: doc.list("instruments"),
        regional_hop: doc.flag("regional_hop", false),
        consent,
        link,
        remember_consent,
        examples: doc.sections("example").iter().filter_map(read_example).collect(),
    })
}

/// What a service asks of people has to fit what it gives out.
fn check_consent(doc: &Section<'_>, consent: Mode, release: &[Arc<Release>]) {
    match consent {
        Mode::Required => {}
        Mode::Notice => {
            if let Some(row) = release.iter().find(|row| row.ground == CONSENT) {
                let claim = &row.claim;
                doc.refuse_field(
                    "consent",
                    format_args!("people are only told here, but {claim} goes out by their consent"),
                );
            }
        }
        Mode::Anonymous if !release.is_empty() => doc.refuse_field("consent", "an anonymous service releases no claim"),
        Mode::Anonymous => {}
    }
}

fn read_allow(row: &Section<'_>, number: usize) -> Option<Row> {
    let mut conditions = condition::read(row);
    if !row.has("providers") || !conditions.iter().any(|condition| matches!(condition, Condition::Providers(_))) {
        row.refuse_field("providers", "at least one is needed");
    }
    // Acting for others is something that a service says yes to; silence is not yes.
    if !conditions.iter().any(|condition| matches!(condition, Condition::Capacities(_))) {
        conditions.push(Condition::Capacities(vec![Capacity::Own]));
    }
    let (identity, authentication) = (read_level(row, "identity"), read_level(row, "authentication"));
    conditions.extend(read_age(row, "max_age").map(Condition::Within));
    conditions.extend([Condition::Identity(identity?), Condition::Authentication(authentication?)]);
    Some(Row { id: format!("allow-{number}"), effect: Effect::Allow, conditions })
}

fn read_forbid(row: &Section<'_>, number: usize) -> Row {
    let mut conditions = condition::read(row);
    conditions.extend(read_age(row, "older_than").map(Condition::OlderThan));
    conditions.extend(row.flag("unstated_time", false).then_some(Condition::TimeUnstated));
    if conditions.is_empty() {
        row.refuse("names no condition: it would forbid everybody");
    }
    Row { id: format!("forbid-{number}"), effect: Effect::Forbid, conditions }
}

/// An age of a login. It is less than what stands for an unknown one, which would pass for a known one otherwise.
fn read_age(row: &Section<'_>, name: &'static str) -> Option<Duration> {
    let age = row.duration(name)?;
    if age >= UNKNOWN_AGE {
        row.refuse_field(name, "must be at most 49710d: an unknown age counts as more");
        return None;
    }
    Some(age)
}
