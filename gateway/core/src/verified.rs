//! Verified claims (OpenID Connect for Identity Assurance 1.0): claims together with how they were checked.
//!
//! What a request asks for and cannot be had is left out without an error (section 6.5 there); a request of the wrong shape
//! is one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::digest::sha256;
use crate::ids::base64url;

/// One request for verified claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedRequest {
    /// Whether they belong in the ID token; else at the userinfo endpoint.
    pub in_id_token: bool,
    /// The trust frameworks that serve; empty means any.
    pub trust_frameworks: Vec<String>,
    /// The elements of the verification that are wanted besides the trust framework.
    pub elements: Vec<String>,
    /// The claims, each with digests of the values that it may have; with none it may have any. Whoever names a value may know it, and
    /// nobody else needs to.
    pub claims: BTreeMap<String, Vec<String>>,
    /// Whether it asks for a verification that is never like that.
    #[serde(default)]
    pub impossible: bool,
}

impl VerifiedRequest {
    /// True when the claim is asked for, in a way in which it can be had.
    #[must_use]
    pub fn asks_for(&self, claim: &str) -> bool {
        !self.impossible && self.claims.contains_key(claim)
    }

    /// True when this value of a claim serves.
    #[must_use]
    pub fn takes(&self, claim: &str, value: &Value) -> bool {
        let fits = |values: &Vec<String>| values.is_empty() || values.contains(&digest(value));
        !self.impossible && self.claims.get(claim).is_some_and(fits)
    }

    /// True when claims verified under this trust framework serve.
    #[must_use]
    pub fn is_under(&self, trust_framework: &str) -> bool {
        self.trust_frameworks.is_empty() || self.trust_frameworks.iter().any(|wanted| wanted == trust_framework)
    }
}

/// How a provider checks what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification<'a> {
    /// Under which rules.
    pub trust_framework: &'a str,
    /// The register or office whose record it is.
    pub source: &'a str,
    /// A reference to the record of this release.
    pub process: &'a str,
}

/// The most claims and requests that one member may name.
const MOST: usize = 32;

/// The most values that one claim may have.
const MOST_VALUES: usize = 4;

/// Reads a `verified_claims` member of the `claims` parameter: one request, or several.
#[must_use]
pub fn read(member: &Value, in_id_token: bool) -> Option<Vec<VerifiedRequest>> {
    match member {
        Value::Array(several) if (1..=MOST).contains(&several.len()) => {
            several.iter().map(|one| read_one(one, in_id_token)).collect()
        }
        one => Some(vec![read_one(one, in_id_token)?]),
    }
}

fn read_one(request: &Value, in_id_token: bool) -> Option<VerifiedRequest> {
    let verification = request.get("verification")?.as_object()?;
    let claims = request.get("claims")?.as_object().filter(|claims| (1..=MOST).contains(&claims.len()))?;
    let trust_frameworks = match verification.get("trust_framework")? {
        Value::Null => Vec::new(),
        Value::Object(detail) => match (detail.get("value"), detail.get("values")) {
            (None, None) => Vec::new(),
            (Some(Value::String(one)), None) => vec![one.clone()],
            (None, Some(Value::Array(several))) if several.len() <= MOST => {
                several.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>()?
            }
            _ => return None,
        },
        _ => return None,
    };
    let elements = verification.keys().filter(|name| *name != "trust_framework").take(MOST).cloned().collect();
    let others = verification.iter().filter(|(name, _)| *name != "trust_framework");
    let impossible = others.into_iter().any(|(name, detail)| !can_be(name, detail));
    let claims = claims.iter().filter_map(|(name, detail)| Some((name.clone(), values(detail)?))).collect();
    Some(VerifiedRequest { in_id_token, trust_frameworks, elements, claims, impossible })
}

/// The values that a claim may have; nothing for a request that no value meets.
fn values(detail: &Value) -> Option<Vec<String>> {
    match detail {
        Value::Null => Some(Vec::new()),
        Value::Object(detail) => match (detail.get("value"), detail.get("values")) {
            (None, None) => Some(Vec::new()),
            (Some(one), None) => Some(vec![digest(one)]),
            (None, Some(Value::Array(several))) if (1..=MOST_VALUES).contains(&several.len()) => {
                Some(several.iter().map(digest).collect())
            }
            _ => None,
        },
        _ => None,
    }
}

fn digest(value: &Value) -> String {
    let digest = sha256(value.to_string().as_bytes());
    base64url(digest.get(..12).unwrap_or_default())
}

