//! The profile: which fields stand for which claims, and what a delivered profile says.

use gateway_core::claims::Claims;
use gateway_core::papers::Hkid;
use gateway_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::UpstreamError;

/// Claims by the names that mappings use, each with the field that brings it.
const FIELDS: [(&str, &str); 6] = [
    ("hkid", "idNo"),
    ("name", "enName"),
    ("name_zh", "chName"),
    ("name_zh_unverified", "chName"),
    ("birthdate", "birthDate"),
    ("gender", "gender"),
];

/// The fields to ask for, each once.
pub(super) fn fields_for(claims: &[String]) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for (claim, field) in FIELDS {
        if claims.iter().any(|wanted| wanted == claim) && !fields.iter().any(|known| known == field) {
            fields.push(field.to_owned());
        }
    }
    fields
}

/// A delivered profile, as far as it was asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    id_no: Option<IdentityNumber>,
    en_name: Option<EnglishName>,
    ch_name: Option<ChineseName>,
    /// The code points that the immigration authority holds. Its presence is the only sign that the name is verified.
    ch_name_verified: Option<Value>,
    birth_date: Option<String>,
    gender: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IdentityNumber {
    identification: String,
    check_digit: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnglishName {
    unstructured_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChineseName {
    chinese_name: String,
}

/// The claims of a profile. A field that was not asked for is not looked at.
pub(super) fn claims(content: &Map<String, Value>, fields: &[String]) -> Result<Claims, UpstreamError> {
    let asked = |name: &str| {
        fields.iter().any(|f| f == name) || (name == "chNameVerified" && fields.iter().any(|f| f == "chName"))
    };
    let content: Map<String, Value> =
        content.iter().filter(|(name, _)| asked(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    let profile: Profile = serde_json::from_value(Value::Object(content))
        .map_err(|_| UpstreamError::misbehaved("a field of the profile has another form"))?;
    let mut claims = Map::new();
    if let Some(number) = profile.id_no {
        let hkid = Hkid::from_parts(&number.identification, &number.check_digit)
            .map_err(|_| UpstreamError::misbehaved("the identity card number does not match its check digit"))?;
        claims.insert("hkid".to_owned(), hkid.expose().into());
    }
    if let Some(name) = profile.en_name.map(|name| name.unstructured_name).filter(|name| !name.is_empty()) {
        claims.insert("name".to_owned(), name.into());
    }
    if let Some(name) = profile.ch_name.map(|name| name.chinese_name).filter(|name| !name.is_empty()) {
        let verified = profile.ch_name_verified.as_ref().is_some_and(is_present);
        let claim = if verified { "name_zh" } else { "name_zh_unverified" };
        claims.insert(claim.to_owned(), name.into());
    }
    if let Some(date) = profile.birth_date.as_deref().and_then(birth_date) {
        claims.insert("birthdate".to_owned(), date.into());
    }
    let gender = match profile.gender.as_deref() {
        Some("M") => Some("male"),
        Some("F") => Some("female"),
        _ => None,
    };
    claims.extend(gender.map(|gender| ("gender".to_owned(), gender.into())));
    Ok(Claims::from_object(claims))
}

fn is_present(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// `YYYYMMDD` as `YYYY-MM-DD`. How a birth without a known month or day is written is not public: shorter forms and zeros
/// are read as unknown, and anything else is no date at all.
fn birth_date(text: &str) -> Option<String> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to).filter(|part| part.bytes().any(|b| b != b'0'));
    let within = |part: &str, most: u32| part.parse::<u32>().is_ok_and(|number| (1..=most).contains(&number));
    let year = text.get(..4).filter(|year| within(year, 9_999))?;
    match (text.len(), part(4, 6), part(6, 8)) {
        (4 | 6 | 8, None, None) => Some(year.to_owned()),
        (6 | 8, Some(month), None) if within(month, 12) => Some(format!("{year}-{month}")),
        (8, Some(month), Some(day)) if within(month, 12) && within(day, 31) => Some(format!("{year}-{month}-{day}")),
        _ => None,
    }
}

/// The claim that says when the person's record last changed, from milliseconds.
pub(super) fn updated_at(last_modified: Option<u64>) -> Option<(String, Value)> {
    last_modified.map(|millis| ("updated_at".to_owned(), Timestamp(millis / 1_000).0.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(content: Value) -> Result<Claims, UpstreamError> {
        let fields = fields_for(&["hkid", "name", "name_zh", "birthdate", "gender"].map(str::to_owned));
        claims(content.as_object().unwrap(), &fields)
    }

    #[test]
    fn only_what_is_wanted_is_asked_for() {
        assert_eq!(fields_for(&["name".to_owned()]), ["enName"]);
        assert_eq!(fields_for(&["name_zh".to_owned(), "name_zh_unverified".to_owned()]), ["chName"]);
        assert!(fields_for(&["email".to_owned(), "home_return_permit".to_owned()]).is_empty());
    }

    #[test]
    fn a_chinese_name_is_verified_only_by_its_code_points() {
        let name = json!({"ChineseName": "陳大文"});
        let verified = read(json!({"chName": name, "chNameVerified": "U+9673 U+5927 U+6587"})).unwrap();
        assert_eq!(verified.get("name_zh").unwrap(), "陳大文");
        for absent in [json!(null), json!(""), json!([]), json!({}), json!(false)] {
            let claims = read(json!({"chName": name, "chNameVerified": absent})).unwrap();
            assert!(claims.get("name_zh").is_none());
            assert_eq!(claims.get("name_zh_unverified").unwrap(), "陳大文");
        }
    }

    #[test]
    fn a_number_and_its_check_digit_come_apart_and_must_agree() {
        let good = read(json!({"idNo": {"Identification": "A123456", "CheckDigit": "3"}})).unwrap();
        assert_eq!(good.get("hkid").unwrap(), "A123456(3)");
        assert!(read(json!({"idNo": {"Identification": "A123456", "CheckDigit": "4"}})).is_err());
        assert!(read(json!({"idNo": {"Identification": "A123456", "CheckDigit": ""}})).is_err());
        assert!(read(json!({"idNo": "A1234563"})).is_err());
    }

    #[test]
    fn births_without_a_known_day_or_month() {
        for (text, expected) in [
            ("19800102", Some("1980-01-02")),
            ("1980", Some("1980")),
            ("198001", Some("1980-01")),
            ("19800000", Some("1980")),
            ("19800100", Some("1980-01")),
            ("00000000", None),
            ("19801301", None),
            ("19800132", None),
            ("1980010", None),
            ("1980-01-02", None),
            ("", None),
            ("19800001", None),
        ] {
            assert_eq!(birth_date(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_not_taken() {
        let content = json!({"enName": {"UnstructuredName": "CHAN, Tai Man"}, "gender": "M"});
        let claims = claims(content.as_object().unwrap(), &["gender".to_owned()]).unwrap();
        assert!(claims.get("name").is_none());
        assert_eq!(claims.get("gender").unwrap(), "male");
    }
}
