//! The pages for somebody who comes with a terminal's code.

use askama::Template;
use gateway_core::authorize::{AuthorizationRequest, Terminal};
use gateway_core::locale::Locale;

use super::render;
use super::texts::Texts;
use crate::app::Active;

/// Where a person writes the code that a terminal shows.
#[derive(Template)]
#[template(path = "device.html")]
pub struct DeviceEntry {
    t: Texts,
    here: &'static str,
    unknown: bool,
}

impl DeviceEntry {
    /// The page; `unknown` says that the code that was written leads nowhere, or does no more.
    #[must_use]
    pub fn new(locale: Locale, unknown: bool) -> Self {
        Self { t: Texts(locale), here: "/device", unknown }
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        render(self)
    }
}

/// The question whether the person stands before this very terminal.
#[derive(Template)]
#[template(path = "device_confirm.html")]
pub struct DeviceConfirm {
    t: Texts,
    here: String,
    lead: String,
    terminal: Terminal,
    operator: String,
    code: String,
    proof: String,
    locale: &'static str,
}

impl DeviceConfirm {
    /// The page for one request, whose code comes with its proof; nothing, when the bundle no longer knows who asks.
    #[must_use]
    pub fn new(
        active: &Active,
        locale: Locale,
        request: &AuthorizationRequest,
        (code, proof): (&str, &str),
    ) -> Option<Self> {
        let t = Texts(locale);
        let client = &active.client(&request.client)?.client;
        let service = active.catalog.policies().service(&request.service)?.name.get(locale);
        let portal = client.name.get(locale);
        Some(Self {
            t,
            here: format!("/device?user_code={code}&proof={proof}"),
            lead: t.with_all("chooser-lead", &[("portal", portal), ("service", service)]),
            terminal: request.collection()?.terminal.clone(),
            operator: client.operator.get(locale).to_owned(),
            code: code.to_owned(),
            proof: proof.to_owned(),
            locale: locale.tag(),
        })
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        render(self)
    }
}

#[derive(Template)]
#[template(path = "device_done.html")]
struct DeviceDone {
    t: Texts,
    here: &'static str,
    approved: bool,
}

/// The last page on the person's phone.
#[must_use]
pub fn device_done(locale: Locale, approved: bool) -> String {
    render(&DeviceDone { t: Texts(locale), here: "", approved })
}
