//! What `tokeninfo` says of an account: tolerant of the forms that are known, and of no others.

use gateway_core::assertion::UpstreamSubject;
use gateway_core::claims::{ClaimName, Claims};
use gateway_core::papers::ResidentNumber;
use serde_json::{Map, Value, json};

use crate::error::UpstreamError;
use crate::numbers;

/// An account, as far as it is understood.
pub(super) struct Account {
    pub(super) subject: UpstreamSubject,
    /// How the account was proofed, in the platform's word; it says nothing about this login.
    pub(super) level: Option<String>,
    /// How this login was done.
    pub(super) method: Option<&'static str>,
    pub(super) claims: Claims,
}

type Object = Map<String, Value>;

/// Reads the answer of `tokeninfo`, whichever generation wrote it: keys count without regard to case.
pub(super) fn read(answer: &Value, documents: &[(String, ClaimName)]) -> Result<Account, UpstreamError> {
    let answer = lower_case_keys(answer);
    if let Some(code) = answer.get("errcode").or_else(|| answer.get("error_code")) {
        return Err(UpstreamError::Refused(format!("tokeninfo: {}", printable(code))));
    }
    let user = answer.get("userobj").and_then(Value::as_object);
    let user = user.ok_or_else(|| UpstreamError::misbehaved("the answer holds no account"))?;
    // A number or a null joins everybody who has one (CVE-2026-82968): the subject is a text or there is none.
    let subject = user.get("useridcode").and_then(Value::as_str).and_then(UpstreamSubject::parse);
    let subject = subject.ok_or_else(|| UpstreamError::misbehaved("the account has no identifier"))?;
    let parent = answer.get("pareobj").and_then(Value::as_object);
    let extended = extended(user);
    Ok(Account {
        subject,
        level: level(user),
        method: extended.iter().find(|(name, _)| name == "accout_type").and_then(|(_, code)| method(code)),
        claims: claims(user, parent, &extended, answer.get("user_creditable_level"), documents),
    })
}

/// The trust level. An account that is not real-named is L0, whatever else is said of it.
fn level(user: &Object) -> Option<String> {
    let stated = text(user, "creditable_level_of_account");
    // A flag that says anything but yes, in whichever spelling, is not a yes.
    let real = ["isreal", "is_real"]
        .iter()
        .filter(|name| user.contains_key(**name))
        .all(|name| flag(user, name) == Some(true));
    if real { stated.map(str::to_owned) } else { Some("L0".to_owned()) }
}

/// How a login was done, by the code in `accout_type` (which is spelled so).
fn method(code: &str) -> Option<&'static str> {
    match code {
        "1" => Some("password"),
        "2" => Some("certificate"),
        "3" => Some("yueshengshi-scan"),
        "4" => Some("weijing"),
        _ => None,
    }
}

fn claims(
    user: &Object,
    parent: Option<&Object>,
    extended: &[(String, String)],
    levels: Option<&Value>,
    documents: &[(String, ClaimName)],
) -> Claims {
    let mut claims = Object::new();
    let mut set = |name: &str, value: Option<Value>| claims.extend(value.map(|value| (name.to_owned(), value)));
    let own = |name| text(user, name).map(Value::from);
    match (text(user, "usertype"), parent) {
        // Somebody of an organisation: the account is theirs, the parent is whom they act for.
        (Some("1" | "2"), Some(parent)) => {
            set("account_kind", Some("staff".into()));
            set("organisation", text(parent, "cn").map(Value::from));
            let person = text(user, "usertype") == Some("1");
            set("name", own(if person { "cn" } else { "link_person_name" }));
        }
        (Some("1"), None) => {
            set("account_kind", Some("person".into()));
            set("name", own("cn"));
            set("name_zh", text(user, "cn").filter(|name| !name.is_ascii()).map(Value::from));
            set("gender", text(user, "sex").and_then(gender));
        }
        (Some("2"), None) => {
            set("account_kind", Some("legal-person".into()));
            set("organisation", own("cn"));
            set("name", own("link_person_name"));
        }
        // A kind that nobody described is no kind that a policy could name.
        _ => {}
    }
    set("phone_number", own("telephonenumber"));
    set("email", own("mail"));
    set("area", own("area"));
    set(
        "parent_account",
        extension(extended, "parent_uidcode").or_else(|| text(user, "parent_uidcode")).map(Value::from),
    );
    set("proofs", proofs(levels));
    // An organisation is named by its credit code. Whatever other document a parent has is not this person's.
    if let Some((claim, number)) =
        parent.and_then(|parent| document(parent, documents)).filter(|(claim, _)| claim == "credit_code")
    {
        set(&claim, Some(number.into()));
    }
    if let Some((claim, number)) = document(user, documents) {
        set("birthdate", ResidentNumber::parse(&number).ok().map(|number| birthdate(&number)));
        set(&claim, Some(number.into()));
    }
    Claims::from_object(claims)
}

