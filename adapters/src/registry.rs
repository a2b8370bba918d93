//! From a provider document to its adapter: the only place that names every kind.

use std::collections::HashMap;
use std::sync::Arc;

use certs::envelope::KeyEncryptionKey;
use gateway_core::document::Section;
use gateway_core::ids::ProviderId;
use gateway_core::secret::Secret;
use url::Url;

use crate::federation::{Anchor, Resolver};
use crate::guangdong::{Guangdong, Settings as GuangdongSettings};
use crate::http::Http;
use crate::iam_smart::{IamSmart, Settings as IamSmartSettings};
use crate::oauth::{Oauth, Settings as OauthSettings};
use crate::oidc::{Joined, Oidc, Settings as OidcSettings};
use crate::shared::Shared;
use crate::{Adapter, Signer};

/// The adapter's part of a provider document.
#[derive(Debug, Clone)]
pub enum Settings {
    /// `kind = "oidc"`.
    Oidc(OidcSettings),
    /// `kind = "oauth"`.
    Oauth(Box<OauthSettings>),
    /// `kind = "iam-smart"`.
    IamSmart(IamSmartSettings),
    /// `kind = "guangdong"`.
    Guangdong(GuangdongSettings),
}

/// What every adapter reaches the world through.
#[derive(Clone)]
pub struct Ports {
    /// The way out.
    pub http: Arc<dyn Http>,
    /// The gateway's own signature.
    pub signer: Arc<dyn Signer>,
    /// What all nodes see.
    pub shared: Arc<dyn Shared>,
    /// Whom federations vouch for.
    pub federations: Arc<Resolver>,
}

/// The contents of secret files, by the names that documents give them.
pub type Secrets = HashMap<String, Secret<String>>;

impl Settings {
    /// Reads the part of the document that belongs to its adapter.
    #[must_use]
    pub fn read(doc: &Section<'_>) -> Option<Self> {
        match doc.require::<String>("kind")?.as_str() {
            "oidc" => OidcSettings::read(&doc.require_section("oidc")?).map(Self::Oidc),
            "oauth" => {
                OauthSettings::read(&doc.require_section("oauth")?).map(|settings| Self::Oauth(Box::new(settings)))
            }
            "iam-smart" => IamSmartSettings::read(&doc.require_section("iam_smart")?).map(Self::IamSmart),
            "guangdong" => GuangdongSettings::read(&doc.require_section("guangdong")?).map(Self::Guangdong),
            other => {
                let kinds = "the kinds are: oidc, oauth, iam-smart, guangdong";
                doc.refuse_field("kind", format_args!("{other} is not a kind of provider; {kinds}"));
                None
            }
        }
    }

    /// The kind, as documents write it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Oidc(_) => "oidc",
            Self::Oauth(_) => "oauth",
            Self::IamSmart(_) => "iam-smart",
            Self::Guangdong(_) => "guangdong",
        }
    }

    /// The addresses it is configured to speak to; its metadata may name no other host.
    #[must_use]
    pub fn hosts(&self) -> Vec<Url> {
        match self {
            Self::Oidc(settings) => settings.hosts(),
            Self::Oauth(settings) => vec![settings.token.clone(), settings.account_at.clone()],
            Self::IamSmart(settings) => vec![settings.api.clone()],
            Self::Guangdong(settings) => vec![settings.base.clone()],
        }
    }

    /// The names of the files that hold its secrets.
    #[must_use]
    pub fn secret_files(&self) -> Vec<&str> {
        match self {
            Self::Oidc(settings) => settings.auth.secret_file().into_iter().collect(),
            Self::Oauth(settings) => settings.auth.secret_file().into_iter().collect(),
            Self::IamSmart(settings) => vec![&settings.client_secret_file, &settings.key_encryption_key_file],
            Self::Guangdong(settings) => vec![&settings.client_secret_file],
        }
    }

    /// Whether the secrets are there and of use, as far as can be said without a peer.
    ///
    /// # Errors
    /// Which is not.
    pub fn check(&self, secrets: &Secrets) -> Result<(), String> {
        let Self::IamSmart(settings) = self else { return Ok(()) };
        let file = &settings.key_encryption_key_file;
        let kek = secrets.get(file).map(|kek| KeyEncryptionKey::from_pem(kek.expose()));
        kek.transpose().map(drop).map_err(|error| format!("{file}: {error}"))
    }

    /// The federation through which its provider is found, where it is.
    #[must_use]
    pub fn federation(&self) -> Option<&ProviderId> {
        if let Self::Oidc(settings) = self { settings.federation.as_ref() } else { None }
    }

    /// Opens the adapter. `callback` is where its provider sends the browser back; no other provider uses it. `anchor` is whom we
    /// believe in its federation, where it has one.
    ///
    /// # Errors
    /// Which secret is missing or cannot be used.
    pub fn open(
        self,
        callback: Url,
        secrets: &Secrets,
        anchor: Option<&Anchor>,
        ports: &Ports,
    ) -> Result<Arc<dyn Adapter>, String> {
        let Ports { http, signer, shared, federations } = ports.clone();
        let secret = |name: &str| secrets.get(name).cloned();
        let required = |name: &str| secret(name).ok_or_else(|| format!("{name} is missing"));
        Ok(match self {
            Self::Oidc(settings) => {
                let secret = settings.auth.secret_file().map(required).transpose()?;
                if let (Some(named), None) = (&settings.federation, anchor) {
                    return Err(format!("the federation {named} is not in this bundle"));
                }
                let joined = anchor.map(|anchor| Joined::new(federations, anchor.clone()));
                Arc::new(Oidc::new(settings, callback, secret, (http, signer), joined))
            }
            Self::Oauth(settings) => {
                let secret = settings.auth.secret_file().map(required).transpose()?;
                Arc::new(Oauth::new(*settings, callback, secret, http))
            }
            Self::IamSmart(settings) => {
                let file = settings.key_encryption_key_file.clone();
                let (secret, kek) = (required(&settings.client_secret_file)?, required(&file)?);
                let opened = IamSmart::new(settings, callback, (secret, &kek), http, shared);
                Arc::new(opened.map_err(|error| format!("{file}: {error}"))?)
            }
            Self::Guangdong(settings) => {
                let secret = required(&settings.client_secret_file)?;
                Arc::new(Guangdong::new(settings, callback, secret, http))
            }
        })
    }
}
