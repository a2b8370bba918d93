//! Who we are in the federations that we belong to, and whom we vouch for (OpenID Federation 1.0 sections 8 and 9).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::federation::{FEDERATION_ENTITY, PROVIDER, RELYING_PARTY, RESOLVED_TYPE, STATEMENT_TYPE};
use gateway_core::ids::EntityId;
use gateway_core::params::Params;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};

use super::discovery::provider_metadata;
use super::token::internal;
use crate::app::{Active, App};
use crate::http::{reply, request};

const STATEMENT: (&str, &str) = (STATEMENT_TYPE, "application/entity-statement+jwt");
const RESOLVED: (&str, &str) = (RESOLVED_TYPE, "application/resolve-response+jwt");
/// How long what we say holds.
const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// `GET /.well-known/openid-federation` (section 9).
pub async fn configuration(State(app): State<Arc<App>>) -> Response {
    let active = app.bundle();
    if !active.catalog.is_federated() {
        return reply::empty(StatusCode::NOT_FOUND);
    }
    let now = app.now();
    let hints: Vec<&EntityId> = active.catalog.federations().flat_map(|federation| &federation.superiors).collect();
    let mut claims = object(json!({
        "iss": app.issuer, "sub": app.issuer, "iat": now, "exp": now.plus(LIFETIME),
        "jwks": app.keys.federation_jwks(), "metadata": metadata(&app, &active),
    }));
    if !hints.is_empty() {
        claims.insert("authority_hints".to_owned(), json!(hints));
    }
    signed(&app, STATEMENT, &claims)
}

/// `GET /federation/fetch` (section 8.1): what we say of one that we vouch for.
pub async fn fetch(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let active = app.bundle();
    let found = asked(request).and_then(|params| {
        let sub = entity(&params, "sub")?;
        if sub.as_str() == app.issuer {
            return Err(invalid("what we say of ourselves is at our own well-known address"));
        }
        let mut known = active.catalog.subordinates();
        known.find(|known| known.entity == sub).ok_or_else(|| not_found("we do not vouch for it"))
    });
    match found {
        Ok(subordinate) => {
            let now = app.now();
            signed(&app, STATEMENT, &subordinate.statement(&app.issuer, now, now.plus(LIFETIME)))
        }
        Err(error) => reply::refused("federation", &error),
    }
}

/// `GET /federation/list` (section 8.2): whom we vouch for.
pub async fn list(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let listed = asked(request).and_then(|params| {
        // We issue no marks, and vouch for nobody who vouches for others without saying so.
        if ["trust_marked", "trust_mark_type"].iter().any(|name| params.all(name).next().is_some()) {
            return Err(OAuthError::new(OAuthCode::UnsupportedParameter, "nothing is listed by marks here"));
        }
        let types: Vec<&str> = params.all("entity_type").collect();
        let intermediate = match params.one("intermediate")? {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err(invalid("intermediate must be true or false")),
        };
        let active = app.bundle();
        let fits = |own: &Vec<String>| {
            let of_type = types.is_empty() || own.iter().any(|own| types.contains(&own.as_str()));
            let vouches = own.iter().any(|own| own == FEDERATION_ENTITY);
            of_type && intermediate.is_none_or(|wanted| wanted == vouches)
        };
        let listed = active.catalog.subordinates().filter(|subordinate| fits(&subordinate.entity_types));
        Ok(listed.map(|subordinate| Value::from(subordinate.entity.as_str())).collect::<Value>())
    });
    match listed {
        Ok(listed) => reply::public_json(&listed, 60),
        Err(error) => reply::refused("federation", &error),
    }
}

