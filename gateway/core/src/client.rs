//! A registered client: one portal.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::assurance::Assurance;
use crate::circumstances::{Place, Registered, words};
pub use crate::credential::{ClientAuth, KeySource, SecretDigest};
use crate::credential::{read_auth, read_keys};
use crate::document::{Problems, Section, Source};
use crate::ids::{ClientId, Sector, ServiceId};
use crate::jurisdiction::Jurisdiction;
use crate::locale::Readable;
use crate::locale::Texts;
use crate::profile::Profile;
use crate::redirect::{CheckedRedirect, RedirectUri};
use crate::registration::{Registration, read_registration};
pub use crate::responses::{ContentAlg, EncryptedResponses, Encryption, KeyManagementAlg, SignedResponses, SigningAlg};
use crate::responses::{read_encrypted, read_signed};
use crate::time::Date;

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
    /// The one algorithm of its assertions, where it registered one.
    pub auth_alg: Option<SigningAlg>,
    /// Where its public keys are, if it has any.
    pub keys: Option<KeySource>,
    /// How its requests come in.
    pub requests: Requests,
    /// How it asks people who are somewhere else.
    pub ciba: Ciba,
    /// What people can read about it.
    pub pages: Pages,
    /// How portals register themselves under this document; they, and not this one, are clients then.
    pub registration: Option<Registration>,
    /// The ways in which it gets tokens.
    pub grant_types: Vec<GrantType>,
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
    /// Whether it is told yes or no and nothing else of anybody, whatever services release.
    pub verification_only: bool,
    /// How people reach the recipient: a telephone number, an address. Data crosses a border to nobody without one (Personal
    /// Information Protection Law, article 39).
    pub contact: Option<String>,
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

/// What a client registered about its authorization requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requests {
    /// They are pushed, whatever its profile says (RFC 9126 section 6).
    pub pushed: bool,
    /// They are signed, whatever its profile says (RFC 9101 section 10.5).
    pub signed: bool,
    /// The one algorithm of its request objects.
    pub alg: Option<SigningAlg>,
    /// Where request objects lie that it names by their address (OpenID Connect Core section 6.2).
    pub uris: Vec<Url>,
    /// The oldest login it accepts where a request does not say, in seconds.
    pub default_max_age: Option<u64>,
    /// The assurance it asks for where a request does not.
    pub default_acr_values: Vec<Assurance>,
}

/// What a client registered about requests to people who are somewhere else (CIBA section 4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ciba {
    /// Where it is told that an answer waits (ping mode); nothing, where it only looks (poll mode).
    pub notify: Option<Url>,
    /// The one algorithm of its signed requests.
    pub alg: Option<SigningAlg>,
    /// Whether it has to give the code that the person shows, even where it knows them by a name.
    pub user_code: bool,
}

/// What people can read about a client (RFC 7591 section 2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pages {
    /// Its picture.
    pub logo: Option<Url>,
    /// Its home page.
    pub home: Option<Url>,
    /// What it does with data.
    pub policy: Option<Url>,
    /// Its terms.
    pub terms: Option<Url>,
}

words!(
    /// A way to get tokens (RFC 7591 section 2).
    GrantType, "grant type" {
        /// RFC 6749 section 4.1.
        AuthorizationCode = "authorization_code",
        /// RFC 6749 section 6.
        RefreshToken = "refresh_token",
        /// RFC 6749 section 4.4.
        ClientCredentials = "client_credentials",
        /// RFC 8628.
        DeviceCode = "urn:ietf:params:oauth:grant-type:device_code",
        /// OpenID Connect Client-Initiated Backchannel Authentication section 4.
        Ciba = "urn:openid:params:grant-type:ciba",
        /// RFC 8693.
        TokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange",
    }
);

