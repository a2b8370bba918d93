//! From a provider document to its adapter: the only place that names every kind.

use std::sync::Arc;

use gateway_core::document::Section;
use url::Url;

use crate::http::Http;
use crate::oidc::{Oidc, Settings as OidcSettings};
use crate::{Adapter, Signer};

/// The adapter's part of a provider document.
#[derive(Debug, Clone)]
pub enum Settings {
    /// `kind = "oidc"`.
    Oidc(OidcSettings),
}

impl Settings {
    /// Reads the part of the document that belongs to its adapter.
    #[must_use]
    pub fn read(doc: &Section<'_>) -> Option<Self> {
        match doc.require::<String>("kind")?.as_str() {
            "oidc" => OidcSettings::read(&doc.require_section("oidc")?).map(Self::Oidc),
            other => {
                doc.refuse_field("kind", format_args!("{other} is not a kind of provider; the kinds are: oidc"));
                None
            }
        }
    }

    /// The kind, as documents write it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Oidc(_) => "oidc",
        }
    }

    /// The addresses it is configured to speak to; its metadata may name no other host.
    #[must_use]
    pub fn hosts(&self) -> Vec<Url> {
        match self {
            Self::Oidc(settings) => settings.hosts(),
        }
    }

    /// The name of the file that holds its client secret, if it has one.
    #[must_use]
    pub fn secret_file(&self) -> Option<&str> {
        match self {
            Self::Oidc(settings) => settings.secret_file(),
        }
    }

    /// Opens the adapter. `callback` is where its provider sends the browser back; no other provider uses it.
    /// `secret` is the content of the secret file.
    #[must_use]
    pub fn open(
        self,
        callback: Url,
        secret: Option<gateway_core::secret::Secret<String>>,
        http: Arc<dyn Http>,
        signer: Arc<dyn Signer>,
    ) -> Arc<dyn Adapter> {
        match self {
            Self::Oidc(settings) => Arc::new(Oidc::new(settings, callback, secret, http, signer)),
        }
    }
}
