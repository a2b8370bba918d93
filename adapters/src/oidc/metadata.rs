//! Provider metadata (OpenID Connect Discovery section 3), parsed once and checked against the settings.

use oauth2::{AuthUrl, TokenUrl};
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{AdditionalProviderMetadata, IssuerUrl, ProviderMetadata, UserInfoUrl};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::key::Key;
use super::settings::Settings;

/// The members that OpenID Connect Discovery does not have.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Additional {
    /// RFC 9207 section 3.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    /// RFC 9126 section 5. What is wrong with this and the next keeps nobody from signing in who does not need them.
    #[serde(default)]
    pushed_authorization_request_endpoint: Value,
    /// RP-Initiated Logout section 2.1.
    #[serde(default)]
    end_session_endpoint: Value,
}

impl AdditionalProviderMetadata for Additional {}

type OidcMetadata = ProviderMetadata<
    Additional,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    Key,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// What a login needs of the metadata.
pub(super) struct Metadata {
    pub(super) issuer: IssuerUrl,
    pub(super) authorization_endpoint: AuthUrl,
    pub(super) token_endpoint: TokenUrl,
    pub(super) userinfo_endpoint: Option<UserInfoUrl>,
    pub(super) jwks_uri: Url,
    pub(super) push_endpoint: Option<Url>,
    pub(super) end_session_endpoint: Option<Url>,
    pub(super) promises_iss: bool,
}

impl Settings {
    /// Where the metadata is (OpenID Connect Discovery section 4.1).
    pub(super) fn discovery_url(&self) -> Url {
        let mut url = self.issuer.clone();
        url.set_path(&format!("{}/.well-known/openid-configuration", self.issuer.path().trim_end_matches('/')));
        url
    }
}

/// An optional address; none where what stands there is none.
fn address(stated: &Value) -> Option<Url> {
    stated.as_str()?.parse().ok()
}

impl Metadata {
    /// Reads a metadata document and checks it against the settings.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn judged(json: &[u8], settings: &Settings) -> Result<Self, &'static str> {
        let metadata = Self::parse(json).ok_or("the metadata cannot be read")?;
        metadata.check(settings)?;
        Ok(metadata)
    }

    fn parse(json: &[u8]) -> Option<Self> {
        let document: OidcMetadata = serde_json::from_slice(json).ok()?;
        Some(Self {
            issuer: document.issuer().clone(),
            authorization_endpoint: document.authorization_endpoint().clone(),
            token_endpoint: document.token_endpoint()?.clone(),
            userinfo_endpoint: document.userinfo_endpoint().cloned(),
            jwks_uri: document.jwks_uri().url().clone(),
            push_endpoint: address(&document.additional_metadata().pushed_authorization_request_endpoint),
            end_session_endpoint: address(&document.additional_metadata().end_session_endpoint),
            promises_iss: document.additional_metadata().authorization_response_iss_parameter_supported,
        })
    }

    /// The issuer must be the configured one to the letter (Discovery section 4.3), and every endpoint at a configured
    /// host: metadata cannot send us anywhere else.
    fn check(&self, settings: &Settings) -> Result<(), &'static str> {
        if self.issuer.as_str() != settings.issuer_text() && self.issuer.as_str() != settings.issuer.as_str() {
            return Err("the metadata is of another issuer");
        }
        let allowed: Vec<url::Origin> = settings.hosts().iter().map(Url::origin).collect();
        let userinfo = self.userinfo_endpoint.iter().map(|url| url.url());
        let endpoints = [self.authorization_endpoint.url(), self.token_endpoint.url(), &self.jwks_uri];
        let pushed = self.push_endpoint.iter().filter(|_| settings.fapi);
        for endpoint in endpoints.into_iter().chain(userinfo).chain(pushed) {
            if endpoint.scheme() != "https" || !allowed.contains(&endpoint.origin()) {
                return Err("the metadata names a host that is not configured");
            }
        }
        Ok(())
    }
}