words!(
    /// Whether clients know a person by different names (OpenID Connect Core section 8).
    SubjectType, "subject type" {
        /// Each sector by its own.
        Pairwise = "pairwise",
        /// All by the same, inside one jurisdiction.
        Public = "public",
    }
);

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

    /// Every address that it registered, with the name of the field, in no order.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let keys = match &self.keys {
            Some(KeySource::Uri(uri)) => Some(uri),
            _ => None,
        };
        let one = [
            ("jwks_uri", keys),
            ("sector_identifier_uri", self.sector_identifier_uri.as_ref()),
            ("initiate_login_uri", self.initiate_login_uri.as_ref()),
            ("backchannel_logout_uri", self.backchannel_logout_uri.as_ref()),
            ("backchannel_client_notification_endpoint", self.ciba.notify.as_ref()),
            ("frontchannel_logout_uri", self.frontchannel_logout_uri.as_ref()),
            ("logo_uri", self.pages.logo.as_ref()),
            ("client_uri", self.pages.home.as_ref()),
            ("policy_uri", self.pages.policy.as_ref()),
            ("tos_uri", self.pages.terms.as_ref()),
        ];
        let one = one.into_iter().filter_map(|(name, uri)| Some((name, uri?.as_str())));
        let redirects = self.redirect_uris.iter().map(|uri| ("redirect_uris", uri.as_str()));
        let after = self.post_logout_redirect_uris.iter().map(|uri| ("post_logout_redirect_uris", uri.as_str()));
        let requests = self.requests.uris.iter().map(|uri| ("request_uris", uri.as_str()));
        redirects.chain(after).chain(requests).chain(one)
    }

    /// A public client cannot keep a secret.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.auth == ClientAuth::None
    }
}

