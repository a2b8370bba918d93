//! A signed authorization request (RFC 9101): its claims are the request, and nothing beside them is.

use serde_json::{Map, Value};

use crate::error::{OAuthCode, OAuthError};
use crate::params::Params;

/// Claims of the token itself (RFC 7519 section 4.1), which are no parameters.
const OF_THE_TOKEN: [&str; 6] = ["iss", "aud", "exp", "nbf", "iat", "jti"];

/// The one answer for a request object that cannot be believed (RFC 9101 section 6.1).
#[must_use]
pub fn invalid(why: &'static str) -> OAuthError {
    OAuthError::new(OAuthCode::InvalidRequestObject, why)
}

/// The parameters that a request object's verified claims are.
///
/// # Errors
/// `invalid_request_object` for a request inside a request (RFC 9101 section 4), or a claim that is no parameter.
pub fn params(claims: &Map<String, Value>) -> Result<Params, OAuthError> {
    if claims.contains_key("request") || claims.contains_key("request_uri") {
        return Err(invalid("a request object holds another request"));
    }
    let mut pairs = Vec::new();
    for (name, value) in claims.iter().filter(|(name, _)| !OF_THE_TOKEN.contains(&name.as_str())) {
        match value {
            Value::Null => return Err(invalid("a parameter of the request object is null")),
            Value::String(text) => pairs.push((name.clone(), text.clone())),
            // RFC 8707 section 2: a parameter that may come more than once is a list here.
            Value::Array(values) if name == "resource" => {
                for value in values {
                    let text = value.as_str().ok_or_else(|| invalid("resource is not a text"))?;
                    pairs.push((name.clone(), text.to_owned()));
                }
            }
            other => pairs.push((name.clone(), other.to_string())),
        }
    }
    Params::from_pairs(pairs).map_err(|_| invalid("a parameter of the request object breaks a limit"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: &Value) -> Result<Params, OAuthError> {
        params(claims.as_object().unwrap())
    }

    /// RFC 9101 section 4: numbers, booleans and objects are JSON there; as parameters they are texts.
    #[test]
    fn rfc9101_4_claims_are_parameters() {
        let read = read(&json!({
            "iss": "a", "aud": "b", "exp": 1, "client_id": "a", "max_age": 0, "claims": {"userinfo": {"name": null}},
            "resource": ["https://a.example/x", "https://a.example/y"],
        }))
        .unwrap();
        assert_eq!(read.one("max_age").unwrap(), Some("0"));
        assert_eq!(read.one("claims").unwrap(), Some(r#"{"userinfo":{"name":null}}"#));
        assert_eq!(read.one("iss").unwrap(), None);
        assert_eq!(read.all("resource").count(), 2);
    }

    #[test]
    fn rfc9101_4_no_request_inside_a_request() {
        assert!(read(&json!({"request": "x"})).is_err());
        assert!(read(&json!({"request_uri": "x"})).is_err());
    }

    #[test]
    fn what_is_no_parameter_refuses_the_object() {
        for claims in [json!({"state": null}), json!({"resource": [1]}), json!({"state": "a\u{7}"})] {
            assert_eq!(read(&claims).unwrap_err().code, OAuthCode::InvalidRequestObject, "{claims}");
        }
        let many: Map<String, Value> = (0..100).map(|n| (format!("p{n}"), "x".into())).collect();
        assert!(params(&many).is_err());
    }
}
