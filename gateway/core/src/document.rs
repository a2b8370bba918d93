//! TOML documents, read so that an administrator sees *every* problem at once, each with file, line and reason.
//!
//! A [`Section`] hands out typed fields by name. A missing, mistyped or refused field is recorded, and the reader goes
//! on; when the section is dropped, fields that nobody asked for are recorded as unknown, with the nearest known name.

use std::cell::RefCell;
use std::fmt;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::locale::{Readable, Texts};

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The document, as it was named when it was read.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong and, where it can be said, what would be right.
    pub reason: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// Everything wrong with a set of documents.
pub type Problems = Vec<Problem>;

/// A document's text and the problems found in it so far.
pub struct Source<'a> {
    file: &'a str,
    text: &'a str,
    problems: RefCell<Problems>,
}

impl<'a> Source<'a> {
    /// A document named `file` (for messages) with this text.
    #[must_use]
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, problems: RefCell::default() }
    }

    /// Reads the document with `read`; its value, or every problem found.
    ///
    /// # Errors
    /// All problems, in line order, when there is at least one.
    pub fn read<T>(self, read: impl FnOnce(&Section<'_>) -> Option<T>) -> Result<T, Problems> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.report(error.span().map_or(0, |span| span.start), error.message());
        }
        let value = if errors.is_empty() { read(&Section::new(&self, table.get_ref(), 0)) } else { None };
        let mut problems = self.problems.take();
        problems.sort();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(problems),
        }
    }

    fn report(&self, offset: usize, reason: impl Display) {
        let line = self.line(offset);
        self.problems.borrow_mut().push(Problem { file: self.file.to_owned(), line, reason: reason.to_string() });
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or(self.text);
        before.bytes().filter(|b| *b == b'\n').count() + 1
    }
}

/// One table of a document.
pub struct Section<'a> {
    source: &'a Source<'a>,
    table: &'a DeTable<'a>,
    at: usize,
    asked: RefCell<Vec<&'static str>>,
    own_keys: RefCell<Vec<String>>,
}

impl<'a> Section<'a> {
    fn new(source: &'a Source<'a>, table: &'a DeTable<'a>, at: usize) -> Self {
        Self { source, table, at, asked: RefCell::default(), own_keys: RefCell::default() }
    }

    /// Records a problem with the whole section.
    pub fn refuse(&self, reason: impl Display) {
        self.source.report(self.at, reason);
    }

    /// Records a problem at one field, or at the section when the field is absent.
    pub fn refuse_field(&self, name: &'static str, reason: impl Display) {
        let at = self.field(name).map_or(self.at, |value| value.span().start);
        self.source.report(at, format_args!("{name}: {reason}"));
    }

