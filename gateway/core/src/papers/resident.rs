//! Mainland resident numbers, and those of residence permits (GB 11643).

use std::fmt;

use super::{PaperError, Place, all_digits, masked, normalised};
use crate::secret::Secret;

/// GB 11643's weights of the first seventeen digits: falling powers of two modulo 11.
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];

/// The check character for each remainder of the weighted sum (ISO 7064, MOD 11-2).
const CHECKS: &str = "10X98765432";

/// An 18-character number of a resident identity card, or of the residence permit for people of Hong Kong, Macao and
/// Taiwan, which has the same form: area, birth date, sequence, check character.
///
/// The 15-digit numbers of old are refused.
#[derive(Clone)]
pub struct ResidentNumber {
    number: Secret<String>,
    kind: ResidentKind,
    birth_date: BirthDate,
    sex: Sex,
}

/// Which of the two documents a [`ResidentNumber`] belongs to. The area is the only sign when the document's type code
/// is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResidentKind {
    /// A resident identity card.
    Mainland,
    /// A residence permit, held by somebody of this place (areas 81, 82 and 83).
    ResidencePermit(Place),
}

/// The sex that a number tells by its seventeenth digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sex {
    /// An even digit.
    Female,
    /// An odd digit.
    Male,
}

/// A day of the Gregorian calendar on which somebody was born. Personal by itself, so `Debug` does not show it.
///
/// It may lie in the future: nothing in this crate knows the day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BirthDate {
    year: u16,
    month: u8,
    day: u8,
}

impl ResidentNumber {
    /// Reads a number; a check character `x` may be written small.
    ///
    /// # Errors
    /// `Shape`, `CheckDigit`, `Date`, or `Kind` for a 15-digit number.
    pub fn parse(text: &str) -> Result<Self, PaperError> {
        let number = normalised(text)?;
        if number.len() == 15 && all_digits(&number) {
            return Err(PaperError::Kind);
        }
        let (Some(digits), Some(check)) = (number.get(..17), number.get(17..)) else { return Err(PaperError::Shape) };
        if !all_digits(digits) || !(check == "X" || (check.len() == 1 && all_digits(check))) {
            return Err(PaperError::Shape);
        }
        // Before the date: an impossible date is most often a digit mistyped, and that is the more helpful answer.
        if !check_char(digits).is_some_and(|expected| check.starts_with(expected)) {
            return Err(PaperError::CheckDigit);
        }
        Ok(Self {
            kind: kind(digits),
            birth_date: birth_date(digits).ok_or(PaperError::Date)?,
            sex: if digits.ends_with(['1', '3', '5', '7', '9']) { Sex::Male } else { Sex::Female },
            number: Secret::new(number.as_str().to_owned()),
        })
    }

    /// The eighteen characters, with a capital `X`.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.number.expose()
    }

    /// The form for pages: the province, the rest hidden.
    #[must_use]
    pub fn masked(&self) -> String {
        masked(self.expose(), 2)
    }

    /// Resident card or residence permit.
    #[must_use]
    pub fn kind(&self) -> ResidentKind {
        self.kind
    }

    /// The birth date that the number contains.
    #[must_use]
    pub fn birth_date(&self) -> BirthDate {
        self.birth_date
    }

    /// The sex that the number tells.
    #[must_use]
    pub fn sex(&self) -> Sex {
        self.sex
    }
}

impl PartialEq for ResidentNumber {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for ResidentNumber {}

impl fmt::Debug for ResidentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResidentNumber").field(&self.number).finish()
    }
}

impl BirthDate {
    /// A day, if the calendar has it.
    ///
    /// # Errors
    /// `Date`.
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self, PaperError> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 0,
        };
        let exists = (1..=9999).contains(&year) && (1..=days).contains(&day);
        if exists { Ok(Self { year, month, day }) } else { Err(PaperError::Date) }
    }

    /// The year, 1 to 9999.
    #[must_use]
    pub fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    #[must_use]
    pub fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, from 1.
    #[must_use]
    pub fn day(self) -> u8 {
        self.day
    }
}

impl fmt::Debug for BirthDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BirthDate([redacted])")
    }
}

fn check_char(digits: &str) -> Option<char> {
    let sum: u32 =
        digits.chars().filter_map(|c| c.to_digit(10)).zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum();
    CHECKS.chars().zip(0..).find(|(_, remainder)| *remainder == sum % 11).map(|(check, _)| check)
}

fn kind(digits: &str) -> ResidentKind {
    match digits.get(..2) {
        Some("81") => ResidentKind::ResidencePermit(Place::HongKong),
        Some("82") => ResidentKind::ResidencePermit(Place::Macao),
        Some("83") => ResidentKind::ResidencePermit(Place::Taiwan),
        _ => ResidentKind::Mainland,
    }
}

