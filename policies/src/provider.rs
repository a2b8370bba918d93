//! Provider documents: who an identity provider is, what its words mean on our two axes, and what it can do.

use gateway_core::assurance::{Assurance, Level};
use gateway_core::document::{Problems, Section, Source};
use gateway_core::ids::ProviderId;
use gateway_core::jurisdiction::Jurisdiction;
use gateway_core::locale::Texts;

/// One row of the table that translates a provider's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssuranceRow {
    /// The provider's own `acr`; `None` is the row for an answer that states none.
    pub acr: Option<String>,
    /// The row counts only when the provider names one of these methods; empty means any.
    pub amr_any: Vec<String>,
    /// What it means.
    pub assurance: Assurance,
    /// The authentication methods it stands for when the provider names none (RFC 8176).
    pub amr: Vec<String>,
}

/// What a provider can do, declared so that the chooser can tell the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// It can be asked to authenticate anew (`prompt=login`, `max_age`).
    pub reauthenticates_on_demand: bool,
    /// It authenticates anew every time, asked or not, so that a login without a stated time is as old as the question.
    pub reauthenticates_always: bool,
}

/// An identity provider, as policy sees it. How to reach it is the adapter's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its id; also the last segment of its callback path.
    pub id: ProviderId,
    /// What people call it.
    pub name: Texts,
    /// Where it stands.
    pub jurisdiction: Jurisdiction,
    /// The translation table, strongest row last.
    pub table: Vec<AssuranceRow>,
    /// What it can do.
    pub can: Capabilities,
}

impl Provider {
    /// Reads a provider document. `settings` reads the part that belongs to the adapter.
    ///
    /// # Errors
    /// Every problem in the document.
    pub fn from_document<S>(
        file: &str,
        text: &str,
        settings: impl FnOnce(&Section<'_>) -> Option<S>,
    ) -> Result<(Self, S), Problems> {
        Source::new(file, text).read(|doc| {
            let settings = settings(doc);
            let (id, name, jurisdiction) = (doc.require("id"), doc.texts("name"), doc.require("jurisdiction"));
            let table: Vec<_> = doc.sections("assurance").iter().filter_map(read_row).collect();
            if table.is_empty() {
                doc.refuse("at least one [[assurance]] row is needed: without one no login of this provider counts");
            }
            let can = Capabilities {
                reauthenticates_on_demand: doc.flag("reauthenticates_on_demand", false),
                reauthenticates_always: doc.flag("reauthenticates_always", false),
            };
            Some((Self { id: id?, name: name?, jurisdiction: jurisdiction?, table, can }, settings?))
        })
    }

    /// What a stated `acr` and `amr` mean: the last row that fits. An unknown word, or silence where the table has no
    /// row for it, means nothing: refused.
    #[must_use]
    pub fn translate(&self, acr: Option<&str>, amr: &[String]) -> Option<&AssuranceRow> {
        let methods =
            |row: &AssuranceRow| row.amr_any.is_empty() || row.amr_any.iter().any(|method| amr.contains(method));
        self.table.iter().rev().find(|row| row.acr.as_deref() == acr && methods(row))
    }

    /// The rows that meet `needed`, in table order.
    pub fn rows_meeting(&self, needed: Assurance) -> impl Iterator<Item = &AssuranceRow> {
        self.table.iter().filter(move |row| row.assurance.meets(needed))
    }

    /// The provider's own words to ask for when `needed` is needed (OpenID Connect `acr_values`).
    #[must_use]
    pub fn words_for(&self, needed: Assurance) -> Vec<String> {
        let mut words: Vec<String> = self.rows_meeting(needed).filter_map(|row| row.acr.clone()).collect();
        words.dedup();
        words
    }

    /// The methods of which one is needed on top of any login when `needed` is needed, weakest first; none where some
    /// login without a named method will do.
    #[must_use]
    pub fn methods_for(&self, needed: Assurance) -> Vec<String> {
        let mut methods: Vec<String> = Vec::new();
        for row in self.rows_meeting(needed) {
            if row.amr_any.is_empty() {
                return Vec::new();
            }
            methods.extend(row.amr_any.iter().filter(|method| !methods.contains(method)).cloned().collect::<Vec<_>>());
        }
        methods
    }
}

fn read_row(row: &Section<'_>) -> Option<AssuranceRow> {
    let unstated = row.flag("unstated", false);
    let acr: Option<String> = row.optional("acr");
    if unstated == acr.is_some() {
        row.refuse("a row needs either acr = \"…\" or unstated = true");
    }
    let (identity, authentication) = (read_level(row, "identity"), read_level(row, "authentication"));
    let assurance = Assurance { identity: identity?, authentication: authentication? };
    let (amr_any, amr) = (row.list("amr_any"), row.list("amr"));
    Some(AssuranceRow { acr, amr_any, assurance, amr })
}

/// Reads a required assurance level.
pub(crate) fn read_level(section: &Section<'_>, name: &'static str) -> Option<Level> {
    let number = section.require_number(name, 1..=3)?;
    u8::try_from(number).ok().and_then(|number| Level::try_from(number).ok())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A provider that reaches i2a1 with one word and i2a2 with another.
    pub(crate) fn provider(id: &str, jurisdiction: &str) -> Provider {
        let text = format!(
            r#"
id = "{id}"
jurisdiction = "{jurisdiction}"
reauthenticates_on_demand = true
[name]
zh-Hans = "甲"
zh-Hant-HK = "甲"
pt = "A"
en = "A"
[[assurance]]
acr = "low"
identity = 2
authentication = 1
[[assurance]]
acr = "high"
identity = 2
authentication = 2
amr = ["mfa"]
"#
        );
        Provider::from_document("p.toml", &text, |_| Some(())).unwrap().0
    }

    #[test]
    fn unknown_words_and_silence_mean_nothing() {
        let provider = provider("hk", "HK");
        assert!(provider.translate(Some("high"), &[]).is_some());
        for acr in [Some("HIGH"), Some("higher"), Some(""), None] {
            assert!(provider.translate(acr, &["mfa".to_owned()]).is_none(), "{acr:?}");
        }
    }

    #[test]
    fn the_same_word_means_less_without_the_method_that_a_row_names() {
        let mut provider = provider("gd", "CN-GD");
        let strong = AssuranceRow { amr_any: vec!["face".into()], ..provider.table[1].clone() };
        provider.table = vec![AssuranceRow { acr: Some("L3".into()), ..provider.table[0].clone() }];
        provider.table.push(AssuranceRow { acr: Some("L3".into()), ..strong });
        let reached = |amr: &str| provider.translate(Some("L3"), &[amr.to_owned()]).unwrap().assurance.acr();
        assert_eq!(reached("pwd"), "urn:cbid:acr:i2a1");
        assert_eq!(reached("face"), "urn:cbid:acr:i2a2");
        assert_eq!(provider.words_for(Assurance::LEAST), ["L3"]);
    }

    #[test]
    fn the_demand_is_put_in_the_providers_own_words() {
        let provider = provider("hk", "HK");
        assert_eq!(provider.words_for(Assurance::from_acr("urn:cbid:acr:i2a2").unwrap()), ["high"]);
        assert_eq!(provider.words_for(Assurance::LEAST), ["low", "high"]);
        assert!(provider.words_for(Assurance::from_acr("urn:cbid:acr:i3a1").unwrap()).is_empty());
    }
}