    /// The line on which the section begins, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.source.line(self.at)
    }

    /// True when the field is present.
    #[must_use]
    pub fn has(&self, name: &'static str) -> bool {
        self.field(name).is_some()
    }

    /// True when the field is a list that names nothing.
    #[must_use]
    pub fn is_empty_list(&self, name: &'static str) -> bool {
        let list = self.field(name).and_then(|value| value.get_ref().as_array());
        list.is_some_and(|list| list.iter().next().is_none())
    }

    fn field(&self, name: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(name);
        self.table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
    }

    fn required<T>(&self, name: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() && self.field(name).is_none() {
            self.source.report(self.at, format_args!("{name} is missing"));
        }
        value
    }

    fn typed<T>(
        &self,
        name: &'static str,
        kind: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<(T, usize)> {
        let value = self.field(name)?;
        let read = read(value.get_ref());
        if read.is_none() {
            let found = value.get_ref().type_str();
            self.source.report(value.span().start, format_args!("{name}: expected {kind}, found {found}"));
        }
        read.map(|read| (read, value.span().start))
    }

    /// An optional text, parsed into `T`.
    pub fn optional<T: FromStr<Err: Display>>(&self, name: &'static str) -> Option<T> {
        let (text, at) = self.typed(name, "a text", DeValue::as_str)?;
        text.parse().map_err(|error| self.source.report(at, format_args!("{name}: {error}"))).ok()
    }

    /// A required text, parsed into `T`.
    pub fn require<T: FromStr<Err: Display>>(&self, name: &'static str) -> Option<T> {
        self.required(name, self.optional(name))
    }

    /// A yes or no, with the value that holds when the document is silent.
    pub fn flag(&self, name: &'static str, default: bool) -> bool {
        self.typed(name, "true or false", DeValue::as_bool).map_or(default, |(value, _)| value)
    }

    /// An optional whole number within `range`.
    pub fn number(&self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let read =
            |value: &DeValue<'_>| value.as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        let (number, at) = self.typed(name, "a whole number", read)?;
        if range.contains(&number) {
            return Some(number);
        }
        let (least, most) = (range.start(), range.end());
        self.source.report(at, format_args!("{name}: must be between {least} and {most}"));
        None
    }

    /// A required whole number within `range`.
    pub fn require_number(&self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        self.required(name, self.number(name, range))
    }

    /// An optional span of time written as a number and a unit: `30s`, `15m`, `8h`, `90d`.
    pub fn duration(&self, name: &'static str) -> Option<Duration> {
        self.optional::<Span>(name).map(|span| span.0)
    }

    /// A list of texts, each parsed into `T`; absent means empty. A refused entry is reported on its own line.
    pub fn list<T: FromStr<Err: Display>>(&self, name: &'static str) -> Vec<T> {
        let Some((items, _)) = self.typed(name, "a list", DeValue::as_array) else { return Vec::new() };
        let mut values = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str().map(str::parse) {
                Some(Ok(value)) => values.push(value),
                Some(Err(error)) => self.source.report(item.span().start, format_args!("{name}: {error}")),
                None => self.source.report(item.span().start, format_args!("{name}: expected texts")),
            }
        }
        values
    }

    /// An optional sub-table.
    #[must_use]
    pub fn section(&self, name: &'static str) -> Option<Section<'a>> {
        let (table, at) = self.typed(name, "a table", DeValue::as_table)?;
        Some(Section::new(self.source, table, at))
    }

    /// A required sub-table.
    #[must_use]
    pub fn require_section(&self, name: &'static str) -> Option<Section<'a>> {
        self.required(name, self.section(name))
    }

    /// The tables of an array of tables; absent means none.
    #[must_use]
    pub fn sections(&self, name: &'static str) -> Vec<Section<'a>> {
        let Some((items, _)) = self.typed(name, "an array of tables", DeValue::as_array) else { return Vec::new() };
        let mut sections = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_table() {
                Some(table) => sections.push(Section::new(self.source, table, item.span().start)),
                None => self.source.report(item.span().start, format_args!("{name}: expected tables")),
            }
        }
        sections
    }

    /// Every entry of a table whose keys are the document's own, each a table.
    #[must_use]
    pub fn entries(&self) -> Vec<(String, Section<'a>)> {
        let mut entries = Vec::new();
        for (key, value) in self.table {
            self.own_keys.borrow_mut().push(key.get_ref().to_string());
            let at = key.span().start;
            match value.get_ref().as_table() {
                Some(table) => entries.push((key.get_ref().to_string(), Section::new(self.source, table, at))),
                None => self.source.report(at, format_args!("{}: expected a table", key.get_ref())),
            }
        }
        entries
    }

    /// Every entry of a table whose keys are the document's own, each a text parsed into `T`.
    #[must_use]
    pub fn words<T: FromStr<Err: Display>>(&self) -> Vec<(String, T)> {
        let mut words = Vec::new();
        for (key, value) in self.table {
            let name = key.get_ref().to_string();
            self.own_keys.borrow_mut().push(name.clone());
            match value.get_ref().as_str().map(str::parse) {
                Some(Ok(word)) => words.push((name, word)),
                Some(Err(error)) => self.source.report(value.span().start, format_args!("{name}: {error}")),
                None => self.source.report(value.span().start, format_args!("{name}: expected a text")),
            }
        }
        words
    }

    /// A text in all four languages: a table with one key a language.
    #[must_use]
    pub fn texts(&self, name: &'static str) -> Option<Texts> {
        self.require_section(name)?.own_texts()
    }

    /// This table itself, as a text in all four languages.
    #[must_use]
    pub fn own_texts(&self) -> Option<Texts> {
        let text = |name| self.require::<Readable>(name).map(|text| text.0);
        let (zh_hans, zh_hant_hk) = (text("zh-Hans"), text("zh-Hant-HK"));
        let (pt, en) = (text("pt"), text("en"));
        Some(Texts { zh_hans: zh_hans?, zh_hant_hk: zh_hant_hk?, pt: pt?, en: en? })
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let (asked, own) = (self.asked.borrow(), self.own_keys.borrow());
        let known = |name: &str| asked.contains(&name) || own.iter().any(|key| key == name);
        for key in self.table.keys().filter(|key| !known(key.get_ref())) {
            let name = key.get_ref();
            let hint = nearest(name, &asked).map(|known| format!("; did you mean {known}?")).unwrap_or_default();
            self.source.report(key.span().start, format_args!("{name} is not a known field{hint}"));
        }
    }
}

/// A span of time as documents write it.
struct Span(Duration);

impl FromStr for Span {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "expected a number and a unit, such as 30s, 15m, 8h or 90d";
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(RULE)?;
        let scale = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(RULE),
        };
        let number: u64 = number.parse().map_err(|_| RULE)?;
        number.checked_mul(scale).map(|seconds| Self(Duration::from_secs(seconds))).ok_or(RULE)
    }
}

