use serde_json::json;

use super::*;
use crate::client::SigningAlg;

const TEMPLATE: &str = r#"
client_id = "joining"
jurisdiction = "CN-GD"
sector = "gd-joining"
profile = "legacy"
refresh_lifetime = "8h"
[name]
zh-Hans = "样例"
zh-Hant-HK = "樣例"
pt = "Exemplo"
en = "Sample"
[operator]
zh-Hans = "样例机关"
zh-Hant-HK = "樣例機關"
pt = "Entidade"
en = "Authority"
[registration]
initial_access_token_sha256 = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
origins = ["https://portal.example", "https://portal.example:8443", "http://127.0.0.1"]
trial_services = ["sandbox"]
own_sectors = true
"#;

fn template() -> (Client, Registration) {
    let client = Client::from_document("t", TEMPLATE).unwrap();
    let terms = client.registration.clone().unwrap();
    (client, terms)
}

fn register_under(text: &str, metadata: &Value) -> Result<Client, OAuthError> {
    let template = Client::from_document("t", text).unwrap();
    let metadata = normalized(metadata.as_object().unwrap(), text, &template)?;
    let id = ClientId::registering_itself(&template.id, [7; 16]).unwrap();
    let secret = SecretDigest::of("secret");
    let needs_secret = metadata["token_endpoint_auth_method"].as_str().unwrap().starts_with("client_secret");
    client(text, template.registration.as_ref().unwrap(), &metadata, &id, needs_secret.then_some(&secret))
}

fn register(metadata: &Value) -> Result<Client, OAuthError> {
    register_under(TEMPLATE, metadata)
}

#[test]
fn a_document_under_which_portals_register_is_none_itself() {
    let (client, terms) = template();
    assert!(client.redirect_uris.is_empty() && terms.most == 100);
    let with = |from: &str, to: &str| Client::from_document("t", &TEMPLATE.replace(from, to)).is_ok();
    assert!(with("x", "x"));
    for (from, to) in [
        ("[name]", "redirect_uris = [\"https://portal.example/cb\"]\n[name]"),
        ("[name]", "token_endpoint_auth_method = \"none\"\n[name]"),
        ("origins = [\"https://portal.example\", ", "origins = [\"https://portal.example/path\", "),
        ("origins", "# origins"),
        ("initial_access_token_sha256", "# "),
        ("trial_services", "# "),
        ("client_id = \"joining\"", &format!("client_id = \"{}\"", "x".repeat(101))),
        ("origins", "software_statement_required = true\norigins"),
        ("origins", "software_statement_issuer = \"a\"\norigins"),
    ] {
        assert!(!with(from, to), "{to}");
    }
}

/// RFC 7591 section 2 and OpenID Connect Dynamic Client Registration section 2: what holds when nothing is said.
#[test]
fn rfc7591_2_the_defaults_are_those_of_the_standards() {
    let client = register(&json!({"redirect_uris": ["https://portal.example/cb"]})).unwrap();
    assert_eq!(client.auth.method(), "client_secret_basic");
    assert_eq!(client.signed.id_token, SigningAlg::RS256);
    assert_eq!(client.refresh_lifetime, None);
    assert_eq!(client.name.en, "Sample");
    assert_eq!(client.operator.en, "Authority");
    assert_eq!(client.sector.as_str(), "gd-joining");
    assert_eq!((client.id.in_policy(), client.id.registered_itself()), ("joining", true));
}

