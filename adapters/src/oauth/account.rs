//! The facts of an account, from the places that the provider document names.

use gateway_core::assertion::UpstreamSubject;
use gateway_core::claims::Claims;
use gateway_core::time::{SKEW, Timestamp};
use serde_json::{Map, Value};

use super::settings::{Account, ClaimAt, Pointer};
use crate::error::UpstreamError;
use crate::{Answer, numbers};

/// What an account proves. A place that is empty proves nothing; a place of another kind is not believed.
pub(super) fn read(account: &Value, places: &Account, now: Timestamp) -> Result<Answer, UpstreamError> {
    let subject = text(account, &places.subject).and_then(UpstreamSubject::parse);
    let subject = subject.ok_or_else(|| UpstreamError::misbehaved("the account has no identifier"))?;
    let at = |place: &Option<Pointer>| place.as_ref().and_then(|place| account.pointer(&place.0));
    let amr = match at(&places.amr) {
        Some(Value::String(method)) => vec![method.clone()],
        Some(Value::Array(methods)) => methods.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    // One that is written in milliseconds, or that has not come yet, would be fresh for ever.
    let auth_time = at(&places.auth_time).and_then(Value::as_u64).map(Timestamp);
    if auth_time.is_some_and(|time| time > now.plus(SKEW)) {
        return Err(UpstreamError::misbehaved("the account says that the login is still to come"));
    }
    Ok(Answer {
        subject,
        session: None,
        acr: places.acr.as_ref().and_then(|place| text(account, place)).map(str::to_owned),
        amr,
        auth_time,
        claims: Claims::from_object(
            places.claims.iter().filter_map(|claim| value(account, claim)).collect::<Map<_, _>>(),
        ),
        asked: None,
    })
}

fn text<'a>(account: &'a Value, place: &Pointer) -> Option<&'a str> {
    account.pointer(&place.0).and_then(Value::as_str)
}

fn value(account: &Value, claim: &ClaimAt) -> Option<(String, Value)> {
    let applies = claim.when.as_ref().is_none_or(|(place, is)| text(account, place) == Some(is));
    let found = account.pointer(&claim.at.0).filter(|_| applies)?;
    let value = match found {
        Value::Null => return None,
        Value::String(text) if claim.words.is_empty() => numbers::canonical(&claim.claim, text)?.into(),
        Value::String(text) => claim.words.iter().find(|(word, _)| word == text)?.1.clone().into(),
        // A number of a document is a text; another kind of value was not looked at.
        _ if numbers::is_document(&claim.claim) => return None,
        other => other.clone(),
    };
    Some((claim.claim.clone(), value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_030);

    #[test]
    fn a_login_that_is_still_to_come_is_none() {
        let at = |at: u64| read(&json!({"id": "m-1", "at": at}), &places(), NOW);
        assert!(at(NOW.0 + 60).is_ok());
        assert!(at(NOW.0 + 61).is_err());
        assert!(at(1_700_000_000_000).is_err(), "milliseconds");
    }

    #[test]
    fn a_document_number_that_is_no_text_is_none() {
        let document = json!({"type": "BIR", "number": 12_345_678});
        let answer = read(&json!({"id": "m-1", "holder": {"document": document}}), &places(), NOW).unwrap();
        assert!(answer.claims.is_empty());
    }

    fn places() -> Account {
        let at = |claim: &str, at: &str| ClaimAt {
            claim: claim.to_owned(),
            at: at.parse().unwrap(),
            when: None,
            words: Vec::new(),
        };
        let bir = ClaimAt {
            when: Some(("/holder/document/type".parse().unwrap(), "BIR".to_owned())),
            ..at("bir", "/holder/document/number")
        };
        let gender = ClaimAt { words: vec![("M".to_owned(), "male".to_owned())], ..at("gender", "/holder/sex") };
        Account {
            subject: "/id".parse().unwrap(),
            acr: Some("/proofing".parse().unwrap()),
            amr: Some("/factors".parse().unwrap()),
            auth_time: Some("/at".parse().unwrap()),
            claims: vec![at("name", "/holder/name"), bir, gender],
        }
    }

    #[test]
    fn facts_come_from_the_places_named_and_from_no_others() {
        let account = json!({"id": "m-1", "proofing": "counter", "factors": ["password", "otp"], "at": 1_700_000_000,
            "holder": {"name": "LEONG", "sex": "M", "document": {"type": "BIR", "number": "1234567(8)"}}, "more": "x"});
        let answer = read(&account, &places(), NOW).unwrap();
        assert_eq!(answer.acr.as_deref(), Some("counter"));
        assert_eq!(answer.amr, ["password", "otp"]);
        assert_eq!(answer.auth_time, Some(Timestamp(1_700_000_000)));
        let names: Vec<&str> = answer.claims.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["bir", "gender", "name"]);
    }

    #[test]
    fn a_number_of_another_kind_of_document_is_not_taken_for_one_of_this() {
        let account =
            json!({"id": "m-1", "holder": {"sex": "X", "document": {"type": "passport", "number": "1234567(8)"}}});
        let answer = read(&account, &places(), NOW).unwrap();
        assert!(answer.claims.is_empty());
        let account = json!({"id": "m-1", "holder": {"document": {"type": "BIR", "number": "9234567(8)"}}});
        assert!(read(&account, &places(), NOW).unwrap().claims.is_empty());
    }

    /// CVE-2026-82968: nobody is no subject.
    #[test]
    fn cve_2026_82968_an_account_without_an_identifier_is_nobody() {
        for id in [json!(null), json!(""), json!(7), json!(" "), json!({"a": 1}), json!(["m-1"])] {
            assert!(read(&json!({"id": id}), &places(), NOW).is_err(), "{id}");
        }
        assert!(read(&json!({}), &places(), NOW).is_err());
    }
}
