//! Numbers of identity documents, parsed: what has one of these types has the shape of its document and, where the
//! method is public, the right check digit.
//!
//! | type | document | check digit |
//! | --- | --- | --- |
//! | [`Hkid`] | Hong Kong identity card | verified |
//! | [`ResidentNumber`] | mainland resident card; residence permit for Hong Kong, Macao and Taiwan | verified |
//! | [`HomeReturnPermit`] | mainland travel permit of Hong Kong and Macao residents | has none |
//! | [`CreditCode`] | unified social credit code of a mainland organisation | verified |
//! | [`Bir`] | Macao resident identity card | not public, so not verified |
//!
//! A right check digit proves that the number was typed well, never that the document exists or whose it is. No number
//! can be computed from another: a link between two documents needs the holder's approval or an authority's word.
//!
//! Invariant: nothing here prints a whole number unasked. `Debug` is redacted, there is no `Display`, an error never
//! quotes its input, comparison takes constant time and the text is wiped on drop. `expose` is the one way out.

mod bir;
mod credit_code;
mod hkid;
mod permit;
mod resident;

pub use bir::Bir;
pub use credit_code::CreditCode;
pub use hkid::Hkid;
pub use permit::{HomeReturnPermit, PermitHolder};
pub use resident::{BirthDate, ResidentKind, ResidentNumber, Sex};

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// Why a number was refused. It never says which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaperError {
    /// Wrong length, or a character where it cannot stand.
    #[error("the number does not have the form of its document")]
    Shape,
    /// Well formed, but the check digit belongs to another number: a typing error.
    #[error("the check digit does not match the number")]
    CheckDigit,
    /// The birth date in the number is not in the calendar.
    #[error("the birth date in the number does not exist")]
    Date,
    /// A number of a document that is not taken in this place.
    #[error("the number belongs to another kind of document")]
    Kind,
}

/// A place whose residents hold a document of their own for the mainland. It says where somebody lives; what law holds
/// for data is a [`Jurisdiction`](crate::jurisdiction::Jurisdiction).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Hong Kong.
    HongKong,
    /// Macao.
    Macao,
    /// Taiwan.
    Taiwan,
}

/// More bytes than any number takes, full-width and generously spaced.
const LONGEST: usize = 128;

/// The number as it is compared: compatibility forms replaced (NFKC), ASCII only, upper case, without spaces.
///
/// The buffer never grows, so no copy is left behind in memory.
fn normalised(text: &str) -> Result<Zeroizing<String>, PaperError> {
    if text.len() > LONGEST {
        return Err(PaperError::Shape);
    }
    let mut number = Zeroizing::new(String::with_capacity(LONGEST));
    // NFKC turns every kind of space into the plain one, and full-width letters and brackets into ASCII.
    for c in text.nfkc().filter(|c| *c != ' ') {
        if !c.is_ascii() || number.len() == LONGEST {
            return Err(PaperError::Shape);
        }
        number.push(c.to_ascii_uppercase());
    }
    Ok(number)
}

/// Parts a number from its last character, the check character, which may stand in brackets.
fn split_check(number: &str) -> Option<(&str, char)> {
    let unclosed = number.strip_suffix(')');
    let mut chars = unclosed.unwrap_or(number).chars();
    let check = chars.next_back()?;
    let body = chars.as_str();
    let body = if unclosed.is_some() { body.strip_suffix('(')? } else { body };
    Some((body, check))
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// The first `shown` characters, and a star for each of the others.
fn masked(number: &str, shown: usize) -> String {
    number.chars().enumerate().map(|(place, c)| if place < shown { c } else { '*' }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse_all(text: &str) -> Vec<Result<String, PaperError>> {
        vec![
            Hkid::parse(text).map(|n| n.expose().to_owned()),
            Hkid::from_parts(text, text).map(|n| n.expose().to_owned()),
            ResidentNumber::parse(text).map(|n| n.expose().to_owned()),
            HomeReturnPermit::parse(text).map(|n| n.expose().to_owned()),
            CreditCode::parse(text).map(|n| n.expose().to_owned()),
            Bir::parse(text).map(|n| n.expose().to_owned()),
        ]
    }

    #[test]
    fn an_error_never_quotes_its_input() {
        for error in [PaperError::Shape, PaperError::CheckDigit, PaperError::Date, PaperError::Kind] {
            assert!(!format!("{error} {error:?}").contains(|c: char| c.is_ascii_digit()));
        }
    }

    #[test]
    fn a_flood_of_text_is_refused_before_it_is_read() {
        for flood in ["1".repeat(LONGEST + 1), "\u{fdfa}".repeat(40)] {
            assert!(parse_all(&flood).iter().all(|result| *result == Err(PaperError::Shape)));
        }
    }

    #[test]
    fn brackets_come_in_pairs_around_the_check_character() {
        assert_eq!(split_check("12(3)"), Some(("12", '3')));
        assert_eq!(split_check("123"), Some(("12", '3')));
        for bad in ["", ")", "123)", "12(34)"] {
            assert_eq!(split_check(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in any::<String>()) {
            parse_all(&text);
        }

        #[test]
        fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
            parse_all(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn near_misses_do_not_panic_and_what_is_read_reads_again(text in "[A-Za-z0-9()（）/ Ａ-Ｚ０-９]{0,20}") {
            for (at, result) in parse_all(&text).into_iter().enumerate() {
                if let (Ok(number), false) = (result, at == 1) {
                    prop_assert_eq!(parse_all(&number).swap_remove(at), Ok(number));
                }
            }
        }
    }
}
