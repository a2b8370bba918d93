//! The `[oidc]` table of a provider document.

use gateway_core::document::Section;
use gateway_core::ids::ProviderId;
use url::Url;

/// How the gateway authenticates at the provider's token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenAuth {
    /// A public client.
    None,
    /// The secret in the `Authorization` header; the file that holds it.
    SecretBasic(String),
    /// The secret in the form; the file that holds it.
    SecretPost(String),
    /// An assertion signed with the gateway's own key (RFC 7523); the provider reads our `jwks_uri`.
    PrivateKeyJwt,
}

/// How to reach an OpenID Connect provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its issuer, exactly as it writes it.
    pub issuer: Url,
    /// Our client identifier there.
    pub client_id: String,
    /// How we authenticate there.
    pub auth: TokenAuth,
    /// The scopes we ask for, `openid` included.
    pub scopes: Vec<String>,
    /// Further hosts that its metadata may name, besides the issuer's.
    pub endpoints_at: Vec<Url>,
    /// Whether to call its userinfo endpoint.
    pub userinfo: bool,
    /// Whether it is spoken to by FAPI 2.0: requests are pushed, tokens bound to our key, and every answer names its issuer.
    pub fapi: bool,
    /// The federation through which it is found, where it has never heard of us.
    pub federation: Option<ProviderId>,
    /// Whether it tells us of logouts, at `/backchannel-logout/{provider}` (OpenID Connect Back-Channel Logout).
    pub backchannel_logout: bool,
}

impl Settings {
    /// Reads the table.
    #[must_use]
    pub fn read(table: &Section<'_>) -> Option<Self> {
        let (issuer, federation) = (table.require::<Url>("issuer"), table.optional("federation"));
        // Who joins by a federation is called what it calls itself.
        let client_id = if federation.is_some() {
            table.optional("client_id").or(Some(String::new()))
        } else {
            table.require("client_id")
        };
        if issuer
            .as_ref()
            .is_some_and(|url| url.scheme() != "https" || url.query().is_some() || url.fragment().is_some())
        {
            table.refuse_field("issuer", "must use https and have no query or fragment");
        }
        let auth = TokenAuth::read(table);
        let mut scopes: Vec<String> = table.list("scopes");
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".to_owned());
        }
        let (endpoints_at, userinfo) = (table.list("endpoints_at"), table.flag("userinfo", true));
        let (backchannel_logout, fapi) = (table.flag("backchannel_logout", false), table.flag("fapi2", false));
        if fapi && auth.as_ref().is_some_and(|auth| *auth != TokenAuth::PrivateKeyJwt) {
            table.refuse_field("fapi2", "needs token_endpoint_auth_method = \"private_key_jwt\"");
        }
        if federation.is_some() && auth.as_ref().is_some_and(|auth| *auth != TokenAuth::PrivateKeyJwt) {
            table.refuse_field("federation", "needs token_endpoint_auth_method = \"private_key_jwt\"");
        }
        let (issuer, client_id, auth) = (issuer?, client_id?, auth?);
        Some(Self { issuer, client_id, auth, scopes, endpoints_at, userinfo, fapi, federation, backchannel_logout })
    }

    /// The issuer as text, without the slash that a URL parser adds to a bare host.
    #[must_use]
    pub fn issuer_text(&self) -> String {
        let text = self.issuer.as_str();
        if self.issuer.path() == "/" { text.trim_end_matches('/').to_owned() } else { text.to_owned() }
    }

    /// The addresses it may be spoken to at.
    #[must_use]
    pub fn hosts(&self) -> Vec<Url> {
        std::iter::once(&self.issuer).chain(&self.endpoints_at).cloned().collect()
    }
}

impl TokenAuth {
    /// Reads the method, and the file of its secret.
    pub(crate) fn read(table: &Section<'_>) -> Option<Self> {
        match table.require::<String>("token_endpoint_auth_method")?.as_str() {
            "none" => Some(Self::None),
            "client_secret_basic" => table.require("client_secret_file").map(Self::SecretBasic),
            "client_secret_post" => table.require("client_secret_file").map(Self::SecretPost),
            "private_key_jwt" => Some(Self::PrivateKeyJwt),
            _ => {
                table.refuse_field(
                    "token_endpoint_auth_method",
                    "must be private_key_jwt, client_secret_basic, client_secret_post or none",
                );
                None
            }
        }
    }

    /// The file that holds the secret.
    pub(crate) fn secret_file(&self) -> Option<&str> {
        match self {
            Self::SecretBasic(file) | Self::SecretPost(file) => Some(file),
            Self::None | Self::PrivateKeyJwt => None,
        }
    }
}