/// The known name nearest to `name`, when it is near enough to be a slip of the pen.
#[must_use]
pub fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let (distance, best) = known.iter().map(|candidate| (edits(name, candidate), *candidate)).min()?;
    (distance <= 2 && distance < name.len()).then_some(best)
}

/// Levenshtein distance, one row at a time.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, to) in row.iter_mut().skip(1).zip(&b) {
            let cost = (diagonal + usize::from(from != *to)).min(*slot + 1).min(left + 1);
            diagonal = *slot;
            *slot = cost;
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ServiceId;

    fn problems(text: &str) -> Vec<String> {
        let read = Source::new("a.toml", text).read(|doc| {
            let id: Option<ServiceId> = doc.require("id");
            let _ =
                (doc.flag("on", true), doc.number("count", 1..=9), doc.duration("life"), doc.list::<ServiceId>("ids"));
            for row in doc.sections("row") {
                let _: Option<String> = row.require("name");
            }
            id
        });
        read.map_or_else(|problems| problems.iter().map(ToString::to_string).collect(), |_| Vec::new())
    }

    #[test]
    fn every_problem_is_named_with_its_line() {
        let text = "id = \"Not An Id\"\non = 3\ncount = 12\nlife = \"3w\"\nids = [\"a\", \"B\"]\nconut = 1\n[[row]]\n[[row]]\nname = 3\n";
        let found = problems(text);
        let expected = [
            "a.toml:1: id: service id must be",
            "a.toml:2: on: expected true or false, found integer",
            "a.toml:3: count: must be between 1 and 9",
            "a.toml:4: life: expected a number and a unit",
            "a.toml:5: ids: service id must be",
            "a.toml:6: conut is not a known field; did you mean count?",
            "a.toml:7: name is missing",
            "a.toml:9: name: expected a text, found integer",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found} does not start with {expected}");
        }
    }

    #[test]
    fn a_sound_document_has_no_problems() {
        assert_eq!(problems("id = \"a\"\nlife = \"15m\"\n"), Vec::<String>::new());
    }

    #[test]
    fn broken_syntax_is_a_problem_not_a_panic() {
        assert!(!problems("id = \n[[").is_empty());
    }
}
