//! The words that documents share: what each claim, purpose, legal ground and domain is called, in four languages; how much
//! harm a claim can do; which ground cites a law; and the code tables that mappings look words up in.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use cel::Context;
use gateway_core::circumstances::DataClass;
use gateway_core::document::{Problems, Section, Source, nearest};
use gateway_core::locale::{Locale, Texts};

use crate::functions;
use crate::retire::Retiring;

/// Code tables by name: word to code.
pub type Codes = BTreeMap<String, BTreeMap<String, String>>;

/// One word of the vocabulary.
#[derive(Debug, Clone)]
pub struct Word {
    /// What people read.
    pub texts: Texts,
    /// Of a claim: how much harm it can do.
    pub class: DataClass,
    /// Of a claim: whether it answers a question by yes or no and says nothing else.
    pub yes_no: bool,
    /// Of a ground: the law that it rests on, as lawyers cite it.
    pub citation: Option<String>,
}

/// Words by code.
pub type Words = BTreeMap<String, Word>;

/// Every word of a bundle.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// Claims.
    pub claims: Words,
    /// Why a service wants a claim.
    pub purposes: Words,
    /// What in law allows it.
    pub grounds: Words,
    /// The fields of life that services belong to.
    pub domains: Words,
    /// Code tables.
    pub codes: Codes,
    /// What is being given up.
    pub retiring: Retiring,
}

impl Vocabulary {
    /// Adds the words of one document. A word that exists already is a problem: a later document must not quietly change what
    /// harm a claim can do, or which ground cites a law.
    ///
    /// # Errors
    /// Every problem in the document.
    pub fn add_document(&mut self, file: &str, text: &str) -> Result<(), Problems> {
        let read = Source::new(file, text).read(|doc| {
            let part = |name, known: &Words| {
                doc.section(name).map(|section| read_words(&section, name == "claims", known)).unwrap_or_default()
            };
            let words = [
                part("claims", &self.claims),
                part("purposes", &self.purposes),
                part("grounds", &self.grounds),
                part("domains", &self.domains),
            ];
            let codes: Codes = doc
                .section("codes")
                .map(|codes| {
                    codes.entries().into_iter().map(|(name, table)| (name, table.words().into_iter().collect()))
                })
                .into_iter()
                .flatten()
                .collect();
            let retiring = doc.section("retire").map(|retire| Retiring::read(&retire)).unwrap_or_default();
            Some((words, codes, retiring))
        });
        let ([claims, purposes, grounds, domains], codes, retiring) = read?;
        self.claims.extend(claims);
        self.purposes.extend(purposes);
        self.grounds.extend(grounds);
        self.domains.extend(domains);
        self.codes.extend(codes);
        self.retiring.extend(retiring);
        Ok(())
    }

    /// What is given up and never was: most likely another name was meant, which would then go on for ever.
    pub fn unknown_retiring(&self) -> impl Iterator<Item = String> {
        let names = self.retiring.claims.keys().filter(|name| !self.claims.contains_key(*name));
        names.map(|name| format!("retire: claim {}", unknown(name, self.claims.keys().map(String::as_str))))
    }

    /// What expressions may call, over these code tables.
    #[must_use]
    pub fn functions(&self) -> Context<'static, 'static> {
        functions::root(Arc::new(self.codes.clone()))
    }

    /// What a claim is called; its bare name when the vocabulary has no word for it.
    #[must_use]
    pub fn claim<'a>(&'a self, name: &'a str, locale: Locale) -> &'a str {
        text(&self.claims, name, locale)
    }

    /// What a purpose is called.
    #[must_use]
    pub fn purpose<'a>(&'a self, code: &'a str, locale: Locale) -> &'a str {
        text(&self.purposes, code, locale)
    }

    /// What a ground is called.
    #[must_use]
    pub fn ground<'a>(&'a self, code: &'a str, locale: Locale) -> &'a str {
        text(&self.grounds, code, locale)
    }

    /// How much harm a claim can do.
    #[must_use]
    pub fn class(&self, claim: &str) -> DataClass {
        self.claims.get(claim).map_or(DataClass::General, |word| word.class)
    }
}

fn text<'a>(words: &'a Words, code: &'a str, locale: Locale) -> &'a str {
    words.get(code).map_or(code, |word| word.texts.get(locale))
}

/// Reads the code of a word that the vocabulary must have.
pub(crate) fn read_word(row: &Section<'_>, name: &'static str, words: &Words) -> Option<String> {
    let code: String = row.require(name)?;
    if !words.contains_key(&code) {
        row.refuse_field(name, unknown(&code, words.keys().map(String::as_str)));
    }
    Some(code)
}

/// Says that a word is not known, and which was perhaps meant.
pub(crate) fn unknown<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> impl Display {
    let known: Vec<&str> = known.collect();
    let hint = nearest(word, &known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("{word} is not known in this bundle{hint}")
}

fn read_words(section: &Section<'_>, classed: bool, known: &Words) -> Words {
    let word = |code: &str, entry: &Section<'_>| {
        if known.contains_key(code) {
            entry.refuse(format_args!("{code} is described by another document as well"));
        }
        let class = if classed { entry.require("class") } else { Some(DataClass::General) };
        let (yes_no, citation) = (classed && entry.flag("yes_no", false), entry.optional("citation"));
        Some(Word { texts: entry.own_texts()?, class: class?, yes_no, citation })
    };
    let entries = section.entries().into_iter();
    entries.filter_map(|(code, entry)| Some((code.clone(), word(&code, &entry)?))).collect()
}
