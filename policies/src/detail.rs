//! The fields with which a request may say more of a service's matter (RFC 9396): a closed list in the service's document, each
//! with its name in the words of the person who is asked.

use std::collections::BTreeMap;

use gateway_core::details::invalid;
use gateway_core::document::Section;
use gateway_core::error::OAuthError;
use gateway_core::locale::{Locale, Texts, is_readable};
use gateway_core::time::Date;
use serde_json::{Map, Value};

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Its name on the wire.
    pub name: String,
    /// What people call it.
    pub label: Texts,
    /// Whether there is no request without it.
    pub required: bool,
    /// What it holds.
    pub kind: DetailKind,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DetailKind {
    /// A text of at most so many characters.
    Text(usize),
    /// A day.
    Date,
    /// One of these words, each with what people call it.
    Choice(BTreeMap<String, Texts>),
}

/// Names that RFC 9396 section 2.2 gives a meaning of their own.
const RESERVED: [&str; 6] = ["type", "locations", "actions", "datatypes", "identifier", "privileges"];

/// Reads the table `detail` of a service's document.
pub(crate) fn read_details(doc: &Section<'_>) -> Vec<Detail> {
    let Some(table) = doc.section("detail") else { return Vec::new() };
    table.entries().iter().filter_map(|(name, field)| read_detail(name, field)).collect()
}

fn read_detail(name: &str, field: &Section<'_>) -> Option<Detail> {
    let sound = name.len() <= 32 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if !sound || RESERVED.contains(&name) {
        field.refuse(
            "a field is named by at most 32 small letters and strokes below, and by no name of RFC 9396 itself",
        );
    }
    let (label, required) = (field.texts("name"), field.flag("required", false));
    let longest = field.number("longest", 1..=200).map_or(64, |most| usize::try_from(most).unwrap_or(64));
    let choices = field.section("choices").map(|choices| {
        let read = |(word, texts): &(String, Section<'_>)| Some((word.clone(), texts.own_texts()?));
        choices.entries().iter().filter_map(read).collect::<BTreeMap<_, _>>()
    });
    let kind = match (field.require::<String>("kind")?.as_str(), choices) {
        ("text", None) => DetailKind::Text(longest),
        ("date", None) => DetailKind::Date,
        ("choice", Some(choices)) if !choices.is_empty() => DetailKind::Choice(choices),
        _ => {
            field.refuse_field("kind", "must be text, date, or choice with its choices");
            return None;
        }
    };
    Some(Detail { name: name.to_owned(), label: label?, required, kind })
}

impl Detail {
    /// Whether a value is of its kind.
    pub(crate) fn takes(&self, value: &str) -> bool {
        match &self.kind {
            DetailKind::Text(longest) => value.chars().count() <= *longest && is_readable(value),
            DetailKind::Date => value.parse::<Date>().is_ok(),
            DetailKind::Choice(choices) => choices.contains_key(value),
        }
    }

    /// A value in the words of the person who is asked.
    #[must_use]
    pub fn shown<'a>(&'a self, value: &'a str, locale: Locale) -> &'a str {
        match &self.kind {
            DetailKind::Choice(choices) => choices.get(value).map_or(value, |texts| texts.get(locale)),
            DetailKind::Text(_) | DetailKind::Date => value,
        }
    }
}

/// What a request says, field by field in the order of the document.
///
/// # Errors
/// `invalid_authorization_details` for a field that is not there, has the wrong kind of value, or is missing (RFC 9396 section 5).
pub fn check(known: &[Detail], named: &Map<String, Value>) -> Result<Vec<(String, String)>, OAuthError> {
    if named.keys().any(|name| !known.iter().any(|detail| detail.name == *name)) {
        return Err(invalid("authorization_details has a field that this type does not know"));
    }
    let mut fields = Vec::new();
    for detail in known {
        match named.get(&detail.name) {
            None if detail.required => return Err(invalid(format!("{} is missing", detail.name))),
            None => {}
            Some(Value::String(value)) if detail.takes(value) => fields.push((detail.name.clone(), value.clone())),
            Some(_) => return Err(invalid(format!("{} is not what this type asks for", detail.name))),
        }
    }
    Ok(fields)
}