#[test]
fn what_a_portal_says_of_itself_is_what_it_gets() {
    let client = register(&json!({
        "redirect_uris": ["https://portal.example:8443/cb?x=1"], "client_name": "Portal", "client_name#pt": "Portal PT",
        "grant_types": ["authorization_code", "implicit", "refresh_token"], "response_types": ["code", "id_token"],
        "id_token_signed_response_alg": "PS256", "jwks_uri": "https://portal.example/jwks",
        "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "RS256",
        "request_uris": ["https://portal.example/request.jwt#abc"], "request_object_signing_alg": "ES256",
        "default_max_age": 60, "default_acr_values": ["urn:cbid:acr:i1a2", "silver"], "unheard_of": {"a": 1},
        "backchannel_logout_uri": "https://portal.example/logout", "require_pushed_authorization_requests": true,
        "dpop_bound_access_tokens": true, "application_type": "web", "contacts": ["a@portal.example"], "scope": "openid",
        "logo_uri": "https://portal.example/logo.png", "sector_identifier_uri": "https://portal.example/uris",
    }))
    .unwrap();
    assert_eq!((client.name.en.as_str(), client.name.pt.as_str()), ("Portal", "Portal PT"));
    assert!(client.refresh_lifetime.is_some() && client.dpop_bound && client.requests.pushed);
    assert_eq!((client.signed.id_token, client.auth_alg), (SigningAlg::PS256, Some(SigningAlg::RS256)));
    assert_eq!(client.requests.default_max_age, Some(60));
    assert_eq!(client.requests.default_acr_values.len(), 1);
    assert_eq!(client.requests.uris[0].as_str(), "https://portal.example/request.jwt#abc");
    assert_eq!(client.sector.as_str(), "host.portal.example");
    assert!(client.registration.is_none());
}

/// RFC 7591 section 3.2.2.
#[test]
fn rfc7591_3_2_2_what_cannot_be_registered_is_refused_by_name() {
    let sound =
        json!({"redirect_uris": ["https://portal.example/cb"], "token_endpoint_auth_method": "client_secret_post"});
    assert!(register(&sound).is_ok());
    for (name, value, code) in [
        ("redirect_uris", json!(["https://portal.example/cb#here"]), OAuthCode::InvalidRedirectUri),
        ("redirect_uris", json!([]), OAuthCode::InvalidRedirectUri),
        ("redirect_uris", json!("https://portal.example/cb"), OAuthCode::InvalidClientMetadata),
        ("redirect_uris", json!(["javascript:alert(1)"]), OAuthCode::InvalidRedirectUri),
        ("redirect_uris", json!(["https://other.example/cb"]), OAuthCode::InvalidRedirectUri),
        ("redirect_uris", json!(["https://portal.example.evil.example/cb"]), OAuthCode::InvalidRedirectUri),
        ("redirect_uris", json!(["https://portal.example:444/cb"]), OAuthCode::InvalidRedirectUri),
        ("redirect_uris", json!(["http://portal.example/cb"]), OAuthCode::InvalidRedirectUri),
        ("post_logout_redirect_uris", json!(["https://other.example/"]), OAuthCode::InvalidClientMetadata),
        ("jwks_uri", json!("https://169.254.169.254/latest"), OAuthCode::InvalidClientMetadata),
        ("jwks_uri", json!("file:///etc/passwd"), OAuthCode::InvalidClientMetadata),
        ("logo_uri", json!("https://tracker.example/p.png"), OAuthCode::InvalidClientMetadata),
        ("sector_identifier_uri", json!("https://sector.example/"), OAuthCode::InvalidClientMetadata),
        ("backchannel_logout_uri", json!("https://other.example/out"), OAuthCode::InvalidClientMetadata),
        ("request_uris", json!(["https://portal.example/r"]), OAuthCode::InvalidClientMetadata),
        ("response_types", json!(["id_token"]), OAuthCode::InvalidClientMetadata),
        ("grant_types", json!(["password"]), OAuthCode::InvalidClientMetadata),
        ("subject_type", json!("public"), OAuthCode::InvalidClientMetadata),
        ("subject_type", json!("shared"), OAuthCode::InvalidClientMetadata),
        ("id_token_signed_response_alg", json!("none"), OAuthCode::InvalidClientMetadata),
        ("id_token_signed_response_alg", json!("HS256"), OAuthCode::InvalidClientMetadata),
        ("token_endpoint_auth_method", json!("client_secret_jwt"), OAuthCode::InvalidClientMetadata),
        ("token_endpoint_auth_method", json!("private_key_jwt"), OAuthCode::InvalidClientMetadata),
        ("token_endpoint_auth_method", json!("none"), OAuthCode::InvalidClientMetadata),
        ("client_name", json!(""), OAuthCode::InvalidClientMetadata),
        ("client_name", json!("a\u{202e}b"), OAuthCode::InvalidClientMetadata),
        ("client_name", json!("\u{3000} \u{a0}"), OAuthCode::InvalidClientMetadata),
        ("client_name", json!("\u{3164}"), OAuthCode::InvalidClientMetadata),
        ("client_name", json!("x".repeat(65)), OAuthCode::InvalidClientMetadata),
        ("application_type", json!("service"), OAuthCode::InvalidClientMetadata),
        ("dpop_bound_access_tokens", json!("yes"), OAuthCode::InvalidClientMetadata),
        ("default_max_age", json!(u64::MAX), OAuthCode::InvalidClientMetadata),
        ("jwks", json!("{}"), OAuthCode::InvalidClientMetadata),
    ] {
        let mut metadata = sound.clone();
        metadata[name] = value;
        assert_eq!(register(&metadata).unwrap_err().code, code, "{metadata}");
    }
    let error = register(&json!({"redirect_uris": ["https://portal.example/\"cb"]})).unwrap_err();
    assert!(!error.description.contains(['"', '\\']), "{error}");
}

