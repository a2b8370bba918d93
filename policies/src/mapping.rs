//! Claim mapping: short CEL expressions over what the provider said, with an explicit answer to absence.
//!
//! The language is closed: the standard operators and string functions of CEL, no macros (so no loops), and the
//! functions listed in [`FUNCTIONS`]. An expression sees `claims` (what the provider said), `provider`,
//! `jurisdiction` and `today`.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{Expr, IdedExpr};
use cel::objects::{Key, Map};
use cel::{Context, Env, ExecutionError, Program, Value as Cel};
use gateway_core::assertion::Assertion;
use gateway_core::authorize::ClaimsRequest;
use gateway_core::claims::{ClaimName, Claims};
use gateway_core::time::Timestamp;
use serde_json::Value;

use crate::service::{Release, Service};

/// The longest expression, in bytes.
const MAX_EXPRESSION: usize = 500;

/// What an expression may name, besides operators and literals.
const VARIABLES: [&str; 4] = ["claims", "provider", "jurisdiction", "today"];

/// Our functions: `mask(text, first, last)` keeps that many characters at each end and stars the rest;
/// `over(birthdate, years)` answers whether that many years have passed today.
pub const FUNCTIONS: [&str; 2] = ["mask", "over"];

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::default().with_stdlib()));

/// A compiled expression.
#[derive(Clone)]
pub struct Mapping {
    source: String,
    program: Arc<Program>,
    claims: Vec<String>,
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({})", self.source)
    }
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(source: &str) -> Result<Self, String> {
        if source.len() > MAX_EXPRESSION {
            return Err(format!("an expression is at most {MAX_EXPRESSION} bytes long"));
        }
        if source.matches(['(', '[', '{', '?']).count() > 16 {
            return Err("an expression nests at most 16 brackets and choices".to_owned());
        }
        let program = ENVIRONMENT.compile(source).map_err(|error| error.to_string())?;
        if let Some(name) = program.references().variables().into_iter().find(|name| !VARIABLES.contains(name)) {
            return Err(format!("{name} is not known here; an expression sees {}", VARIABLES.join(", ")));
        }
        for name in program.references().functions() {
            let operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
            if !operator && !FUNCTIONS.contains(&name) && !STANDARD.contains(&name) {
                return Err(format!("{name} is not a function that mappings may use"));
            }
        }
        let mut claims = Vec::new();
        if !claims_in(program.expression(), &mut claims) {
            return Err("claims are named one by one: claims.name".to_owned());
        }
        Ok(Self { source: source.to_owned(), program: Arc::new(program), claims })
    }
}

/// Collects the claims that an expression reads; false when it reads them other than by name, so that nobody could say
/// which data it needs.
fn claims_in(expression: &IdedExpr, claims: &mut Vec<String>) -> bool {
    match &expression.expr {
        Expr::Ident(name) => name != "claims",
        Expr::Select(select) if matches!(&select.operand.expr, Expr::Ident(name) if name == "claims") => {
            if !claims.contains(&select.field) {
                claims.push(select.field.clone());
            }
            true
        }
        Expr::Select(select) => claims_in(&select.operand, claims),
        Expr::Call(call) => {
            let target = call.target.as_deref().into_iter();
            target.chain(&call.args).all(|part| claims_in(part, claims))
        }
        Expr::List(list) => list.elements.iter().all(|part| claims_in(part, claims)),
        Expr::Literal(_) | Expr::Unspecified => true,
        // Nothing of these is needed by a mapping, and each would hide what it reads.
        Expr::Map(_) | Expr::Struct(_) | Expr::Comprehension(_) => false,
    }
}

/// The standard functions that mappings may use.
const STANDARD: [&str; 8] = ["size", "startsWith", "endsWith", "contains", "string", "int", "double", "bool"];

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

/// A claim that is ready to go out.
#[derive(Clone, PartialEq)]
pub struct Released {
    /// Its name.
    pub claim: ClaimName,
    /// Its value: personal data.
    pub value: Value,
    /// Why.
    pub purpose: String,
    /// By what ground.
    pub ground: String,
    /// Whether the person may leave it out.
    pub optional: bool,
    /// The rule that made it: its expression, and what it says of absence.
    pub rule: String,
}

impl fmt::Debug for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Released({}, {})", self.claim, self.purpose)
    }
}

/// Why a release cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// A claim the service cannot do without is missing.
    #[error("{0} is missing at the provider")]
    Missing(String),
    /// An expression went wrong. The text names no value.
    #[error("the mapping of {0} failed")]
    Failed(String),
}

/// Puts together what a service is given: the rows of its document that the client asked for, evaluated over what the
/// provider said.
///
/// # Errors
/// [`MappingError`] when a row says `fail`, or an expression goes wrong other than by absence.
pub fn release(
    service: &Service,
    assertion: &Assertion,
    asked: &ClaimsRequest,
    now: Timestamp,
) -> Result<Vec<Released>, MappingError> {
    let context = context(assertion, now);
    let mut released: Vec<Released> = Vec::new();
    for row in wanted(service, asked) {
        let value = evaluate(row, &context)?;
        let value = match (value, &row.on_missing) {
            (Some(value), _) => value,
            (None, OnMissing::Set(default)) => default.clone(),
            (None, OnMissing::Keep) => continue,
            (None, OnMissing::Clear) => {
                released.retain(|earlier| earlier.claim != row.claim);
                continue;
            }
            (None, OnMissing::Fail) => return Err(MappingError::Missing(row.claim.to_string())),
        };
        released.retain(|earlier| earlier.claim != row.claim);
        released.push(Released {
            claim: row.claim.clone(),
            value,
            purpose: row.purpose.clone(),
            ground: row.ground.clone(),
            optional: row.optional,
            rule: format!("{} {:?}", row.from.source, row.on_missing),
        });
    }
    Ok(released)
}

