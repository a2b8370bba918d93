//! The account endpoint, which tells who logged in. All its names are made up.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::control::Endpoint;
use super::{Login, Misbehaviour, Shared, token};
use crate::people::{MacaoAccount, MacaoEntity, Person};
use crate::web;

/// `GET /oauth/account`
pub(super) async fn account(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    shared.control.count(Endpoint::Userinfo);
    let fault = shared.control.account_fault();
    if let Some(response) = token::broken(&shared, &fault).await {
        return response;
    }
    match tell(&shared, &headers, &fault) {
        Some(answer) => token::padded(answer, &fault),
        None => {
            let mut response = web::json(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" }));
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
    }
}

fn tell(shared: &Shared, headers: &HeaderMap, fault: &Misbehaviour) -> Option<Value> {
    let bearer = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let login = shared.access_tokens.get(bearer)?;
    let (person, own) = shared.account(&login.person)?;

    let mut account = Map::new();
    if let Some(id) = subject(person, fault) {
        account.insert("id".to_owned(), id);
    }
    account.insert("kind".to_owned(), own.kind.clone().into());
    account.insert("proofing".to_owned(), own.proofing.clone().into());

    let mut answer = Map::new();
    answer.insert("account".to_owned(), account.into());
    answer.insert("holder".to_owned(), holder(person, own));
    if let Some(entity) = &own.entity {
        answer.insert("entity".to_owned(), organisation(person, entity));
    }
    answer.insert("login".to_owned(), how(&login, fault));
    answer.insert("contact".to_owned(), json!({ "email": person.email, "phone": person.phone_number }));
    Some(Value::Object(answer))
}

fn subject(person: &Person, fault: &Misbehaviour) -> Option<Value> {
    match fault {
        Misbehaviour::NoSubject => None,
        Misbehaviour::EmptySubject => Some("".into()),
        Misbehaviour::NumericSubject => Some(12_345.into()),
        _ => Some(person.sub.clone().into()),
    }
}

fn holder(person: &Person, account: &MacaoAccount) -> Value {
    json!({
        "kind": account.holder,
        "name": { "latin": person.name, "chinese": person.name_zh },
        "born": person.birthdate,
        "sex": if person.gender == "male" { "M" } else { "F" },
        "document": { "type": account.document.kind, "number": account.document.number },
    })
}

/// The organisation, and what the person is in it. The holder of such a login is the staff member.
fn organisation(person: &Person, entity: &MacaoEntity) -> Value {
    json!({
        "id": entity.id,
        "kind": entity.kind,
        "name": { "latin": entity.latin, "chinese": entity.chinese },
        "staff": { "id": person.sub, "role": entity.role },
    })
}

fn how(login: &Login, fault: &Misbehaviour) -> Value {
    let factors: Vec<&str> = login.way.split('+').collect();
    match fault {
        Misbehaviour::NoFactor => json!({ "at": login.at }),
        Misbehaviour::UnknownFactor => json!({ "factors": ["telepathy"], "at": login.at }),
        _ => json!({ "factors": factors, "at": login.at }),
    }
}
