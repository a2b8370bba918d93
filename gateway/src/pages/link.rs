//! The question about linking another account, in the middle of a sign-in.

use askama::Template;
use gateway_core::assertion::Assertion;
use gateway_core::ids::ProviderId;
use gateway_core::interaction::Transaction;
use gateway_core::link::needs_review;
use gateway_core::locale::Locale;

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
            title: t.with_all(title, &[("first", &first), ("with", &with)]),
            lead: t.with_all(lead, &[("first", &first), ("with", &with)]),
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

pub(super) fn provider_name(active: &Active, id: &ProviderId, locale: Locale) -> String {
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
