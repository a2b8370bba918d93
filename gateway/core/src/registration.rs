//! How portals register themselves (RFC 7591, OpenID Connect Dynamic Client Registration 1.0): under a client document of
//! the bundle that says for whom, where and on what terms, so that nobody registers trust that no officer gave.
//!
//! The metadata that a portal sends becomes a client document, and is read like every other one.

use serde_json::{Map, Value};
use toml::Table;
use url::Url;

use crate::client::{Client, SubjectType};
use crate::credential::SecretDigest;
use crate::digest::sha256;
use crate::document::{Problem, Section};
use crate::error::{OAuthCode, OAuthError};
use crate::ids::{ClientId, EntityId, ProviderId, ServiceId, base64url};
use crate::locale::is_readable;
use crate::time::Date;

/// The terms on which portals register themselves under a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Digests of the tokens that let somebody register (RFC 7591 section 1.2).
    pub initial_access_tokens: Vec<SecretDigest>,
    /// The origins of every address they may register.
    pub origins: Vec<String>,
    /// The services that are open to them before they passed their check list.
    pub trial_services: Vec<ServiceId>,
    /// Whether they may have sectors of their own, by a list of redirect URIs.
    pub own_sectors: bool,
    /// The last day on which anybody registers.
    pub until: Option<Date>,
    /// How many there may be.
    pub most: usize,
    /// Who vouches for their software, where somebody does.
    pub software_statements: Option<SoftwareStatements>,
    /// The federation by which they join without asking before, where they do (OpenID Federation 1.0 section 12.1).
    pub federation: Option<Joining>,
}

/// How portals join by a federation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// The federation.
    pub federation: ProviderId,
    /// The types of the marks that they have to show.
    pub trust_marks: Vec<String>,
    /// Those that stay out, whoever vouches for them.
    pub barred: Vec<EntityId>,
}

impl Joining {
    /// Whether an entity that shows these marks may join.
    #[must_use]
    pub fn admits(&self, entity: &EntityId, marks: &[String]) -> bool {
        !self.barred.contains(entity) && self.trust_marks.iter().all(|needed| marks.contains(needed))
    }
}

/// Who vouches for the software of portals (RFC 7591 section 2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftwareStatements {
    /// The `iss` of statements.
    pub issuer: String,
    /// The JWK Set that verifies them.
    pub jwks: String,
    /// Whether nobody registers without one.
    pub required: bool,
}

/// Reads the table `registration` of a client document.
pub(crate) fn read_registration(section: &Section<'_>) -> Option<Registration> {
    let initial_access_tokens: Vec<SecretDigest> = section.list("initial_access_token_sha256");
    let federation = section.optional("federation");
    if initial_access_tokens.is_empty() && federation.is_none() {
        section.refuse("initial_access_token_sha256: at least one is needed");
    }
    let origins: Vec<Url> = section.list("origins");
    if origins.is_empty() {
        section.refuse("origins: at least one is needed");
    }
    let written: Vec<String> = origins.iter().map(|origin| origin.origin().ascii_serialization()).collect();
    if origins.iter().zip(&written).any(|(url, origin)| url.as_str().trim_end_matches('/') != origin) {
        section.refuse_field("origins", "an origin is a scheme, a host and, where it is not the usual one, a port");
    }
    let (issuer, jwks) = (section.optional("software_statement_issuer"), section.optional("software_statement_jwks"));
    let required = section.flag("software_statement_required", false);
    let software_statements = match (issuer, jwks) {
        (Some(issuer), Some(jwks)) => Some(SoftwareStatements { issuer, jwks, required }),
        (None, None) if !required => None,
        _ => {
            section.refuse("software statements need both software_statement_issuer and software_statement_jwks");
            None
        }
    };
    if federation.is_some() && software_statements.is_some() {
        section
            .refuse("software statements are for those who register by a token: a federation vouches by trust_marks");
    }
    let trial_services: Vec<ServiceId> = section.list("trial_services");
    if trial_services.is_empty() && !initial_access_tokens.is_empty() {
        section.refuse("trial_services: at least one is needed: nobody could show that somebody can sign in");
    }
    let most = section.number("most", 1..=10_000).unwrap_or(100);
    Some(Registration {
        initial_access_tokens,
        origins: written,
        trial_services,
        own_sectors: section.flag("own_sectors", false),
        until: section.optional("until"),
        most: usize::try_from(most).unwrap_or(100),
        software_statements,
        federation: federation.map(|federation| Joining {
            federation,
            trust_marks: section.list("trust_marks"),
            barred: section.list("barred"),
        }),
    })
}

