//! A registered client: one portal.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::circumstances::{Place, Registered, words};
pub use crate::credential::{ClientAuth, KeySource, SecretDigest};
use crate::credential::{read_auth, read_keys};
use crate::document::{Problems, Section, Source};
use crate::ids::{ClientId, Sector, ServiceId};
use crate::jurisdiction::Jurisdiction;
use crate::locale::Texts;
use crate::profile::Profile;
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
    /// The list of its redirect URIs at the address that its sector is named after (OpenID Connect Core section 8.1).
    pub sector_identifier_uri: Option<Url>,
    /// Exactly where answers may go.
    pub redirect_uris: Vec<RedirectUri>,
    /// The rules that it follows and is held to.
    pub profile: Profile,
    /// How it authenticates.
    pub auth: ClientAuth,
    /// Where its public keys are, if it has any.
    pub keys: Option<KeySource>,
    /// The algorithms of what it is sent signed.
    pub signed: SignedResponses,
    /// What it is sent encrypted to one of its keys as well.
    pub encrypted: EncryptedResponses,
    /// Whether its tokens are always bound to a key of its own (RFC 9449 section 5.2).
    pub dpop_bound: bool,
    /// Whether its tokens are always bound to its certificate (RFC 8705 section 3.4).
    pub certificate_bound: bool,
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
    /// Exactly where a browser may go after signing out.
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// Where it is told that somebody signed out (OpenID Connect Back-Channel Logout section 2.2).
    pub backchannel_logout_uri: Option<Url>,
    /// A page of its own that ends its session in this browser (OpenID Connect Front-Channel Logout section 2).
    pub frontchannel_logout_uri: Option<Url>,
    /// Whether its pages ask a frame of ours if the session changed (OpenID Connect Session Management).
    pub session_management: bool,
    /// How long a refresh token of this client may be used in all; `None` where it gets none.
    pub refresh_lifetime: Option<Duration>,
}

/// The algorithm of each answer that is signed for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedResponses {
    /// ID tokens.
    pub id_token: SigningAlg,
    /// Answers of the userinfo endpoint, where the client wants them signed.
    pub userinfo: Option<SigningAlg>,
    /// Answers at the authorization endpoint, where the client wants them signed (JARM).
    pub authorization: SigningAlg,
    /// Answers to introspection, where the client wants them signed (RFC 9701).
    pub introspection: SigningAlg,
}

impl SignedResponses {
    /// All of them.
    pub fn algorithms(&self) -> impl Iterator<Item = SigningAlg> {
        [self.id_token, self.authorization, self.introspection].into_iter().chain(self.userinfo)
    }
}

words!(
    /// Whether clients know a person by different names (OpenID Connect Core section 8).
    SubjectType, "subject type" {
        /// Each sector by its own.
        Pairwise = "pairwise",
        /// All by the same, inside one jurisdiction.
        Public = "public",
    }
);

words!(
    /// How the key of an encrypted answer travels (RFC 7518 section 4.1).
    KeyManagementAlg, "key management algorithm" {
        /// Agreed on P-256.
        EcdhEs = "ECDH-ES",
        /// Under an RSA key.
        RsaOaep256 = "RSA-OAEP-256",
    }
);

words!(
    /// How an encrypted answer's content is encrypted (RFC 7518 section 5.1).
    ContentAlg, "content encryption" {
        /// AES-128 in CBC mode with HMAC, what the registration means when it says nothing.
        A128CbcHs256 = "A128CBC-HS256",
        /// AES-128 in GCM.
        A128Gcm = "A128GCM",
        /// AES-256 in GCM.
        A256Gcm = "A256GCM",
    }
);

/// How one kind of answer is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encryption {
    /// How the key travels.
    pub alg: KeyManagementAlg,
    /// How the content is encrypted.
    pub enc: ContentAlg,
}

