//! The discovery document and the key set.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::control::Endpoint;
use super::{Misbehaviour, Place, Shared};
use crate::web;

/// `GET /.well-known/openid-configuration`
pub(super) async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    shared.control.count(Endpoint::Discovery);
    web::json(StatusCode::OK, &document(&shared))
}

/// `GET /jwks`
pub(super) async fn jwks(State(shared): State<Arc<Shared>>) -> Response {
    shared.control.count(Endpoint::Jwks);
    if shared.control.misbehaviour() == Misbehaviour::JwksDown {
        return web::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": "temporarily_unavailable" }));
    }
    web::json(StatusCode::OK, &json!({ "keys": [shared.control.key().public_jwk()] }))
}

fn document(shared: &Shared) -> Value {
    json!({
        "issuer": shared.config.issuer,
        "authorization_endpoint": shared.url("/authorize"),
        "token_endpoint": shared.url("/token"),
        "userinfo_endpoint": shared.url("/userinfo"),
        "jwks_uri": shared.url("/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA", "PS256", "RS256"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile", "email", "phone", "document"],
        "claims_supported": [
            "sub", "auth_time", "acr", "amr", "name", "name_zh", "birthdate", "gender", "hkid", "bir",
            "resident_id", "home_return_permit", "email", "phone_number"
        ],
        "acr_values_supported": acr_values(shared.config.place),
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "ui_locales_supported": ["zh-HK", "zh-MO", "zh-CN", "en"],
        "claims_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "authorization_response_iss_parameter_supported": true,
    })
}

/// Each place's own words for how a login was done.
fn acr_values(place: Place) -> Value {
    match place {
        Place::HongKong => json!(["iamsmart:default", "iamsmart:sign"]),
        Place::Macao => json!(["mo:password", "mo:otp", "mo:face"]),
        Place::Guangdong => json!(["gd:L1", "gd:L2", "gd:L3"]),
    }
}
