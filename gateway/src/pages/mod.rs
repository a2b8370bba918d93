//! Pages for people: they work without a script, on a phone, by keyboard, in four languages.

mod account;
mod consent;
mod device;
mod direct;
mod link;
mod logout;
mod requests;
pub mod texts;

use askama::Template;
use gateway_core::client::Client;
use gateway_core::error::{Failure, Side};
use gateway_core::interaction::{Transaction, Wait};
use gateway_core::locale::Locale;
use gateway_core::time::Timestamp;
use policies::Service;
use policies::choose::Candidate;
use url::Url;

use crate::app::Active;
use texts::Texts;

pub use account::Account;
pub use consent::Consent;
pub use device::{DeviceConfirm, DeviceEntry, device_done};
pub use direct::{Direct, DirectChoice};
pub use link::{Link, Sides};
pub use logout::{Ended, Logout, Told};
pub use requests::Requests;

/// The style sheet.
pub const STYLE: &str = include_str!("static/style.css");
/// Submits the page of `response_mode=form_post`.
pub const SUBMIT: &str = include_str!("static/submit.js");
/// Leaves the page of a logout on which there is nothing to read.
pub const LEAVE: &str = include_str!("static/leave.js");
/// Says whether a session changed.
pub const CHECK_SESSION: &str = include_str!("static/check-session.js");
/// The frame that portals ask whether a session changed.
pub const CHECK_SESSION_PAGE: &str = "<!doctype html><html lang=\"en\"><title>check-session</title><script src=\"/static/check-session.js\"></script></html>";
/// Looks for news on the page where a person waits.
pub const WAIT: &str = include_str!("static/wait.js");
/// The gateway's own mark.
pub const MARK: &str = include_str!("static/mark.svg");

/// Renders a template; these cannot fail but for memory.
fn render(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}

/// What a portal says of itself, besides its name.
#[derive(Default)]
struct About {
    /// Where we serve its picture; empty where it has none.
    logo: String,
    policy: String,
    terms: String,
    /// How people reach its operator.
    contact: String,
}

impl About {
    fn new(client: &Client) -> Self {
        let text = |uri: &Option<Url>| uri.as_ref().map(Url::to_string).unwrap_or_default();
        Self {
            logo: client.pages.logo.as_ref().map(|_| format!("/client/{}/logo", client.id)).unwrap_or_default(),
            policy: text(&client.pages.policy),
            terms: text(&client.pages.terms),
            contact: client.contact.clone().unwrap_or_default(),
        }
    }

    fn is_empty(&self) -> bool {
        [&self.logo, &self.policy, &self.terms].iter().all(|text| text.is_empty())
    }
}

/// A provider that can be chosen.
struct Choice {
    name: String,
    place: String,
    code: &'static str,
    href: String,
}

/// A trusted provider that cannot serve this request, and why.
struct NotPossible {
    name: String,
    why: String,
}

/// The chooser.
#[derive(Template)]
#[template(path = "chooser.html")]
pub struct Chooser {
    t: Texts,
    here: String,
    about: About,
    lead: String,
    choices: Vec<Choice>,
    others: Vec<NotPossible>,
    cancel: String,
}

impl Chooser {
    /// The chooser for one sign-in: the trusted providers only.
    #[must_use]
    pub fn new(
        active: &Active,
        locale: Locale,
        transaction: &Transaction,
        service: &Service,
        candidates: &[Candidate],
    ) -> Self {
        let (t, id) = (Texts(locale), &transaction.id);
        let client = active.client(&transaction.request.client);
        let portal = client.map(|registered| registered.client.name.get(locale)).unwrap_or_default();
        let mut page = Self {
            t,
            here: format!("/login/{id}"),
            about: client.map(|registered| About::new(&registered.client)).unwrap_or_default(),
            lead: t.with_all("chooser-lead", &[("portal", portal), ("service", service.name.get(locale))]),
            choices: Vec::new(),
            others: Vec::new(),
            cancel: format!("/login/{id}/cancel"),
        };
        for candidate in candidates {
            let Some(provider) = active.catalog.policies().provider(&candidate.provider) else { continue };
            let name = provider.name.get(locale).to_owned();
            match candidate.fit {
                Ok(()) => page.choices.push(Choice {
                    name,
                    place: place(t, provider.jurisdiction.code()),
                    code: provider.jurisdiction.code(),
                    href: format!("/login/{id}/to/{}", candidate.provider),
                }),
                Err(failure) => page.others.push(NotPossible { name, why: t.get(why(failure)) }),
            }
        }
        page
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        render(self)
    }
}

