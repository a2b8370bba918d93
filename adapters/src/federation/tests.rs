use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use async_trait::async_trait;
use certs::key::SigningKey;
use gateway_core::federation::RELYING_PARTY;
use serde_json::json;

use super::*;
use crate::http::HttpError;

const NOW: Timestamp = Timestamp(1_000_000);
static PLACES: LazyLock<Shares> = LazyLock::new(|| Shares::new("test", 16, &[16]));

/// A federation in memory: who says what of whom, by address.
struct Web {
    keys: HashMap<String, SigningKey>,
    said: Mutex<HashMap<String, String>>,
    calls: AtomicUsize,
}

#[async_trait]
impl Http for Web {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let said = self.said.lock().unwrap().get(&request.uri().to_string()).cloned();
        let said = said.ok_or(HttpError::Status(404))?;
        Ok(http::Response::new(said.into_bytes()))
    }
}

fn id(name: &str) -> String {
    format!("https://{name}.example")
}

fn merge(claims: &mut Value, more: &Value) {
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
}

impl Web {
    fn of(names: &[&str]) -> Self {
        let key = |name: &&str| ((*name).to_owned(), SigningKey::generate(Algorithm::ES256).unwrap());
        Self { keys: names.iter().map(key).collect(), said: Mutex::default(), calls: AtomicUsize::new(0) }
    }

    fn jwks(&self, name: &str) -> Value {
        json!({"keys": [self.keys[name].public_jwk()]})
    }

    fn sign(&self, by: &str, typ: &str, claims: &Value) -> String {
        certs::jws::sign(&self.keys[by], typ, claims.as_object().unwrap()).unwrap()
    }

    fn own(&self, name: &str, hints: &[&str], more: Value) {
        let hints: Vec<String> = hints.iter().map(|hint| id(hint)).collect();
        let mut claims = json!({
            "iss": id(name), "sub": id(name), "iat": NOW.0, "exp": NOW.0 + 600, "jwks": self.jwks(name),
            "metadata": {"federation_entity": {"federation_fetch_endpoint": format!("{}/fetch", id(name))}},
        });
        if !hints.is_empty() {
            claims["authority_hints"] = json!(hints);
        }
        merge(&mut claims, &more);
        let at = format!("{}/.well-known/openid-federation", id(name));
        self.said.lock().unwrap().insert(at, self.sign(name, STATEMENT_TYPE, &claims));
    }

    /// What `by` says of `of`, signed by `signer`, with the keys of `keys`.
    fn vouch_as(&self, (by, signer): (&str, &str), (of, keys): (&str, &str), more: Value) {
        let mut claims =
            json!({"iss": id(by), "sub": id(of), "iat": NOW.0, "exp": NOW.0 + 600, "jwks": self.jwks(keys)});
        merge(&mut claims, &more);
        let at = asking(&format!("{}/fetch", id(by)), &id(of).parse().unwrap()).unwrap();
        self.said.lock().unwrap().insert(at.into(), self.sign(signer, STATEMENT_TYPE, &claims));
    }

    fn vouch(&self, by: &str, of: &str) {
        self.vouch_as((by, by), (of, of), json!({}));
    }

    fn anchor(&self, names: &[&str]) -> Anchor {
        Anchor {
            entity: id("anchor").parse().unwrap(),
            keys: Arc::new(key_set(&self.jwks("anchor")).unwrap()),
            origins: names.iter().map(|name| id(name)).collect(),
            version: names.join(" "),
        }
    }
}

const NAMES: [&str; 5] = ["anchor", "middle", "leaf", "other", "issuer"];

/// An anchor, one in the middle, a leaf, and somebody who issues marks.
fn web() -> (Arc<Web>, Anchor) {
    let web = Web::of(&NAMES);
    web.own("anchor", &[], json!({"trust_mark_issuers": {"urn:sound": [id("issuer")], "urn:own": [id("anchor")]}}));
    web.own("middle", &["anchor"], json!({}));
    web.own("issuer", &["anchor"], json!({}));
    web.own("leaf", &["middle"], json!({"metadata": {RELYING_PARTY: {"client_name": "A portal"}}}));
    web.vouch("anchor", "middle");
    web.vouch("anchor", "issuer");
    web.vouch("middle", "leaf");
    let anchor = web.anchor(&NAMES);
    (Arc::new(web), anchor)
}

