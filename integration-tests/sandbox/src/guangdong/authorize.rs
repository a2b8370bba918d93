//! From the authorization request to the callback: check, log in or use the platform's session, send the code.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use url::form_urlencoded;

use super::{AuthRequest, CodeGrant, Generation, Login, Misbehaviour, Shared, page};
use crate::entropy;
use crate::web::{self, Params};

const FORM_SECONDS: u64 = 600;
const CODE_SECONDS: u64 = 60;
const SESSION_SECONDS: u64 = 8 * 3600;

/// What a legacy client may write into `scope` besides `all`.
const LEGACY_SCOPE: &str =
    "cn uid mail idCardNumber telephoneNumber version userIdCode createTime credenceState orgInfo extProperties";

/// `GET …/authorize`
pub(super) async fn authorize(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    shared.control.note_authorize(&query);
    let generation = Generation::of(uri.path());
    let request = match read_request(&shared, generation, &query) {
        Ok(request) => request,
        Err(reason) => return page::problem(reason),
    };
    // Single sign-on: the platform has no parameter that asks for a new login.
    let session = web::cookie(&headers, &shared.session_cookie()).and_then(|id| shared.sessions.get(&id));
    if let Some(login) = session {
        return send_code(&shared, request, login);
    }
    match generation.landing() {
        Some(landing) => web::redirect(&landing_address(&shared, landing, &request)),
        None => ask(&shared, request),
    }
}

fn read_request(shared: &Shared, generation: Generation, query: &str) -> Result<AuthRequest, &'static str> {
    let params = Params::parse(query).ok_or("A parameter is repeated.")?;
    let request = parties(shared, generation, &params)?;
    if params.get("service") != Some("initService") {
        return Err("The service must be initService.");
    }
    if params.get("response_type") != Some("code") {
        return Err("The response_type must be code.");
    }
    if !params.get("scope").is_some_and(|scope| scope_is_known(generation, scope)) {
        return Err("The scope must be all.");
    }
    Ok(request)
}

/// The client and the address it wants the person back at, which must belong together.
fn parties(shared: &Shared, generation: Generation, params: &Params) -> Result<AuthRequest, &'static str> {
    let client_id = params.get("client_id").unwrap_or_default();
    let client = shared.client(client_id).ok_or("The client is not registered here.")?;
    let redirect_uri = params.get("redirect_uri").unwrap_or_default();
    if !client.may_use(redirect_uri) {
        return Err("The redirect address is not registered for this client.");
    }
    Ok(AuthRequest {
        generation,
        client_id: client_id.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        state: params.owned("state"),
    })
}

fn scope_is_known(generation: Generation, scope: &str) -> bool {
    let is_attribute = |name: &str| LEGACY_SCOPE.split(' ').any(|known| known == name);
    scope == "all" || (generation == Generation::Legacy && scope.split(['+', ' ']).all(is_attribute))
}

fn landing_address(shared: &Shared, landing: &str, request: &AuthRequest) -> String {
    let mut pairs = vec![("redirect_uri", request.redirect_uri.as_str()), ("client_id", request.client_id.as_str())];
    if let (true, Some(state)) = (shared.control.echoes_state(), &request.state) {
        pairs.push(("state", state));
    }
    web::with_query(&format!("{}{landing}", shared.config.origin), &pairs)
}

/// `GET …/static/`: the login page, to which `authorize` leads.
pub(super) async fn landing(State(shared): State<Arc<Shared>>, uri: Uri, RawQuery(query): RawQuery) -> Response {
    let params = Params::parse(&query.unwrap_or_default()).ok_or("A parameter is repeated.");
    match params.and_then(|params| parties(&shared, Generation::of(uri.path()), &params)) {
        Ok(request) => ask(&shared, request),
        Err(reason) => page::problem(reason),
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
        return send_back(&shared, &request, None);
    };
    let Some((person, account)) = shared.account(chosen) else {
        return page::problem("There is no such account.");
    };
    let method = params.get("method").unwrap_or(&account.method);
    if !page::METHODS.iter().any(|(code, _)| *code == method) {
        return page::problem("There is no such way to log in.");
    }
    let login = Login { person: person.id.clone(), method: method.to_owned() };
    let mut response = send_code(&shared, request, login.clone());
    if params.get("remember").is_some()
        && let Ok(id) = entropy::token()
        && shared.sessions.insert(&id, login, SESSION_SECONDS)
    {
        web::set_cookie(&mut response, &shared.session_cookie(), &id);
    }
    response
}

fn send_code(shared: &Shared, request: AuthRequest, login: Login) -> Response {
    let Ok(code) = entropy::token() else {
        return page::problem("No random bytes are available.");
    };
    if !shared.codes.insert(&code, CodeGrant { request: request.clone(), login }, CODE_SECONDS) {
        return page::problem("Too many logins at once; try again later.");
    }
    send_back(shared, &request, Some(&code))
}

/// Redirects to the client. Only `code` is added to the address the client gave, or nothing at all
/// when the person cancelled.
fn send_back(shared: &Shared, request: &AuthRequest, code: Option<&str>) -> Response {
    let mut added = Vec::new();
    added.extend(code.map(|code| ("code", code)));
    if shared.control.echoes_state() {
        added.extend(request.state.as_deref().map(|state| ("state", state)));
    }
    let right =
        if added.is_empty() { request.redirect_uri.clone() } else { web::with_query(&request.redirect_uri, &added) };
    web::redirect(&match shared.control.callback_fault() {
        Misbehaviour::WrongState => with_other_values(&right),
        Misbehaviour::DuplicateParameter => with_query_twice(&right),
        _ => right,
    })
}

/// The address with every value of its query but the code's replaced.
fn with_other_values(address: &str) -> String {
    let Some((base, query)) = address.split_once('?') else { return address.to_owned() };
    let mut other = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = if name == "code" { &value } else { "a-value-nobody-sent" };
        other.append_pair(&name, value);
    }
    format!("{base}?{}", other.finish())
}

fn with_query_twice(address: &str) -> String {
    match address.split_once('?') {
        Some((_, query)) => format!("{address}&{query}"),
        None => address.to_owned(),
    }
}
