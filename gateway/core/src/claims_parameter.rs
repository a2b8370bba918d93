//! The `claims` parameter (OpenID Connect Core section 5.5), and the names of assurances in it and in `acr_values`.

use serde_json::Value;

use crate::assurance::Assurance;
use crate::authorization_request::{AcrRequest, OldAcr};
use crate::claims::ClaimsRequest;
use crate::verified;

/// What it asks for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Claims, by their name.
    pub(crate) claims: ClaimsRequest,
    /// The assurance.
    pub(crate) acr: AcrRequest,
    /// The one person.
    pub(crate) subject: Option<String>,
}

/// The most assurances that are kept: there are no more.
pub(crate) const MOST_ACR: usize = 9;
/// The longest subject, in bytes.
const MOST_SUBJECT: usize = 255;
/// The most claims of one member.
const MOST_CLAIMS: usize = 64;

/// What names for assurances stand for that are being given up.
type Retiring<'a> = &'a dyn Fn(&str) -> Option<OldAcr>;

/// Reads it; nothing, when it is not of its form.
pub(crate) fn read(text: &str, retiring: Retiring<'_>) -> Option<Asked> {
    let Ok(Value::Object(root)) = serde_json::from_str(text) else { return None };
    let member = |name| match root.get(name) {
        None => Some(Vec::new()),
        Some(Value::Object(asked)) if asked.len() <= MOST_CLAIMS => Some(asked.iter().collect()),
        Some(_) => None,
    };
    let (id_token, userinfo) = (member("id_token")?, member("userinfo")?);
    let mut read = Asked::default();
    for (asked, in_id_token) in [(&id_token, true), (&userinfo, false)] {
        for (_, detail) in asked.iter().filter(|(name, _)| *name == "verified_claims") {
            read.claims.verified.extend(verified::read(detail, in_id_token)?);
        }
    }
    for (name, detail) in &id_token {
        match name.as_str() {
            "acr" => read.acr = acr(detail, retiring)?,
            "sub" => read.subject = subject(detail)?,
            _ => {}
        }
    }
    for (into, asked) in [(&mut read.claims.id_token, id_token), (&mut read.claims.userinfo, userinfo)] {
        for (name, detail) in asked.into_iter().filter(|(name, _)| *name != "verified_claims") {
            into.insert(name.clone(), is_essential(detail)?);
        }
    }
    Some(read)
}

/// Whether one requested claim is essential; `None` when its request is neither null nor an object of the right shape.
fn is_essential(detail: &Value) -> Option<bool> {
    match detail {
        Value::Null => Some(false),
        Value::Object(detail) => detail.get("essential").map_or(Some(false), Value::as_bool),
        _ => None,
    }
}

/// The one subject that is asked for, if one is; `None` for a request that cannot be honoured.
fn subject(detail: &Value) -> Option<Option<String>> {
    match (detail.get("value"), detail.get("values")) {
        (None, None) => Some(None),
        // No subject is longer (OpenID Connect Core section 2).
        (Some(Value::String(subject)), None) if subject.len() <= MOST_SUBJECT => Some(Some(subject.clone())),
        _ => None,
    }
}

fn acr(detail: &Value, retiring: Retiring<'_>) -> Option<AcrRequest> {
    let listed = detail.get("values").and_then(Value::as_array).into_iter().flatten();
    let named: Vec<&str> = listed.chain(detail.get("value")).filter_map(Value::as_str).collect();
    let (values, old) = assurances(&named, retiring);
    Some(AcrRequest { essential: is_essential(detail)?, values, old })
}

/// What names of assurances stand for, and which of them are being given up. Whoever asks by both names understands the new one.
pub(crate) fn assurances(names: &[&str], retiring: Retiring<'_>) -> (Vec<Assurance>, Vec<OldAcr>) {
    let mut values: Vec<Assurance> = names.iter().filter_map(|name| Assurance::from_acr(name)).collect();
    let old = names.iter().filter_map(|name| retiring(name));
    let old: Vec<OldAcr> = old.filter(|old| !values.contains(&old.means)).take(MOST_ACR).collect();
    values.extend(old.iter().map(|old| old.means));
    values.truncate(MOST_ACR);
    (values, old)
}