async fn resolved(web: &Arc<Web>, anchor: &Anchor) -> Attempt {
    Resolver::new(Arc::clone(web) as Arc<dyn Http>).resolve(&id("leaf").parse().unwrap(), anchor, &PLACES, NOW).await
}

async fn refused(web: &Arc<Web>, anchor: &Anchor) -> String {
    resolved(web, anchor).await.expect_err("nobody vouches for it").0
}

#[tokio::test]
async fn oidfed_10_an_entity_is_found_through_its_superiors_once() {
    let (web, anchor) = web();
    let resolver = Arc::new(Resolver::new(Arc::clone(&web) as Arc<dyn Http>));
    let leaf: EntityId = id("leaf").parse().unwrap();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (resolver, anchor, leaf) = (Arc::clone(&resolver), anchor.clone(), leaf.clone());
            tokio::spawn(async move { resolver.resolve(&leaf, &anchor, &PLACES, NOW).await })
        })
        .collect();
    for one in waiting {
        let found = one.await.unwrap().unwrap();
        assert_eq!(found.chain.metadata(RELYING_PARTY).unwrap()["client_name"], "A portal");
        assert_eq!(found.statements.len(), 4);
    }
    assert_eq!(web.calls.load(Ordering::SeqCst), 5, "anchor, leaf, middle, and what two say of those below");
    // It serves as long as its statements last, and is then found anew.
    let later = Timestamp(NOW.0 + 599);
    resolver.resolve(&leaf, &anchor, &PLACES, later).await.unwrap();
    assert_eq!(web.calls.load(Ordering::SeqCst), 5);
    let over = resolver.resolve(&leaf, &anchor, &PLACES, Timestamp(NOW.0 + 700)).await.err().unwrap();
    assert!(over.0.contains("is over") && web.calls.load(Ordering::SeqCst) > 5, "{over}");
}

/// Section 10.2: each statement is signed by whom the one above says, and by nobody else.
#[tokio::test]
async fn oidfed_10_2_a_forged_statement_anywhere_breaks_the_chain() {
    let (sound, anchor) = web();
    assert!(resolved(&sound, &anchor).await.is_ok());
    // The anchor's own words are signed with another key than the one that was handed over.
    let (web, mut anchor) = web();
    anchor.keys = Arc::new(key_set(&web.jwks("other")).unwrap());
    assert!(refused(&web, &anchor).await.contains("no key fits"));
    // Somebody signs in the name of a superior.
    let (web, anchor) = self::web();
    web.vouch_as(("anchor", "other"), ("middle", "middle"), json!({}));
    assert!(refused(&web, &anchor).await.contains("no key fits"));
    let (web, anchor) = self::web();
    web.vouch_as(("middle", "other"), ("leaf", "leaf"), json!({}));
    assert!(refused(&web, &anchor).await.contains("no key fits"));
    // The superior knows other keys of the entity than those that it signs with.
    let (web, anchor) = self::web();
    web.vouch_as(("middle", "middle"), ("leaf", "other"), json!({}));
    assert!(refused(&web, &anchor).await.contains("no key fits"));
    // A statement of another type, signed by the right key.
    let (web, anchor) = self::web();
    let claims =
        json!({"iss": id("leaf"), "sub": id("leaf"), "iat": NOW.0, "exp": NOW.0 + 600, "jwks": web.jwks("leaf")});
    let at = format!("{}/.well-known/openid-federation", id("leaf"));
    web.said.lock().unwrap().insert(at, web.sign("leaf", "JWT", &claims));
    assert!(refused(&web, &anchor).await.contains("header"));
    // A superior that says it of somebody else.
    let (web, anchor) = self::web();
    let other = asking(&format!("{}/fetch", id("middle")), &id("other").parse().unwrap()).unwrap();
    web.vouch("middle", "other");
    let said = web.said.lock().unwrap()[other.as_str()].clone();
    let leaf = asking(&format!("{}/fetch", id("middle")), &id("leaf").parse().unwrap()).unwrap();
    web.said.lock().unwrap().insert(leaf.into(), said);
    assert!(resolved(&web, &anchor).await.is_err());
}

