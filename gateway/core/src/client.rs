//! A registered client: one portal.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use url::Url;

use crate::circumstances::{Place, Registered};
use crate::digest::sha256;
use crate::document::{Problems, Section, Source};
use crate::ids::{ClientId, Sector, ServiceId, base64url};
use crate::jurisdiction::Jurisdiction;
use crate::locale::Texts;
use crate::redirect::{CheckedRedirect, RedirectUri};
use crate::time::Date;

/// A signing algorithm a client may ask for (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SigningAlg {
    /// ECDSA on P-256 with SHA-256, the default.
    ES256,
    /// Ed25519.
    EdDSA,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for old clients only.
    RS256,
}

impl SigningAlg {
    /// All of them, the cheapest to sign with first.
    pub const ALL: [Self; 4] = [Self::ES256, Self::EdDSA, Self::PS256, Self::RS256];

    /// The registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
            Self::PS256 => "PS256",
            Self::RS256 => "RS256",
        }
    }
}

impl FromStr for SigningAlg {
    type Err = &'static str;
    fn from_str(name: &str) -> Result<Self, &'static str> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == name).ok_or("algorithm must be ES256, EdDSA, PS256 or RS256")
    }
}

/// Where a client's public keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A JWK Set written in the document.
    Inline(String),
    /// A JWK Set at an `https` address, fetched through the egress port.
    Uri(Url),
}

/// How a client authenticates at the token endpoint (OpenID Connect Core section 9). An enum, so exactly one holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// A public client: PKCE only.
    None,
    /// The secret in the `Authorization` header.
    SecretBasic(SecretDigest),
    /// The secret in the form.
    SecretPost(SecretDigest),
    /// A signed assertion (RFC 7523).
    PrivateKeyJwt(KeySource),
}

impl ClientAuth {
    /// The registered name of the method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SecretBasic(_) => "client_secret_basic",
            Self::SecretPost(_) => "client_secret_post",
            Self::PrivateKeyJwt(_) => "private_key_jwt",
        }
    }
}

/// The SHA-256 of a generated client secret, base64url. The secret itself is known to the client alone; it is made by
/// `gateway client-secret` from 32 random bytes, so a fast hash cannot be searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretDigest(String);

impl SecretDigest {
    /// The digest of a secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(base64url(&sha256(secret.as_bytes())))
    }

    /// The digest as documents write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when `secret` is the one; constant time.
    #[must_use]
    pub fn matches(&self, secret: &str) -> bool {
        Self::of(secret).0.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

impl FromStr for SecretDigest {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let shaped = text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if shaped {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected 43 base64url characters; make one with `gateway client-secret`")
        }
    }
}

/// A portal that may send people here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its OAuth identifier.
    pub id: ClientId,
    /// What people call it.
    pub name: Texts,
    /// The legal person that receives the data.
    pub operator: Texts,
    /// Where that legal person stands.
    pub jurisdiction: Jurisdiction,
    /// The clients that share this client's `sub`.
    pub sector: Sector,
    /// Exactly where answers may go.
    pub redirect_uris: Vec<RedirectUri>,
    /// How it authenticates.
    pub auth: ClientAuth,
    /// The algorithm of its ID tokens.
    pub id_token_alg: SigningAlg,
    /// PKCE is required unless this one client is exempted; never exempt for a public client.
    pub require_pkce: bool,
    /// The service meant when a request names none.
    pub default_service: Option<ServiceId>,
    /// Where it begins a sign-in when somebody else asks it to (OpenID Connect Core section 4).
    pub initiate_login_uri: Option<Url>,
    /// The class of the place where people use it.
    pub place: Place,
    /// Whether staff help people through their sign-in there.
    pub staff_assisted: bool,
    /// Where its operator is registered; needed to receive data across a border.
    pub registered_in: Option<Registered>,
    /// The legal instruments under which its operator may receive data across a border.
    pub filings: Vec<Filing>,
    /// How long a refresh token of this client may be used in all; `None` where it gets none.
    pub refresh_lifetime: Option<Duration>,
}

/// A legal instrument that was filed, or recorded, for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filing {
    /// Which instrument: the id of its document.
    pub instrument: String,
    /// The number under which it was filed.
    pub number: String,
    /// The last day on which it holds.
    pub valid_until: Date,
}

impl Client {
    /// Reads a client document; see `policies/documents/clients` for examples.
    ///
    /// # Errors
    /// Every problem in the document, with its line.
    pub fn from_document(file: &str, text: &str) -> Result<Self, Problems> {
        Source::new(file, text).read(read_client)
    }

    /// `requested` as a redirect target, when it is exactly a registered URI.
    #[must_use]
    pub fn check_redirect(&self, requested: &str) -> Option<CheckedRedirect> {
        CheckedRedirect::find(&self.redirect_uris, requested)
    }

    /// A public client cannot keep a secret.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.auth == ClientAuth::None
    }
}

