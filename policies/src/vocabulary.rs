//! The words that documents share: what each claim, purpose and legal ground is called, in four languages.

use std::collections::BTreeMap;

use gateway_core::document::{Problems, Section, Source};
use gateway_core::locale::{Locale, Texts};

/// Claims, purposes and grounds by code.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// What a claim is called on the consent page.
    pub claims: BTreeMap<String, Texts>,
    /// Why a service wants a claim.
    pub purposes: BTreeMap<String, Texts>,
    /// What in law allows it.
    pub grounds: BTreeMap<String, Texts>,
}

impl Vocabulary {
    /// Adds the words of one document; a word that exists already is replaced.
    ///
    /// # Errors
    /// Every problem in the document.
    pub fn add_document(&mut self, file: &str, text: &str) -> Result<(), Problems> {
        let read = Source::new(file, text).read(|doc| {
            let part = |name| doc.section(name).map(|section| read_words(&section)).unwrap_or_default();
            Some((part("claims"), part("purposes"), part("grounds")))
        });
        let (claims, purposes, grounds) = read?;
        self.claims.extend(claims);
        self.purposes.extend(purposes);
        self.grounds.extend(grounds);
        Ok(())
    }

    /// What a claim is called; its bare name when the vocabulary has no word for it.
    #[must_use]
    pub fn claim<'a>(&'a self, name: &'a str, locale: Locale) -> &'a str {
        self.claims.get(name).map_or(name, |texts| texts.get(locale))
    }

    /// What a purpose is called.
    #[must_use]
    pub fn purpose<'a>(&'a self, code: &'a str, locale: Locale) -> &'a str {
        self.purposes.get(code).map_or(code, |texts| texts.get(locale))
    }

    /// What a ground is called.
    #[must_use]
    pub fn ground<'a>(&'a self, code: &'a str, locale: Locale) -> &'a str {
        self.grounds.get(code).map_or(code, |texts| texts.get(locale))
    }
}

fn read_words(section: &Section<'_>) -> BTreeMap<String, Texts> {
    section.entries().into_iter().filter_map(|(code, texts)| Some((code, texts.own_texts()?))).collect()
}