/// The account's document number, when its kind is in the table and the number is one of that kind. Codes that nobody
/// wrote into the table are refused, not guessed.
fn document(holder: &Object, documents: &[(String, ClaimName)]) -> Option<(String, String)> {
    let (code, number) = (text(holder, "idcardtype")?, text(holder, "idcardnumber")?);
    let claim = documents.iter().find(|(known, _)| known == code).map(|(_, claim)| claim.as_str());
    let found = claim.and_then(|claim| Some((claim.to_owned(), numbers::canonical(claim, number)?)));
    if found.is_none() {
        let code = printable(&code.into());
        tracing::warn!(
            code,
            listed = claim.is_some(),
            "a document that is not taken: its type is not listed, or its number is not of that type"
        );
    }
    found
}

/// When and how the account was proofed: way, level and time of each proof, and none of the numbers beside them.
fn proofs(levels: Option<&Value>) -> Option<Value> {
    let list = levels?.get("creditable_level_of_account_way_list")?.as_array()?;
    let proof = |entry: &Value| {
        let entry = entry.as_object()?;
        let time = text(entry, "auth_time").and_then(china_time);
        Some(json!({"way": text(entry, "way_code")?, "level": text(entry, "identity_level")?, "time": time}))
    };
    Some(Value::Array(list.iter().filter_map(proof).collect()))
}

/// `YYYY-MM-DD hh:mm:ss` without a zone, which is read as +08:00.
fn china_time(text: &str) -> Option<String> {
    chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok()?;
    let (date, time) = text.split_once(' ')?;
    Some(format!("{date}T{time}+08:00"))
}

fn birthdate(number: &ResidentNumber) -> Value {
    let date = number.birth_date();
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()).into()
}

fn gender(code: &str) -> Option<Value> {
    match code {
        "1" => Some("male".into()),
        "2" => Some("female".into()),
        _ => None,
    }
}

/// `extproperties`: texts of the form `key=value`, split at the first sign only; `-1` stands for nothing.
fn extended(user: &Object) -> Vec<(String, String)> {
    let items = user.get("extproperties").and_then(Value::as_array).into_iter().flatten();
    let pairs = items.filter_map(Value::as_str).filter_map(|item| item.split_once('='));
    pairs
        .filter(|(_, value)| !value.is_empty() && *value != "-1")
        .map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()))
        .collect()
}

fn extension<'a>(extended: &'a [(String, String)], name: &str) -> Option<&'a str> {
    extended.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A text that says something.
fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty() && *text != "-1")
}

/// A flag that is written as a boolean or as its name.
fn flag(object: &Object, name: &str) -> Option<bool> {
    match object.get(name)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

/// The answer with every key in lower case. Of two keys that differ only in case the first counts.
fn lower_case_keys(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut lower = Object::new();
            for (key, member) in members {
                lower.entry(key.to_ascii_lowercase()).or_insert_with(|| lower_case_keys(member));
            }
            Value::Object(lower)
        }
        Value::Array(items) => Value::Array(items.iter().map(lower_case_keys).collect()),
        other => other.clone(),
    }
}

/// A code of the platform's, if it has the shape of one; nothing else of theirs is logged.
pub(super) fn printable(code: &Value) -> String {
    match code {
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.len() <= 16 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
            text.clone()
        }
        _ => "an error of its own".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: &Value) -> Account {
        let documents = [("10", "resident_id"), ("49", "credit_code")]
            .map(|(code, claim)| (code.to_owned(), claim.parse().unwrap()));
        read(answer, &documents).unwrap()
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        let level = |flags: Value| {
            let mut user = json!({"useridcode": "a", "creditable_level_of_account": "L3"});
            user.as_object_mut().unwrap().extend(flags.as_object().unwrap().clone());
            of(&json!({"userobj": user})).level.unwrap()
        };
        for yes in [
            json!({}),
            json!({"isreal": true}),
            json!({"isreal": "TRUE"}),
            json!({"is_real": "true"}),
            json!({"isReal": "true"}),
        ] {
            assert_eq!(level(yes.clone()), "L3", "{yes}");
        }
        for no in ["false", "0", "N", "", "-1", "no"] {
            assert_eq!(level(json!({"isreal": no})), "L0", "{no}");
            assert_eq!(level(json!({"is_real": no})), "L0", "{no}");
        }
        for no in [json!({"isreal": 0}), json!({"isreal": null}), json!({"isreal": true, "is_real": false})] {
            assert_eq!(level(no.clone()), "L0", "{no}");
        }
    }

    #[test]
    fn a_document_of_the_parent_is_not_the_persons() {
        let person = json!({"useridcode": "a", "usertype": "1", "cn": "梁敏仪", "idcardtype": "10", "idcardnumber": "440098199306120362"});
        let owner = json!({"cn": "某店", "idcardtype": "10", "idcardnumber": "440099197903140019"});
        let account = of(&json!({"userobj": person, "pareobj": owner}));
        assert_eq!(account.claims.get("resident_id").unwrap(), "440098199306120362");
        assert_eq!(account.claims.get("birthdate").unwrap(), "1993-06-12");
        let without =
            json!({"useridcode": "a", "usertype": "1", "cn": "梁敏仪", "idcardtype": "10", "idcardnumber": ""});
        let account = of(&json!({"userobj": without, "pareobj": owner}));
        assert!(account.claims.get("resident_id").is_none() && account.claims.get("birthdate").is_none());
    }
}
