//! Hong Kong identity card numbers.

use super::{PaperError, all_digits, masked, normalised, split_check};
use crate::secret::Secret;

/// The number of a Hong Kong identity card: one or two letters, six digits and a check character in brackets.
///
/// For the check, letters count from A = 10 and a missing first letter counts 36. Because it works modulo 11, letters
/// that lie eleven apart (A, L and W, for one) pass for each other: every wrong digit is found, not every wrong letter.
///
/// Hong Kong's code of practice on the number asks that it be shown and kept no more than its purpose needs; pages show
/// [`masked`](Self::masked).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hkid(Secret<String>);

impl Hkid {
    /// Reads a number with its check character, bare or in brackets of either width.
    ///
    /// # Errors
    /// `Shape` or `CheckDigit`.
    pub fn parse(text: &str) -> Result<Self, PaperError> {
        let number = normalised(text)?;
        let (body, check) = split_check(&number).ok_or(PaperError::Shape)?;
        Self::checked(body, check)
    }

    /// Reads the number and its check character as iAM Smart sends them, apart. They must match.
    ///
    /// # Errors
    /// `Shape` or `CheckDigit`.
    pub fn from_parts(body: &str, check_digit: &str) -> Result<Self, PaperError> {
        let (body, check_digit) = (normalised(body)?, normalised(check_digit)?);
        let mut chars = check_digit.chars();
        let (Some(check), None) = (chars.next(), chars.next()) else { return Err(PaperError::Shape) };
        Self::checked(&body, check)
    }

    fn checked(body: &str, check: char) -> Result<Self, PaperError> {
        let digits = body.trim_start_matches(|c: char| c.is_ascii_uppercase());
        let letters = body.len().saturating_sub(digits.len());
        let well_formed = (1..=2).contains(&letters) && digits.len() == 6 && all_digits(digits);
        if !well_formed || !(check.is_ascii_digit() || check == 'A') {
            return Err(PaperError::Shape);
        }
        if check_char(body) != Some(check) {
            return Err(PaperError::CheckDigit);
        }
        Ok(Self(Secret::new(format!("{body}({check})"))))
    }

    /// The number as the card prints it, `A123456(3)`.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The form for pages, `A12****(*)`.
    #[must_use]
    pub fn masked(&self) -> String {
        let body = self.expose().split_once('(').map_or("", |(body, _)| body);
        masked(body, 3) + "(*)"
    }
}

/// The check character of a well-formed body: weights 9 to 2, and `A` for a remainder of ten.
fn check_char(body: &str) -> Option<char> {
    let missing_letter = (body.len() == 7).then_some(36);
    let values = missing_letter.into_iter().chain(body.chars().filter_map(|c| c.to_digit(36)));
    let sum: u32 = values.zip((2..=9).rev()).map(|(value, weight)| value * weight).sum();
    char::from_digit((11 - sum % 11) % 11, 11).map(|c| c.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first four were published; the others are synthetic.
    const VALID: [&str; 10] = [
        "A123456(3)",
        "AB987654(3)",
        "E364912(5)",
        "D288754(2)",
        "G123456(A)",
        "AB123456(9)",
        "Z000001(A)",
        "Z000006(0)",
        "WX123456(9)",
        "XA000001(6)",
    ];

    #[test]
    fn known_numbers_are_read_as_printed() {
        for number in VALID {
            assert_eq!(Hkid::parse(number).unwrap().expose(), number);
            let (body, check) = number.trim_end_matches(')').split_once('(').unwrap();
            assert_eq!(Hkid::from_parts(body, check), Hkid::parse(number));
        }
    }

    #[test]
    fn other_ways_to_write_a_number_are_one_number() {
        for written in ["a123456(3)", "A1234563", " A 123456 (3) ", "Ａ１２３４５６（３）", "A123456\u{3000}(3)"]
        {
            assert_eq!(Hkid::parse(written).unwrap().expose(), "A123456(3)", "{written:?}");
        }
        assert_eq!(Hkid::from_parts("g123456", "a").unwrap().expose(), "G123456(A)");
    }

    #[test]
    fn a_mismatched_check_digit_is_refused() {
        assert_eq!(Hkid::parse("A123456(4)"), Err(PaperError::CheckDigit));
        assert_eq!(Hkid::from_parts("A123456", "A"), Err(PaperError::CheckDigit));
        assert_eq!(Hkid::parse("B123456(3)"), Err(PaperError::CheckDigit));
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in [
            "",
            "A",
            "A123456",
            "1234567(3)",
            "ABC12345(6)",
            "A12345(6)",
            "A1234567(3)",
            "A(1)234563",
            "A123456(B)",
            "A123456(3",
            "A1234563)",
            "A123456((3))",
            "A123456\t(3)",
            "А123456(3)", // Cyrillic
        ] {
            assert_eq!(Hkid::parse(bad), Err(PaperError::Shape), "{bad:?}");
        }
        for (body, check) in [("A123456", ""), ("A123456", "33"), ("A123456", "(3)"), ("A123456(3)", "3")] {
            assert_eq!(Hkid::from_parts(body, check), Err(PaperError::Shape));
        }
    }

    #[test]
    fn letters_eleven_apart_pass_for_each_other() {
        for twin in ["A123456(3)", "L123456(3)", "W123456(3)"] {
            assert!(Hkid::parse(twin).is_ok());
        }
    }

    #[test]
    fn pages_show_at_most_two_digits() {
        assert_eq!(Hkid::parse("A123456(3)").unwrap().masked(), "A12****(*)");
        assert_eq!(Hkid::parse("AB987654(3)").unwrap().masked(), "AB9*****(*)");
    }

    proptest! {
        #[test]
        fn the_other_published_weighting_agrees(letter in 0u8..26, digits in "[0-9]{6}") {
            // One-letter numbers only: A = 1 to Z = 26 under weight 8, no place for a missing letter.
            let values = std::iter::once(u32::from(letter) + 1).chain(digits.chars().map(|c| c.to_digit(10).unwrap()));
            let sum: u32 = values.zip((2..=8).rev()).map(|(value, weight)| value * weight).sum();
            let expected = match 11 - sum % 11 { 11 => '0', 10 => 'A', r => char::from_digit(r, 10).unwrap() };
            prop_assert_eq!(check_char(&format!("{}{digits}", char::from(b'A' + letter))), Some(expected));
        }

        #[test]
        fn every_wrong_digit_is_found(body in "[A-Z]{1,2}[0-9]{6}", place in 0usize..6, shift in 1u8..10) {
            let check = check_char(&body).unwrap();
            let mut typed = body.clone().into_bytes();
            let at = typed.len() - 1 - place;
            typed[at] = b'0' + (typed[at] - b'0' + shift) % 10;
            let typed = String::from_utf8(typed).unwrap();
            prop_assert!(Hkid::from_parts(&body, &check.to_string()).is_ok());
            prop_assert_eq!(Hkid::from_parts(&typed, &check.to_string()), Err(PaperError::CheckDigit));
        }

        #[test]
        fn debug_says_nothing(body in "[A-Z]{1,2}[0-9]{6}") {
            let number = Hkid::from_parts(&body, &check_char(&body).unwrap().to_string()).unwrap();
            prop_assert_eq!(format!("{:?}", number), "Hkid([redacted])");
            prop_assert_eq!(Hkid::parse(number.expose()), Ok(number.clone()));
        }
    }
}