fn read_client(doc: &Section<'_>) -> Option<Client> {
    let (id, name, operator) = (doc.require("client_id"), doc.texts("name"), doc.texts("operator"));
    let (jurisdiction, sector) = (doc.require("jurisdiction"), doc.require("sector"));
    let redirect_uris: Vec<RedirectUri> = doc.list("redirect_uris");
    if redirect_uris.is_empty() {
        doc.refuse_field("redirect_uris", "at least one is needed");
    }
    let auth = read_auth(doc);
    let require_pkce = doc.flag("require_pkce", true);
    if auth == Some(ClientAuth::None) && !require_pkce {
        doc.refuse_field("require_pkce", "a public client cannot be exempted from PKCE");
    }
    let id_token_alg = doc.optional("id_token_signed_response_alg").unwrap_or(SigningAlg::ES256);
    let default_service = doc.optional("default_service");
    let initiate_login_uri = doc.optional::<Url>("initiate_login_uri");
    if initiate_login_uri.as_ref().is_some_and(|uri| uri.scheme() != "https") {
        doc.refuse_field("initiate_login_uri", "must use https");
    }
    if sector.as_ref().is_some_and(|sector: &Sector| sector.as_str().starts_with(Sector::ANONYMOUS)) {
        doc.refuse_field("sector", "this beginning belongs to anonymous services");
    }
    let filings = doc.sections("filing").iter().filter_map(read_filing).collect();
    let refresh_lifetime = doc.duration("refresh_lifetime");
    if refresh_lifetime.is_some_and(|span| span > Duration::from_secs(24 * 3_600)) {
        doc.refuse_field("refresh_lifetime", "must be at most 24h: personal data waits, sealed, as long");
    }
    Some(Client {
        place: doc.optional("place").unwrap_or(Place::Browser),
        staff_assisted: doc.flag("staff_assisted", false),
        registered_in: doc.optional("registered_in"),
        filings,
        refresh_lifetime,
        id: id?,
        name: name?,
        operator: operator?,
        jurisdiction: jurisdiction?,
        sector: sector?,
        redirect_uris,
        auth: auth?,
        id_token_alg,
        require_pkce,
        default_service,
        initiate_login_uri,
    })
}

fn read_filing(filing: &Section<'_>) -> Option<Filing> {
    let (instrument, number) = (filing.require("instrument"), filing.require("number"));
    let valid_until = filing.require("valid_until");
    Some(Filing { instrument: instrument?, number: number?, valid_until: valid_until? })
}

fn read_auth(doc: &Section<'_>) -> Option<ClientAuth> {
    let method: String = doc.require("token_endpoint_auth_method")?;
    match method.as_str() {
        "none" => Some(ClientAuth::None),
        "client_secret_basic" => doc.require("client_secret_sha256").map(ClientAuth::SecretBasic),
        "client_secret_post" => doc.require("client_secret_sha256").map(ClientAuth::SecretPost),
        "private_key_jwt" => read_keys(doc).map(ClientAuth::PrivateKeyJwt),
        _ => {
            doc.refuse_field(
                "token_endpoint_auth_method",
                "must be private_key_jwt, client_secret_basic, client_secret_post or none",
            );
            None
        }
    }
}

fn read_keys(doc: &Section<'_>) -> Option<KeySource> {
    let (inline, uri): (Option<String>, Option<Url>) = (doc.optional("jwks"), doc.optional("jwks_uri"));
    match (inline, uri) {
        (Some(keys), None) => Some(KeySource::Inline(keys)),
        (None, Some(uri)) if uri.scheme() == "https" => Some(KeySource::Uri(uri)),
        (None, Some(_)) => {
            doc.refuse_field("jwks_uri", "must use https");
            None
        }
        _ => {
            doc.refuse("private_key_jwt needs exactly one of jwks and jwks_uri");
            None
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A document that holds no problem.
    pub(crate) const SOUND: &str = r#"
client_id = "portal-a"
jurisdiction = "CN-GD"
sector = "gd-government"
redirect_uris = ["https://portal.example/cb"]
token_endpoint_auth_method = "client_secret_basic"
client_secret_sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
default_service = "sample"
[name]
zh-Hans = "样例门户"
zh-Hant-HK = "樣例門戶"
pt = "Portal de exemplo"
en = "Sample portal"
[operator]
zh-Hans = "样例机关"
zh-Hant-HK = "樣例機關"
pt = "Entidade de exemplo"
en = "Sample authority"
"#;

    #[test]
    fn a_sound_document_is_read() {
        let client = Client::from_document("a.toml", SOUND).unwrap();
        assert_eq!(client.id.as_str(), "portal-a");
        assert!(client.require_pkce);
        assert!(client.check_redirect("https://portal.example/cb").is_some());
        assert!(client.check_redirect("https://portal.example/cb/").is_none());
    }

    #[test]
    fn a_public_client_cannot_be_exempted_from_pkce() {
        let text =
            SOUND.replace("client_secret_basic", "none").replace("client_secret_sha256 =", "require_pkce = false\n#");
        let problems = Client::from_document("a.toml", &text).unwrap_err();
        assert!(problems.iter().any(|p| p.reason.contains("cannot be exempted")), "{problems:?}");
    }

    #[test]
    fn all_problems_of_a_client_are_reported() {
        let text = SOUND.replace("CN-GD", "XX").replace("https://portal.example/cb", "http://portal.example/cb");
        assert_eq!(Client::from_document("a.toml", &text).unwrap_err().len(), 3);
    }
}
