//! What a request says of its matter (RFC 9396): which application, which document. Its type is the service, its fields are
//! those that the service's document knows; a person sees them, and they go into the token as they were agreed to.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{OAuthCode, OAuthError};

/// The longest text of the parameter, in bytes.
const LONGEST: usize = 4_096;

/// The details of one matter, read by its service's document. `Debug` prints names only: the values are the person's business.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The `type`: the service's `resource`.
    pub kind: String,
    /// Names and values, in the order of the document.
    pub fields: Vec<(String, String)>,
}

impl Details {
    /// The member of `authorization_details`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let fields = self.fields.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        Value::Object(fields.chain([("type".to_owned(), self.kind.as_str().into())]).collect())
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        write!(f, "Details({}: {})", self.kind, names.join(", "))
    }
}

/// The one answer for details that are not what their type asks for (RFC 9396 section 5).
#[must_use]
pub fn invalid(why: impl Into<std::borrow::Cow<'static, str>>) -> OAuthError {
    OAuthError::new(OAuthCode::InvalidAuthorizationDetails, why)
}

/// The one object of the parameter, and its type. A request is for one service, so it has one.
///
/// # Errors
/// `invalid_authorization_details`.
pub fn read(text: &str) -> Result<(String, Map<String, Value>), OAuthError> {
    let parsed = serde_json::from_str(text).ok().filter(|_| text.len() <= LONGEST);
    let Some(Value::Array(list)) = parsed else { return Err(invalid("authorization_details is not a JSON array")) };
    let mut list = list.into_iter();
    let (Some(Value::Object(mut fields)), None) = (list.next(), list.next()) else {
        return Err(invalid("authorization_details holds one object: a request is for one service"));
    };
    match fields.remove("type") {
        Some(Value::String(kind)) => Ok((kind, fields)),
        _ => Err(invalid("type is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9396 sections 2 and 5.
    #[test]
    fn rfc9396_2_one_object_with_a_type() {
        let (kind, fields) = read(r#"[{"type":"https://a.example","x":"y"}]"#).unwrap();
        assert_eq!((kind.as_str(), fields.len()), ("https://a.example", 1));
        let long = format!(r#"[{{"type":"a","x":"{}"}}]"#, "y".repeat(5_000));
        for bad in ["", "{}", "[]", "[1]", r#"[{"type":1}]"#, r#"[{}]"#, r#"[{"type":"a"},{"type":"a"}]"#, "[{", &long]
        {
            assert_eq!(read(bad).unwrap_err().code, OAuthCode::InvalidAuthorizationDetails, "{bad}");
        }
        let details = Details { kind: "k".into(), fields: vec![("child".into(), "secret".into())] };
        assert!(!format!("{details:?}").contains("secret"));
        assert_eq!(details.to_json(), serde_json::json!({"type": "k", "child": "secret"}));
    }
}
