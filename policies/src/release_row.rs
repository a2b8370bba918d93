//! Release rows: the claims that a service may be given, each with where it comes from, why, and by what ground.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_core::circumstances::DataClass;
use gateway_core::claims::ClaimName;
use gateway_core::digest::sha256;
use gateway_core::document::{Problems, Section, Source};
use gateway_core::ids::base64url;
use gateway_core::jurisdiction::Crossing;
use gateway_core::locale::Texts;
use gateway_core::time::Date;
use serde_json::Value;

use crate::expression::Expression;
use crate::vocabulary::{Vocabulary, read_word, unknown};

/// What happens to a claim whose source is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnMissing {
    /// This value goes out instead.
    Set(Value),
    /// What an earlier row set for the same claim stays.
    Keep,
    /// The claim does not go out, even if an earlier row set it.
    Clear,
    /// The sign-in is refused.
    Fail,
}

/// A claim that may go out.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// Its name in records: `release-1`, or `group/release-1`.
    pub id: String,
    /// Its name on the wire.
    pub claim: ClaimName,
    /// How much harm it can do.
    pub class: DataClass,
    /// Where its value comes from.
    pub from: Expression,
    /// What happens when that is missing.
    pub on_missing: OnMissing,
    /// Why the service wants it.
    pub purpose: String,
    /// What in law allows it.
    pub ground: String,
    /// The person may leave it out.
    pub optional: bool,
    /// A scope that asks for it, besides the standard ones and its own name.
    pub scope: Option<String>,
    /// Whether its value is yes or no and nothing else.
    pub yes_no: bool,
    /// The last day on which it goes out, where its name is being given up.
    pub until: Option<Date>,
}

impl Release {
    /// Whether its name is still in use, and it is a yes or no where its client is told nothing else.
    #[must_use]
    pub fn serves(&self, only_yes_no: bool, today: Date) -> bool {
        self.until.is_none_or(|until| today <= until) && (self.yes_no || !only_yes_no)
    }

    /// What its name stands for: where the value comes from, and what goes out when that is missing.
    #[must_use]
    pub fn means(&self) -> String {
        format!("{} {:?}", self.from.source(), self.on_missing)
    }

    /// All that somebody agrees to who agrees to this row: what its name stands for, why and by what right it goes out, which border
    /// it crosses, and who is the recipient in law. When any of it changes, what was agreed before does not reach this row.
    #[must_use]
    pub fn rule(&self, recipient: &Texts, crossing: Option<Crossing>) -> String {
        let Texts { zh_hans, zh_hant_hk, pt, en } = recipient;
        // No text that people read has a line break.
        let recipient = base64url(&sha256([zh_hans.as_str(), zh_hant_hk, pt, en].join("\n").as_bytes()));
        let crossing = crossing.map_or_else(|| "-".to_owned(), |crossing| crossing.to_string());
        format!("{} {} {} {crossing} {recipient}", self.means(), self.purpose, self.ground)
    }
}

/// Release rows that several services share.
pub type Groups = BTreeMap<String, Vec<Arc<Release>>>;

/// The ground of a row that goes out because the person agrees.
pub const CONSENT: &str = "consent";

/// Reads a document of release rows that several services share: its name and its rows.
///
/// # Errors
/// Every problem in the document.
pub fn group_from_document(
    file: &str,
    text: &str,
    words: &Vocabulary,
) -> Result<(String, Vec<Arc<Release>>), Problems> {
    Source::new(file, text).read(|doc| {
        let name: String = doc.require("group")?;
        Some((name.clone(), read_releases(doc, words, &format!("{name}/"))))
    })
}

pub(crate) fn read_groups(doc: &Section<'_>, groups: &Groups) -> Vec<Arc<Release>> {
    let mut release = Vec::new();
    for name in doc.list::<String>("groups") {
        match groups.get(&name) {
            Some(rows) => release.extend(rows.iter().cloned()),
            None => doc.refuse_field("groups", unknown(&name, groups.keys().map(String::as_str))),
        }
    }
    release
}

pub(crate) fn numbered<'s, T>(rows: &[Section<'s>], read: impl Fn(&Section<'s>, usize) -> Option<T>) -> Vec<T> {
    rows.iter().enumerate().filter_map(|(index, row)| read(row, index + 1)).collect()
}

pub(crate) fn read_releases(doc: &Section<'_>, words: &Vocabulary, prefix: &str) -> Vec<Arc<Release>> {
    let read = |row: &Section<'_>, n| read_release(row, words, format!("{prefix}release-{n}")).map(Arc::new);
    numbered(&doc.sections("release"), read)
}

