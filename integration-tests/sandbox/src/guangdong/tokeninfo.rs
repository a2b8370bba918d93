//! The call that tells who logged in.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Uri;
use serde_json::{Map, Value, json};

use super::control::Endpoint;
use super::{AccessGrant, Generation, Misbehaviour, Shared, account, token};
use crate::web::Params;
use crate::{SandboxError, entropy};

/// `GET …/tokeninfo`
pub(super) async fn tokeninfo(State(shared): State<Arc<Shared>>, uri: Uri, RawQuery(query): RawQuery) -> Response {
    shared.control.count(Endpoint::Tokeninfo);
    let generation = Generation::of(uri.path());
    let fault = shared.control.tokeninfo_fault();
    if let Some(response) = token::broken(&shared, &fault).await {
        return response;
    }
    let answer = match &fault {
        Misbehaviour::ErrCode(code) => Err(code.clone()),
        _ => find(&shared, generation, &query.unwrap_or_default())
            .and_then(|grant| tell(&shared, &grant, &fault))
            .map_err(str::to_owned),
    };
    token::respond(generation, answer, &fault)
}

fn find(shared: &Shared, generation: Generation, query: &str) -> Result<AccessGrant, &'static str> {
    let params = Params::parse(query).ok_or("SIM-REPEATED-PARAMETER")?;
    let grant = params.get("access_token").and_then(|token| shared.access_tokens.get(token));
    grant.filter(|grant| grant.generation == generation).ok_or("SIM-TOKEN")
}

fn tell(shared: &Shared, grant: &AccessGrant, fault: &Misbehaviour) -> Result<Value, &'static str> {
    let (person, own) = shared.account(&grant.login.person).ok_or("SIM-TOKEN")?;
    let parent = own.parent.as_deref().and_then(|id| shared.account(id));
    let tokenid = entropy::token().map_err(|_| "SIM-ENTROPY")?;

    let mut userobj = account::object(person, own, Some(&grant.login.method));
    userobj.insert("tokenid".to_owned(), tokenid.into());
    userobj.insert("parent_uidcode".to_owned(), parent.map_or("-1", |(organisation, _)| &organisation.sub).into());
    spoil(&mut userobj, fault);
    let pareobj = parent.map(|(organisation, its)| account::object(organisation, its, None));

    Ok(json!({
        "signdata": signdata().map_err(|_| "SIM-ENTROPY")?,
        "userobj": if *fault == Misbehaviour::NullUserobj { Value::Null } else { dress(userobj, grant.generation) },
        "pareobj": pareobj.map_or(Value::Null, |pareobj| dress(pareobj, grant.generation)),
        "user_creditable_level": { "creditable_level_of_account_way_list": account::ways(person, own) },
    }))
}

fn spoil(userobj: &mut Map<String, Value>, fault: &Misbehaviour) {
    let (name, value) = match fault {
        Misbehaviour::NoSubject => {
            userobj.remove("useridcode");
            return;
        }
        Misbehaviour::IsRealAlias => {
            let value = userobj.remove("isreal").unwrap_or_default();
            ("is_real", value)
        }
        Misbehaviour::BooleanFlags => {
            let real = userobj.get("isreal").is_some_and(|value| value == "true");
            ("isreal", real.into())
        }
        Misbehaviour::EmptySubject => ("useridcode", "".into()),
        Misbehaviour::NumericSubject => ("useridcode", 12_345.into()),
        Misbehaviour::UnknownLevel => ("creditable_level_of_account", "L9".into()),
        Misbehaviour::UnknownDocumentType => ("idcardtype", "99".into()),
        _ => return,
    };
    userobj.insert(name.to_owned(), value);
}

/// Gives the members the names of their generation; everything after the legacy one is in lower case.
fn dress(object: Map<String, Value>, generation: Generation) -> Value {
    if generation != Generation::Legacy {
        return Value::Object(object);
    }
    let mut legacy: Map<String, Value> = object.into_iter().map(|(name, value)| (legacy_name(name), value)).collect();
    // Known from the legacy scope list only; "-1" and null are how the platform writes "nothing".
    legacy.insert("orgInfo".to_owned(), Value::Null);
    legacy.insert("version".to_owned(), "-1".into());
    legacy.insert("credenceState".to_owned(), "-1".into());
    Value::Object(legacy)
}

fn legacy_name(name: String) -> String {
    let mixed = match name.as_str() {
        "useridcode" => "userIdCode",
        "idcardnumber" => "idCardNumber",
        "telephonenumber" => "telephoneNumber",
        "extproperties" => "extProperties",
        "createtime" => "createTime",
        _ => return name,
    };
    mixed.to_owned()
}

/// As many random bytes as the sample has. Which key signs what is not known, so nothing is signed.
fn signdata() -> Result<String, SandboxError> {
    let mut bytes = Vec::with_capacity(128);
    while bytes.len() < 128 {
        let more = URL_SAFE_NO_PAD.decode(entropy::token()?).map_err(|_| SandboxError::Entropy)?;
        bytes.extend(more);
    }
    Ok(STANDARD.encode(bytes))
}