/// `GET /federation/resolve` (section 8.3): what an entity is by the word of an anchor that we believe.
pub async fn resolve(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let answer = async {
        let params = asked(request)?;
        let (sub, types) = (entity(&params, "sub")?, params.all("entity_type").collect::<Vec<_>>());
        let active = app.bundle();
        let wanted: Vec<&str> = params.all("trust_anchor").collect();
        if wanted.is_empty() {
            return Err(invalid("trust_anchor is missing"));
        }
        let mut known = active.catalog.federations();
        let federation = known.find(|federation| wanted.contains(&federation.anchor.entity.as_str()));
        let none = || OAuthError::new(OAuthCode::InvalidTrustAnchor, "that anchor is not believed here");
        let anchor = &federation.ok_or_else(none)?.anchor;
        let broken = |error: gateway_core::federation::FederationError| {
            tracing::info!(%error, "not resolved");
            if adapters::federation::is_busy(&error) {
                let why = "too many are asked for at once: try again";
                return OAuthError::new(OAuthCode::TemporarilyUnavailable, why);
            }
            OAuthError::new(OAuthCode::InvalidTrustChain, "no chain leads from it to that anchor")
        };
        // Another bound than that of clients who join: neither keeps the other waiting.
        let found = app.federations.resolve(&sub, anchor, &app.limits.resolving, app.now()).await.map_err(broken)?;
        let own = found.chain.leaf().metadata.keys().filter(|kind| types.is_empty() || types.contains(&kind.as_str()));
        let metadata: Map<String, Value> =
            own.filter_map(|kind| Some((kind.clone(), found.chain.metadata(kind).ok()?.into()))).collect();
        let marks = found.marks.iter().map(|mark| json!({"trust_mark_type": mark.kind, "trust_mark": mark.mark}));
        Ok(object(json!({
            "iss": app.issuer, "sub": sub, "iat": app.now(), "exp": found.expires_at,
            "metadata": metadata, "trust_marks": marks.collect::<Value>(), "trust_chain": found.statements,
        })))
    };
    match answer.await {
        Ok(claims) => signed(&app, RESOLVED, &claims),
        Err(error) => reply::refused("federation", &error),
    }
}

fn invalid(why: &'static str) -> OAuthError {
    OAuthError::new(OAuthCode::InvalidRequest, why)
}

fn not_found(why: &'static str) -> OAuthError {
    OAuthError::new(OAuthCode::NotFound, why)
}

fn asked(request: Request<Body>) -> Result<Params, OAuthError> {
    request::query(&request.into_parts().0).map_err(|_| invalid("the query cannot be read"))
}

fn entity(params: &Params, name: &'static str) -> Result<EntityId, OAuthError> {
    params.required(name)?.parse().map_err(|_| invalid("sub is no entity identifier"))
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn signed(app: &App, (typ, kind): (&str, &'static str), claims: &Map<String, Value>) -> Response {
    match app.keys.sign_for_federation(typ, claims) {
        Ok(token) => reply::token(kind, token),
        Err(error) => reply::refused("federation", &internal(&error)),
    }
}

/// Our metadata, by entity type (section 5).
fn metadata(app: &App, active: &Active) -> Value {
    let at = |path: &str| Value::from(format!("{}/federation/{path}", app.issuer));
    let vouches = active.catalog.subordinates().next().is_some();
    let own = [
        ("federation_resolve_endpoint", "resolve", true),
        ("federation_fetch_endpoint", "fetch", vouches),
        ("federation_list_endpoint", "list", vouches),
    ];
    let own = own.into_iter().filter(|(.., offered)| *offered).map(|(name, path, _)| (name.to_owned(), at(path)));
    let mut metadata = Map::from_iter([
        (FEDERATION_ENTITY.to_owned(), own.collect::<Map<_, _>>().into()),
        (PROVIDER.to_owned(), provider_metadata(app, active)),
    ]);
    let callbacks = active.catalog.federated_callbacks(&app.issuer);
    if !callbacks.is_empty() {
        metadata.insert(RELYING_PARTY.to_owned(), relying_party(app, &callbacks));
    }
    metadata.into()
}

/// What we are to providers that know us by a federation alone.
fn relying_party(app: &App, callbacks: &[String]) -> Value {
    json!({
        "client_registration_types": ["automatic"],
        "redirect_uris": callbacks,
        "jwks_uri": format!("{}/jwks", app.issuer),
        "response_types": ["code"],
        "grant_types": ["authorization_code"],
        "application_type": "web",
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "request_object_signing_alg": "ES256",
        "id_token_signed_response_alg": "ES256",
    })
}
