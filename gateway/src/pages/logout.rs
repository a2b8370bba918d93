//! Signing out: the question, and what came of it.

use askama::Template;
use gateway_core::ids::ProviderId;
use gateway_core::locale::Locale;
use gateway_core::params::Params;
use url::Url;

use super::link::provider_name;
use super::render;
use super::texts::Texts;
use crate::app::Active;

/// Whether a portal's own sign-in ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It said so.
    Yes,
    /// A page of its own was opened to end it; whether it did cannot be seen from here.
    Asked,
    /// It did not answer, and will be told again.
    NotYet,
    /// It has no place where it could be told.
    CannotBeTold,
}

/// A portal, and whether its own sign-in ended.
pub struct Told {
    /// Its name.
    pub client: String,
    /// Whether it ended.
    pub ended: Ended,
    /// The page of its own that is opened to end it.
    pub frame: Option<Url>,
}

/// The page.
#[derive(Template)]
#[template(path = "logout.html")]
pub struct Logout {
    t: Texts,
    here: String,
    title: String,
    lead: String,
    fields: Vec<(String, String)>,
    told: Vec<(String, String)>,
    frames: Vec<(String, Url)>,
    upstream: String,
    target: String,
    leaves: bool,
}

impl Logout {
    /// The question whether to sign out: `params` is the request that it is about.
    #[must_use]
    pub fn question(locale: Locale, client: Option<&str>, params: &Params) -> Self {
        let t = Texts(locale);
        let mut params = params.clone();
        params.remove(&["lang"]);
        Self {
            t,
            here: format!("/logout?{}", params.encode()),
            title: t.get("logout-title"),
            lead: client.map_or_else(|| t.get("logout-asked"), |client| t.with("logout-asked-by", "client", client)),
            fields: params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            told: Vec::new(),
            frames: Vec::new(),
            upstream: String::new(),
            target: String::new(),
            leaves: false,
        }
    }

    /// What came of it: whoever asked, each other portal, the provider with the place to end the sign-in there, and where to go on;
    /// where there is nothing to read, the page goes on by itself when the pages of portals were opened.
    #[must_use]
    pub fn done(
        active: &Active,
        locale: Locale,
        (own, told): (Vec<Told>, Vec<Told>),
        upstream: Option<(ProviderId, Option<String>)>,
        target: Option<String>,
        nothing_to_read: bool,
    ) -> Self {
        let t = Texts(locale);
        let words = |ended| match ended {
            Ended::Yes => t.get("logout-ended"),
            Ended::Asked => t.get("logout-asked-there"),
            Ended::NotYet => t.get("logout-not-yet"),
            Ended::CannotBeTold => t.get("logout-cannot"),
        };
        let lead = match &upstream {
            None => t.get("logout-nobody"),
            Some((provider, place)) => {
                let text = if place.is_some() { "account-ended-here" } else { "account-ended-no-logout" };
                t.with(text, "provider", &provider_name(active, provider, locale))
            }
        };
        Self {
            t,
            here: String::new(),
            title: t.get("logout-done"),
            lead,
            fields: Vec::new(),
            frames: told
                .iter()
                .chain(&own)
                .filter_map(|told| Some((told.client.clone(), told.frame.clone()?)))
                .collect(),
            leaves: nothing_to_read && target.is_some(),
            told: told.into_iter().map(|told| (told.client, words(told.ended))).collect(),
            upstream: upstream.and_then(|(_, place)| place).unwrap_or_default(),
            target: target.unwrap_or_default(),
        }
    }

    /// The origins of the portals' own pages that this one opens.
    #[must_use]
    pub fn framed(&self) -> Vec<String> {
        self.frames.iter().map(|(_, page)| page.origin().ascii_serialization()).collect()
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        render(self)
    }
}
