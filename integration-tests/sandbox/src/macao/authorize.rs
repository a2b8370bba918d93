//! From the authorization request to the callback: check, log in or use the session, send the code.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::{AuthRequest, CodeGrant, Login, Misbehaviour, Shared, page};
use crate::clock::now_unix;
use crate::entropy;
use crate::people::MacaoAccount;
use crate::web::{self, Params};

const FORM_SECONDS: u64 = 600;
const CODE_SECONDS: u64 = 60;
const SESSION_SECONDS: u64 = 8 * 3600;

/// An OAuth error and its explanation, to be sent to the client.
type Refusal = (&'static str, &'static str);

/// `GET /oauth/authorize`
pub(super) async fn authorize(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    shared.control.note_authorize(&query);
    let Some(params) = Params::parse(&query) else {
        return page::problem("A parameter is repeated.");
    };
    // Until client and address are known to belong together, errors must stay on this page.
    let (client_id, redirect_uri) =
        (params.get("client_id").unwrap_or_default(), params.get("redirect_uri").unwrap_or_default());
    let Some(client) = shared.client(client_id) else {
        return page::problem("The client is not registered here.");
    };
    if !client.redirect_uris.iter().any(|registered| registered == redirect_uri) {
        return page::problem("The redirect address is not registered for this client.");
    }
    match read_request(&params, client_id, redirect_uri) {
        Ok(request) => log_in(&shared, request, &headers),
        Err(refusal) => refuse(&shared, redirect_uri, params.get("state"), refusal),
    }
}

fn read_request(params: &Params, client_id: &str, redirect_uri: &str) -> Result<AuthRequest, Refusal> {
    if params.get("response_type") != Some("code") {
        return Err(("unsupported_response_type", "only response_type=code is supported"));
    }
    let challenge = params.owned("code_challenge").ok_or(("invalid_request", "code_challenge is missing"))?;
    if params.get("code_challenge_method") != Some("S256") {
        return Err(("invalid_request", "code_challenge_method must be S256"));
    }
    let request = AuthRequest {
        client_id: client_id.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        state: params.owned("state"),
        challenge,
        factor: params.owned("factor"),
        portuguese: params.get("ui_locales").is_some_and(|locales| locales.starts_with("pt")),
    };
    if !page::WAYS.iter().any(|way| request.accepts(way)) {
        return Err(("invalid_request", "there is no such factor"));
    }
    Ok(request)
}

/// Uses a remembered login when it was good enough, and shows the form otherwise.
fn log_in(shared: &Shared, request: AuthRequest, headers: &HeaderMap) -> Response {
    let session = web::cookie(headers, &shared.session_cookie()).and_then(|id| shared.sessions.get(&id));
    match session.filter(|login| request.accepts(&login.way)) {
        Some(login) => send_code(shared, request, login),
        None => ask(shared, request),
    }
}

fn ask(shared: &Shared, request: AuthRequest) -> Response {
    let Ok(handle) = entropy::token() else {
        return page::problem("No random bytes are available.");
    };
    let form = page::login(shared, &request, &handle);
    if !shared.requests.insert(&handle, request, FORM_SECONDS) {
        return page::problem("Too many logins are waiting; try again later.");
    }
    web::html(StatusCode::OK, form)
}

/// `POST /login/decide`: the person pressed a button of the login form.
pub(super) async fn decide(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let Some(params) = Params::parse(&body) else {
        return page::problem("A parameter is repeated.");
    };
    let Some(request) = shared.requests.take(params.get("handle").unwrap_or_default()) else {
        return page::problem("This login form has been used or is too old. Start again at the service.");
    };
    let Some(chosen) = params.get("person") else {
        return refuse_request(&shared, &request, ("access_denied", "the person cancelled the login"));
    };
    let Some((person, account)) = shared.account(chosen) else {
        return refuse_request(&shared, &request, ("access_denied", "there is no such account"));
    };
    let Some(way) = chosen_way(&request, params.get("factor"), account) else {
        return refuse_request(&shared, &request, ("access_denied", "this way to log in was not offered"));
    };
    let login = Login { person: person.id.clone(), way, at: now_unix() };
    let mut response = send_code(&shared, request, login.clone());
    if params.get("remember").is_some()
        && let Ok(id) = entropy::token()
        && shared.sessions.insert(&id, login, SESSION_SECONDS)
    {
        web::set_cookie(&mut response, &shared.session_cookie(), &id);
    }
    response
}

/// How the person logs in: as the form says, else as the account does, else as the client demands.
fn chosen_way(request: &AuthRequest, posted: Option<&str>, account: &MacaoAccount) -> Option<String> {
    let mut offered = page::WAYS.into_iter().filter(|way| request.accepts(way));
    match posted {
        Some(posted) => offered.find(|way| *way == posted).map(str::to_owned),
        None if request.accepts(&account.factor) => Some(account.factor.clone()),
        None => offered.next().map(str::to_owned),
    }
}

fn send_code(shared: &Shared, request: AuthRequest, login: Login) -> Response {
    let (redirect_uri, state) = (request.redirect_uri.clone(), request.state.clone());
    let busy = ("temporarily_unavailable", "too many logins at once");
    match entropy::token() {
        Ok(code) if shared.codes.insert(&code, CodeGrant { request, login }, CODE_SECONDS) => {
            send_back(shared, &redirect_uri, state.as_deref(), &[("code", &code)])
        }
        _ => refuse(shared, &redirect_uri, state.as_deref(), busy),
    }
}

fn refuse_request(shared: &Shared, request: &AuthRequest, refusal: Refusal) -> Response {
    refuse(shared, &request.redirect_uri, request.state.as_deref(), refusal)
}

fn refuse(shared: &Shared, redirect_uri: &str, state: Option<&str>, (error, description): Refusal) -> Response {
    send_back(shared, redirect_uri, state, &[("error", error), ("error_description", description)])
}

/// Redirects to the client with its `state`, or with what the misbehaviour makes of it.
fn send_back(shared: &Shared, redirect_uri: &str, state: Option<&str>, answer: &[(&str, &str)]) -> Response {
    let mut pairs = answer.to_vec();
    match (shared.control.callback_fault(), state) {
        (Misbehaviour::WrongState, _) => pairs.push(("state", "a-state-nobody-sent")),
        (Misbehaviour::OmitState, _) | (_, None) => {}
        (Misbehaviour::DuplicateState, Some(state)) => pairs.extend([("state", state), ("state", state)]),
        (_, Some(state)) => pairs.push(("state", state)),
    }
    web::redirect(&web::with_query(redirect_uri, &pairs))
}
