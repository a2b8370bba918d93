//! Where the rows of a service change their mind. The kept verdicts (`rules.rs`) and the difference of two versions (`diff.rs`) both
//! go by this one description, so that what one takes for a class the other asks about.

use std::collections::BTreeSet;

use gateway_core::circumstances::WeekMinute;

use crate::raw;
use crate::service::Service;

/// What a condition looks at. Of an age and a moment it says where its answer changes: the first value after each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Looks {
    /// The provider and the client, where they stand, and the place: all of it follows from who they are.
    Parties,
    /// What the login reached.
    Assurance,
    /// Of which place the person is a resident.
    Population,
    /// How old the person is.
    Age,
    /// In which capacity the person acts.
    Capacity,
    /// When it is.
    Moment(Vec<WeekMinute>),
    /// How long ago the login was, in seconds; without a change where no login is old enough for one.
    LoginAge(Option<u64>),
    /// Whether the provider said when the login was.
    TimeStated,
    /// At what class of place the person signed in.
    SignedInAt,
}

/// Values in an order, cut into classes: the first of each class. The first class begins with the least value, so each value is
/// in one class, and each limit parts two classes that both have a first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cuts<T>(Vec<T>);

impl<T: Ord + Copy> Cuts<T> {
    /// The classes from `least` on; the limits are the first values after a change.
    pub(crate) fn new(least: T, limits: impl IntoIterator<Item = T>) -> Self {
        let mut firsts: BTreeSet<T> = limits.into_iter().filter(|limit| *limit > least).collect();
        firsts.insert(least);
        Self(firsts.into_iter().collect())
    }

    /// The class of a value.
    pub(crate) fn class(&self, value: T) -> usize {
        self.0.partition_point(|first| *first <= value)
    }

    /// The first value of each class.
    pub(crate) fn firsts(&self) -> &[T] {
        &self.0
    }
}

/// The classes of a login's age, in seconds, and of its moment that services tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of the age.
    pub(crate) ages: Cuts<u64>,
    /// Of the moment.
    pub(crate) moments: Cuts<WeekMinute>,
}

impl Limits {
    /// What the rows of these services tell apart, and their raw Cedar as far as it compares with numbers that it names.
    pub(crate) fn of(services: &[&Service]) -> Self {
        let (mut ages, mut moments) = (Vec::new(), Vec::new());
        for condition in services.iter().flat_map(|service| &service.rows).flat_map(|row| &row.conditions) {
            match condition.looks_at() {
                Looks::Moment(limits) => moments.extend(limits),
                Looks::LoginAge(limit) => ages.extend(limit),
                Looks::Parties
                | Looks::Assurance
                | Looks::Population
                | Looks::Age
                | Looks::Capacity
                | Looks::TimeStated
                | Looks::SignedInAt => {}
            }
        }
        for cedar in services.iter().filter_map(|service| service.cedar.as_deref()) {
            let numbers = raw::numbers(cedar);
            moments.extend(raw::moments(&numbers));
            ages.extend(numbers);
        }
        Self { ages: Cuts::new(0, ages), moments: Cuts::new(WeekMinute::FIRST, moments) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_value_on_both_of_its_sides() {
        let ends = Cuts::new(0_u8, [0, 1, 9, 9, u8::MAX]);
        assert_eq!(ends.firsts(), [0, 1, 9, u8::MAX]);
        assert_eq!([0, 1, 8, 9, 254, 255].map(|value| ends.class(value)), [1, 2, 2, 3, 3, 4]);
        assert_eq!(Cuts::new(5, [3, 5]).firsts(), [5]);
        for value in 0..=u8::MAX {
            let alike: Vec<&u8> =
                ends.firsts().iter().filter(|first| ends.class(**first) == ends.class(value)).collect();
            assert_eq!(alike.len(), 1, "{value}");
        }
    }
}