fn read_client(doc: &Section<'_>) -> Option<Client> {
    let (name, operator) = (doc.texts("name"), doc.texts("operator"));
    let jurisdiction = doc.require("jurisdiction");
    let sector_identifier_uri = read_https(doc, "sector_identifier_uri");
    let sector = read_sector(doc, jurisdiction, sector_identifier_uri.as_ref());
    let profile = doc.optional("profile").unwrap_or(Profile::Baseline);
    let registration = doc.section("registration").and_then(|section| read_registration(&section));
    let (redirect_uris, grant_types) = read_redirects(doc);
    // Where portals register themselves, each says for itself how it authenticates.
    let auth = if doc.has("registration") { Some(ClientAuth::None) } else { read_auth(doc) };
    let (keys, signed) = (read_keys(doc), read_signed(doc));
    let encrypted = read_encrypted(doc, signed, keys.as_ref());
    if !doc.has("registration") {
        check_profile(doc, profile, auth.as_ref(), keys.as_ref(), signed);
    }
    let requests = read_requests(doc, profile, keys.as_ref());
    let id: Option<ClientId> = doc.require("client_id");
    if doc.has("registration") && id.as_ref().is_some_and(|id| id.as_str().len() > 100) {
        doc.refuse_field("client_id", "leaves no room for the names of those who register: 100 characters at most");
    }
    let default_service = doc.optional("default_service");
    let (initiate_login_uri, backchannel_logout_uri) =
        (read_https(doc, "initiate_login_uri"), read_https(doc, "backchannel_logout_uri"));
    let (filings, contact) = read_filings(doc);
    let refresh_lifetime = read_refresh(doc, &grant_types);
    Some(Client {
        place: doc.optional("place").unwrap_or(Place::Browser),
        staff_assisted: doc.flag("staff_assisted", false),
        verification_only: doc.flag("verification_only", false),
        contact,
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
        auth_alg: doc.optional("token_endpoint_auth_signing_alg"),
        keys,
        requests,
        ciba: read_ciba(doc),
        grant_types,
        pages: read_pages(doc),
        registration,
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

fn read_refresh(doc: &Section<'_>, grant_types: &[GrantType]) -> Option<Duration> {
    let refresh_lifetime = doc.duration("refresh_lifetime");
    if refresh_lifetime.is_some() && !grant_types.contains(&GrantType::RefreshToken) {
        doc.refuse_field("refresh_lifetime", "grant_types does not hold refresh_token");
    }
    if refresh_lifetime.is_some_and(|span| span > Duration::from_secs(24 * 3_600)) {
        doc.refuse_field("refresh_lifetime", "must be at most 24h: personal data waits, sealed, as long");
    }
    refresh_lifetime
}

/// Where codes go, of whoever gets codes by browser.
fn read_redirects(doc: &Section<'_>) -> (Vec<RedirectUri>, Vec<GrantType>) {
    let (redirect_uris, grant_types): (Vec<RedirectUri>, _) = (doc.list("redirect_uris"), read_grant_types(doc));
    let by_browser = grant_types.contains(&GrantType::AuthorizationCode) && !doc.has("registration");
    if redirect_uris.is_empty() == by_browser {
        let why = "belongs to whoever gets codes by browser, and not to a document under which portals register";
        doc.refuse_field("redirect_uris", why);
    }
    (redirect_uris, grant_types)
}

/// Codes by browser, and refresh tokens where they have a lifetime, unless the document says what it is.
fn read_grant_types(doc: &Section<'_>) -> Vec<GrantType> {
    if !doc.has("grant_types") {
        return vec![GrantType::AuthorizationCode, GrantType::RefreshToken];
    }
    let grant_types: Vec<GrantType> = doc.list("grant_types");
    if doc.is_empty_list("grant_types") {
        doc.refuse_field("grant_types", "at least one is needed");
    }
    grant_types
}

fn read_ciba(doc: &Section<'_>) -> Ciba {
    let mode = doc.optional::<String>("backchannel_token_delivery_mode");
    let notify = read_https(doc, "backchannel_client_notification_endpoint");
    match (mode.as_deref(), &notify) {
        (None | Some("poll"), None) | (Some("ping"), Some(_)) => {}
        _ => doc.refuse_field(
            "backchannel_token_delivery_mode",
            "must be poll, or ping with a backchannel_client_notification_endpoint",
        ),
    }
    Ciba {
        notify,
        alg: doc.optional("backchannel_authentication_request_signing_alg"),
        user_code: doc.flag("backchannel_user_code_parameter", false),
    }
}

fn read_requests(doc: &Section<'_>, profile: Profile, keys: Option<&KeySource>) -> Requests {
    let uris: Vec<Url> = doc.list("request_uris");
    if uris.iter().any(|uri| uri.scheme() != "https") {
        doc.refuse_field("request_uris", "must use https");
    }
    if !uris.is_empty() && profile.requires_pushed() {
        doc.refuse_field("request_uris", "a FAPI client pushes its requests");
    }
    let signed = doc.flag("require_signed_request_object", false);
    if (signed || !uris.is_empty()) && keys.is_none() && !doc.has("registration") {
        doc.refuse("signed requests need one of jwks and jwks_uri");
    }
    let acr_values: Vec<String> = doc.list("default_acr_values");
    let known: Vec<Assurance> = acr_values.iter().filter_map(|acr| Assurance::from_acr(acr)).collect();
    if known.len() < acr_values.len() {
        doc.refuse_field("default_acr_values", "holds one that is not ours");
    }
    Requests {
        pushed: doc.flag("require_pushed_authorization_requests", false),
        signed,
        alg: doc.optional("request_object_signing_alg"),
        uris,
        default_max_age: doc.number("default_max_age", 0..=999_999_999),
        default_acr_values: known,
    }
}

fn read_https(doc: &Section<'_>, name: &'static str) -> Option<Url> {
    let uri = doc.optional::<Url>(name)?;
    if uri.scheme() != "https" || uri.fragment().is_some() {
        doc.refuse_field(name, "must use https and have no fragment");
    }
    Some(uri)
}

fn read_pages(doc: &Section<'_>) -> Pages {
    Pages {
        logo: read_https(doc, "logo_uri"),
        home: read_https(doc, "client_uri"),
        policy: read_https(doc, "policy_uri"),
        terms: read_https(doc, "tos_uri"),
    }
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
    for name in [
        "token_endpoint_auth_signing_alg",
        "request_object_signing_alg",
        "backchannel_authentication_request_signing_alg",
    ] {
        if doc.optional(name) == Some(SigningAlg::RS256) {
            doc.refuse_field(name, "a FAPI client signs nothing with RS256");
        }
    }
    if profile.requires_signed_messages() && keys.is_none() {
        doc.refuse("signed requests need one of jwks and jwks_uri");
    }
}

/// Under what data may cross a border to the client, and how people reach it.
fn read_filings(doc: &Section<'_>) -> (Vec<Filing>, Option<String>) {
    let filings: Vec<Filing> = doc.sections("filing").iter().filter_map(read_filing).collect();
    let contact = doc.optional::<Readable>("contact").map(|contact| contact.0);
    if contact.is_none() && !filings.is_empty() {
        doc.refuse_field("contact", "people whose data crosses a border are told how to reach the recipient");
    }
    (filings, contact)
}

fn read_filing(filing: &Section<'_>) -> Option<Filing> {
    let (instrument, number) = (filing.require("instrument"), filing.require::<Readable>("number"));
    let valid_until = filing.require("valid_until");
    let number = number?.0;
    // People are shown it as what lets their data cross the border.
    if !number.chars().any(char::is_alphanumeric) {
        filing.refuse_field("number", "must be the number of the filing");
    }
    Some(Filing { instrument: instrument?, number, valid_until: valid_until? })
}

#[cfg(test)]
#[path = "client_tests.rs"]
pub(crate) mod tests;
