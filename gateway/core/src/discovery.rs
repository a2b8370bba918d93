//! Provider metadata as data (OpenID Connect Discovery 1.0 section 3, RFC 8414, RFC 9207). It states only what is true.

use serde_json::{Map, Value, json};

use crate::assurance::Assurance;
use crate::authorize::ResponseMode;
use crate::client::{ContentAlg, GrantType, KeyManagementAlg, SigningAlg, SubjectType};
use crate::locale::Locale;

/// What can be told of how claims were checked (OpenID Connect for Identity Assurance 1.0 section 9).
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// The trust frameworks of all providers.
    pub trust_frameworks: Vec<String>,
    /// The claims that some provider checked and some service may be released.
    pub claims: Vec<String>,
}

/// What differs between one gateway and another.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// The issuer identifier.
    pub issuer: &'a str,
    /// Every claim that some service may be released.
    pub claims: Vec<String>,
    /// The services that read what a request says of its matter (RFC 9396).
    pub detail_types: Vec<String>,
    /// How claims are checked.
    pub verified: Verified,
    /// Whether clients know people by different names (OpenID Connect Core section 8).
    pub subject_types: Vec<SubjectType>,
    /// Whether some client's pages ask whether a session changed.
    pub session_management: bool,
    /// Whether portals may register themselves (RFC 7591).
    pub registration: bool,
    /// Whether portals may join by a federation (OpenID Federation 1.0 section 12.1).
    pub automatic: bool,
    /// The address of the listener for clients with certificates (RFC 8705 section 5).
    pub mutual_tls: Option<&'a str>,
}

/// The discovery document.
#[must_use]
pub fn metadata(facts: &Facts<'_>) -> Value {
    let parts = [endpoints(facts), requests(), authentication(facts), answers(facts), assurance(facts)];
    Value::Object(parts.into_iter().filter_map(|part| part.as_object().cloned()).flatten().collect::<Map<_, _>>())
}

/// The endpoints for clients' back ends, below an address.
fn back_channel(address: &str) -> Value {
    let at = |path: &str| format!("{address}{path}");
    json!({
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "pushed_authorization_request_endpoint": at("/par"),
        "introspection_endpoint": at("/introspect"),
        "revocation_endpoint": at("/revoke"),
        "device_authorization_endpoint": at("/device_authorization"),
        "backchannel_authentication_endpoint": at("/bc-authorize"),
    })
}

fn endpoints(facts: &Facts<'_>) -> Value {
    let issuer = facts.issuer;
    let mut part = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "end_session_endpoint": format!("{issuer}/logout"),
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "frontchannel_logout_supported": true,
        "frontchannel_logout_session_supported": true,
        "jwks_uri": format!("{issuer}/jwks"),
        "tls_client_certificate_bound_access_tokens": facts.mutual_tls.is_some(),
    });
    if let (Some(part), Value::Object(more)) = (part.as_object_mut(), back_channel(issuer)) {
        part.extend(more);
        let registration = facts.registration.then(|| json!(format!("{issuer}/register")));
        part.extend(registration.map(|endpoint| ("registration_endpoint".to_owned(), endpoint)));
        part.extend(automatic(facts).as_object().cloned().unwrap_or_default());
        let frame = facts.session_management.then(|| json!(format!("{issuer}/check-session")));
        part.extend(frame.map(|frame| ("check_session_iframe".to_owned(), frame)));
        part.extend(facts.mutual_tls.map(|address| ("mtls_endpoint_aliases".to_owned(), back_channel(address))));
    }
    part
}

/// How portals show who they are that join by a federation (OpenID Federation 1.0 section 5.1.3).
fn automatic(facts: &Facts<'_>) -> Value {
    if !facts.automatic {
        return json!({});
    }
    let pushed: &[&str] = if facts.mutual_tls.is_some() {
        &["private_key_jwt", "self_signed_tls_client_auth"]
    } else {
        &["private_key_jwt"]
    };
    json!({
        "client_registration_types_supported": ["automatic"],
        "request_authentication_methods_supported": {
            "authorization_endpoint": ["request_object"],
            "pushed_authorization_request_endpoint": pushed,
        },
        "request_authentication_signing_alg_values_supported": SigningAlg::ALL.map(SigningAlg::as_str),
    })
}

