//! The functions that mappings may use. The list is closed: what is not here cannot be called.
//!
//! | function | answer |
//! | --- | --- |
//! | `mask(text, first, last)` | stars all but that many characters at the ends, and never shows more than half of them |
//! | `valid(kind, text)` | whether it is a well-formed number of that kind, check digit included where it is public |
//! | `same_holder(a, b)` | whether two Home Return Permits are one person's, however often they were issued anew |
//! | `population(number)` | of which place the holder of a resident number or permit is a resident |
//! | `over(birthdate, years)` | whether that many years have passed today |
//! | `age(birthdate)`, `year(date)` | in years; the year alone |
//! | `code(table, word)` | what a code table of the vocabulary says for a word; an unknown word fails |
//! | `family_name(name)`, `given_name(name)` | the parts of `SURNAME, Given` |
//! | `upper(text)`, `lower(text)`, `trim(text)` | the text, written so |

use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ExecutionError, Value as Cel};
use gateway_core::papers::{Bir, CreditCode, Hkid, HomeReturnPermit, Place, ResidentKind, ResidentNumber};
use gateway_core::time::Date;

use crate::vocabulary::Codes;

/// Every function of ours, and whether its answer gives nothing away of the document numbers that it is given. Of a mask the
/// expression itself says how much shows.
pub(crate) const OURS: [(&str, bool); 14] = [
    ("mask", false),
    ("valid", true),
    ("same_holder", true),
    ("population", true),
    ("over", true),
    ("age", false),
    ("year", false),
    ("code", false),
    ("family_name", false),
    ("given_name", false),
    ("upper", false),
    ("lower", false),
    ("trim", false),
    ("has", true),
];

/// The functions that need today's date: it is handed to them behind the arguments that are written.
pub(crate) const DATED: [&str; 2] = ["over", "age"];

/// The standard functions that mappings may use.
pub(crate) const STANDARD: [&str; 8] =
    ["size", "startsWith", "endsWith", "contains", "string", "int", "double", "bool"];

/// The language: the standard operators and functions.
pub(crate) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::default().with_stdlib()));

type Answer<T> = Result<T, ExecutionError>;

fn wrong<T>(function: &str, reason: &str) -> Answer<T> {
    Err(ExecutionError::function_error(function, reason))
}

fn text(text: &str) -> Answer<Cel> {
    Ok(Cel::String(Arc::new(text.to_owned())))
}

/// A context with our functions, over the code tables of one bundle.
pub(crate) fn root(codes: Arc<Codes>) -> Context<'static, 'static> {
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    // No name here is a standard overload, which is the only way adding one can fail; a test calls each.
    let _ = context.add_function("mask", mask);
    let _ = context.add_function("valid", valid);
    let _ = context.add_function("same_holder", same_holder);
    let _ = context.add_function("population", population);
    let _ = context.add_function("over", over);
    let _ = context.add_function("age", age);
    let _ = context.add_function("year", |date: Arc<String>| parsed("year", &date).map(|date| date.year));
    let _ = context.add_function("family_name", |name: Arc<String>| name_part(&name, false));
    let _ = context.add_function("given_name", |name: Arc<String>| name_part(&name, true));
    let _ = context.add_function("upper", |text: Arc<String>| text.to_uppercase());
    let _ = context.add_function("lower", |text: Arc<String>| text.to_lowercase());
    let _ = context.add_function("trim", |text: Arc<String>| text.trim().to_owned());
    let _ = context.add_function("code", move |table: Arc<String>, word: Arc<String>| {
        let known = codes.get(table.as_str()).and_then(|table| table.get(word.as_str()));
        known.map_or_else(|| wrong("code", "the word is not in the table"), |code| text(code))
    });
    context
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the library calls")]
fn mask(text: Arc<String>, first: i64, last: i64) -> String {
    let (first, last) = (usize::try_from(first).unwrap_or(0), usize::try_from(last).unwrap_or(0));
    let length = text.chars().count();
    let shown = first.saturating_add(last);
    let starred = |index: usize| shown > length / 2 || (index >= first && index < length - last);
    text.chars().enumerate().map(|(index, c)| if starred(index) { '*' } else { c }).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the library calls")]
fn valid(kind: Arc<String>, text: Arc<String>) -> Answer<bool> {
    Ok(match kind.as_str() {
        "hkid" => Hkid::parse(&text).is_ok(),
        "bir" => Bir::parse(&text).is_ok(),
        "resident_id" => ResidentNumber::parse(&text).is_ok(),
        "home_return_permit" => HomeReturnPermit::parse(&text).is_ok(),
        "credit_code" => CreditCode::parse(&text).is_ok(),
        _ => return wrong("valid", "unknown kind of number"),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the library calls")]
fn same_holder(a: Arc<String>, b: Arc<String>) -> Answer<bool> {
    match (HomeReturnPermit::parse(&a), HomeReturnPermit::parse(&b)) {
        (Ok(a), Ok(b)) => Ok(a.holder() == b.holder()),
        _ => wrong("same_holder", "not a Home Return Permit"),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the library calls")]
fn population(number: Arc<String>) -> Answer<Cel> {
    let place = match (ResidentNumber::parse(&number), HomeReturnPermit::parse(&number)) {
        (Ok(resident), _) => match resident.kind() {
            ResidentKind::Mainland => return text("mainland"),
            ResidentKind::ResidencePermit(place) => place,
        },
        (_, Ok(permit)) => permit.place(),
        _ => return wrong("population", "not a number that says so"),
    };
    text(match place {
        Place::HongKong => "hk",
        Place::Macao => "macao",
        Place::Taiwan => "taiwan",
    })
}

fn parsed(function: &str, text: &str) -> Answer<Date> {
    text.parse().or_else(|_| wrong(function, "not a full date"))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the library calls")]
fn over(birthdate: Arc<String>, years: i64, today: Arc<String>) -> Answer<bool> {
    Ok(parsed("over", &birthdate)?.years_until(parsed("over", &today)?) >= years)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the library calls")]
fn age(birthdate: Arc<String>, today: Arc<String>) -> Answer<i64> {
    let years = parsed("age", &birthdate)?.years_until(parsed("age", &today)?);
    if years >= 0 { Ok(years) } else { wrong("age", "the date lies ahead") }
}

fn name_part(name: &str, given: bool) -> Answer<Cel> {
    let Some((family, rest)) = name.split_once(',') else { return wrong("name", "no comma between the parts") };
    text(if given { rest } else { family }.trim())
}
