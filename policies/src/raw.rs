//! What raw Cedar in a service's document looks at, as far as it says so itself.

use std::str::FromStr as _;

use cedar_policy::PolicySet;
use gateway_core::circumstances::{DAY, WeekMinute};
use serde_json::Value;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(condition: &str) -> String {
        format!("forbid(principal, action, resource == Service::\"s\") when {{ {condition} }};")
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
