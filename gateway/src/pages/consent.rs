//! The consent page: who receives what, why, by what right, and across which border.

use std::collections::BTreeSet;

use askama::Template;
use gateway_core::authorize::Terminal;
use gateway_core::consent::{Item, Mode, Proposal};
use gateway_core::details::Details;
use gateway_core::digest::sha256;
use gateway_core::ids::base64url;
use gateway_core::interaction::Transaction;
use gateway_core::locale::Locale;
use policies::Service;

use super::texts::Texts;
use super::{About, place, render};
use crate::app::Active;

/// One claim on the page.
struct Line {
    claim: String,
    label: String,
    purpose: String,
    ground: String,
    citation: String,
}

/// A legal instrument under which data crosses, and its filing.
struct Under {
    name: String,
    filing: String,
}

/// The consent page, and the digest of it that an answer must carry.
pub struct Consent {
    page: ConsentPage,
    question: String,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage {
    t: Texts,
    here: String,
    about: About,
    title: &'static str,
    yes: &'static str,
    provider: String,
    operator: String,
    portal: String,
    service: String,
    /// Where the person is asked from, if that is not this browser.
    terminal: Terminal,
    /// What the request says of its matter, in the person's words.
    details: Vec<(String, String)>,
    from: String,
    to: String,
    border: String,
    crosses: bool,
    under: Vec<Under>,
    /// The separate question about the border; empty where no data crosses one.
    export: String,
    again: String,
    required: Vec<Line>,
    optional: Vec<Line>,
    question: String,
    /// The separate yes was forgotten.
    forgotten: bool,
}

impl Consent {
    /// The page for one proposal; `None` when the bundle no longer knows one of its parties.
    #[must_use]
    pub fn new(active: &Active, locale: Locale, transaction: &Transaction, proposal: &Proposal) -> Option<Self> {
        let t = Texts(locale);
        let policies = active.catalog.policies();
        let client = &active.client(&proposal.client)?.client;
        let (service, provider) = (policies.service(&proposal.service)?, policies.provider(&proposal.provider)?);
        let words = policies.vocabulary();
        let line = |item: &Item| Line {
            claim: item.claim.clone(),
            label: words.claim(&item.claim, locale).to_owned(),
            purpose: words.purpose(&item.purpose, locale).to_owned(),
            ground: words.ground(&item.ground, locale).to_owned(),
            citation: words.grounds.get(&item.ground).and_then(|word| word.citation.clone()).unwrap_or_default(),
        };
        let (from, to) = (place(t, provider.jurisdiction.code()), place(t, client.jurisdiction.code()));
        let operator = client.operator.get(locale).to_owned();
        let border = match proposal.crossing {
            Some(_) => t.with_all("consent-border", &[("from", &from), ("to", &to)]),
            None => t.with("consent-no-border", "place", &to),
        };
        let export = match proposal.crosses_with_data() {
            true => t.with_all("consent-export", &[("operator", &operator), ("to", &to)]),
            false => String::new(),
        };
        let (title, yes) = match proposal.mode {
            Mode::Notice => ("consent-notice-title", "consent-notice-yes"),
            Mode::Required | Mode::Anonymous => ("consent-title", "consent-allow"),
        };
        let again = client.refresh_lifetime.filter(|_| transaction.request.claims.wants_offline());
        let again = again.map(|span| t.with("consent-again", "hours", &span.as_secs().div_ceil(3_600).to_string()));
        let details_known = policies.details_known(&service.id, transaction.request.details.as_ref());
        let page = ConsentPage {
            t,
            here: format!("/login/{}/consent", transaction.id),
            about: About::new(client),
            title,
            yes,
            provider: provider.name.get(locale).to_owned(),
            operator,
            portal: client.name.get(locale).to_owned(),
            service: service.name.get(locale).to_owned(),
            terminal: transaction.request.collection().map(|asked| asked.terminal.clone()).unwrap_or_default(),
            details: details(service, details_known.as_ref(), locale),
            from,
            to,
            border,
            crosses: proposal.crossing.is_some(),
            under: under(active, locale, proposal),
            export,
            again: again.unwrap_or_default(),
            required: proposal.items.iter().filter(|item| !item.optional).map(line).collect(),
            optional: proposal.items.iter().filter(|item| item.optional).map(line).collect(),
            question: proposal.fingerprint(),
            forgotten: false,
        };
        // The digest is that of the page with the terms' digest in place of its own.
        let question = base64url(&sha256(render(&page).as_bytes()));
        Some(Self { page: ConsentPage { question: question.clone(), ..page }, question })
    }

    /// A digest of the whole page, the terms behind its words included: what an answer is an answer to.
    #[must_use]
    pub fn question(&self) -> &str {
        &self.question
    }

    /// The page. `forgotten` says that the separate yes to crossing a border was missing.
    #[must_use]
    pub fn html(self, forgotten: bool) -> String {
        render(&ConsentPage { forgotten, ..self.page })
    }
}

/// What a request says of its matter: labels and values as people call them.
fn details(service: &Service, details: Option<&Details>, locale: Locale) -> Vec<(String, String)> {
    let said = details.iter().flat_map(|details| &details.fields);
    let shown = said.filter_map(|(name, value)| {
        let known = service.details.iter().find(|known| known.name == *name)?;
        Some((known.label.get(locale).to_owned(), known.shown(value, locale).to_owned()))
    });
    shown.collect()
}

/// The legal instruments under which a proposal's data crosses a border.
fn under(active: &Active, locale: Locale, proposal: &Proposal) -> Vec<Under> {
    let covers = proposal.items.iter().filter_map(|item| item.cover.as_ref());
    let covers: BTreeSet<(&str, &str)> =
        covers.map(|cover| (cover.instrument.as_str(), cover.filing.as_str())).collect();
    let name = |id: &str| {
        let known = active.catalog.policies().instrument(id);
        known.map_or_else(|| id.to_owned(), |instrument| instrument.name.get(locale).to_owned())
    };
    covers.into_iter().map(|(id, filing)| Under { name: name(id), filing: filing.to_owned() }).collect()
}
