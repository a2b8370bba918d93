//! Provider documents: who an identity provider is, what its words mean on our two axes, what it can do, and what it lets
//! policy know of a person.

use std::collections::BTreeSet;

use gateway_core::assurance::{Assurance, Level};
use gateway_core::circumstances::{AgeLimit, Capacity, Person, Population};
use gateway_core::document::{Problems, Section, Source};
use gateway_core::ids::ProviderId;
use gateway_core::jurisdiction::Jurisdiction;
use gateway_core::locale::Texts;
use gateway_core::time::Date;

use crate::expression::{Expression, Scope};
use crate::service::{Release, Service};

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

/// How what a provider says of a person becomes what policy may know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PersonRules {
    /// The places of whose residents it vouches; with one of them and no expression, everybody is that.
    pub populations: Vec<Population>,
    /// Where a person is a resident: the first expression whose source is there.
    pub population_from: Vec<Expression>,
    /// The date of birth.
    pub birthdate: Option<Expression>,
    /// The capacity: for themselves, where a provider says nothing of it.
    pub capacity: Option<Expression>,
}

/// What a provider vouches for beyond the login (OpenID Connect for Identity Assurance).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Under which rules it checked.
    pub trust_framework: String,
    /// The register or office whose record it is.
    pub source: String,
    /// The claims that it checked.
    pub claims: Vec<String>,
}

impl Verification {
    /// True when everything that a row reads was checked. A row that reads nothing says nothing that anybody checked.
    #[must_use]
    pub fn covers(&self, row: &Release) -> bool {
        !row.from.claims().is_empty() && row.from.claims().iter().all(|claim| self.claims.contains(claim))
    }
}

/// An identity provider, as policy sees it. How to reach it is the adapter's business.
#[derive(Debug, Clone, PartialEq)]
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
    /// What it lets policy know of a person.
    pub person: PersonRules,
    /// What it vouches for.
    pub verification: Option<Verification>,
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
            let person = doc.section("person").map(|person| read_person(&person)).unwrap_or_default();
            let verification = doc.section("verification").and_then(|section| read_verification(&section));
            let (id, name, jurisdiction) = (id?, name?, jurisdiction?);
            Some((Self { id, name, jurisdiction, table, can, person, verification }, settings?))
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

/// Why a person cannot be placed: the rule that says so.
pub type Unplaced = &'static str;

impl PersonRules {
    /// What policy may know of the person in `scope`. A word that no policy knows refuses; it is never guessed.
    ///
    /// # Errors
    /// The name of the rule that refuses.
    pub fn person(&self, scope: &Scope<'_>) -> Result<Person, Unplaced> {
        let population = self.population(scope)?;
        let capacity = match &self.capacity {
            None => Capacity::Own,
            Some(expression) => word(expression, scope).ok().flatten().ok_or("capacity-known")?,
        };
        // Of some people only the year of birth is known: then their age is not.
        let birthdate = self.birthdate.as_ref().and_then(|expression| word::<Date>(expression, scope).ok().flatten());
        let years = birthdate.and_then(|birthdate| u32::try_from(birthdate.years_until(scope.today())).ok());
        Ok(Person { population, age: years.map(AgeLimit::reached_at), capacity })
    }

    /// Of which place the person in `scope` is a resident.
    ///
    /// # Errors
    /// The name of the rule that refuses.
    pub(crate) fn population(&self, scope: &Scope<'_>) -> Result<Option<Population>, Unplaced> {
        let population = match (self.population_from.as_slice(), self.populations.as_slice()) {
            ([], [one]) => Some(*one),
            ([], _) => None,
            (expressions, _) => first(expressions, scope).map_err(|()| "population-known")?,
        };
        match population {
            Some(population) if !self.populations.contains(&population) => Err("population-known"),
            population => Ok(population),
        }
    }

    /// The claims that have to be known before a service can decide.
    pub(crate) fn needed(&self, service: &Service) -> BTreeSet<String> {
        let told = service.release.iter().any(|row| row.from.asks_residence());
        let (traits, raw) = (service.traits(), service.cedar.is_some());
        let (population, age) = (told || raw || traits.place, raw || traits.age);
        let mut needed: Vec<&Expression> = self.capacity.iter().collect();
        needed.extend(self.population_from.iter().filter(|_| population));
        needed.extend(self.birthdate.iter().filter(|_| age));
        needed.into_iter().flat_map(Expression::claims).cloned().collect()
    }
}

/// The first of several expressions whose source is there.
fn first(expressions: &[Expression], scope: &Scope<'_>) -> Result<Option<Population>, ()> {
    for expression in expressions {
        if let Some(population) = word(expression, scope)? {
            return Ok(Some(population));
        }
    }
    Ok(None)
}

/// The word that an expression gives; nothing when its source is missing, an error when it is no word we know.
fn word<T: std::str::FromStr>(expression: &Expression, scope: &Scope<'_>) -> Result<Option<T>, ()> {
    match expression.evaluate(scope) {
        Ok(None) => Ok(None),
        Ok(Some(value)) => value.as_str().and_then(|text| text.parse().ok()).map(Some).ok_or(()),
        Err(_) => Err(()),
    }
}

fn read_person(section: &Section<'_>) -> PersonRules {
    let populations: Vec<Population> = section.list("populations");
    let population_from: Vec<Expression> = section.list("population_from");
    if populations.len() != 1 && population_from.is_empty() {
        section.refuse_field("population_from", "is needed unless populations names exactly one");
    }
    let (birthdate, capacity) = (section.optional("birthdate"), section.optional("capacity"));
    PersonRules { populations, population_from, birthdate, capacity }
}

fn read_verification(section: &Section<'_>) -> Option<Verification> {
    let (trust_framework, source) = (section.require("trust_framework"), section.require("source"));
    let claims = section.list("claims");
    Some(Verification { trust_framework: trust_framework?, source: source?, claims })
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
        let population = if id == "hk" { "hk" } else { "macao" };
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
[person]
populations = ["{population}"]
birthdate = 'claims.birthdate'
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