/// Whether an element of a verification can be as it is asked for: a value that is asked for and not met leaves out the whole
/// (section 6.5 there). Evidence is an electronic record; of nothing else is a value known.
fn can_be(name: &str, detail: &Value) -> bool {
    match (name, detail) {
        ("evidence", Value::Array(several)) => {
            several.is_empty() || several.iter().any(|one| is_met(one, &evidence(None)))
        }
        (_, detail) => is_met(detail, &Value::Null),
    }
}

/// Whether what is told meets what is asked for: an element that is only named is told if there is one, and one that is to have a
/// value has to have it.
fn is_met(asked: &Value, told: &Value) -> bool {
    let Value::Object(asked) = asked else { return asked.is_null() };
    // No time is told of anything.
    if asked.contains_key("max_age") {
        return false;
    }
    if asked.contains_key("value") || asked.contains_key("values") {
        return values(&Value::Object(asked.clone())).is_some_and(|values| values.contains(&digest(told)));
    }
    let deeper = |(name, detail): (&String, &Value)| is_met(detail, told.get(name).unwrap_or(&Value::Null));
    asked.iter().filter(|(name, _)| *name != "essential").all(deeper)
}

/// The one kind of evidence that there is. Whose record it is depends on the provider, so nobody can insist on that beforehand.
fn evidence(source: Option<&str>) -> Value {
    json!({"type": "electronic_record", "record": {"type": "population_register", "source": {"name": source}}})
}

/// The answer to some requests: for each what of `available` it asks for; nothing where that is nothing.
///
/// `available` are claims that may go out and that the provider checked.
#[must_use]
pub fn answer<'r>(
    requests: impl Iterator<Item = &'r VerifiedRequest>,
    verification: &Verification<'_>,
    available: &Map<String, Value>,
) -> Option<Value> {
    let mut answers: Vec<Value> = requests.filter_map(|request| answer_one(request, verification, available)).collect();
    match answers.len() {
        0 => None,
        1 => answers.pop(),
        _ => Some(Value::Array(answers)),
    }
}

fn answer_one(
    request: &VerifiedRequest,
    verification: &Verification<'_>,
    available: &Map<String, Value>,
) -> Option<Value> {
    if !request.is_under(verification.trust_framework) {
        return None;
    }
    let mut claims = available.clone();
    claims.retain(|name, value| request.takes(name, value));
    if claims.is_empty() {
        return None;
    }
    let mut told = Map::new();
    told.insert("trust_framework".to_owned(), verification.trust_framework.into());
    for element in &request.elements {
        let value = match element.as_str() {
            "verification_process" => verification.process.into(),
            "evidence" => json!([evidence(Some(verification.source))]),
            _ => continue,
        };
        told.insert(element.clone(), value);
    }
    Some(json!({"verification": told, "claims": claims}))
}

