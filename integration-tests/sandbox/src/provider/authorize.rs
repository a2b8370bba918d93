//! The authorization endpoint: check the request, find or ask the person, send the code.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{AuthRequest, CodeGrant, Misbehaviour, Session, Shared, page};
use crate::clock::now_unix;
use crate::people::Person;
use crate::web::{self, Params};
use crate::{SandboxError, entropy};

const FORM_SECONDS: u64 = 600;
const CODE_SECONDS: u64 = 60;
const SESSION_SECONDS: u64 = 8 * 3600;

/// An OAuth error and its explanation, to be sent to the client.
type Refusal = (&'static str, &'static str);

/// `GET /authorize`
pub(super) async fn by_get(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    start(&shared, &query.unwrap_or_default(), &headers)
}

/// `POST /authorize`, which OpenID Connect requires as well.
pub(super) async fn by_post(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    start(&shared, &body, &headers)
}

fn start(shared: &Shared, raw: &str, headers: &HeaderMap) -> Response {
    shared.control.note_authorize(raw);
    let Some(params) = Params::parse(raw) else {
        return page::problem(shared, "A parameter is repeated.");
    };
    // Until client and address are known to belong together, errors must stay on this page.
    let (client_id, redirect_uri) =
        (params.get("client_id").unwrap_or_default(), params.get("redirect_uri").unwrap_or_default());
    let Some(client) = shared.client(client_id) else {
        return page::problem(shared, "The client is not registered here.");
    };
    if !client.redirect_uris.iter().any(|registered| registered == redirect_uri) {
        return page::problem(shared, "The redirect address is not registered for this client.");
    }
    match read_request(&params, client_id, redirect_uri) {
        Ok(request) => log_in(shared, request, headers),
        Err(refusal) => refuse(shared, redirect_uri, params.get("state"), refusal),
    }
}

fn read_request(params: &Params, client_id: &str, redirect_uri: &str) -> Result<AuthRequest, Refusal> {
    if params.get("request").is_some() {
        return Err(("request_not_supported", "request objects are not supported"));
    }
    if params.get("request_uri").is_some() {
        return Err(("request_uri_not_supported", "request objects are not supported"));
    }
    if params.get("response_type") != Some("code") {
        return Err(("unsupported_response_type", "only response_type=code is supported"));
    }
    if !matches!(params.get("response_mode"), None | Some("query")) {
        return Err(("invalid_request", "only response_mode=query is supported"));
    }
    let scopes: Vec<String> = params.get("scope").unwrap_or_default().split(' ').map(str::to_owned).collect();
    if !scopes.iter().any(|scope| scope == "openid") {
        return Err(("invalid_scope", "the scope must include openid"));
    }
    let challenge = params.owned("code_challenge");
    if challenge.is_some() && params.get("code_challenge_method") != Some("S256") {
        return Err(("invalid_request", "code_challenge_method must be S256"));
    }
    let max_age = match params.get("max_age").map(str::parse) {
        None => None,
        Some(Ok(seconds)) => Some(seconds),
        Some(Err(_)) => return Err(("invalid_request", "max_age must be a number of seconds")),
    };
    let claims: Value = match params.get("claims").map(serde_json::from_str) {
        None => Value::Null,
        Some(Ok(claims)) => claims,
        Some(Err(_)) => return Err(("invalid_request", "claims must be JSON")),
    };
    Ok(AuthRequest {
        client_id: client_id.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        state: params.owned("state"),
        nonce: params.owned("nonce"),
        challenge,
        scopes,
        prompt: params.owned("prompt"),
        max_age,
        essential_acr: essential_acr(&claims),
        id_token_claims: requested_names(&claims, "id_token"),
        userinfo_claims: requested_names(&claims, "userinfo"),
        login_hint: params.owned("login_hint"),
        english: params.get("ui_locales").is_some_and(|locales| locales.starts_with("en")),
    })
}

fn requested_names(claims: &Value, destination: &str) -> Vec<String> {
    let requested = claims.get(destination).and_then(Value::as_object);
    requested.map(|members| members.keys().cloned().collect()).unwrap_or_default()
}

