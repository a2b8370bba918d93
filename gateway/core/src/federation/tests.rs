use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn entity(name: &str) -> String {
    format!("https://{name}.example")
}

/// What `iss` says of `sub`, with further claims.
fn said(iss: &str, sub: &str, more: Value) -> Statement {
    try_said(iss, sub, more).unwrap()
}

fn try_said(iss: &str, sub: &str, more: Value) -> Result<Statement, FederationError> {
    let mut claims =
        json!({"iss": entity(iss), "sub": entity(sub), "iat": NOW.0, "exp": NOW.0 + 600, "jwks": {"keys": []}});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Statement::read(claims.as_object().unwrap(), NOW)
}

fn leaf(metadata: Value) -> Statement {
    said("leaf", "leaf", json!({"authority_hints": [entity("middle")], "metadata": {RELYING_PARTY: metadata}}))
}

/// A leaf, one in the middle and an anchor.
fn chain(leaf: Statement, middle: Value, top: Value) -> Result<TrustChain, FederationError> {
    let anchor = said("anchor", "anchor", json!({}));
    TrustChain::new(leaf, vec![try_said("middle", "leaf", middle)?, try_said("anchor", "middle", top)?], anchor)
}

/// Section 6.1.4: the superior's own words first, then the policies of all, the anchor's first.
#[test]
fn oidfed_6_1_4_metadata_is_what_everybody_above_leaves_of_it() {
    let own = json!({"client_name": "own", "scope": "openid email phone", "contacts": ["a"], "logo_uri": "https://evil.example/"});
    let middle = json!({
        "metadata": {RELYING_PARTY: {"client_name": "by the superior"}},
        "metadata_policy": {RELYING_PARTY: {"scope": {"subset_of": ["openid", "email"]}, "contacts": {"add": ["m"]}}},
    });
    let top = json!({"metadata_policy": {RELYING_PARTY: {"scope": {"subset_of": ["openid", "phone"]}, "logo_uri": {"value": null}}}});
    let found = chain(leaf(own), middle, top).unwrap();
    let expected = json!({"client_name": "by the superior", "scope": "openid", "contacts": ["a", "m"]});
    assert_eq!(Value::Object(found.metadata(RELYING_PARTY).unwrap()), expected);
    assert!(found.metadata(PROVIDER).is_err(), "it is none");
    assert_eq!(found.expires_at(), NOW.plus(std::time::Duration::from_secs(600)));
}

/// A name that a superior gave is the name in every language: people read theirs.
#[test]
fn a_name_in_another_language_is_no_way_around_a_superior() {
    let own = json!({"client_name": "x", "client_name#en": "The Ministry", "tos_uri#pt": "https://leaf.example/pt"});
    let found = |middle: Value| chain(leaf(own.clone()), middle, json!({})).unwrap().metadata(RELYING_PARTY).unwrap();
    let named = found(json!({"metadata": {RELYING_PARTY: {"client_name": "A county"}}}));
    assert_eq!(Value::Object(named), json!({"client_name": "A county", "tos_uri#pt": "https://leaf.example/pt"}));
    let ruled = found(json!({"metadata_policy": {RELYING_PARTY: {"client_name": {"one_of": ["x"]}}}}));
    assert!(!ruled.contains_key("client_name#en"));
    assert!(found(json!({})).contains_key("client_name#en"));
}

/// Section 10.2: what is no chain is none.
#[test]
fn oidfed_10_2_what_does_not_hold_together_is_no_chain() {
    let anchor = || said("anchor", "anchor", json!({}));
    let own = || leaf(json!({}));
    let step = |iss: &str, sub: &str| said(iss, sub, json!({}));
    for (superiors, why) in [
        (vec![step("middle", "leaf"), step("anchor", "other")], "gap"),
        (vec![step("middle", "other"), step("anchor", "middle")], "gap"),
        (vec![step("middle", "leaf")], "gap"),
        (vec![step("anchor", "leaf")], "does not name"),
        (vec![step("middle", "leaf"), step("leaf", "middle"), step("middle", "leaf")], "circle"),
        (
            vec![step("middle", "leaf"), step("anchor", "middle"), step("middle", "anchor"), step("anchor", "middle")],
            "circle",
        ),
        (vec![step("middle", "leaf"), step("middle", "middle"), step("anchor", "middle")], "superiors"),
        ((0..9).map(|n| step(&format!("s{}", n + 1), &format!("s{n}"))).collect(), "too long"),
    ] {
        let error = TrustChain::new(own(), superiors, anchor()).unwrap_err();
        assert!(error.0.contains(why), "{error} ({why})");
    }
    let alone = TrustChain::new(anchor(), vec![], anchor()).unwrap();
    assert_eq!(alone.entity().as_str(), entity("anchor"));
}

