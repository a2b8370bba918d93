//! Service documents: one government matter, its allow and forbid rows, and the claims it may be given.

use std::time::Duration;

use gateway_core::assurance::Assurance;
use gateway_core::claims::ClaimName;
use gateway_core::document::{Problems, Section, Source, nearest};
use gateway_core::ids::{ClientId, ProviderId, ServiceId};
use gateway_core::locale::Texts;
use serde_json::Value;
use url::Url;

use crate::mapping::{Mapping, OnMissing};
use crate::provider::read_level;
use crate::vocabulary::Vocabulary;

/// A row that lets people in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// Its name in records: `allow-1`, counted from 1.
    pub id: String,
    /// The providers it accepts.
    pub providers: Vec<ProviderId>,
    /// The least assurance on both axes.
    pub assurance: Assurance,
    /// The oldest login it accepts.
    pub max_age: Option<Duration>,
}

/// A row that keeps people out, whatever else holds. All conditions that it names must hold for it to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbid {
    /// Its name in records: `forbid-1`, counted from 1.
    pub id: String,
    /// Only these providers; empty means any.
    pub providers: Vec<ProviderId>,
    /// Only these clients; empty means any.
    pub clients: Vec<ClientId>,
    /// Only logins whose time the provider did not state.
    pub unstated_time: bool,
}

/// A claim that may go out.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its name on the wire.
    pub claim: ClaimName,
    /// Where its value comes from.
    pub from: Mapping,
    /// What happens when that is missing.
    pub on_missing: OnMissing,
    /// Why the service wants it.
    pub purpose: String,
    /// What in law allows it.
    pub ground: String,
    /// The person may leave it out.
    pub optional: bool,
    /// A scope that asks for it, besides the standard ones and its own name.
    pub scope: Option<String>,
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
    /// What people call it.
    pub name: Texts,
    /// Who is let in.
    pub allow: Vec<Allow>,
    /// Who is kept out.
    pub forbid: Vec<Forbid>,
    /// Further Cedar policies, for what rows cannot say.
    pub cedar: Option<String>,
    /// What may go out.
    pub release: Vec<Release>,
    /// The account that people who sign in with another provider are offered to link.
    pub link: Option<LinkWith>,
    /// How long an answer on the consent page serves without asking again; `None` asks every time.
    pub remember_consent: Option<Duration>,
}

impl Service {
    /// Reads a service document; see `policies/documents/services` for examples.
    ///
    /// # Errors
    /// Every problem in the document.
    pub fn from_document(file: &str, text: &str, words: &Vocabulary) -> Result<Self, Problems> {
        Source::new(file, text).read(|doc| read_service(doc, words))
    }

    /// Every provider that some row accepts, in the order of the document.
    #[must_use]
    pub fn trusted(&self) -> Vec<&ProviderId> {
        let mut trusted: Vec<&ProviderId> = Vec::new();
        for provider in self.allow.iter().flat_map(|row| &row.providers) {
            if !trusted.contains(&provider) {
                trusted.push(provider);
            }
        }
        trusted
    }
}

fn read_service(doc: &Section<'_>, words: &Vocabulary) -> Option<Service> {
    let (id, resource, name) = (doc.require("service"), doc.require::<Url>("resource"), doc.texts("name"));
    let clients: Vec<ClientId> = doc.list("clients");
    if clients.is_empty() {
        doc.refuse_field("clients", "at least one portal must offer the service");
    }
    if resource.as_ref().is_some_and(|uri| uri.fragment().is_some()) {
        doc.refuse_field("resource", "must have no fragment (RFC 8707 section 2)");
    }
    let allow: Vec<Allow> = numbered(&doc.sections("allow"), |row, n| read_allow(row, n));
    let forbid: Vec<Forbid> = numbered(&doc.sections("forbid"), |row, n| Some(read_forbid(row, n)));
    let release = doc.sections("release").iter().filter_map(|row| read_release(row, words)).collect();
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
        name: name?,
        allow,
        forbid,
        cedar: doc.optional("cedar"),
        release,
        link,
        remember_consent,
    })
}

fn numbered<'s, T>(rows: &[Section<'s>], read: impl Fn(&Section<'s>, usize) -> Option<T>) -> Vec<T> {
    rows.iter().enumerate().filter_map(|(index, row)| read(row, index + 1)).collect()
}

fn read_allow(row: &Section<'_>, number: usize) -> Option<Allow> {
    let providers = row.list("providers");
    if providers.is_empty() {
        row.refuse_field("providers", "at least one is needed");
    }
    let (identity, authentication) = (read_level(row, "identity"), read_level(row, "authentication"));
    let max_age = row.duration("max_age");
    let assurance = Assurance { identity: identity?, authentication: authentication? };
    Some(Allow { id: format!("allow-{number}"), providers, assurance, max_age })
}

fn read_forbid(row: &Section<'_>, number: usize) -> Forbid {
    let (providers, clients) = (row.list("providers"), row.list("clients"));
    let unstated_time = row.flag("unstated_time", false);
    if providers.is_empty() && clients.is_empty() && !unstated_time {
        row.refuse("names no condition: it would forbid everybody");
    }
    Forbid { id: format!("forbid-{number}"), providers, clients, unstated_time }
}

fn read_release(row: &Section<'_>, words: &Vocabulary) -> Option<Release> {
    let (claim, from) = (row.require::<ClaimName>("claim"), row.require::<Mapping>("from"));
    let purpose = read_word(row, "purpose", &words.purposes);
    let ground = read_word(row, "ground", &words.grounds);
    if let Some(claim) = claim.as_ref().filter(|claim| !words.claims.contains_key(claim.as_str())) {
        row.refuse_field(
            "claim",
            format_args!("{claim} has no name in the vocabulary{}", hint(claim.as_str(), &words.claims)),
        );
    }
    let default: Option<String> = row.optional("default");
    let on_missing = match (row.require::<String>("on_missing")?.as_str(), default) {
        ("set", Some(default)) => Some(OnMissing::Set(Value::String(default))),
        ("set", None) => refuse(row, "set needs a default"),
        ("keep", None) => Some(OnMissing::Keep),
        ("clear", None) => Some(OnMissing::Clear),
        ("fail", None) => Some(OnMissing::Fail),
        ("keep" | "clear" | "fail", Some(_)) => refuse(row, "only set takes a default"),
        _ => refuse(row, "must be set, keep, clear or fail"),
    };
    let optional = row.flag("optional", false);
    if optional && on_missing == Some(OnMissing::Fail) {
        row.refuse_field("on_missing", "an optional claim cannot fail the sign-in");
    }
    Some(Release {
        claim: claim?,
        from: from?,
        on_missing: on_missing?,
        purpose: purpose?,
        ground: ground?,
        optional,
        scope: row.optional("scope"),
    })
}

fn refuse(row: &Section<'_>, reason: &str) -> Option<OnMissing> {
    row.refuse_field("on_missing", reason);
    None
}

type Words = std::collections::BTreeMap<String, Texts>;

fn read_word(row: &Section<'_>, name: &'static str, words: &Words) -> Option<String> {
    let code: String = row.require(name)?;
    if !words.contains_key(&code) {
        row.refuse_field(name, format_args!("{code} is not in the vocabulary{}", hint(&code, words)));
    }
    Some(code)
}

fn hint(code: &str, words: &Words) -> String {
    let known: Vec<&str> = words.keys().map(String::as_str).collect();
    nearest(code, &known).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}