/// Section 17: loops, chains that are too long, and entities with hosts of superiors cost a bounded number of calls.
#[tokio::test]
async fn oidfed_17_loops_and_endless_chains_end() {
    // Two that vouch for each other, and for the leaf.
    let (web, anchor) = web();
    web.own("middle", &["other"], json!({}));
    web.own("other", &["middle", "leaf", "other"], json!({}));
    web.vouch("middle", "other");
    web.vouch("other", "middle");
    assert!(resolved(&web, &anchor).await.is_err());
    assert!(web.calls.load(Ordering::SeqCst) < 10);
    // A chain without end.
    let names: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
    let all: Vec<&str> = NAMES.into_iter().chain(names.iter().map(String::as_str)).collect();
    let web = Web::of(&all);
    web.own("anchor", &[], json!({}));
    web.own("leaf", &["s0"], json!({}));
    web.vouch("s0", "leaf");
    for pair in names.windows(2) {
        web.own(&pair[0], &[&pair[1]], json!({}));
        web.vouch(&pair[1], &pair[0]);
    }
    let (anchor, web) = (web.anchor(&all), Arc::new(web));
    assert!(resolved(&web, &anchor).await.is_err());
    assert!(web.calls.load(Ordering::SeqCst) <= 2 + 2 * LONGEST_CHAIN, "{}", web.calls.load(Ordering::SeqCst));
    // Sixty superiors that all answer.
    let names: Vec<String> = (0..60).map(|n| format!("s{n}")).collect();
    let all: Vec<&str> = NAMES.into_iter().chain(names.iter().map(String::as_str)).collect();
    let web = Web::of(&all);
    web.own("anchor", &[], json!({}));
    web.own("leaf", &all[5..], json!({}));
    for name in &all[5..] {
        web.own(name, &["anchor"], json!({}));
    }
    let (anchor, web) = (web.anchor(&all), Arc::new(web));
    assert!(resolved(&web, &anchor).await.is_err());
    assert!(web.calls.load(Ordering::SeqCst) <= 33);
}

/// Two ways up may pass the same superior: where one does not hold, the other does.
#[tokio::test]
async fn oidfed_10_a_second_way_past_the_same_superior_is_found() {
    let names = ["anchor", "top", "left", "right", "leaf"];
    let web = Web::of(&names);
    web.own("anchor", &[], json!({}));
    web.own("top", &["anchor"], json!({}));
    web.own("left", &["top"], json!({}));
    web.own("right", &["top"], json!({}));
    web.own("leaf", &["left", "right"], json!({"metadata": {RELYING_PARTY: {"client_name": "A portal"}}}));
    for (by, of) in [("anchor", "top"), ("top", "right"), ("left", "leaf"), ("right", "leaf")] {
        web.vouch(by, of);
    }
    web.vouch_as(("top", "top"), ("left", "left"), json!({"constraints": {"max_path_length": 0}}));
    web.vouch_as(("left", "right"), ("leaf", "leaf"), json!({}));
    let (anchor, web) = (web.anchor(&names), Arc::new(web));
    let found = resolved(&web, &anchor).await.unwrap();
    let issuers = found.statements.iter().map(|said| certs::jws::claimed(said).unwrap()["iss"].clone());
    assert_eq!(issuers.collect::<Vec<_>>(), ["leaf", "right", "top", "anchor", "anchor"].map(id));
}

