//! Typed reading of claims. A claim of the wrong type is an error, never "absent" (CVE-2026-25537).

use serde_json::{Map, Value};

/// Why a set of claims is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A required claim is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A claim has the wrong type or an impossible value.
    #[error("{0} is not of the right type")]
    Type(&'static str),
    /// The token is too old.
    #[error("the token has expired")]
    Expired,
    /// The token is from the future.
    #[error("the token is not valid yet")]
    Early,
    /// The token lives longer than is allowed here.
    #[error("the token's lifetime is too long")]
    TooLong,
    /// The token is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// The token is from somebody else.
    #[error("the token is from another issuer")]
    Issuer,
}

/// A text claim that must be there.
///
/// # Errors
/// [`ClaimError::Missing`] or [`ClaimError::Type`].
pub fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, ClaimError> {
    match claims.get(name) {
        None => Err(ClaimError::Missing(name)),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(ClaimError::Type(name)),
    }
}

/// An optional NumericDate (RFC 7519 section 2), in whole seconds.
///
/// # Errors
/// [`ClaimError::Type`] for anything but a number that is a time.
pub fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, ClaimError> {
    /// The year 9999: a later time is a mistake or an attack on arithmetic.
    const LATEST: f64 = 253_402_300_799.0;
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the match guard")]
            Some(seconds) if (0.0..=LATEST).contains(&seconds) => Ok(Some(seconds as u64)),
            _ => Err(ClaimError::Type(name)),
        },
        Some(_) => Err(ClaimError::Type(name)),
    }
}

/// True when `aud` (a text or an array of texts) holds `audience`.
///
/// # Errors
/// [`ClaimError::Missing`] or [`ClaimError::Type`].
pub fn has_audience(claims: &Map<String, Value>, audience: &str) -> Result<bool, ClaimError> {
    match claims.get("aud") {
        None => Err(ClaimError::Missing("aud")),
        Some(Value::String(one)) => Ok(one == audience),
        Some(Value::Array(many)) if many.iter().all(Value::is_string) => {
            Ok(many.iter().any(|one| one.as_str() == Some(audience)))
        }
        Some(_) => Err(ClaimError::Type("aud")),
    }
}

/// Checks `exp`, `nbf` and `iat` with one skew for all; `exp` is required. `longest` bounds what is left of its life.
/// All in seconds.
///
/// # Errors
/// [`ClaimError`] for the first that does not hold.
pub fn check_times(claims: &Map<String, Value>, now: u64, skew: u64, longest: u64) -> Result<(), ClaimError> {
    let expires = time(claims, "exp")?.ok_or(ClaimError::Missing("exp"))?;
    if expires.saturating_add(skew) <= now {
        return Err(ClaimError::Expired);
    }
    if expires > now.saturating_add(longest).saturating_add(skew) {
        return Err(ClaimError::TooLong);
    }
    for name in ["nbf", "iat"] {
        if time(claims, name)?.is_some_and(|from| from > now.saturating_add(skew)) {
            return Err(ClaimError::Early);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(claims: &Value) -> Result<(), ClaimError> {
        check_times(claims.as_object().unwrap(), 1_000, 60, 300)
    }

    #[test]
    fn times_hold_with_one_skew() {
        assert_eq!(check(&json!({"exp": 941})), Ok(()));
        assert_eq!(check(&json!({"exp": 940})), Err(ClaimError::Expired));
        assert_eq!(check(&json!({"exp": 1100, "nbf": 1060, "iat": 1060})), Ok(()));
        assert_eq!(check(&json!({"exp": 1100, "nbf": 1061})), Err(ClaimError::Early));
        assert_eq!(check(&json!({"exp": 1361})), Err(ClaimError::TooLong));
    }

    /// CVE-2026-25537: each time as text, array, huge, negative, null.
    #[test]
    fn cve_2026_25537_a_wrong_type_is_never_absent() {
        for bad in [json!("1100"), json!([1100]), json!(1e300), json!(-1), json!(null), json!({}), json!(true)] {
            for name in ["exp", "nbf", "iat"] {
                let mut claims = json!({"exp": 1100});
                claims[name] = bad.clone();
                assert!(matches!(check(&claims), Err(ClaimError::Type(_))), "{claims}");
            }
        }
        assert_eq!(check(&json!({})), Err(ClaimError::Missing("exp")));
    }

    #[test]
    fn audience_is_one_text_or_many() {
        let has = |aud: Value| has_audience(json!({"aud": aud}).as_object().unwrap(), "a");
        assert_eq!(has(json!("a")), Ok(true));
        assert_eq!(has(json!(["b", "a"])), Ok(true));
        assert_eq!(has(json!("b")), Ok(false));
        assert_eq!(has(json!(["a", 1])), Err(ClaimError::Type("aud")));
    }
}
