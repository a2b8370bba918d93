//! The pages about linked accounts: the question in the middle of a sign-in, and the ledger.

use askama::Template;
use gateway_core::assertion::Assertion;
use gateway_core::ids::ProviderId;
use gateway_core::interaction::Transaction;
use gateway_core::link::{Agreement, Entry, Ground, Signals, Status, needs_review};
use gateway_core::locale::Locale;
use gateway_core::time::Timestamp;

use super::render;
use super::texts::Texts;
use crate::app::Active;

/// The two accounts that a question is about.
#[derive(Debug)]
pub struct Sides<'a> {
    /// The account that the person signed in with.
    pub first: &'a Assertion,
    /// The provider of the other one.
    pub with: &'a ProviderId,
    /// The other one, once it was proved.
    pub second: Option<&'a Assertion>,
}

/// One account, as far as it is shown.
struct Side {
    provider: String,
    holder: String,
}

/// The question whether to link another account.
#[derive(Template)]
#[template(path = "link.html")]
pub struct Link {
    t: Texts,
    here: String,
    title: String,
    lead: String,
    problem: String,
    sides: Vec<Side>,
    doubt: String,
    question: String,
    decision: &'static str,
    yes: String,
    no: String,
    cancel: String,
}

impl Link {
    /// The page: the offer, or once both accounts are proved the question.
    #[must_use]
    pub fn new(
        active: &Active,
        locale: Locale,
        transaction: &Transaction,
        sides: &Sides<'_>,
        (question, reference): (&str, &str),
    ) -> Self {
        let (t, id) = (Texts(locale), &transaction.id);
        let named = |id: &ProviderId| provider_name(active, id, locale);
        let (first, with) = (named(&sides.first.provider), named(sides.with));
        let side = |assertion: &Assertion| Side { provider: named(&assertion.provider), holder: holder(assertion) };
        let proved = sides.second.is_some();
        let doubt = sides.second.is_some_and(|second| needs_review(sides.first, second));
        let problem = transaction.failure.map(|failure| t.get(&format!("failure-{}", failure.code())));
        let (title, lead) = if proved {
            ("link-question-title", "link-question-lead")
        } else {
            ("link-offer-title", "link-offer-lead")
        };
        Self {
            t,
            here: format!("/login/{id}/link"),
            title: t.with_two(title, ("first", &first), ("with", &with)),
            lead: t.with_two(lead, ("first", &first), ("with", &with)),
            problem: problem.unwrap_or_default(),
            sides: sides.second.map(|second| vec![side(sides.first), side(second)]).unwrap_or_default(),
            doubt: if doubt { t.with("link-doubt", "reference", reference) } else { String::new() },
            question: question.to_owned(),
            decision: if proved { "link" } else { "prove" },
            yes: if proved { t.get("link-yes") } else { t.with("link-prove", "with", &with) },
            no: t.get("link-no"),
            cancel: format!("/login/{id}/cancel"),
        }
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        render(self)
    }
}

fn provider_name(active: &Active, id: &ProviderId, locale: Locale) -> String {
    let provider = active.catalog.policies().provider(id);
    provider.map_or_else(|| id.to_string(), |provider| provider.name.get(locale).to_owned())
}

/// The holder's name as the provider wrote it, all but its first character hidden: enough to know one's own account by.
fn holder(assertion: &Assertion) -> String {
    let text = |name| assertion.claims.get(name).and_then(serde_json::Value::as_str);
    let name = text("name_zh").or_else(|| text("name_zh_unverified")).or_else(|| text("name")).unwrap_or_default();
    let hidden = |(index, c): (usize, char)| if index == 0 || !c.is_alphanumeric() { c } else { '*' };
    name.chars().enumerate().map(hidden).collect()
}

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
    notice: String,
    logout: String,
}

impl Account {
    /// The page of somebody who signed in with `provider`; they can change links while that is `recent`.
    #[must_use]
    pub fn signed_in(active: &Active, locale: Locale, provider: &ProviderId, entries: &[Entry], recent: bool) -> Self {
        let t = Texts(locale);
        let line = |entry: &Entry| {
            let (first, second) =
                (provider_name(active, &entry.first, locale), provider_name(active, &entry.second, locale));
            Line {
                id: entry.id.clone(),
                accounts: t.with_two("account-entry", ("first", &first), ("second", &second)),
                status: t.get(status(entry.status)),
                when: t.with_two("account-when", ("made", &day(entry.made_at)), ("changed", &day(entry.changed_at))),
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
            notice: if recent { String::new() } else { t.get("account-not-recent") },
            logout: String::new(),
        }
    }

    /// The page of somebody who is not signed in, or is no more; `logout` ends the session at their provider.
    #[must_use]
    pub fn signed_out(active: &Active, locale: Locale, ended: Option<(&ProviderId, Option<String>)>) -> Self {
        let t = Texts(locale);
        let notice = match &ended {
            None => t.get("account-nobody"),
            Some((provider, logout)) => {
                let text = if logout.is_some() { "account-ended-here" } else { "account-ended-no-logout" };
                t.with(text, "provider", &provider_name(active, provider, locale))
            }
        };
        let logout = ended.and_then(|(_, logout)| logout).unwrap_or_default();
        Self { t, here: "/account".to_owned(), signed_in: String::new(), lines: Vec::new(), notice, logout }
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        render(self)
    }
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
    policies::mapping::today(time)
}