/// The rows of a document that a request asks for.
fn wanted<'a>(service: &'a Service, asked: &'a ClaimsRequest) -> impl Iterator<Item = &'a Release> {
    let in_scope = |row: &Release| row.scope.as_ref().is_some_and(|scope| asked.scopes.contains(scope));
    service.release.iter().filter(move |row| asked.asks_for(row.claim.as_str()) || in_scope(row))
}

/// The claims of a provider that a release to this request would read: what it has to be asked for, and no more.
#[must_use]
pub fn needed(service: &Service, asked: &ClaimsRequest) -> Vec<String> {
    let mut claims: Vec<String> = wanted(service, asked).flat_map(|row| row.from.claims.iter().cloned()).collect();
    claims.sort();
    claims.dedup();
    claims
}

/// The value of a row's expression; `None` when its source is missing, null or empty.
fn evaluate(row: &Release, context: &Context<'_, '_>) -> Result<Option<Value>, MappingError> {
    match row.from.program.execute(context) {
        Ok(Cel::Null) | Err(ExecutionError::NoSuchKey(_)) => Ok(None),
        Ok(Cel::String(text)) if text.is_empty() => Ok(None),
        Ok(value) => to_json(&value).map(Some).ok_or_else(|| MappingError::Failed(row.claim.to_string())),
        Err(_) => Err(MappingError::Failed(row.claim.to_string())),
    }
}

fn context<'v>(assertion: &Assertion, now: Timestamp) -> Context<'v, 'v> {
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.add_variable_from_value("claims", claims_to_cel(&assertion.claims));
    context.add_variable_from_value("provider", assertion.provider.to_string());
    context.add_variable_from_value("jurisdiction", assertion.jurisdiction.code().to_owned());
    context.add_variable_from_value("today", today(now));
    let year_of_now = now;
    // Neither name is a standard overload, which is the only way adding a function can fail; a test calls both.
    let _ = context.add_function("mask", mask);
    let _ = context.add_function("over", move |birthdate: Arc<String>, years: i64| {
        over(&birthdate, years, year_of_now).ok_or_else(|| ExecutionError::function_error("over", "not a full date"))
    });
    context
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the library calls")]
fn mask(text: Arc<String>, first: i64, last: i64) -> String {
    let (first, last) = (usize::try_from(first).unwrap_or(0), usize::try_from(last).unwrap_or(0));
    let length = text.chars().count();
    let starred = |index: usize| length <= first + last || (index >= first && index < length - last);
    text.chars().enumerate().map(|(index, c)| if starred(index) { '*' } else { c }).collect()
}

/// The civil date of `now` in the zone of all three jurisdictions, UTC+8, as `YYYY-MM-DD`.
#[must_use]
pub fn today(now: Timestamp) -> String {
    let (year, month, day) = civil(now);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Days to civil date, by the usual 400-year cycle of the Gregorian calendar.
fn civil(now: Timestamp) -> (i64, i64, i64) {
    let days = i64::try_from((now.0 + 8 * 3_600) / 86_400).unwrap_or(0) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// Whether `years` have passed since a birth date of the form `YYYY-MM-DD`; `None` when it is not one.
fn over(birthdate: &str, years: i64, now: Timestamp) -> Option<bool> {
    let mut parts = birthdate.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some((year.checked_add(years)?, month, day) <= civil(now))
}

fn claims_to_cel(claims: &Claims) -> Cel {
    let map = claims.iter().map(|(name, value)| (Key::String(Arc::new(name.to_owned())), to_cel(value)));
    Cel::Map(Map { map: Arc::new(map.collect()) })
}

fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => {
            number.as_i64().map(Cel::Int).unwrap_or_else(|| Cel::Float(number.as_f64().unwrap_or(f64::NAN)))
        }
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(members) => {
            let map: HashMap<Key, Cel> =
                members.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), to_cel(value))).collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

fn to_json(value: &Cel) -> Option<Value> {
    match value {
        Cel::Bool(flag) => Some(Value::Bool(*flag)),
        Cel::Int(number) => Some((*number).into()),
        Cel::UInt(number) => Some((*number).into()),
        Cel::Float(number) => serde_json::Number::from_f64(*number).map(Value::Number),
        Cel::String(text) => Some(Value::String(text.as_ref().clone())),
        Cel::List(items) => items.iter().map(to_json).collect::<Option<Vec<_>>>().map(Value::Array),
        Cel::Map(map) => {
            let members = map.map.iter().map(|(key, value)| match key {
                Key::String(name) => Some((name.as_ref().clone(), to_json(value)?)),
                _ => None,
            });
            members.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
