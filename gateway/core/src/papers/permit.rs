//! Home Return Permits: mainland travel permits of Hong Kong and Macao residents.

use std::fmt;

use super::{PaperError, Place, all_digits, masked, normalised};
use crate::secret::Secret;

/// The number of a Home Return Permit: `H` or `M`, eight digits that stay with the holder for life, and, on some cards,
/// two digits that count the issues (Ministry of Public Security, notice of 2010). Newer cards print the count apart.
///
/// Invariant: no `==`. Two permits of one person differ in the count; [`holder`](Self::holder) is what to compare.
///
/// No check digit is known. The form of the card for residents who are not Chinese citizens (2023) is not public; its
/// numbers are refused unless they look like these.
#[derive(Clone)]
pub struct HomeReturnPermit {
    number: Secret<String>,
    holder: PermitHolder,
    place: Place,
    issue: Option<u8>,
}

/// The part of a permit's number that names its holder: the letter and eight digits, the same on every permit of a
/// person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermitHolder(Secret<String>);

impl HomeReturnPermit {
    /// Reads a number, with or without the count of issues.
    ///
    /// # Errors
    /// `Shape`, or `Kind` for the exit-entry permit of a mainland resident (`C` and eight digits).
    pub fn parse(text: &str) -> Result<Self, PaperError> {
        let number = normalised(text)?;
        let (Some(holder), Some(count)) = (number.get(..9), number.get(9..)) else { return Err(PaperError::Shape) };
        let well_formed = holder.get(1..).is_some_and(all_digits) && all_digits(count) && matches!(count.len(), 0 | 2);
        if !well_formed {
            return Err(PaperError::Shape);
        }
        let place = match holder.chars().next() {
            Some('H') => Place::HongKong,
            Some('M') => Place::Macao,
            Some('C') => return Err(PaperError::Kind),
            _ => return Err(PaperError::Shape),
        };
        Ok(Self {
            place,
            issue: count.parse().ok(),
            holder: PermitHolder(Secret::new(holder.to_owned())),
            number: Secret::new(number.as_str().to_owned()),
        })
    }

    /// The number as written: nine characters, or eleven with the count.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.number.expose()
    }

    /// The form for pages, `H12******`.
    #[must_use]
    pub fn masked(&self) -> String {
        masked(self.expose(), 3)
    }

    /// Whose permit it is: equal on every permit of the same person.
    #[must_use]
    pub fn holder(&self) -> &PermitHolder {
        &self.holder
    }

    /// Where the holder lives.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// How many permits came before this one, when the number says so: the first is 0.
    #[must_use]
    pub fn issue(&self) -> Option<u8> {
        self.issue
    }
}

impl fmt::Debug for HomeReturnPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HomeReturnPermit").field(&self.number).finish()
    }
}

impl PermitHolder {
    /// The letter and eight digits.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> HomeReturnPermit {
        HomeReturnPermit::parse(text).unwrap()
    }

    fn refusal(text: &str) -> PaperError {
        HomeReturnPermit::parse(text).unwrap_err()
    }

    #[test]
    fn every_permit_of_a_person_has_the_same_holder() {
        let bare = read("H12345678");
        for (renewed, issue) in [("H1234567800", 0), ("H1234567803", 3), ("h 12345678 03", 3)] {
            assert_eq!(read(renewed).holder(), bare.holder());
            assert_eq!(read(renewed).issue(), Some(issue));
        }
        assert_eq!((bare.issue(), bare.place()), (None, Place::HongKong));
        assert_eq!(read("M00000001").place(), Place::Macao);
        assert_ne!(read("M12345678").holder(), bare.holder());
        assert_ne!(read("H1234567900").holder(), read("H1234567800").holder());
    }

    #[test]
    fn the_permit_of_a_mainland_resident_is_another_kind() {
        assert_eq!(refusal("C12345678"), PaperError::Kind);
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in
            ["", "H", "H123456789", "H1234567", "H123456780012", "112345678", "HM2345678", "A12345678", "H12345é8"]
        {
            assert_eq!(refusal(bad), PaperError::Shape, "{bad}");
        }
    }

    #[test]
    fn pages_show_the_letter_and_two_digits() {
        assert_eq!(read("H12345678").masked(), "H12******");
        assert_eq!(read("M1234567803").masked(), "M12********");
    }

    proptest! {
        #[test]
        fn debug_says_nothing_and_reading_is_stable(text in "[HMhm][0-9]{8}([0-9]{2})?") {
            let permit = read(&text);
            prop_assert_eq!(format!("{:?}", permit), "HomeReturnPermit([redacted])");
            prop_assert_eq!(format!("{:?}", permit.holder()), "PermitHolder([redacted])");
            prop_assert_eq!(permit.expose(), text.to_uppercase());
            prop_assert_eq!(permit.holder().expose(), &permit.expose()[..9]);
            prop_assert_eq!(read(permit.expose()).issue(), permit.issue());
        }
    }
}