fn read_release(row: &Section<'_>, words: &Vocabulary, id: String) -> Option<Release> {
    let (claim, from) = (row.require::<ClaimName>("claim"), row.require::<Expression>("from"));
    let purpose = read_word(row, "purpose", &words.purposes);
    let ground = read_word(row, "ground", &words.grounds);
    if let Some(claim) = claim.as_ref().filter(|claim| !words.claims.contains_key(claim.as_str())) {
        row.refuse_field("claim", unknown(claim.as_str(), words.claims.keys().map(String::as_str)));
    }
    let on_missing = read_on_missing(row);
    let optional = row.flag("optional", false);
    if optional && on_missing == Some(OnMissing::Fail) {
        row.refuse_field("on_missing", "an optional claim cannot fail the sign-in");
    }
    let scope = row.optional("scope");
    let (claim, from, purpose, ground) = (claim?, from?, purpose?, ground?);
    check_sources(row, words, &from);
    // What it shows makes a claim no less sensitive than what it was made from.
    let shown = from.shown().iter().map(|source| words.class(source)).max();
    let named = words.class(claim.as_str());
    check_numbers(row, words, &from, named, &ground);
    let class = shown.map_or(named, |shown| named.max(shown));
    let until = words.retiring.claims.get(claim.as_str()).copied();
    let yes_no = words.claims.get(claim.as_str()).is_some_and(|word| word.yes_no);
    if yes_no && matches!(on_missing, Some(OnMissing::Set(_))) {
        row.refuse_field("default", "this claim is yes or no: a text in its place would be neither");
    }
    let on_missing = on_missing?;
    Some(Release { id, claim, class, from, on_missing, purpose, ground, optional, scope, yes_no, until })
}

/// Of every claim that goes out in any form it has to be known how much harm it can do.
fn check_sources(row: &Section<'_>, words: &Vocabulary, from: &Expression) {
    for source in from.claims().iter().filter(|source| !words.claims.contains_key(*source)) {
        let known = words.claims.keys().map(String::as_str);
        row.refuse_field("from", format_args!("claims.{source}: {}", unknown(source, known)));
    }
}

/// Full numbers of identity documents go out only as what they are, and only on a ground that cites a law.
fn check_numbers(row: &Section<'_>, words: &Vocabulary, from: &Expression, class: DataClass, ground: &str) {
    let cited = words.grounds.get(ground).is_some_and(|word| word.citation.is_some());
    if class == DataClass::Number && !cited {
        let reason =
            format!("{ground} cites no law: the full number of a document goes out only on a ground that does");
        return row.refuse_field("ground", reason);
    }
    let shows = from.shown().iter().find(|source| words.class(source) == DataClass::Number);
    if let (Some(source), true) = (shows, class != DataClass::Number) {
        let reason = format!(
            "would show {source} in full under another name: ask a question about it (valid, over), mask it, or release it \
             under a claim of class number, on a ground that cites a law"
        );
        row.refuse_field("from", reason);
    }
    let numbers = from.masked().iter().filter(|(source, ..)| words.class(source) == DataClass::Number);
    if let Some((source, ..)) = numbers.clone().find(|(_, first, last)| first.saturating_add(*last) > MOST_SHOWN) {
        row.refuse_field("from", format_args!("shows more than {MOST_SHOWN} characters of {source}"));
    }
}

/// The most characters of a document's number that a service may be shown, in all its masks together.
const MOST_SHOWN: u64 = 4;

/// Two masks of one number, each harmless, may show most of it together.
pub(crate) fn check_masks(doc: &Section<'_>, words: &Vocabulary, release: &[Arc<Release>]) {
    let mut shown: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (source, first, last) in release.iter().flat_map(|row| row.from.masked()) {
        let ends = shown.entry(source).or_default();
        *ends = (ends.0.max(*first), ends.1.max(*last));
    }
    for (source, (first, last)) in shown {
        if words.class(source) == DataClass::Number && first.saturating_add(last) > MOST_SHOWN {
            let reason = format!("its masks together show more than {MOST_SHOWN} characters of {source}");
            doc.refuse_field("release", reason);
        }
    }
}

fn read_on_missing(row: &Section<'_>) -> Option<OnMissing> {
    let default: Option<String> = row.optional("default");
    let refuse = |reason: &str| {
        row.refuse_field("on_missing", reason);
        None
    };
    match (row.require::<String>("on_missing")?.as_str(), default) {
        ("set", Some(default)) => Some(OnMissing::Set(Value::String(default))),
        ("set", None) => refuse("set needs a default"),
        ("keep", None) => Some(OnMissing::Keep),
        ("clear", None) => Some(OnMissing::Clear),
        ("fail", None) => Some(OnMissing::Fail),
        ("keep" | "clear" | "fail", Some(_)) => refuse("only set takes a default"),
        _ => refuse("must be set, keep, clear or fail"),
    }
}