/// Metadata that is a text in a client document, under the same name.
const TEXTS: [&str; 31] = [
    "token_endpoint_auth_method",
    "token_endpoint_auth_signing_alg",
    "jwks_uri",
    "sector_identifier_uri",
    "subject_type",
    "initiate_login_uri",
    "backchannel_logout_uri",
    "frontchannel_logout_uri",
    "logo_uri",
    "client_uri",
    "policy_uri",
    "tos_uri",
    "request_object_signing_alg",
    "id_token_signed_response_alg",
    "userinfo_signed_response_alg",
    "authorization_signed_response_alg",
    "introspection_signed_response_alg",
    "id_token_encrypted_response_alg",
    "id_token_encrypted_response_enc",
    "userinfo_encrypted_response_alg",
    "userinfo_encrypted_response_enc",
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "client_name",
    "software_id",
    "software_version",
    "software_statement",
    "backchannel_token_delivery_mode",
    "backchannel_client_notification_endpoint",
    "backchannel_authentication_request_signing_alg",
];

/// Metadata that is a list of texts.
const LISTS: [&str; 7] = [
    "redirect_uris",
    "post_logout_redirect_uris",
    "request_uris",
    "default_acr_values",
    "grant_types",
    "response_types",
    "contacts",
];

/// Metadata that is a yes or no.
const FLAGS: [&str; 7] = [
    "backchannel_user_code_parameter",
    "dpop_bound_access_tokens",
    "tls_client_certificate_bound_access_tokens",
    "require_pushed_authorization_requests",
    "require_signed_request_object",
    "backchannel_logout_session_required",
    "frontchannel_logout_session_required",
];

/// What is kept and given back, and says nothing that a client document would.
const KEPT: [&str; 7] = [
    "response_types",
    "contacts",
    "software_id",
    "software_version",
    "software_statement",
    "backchannel_logout_session_required",
    "frontchannel_logout_session_required",
];

/// The longest name of a client, in characters.
const LONGEST_NAME: usize = 64;

fn refuse(description: impl Into<String>) -> OAuthError {
    OAuthError::new(OAuthCode::InvalidClientMetadata, description.into())
}

/// Metadata as it is registered (RFC 7591 section 3.2.1): what we know of it, with the defaults of the standards.
///
/// # Errors
/// `invalid_client_metadata` for a member of the wrong type, or one without which there is nothing to register.
pub fn normalized(
    metadata: &Map<String, Value>,
    document: &str,
    template: &Client,
) -> Result<Map<String, Value>, OAuthError> {
    let document: Table = document.parse().map_err(|_| refuse("the document of the registration cannot be read"))?;
    let mut registered = Map::new();
    for (name, value) in metadata.iter().filter(|(_, value)| !value.is_null()) {
        let base = name.split('#').next().unwrap_or_default();
        let listed = value.as_array().is_some_and(|items| items.len() <= 64 && items.iter().all(Value::is_string));
        let fits = match name.as_str() {
            known if TEXTS.contains(&known) || base == "client_name" => value.is_string(),
            known if LISTS.contains(&known) => listed,
            known if FLAGS.contains(&known) => value.is_boolean(),
            "jwks" => value.is_object(),
            "default_max_age" => value.is_u64(),
            "application_type" => matches!(value.as_str(), Some("web" | "native")),
            _ => continue,
        };
        if !fits {
            return Err(refuse(format!("{base}: has the wrong type")));
        }
        registered.insert(name.clone(), value.clone());
    }
    given(&mut registered, &document)?;
    let (method, alg) =
        if template.profile.is_fapi() { ("private_key_jwt", "ES256") } else { ("client_secret_basic", "RS256") };
    // OpenID Connect Dynamic Client Registration section 2, RFC 7591 section 2, JARM section 3, RFC 9701 section 6.
    for (name, default) in [
        ("token_endpoint_auth_method", method),
        ("id_token_signed_response_alg", alg),
        ("authorization_signed_response_alg", alg),
        ("introspection_signed_response_alg", alg),
        ("application_type", "web"),
    ] {
        registered.entry(name.to_owned()).or_insert_with(|| default.into());
    }
    let grant_types: Vec<&str> = template.grant_types.iter().map(|grant| grant.as_str()).collect();
    keep_known(&mut registered, "grant_types", &grant_types, "authorization_code")?;
    if lists(&registered, "grant_types", "authorization_code") {
        keep_known(&mut registered, "response_types", &["code"], "code")?;
    } else {
        registered.insert("response_types".to_owned(), Value::Array(Vec::new()));
    }
    Ok(registered)
}

