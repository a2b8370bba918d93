//! Unified social credit codes of mainland organisations (GB 32100-2015).

use super::{PaperError, all_digits, masked, normalised};
use crate::secret::Secret;

/// The 31 symbols in the order of their values: the letters I, O, S, V and Z are left out.
const SYMBOLS: &str = "0123456789ABCDEFGHJKLMNPQRTUWXY";

/// The code of an organisation: registration authority, type, six digits of area, nine characters of organisation
/// code, check character.
///
/// The organisation code ends in a check character of its own (GB 11714). It is not verified: some real codes are said
/// to fail it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditCode(Secret<String>);

impl CreditCode {
    /// Reads a code.
    ///
    /// # Errors
    /// `Shape` or `CheckDigit`.
    pub fn parse(text: &str) -> Result<Self, PaperError> {
        let code = normalised(text)?;
        let (Some(body), Some(check)) = (code.get(..17), code.get(17..)) else { return Err(PaperError::Shape) };
        let area = code.get(2..8).is_some_and(all_digits);
        if code.len() != 18 || !area || code.chars().any(|c| value(c).is_none()) {
            return Err(PaperError::Shape);
        }
        if !check_char(body).is_some_and(|expected| check.starts_with(expected)) {
            return Err(PaperError::CheckDigit);
        }
        Ok(Self(Secret::new(code.as_str().to_owned())))
    }

    /// The eighteen characters, in capitals.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The form for pages: who registered what kind of organisation, the rest hidden.
    #[must_use]
    pub fn masked(&self) -> String {
        masked(self.expose(), 2)
    }
}

fn value(symbol: char) -> Option<u32> {
    SYMBOLS.chars().zip(0..).find(|(known, _)| *known == symbol).map(|(_, value)| value)
}

/// The check character: weights are rising powers of three modulo 31, and the outer remainder turns 31 into `0`.
fn check_char(body: &str) -> Option<char> {
    let sum: u32 = body.chars().filter_map(value).zip(weights()).map(|(value, weight)| value * weight).sum();
    let check = (31 - sum % 31) % 31;
    SYMBOLS.chars().zip(0..).find(|(_, value)| *value == check).map(|(symbol, _)| symbol)
}

fn weights() -> impl Iterator<Item = u32> {
    std::iter::successors(Some(1), |weight| Some(weight * 3 % 31))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_powers_of_three_are_the_weights_of_the_standard() {
        let standard = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];
        assert_eq!(weights().take(17).collect::<Vec<_>>(), standard);
    }

    #[test]
    fn known_codes_are_read() {
        for code in [
            "91350100M000100Y43", // the standard's example, whose printed last character is wrong
            "91440300MA5F000080", // the sum is a multiple of 31
            "11440000MB2D00000A",
            "91440101MA5900001Y",
        ] {
            assert_eq!(CreditCode::parse(code).unwrap().expose(), code);
            assert_eq!(CreditCode::parse(&code.to_lowercase()).unwrap().expose(), code);
        }
    }

    #[test]
    fn a_wrong_check_character_is_refused() {
        for bad in ["91350100M000100Y44", "91440300MA5F00008Y", "91440300MA5F000081"] {
            assert_eq!(CreditCode::parse(bad), Err(PaperError::CheckDigit), "{bad}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in ["", "91350100M000100Y4", "91350100M000100Y433", "91350100M000100Y4Z", "9135O100M000100Y43"] {
            assert_eq!(CreditCode::parse(bad), Err(PaperError::Shape), "{bad}");
        }
        for bad in ["913501A0M000100Y43", "91350100I000100Y43", "91350100M000100Y4é", "91350100M-00100Y43"] {
            assert_eq!(CreditCode::parse(bad), Err(PaperError::Shape), "{bad}");
        }
    }

    #[test]
    fn pages_show_two_characters() {
        assert_eq!(CreditCode::parse("91350100M000100Y43").unwrap().masked(), "91****************");
    }

    proptest! {
        #[test]
        fn every_wrong_symbol_is_found(
            head in "[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{9}", place in 0usize..18, wrong in 0usize..31,
        ) {
            let code = format!("{head}{}", check_char(&head).unwrap());
            prop_assert!(CreditCode::parse(&code).is_ok());
            let mut typed = code.clone().into_bytes();
            typed[place] = SYMBOLS.as_bytes()[wrong];
            let typed = String::from_utf8(typed).unwrap();
            prop_assert_eq!(CreditCode::parse(&typed).is_ok(), typed == code);
        }

        #[test]
        fn debug_says_nothing(head in "[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{9}") {
            let code = CreditCode::parse(&format!("{head}{}", check_char(&head).unwrap())).unwrap();
            prop_assert_eq!(format!("{:?}", code), "CreditCode([redacted])");
            prop_assert_eq!(CreditCode::parse(code.expose()), Ok(code.clone()));
        }
    }
}