fn why(failure: Failure) -> &'static str {
    match failure {
        Failure::AssuranceTooLow => "why-assurance",
        Failure::NotFresh => "why-fresh",
        _ => "why-policy",
    }
}

fn place(t: Texts, code: &str) -> String {
    t.get(&format!("place-{code}"))
}

/// The page on which a person waits until they have approved something at their provider.
#[derive(Template)]
#[template(path = "waiting.html")]
pub struct Waiting {
    t: Texts,
    here: String,
    title: String,
    lead: String,
    open: String,
    app_link: String,
    time: String,
    cancel: String,
}

impl Waiting {
    /// The page for one open request.
    #[must_use]
    pub fn new(active: &Active, locale: Locale, transaction: &Transaction, wait: &Wait, now: Timestamp) -> Self {
        let (t, id) = (Texts(locale), &transaction.id);
        let provider = active.catalog.policies().provider(&wait.provider);
        let provider = provider.map(|provider| provider.name.get(locale)).unwrap_or_default();
        let lead = if wait.app_link.is_empty() { "waiting-other-device" } else { "waiting-this-device" };
        let minutes = wait.until.0.saturating_sub(now.0).div_ceil(60).to_string();
        Self {
            t,
            here: format!("/login/{id}/wait"),
            title: t.with("waiting-title", "provider", provider),
            lead: t.with(lead, "provider", provider),
            open: t.with("waiting-open", "provider", provider),
            app_link: wait.app_link.clone(),
            time: t.with("waiting-time", "minutes", &minutes),
            cancel: format!("/login/{id}/cancel"),
        }
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        render(self)
    }
}

/// The page that says what failed.
#[derive(Debug)]
pub struct Failed<'a> {
    /// The language.
    pub locale: Locale,
    /// What failed.
    pub failure: Failure,
    /// What to quote.
    pub trace: String,
    /// The sign-in, while it can go on.
    pub transaction: Option<&'a str>,
    /// The service it was for.
    pub service: Option<String>,
    /// Whom they signed in with, when that was not enough.
    pub provider: Option<String>,
}

#[derive(Template)]
#[template(path = "failed.html")]
struct FailedPage {
    t: Texts,
    here: String,
    title: String,
    text: String,
    service: String,
    provider: String,
    code: &'static str,
    trace: String,
    retry: String,
    cancel: String,
}

impl Failed<'_> {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let t = Texts(self.locale);
        let (code, side, retry, _) = self.failure.row();
        let title = match side {
            Side::You => "failed-title-you",
            Side::Gateway => "failed-title-gateway",
            Side::Provider => "failed-title-provider",
            Side::Service => "failed-title-service",
        };
        let path = |suffix: &str| self.transaction.map(|id| format!("/login/{id}{suffix}")).unwrap_or_default();
        render(&FailedPage {
            t,
            here: path(""),
            title: t.get(title),
            text: t.get(&format!("failure-{code}")),
            service: self.service.as_ref().map(|name| t.with("failed-service", "service", name)).unwrap_or_default(),
            provider: self.provider.as_ref().map(|name| t.with("failed-needs", "provider", name)).unwrap_or_default(),
            code,
            trace: self.trace.clone(),
            retry: if retry { path("") } else { String::new() },
            cancel: path("/cancel"),
        })
    }
}

/// The page of `response_mode=form_post` (OAuth 2.0 Form Post Response Mode).
pub struct FormPost<'a> {
    /// The language.
    pub locale: Locale,
    /// The client's checked redirect URI.
    pub action: &'a str,
    /// The response parameters.
    pub params: &'a [(&'static str, &'a str)],
}

#[derive(Template)]
#[template(path = "form_post.html")]
struct FormPostPage<'a> {
    t: Texts,
    here: String,
    action: &'a str,
    params: &'a [(&'static str, &'a str)],
}

impl FormPost<'_> {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        render(&FormPostPage { t: Texts(self.locale), here: String::new(), action: self.action, params: self.params })
    }
}