/// What the document of the bundle says of a portal is not the portal's to say.
#[test]
fn nobody_registers_what_an_officer_has_to_give() {
    let client = register(&json!({
        "redirect_uris": ["https://portal.example/cb"], "jurisdiction": "HK", "profile": "fapi2", "sector": "other",
        "operator": "Somebody", "client_id": "chosen", "staff_assisted": true, "registered_in": "guangzhou",
        "client_secret": "chosen", "client_secret_sha256": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "refresh_lifetime": "24h", "filing": [{"instrument": "x"}], "registration": {}, "default_service": "any",
    }))
    .unwrap();
    let (expected, _) = template();
    assert_eq!(client.jurisdiction, expected.jurisdiction);
    assert_eq!(
        (client.profile, client.sector, client.operator),
        (expected.profile, expected.sector, expected.operator)
    );
    assert_eq!((client.staff_assisted, client.registered_in, client.default_service), (false, None, None));
    assert_eq!(client.id.as_str(), format!("joining~{}", crate::ids::base64url(&[7; 16])));
}

/// A profile holds whoever registers under it.
#[test]
fn a_fapi_document_makes_fapi_clients() {
    let fapi = TEMPLATE.replace("profile = \"legacy\"", "profile = \"fapi2\"\ndpop_bound_access_tokens = true");
    let sound = json!({
        "redirect_uris": ["https://portal.example/cb"], "jwks_uri": "https://portal.example/jwks",
        "dpop_bound_access_tokens": false,
    });
    let client = register_under(&fapi, &sound).unwrap();
    assert_eq!((client.auth.method(), client.signed.id_token), ("private_key_jwt", SigningAlg::ES256));
    assert!(client.dpop_bound);
    for (name, value) in [
        ("token_endpoint_auth_method", json!("client_secret_basic")),
        ("id_token_signed_response_alg", json!("RS256")),
        ("request_uris", json!(["https://portal.example/r"])),
    ] {
        let mut metadata = sound.clone();
        metadata[name] = value;
        assert!(register_under(&fapi, &metadata).is_err(), "{name}");
    }
}

/// What the document says of all of them is not theirs to choose, and what it is silent about is as the standards say.
#[test]
fn what_the_document_gives_is_given() {
    let strict = TEMPLATE.replace(
        "profile = \"legacy\"",
        "profile = \"legacy\"\nid_token_signed_response_alg = \"PS256\"\nrequire_pushed_authorization_requests = true",
    );
    let metadata = |more: &str| {
        let mut metadata = json!({"redirect_uris": ["https://portal.example/cb"]});
        if !more.is_empty() {
            metadata["id_token_signed_response_alg"] = more.into();
        }
        metadata["require_pushed_authorization_requests"] = false.into();
        metadata
    };
    for same in ["", "PS256"] {
        let client = register_under(&strict, &metadata(same)).unwrap();
        assert_eq!((client.signed.id_token, client.requests.pushed), (SigningAlg::PS256, true));
    }
    assert!(register_under(&strict, &metadata("RS256")).is_err());
    let client = register(&metadata("")).unwrap();
    assert_eq!((client.signed.authorization, client.signed.introspection), (SigningAlg::RS256, SigningAlg::RS256));
    let fixed = TEMPLATE.replace("own_sectors = true\n", "");
    let own =
        json!({"redirect_uris": ["https://portal.example/cb"], "sector_identifier_uri": "https://portal.example/u"});
    assert!(register(&own).is_ok() && register_under(&fixed, &own).is_err());
}