/// What the document says of all of them is so for each: said again it may be, and otherwise not.
fn given(registered: &mut Map<String, Value>, document: &Table) -> Result<(), OAuthError> {
    for name in TEXTS.iter().filter(|name| **name != "subject_type") {
        let Some(text) = document.get(*name).and_then(toml::Value::as_str) else { continue };
        let said = registered.entry((*name).to_owned()).or_insert_with(|| text.into());
        if said != text {
            return Err(refuse(format!("{name}: is {text} for everybody who registers here")));
        }
    }
    for name in FLAGS.iter().filter(|name| document.get(**name).and_then(toml::Value::as_bool) == Some(true)) {
        registered.insert((*name).to_owned(), true.into());
    }
    Ok(())
}

/// Of a list, what may be registered, or the usual one where nothing is said.
fn keep_known(registered: &mut Map<String, Value>, name: &str, known: &[&str], usual: &str) -> Result<(), OAuthError> {
    let list = registered.entry(name.to_owned()).or_insert_with(|| vec![usual].into());
    if let Some(values) = list.as_array_mut() {
        values.retain(|value| value.as_str().is_some_and(|value| known.contains(&value)));
        if values.is_empty() {
            return Err(refuse(format!("{name}: this server has {} to offer", known.join(", "))));
        }
    }
    Ok(())
}

fn lists(metadata: &Map<String, Value>, name: &str, wanted: &str) -> bool {
    let listed = metadata.get(name).and_then(Value::as_array);
    listed.is_some_and(|listed| listed.iter().any(|value| value == wanted))
}

/// The client that metadata makes of a document under which portals register themselves. `template` is the document's text,
/// `terms` what it says of registration.
///
/// # Errors
/// `invalid_redirect_uri` or `invalid_client_metadata`, with everything that is wrong.
pub fn client(
    template: &str,
    terms: &Registration,
    metadata: &Map<String, Value>,
    id: &ClientId,
    secret: Option<&SecretDigest>,
) -> Result<Client, OAuthError> {
    let mut document: Table =
        template.parse().map_err(|_| refuse("the document of the registration cannot be read"))?;
    document.remove("registration");
    let mut set = |name: &str, value: toml::Value| document.insert(name.to_owned(), value);
    set("client_id", id.as_str().into());
    if let Some(entity) = id.entity() {
        // Nobody else shares what people are called there.
        set("sector", base64url(&sha256(entity.as_bytes())).into());
    }
    if let Some(secret) = secret {
        set("client_secret_sha256", secret.as_str().into());
    }
    if let Some(name) = name(metadata)? {
        set("name", name.into());
    }
    if !lists(metadata, "grant_types", "refresh_token") {
        document.remove("refresh_lifetime");
    }
    subjects(&mut document, metadata, terms)?;
    for (name, value) in metadata.iter().filter(|(name, _)| !KEPT.contains(&name.as_str())) {
        match (name.as_str(), value) {
            ("subject_type" | "application_type", _) => {}
            ("default_acr_values", Value::Array(values)) => {
                // A wish: values of somebody else's are nothing to us.
                let ours = values.iter().filter_map(Value::as_str);
                let ours = ours.filter(|acr| crate::assurance::Assurance::from_acr(acr).is_some());
                document.insert(name.clone(), ours.map(str::to_owned).collect::<Vec<_>>().into());
            }
            ("jwks", keys) => drop(document.insert(name.clone(), keys.to_string().into())),
            (_, Value::String(text)) if !name.starts_with("client_name") => {
                document.insert(name.clone(), text.clone().into());
            }
            (_, Value::Array(values)) => {
                let texts: Vec<String> = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                document.insert(name.clone(), texts.into());
            }
            // What the document demands of all of them stays demanded.
            (_, Value::Bool(true)) => drop(document.insert(name.clone(), true.into())),
            (_, Value::Number(number)) => {
                let number = number.as_i64().ok_or_else(|| refuse(format!("{name}: is too large")))?;
                document.insert(name.clone(), number.into());
            }
            _ => {}
        }
    }
    let client = Client::from_document("metadata", &document.to_string()).map_err(|found| told(&found))?;
    let foreign = client.addresses().find(|(_, address)| !is_within(address, &terms.origins));
    match foreign {
        None => Ok(client),
        Some(("redirect_uris", _)) => {
            let why = "redirect_uris: the registration was not given for this host";
            Err(OAuthError::new(OAuthCode::InvalidRedirectUri, why))
        }
        Some((name, _)) => Err(refuse(format!("{name}: the registration was not given for this host"))),
    }
}

