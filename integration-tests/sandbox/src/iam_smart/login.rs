//! The login in the browser: check the request, let a person be chosen, send the code.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use openssl::error::ErrorStack;

use super::rpc::Refusal;
use super::{Grant, Login, Misbehaviour, Shared, crypto, page, query};
use crate::web::{self, Params};

const FORM_SECONDS: u64 = 600;
const CODE_SECONDS: u64 = 30;

/// `GET /api/v1/auth/getQR`
pub(super) async fn get_qr(State(shared): State<Arc<Shared>>, RawQuery(raw): RawQuery) -> Response {
    let raw = raw.unwrap_or_default();
    shared.steering.note_query(&raw);
    match query::read(&shared, &raw).and_then(|(login, source)| ask(&shared, login, &source)) {
        Ok(response) => response,
        // Nothing goes to an address that is not known to be the client's; to keep the rule simple,
        // nothing goes to any address.
        Err(refusal) => page::refused(query::is_english(&raw), &refusal),
    }
}

fn ask(shared: &Shared, login: Login, source: &str) -> Result<Response, Refusal> {
    let handle = crypto::token()?;
    let form = page::login(shared, &login, source == query::PC, &handle);
    if !shared.logins.insert(&handle, login, FORM_SECONDS) {
        return Err(Refusal::new("D40003", "too many logins are waiting"));
    }
    Ok(web::html(StatusCode::OK, form))
}

/// `POST /login/decide`: the person pressed a button of the login form.
pub(super) async fn decide(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let params = Params::parse(&body);
    let chosen = |name: &str| params.as_ref().and_then(|params| params.get(name));
    let Some(login) = shared.logins.take(chosen("handle").unwrap_or_default()) else {
        return page::problem("This login form has been used or is too old. Start again at the service.");
    };
    let misbehaviour = shared.steering.misbehaviour();
    let answer = match (&misbehaviour, chosen("person")) {
        (Misbehaviour::LoginError(code), _) => vec![("error_code", code.clone())],
        (Misbehaviour::RefuseSilently, _) => Vec::new(),
        (_, None) => vec![("error_code", "D40001".to_owned())],
        (_, Some(person)) if shared.account(person).is_none() => return page::problem("There is no such account."),
        (_, Some(person)) => {
            let grant = Grant {
                client_id: login.client_id.clone(),
                person: person.to_owned(),
                scopes: login.scopes.clone(),
                hold: chosen("hold").is_some(),
            };
            match new_code(&shared, grant) {
                Ok(Some(code)) => vec![("code", code)],
                Ok(None) | Err(_) => return page::problem("Too many logins at once."),
            }
        }
    };
    send_back(&login, &misbehaviour, &answer)
}

/// A code for `grant`; `None` when there are too many.
pub(super) fn new_code(shared: &Shared, grant: Grant) -> Result<Option<String>, ErrorStack> {
    let code = crypto::token()?;
    Ok(shared.codes.insert(&code, grant, CODE_SECONDS).then_some(code))
}

/// Redirects to the client with `state`, or with what the misbehaviour makes of it.
fn send_back(login: &Login, misbehaviour: &Misbehaviour, answer: &[(&str, String)]) -> Response {
    let mut pairs: Vec<(&str, &str)> = answer.iter().map(|(name, value)| (*name, value.as_str())).collect();
    match (misbehaviour, login.state.as_deref()) {
        (Misbehaviour::OmitState, _) => {}
        (Misbehaviour::WrongState, _) => pairs.push(("state", "a-state-nobody-sent")),
        (Misbehaviour::DuplicateState, Some(state)) => pairs.extend([("state", state), ("state", state)]),
        (_, Some(state)) => pairs.push(("state", state)),
        (_, None) => {}
    }
    web::redirect(&web::with_query(&login.redirect_uri, &pairs))
}
