use serde_json::json;

use super::*;

fn policy(said: &Value) -> Result<Policy, FederationError> {
    Policy::read(said.as_object().unwrap())
}

fn applied(said: &Value, metadata: &Value) -> Result<Value, FederationError> {
    let mut metadata = metadata.as_object().unwrap().clone();
    policy(said)?.apply(&mut metadata).map(|()| Value::Object(metadata))
}

/// Section 6.1.3.1: each operator, on a parameter that is there and on one that is not.
#[test]
fn oidfed_6_1_3_1_each_operator_does_what_it_is_for() {
    for (operators, before, after) in [
        (json!({"value": "b"}), json!({"p": "a"}), Some(json!({"p": "b"}))),
        (json!({"value": "b"}), json!({}), Some(json!({"p": "b"}))),
        (json!({"value": null}), json!({"p": "a"}), Some(json!({}))),
        (json!({"add": ["b"]}), json!({"p": ["a"]}), Some(json!({"p": ["a", "b"]}))),
        (json!({"add": ["a"]}), json!({"p": ["a"]}), Some(json!({"p": ["a"]}))),
        (json!({"add": ["b"]}), json!({}), Some(json!({"p": ["b"]}))),
        (json!({"add": ["b"]}), json!({"p": "a"}), None),
        (json!({"default": "d"}), json!({}), Some(json!({"p": "d"}))),
        (json!({"default": "d"}), json!({"p": "a"}), Some(json!({"p": "a"}))),
        (json!({"one_of": ["a", "b"]}), json!({"p": "a"}), Some(json!({"p": "a"}))),
        (json!({"one_of": ["a", "b"]}), json!({"p": "c"}), None),
        (json!({"one_of": ["a", "b"]}), json!({}), Some(json!({}))),
        (json!({"one_of": ["a", "b"], "essential": true}), json!({}), None),
        (json!({"subset_of": ["a", "b"]}), json!({"p": ["b", "c"]}), Some(json!({"p": ["b"]}))),
        (json!({"subset_of": ["a"]}), json!({"p": ["c"]}), Some(json!({"p": []}))),
        (json!({"subset_of": ["a"]}), json!({}), Some(json!({}))),
        (json!({"subset_of": ["a"], "essential": true}), json!({}), None),
        (json!({"superset_of": ["a"]}), json!({"p": ["a", "c"]}), Some(json!({"p": ["a", "c"]}))),
        (json!({"superset_of": ["a"]}), json!({"p": ["c"]}), None),
        (json!({"superset_of": ["a"]}), json!({}), Some(json!({}))),
        (json!({"essential": true}), json!({}), None),
        (json!({"essential": false}), json!({}), Some(json!({}))),
        (json!({"default": "d", "essential": true}), json!({}), Some(json!({"p": "d"}))),
        (json!({"default": "c", "one_of": ["a"]}), json!({}), None),
        (json!({"regexp": "^a"}), json!({"p": "b"}), Some(json!({"p": "b"}))),
    ] {
        assert_eq!(applied(&json!({"p": operators}), &before).ok(), after, "{operators} on {before}");
    }
}

/// Section 6.1.3.1.8: `scope` is a list that is written as a text.
#[test]
fn oidfed_6_1_3_1_scope_is_a_list() {
    let said = json!({"scope": {"subset_of": ["openid", "profile"], "superset_of": ["openid"]}});
    assert_eq!(applied(&said, &json!({"scope": "openid email profile"})).unwrap(), json!({"scope": "openid profile"}));
    assert!(applied(&said, &json!({"scope": "profile"})).is_err());
    // Found by fuzzing: two scopes in one value are two once they are written down.
    for smuggled in [
        json!({"add": ["openid admin"]}),
        json!({"subset_of": ["a b"]}),
        json!({"superset_of": [""]}),
        json!({"add": [1]}),
    ] {
        assert!(policy(&json!({"scope": smuggled})).is_err(), "{smuggled}");
    }
    assert!(applied(&said, &json!({"scope": ["openid", "a b"]})).is_err());
    assert_eq!(applied(&json!({"scope": {"default": "openid"}}), &json!({})).unwrap(), json!({"scope": "openid"}));
}

/// Section 6.1.3.1: what does not go together makes the whole chain void.
#[test]
fn oidfed_6_1_3_1_contradictions_are_refused() {
    for operators in [
        json!({"value": "a", "one_of": ["b"]}),
        json!({"value": ["a"], "subset_of": ["b"]}),
        json!({"value": ["a"], "superset_of": ["b"]}),
        json!({"value": ["a"], "add": ["b"]}),
        json!({"value": null, "essential": true}),
        json!({"value": null, "default": "a"}),
        json!({"add": ["a"], "subset_of": ["b"]}),
        json!({"add": ["a"], "one_of": ["a"]}),
        json!({"superset_of": ["a"], "subset_of": ["b"]}),
        json!({"default": null}),
        json!({"one_of": "a"}),
        json!({"essential": "yes"}),
        json!("a"),
    ] {
        assert!(policy(&json!({"p": operators})).is_err(), "{operators}");
    }
}

/// Section 6.1.3.1: somebody below can only narrow what was said above.
#[test]
fn oidfed_6_1_3_1_below_only_narrows() {
    for (above, below, metadata, after) in [
        (
            json!({"subset_of": ["a", "b"]}),
            json!({"subset_of": ["b", "c"]}),
            json!(["a", "b", "c"]),
            Some(json!(["b"])),
        ),
        (json!({"one_of": ["a", "b"]}), json!({"one_of": ["b", "c"]}), json!("b"), Some(json!("b"))),
        (json!({"one_of": ["a", "b"]}), json!({"one_of": ["b", "c"]}), json!("c"), None),
        (json!({"one_of": ["a"]}), json!({"one_of": ["c"]}), json!("a"), None),
        (json!({"value": "a"}), json!({"value": "a"}), json!("x"), Some(json!("a"))),
        (json!({"value": "a"}), json!({"value": "b"}), json!("x"), None),
        (json!({"value": "a"}), json!({"one_of": ["b"]}), json!("x"), None),
        (json!({"default": "a"}), json!({"default": "b"}), json!("x"), None),
        (json!({"add": ["a"]}), json!({"add": ["b"]}), json!(["c"]), Some(json!(["c", "a", "b"]))),
        (json!({"superset_of": ["a"]}), json!({"superset_of": ["b"]}), json!(["a", "b"]), Some(json!(["a", "b"]))),
        (json!({"superset_of": ["a"]}), json!({"superset_of": ["b"]}), json!(["a"]), None),
        (json!({"essential": true}), json!({"essential": false}), json!(null), None),
        (json!({"subset_of": ["a"]}), json!({"superset_of": ["b"]}), json!(["a"]), None),
        (json!({"subset_of": ["a"]}), json!({"add": ["b"]}), json!(["a"]), None),
    ] {
        let parts = (policy(&json!({"p": above})).unwrap(), policy(&json!({"p": below})).unwrap());
        let mut entity = Map::new();
        if !metadata.is_null() {
            entity.insert("p".to_owned(), metadata.clone());
        }
        let merged = parts.0.merge(&parts.1).and_then(|merged| merged.apply(&mut entity));
        assert_eq!(merged.ok().map(|()| entity["p"].clone()), after, "{above} then {below} on {metadata}");
    }
}
