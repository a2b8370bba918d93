//! Provider metadata as data (OpenID Connect Discovery 1.0 section 3, RFC 8414, RFC 9207). It states only what is true.

use serde_json::{Value, json};

use crate::assurance::Assurance;
use crate::authorize::ResponseMode;
use crate::client::SigningAlg;
use crate::locale::Locale;

/// What can be told of how claims were checked (OpenID Connect for Identity Assurance 1.0 section 9).
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// The trust frameworks of all providers.
    pub trust_frameworks: Vec<String>,
    /// The claims that some provider checked and some service may be released.
    pub claims: Vec<String>,
}

/// The discovery document of an issuer whose clients may be released `claims`, and whose ID tokens some client has
/// signed with each of `signing`.
#[must_use]
pub fn metadata(issuer: &str, claims: &[String], signing: &[&str], verified: &Verified) -> Value {
    let at = |path: &str| format!("{issuer}{path}");
    let algs = SigningAlg::ALL.map(SigningAlg::as_str);
    let strong: Vec<&str> = algs.iter().copied().filter(|alg| *alg != "RS256").collect();
    let confidential = ["private_key_jwt", "client_secret_basic", "client_secret_post"];
    let every = ["private_key_jwt", "client_secret_basic", "client_secret_post", "none"];
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "jwks_uri": at("/jwks"),
        "pushed_authorization_request_endpoint": at("/par"),
        "introspection_endpoint": at("/introspect"),
        "revocation_endpoint": at("/revoke"),
        "scopes_supported": ["openid", "profile", "email", "phone", "document", "offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ResponseMode::NAMES.map(|(name, _)| name),
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["pairwise"],
        "acr_values_supported": Assurance::all().map(Assurance::acr).collect::<Vec<_>>(),
        "id_token_signing_alg_values_supported": signing,
        "authorization_signing_alg_values_supported": signing,
        "introspection_signing_alg_values_supported": signing,
        "token_endpoint_auth_methods_supported": every,
        "introspection_endpoint_auth_methods_supported": confidential,
        "revocation_endpoint_auth_methods_supported": every,
        "dpop_signing_alg_values_supported": strong,
        "code_challenge_methods_supported": ["S256"],
        "claim_types_supported": ["normal"],
        "claims_supported": claims,
        "claims_parameter_supported": true,
        "request_parameter_supported": true,
        "request_object_signing_alg_values_supported": algs,
        "require_pushed_authorization_requests": false,
        "request_uri_parameter_supported": false,
        "require_request_uri_registration": false,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "display_values_supported": ["page"],
        "ui_locales_supported": Locale::ALL.map(Locale::tag),
        "authorization_response_iss_parameter_supported": true,
    });
    for endpoint in ["token", "introspection", "revocation"] {
        set(&mut document, &format!("{endpoint}_endpoint_auth_signing_alg_values_supported"), json!(algs));
    }
    let assurance = json!({
        "verified_claims_supported": !verified.trust_frameworks.is_empty(),
        "trust_frameworks_supported": verified.trust_frameworks,
        "claims_in_verified_claims_supported": verified.claims,
        "evidence_supported": ["electronic_record"],
        "electronic_records_supported": ["population_register"],
    });
    for (name, value) in assurance.as_object().into_iter().flatten() {
        set(&mut document, name, value.clone());
    }
    document
}

fn set(document: &mut Value, name: &str, value: Value) {
    if let Some(members) = document.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GHSA-9h47-pqcx-hjr4: metadata must not advertise `none` as an algorithm, or plain PKCE.
    #[test]
    fn ghsa_9h47_pqcx_hjr4_nothing_weak_is_advertised() {
        let document = metadata("https://gw.example", &["name".to_owned()], &["ES256"], &Verified::default());
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
        let algs = document["id_token_signing_alg_values_supported"].to_string();
        assert!(!algs.contains("none") && !algs.contains("HS256"));
        assert_eq!(document["token_endpoint"], "https://gw.example/token");
    }
}