/// The answers that are encrypted for a client; each is signed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncryptedResponses {
    /// ID tokens.
    pub id_token: Option<Encryption>,
    /// Answers of the userinfo endpoint.
    pub userinfo: Option<Encryption>,
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

    /// `requested` as a redirect target, when it is exactly a registered URI; of a public client, which may be a native app, also
    /// when it is a registered loopback address at some port.
    #[must_use]
    pub fn check_redirect(&self, requested: &str) -> Option<CheckedRedirect> {
        self.find_redirect(&self.redirect_uris, requested)
    }

    /// `requested` as [`Client::check_redirect`] finds it, in another list of this client's redirect URIs.
    #[must_use]
    pub fn find_redirect(&self, listed: &[RedirectUri], requested: &str) -> Option<CheckedRedirect> {
        let exact = CheckedRedirect::find(listed, requested);
        exact.or_else(|| CheckedRedirect::find_native(listed, requested).filter(|_| self.is_public()))
    }

    /// `requested` as an address after signing out, when it is exactly a registered one.
    #[must_use]
    pub fn check_post_logout(&self, requested: &str) -> Option<CheckedRedirect> {
        CheckedRedirect::find(&self.post_logout_redirect_uris, requested)
    }

    /// A public client cannot keep a secret.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.auth == ClientAuth::None
    }
}

fn read_client(doc: &Section<'_>) -> Option<Client> {
    let (id, name, operator) = (doc.require("client_id"), doc.texts("name"), doc.texts("operator"));
    let jurisdiction = doc.require("jurisdiction");
    let sector_identifier_uri = read_https(doc, "sector_identifier_uri");
    let sector = read_sector(doc, jurisdiction, sector_identifier_uri.as_ref());
    let redirect_uris: Vec<RedirectUri> = doc.list("redirect_uris");
    if redirect_uris.is_empty() {
        doc.refuse_field("redirect_uris", "at least one is needed");
    }
    let (auth, keys) = (read_auth(doc), read_keys(doc));
    let profile = doc.optional("profile").unwrap_or(Profile::Baseline);
    let signed = read_signed(doc);
    let encrypted = EncryptedResponses {
        id_token: read_encryption(doc, "id_token_encrypted_response_alg", "id_token_encrypted_response_enc"),
        userinfo: read_encryption(doc, "userinfo_encrypted_response_alg", "userinfo_encrypted_response_enc"),
    };
    if encrypted.userinfo.is_some() && signed.userinfo.is_none() {
        doc.refuse_field(
            "userinfo_encrypted_response_alg",
            "needs userinfo_signed_response_alg: what is encrypted is signed",
        );
    }
    if (encrypted.id_token.is_some() || encrypted.userinfo.is_some()) && keys.is_none() {
        doc.refuse("what is encrypted is encrypted to a key: one of jwks and jwks_uri is needed");
    }
    check_profile(doc, profile, auth.as_ref(), keys.as_ref(), signed);
    let default_service = doc.optional("default_service");
    let (initiate_login_uri, backchannel_logout_uri) =
        (read_https(doc, "initiate_login_uri"), read_https(doc, "backchannel_logout_uri"));
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
        sector_identifier_uri,
        redirect_uris,
        profile,
        auth: auth?,
        keys,
        signed,
        encrypted,
        dpop_bound: doc.flag("dpop_bound_access_tokens", false),
        certificate_bound: doc.flag("tls_client_certificate_bound_access_tokens", false),
        session_management: doc.flag("session_management", false),
        default_service,
        initiate_login_uri,
        backchannel_logout_uri,
        frontchannel_logout_uri: read_https(doc, "frontchannel_logout_uri"),
        post_logout_redirect_uris: doc.list("post_logout_redirect_uris"),
    })
}