fn requests() -> Value {
    json!({
        "scopes_supported": ["openid", "profile", "email", "phone", "document", "offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ResponseMode::NAMES.map(|(name, _)| name),
        "grant_types_supported": GrantType::ALL,
        "code_challenge_methods_supported": ["S256"],
        "claims_parameter_supported": true,
        "backchannel_token_delivery_modes_supported": ["poll", "ping"],
        "backchannel_authentication_request_signing_alg_values_supported": SigningAlg::ALL.map(SigningAlg::as_str),
        "backchannel_user_code_parameter_supported": true,
        "request_parameter_supported": true,
        "request_object_signing_alg_values_supported": SigningAlg::ALL.map(SigningAlg::as_str),
        "require_pushed_authorization_requests": false,
        "request_uri_parameter_supported": true,
        "require_request_uri_registration": true,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "display_values_supported": ["page"],
        "ui_locales_supported": Locale::ALL.map(Locale::tag),
    })
}

fn authentication(facts: &Facts<'_>) -> Value {
    let algs = SigningAlg::ALL.map(SigningAlg::as_str);
    let mut confidential = vec!["private_key_jwt", "client_secret_basic", "client_secret_post"];
    if facts.mutual_tls.is_some() {
        confidential.extend(["tls_client_auth", "self_signed_tls_client_auth"]);
    }
    let every = [confidential.as_slice(), &["none"]].concat();
    json!({
        "token_endpoint_auth_methods_supported": every,
        "token_endpoint_auth_signing_alg_values_supported": algs,
        "introspection_endpoint_auth_methods_supported": confidential,
        "introspection_endpoint_auth_signing_alg_values_supported": algs,
        "revocation_endpoint_auth_methods_supported": every,
        "revocation_endpoint_auth_signing_alg_values_supported": algs,
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "PS256"],
    })
}

fn answers(facts: &Facts<'_>) -> Value {
    let algs = SigningAlg::ALL.map(SigningAlg::as_str);
    let (encryption, content) = (KeyManagementAlg::ALL, ContentAlg::ALL);
    json!({
        "subject_types_supported": facts.subject_types,
        // What a client may register: a key for it is made when the first one does.
        "id_token_signing_alg_values_supported": algs,
        "authorization_signing_alg_values_supported": algs,
        "introspection_signing_alg_values_supported": algs,
        "userinfo_signing_alg_values_supported": algs,
        "id_token_encryption_alg_values_supported": encryption,
        "id_token_encryption_enc_values_supported": content,
        "userinfo_encryption_alg_values_supported": encryption,
        "userinfo_encryption_enc_values_supported": content,
        "claim_types_supported": ["normal"],
        "claims_supported": facts.claims,
        "authorization_details_types_supported": facts.detail_types,
        "authorization_response_iss_parameter_supported": true,
    })
}

fn assurance(facts: &Facts<'_>) -> Value {
    json!({
        "acr_values_supported": Assurance::all().map(Assurance::acr).collect::<Vec<_>>(),
        "verified_claims_supported": !facts.verified.trust_frameworks.is_empty(),
        "trust_frameworks_supported": facts.verified.trust_frameworks,
        "claims_in_verified_claims_supported": facts.verified.claims,
        "evidence_supported": ["electronic_record"],
        "electronic_records_supported": ["population_register"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GHSA-9h47-pqcx-hjr4: metadata must not advertise `none` as an algorithm, or plain PKCE.
    #[test]
    fn ghsa_9h47_pqcx_hjr4_nothing_weak_is_advertised() {
        let facts = Facts { issuer: "https://gw.example", ..Facts::default() };
        let document = metadata(&facts);
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
        for (name, value) in document.as_object().unwrap().iter().filter(|(name, _)| name.contains("_alg_")) {
            assert!(!value.to_string().contains("none") && !value.to_string().contains("HS256"), "{name}");
        }
        assert_eq!(document["token_endpoint"], "https://gw.example/token");
    }

    /// RFC 8705 section 5: what is said of certificates is said only where they are asked for.
    #[test]
    fn rfc8705_5_aliases_only_where_there_is_a_listener() {
        let without = metadata(&Facts { issuer: "https://gw.example", ..Facts::default() });
        assert!(without.get("mtls_endpoint_aliases").is_none());
        assert!(!without["token_endpoint_auth_methods_supported"].to_string().contains("tls_client_auth"));
        let with = metadata(&Facts {
            issuer: "https://gw.example",
            mutual_tls: Some("https://m.example"),
            ..Facts::default()
        });
        assert_eq!(with["mtls_endpoint_aliases"]["token_endpoint"], "https://m.example/token");
        assert_eq!(with["token_endpoint"], "https://gw.example/token");
    }
}
