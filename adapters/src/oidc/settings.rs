//! The `[oidc]` table of a provider document.

use gateway_core::document::Section;
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
}

impl Settings {
    /// Reads the table.
    #[must_use]
    pub fn read(table: &Section<'_>) -> Option<Self> {
        let (issuer, client_id) = (table.require::<Url>("issuer"), table.require("client_id"));
        if issuer
            .as_ref()
            .is_some_and(|url| url.scheme() != "https" || url.query().is_some() || url.fragment().is_some())
        {
            table.refuse_field("issuer", "must use https and have no query or fragment");
        }
        let auth = read_auth(table);
        let mut scopes: Vec<String> = table.list("scopes");
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".to_owned());
        }
        let (endpoints_at, userinfo) = (table.list("endpoints_at"), table.flag("userinfo", true));
        Some(Self { issuer: issuer?, client_id: client_id?, auth: auth?, scopes, endpoints_at, userinfo })
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

    /// The file that holds the client secret.
    #[must_use]
    pub fn secret_file(&self) -> Option<&str> {
        match &self.auth {
            TokenAuth::SecretBasic(file) | TokenAuth::SecretPost(file) => Some(file),
            TokenAuth::None | TokenAuth::PrivateKeyJwt => None,
        }
    }
}

fn read_auth(table: &Section<'_>) -> Option<TokenAuth> {
    match table.require::<String>("token_endpoint_auth_method")?.as_str() {
        "none" => Some(TokenAuth::None),
        "client_secret_basic" => table.require("client_secret_file").map(TokenAuth::SecretBasic),
        "client_secret_post" => table.require("client_secret_file").map(TokenAuth::SecretPost),
        "private_key_jwt" => Some(TokenAuth::PrivateKeyJwt),
        _ => {
            table.refuse_field(
                "token_endpoint_auth_method",
                "must be private_key_jwt, client_secret_basic, client_secret_post or none",
            );
            None
        }
    }
}