fn birth_date(digits: &str) -> Option<BirthDate> {
    let year = digits.get(6..10)?.parse().ok()?;
    let month = digits.get(10..12)?.parse().ok()?;
    let day = digits.get(12..14)?.parse().ok()?;
    BirthDate::new(year, month, day).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Born in 1880, so that the number is nobody's who lives.
    fn with_check(digits: &str) -> String {
        format!("{digits}{}", check_char(digits).unwrap())
    }

    /// ISO 7064's own recursion for a pure system, modulus 11 and radix 2.
    fn by_recursion(digits: &str) -> char {
        let p = digits.chars().fold(0, |p, c| (p + c.to_digit(10).unwrap()) * 2 % 11);
        match (12 - p) % 11 {
            10 => 'X',
            digit => char::from_digit(digit, 10).unwrap(),
        }
    }

    #[test]
    fn known_numbers_tell_their_kind_and_sex() {
        let permit = ResidentKind::ResidencePermit;
        for (number, kind, sex) in [
            ("11010519491231002X", ResidentKind::Mainland, Sex::Female), // printed in GB 11643
            ("440524188001010014", ResidentKind::Mainland, Sex::Male),   // printed in GB 11643
            ("810000188001010015", permit(Place::HongKong), Sex::Male),
            ("810000188001010023", permit(Place::HongKong), Sex::Female),
            ("81000018800101004X", permit(Place::HongKong), Sex::Female),
            ("820000188001010017", permit(Place::Macao), Sex::Male),
            ("82000018800101005X", permit(Place::Macao), Sex::Male),
            ("830000188001010019", permit(Place::Taiwan), Sex::Male),
        ] {
            let read = ResidentNumber::parse(number).unwrap();
            assert_eq!((read.expose(), read.kind(), read.sex()), (number, kind, sex));
        }
    }

    #[test]
    fn the_birth_date_is_read_from_the_number() {
        let born = ResidentNumber::parse("11010519491231002X").unwrap().birth_date();
        assert_eq!((born.year(), born.month(), born.day()), (1949, 12, 31));
        assert_eq!(format!("{born:?}"), "BirthDate([redacted])");
    }

    #[test]
    fn a_small_x_spaces_and_wide_digits_are_the_same_number() {
        let number = ResidentNumber::parse("11010519491231002X").unwrap();
        for written in ["11010519491231002x", "110105 19491231 002X", "１１０１０５１９４９１２３１００２Ｘ"]
        {
            assert_eq!(ResidentNumber::parse(written).unwrap(), number, "{written}");
        }
    }

    #[test]
    fn numbers_of_the_old_length_are_another_kind() {
        assert_eq!(ResidentNumber::parse("440524800101001"), Err(PaperError::Kind));
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in ["", "X", "1101051949123100", "11010519491231002", "11010519491231002XX", "1101051949123100XX"] {
            assert_eq!(ResidentNumber::parse(bad), Err(PaperError::Shape), "{bad}");
        }
        for bad in ["11010519491231002Y", "1101051949123l002X", "44052418800101001X1"] {
            assert_eq!(ResidentNumber::parse(bad), Err(PaperError::Shape), "{bad}");
        }
        assert_eq!(ResidentNumber::parse("110105194912310021"), Err(PaperError::CheckDigit));
    }

    #[test]
    fn dates_outside_the_calendar_are_refused() {
        for date in ["18800230", "18800431", "19000229", "18801301", "18800001", "18800100", "00000101"] {
            let number = with_check(&format!("440524{date}001"));
            assert_eq!(ResidentNumber::parse(&number), Err(PaperError::Date), "{date}");
        }
        for date in ["18800229", "20000229"] {
            assert!(ResidentNumber::parse(&with_check(&format!("440524{date}001"))).is_ok(), "{date}");
        }
    }

    #[test]
    fn pages_show_the_province_only() {
        assert_eq!(ResidentNumber::parse("11010519491231002X").unwrap().masked(), "11****************");
    }

    proptest! {
        #[test]
        fn the_table_of_weights_is_the_recursion_of_the_standard(digits in "[0-9]{17}") {
            prop_assert_eq!(check_char(&digits), Some(by_recursion(&digits)));
        }

        #[test]
        fn every_wrong_character_is_found(
            area in "[1-8][0-9]{5}", month in 1u8..=12, day in 1u8..=28, sequence in "[0-9]{3}",
            place in 0usize..17, shift in 1u8..10,
        ) {
            let number = with_check(&format!("{area}1880{month:02}{day:02}{sequence}"));
            prop_assert!(ResidentNumber::parse(&number).is_ok());
            let mut typed = number.clone().into_bytes();
            typed[place] = b'0' + (typed[place] - b'0' + shift) % 10;
            let typed = String::from_utf8(typed).unwrap();
            prop_assert_eq!(ResidentNumber::parse(&typed), Err(PaperError::CheckDigit));
            for check in CHECKS.chars().filter(|check| !number.ends_with(*check)) {
                let typed = format!("{}{check}", &number[..17]);
                prop_assert_eq!(ResidentNumber::parse(&typed), Err(PaperError::CheckDigit));
            }
        }

        #[test]
        fn debug_says_nothing(month in 1u8..=12, day in 1u8..=28, sequence in "[0-9]{3}") {
            let number = with_check(&format!("4405241880{month:02}{day:02}{sequence}"));
            let number = ResidentNumber::parse(&number).unwrap();
            prop_assert_eq!(format!("{:?}", number), "ResidentNumber([redacted])");
            prop_assert_eq!(ResidentNumber::parse(number.expose()).unwrap(), number.clone());
        }
    }
}
