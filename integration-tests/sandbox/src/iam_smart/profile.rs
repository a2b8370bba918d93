//! A person's data in the shapes of a profile result.

use serde_json::{Value, json};

use super::rpc::Members;
use crate::people::{IamSmartAccount, Person};

/// Everything a profile request can ask for.
pub(super) const FIELDS: [&str; 5] = ["idNo", "enName", "chName", "birthDate", "gender"];

/// The wanted data of a person, as far as there are any.
pub(super) fn members(person: &Person, account: &IamSmartAccount, wanted: &[String]) -> Members {
    let mut members = Members::new();
    for field in wanted {
        if let Some(value) = value(person, account, field) {
            members.insert(field.clone(), value);
        }
    }
    if members.contains_key("chName") && account.chinese_name_verified {
        let points = person.name_zh.as_deref().map(code_points);
        members.insert("chNameVerified".to_owned(), points.into());
    }
    members
}

fn value(person: &Person, account: &IamSmartAccount, field: &str) -> Option<Value> {
    Some(match field {
        "idNo" => id_no(person.hkid.as_deref()?)?,
        "enName" => json!({ "UnstructuredName": person.name }),
        "chName" => json!({ "ChineseName": person.name_zh.as_ref()? }),
        "birthDate" => account.birth.clone().unwrap_or_else(|| person.birthdate.replace('-', "")).into(),
        "gender" => if person.gender == "female" { "F" } else { "M" }.into(),
        _ => return None,
    })
}

/// A number written `A123456(3)` in its two parts.
fn id_no(hkid: &str) -> Option<Value> {
    let (body, check) = hkid.strip_suffix(')')?.split_once('(')?;
    Some(json!({ "Identification": body, "CheckDigit": check }))
}

/// Replaces the check digit by one that is wrong.
pub(super) fn spoil_check_digit(members: &mut Members) {
    if let Some(check) = members.get_mut("idNo").and_then(|id| id.get_mut("CheckDigit")) {
        *check = if check.as_str() == Some("0") { "1" } else { "0" }.into();
    }
}

/// The code points of a name as the register writes them.
fn code_points(name: &str) -> String {
    let points: Vec<String> = name.chars().map(|c| format!("U+{:04X}", u32::from(c))).collect();
    points.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::{Place, catalogue};

    fn everything(id: &str) -> Value {
        let person = catalogue(Place::HongKong).unwrap().into_iter().find(|person| person.id == id).unwrap();
        let wanted = FIELDS.map(str::to_owned);
        Value::Object(members(&person, person.iam_smart.as_ref().unwrap(), &wanted))
    }

    #[test]
    fn a_full_profile_has_all_shapes() {
        let expected = json!({
            "idNo": { "Identification": "A123456", "CheckDigit": "3" },
            "enName": { "UnstructuredName": "CHAN, Tai Man" },
            "chName": { "ChineseName": "陳大文" },
            "chNameVerified": "U+9673 U+5927 U+6587",
            "birthDate": "19790314",
            "gender": "M",
        });
        assert_eq!(everything("hk-chan"), expected);
    }

    #[test]
    fn awkward_people_lack_what_they_lack() {
        assert_eq!(everything("hk-singh").get("chName"), None);
        assert_eq!(everything("hk-singh").get("chNameVerified"), None);
        assert!(everything("hk-chung").get("chName").is_some());
        assert_eq!(everything("hk-chung").get("chNameVerified"), None);
        assert_eq!(everything("hk-ho")["birthDate"], "1938");
        assert_eq!(everything("hk-suharti")["enName"]["UnstructuredName"], "SUHARTI");
        assert_eq!(everything("hk-leung")["chNameVerified"], "U+6881 U+8A60 U+249EC");
    }

    #[test]
    fn a_spoilt_check_digit_is_wrong_for_everybody() {
        for person in catalogue(Place::HongKong).unwrap() {
            let mut members = Members::new();
            members.insert("idNo".to_owned(), id_no(person.hkid.as_deref().unwrap()).unwrap());
            let before = members.clone();
            spoil_check_digit(&mut members);
            assert_ne!(members, before, "{}", person.id);
        }
    }
}
