//! `/introspect` (RFC 7662; signed, RFC 9701): a resource server asks what a token is good for. It hears of the tokens of
//! services that name it, a portal of its own; of any other token it hears what it would hear of an invented one.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::client::Client;
use gateway_core::consent::Mode;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::PersonId;
use gateway_core::params::Params;
use gateway_core::subject::pairwise;
use gateway_core::token::{AccessGrant, Confirmation};
use http::header::ACCEPT;
use http::request::Parts;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};

use super::access::{Standing, access, refresh_token};
use super::client_auth::{self, authenticate};
use crate::app::{Active, App};
use crate::http::{reply, request};
use crate::keys::algorithm;

/// The media type of a signed answer (RFC 9701 section 4).
const SIGNED: &str = "application/token-introspection+jwt";

/// `POST /introspect`.
pub async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let answered = async { answer(&app, &parts, &request::form(&parts, body).await?).await };
    answered.await.unwrap_or_else(|error| reply::refused("introspection", &error))
}

async fn answer(app: &App, parts: &Parts, form: &Params) -> Result<Response, OAuthError> {
    client_auth::admit(app, parts, form).await;
    let active = app.bundle();
    let client = &authenticate(app, &active, parts, form, "/introspect").await?.client;
    if client.is_public() {
        return Err(OAuthError::new(OAuthCode::InvalidClient, "whoever asks about tokens has to prove who they are"));
    }
    let token = form.required("token")?;
    let known = describe(app, &active, client, token).await.map_err(|error| super::token::internal(&*error))?;
    let mut answer = known.unwrap_or_default();
    answer.insert("active".to_owned(), (!answer.is_empty()).into());
    let wants_signed = request::header(parts, ACCEPT).is_some_and(|accept| accept.contains(SIGNED));
    if !wants_signed {
        return Ok(reply::json(StatusCode::OK, &Value::Object(answer)));
    }
    // RFC 9701 section 5.
    let claims = json!({
        "iss": app.issuer, "aud": client.id.on_the_wire(), "iat": app.now().0, "token_introspection": answer,
    });
    let claims = claims.as_object().cloned().unwrap_or_default();
    let signed = app.keys.sign(algorithm(client.signed.introspection), "token-introspection+jwt", &claims);
    Ok(reply::token(SIGNED, signed.map_err(|error| super::token::internal(&error))?))
}

/// What this client may hear of a token; nothing, when it may hear nothing or there is nothing to hear.
async fn describe(
    app: &App,
    active: &Active,
    client: &Client,
    token: &str,
) -> Result<Option<Map<String, Value>>, super::access::Error> {
    if let Standing::Good(grant) = access(app, active, token).await? {
        return Ok(about_access(app, active, client, &grant));
    }
    let refresh = refresh_token(app, active, client, token).await?;
    Ok(refresh.and_then(|refresh| {
        let about = json!({
            "client_id": refresh.grant.client.on_the_wire(),
            "scope": refresh.grant.scopes.join(" "),
            "sub": refresh.grant.subject,
            "iss": app.issuer,
            "exp": refresh.expires_at.0,
        });
        about.as_object().cloned()
    }))
}

fn about_access(app: &App, active: &Active, client: &Client, grant: &AccessGrant) -> Option<Map<String, Value>> {
    let policies = active.catalog.policies();
    let service = policies.service(&grant.service)?;
    let own = grant.client == client.id;
    let serves = service.is_served_by(&client.id) && active.admits(&client.id, &service.id);
    if !own && !serves {
        return None;
    }
    let about = json!({
        "client_id": grant.client.on_the_wire(),
        "scope": grant.scopes.join(" "),
        "token_type": Confirmation::token_type(grant.confirmation.as_ref()),
        "iss": app.issuer,
        "aud": service.resource,
        "iat": grant.issued_at.0,
        "exp": grant.expires_at.0,
    });
    let mut about = about.as_object().cloned()?;
    if let Some(person) = &grant.about {
        about.insert("acr".to_owned(), person.acr.acr().into());
        about.extend(person.auth_time.map(|time| ("auth_time".to_owned(), time.0.into())));
    }
    let name = |person: &PersonId| pairwise(&app.pairwise, person, &client.sector);
    about.extend(grant.act(name).map(|act| ("act".to_owned(), act)));
    let said = grant.about.as_ref().and_then(|about| about.details.as_ref());
    let details = policies.details_known(&grant.service, said).map(|details| json!([details.to_json()]));
    about.extend(details.map(|details| ("authorization_details".to_owned(), details)));
    about.extend(grant.confirmation.as_ref().map(|confirmation| ("cnf".to_owned(), confirmation.cnf())));
    // Another sector knows the person by its own name for them, and of somebody anonymous it knows nothing.
    let subject = match (&grant.about, own, service.consent) {
        (None, ..) | (_, true, _) => Some(grant.subject().to_owned()),
        (_, false, Mode::Anonymous) => None,
        (Some(person), false, _) => Some(pairwise(&app.pairwise, &person.person, &client.sector)),
    };
    about.extend(subject.map(|subject| ("sub".to_owned(), subject.into())));
    Some(about)
}
