//! Request parameters, from a query or a form body, read once and strictly.
//!
//! Limits hold before anything is interpreted: at most [`MAX_PARAMS`] parameters, valid percent-encoding and UTF-8, no
//! control characters. A repeated parameter is an error for whoever asks for it (RFC 6749 section 3.1).

use std::fmt;

use crate::error::{OAuthCode, OAuthError};

/// The most parameters one request may carry.
pub const MAX_PARAMS: usize = 64;

/// The longest value of any one parameter, in bytes after decoding.
pub const MAX_VALUE: usize = 8 * 1024;

/// Why a query or form cannot be read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than [`MAX_PARAMS`].
    #[error("too many parameters")]
    TooMany,
    /// A value longer than [`MAX_VALUE`].
    #[error("a parameter is too long")]
    TooLong,
    /// Percent-encoding that is not `%XX`.
    #[error("a parameter is not percent-encoded correctly")]
    Encoding,
    /// Bytes that are not UTF-8.
    #[error("a parameter is not UTF-8")]
    NotUtf8,
    /// A control character.
    #[error("a parameter holds a control character")]
    Control,
}

impl From<Malformed> for OAuthError {
    fn from(error: Malformed) -> Self {
        Self::new(OAuthCode::InvalidRequest, error.to_string())
    }
}

/// The parameters of one request. `Debug` prints names only: values may be secrets.
#[derive(Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Params {
    /// Reads `application/x-www-form-urlencoded` bytes. A parameter without a value counts as absent
    /// (RFC 6749 section 3.1).
    ///
    /// # Errors
    /// [`Malformed`] when a limit or an encoding rule is broken.
    pub fn parse(encoded: &[u8]) -> Result<Self, Malformed> {
        let mut params = Vec::new();
        for pair in encoded.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            if params.len() == MAX_PARAMS {
                return Err(Malformed::TooMany);
            }
            let mut halves = pair.splitn(2, |b| *b == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            params.push((name, value));
        }
        Ok(Self(params.into_iter().filter(|(_, value)| !value.is_empty()).collect()))
    }

    /// Parameters that arrived otherwise, under the same limits.
    ///
    /// # Errors
    /// [`Malformed`] when one is broken.
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Result<Self, Malformed> {
        if pairs.len() > MAX_PARAMS {
            return Err(Malformed::TooMany);
        }
        let texts = || pairs.iter().flat_map(|(name, value)| [name, value]);
        if texts().any(|text| text.len() > MAX_VALUE) {
            return Err(Malformed::TooLong);
        }
        if texts().any(|text| text.chars().any(char::is_control)) {
            return Err(Malformed::Control);
        }
        Ok(Self(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect()))
    }

    /// The value of a parameter that may appear at most once.
    ///
    /// # Errors
    /// `invalid_request` when it is repeated.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>, OAuthError> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(OAuthError::new(OAuthCode::InvalidRequest, format!("{name} is repeated")));
        }
        Ok(first)
    }

    /// The value of a parameter that must appear exactly once.
    ///
    /// # Errors
    /// `invalid_request` when it is missing or repeated.
    pub fn required(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.one(name)?.ok_or_else(|| OAuthError::new(OAuthCode::InvalidRequest, format!("{name} is missing")))
    }

    /// Every value of a parameter that may be repeated (RFC 8707 `resource`, a form's check boxes).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every parameter, name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Takes parameters of these names out.
    pub fn remove(&mut self, names: &[&str]) {
        self.0.retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// Lets go of parameters of any other name.
    pub fn keep(&mut self, names: &[&str]) {
        self.0.retain(|(name, _)| names.contains(&name.as_str()));
    }

    /// Adds a parameter.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// The parameters in `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn encode(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// The name of a parameter that appears more than once, `resource` aside.
    #[must_use]
    pub fn repeated(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).filter(|n| *n != "resource").collect();
        names.sort_unstable();
        names.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(*a),
            _ => None,
        })
    }
}

fn decode(encoded: &[u8]) -> Result<String, Malformed> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = rest.next().and_then(hex).ok_or(Malformed::Encoding)?;
                let low = rest.next().and_then(hex).ok_or(Malformed::Encoding)?;
                high << 4 | low
            }
            other => other,
        });
        if bytes.len() > MAX_VALUE {
            return Err(Malformed::TooLong);
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| Malformed::NotUtf8)?;
    if text.chars().any(char::is_control) { Err(Malformed::Control) } else { Ok(text) }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_repeated_parameter_is_an_error_for_whoever_asks() {
        let params = Params::parse(b"state=a&state=b&nonce=c").unwrap();
        assert!(params.one("state").is_err());
        assert_eq!(params.one("nonce").unwrap(), Some("c"));
        assert_eq!(params.repeated(), Some("state"));
    }

    #[test]
    fn rfc6749_3_1_a_parameter_without_value_is_absent() {
        assert_eq!(Params::parse(b"scope=&state").unwrap().one("scope").unwrap(), None);
    }

    #[test]
    fn hostile_encodings_are_named() {
        assert_eq!(Params::parse(b"a=%ff").unwrap_err(), Malformed::NotUtf8);
        assert_eq!(Params::parse(b"a=%0a").unwrap_err(), Malformed::Control);
        assert_eq!(Params::parse(b"a=%C2%85").unwrap_err(), Malformed::Control);
        assert_eq!(Params::parse(b"a=%2").unwrap_err(), Malformed::Encoding);
        assert_eq!(Params::parse(b"a=%+1").unwrap_err(), Malformed::Encoding);
        assert_eq!(Params::parse("a=b&".repeat(65).as_bytes()).unwrap_err(), Malformed::TooMany);
        assert_eq!(
            Params::parse(format!("a={}", "b".repeat(MAX_VALUE + 1)).as_bytes()).unwrap_err(),
            Malformed::TooLong
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Params::parse(&bytes);
        }

        #[test]
        fn what_a_browser_encodes_is_read_back(value in "[^\\p{Cc}]{1,40}") {
            let encoded: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("v", &value).finish();
            let params = Params::parse(encoded.as_bytes()).unwrap();
            prop_assert_eq!(params.one("v").unwrap(), Some(value.as_str()));
        }
    }
}