/// Whether an address is of one of these origins.
#[must_use]
pub fn is_within(address: &str, origins: &[String]) -> bool {
    Url::parse(address).is_ok_and(|url| origins.contains(&url.origin().ascii_serialization()))
}

/// Whom the client shares its `sub` with: what the document says, or a list of redirect URIs of its own.
fn subjects(document: &mut Table, metadata: &Map<String, Value>, terms: &Registration) -> Result<(), OAuthError> {
    let public = document.get("subject_type").and_then(toml::Value::as_str) == Some(SubjectType::Public.as_str());
    let asked = metadata.get("subject_type").and_then(Value::as_str);
    let listed = metadata.contains_key("sector_identifier_uri");
    match (asked, public) {
        (None, _) | (Some("pairwise"), false) | (Some("public"), true) => {}
        (Some("pairwise"), true) if listed => {}
        (Some("public"), false) => return Err(refuse("subject_type: only pairwise subjects are given here")),
        (Some("pairwise"), true) => return Err(refuse("subject_type: pairwise needs a sector_identifier_uri here")),
        (Some(_), _) => return Err(refuse("subject_type: must be pairwise or public")),
    }
    if listed && !terms.own_sectors {
        return Err(refuse("sector_identifier_uri: the sector is given by whoever lets you register"));
    }
    if listed {
        document.remove("sector");
        document.remove("subject_type");
    }
    Ok(())
}

/// The name in four languages: each by its own tag, and by the name without one where it has none.
fn name(metadata: &Map<String, Value>) -> Result<Option<Table>, OAuthError> {
    let Some(name) = metadata.get("client_name").and_then(Value::as_str) else { return Ok(None) };
    let mut texts = Table::new();
    for tag in ["zh-Hans", "zh-Hant-HK", "pt", "en"] {
        let own = metadata.get(&format!("client_name#{tag}")).and_then(Value::as_str).unwrap_or(name);
        let sound = own.chars().count() <= LONGEST_NAME && is_readable(own);
        if !sound {
            return Err(refuse("client_name: must be 1 to 64 characters that can be read"));
        }
        texts.insert(tag.to_owned(), own.into());
    }
    Ok(Some(texts))
}

/// What is wrong with the document that metadata made, as the portal's developer is told it.
fn told(problems: &[Problem]) -> OAuthError {
    let about_redirects = problems.iter().any(|problem| problem.reason.starts_with("redirect_uris"));
    let code = if about_redirects { OAuthCode::InvalidRedirectUri } else { OAuthCode::InvalidClientMetadata };
    let reasons: Vec<&str> = problems.iter().map(|problem| problem.reason.as_str()).collect();
    let printable = |c: &char| (' '..='~').contains(c) && !['"', '\\'].contains(c);
    OAuthError::new(code, reasons.join("; ").chars().filter(printable).take(600).collect::<String>())
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
