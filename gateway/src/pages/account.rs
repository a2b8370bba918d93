//! A person's own page: the accounts they linked, and what they agreed to pass on.

use askama::Template;
use gateway_core::ids::ProviderId;
use gateway_core::link::{Agreement, Entry, Ground, Signals, Status};
use gateway_core::locale::Locale;
use gateway_core::time::Timestamp;

use super::link::provider_name;
use super::render;
use super::texts::Texts;
use crate::app::Active;
use crate::receipts;

/// One entry, as it is shown.
struct Line {
    id: String,
    accounts: String,
    status: String,
    when: String,
    signals: String,
    ground: String,
    can_undo: bool,
}

/// The ledger of a person who is signed in here.
#[derive(Template)]
#[template(path = "account.html")]
pub struct Account {
    t: Texts,
    here: String,
    signed_in: String,
    lines: Vec<Line>,
    consents: Vec<Agreed>,
    notice: String,
}

/// An answer that somebody gave, as it is shown.
struct Agreed {
    id: String,
    what: String,
    items: String,
    when: String,
    can_withdraw: bool,
}

impl Account {
    /// The page of somebody who signed in with `provider`; they can change things while that is `recent`.
    #[must_use]
    pub fn signed_in(
        active: &Active,
        locale: Locale,
        provider: &ProviderId,
        (entries, receipts): (&[Entry], &[receipts::Line]),
        recent: bool,
    ) -> Self {
        let t = Texts(locale);
        let line = |entry: &Entry| {
            let (first, second) =
                (provider_name(active, &entry.first, locale), provider_name(active, &entry.second, locale));
            Line {
                id: entry.id.clone(),
                accounts: t.with_all("account-entry", &[("first", &first), ("second", &second)]),
                status: t.get(status(entry.status)),
                when: t.with_all("account-when", &[("made", &day(entry.made_at)), ("changed", &day(entry.changed_at))]),
                signals: signals(t, &entry.signals),
                ground: match &entry.ground {
                    Ground::BothPresent => t.get("link-ground-both"),
                    Ground::Authority { authority, .. } => {
                        let name = active.catalog.authority(authority).map(|known| known.name.get(locale));
                        t.with("link-ground-authority", "authority", name.unwrap_or(authority))
                    }
                },
                can_undo: recent && entry.status == Status::Active,
            }
        };
        Self {
            t,
            here: "/account".to_owned(),
            signed_in: t.with("account-signed-in", "provider", &provider_name(active, provider, locale)),
            lines: entries.iter().map(line).collect(),
            consents: receipts.iter().map(|line| agreed(active, t, locale, line, recent)).collect(),
            notice: if recent { String::new() } else { t.get("account-not-recent") },
        }
    }

    /// The page of somebody who is not signed in.
    #[must_use]
    pub fn signed_out(locale: Locale) -> Self {
        let t = Texts(locale);
        Self {
            t,
            here: "/account".to_owned(),
            signed_in: String::new(),
            lines: Vec::new(),
            consents: Vec::new(),
            notice: t.get("account-nobody"),
        }
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        render(self)
    }
}

/// One answer in words: what went where, and when.
fn agreed(active: &Active, t: Texts, locale: Locale, line: &receipts::Line, recent: bool) -> Agreed {
    let receipt = &line.receipt;
    let (policies, proposal) = (active.catalog.policies(), &receipt.proposal);
    let service = policies.service(&proposal.service).map(|service| service.name.get(locale));
    let client = active.client(&proposal.client).map(|registered| registered.client.name.get(locale));
    let what = t.with_all(
        "account-consent",
        &[
            ("service", service.unwrap_or(proposal.service.as_str())),
            ("provider", &provider_name(active, &proposal.provider, locale)),
            ("client", client.unwrap_or(proposal.client.as_str())),
        ],
    );
    let items = |agreed: &[String]| {
        let items: Vec<&str> = agreed.iter().map(|claim| policies.vocabulary().claim(claim, locale)).collect();
        items.join(" · ")
    };
    let mut when = t.with("account-given", "given", &day(receipt.given_at));
    if let Some(withdrawn) = receipt.withdrawn_at {
        when = format!("{when}, {}", t.with("account-withdrawn", "withdrawn", &day(withdrawn)));
    }
    if let Some(before) = line.earlier.first() {
        let (given, what) = (day(before.given_at), items(&before.agreed));
        when = format!("{when}; {}", t.with_all("account-before", &[("given", &given), ("what", &what)]));
    }
    let can_withdraw = recent && receipt.withdrawn_at.is_none();
    Agreed { id: line.question.clone(), what, items: items(&receipt.agreed), when, can_withdraw }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Active => "link-active",
        Status::UnderReview => "link-under-review",
        Status::Refused => "link-refused",
        Status::Undone => "link-undone",
    }
}

/// What speaks against a link, in words; empty when nothing does.
fn signals(t: Texts, signals: &Signals) -> String {
    let all = [("link-name", signals.name), ("link-birthdate", signals.birthdate), ("link-gender", signals.gender)];
    let differing = all.iter().filter(|(_, agreement)| *agreement == Agreement::Different);
    let words: Vec<String> = differing.map(|(key, _)| t.get(key)).collect();
    if words.is_empty() { String::new() } else { t.with("link-differs", "what", &words.join(" · ")) }
}

/// The civil date in the zone of all three places.
fn day(time: Timestamp) -> String {
    time.date().to_string()
}