/// Whom a client shares its `sub` with (OpenID Connect Core section 8): a group that its document names, the host of the
/// address that lists its redirect URIs, or every client with public subjects.
fn read_sector(doc: &Section<'_>, jurisdiction: Option<Jurisdiction>, listed: Option<&Url>) -> Option<Sector> {
    let named: Option<Sector> = doc.optional("sector");
    if named.as_ref().is_some_and(Sector::is_reserved) {
        doc.refuse_field("sector", "this beginning belongs to the gateway");
    }
    match (named, listed, doc.optional("subject_type")) {
        (Some(named), None, None | Some(SubjectType::Pairwise)) => Some(named),
        (None, Some(uri), None | Some(SubjectType::Pairwise)) => {
            let host = uri.host_str().and_then(Sector::listed);
            if host.is_none() {
                doc.refuse_field("sector_identifier_uri", "its host cannot name a sector");
            }
            host
        }
        (None, None, Some(SubjectType::Public)) => Some(Sector::public(jurisdiction?)),
        (None, None, _) => doc.require("sector"),
        _ => {
            doc.refuse("only one of sector, sector_identifier_uri and subject_type = \"public\" says who shares a sub");
            None
        }
    }
}

fn read_https(doc: &Section<'_>, name: &'static str) -> Option<Url> {
    let uri = doc.optional::<Url>(name)?;
    if uri.scheme() != "https" || uri.fragment().is_some() {
        doc.refuse_field(name, "must use https and have no fragment");
    }
    Some(uri)
}

fn read_signed(doc: &Section<'_>) -> SignedResponses {
    let alg = |name| doc.optional(name).unwrap_or(SigningAlg::ES256);
    SignedResponses {
        id_token: alg("id_token_signed_response_alg"),
        userinfo: doc.optional("userinfo_signed_response_alg"),
        authorization: alg("authorization_signed_response_alg"),
        introspection: alg("introspection_signed_response_alg"),
    }
}

fn read_encryption(doc: &Section<'_>, alg: &'static str, enc: &'static str) -> Option<Encryption> {
    let content = doc.optional(enc);
    let Some(alg) = doc.optional(alg) else {
        if content.is_some() {
            doc.refuse_field(enc, "stands alone: the alg is missing");
        }
        return None;
    };
    Some(Encryption { alg, enc: content.unwrap_or(ContentAlg::A128CbcHs256) })
}

/// What a profile asks of a registration.
fn check_profile(
    doc: &Section<'_>,
    profile: Profile,
    auth: Option<&ClientAuth>,
    keys: Option<&KeySource>,
    signed: SignedResponses,
) {
    if auth == Some(&ClientAuth::None) && !profile.requires_pkce() {
        doc.refuse_field("profile", "a public client cannot do without PKCE: baseline is the least");
    }
    if matches!(auth, Some(ClientAuth::PrivateKeyJwt | ClientAuth::TlsSelfSigned)) && keys.is_none() {
        doc.refuse("this way to authenticate needs one of jwks and jwks_uri");
    }
    if !profile.is_fapi() {
        return;
    }
    // FAPI 2.0 Security Profile sections 5.3.2.1 and 5.4.1.
    if auth.is_some_and(|auth| !auth.is_by_key()) {
        doc.refuse_field(
            "token_endpoint_auth_method",
            "a FAPI client authenticates with private_key_jwt, or with a certificate",
        );
    }
    if signed.algorithms().any(|alg| alg == SigningAlg::RS256) {
        doc.refuse_field("profile", "a FAPI client is sent nothing that is signed with RS256");
    }
    if profile.requires_signed_messages() && keys.is_none() {
        doc.refuse("signed requests need one of jwks and jwks_uri");
    }
}

fn read_filing(filing: &Section<'_>) -> Option<Filing> {
    let (instrument, number) = (filing.require("instrument"), filing.require("number"));
    let valid_until = filing.require("valid_until");
    Some(Filing { instrument: instrument?, number: number?, valid_until: valid_until? })
}

#[cfg(test)]
#[path = "client_tests.rs"]
pub(crate) mod tests;