/// Section 17: superiors that all know each other, and have their statements at one address, cost no more than others.
#[tokio::test]
async fn oidfed_17_a_thicket_of_superiors_ends() {
    let names: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
    let all: Vec<&str> = NAMES.into_iter().chain(names.iter().map(String::as_str)).collect();
    let web = Web::of(&all);
    let shared =
        json!({"metadata": {"federation_entity": {"federation_fetch_endpoint": format!("{}/fetch", id("s0"))}}});
    web.own("anchor", &[], json!({}));
    web.own("leaf", &all[5..], json!({}));
    web.vouch("s0", "leaf");
    for name in &names {
        let others: Vec<&str> = all[5..].iter().copied().filter(|other| other != name).collect();
        web.own(name, &others, shared.clone());
        web.vouch("s0", name);
    }
    let (anchor, web) = (web.anchor(&all), Arc::new(web));
    assert!(refused(&web, &anchor).await.contains("too many statements"));
    assert!(web.calls.load(Ordering::SeqCst) <= 33);
}

/// A superior that never answers, as a federation that leads to it.
struct Silent(Arc<Web>);

#[async_trait]
impl Http for Silent {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        if request.uri().host() == Some("middle.example") {
            self.0.calls.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        self.0.send(request).await
    }
}

/// Nobody waits for ever, and whoever comes soon after does not ask again.
#[tokio::test]
async fn a_climb_that_takes_too_long_ends_and_is_not_begun_again_at_once() {
    let (web, anchor) = web();
    let mut resolver = Resolver::new(Arc::new(Silent(Arc::clone(&web))));
    resolver.patience = Duration::from_millis(50);
    // As long as it may take, and more.
    for now in [NOW, NOW, NOW.plus(PATIENCE)] {
        let refused = resolver.resolve(&id("leaf").parse().unwrap(), &anchor, &PLACES, now).await.unwrap_err();
        assert!(refused.0.contains("takes too long"), "{refused}");
        assert_eq!(web.calls.load(Ordering::SeqCst), 3, "the anchor, the leaf, and whoever says nothing");
    }
}

/// A chain that ended a moment ago is no answer, and is looked for again at once.
#[tokio::test]
async fn what_was_found_is_over_when_its_chain_is() {
    let (web, anchor) = web();
    let resolver = Resolver::new(Arc::clone(&web) as Arc<dyn Http>);
    let leaf: EntityId = id("leaf").parse().unwrap();
    web.vouch_as(("middle", "middle"), ("leaf", "leaf"), json!({"exp": NOW.0 + 3}));
    assert_eq!(resolver.resolve(&leaf, &anchor, &PLACES, NOW).await.unwrap().expires_at.0, NOW.0 + 3);
    web.vouch("middle", "leaf");
    let again = resolver.resolve(&leaf, &anchor, &PLACES, Timestamp(NOW.0 + 4)).await.unwrap();
    assert_eq!(again.expires_at.0, NOW.0 + 600);
}

/// Who finds no place learns nothing of anybody, and nothing is remembered of it.
#[tokio::test]
async fn no_place_to_find_out_is_no_answer() {
    let (web, anchor) = web();
    let mut resolver = Resolver::new(Arc::clone(&web) as Arc<dyn Http>);
    resolver.patience = Duration::from_millis(50);
    let leaf: EntityId = id("leaf").parse().unwrap();
    let none = Shares::new("test", 0, &[1]);
    let busy = resolver.resolve(&leaf, &anchor, &none, NOW).await.unwrap_err();
    assert!(busy.0.contains("too many") && web.calls.load(Ordering::SeqCst) == 0, "{busy}");
    assert!(resolver.resolve(&leaf, &anchor, &PLACES, NOW).await.is_ok());
    // What is known needs no place.
    assert!(resolver.resolve(&leaf, &anchor, &none, NOW).await.is_ok());
}

/// Section 17.2: nothing that an entity says sends us to a host that the federation does not have.
#[tokio::test]
async fn oidfed_17_ssrf_only_hosts_of_the_federation_are_called() {
    let (web, _) = web();
    let few = web.anchor(&["anchor", "leaf"]);
    assert!(refused(&web, &few).await.contains("names no superior"));
    assert_eq!(web.calls.load(Ordering::SeqCst), 2, "the anchor and the leaf");
    let none = web.anchor(&["anchor", "middle"]);
    assert!(refused(&web, &none).await.contains("no host of this federation"));
    // A superior that has its statements elsewhere.
    let elsewhere = json!({"federation_entity": {"federation_fetch_endpoint": "https://internal.example/fetch"}});
    web.own("middle", &["anchor"], json!({"metadata": elsewhere}));
    assert!(refused(&web, &web.anchor(&NAMES)).await.contains("no host of this federation"));
}

