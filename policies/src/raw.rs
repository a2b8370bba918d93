//! What raw Cedar in a service's document looks at, as far as it says so itself.

use std::str::FromStr as _;

use cedar_policy::PolicySet;
use gateway_core::circumstances::{DAY, WeekMinute};
use serde_json::Value;

/// What has more values than anybody goes through one by one.
const LONG: [&str; 2] = ["age", "minute"];
/// Operators that make other numbers of numbers.
const CALCULATIONS: [&str; 4] = ["+", "-", "*", "neg"];
/// Operators that compare.
const COMPARISONS: [&str; 9] = ["==", "!=", "<", "<=", ">", ">=", "contains", "containsAll", "containsAny"];

/// The policies as Cedar itself reads them; nothing, where it cannot.
fn read(cedar: &str) -> Option<Vec<Value>> {
    PolicySet::from_str(cedar).ok()?.policies().map(|policy| policy.to_json().ok()).collect()
}

/// Where comparisons with the numbers that it names change their answer: at each number, and after it.
pub(crate) fn numbers(cedar: &str) -> Vec<u64> {
    let mut found = Vec::new();
    read(cedar).iter().flatten().for_each(|policy| collect(policy, &mut found));
    found.iter().flat_map(|number| [Some(*number), number.checked_add(1)]).flatten().collect()
}

fn collect(part: &Value, into: &mut Vec<u64>) {
    match part {
        Value::Number(number) => into.extend(number.as_u64()),
        Value::Array(parts) => parts.iter().for_each(|part| collect(part, into)),
        Value::Object(parts) => parts.values().for_each(|part| collect(part, into)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The moments of the week that such numbers part when they are minutes of a day: on each day, and at its beginning.
pub(crate) fn moments(numbers: &[u64]) -> impl Iterator<Item = WeekMinute> {
    let minutes = numbers.iter().filter_map(|number| u16::try_from(*number).ok()).filter(|minute| *minute < DAY);
    std::iter::once(0).chain(minutes).flat_map(|minute| (0..7).map(move |day| WeekMinute::at(day, minute)))
}

/// Whether it does more with the age of a login and the minute than compare them with numbers that it names.
pub(crate) fn calculates(cedar: &str) -> bool {
    read(cedar).is_none_or(|policies| policies.iter().any(looks_between))
}

fn looks_between(part: &Value) -> bool {
    match part {
        Value::Array(parts) => parts.iter().any(looks_between),
        Value::Object(parts) => parts.iter().any(|(operator, sides)| {
            let sides_of = |names: &[&str]| names.contains(&operator.as_str());
            sides_of(&CALCULATIONS) || (sides_of(&COMPARISONS) && compares_facts(sides)) || looks_between(sides)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether both sides of a comparison are facts, and one of them is long.
fn compares_facts(sides: &Value) -> bool {
    let (left, right) = (sides.get("left"), sides.get("right"));
    let fact = |side: Option<&Value>| side.is_none_or(|side| has(side, "Var", &["context"]));
    let long = |side: Option<&Value>| side.is_none_or(|side| has(side, "attr", &LONG));
    fact(left) && fact(right) && (long(left) || long(right))
}

/// Whether some part has this member with one of these values.
fn has(part: &Value, member: &str, values: &[&str]) -> bool {
    match part {
        Value::Array(parts) => parts.iter().any(|part| has(part, member, values)),
        Value::Object(parts) => parts.iter().any(|(name, part)| {
            (name == member && part.as_str().is_some_and(|value| values.contains(&value))) || has(part, member, values)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(condition: &str) -> String {
        format!("forbid(principal, action, resource == Service::\"s\") when {{ {condition} }};")
    }

    #[test]
    fn what_is_more_than_a_comparison_with_a_number_is_known() {
        for between in [
            "context.minute > 600 && context.age <= 7 - 0 || true",
            "context.minute * 1 > 5",
            "context.age > -context.minute",
            "context.client == Client::\"a\\\"b\" && context.minute + 1 > 600",
            "context.minute < context.age",
            "[context.minute, 5].contains(context.weekday)",
            "(if context.timeStated then 5 else 6) < context.age",
        ] {
            assert!(calculates(&policy(between)), "{between}");
        }
        for exact in [
            "context.minute >= 600 && 7 > context.age",
            "context.age > -1",
            "context.from == context.to",
            "context.client != Client::\"a-b+c\"",
            "context.from like \"*+*\"",
            "[1, 600].contains(context.minute)",
            "(if context.timeStated then context.age else 5) < 10",
        ] {
            assert!(!calculates(&policy(exact)), "{exact}");
        }
        assert!(calculates("not Cedar"));
    }

    #[test]
    fn numbers_part_moments_on_every_day_and_days_from_each_other() {
        let named = numbers(&policy("context.minute > 1439 && context.age < 9223372036854775807 && context.age > -4"));
        assert_eq!(named, [1_439, 1_440, 9_223_372_036_854_775_807, 9_223_372_036_854_775_808]);
        let moments: Vec<WeekMinute> = moments(&named).collect();
        assert_eq!(moments.len(), 14);
        assert!(
            (0..7)
                .all(|day| moments.contains(&WeekMinute::at(day, 0)) && moments.contains(&WeekMinute::at(day, 1_439)))
        );
        assert!(numbers("not Cedar").is_empty());
    }
}
