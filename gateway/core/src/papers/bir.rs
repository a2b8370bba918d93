//! Macao resident identity card numbers.

use super::{PaperError, all_digits, masked, normalised, split_check};
use crate::secret::Secret;

/// The number of a Macao resident identity card (BIR): seven digits, the first 1, 5 or 7, and a check digit.
///
/// How the check digit is computed is not public, so the form is all that is verified: a guessed method would turn
/// people away. Other Macao documents, the blue card among them, have no known form and are not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bir(Secret<String>);

impl Bir {
    /// Reads a number whose check digit stands in brackets, after a slash, or bare.
    ///
    /// # Errors
    /// `Shape`.
    pub fn parse(text: &str) -> Result<Self, PaperError> {
        let number = normalised(text)?;
        let (body, check) = match number.split_once('/') {
            Some((body, check)) => (body, check.parse().ok()),
            None => split_check(&number).map(|(body, check)| (body, Some(check))).ok_or(PaperError::Shape)?,
        };
        let check = check.filter(char::is_ascii_digit).ok_or(PaperError::Shape)?;
        if body.len() != 7 || !all_digits(body) || !body.starts_with(['1', '5', '7']) {
            return Err(PaperError::Shape);
        }
        Ok(Self(Secret::new(format!("{body}({check})"))))
    }

    /// The number as the card prints it, `1234567(8)`.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The form for pages, `1******(*)`. One digit: there are few numbers, and no letter to begin with.
    #[must_use]
    pub fn masked(&self) -> String {
        let body = self.expose().split_once('(').map_or("", |(body, _)| body);
        masked(body, 1) + "(*)"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ways_to_write_a_number_are_one_number() {
        for written in ["1234567(8)", "1234567/8", "12345678", "1234567 (8)", "１２３４５６７（８）", "1234567／8"]
        {
            assert_eq!(Bir::parse(written).unwrap().expose(), "1234567(8)", "{written}");
        }
    }

    #[test]
    fn no_check_digit_is_refused_for_its_value() {
        for check in 0..10 {
            assert!(Bir::parse(&format!("5000000({check})")).is_ok());
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in ["", "1234567", "123456789", "2234567(8)", "1234567(A)", "1234567(8", "12345678)", "1234567/(8)"] {
            assert_eq!(Bir::parse(bad), Err(PaperError::Shape), "{bad}");
        }
        for bad in ["1234567/", "1234567/88", "/12345678", "123456/78", "1234567//8", "A234567(8)", "1234567()"] {
            assert_eq!(Bir::parse(bad), Err(PaperError::Shape), "{bad}");
        }
    }

    #[test]
    fn pages_show_one_digit() {
        assert_eq!(Bir::parse("7234567(8)").unwrap().masked(), "7******(*)");
    }

    proptest! {
        #[test]
        fn debug_says_nothing_and_reading_is_stable(text in "[157][0-9]{7}") {
            let number = Bir::parse(&text).unwrap();
            prop_assert_eq!(format!("{:?}", number), "Bir([redacted])");
            prop_assert_eq!(Bir::parse(number.expose()), Ok(number.clone()));
        }
    }
}