/// Values of `acr` that the client cannot do without (OpenID Connect Core, section 5.5.1.1).
fn essential_acr(claims: &Value) -> Vec<String> {
    let Some(acr) = claims.pointer("/id_token/acr") else { return Vec::new() };
    if acr.get("essential") != Some(&Value::Bool(true)) {
        return Vec::new();
    }
    let listed = acr.get("values").and_then(Value::as_array).into_iter().flatten();
    listed.chain(acr.get("value")).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Uses a remembered login when the request allows it, and shows the form otherwise.
fn log_in(shared: &Shared, request: AuthRequest, headers: &HeaderMap) -> Response {
    let prompt = request.prompt.clone().unwrap_or_default();
    let remembered = session(shared, headers).filter(|session| {
        let age = now_unix().saturating_sub(session.auth_time);
        // max_age=0 asks for a new login even in the second of the last one.
        request.max_age.is_none_or(|max_age| max_age > 0 && age <= max_age)
    });
    let known = remembered.and_then(|session| Some((shared.person(&session.person)?, session.auth_time)));
    match (prompt.as_str(), known) {
        ("" | "none", Some((person, auth_time))) => send_code(shared, request, person, auth_time),
        ("none", None) => {
            refuse_request(shared, &request, ("login_required", "nobody is logged in, or not recently enough"))
        }
        _ => ask(shared, request),
    }
}

fn session(shared: &Shared, headers: &HeaderMap) -> Option<Session> {
    shared.sessions.get(&web::cookie(headers, &session_cookie(shared))?)
}

fn session_cookie(shared: &Shared) -> String {
    web::cookie_name("provider", &shared.config.issuer)
}

fn ask(shared: &Shared, request: AuthRequest) -> Response {
    let Ok(handle) = entropy::token() else {
        return page::problem(shared, "No random bytes are available.");
    };
    let form = page::login(shared, &request, &handle);
    if !shared.requests.insert(&handle, request, FORM_SECONDS) {
        return page::problem(shared, "Too many logins are waiting; try again later.");
    }
    web::html(StatusCode::OK, form)
}

/// `POST /authorize/decide`: the person pressed a button of the login form.
pub(super) async fn decide(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let params = Params::parse(&body);
    let handle = params.as_ref().and_then(|params| params.get("handle")).unwrap_or_default();
    let Some(request) = shared.requests.take(handle) else {
        return page::problem(&shared, "This login form has been used or is too old. Start again at the service.");
    };
    let Some(chosen) = params.as_ref().and_then(|params| params.get("person")) else {
        return refuse_request(&shared, &request, ("access_denied", "the person cancelled the login"));
    };
    let Some(person) = shared.person(chosen) else {
        return refuse_request(&shared, &request, ("access_denied", "there is no such account"));
    };
    let now = now_unix();
    let mut response = send_code(&shared, request, person, now);
    if params.as_ref().and_then(|params| params.get("remember")).is_some()
        && let Ok(id) = entropy::token()
        && shared.sessions.insert(&id, Session { person: person.id.clone(), auth_time: now }, SESSION_SECONDS)
    {
        web::set_cookie(&mut response, &session_cookie(&shared), &id);
    }
    response
}

fn send_code(shared: &Shared, request: AuthRequest, person: &Person, auth_time: u64) -> Response {
    if !request.essential_acr.is_empty() && !request.essential_acr.contains(&person.acr) {
        let refusal = ("unmet_authentication_requirements", "this account cannot log in as demanded");
        return refuse_request(shared, &request, refusal);
    }
    let (redirect_uri, state) = (request.redirect_uri.clone(), request.state.clone());
    match new_code(shared, CodeGrant { request, person: person.id.clone(), auth_time }) {
        Ok(Some(code)) => send_back(shared, &redirect_uri, state.as_deref(), &[("code", &code)]),
        Ok(None) | Err(_) => {
            refuse(shared, &redirect_uri, state.as_deref(), ("temporarily_unavailable", "too many logins at once"))
        }
    }
}

fn new_code(shared: &Shared, grant: CodeGrant) -> Result<Option<String>, SandboxError> {
    let code = entropy::token()?;
    Ok(shared.codes.insert(&code, grant, CODE_SECONDS).then_some(code))
}

fn refuse_request(shared: &Shared, request: &AuthRequest, refusal: Refusal) -> Response {
    refuse(shared, &request.redirect_uri, request.state.as_deref(), refusal)
}

fn refuse(shared: &Shared, redirect_uri: &str, state: Option<&str>, (error, description): Refusal) -> Response {
    send_back(shared, redirect_uri, state, &[("error", error), ("error_description", description)])
}

/// Redirects to the client with `state` and `iss`, or with what the misbehaviour makes of them.
fn send_back(shared: &Shared, redirect_uri: &str, state: Option<&str>, answer: &[(&str, &str)]) -> Response {
    let misbehaviour = shared.control.misbehaviour();
    let mut pairs = answer.to_vec();
    match (&misbehaviour, state) {
        (Misbehaviour::WrongState, _) => pairs.push(("state", "a-state-nobody-sent")),
        (Misbehaviour::DuplicateState, Some(state)) => pairs.extend([("state", state), ("state", state)]),
        (_, Some(state)) => pairs.push(("state", state)),
        (_, None) => {}
    }
    match misbehaviour {
        Misbehaviour::OmitIssParameter => {}
        Misbehaviour::WrongIssParameter => pairs.push(("iss", "https://another-issuer.example")),
        _ => pairs.push(("iss", &shared.config.issuer)),
    }
    web::redirect(&web::with_query(redirect_uri, &pairs))
}
