//! People who answer on their own phone: before a terminal that shows a code (RFC 8628), or at a counter that asks them (CIBA).
//!
//! Both wait on one page, which looks for the answer each time it is shown and shows itself again.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::{StatusCode, header::HeaderValue};
use serde_json::{Map, Value};

use super::callback::{SignedIn, received, remember};
use super::discovery::Metadata;
use super::{Elsewhere, Failure, Shared, cannot_begin, page, token, verify};
use crate::clock::now_unix;
use crate::entropy;
use crate::web::{self, Params};

/// Where the demonstration's terminals and counters stand.
const PLACE: &str = "Demonstration hall 演示大厅";
/// Shorter than the interval that anybody asks for.
const SHOWN_AGAIN: &str = "3";

/// Somebody who was asked and has not answered yet.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) service: usize,
    /// What the person opens, where a terminal shows it: the address to type, the code, and the address that holds it.
    pub(super) code: Option<[String; 3]>,
    /// The digits that both sides show.
    pub(super) check: String,
    grant: [(&'static str, String); 2],
    interval: u64,
    ends: u64,
    /// When to look again.
    next: u64,
}

/// `POST /elsewhere`: asks, as this portal does.
pub(super) async fn ask(State(shared): State<Arc<Shared>>, body: String) -> Response {
    match asked(&shared, &body).await {
        Ok(id) => web::redirect(&format!("/elsewhere/{id}")),
        Err(failure) => cannot_begin(&shared, &failure),
    }
}

async fn asked(shared: &Shared, body: &str) -> Result<String, Failure> {
    let refused = |why: &str| Failure::new("elsewhere", "cannot_begin", why);
    let how = shared.config.elsewhere.ok_or_else(|| refused("this portal knows its own browser only"))?;
    let params = Params::parse(body).ok_or_else(|| refused("a parameter is repeated"))?;
    let index = params.get("service").and_then(|index| index.parse().ok()).unwrap_or_default();
    let service: &super::PortalService = shared.config.services.get(index).ok_or_else(|| refused("no such service"))?;
    let metadata = shared.metadata().await?;
    let endpoint = match how {
        Elsewhere::Terminal => &metadata.device_authorization_endpoint,
        Elsewhere::Counter => &metadata.backchannel_authentication_endpoint,
    };
    let endpoint = endpoint.as_ref().ok_or_else(|| refused("the issuer offers nothing like it"))?;
    let mut form = vec![
        ("scope", shared.config.scope.as_str()),
        ("resource", service.resource.as_str()),
        ("terminal_name", shared.config.name_zh.as_str()),
        ("terminal_place", PLACE),
    ];
    if how == Elsewhere::Counter {
        form.push(("login_hint", params.get("code").ok_or_else(|| refused("the code on the phone is missing"))?));
        form.push(("binding_message", service.name_zh.as_str()));
    }
    let answer = token::post(shared, "elsewhere", endpoint, form).await?;
    let waiting = Waiting::read(how, index, &answer).ok_or_else(|| refused("the answer cannot be read"))?;
    let id = entropy::token().map_err(|error| refused(&error.to_string()))?;
    let lasts = waiting.ends.saturating_sub(now_unix());
    let kept = shared.waiting.insert(&id, waiting, lasts);
    if kept { Ok(id) } else { Err(refused("too many wait")) }
}

impl Waiting {
    fn read(how: Elsewhere, service: usize, answer: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| verify::text(answer, name).map(str::to_owned);
        let (grant, name) = match how {
            Elsewhere::Terminal => ("urn:ietf:params:oauth:grant-type:device_code", "device_code"),
            Elsewhere::Counter => ("urn:openid:params:grant-type:ciba", "auth_req_id"),
        };
        let code = match how {
            Elsewhere::Counter => None,
            Elsewhere::Terminal => {
                Some([text("verification_uri")?, text("user_code")?, text("verification_uri_complete")?])
            }
        };
        let (now, number) = (now_unix(), |name: &str| answer.get(name).and_then(Value::as_u64));
        let interval = number("interval").unwrap_or(5);
        Some(Self {
            service,
            code,
            check: text("check_code").unwrap_or_default(),
            grant: [("grant_type", grant.to_owned()), (name, text(name)?)],
            interval,
            ends: now + number("expires_in")?,
            next: now + interval,
        })
    }
}

/// `GET /elsewhere/{id}`: looks whether there is an answer, when it is time to.
pub(super) async fn wait(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    // It stays where it is until there is an answer: whoever leaves the page, or has it open twice, loses nothing.
    let Some(mut waiting) = shared.waiting.get(&id) else {
        return cannot_begin(&shared, &Failure::new("elsewhere", "unknown", "nobody waits for this any more"));
    };
    let due = now_unix() >= waiting.next;
    // Whoever has the page open twice looks once.
    waiting.next = now_unix() + waiting.interval;
    if due {
        shared.waiting.replace(&id, waiting.clone());
    }
    let came = if due { look(&shared, &mut waiting).await } else { Ok(None) };
    match came {
        Ok(Some(signed_in)) => {
            shared.waiting.take(&id);
            let mut response = web::html(StatusCode::OK, page::signed_in(&shared, &signed_in));
            remember(&shared, &signed_in, &mut response);
            response
        }
        Ok(None) => {
            let mut response = web::html(StatusCode::OK, page::waiting(&shared, &waiting));
            response.headers_mut().insert("refresh", HeaderValue::from_static(SHOWN_AGAIN));
            if due {
                shared.waiting.replace(&id, waiting);
            }
            response
        }
        Err(failure) => web::html(StatusCode::BAD_REQUEST, page::failure(&shared, &failure)),
    }
}

/// Comes for the answer; nothing, where there is none yet.
async fn look(shared: &Shared, waiting: &mut Waiting) -> Result<Option<SignedIn>, Failure> {
    let metadata: Arc<Metadata> = shared.metadata().await?;
    let form = waiting.grant.iter().map(|(name, value)| (*name, value.as_str())).collect();
    match token::post(shared, "token", &metadata.token_endpoint, form).await {
        Ok(tokens) => {
            let expected = verify::Expected { nonce: None, max_age: None, started: 0 };
            received(shared, &metadata, waiting.service, &expected, tokens).await.map(Some)
        }
        Err(failure) if !["access_denied", "expired_token", "invalid_grant"].contains(&failure.error.as_str()) => {
            waiting.interval += if failure.error == "authorization_pending" { 0 } else { 5 };
            waiting.next = now_unix() + waiting.interval;
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}
