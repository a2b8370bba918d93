//! An account in the platform's own words, quirks included: everything is text, and what is absent
//! is `-1` in one place and null in the next.

use serde_json::{Map, Value, json};

use crate::people::{GuangdongAccount, Person, ProofingWay};

/// `userobj` or `pareobj` in the spelling of the current generation. `method` is how this login was
/// done; an account that did not log in itself has none.
pub(super) fn object(person: &Person, account: &GuangdongAccount, method: Option<&str>) -> Map<String, Value> {
    let or_minus_one = |value: &Option<String>| value.clone().unwrap_or_else(|| "-1".to_owned());
    let members: [(&str, Value); 22] = [
        ("useridcode", person.sub.clone().into()),
        ("uid", account.uid.clone().into()),
        ("cn", person.name.clone().into()),
        ("usertype", account.usertype.clone().into()),
        ("idcardtype", account.idcardtype.clone().into()),
        ("idcardnumber", account.idcardnumber.clone().into()),
        ("telephonenumber", person.phone_number.trim_start_matches("+86").into()),
        ("mail", person.email.clone().into()),
        ("sex", sex(person, account).into()),
        ("area", or_minus_one(&account.area).into()),
        ("address", account.address.clone().into()),
        ("isreal", account.isreal.to_string().into()),
        ("realtype", or_minus_one(&account.realtype).into()),
        ("creditable_level_of_account", account.level.clone().into()),
        ("creditable_level_of_account_way", joined_ways(account).into()),
        ("tokenid", "-1".into()),
        ("authloc", Value::Null),
        ("anon_flag", "-1".into()),
        ("createtime", account.createtime.clone().into()),
        ("link_person_name", account.link_person_name.clone().into()),
        ("parent_uidcode", "-1".into()),
        ("extproperties", extproperties(account, method).into()),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn sex(person: &Person, account: &GuangdongAccount) -> &'static str {
    match (account.usertype.as_str(), person.gender.as_str()) {
        ("2", _) => "-1",
        (_, "male") => "1",
        (_, _) => "2",
    }
}

/// `level@way@id` items. The identity numbers in them make this one sensitive.
fn joined_ways(account: &GuangdongAccount) -> String {
    let item = |way: &ProofingWay| {
        let number = way.number.as_ref().unwrap_or(&account.idcardnumber);
        format!("{}@{}@{number}", way.level, way.way)
    };
    let items: Vec<String> = account.ways.iter().map(item).collect();
    if items.is_empty() { "-1".to_owned() } else { items.join("||") }
}

/// `key=value` entries. A value may hold further equals signs, so only the first one parts the two.
fn extproperties(account: &GuangdongAccount, method: Option<&str>) -> Vec<String> {
    let nothing = "-1";
    let mut entries = vec![
        "origin=gdbs".to_owned(),
        format!("uversion={nothing}"),
        // The missing "n" is the platform's.
        format!("accout_type={}", method.unwrap_or(nothing)),
        format!("area={}", account.area.as_deref().unwrap_or(nothing)),
        format!("address={nothing}"),
        format!("link_person_type={nothing}"),
        format!("link_person_code={nothing}"),
        format!("legal_person={nothing}"),
        format!("legal_id_type={nothing}"),
        format!("legal_code={nothing}"),
        format!("user_typeext={nothing}"),
        format!("account_uid={}", account.uid),
    ];
    for entry in &account.extproperties {
        let same_key = |other: &&mut String| key(other) == key(entry);
        match entries.iter_mut().find(same_key) {
            Some(other) => other.clone_from(entry),
            None => entries.push(entry.clone()),
        }
    }
    entries
}

fn key(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

/// Every proof of the account with its time, which has no zone on the wire.
pub(super) fn ways(person: &Person, account: &GuangdongAccount) -> Value {
    let entry = |way: &ProofingWay| {
        json!({
            "auth_time": way.proofed,
            "uniqueid": person.sub,
            "user_name": person.name,
            "auth_identification": "-1",
            "identity_level": way.level,
            "credential_no": way.number.as_ref().unwrap_or(&account.idcardnumber),
            "way_code": way.way,
        })
    };
    account.ways.iter().map(entry).collect()
}