/// Section 6.2: a superior limits how long chains are below, how hosts are called, and of what type entities are.
#[test]
fn oidfed_6_2_constraints_hold_for_everybody_below() {
    let with =
        |constraints: Value| chain(leaf(json!({"client_name": "x"})), json!({}), json!({"constraints": constraints}));
    for (constraints, fits) in [
        (json!({"max_path_length": 1}), true),
        (json!({"max_path_length": 0}), false),
        (json!({"naming_constraints": {"permitted": [".example"]}}), true),
        (json!({"naming_constraints": {"permitted": ["leaf.example"]}}), false),
        (json!({"naming_constraints": {"permitted": ["leaf.example", "middle.example"]}}), true),
        (json!({"naming_constraints": {"excluded": ["leaf.example"]}}), false),
        (json!({"naming_constraints": {"permitted": [".example"], "excluded": [".example"]}}), false),
        (json!({"naming_constraints": {"permitted": []}}), false),
    ] {
        assert_eq!(with(constraints.clone()).is_ok(), fits, "{constraints}");
    }
    let typed = |types: Value| with(json!({"allowed_entity_types": types})).unwrap().metadata(RELYING_PARTY).is_ok();
    assert!(typed(json!([RELYING_PARTY])) && !typed(json!([PROVIDER])) && !typed(json!([])));
    assert!(with(json!({"max_path_length": "1"})).is_err() && with(json!({"naming_constraints": []})).is_err());
}

/// Section 3.1: a statement that is wrong in any way says nothing.
#[test]
fn oidfed_3_statements_that_are_wrong() {
    for (about, more, why) in [
        (("a", "a"), json!({"exp": NOW.0 - 61}), "over"),
        (("a", "a"), json!({"iat": NOW.0 + 61}), "future"),
        (("a", "a"), json!({"exp": "soon"}), "exp is missing"),
        (("a", "a"), json!({"jwks": {}}), "jwks"),
        (("a", "a"), json!({"iss": "http://a.example"}), "not an entity"),
        (("a", "a"), json!({"iss": "https://a.example/?x"}), "not an entity"),
        (("a", "a"), json!({"crit": ["x"]}), "critical"),
        (("a", "a"), json!({"metadata_policy": {}}), "not for this kind"),
        (("a", "a"), json!({"constraints": {}}), "not for this kind"),
        (("a", "b"), json!({"authority_hints": []}), "not for this kind"),
        (("a", "b"), json!({"trust_mark_issuers": {}}), "not for this kind"),
        (("a", "b"), json!({"metadata_policy_crit": ["regexp"]}), "policy operator"),
        (("a", "b"), json!({"metadata_policy": {"x": {"p": {"one_of": 1}}}}), "contradicts"),
        (("a", "a"), json!({"metadata": {"x": 1}}), "wrong form"),
        (("a", "a"), json!({"authority_hints": ["ftp://x"]}), "no entity"),
        (("a", "a"), json!({"authority_hints": vec![entity("x"); 65]}), "list of entities"),
        (("a", "a"), json!({"trust_marks": [{}]}), "trust_marks"),
    ] {
        let error = try_said(about.0, about.1, more.clone()).unwrap_err();
        assert!(error.0.contains(why), "{more}: {error}");
    }
    assert!(try_said("a", "b", json!({"metadata_policy_crit": ["one_of"], "metadata_policy": {}})).is_ok());
}

/// Section 7: marks that are over, from the future, or somebody else's to delegate.
#[test]
fn oidfed_7_trust_marks_that_are_wrong() {
    let mark = |more: Value| {
        let mut claims =
            json!({"iss": entity("issuer"), "sub": entity("leaf"), "trust_mark_type": "urn:mark", "iat": NOW.0});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        TrustMarkClaims::read(claims.as_object().unwrap(), NOW)
    };
    assert_eq!(mark(json!({})).unwrap().kind, "urn:mark");
    for wrong in [
        json!({"exp": NOW.0 - 61}),
        json!({"exp": "x"}),
        json!({"iat": NOW.0 + 61}),
        json!({"iat": null}),
        json!({"trust_mark_type": 1}),
        json!({"delegation": "a.b.c"}),
        json!({"sub": "leaf"}),
    ] {
        assert!(mark(wrong.clone()).is_err(), "{wrong}");
    }
}