/// One address may hold anybody's words: an entity is who it says, by the very name under which it was asked for.
#[tokio::test]
async fn an_entity_has_one_name() {
    let (web, anchor) = web();
    let resolver = Resolver::new(Arc::clone(&web) as Arc<dyn Http>);
    let sound = |name: &str| -> EntityId { name.parse().unwrap() };
    assert!(resolver.resolve(&sound("https://leaf.example"), &anchor, &PLACES, NOW).await.is_ok());
    let refused = resolver.resolve(&sound("https://leaf.example/"), &anchor, &PLACES, NOW).await.unwrap_err();
    assert!(refused.0.contains("about somebody else"), "{refused}");
    // The configuration of one lies at another's address.
    let at = |name: &str| format!("{}/.well-known/openid-federation", id(name));
    let leaf = web.said.lock().unwrap()[&at("leaf")].clone();
    web.said.lock().unwrap().insert(at("other"), leaf);
    assert!(resolver.resolve(&sound("https://other.example"), &anchor, &PLACES, NOW).await.is_err());
    for name in [
        "https://leaf.example:443",
        "https://leaf.example:0443",
        "https://leaf.example:",
        "https://leaf.example:x",
        "https://leaf.example/./a",
        "https://leaf.example/.",
        "https://leaf.example//a",
        "https://leaf.example/a~b",
        "https://leaf.example/%61",
        "https://LEAF.example",
        "https://leaf.example?a",
        "https://u@leaf.example",
        "http://leaf.example",
    ] {
        assert!(name.parse::<EntityId>().is_err(), "{name}");
    }
}

/// Section 7.3: a mark counts when its issuer may issue it, by the anchor's word, and it is the entity's own.
#[tokio::test]
async fn oidfed_7_3_marks_count_by_the_anchors_word() {
    let (web, anchor) = web();
    let mark = |by: &str, signer: &str, of: &str, kind: &str, more: Value| {
        let mut claims =
            json!({"iss": id(by), "sub": id(of), "trust_mark_type": kind, "iat": NOW.0, "exp": NOW.0 + 60});
        merge(&mut claims, &more);
        json!({"trust_mark_type": kind, "trust_mark": web.sign(signer, TRUST_MARK_TYPE, &claims)})
    };
    let none = json!({});
    for (shown, counts) in [
        (mark("issuer", "issuer", "leaf", "urn:sound", none.clone()), true),
        (mark("anchor", "anchor", "leaf", "urn:own", none.clone()), true),
        (mark("issuer", "issuer", "leaf", "urn:own", none.clone()), false),
        (mark("issuer", "issuer", "leaf", "urn:unknown", none.clone()), false),
        (mark("issuer", "leaf", "leaf", "urn:sound", none.clone()), false),
        (mark("leaf", "leaf", "leaf", "urn:sound", none.clone()), false),
        (mark("issuer", "issuer", "other", "urn:sound", none.clone()), false),
        (mark("issuer", "issuer", "leaf", "urn:sound", json!({"exp": NOW.0 - 100})), false),
        (mark("issuer", "issuer", "leaf", "urn:sound", json!({"trust_mark_type": "urn:own"})), false),
        (json!({"trust_mark_type": "urn:sound", "trust_mark": "a.b.c"}), false),
    ] {
        web.own("leaf", &["middle"], json!({"trust_marks": [shown]}));
        let found = resolved(&web, &anchor).await.unwrap();
        let kind = shown["trust_mark_type"].as_str().unwrap().to_owned();
        assert_eq!(found.marks.iter().any(|mark| mark.kind == kind), counts, "{shown}");
        if counts {
            assert_eq!(found.expires_at.0, NOW.0 + 60, "no longer than its marks");
        }
    }
}
