//! The page for somebody who comes from inside a provider's app.

use askama::Template;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};
use gateway_core::locale::Locale;

use super::render;
use super::texts::Texts;
use crate::app::Active;

/// A service that the person can go on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectChoice {
    /// The portal.
    pub client: ClientId,
    /// The service.
    pub service: ServiceId,
}

impl DirectChoice {
    /// The choice, as the form sends it.
    #[must_use]
    pub fn value(&self) -> String {
        format!("{} {}", self.client, self.service)
    }
}

struct Choice {
    value: String,
    service: String,
    portal: String,
}

/// The question whether to go on, and to which service.
#[derive(Template)]
#[template(path = "direct.html")]
pub struct Direct {
    t: Texts,
    here: String,
    title: String,
    lead: String,
    question: String,
    choices: Vec<Choice>,
}

impl Direct {
    /// The page for somebody who comes from `provider`.
    #[must_use]
    pub fn new(
        active: &Active,
        locale: Locale,
        provider: &ProviderId,
        choices: Vec<DirectChoice>,
        question: String,
    ) -> Self {
        let t = Texts(locale);
        let policies = active.catalog.policies();
        let name = policies.provider(provider).map(|provider| provider.name.get(locale)).unwrap_or_default();
        let choice = |choice: DirectChoice| {
            let portal = active.client(&choice.client)?.client.name.get(locale).to_owned();
            let service = policies.service(&choice.service)?.name.get(locale).to_owned();
            Some(Choice { value: choice.value(), service, portal })
        };
        Self {
            t,
            here: "/direct".to_owned(),
            title: t.with("direct-title", "provider", name),
            lead: t.with("direct-lead", "provider", name),
            question,
            choices: choices.into_iter().filter_map(choice).collect(),
        }
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        render(self)
    }
}
