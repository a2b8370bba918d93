//! The page on which a person sees who asks for them from elsewhere.

use askama::Template;
use gateway_core::authorize::{AuthorizationRequest, Terminal};
use gateway_core::locale::Locale;

use super::render;
use super::texts::Texts;
use crate::app::Active;

struct Line {
    service: String,
    operator: String,
    portal: String,
    terminal: Terminal,
    question: String,
}

/// What waits for a person's answer, and the code by which they let somebody ask.
#[derive(Template)]
#[template(path = "requests.html")]
pub struct Requests {
    t: Texts,
    here: &'static str,
    signed_in: bool,
    lines: Vec<Line>,
    code: String,
    locale: &'static str,
}

impl Requests {
    /// The page; each request comes with what its answer has to say. `code` is empty unless one is shown.
    #[must_use]
    pub fn new<'a>(
        active: &Active,
        locale: Locale,
        signed_in: bool,
        waiting: impl Iterator<Item = (&'a AuthorizationRequest, String)>,
        code: String,
    ) -> Self {
        let line = |(request, question): (&AuthorizationRequest, String)| {
            let client = &active.client(&request.client)?.client;
            let service = active.catalog.policies().service(&request.service)?;
            Some(Line {
                service: service.name.get(locale).to_owned(),
                operator: client.operator.get(locale).to_owned(),
                portal: client.name.get(locale).to_owned(),
                terminal: request.collection()?.terminal.clone(),
                question,
            })
        };
        let lines = waiting.filter_map(line).collect();
        Self { t: Texts(locale), here: "/requests", signed_in, lines, code, locale: locale.tag() }
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        render(self)
    }
}
