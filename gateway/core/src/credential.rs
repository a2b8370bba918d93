//! How a client proves who it is, and where its keys are.

use std::str::FromStr;

use subtle::ConstantTimeEq as _;
use url::Url;

use crate::digest::sha256;
use crate::document::Section;
use crate::ids::base64url;

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
    /// A certificate of an authority that the gateway trusts, with this name in it (RFC 8705 section 2.1).
    TlsCertified(CertificateName),
    /// A certificate whose key is one of the client's (RFC 8705 section 2.2).
    TlsSelfSigned,
    /// An assertion that is signed with one of the client's keys (RFC 7523).
    PrivateKeyJwt,
}

impl ClientAuth {
    /// Whether the client proves that it holds a key, instead of telling a secret.
    #[must_use]
    pub fn is_by_key(&self) -> bool {
        matches!(self, Self::PrivateKeyJwt | Self::TlsCertified(_) | Self::TlsSelfSigned)
    }

    /// The registered name of the method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SecretBasic(_) => "client_secret_basic",
            Self::SecretPost(_) => "client_secret_post",
            Self::TlsCertified(_) => "tls_client_auth",
            Self::TlsSelfSigned => "self_signed_tls_client_auth",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }
}

/// What a client's certificate has to name (RFC 8705 section 2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateName {
    /// Its subject, as RFC 4514 writes it.
    Subject(String),
    /// A host.
    Dns(String),
    /// A URI.
    Uri(String),
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

/// How the client authenticates.
pub(crate) fn read_auth(doc: &Section<'_>) -> Option<ClientAuth> {
    let method: String = doc.require("token_endpoint_auth_method")?;
    match method.as_str() {
        "none" => Some(ClientAuth::None),
        "client_secret_basic" => doc.require("client_secret_sha256").map(ClientAuth::SecretBasic),
        "client_secret_post" => doc.require("client_secret_sha256").map(ClientAuth::SecretPost),
        "private_key_jwt" => Some(ClientAuth::PrivateKeyJwt),
        "tls_client_auth" => read_certificate_name(doc).map(ClientAuth::TlsCertified),
        "self_signed_tls_client_auth" => Some(ClientAuth::TlsSelfSigned),
        _ => {
            doc.refuse_field(
                "token_endpoint_auth_method",
                "must be private_key_jwt, tls_client_auth, self_signed_tls_client_auth, client_secret_basic, \
                 client_secret_post or none",
            );
            None
        }
    }
}

fn read_certificate_name(doc: &Section<'_>) -> Option<CertificateName> {
    let text = |name| doc.optional::<String>(name);
    let subject = text("tls_client_auth_subject_dn").map(CertificateName::Subject);
    let (dns, uri) = (text("tls_client_auth_san_dns"), text("tls_client_auth_san_uri"));
    let names = [subject, dns.map(CertificateName::Dns), uri.map(CertificateName::Uri)];
    let mut named = names.into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(name), None) => Some(name),
        _ => {
            doc.refuse(
                "tls_client_auth needs exactly one of tls_client_auth_subject_dn, tls_client_auth_san_dns and \
                 tls_client_auth_san_uri (RFC 8705 section 2.1.2)",
            );
            None
        }
    }
}

/// Where the client's keys are, if it has any.
pub(crate) fn read_keys(doc: &Section<'_>) -> Option<KeySource> {
    let (inline, uri): (Option<String>, Option<Url>) = (doc.optional("jwks"), doc.optional("jwks_uri"));
    match (inline, uri) {
        (Some(keys), None) => Some(KeySource::Inline(keys)),
        (None, Some(uri)) if uri.scheme() == "https" => Some(KeySource::Uri(uri)),
        (None, Some(_)) => {
            doc.refuse_field("jwks_uri", "must use https");
            None
        }
        (Some(_), Some(_)) => {
            doc.refuse_field("jwks_uri", "stands beside jwks: one of the two");
            None
        }
        (None, None) => None,
    }
}