/// An answer without the claims that `keep` does not take; nothing, when none is left.
#[must_use]
pub fn retain(answer: Option<Value>, keep: &dyn Fn(&str) -> bool) -> Option<Value> {
    match answer? {
        Value::Array(several) => {
            let kept: Vec<Value> = several.into_iter().filter_map(|one| retain(Some(one), keep)).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        mut one => {
            let claims = one.get_mut("claims")?.as_object_mut()?;
            claims.retain(|name, _| keep(name));
            (!claims.is_empty()).then_some(one)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKED: Verification<'_> = Verification { trust_framework: "urn:x", source: "Register", process: "trace-1" };

    fn available() -> Map<String, Value> {
        json!({"name": "CHAN, Tai Man", "birthdate": "1979-03-14"}).as_object().unwrap().clone()
    }

    fn asked(request: Value) -> Option<Value> {
        answer(read(&request, false)?.iter(), &CHECKED, &available())
    }

    #[test]
    fn what_is_asked_for_and_can_be_had_is_told_and_nothing_more() {
        let told = asked(json!({
            "verification": {"trust_framework": null, "evidence": null, "time": null},
            "claims": {"name": null, "nationalities": null},
        }));
        assert_eq!(
            told.unwrap(),
            json!({
                "verification": {
                    "trust_framework": "urn:x",
                    "evidence": [{"type": "electronic_record", "record": {"type": "population_register", "source": {"name": "Register"}}}],
                },
                "claims": {"name": "CHAN, Tai Man"},
            })
        );
        let other = json!({"verification": {"trust_framework": {"value": "urn:y"}}, "claims": {"name": null}});
        assert_eq!(asked(other.clone()), None);
        let several = json!([other, {"verification": {"trust_framework": {"values": ["urn:y", "urn:x"]}}, "claims": {"birthdate": null}}]);
        assert_eq!(asked(several).unwrap()["claims"], json!({"birthdate": "1979-03-14"}));
    }

    /// Identity Assurance section 6.5: a claim that is to have a value is told with that one, and left out with another.
    #[test]
    fn a_claim_with_another_value_than_the_one_asked_for_is_left_out() {
        let with = |name: Value| {
            asked(json!({"verification": {"trust_framework": null}, "claims": {"name": name, "birthdate": null}}))
        };
        let both = available();
        for (detail, told) in [
            (json!({"value": "CHAN, Tai Man"}), true),
            (json!({"values": ["WONG", "CHAN, Tai Man"]}), true),
            (json!({"essential": true}), true),
            (json!({"value": "WONG"}), false),
            (json!({"value": 1}), false),
            (json!({"values": []}), false),
            (json!({"value": "CHAN, Tai Man", "values": ["CHAN, Tai Man"]}), false),
            (json!("CHAN, Tai Man"), false),
        ] {
            let claims = with(detail.clone()).unwrap()["claims"].as_object().unwrap().clone();
            assert_eq!(
                (claims.contains_key("name"), claims.get("birthdate")),
                (told, both.get("birthdate")),
                "{detail}"
            );
        }
        let alone = asked(json!({"verification": {"trust_framework": null}, "claims": {"name": {"value": "WONG"}}}));
        assert_eq!(alone, None);
    }

    #[test]
    fn what_may_go_out_no_more_is_taken_out() {
        let one = |names: &[&str]| json!({"verification": {}, "claims": names.iter().map(|n| ((*n).to_owned(), json!(1))).collect::<Map<_, _>>()});
        let keep: &dyn Fn(&str) -> bool = &|name| name == "a";
        assert_eq!(retain(Some(one(&["a", "b"])), keep), Some(one(&["a"])));
        assert_eq!(retain(Some(one(&["b"])), keep), None);
        assert_eq!(retain(Some(json!([one(&["b"]), one(&["a"])])), keep), Some(json!([one(&["a"])])));
        assert_eq!(retain(None, keep), None);
    }

    #[test]
    fn a_request_of_the_wrong_shape_is_none() {
        for wrong in [
            json!(null),
            json!([]),
            json!({}),
            json!({"claims": {"name": null}}),
            json!({"verification": {"trust_framework": null}}),
            json!({"verification": {"trust_framework": null}, "claims": {}}),
            json!({"verification": {}, "claims": {"name": null}}),
            json!({"verification": {"trust_framework": "urn:x"}, "claims": {"name": null}}),
            json!({"verification": {"trust_framework": {"values": [1]}}, "claims": {"name": null}}),
        ] {
            assert_eq!(read(&wrong, true), None, "{wrong}");
        }
    }

    /// Identity Assurance section 6.5: what is asked for in a way that it never is is left out, without an error.
    #[test]
    fn a_verification_that_is_never_like_that_leaves_out_the_whole() {
        let with = |verification: Value| {
            let mut all = json!({"trust_framework": null});
            all.as_object_mut().unwrap().extend(verification.as_object().unwrap().clone());
            asked(json!({"verification": all, "claims": {"name": null}}))
        };
        for fits in [
            json!({"evidence": null}),
            json!({"evidence": [{"type": {"value": "electronic_record"}}]}),
            json!({"evidence": [{"type": {"value": "document"}}, {"type": {"values": ["electronic_record"]}, "record": null}]}),
            json!({"time": null}),
            json!({"time": {"essential": true}}),
            json!({"evidence": [{"type": {"value": "electronic_record"}, "record": {"type": {"value": "population_register"}}}]}),
            json!({"evidence": [{"type": null, "record": {"source": null, "created_at": null}, "check_details": null}]}),
            json!({"evidence": [{"type": {"essential": true, "value": "electronic_record"}, "record": {"source": {"name": null}}}]}),
        ] {
            assert!(with(fits.clone()).is_some(), "{fits}");
        }
        for never in [
            json!({"evidence": [{"type": {"value": "document"}}]}),
            json!({"evidence": [{"type": {"value": "electronic_record"}, "record": {"type": {"value": "bank_account"}}}]}),
            json!({"evidence": "document"}),
            json!({"time": {"max_age": 60}}),
            json!({"evidence": [{"type": null, "record": {"created_at": {"max_age": 60}}}]}),
            json!({"evidence": [{"type": null, "record": {"source": {"name": {"value": "Another"}}}}]}),
            json!({"evidence": [{"type": {"max_age": 60, "value": "electronic_record"}}]}),
            json!({"evidence": [{"type": "electronic_record"}]}),
            json!({"assurance_level": {"value": "high"}}),
        ] {
            assert!(with(never.clone()).is_none(), "{never}");
        }
    }
}
