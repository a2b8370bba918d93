//! Providers that misbehave, each in one way: refused, explained, nothing minted.

use std::time::Duration;

use integration_tests::World;
use sandbox::provider::Misbehaviour;

async fn outcome(world: &World, misbehaviour: Misbehaviour) -> (Option<String>, String) {
    world.provider("hk-iam-smart").set(misbehaviour);
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    world.provider("hk-iam-smart").set(Misbehaviour::None);
    (page.failure().map(str::to_owned), page.body)
}

/// Rows of the attack list: CVE-2026-55669 (audience), GHSA-wxg7-w2v3-w38g (times), CVE-2026-28802 (none),
/// CVE-2022-29217 (HMAC with the public key), CVE-2025-59420 (crit), CVE-2026-82968 (subjects), CVE-2026-25537 (types),
/// RFC 9207 (mix-up), CVE-2025-64103 (assurance).
#[tokio::test(flavor = "multi_thread")]
async fn ghsa_wxg7_w2v3_w38g_every_forged_stale_foreign_or_truncated_answer_is_refused() {
    use Misbehaviour as M;
    let world = World::start().await;
    for (misbehaviour, code) in [
        (M::WrongNonce, "CB-302"),
        (M::WrongIssuer, "CB-302"),
        (M::WrongAudience, "CB-302"),
        (M::Expired, "CB-302"),
        (M::IssuedInFuture, "CB-302"),
        (M::AlgNone, "CB-302"),
        (M::WrongKey, "CB-302"),
        (M::UnknownKid, "CB-302"),
        (M::MissingSub, "CB-302"),
        (M::NullSub, "CB-302"),
        (M::NumericSub, "CB-302"),
        (M::WhitespaceSub, "CB-302"),
        (M::UserinfoOtherSub, "CB-302"),
        (M::TruncatedIdToken, "CB-302"),
        (M::Hs256WithPublicKey, "CB-302"),
        (M::CritHeader, "CB-302"),
        (M::StringTimes, "CB-302"),
        (M::GarbageToken(b"\xff\x00{".to_vec()), "CB-302"),
        (M::HtmlWith200, "CB-302"),
        (M::OmitIssParameter, "CB-302"),
        (M::WrongIssParameter, "CB-302"),
        (M::WeakAcr("iamsmart:invented".into()), "CB-402"),
        (M::NoAcr, "CB-402"),
        (M::HugeBody(1 << 20), "CB-301"),
        (M::TokenStatus(500), "CB-301"),
        (M::TokenStatus(429), "CB-301"),
        (M::TokenStatus(400), "CB-303"),
        (M::DuplicateState, "CB-302"),
        (M::WrongState, "CB-302"),
    ] {
        let (failure, body) = outcome(&world, misbehaviour.clone()).await;
        assert_eq!(failure.as_deref(), Some(code), "{misbehaviour:?}: {body}");
        for internal in ["iss", "openidconnect", "serde", "localhost:"] {
            let text = body.split("<main").nth(1).unwrap();
            assert!(internal == "iss" || !text.contains(internal), "{misbehaviour:?} shows {internal}");
        }
    }
    assert_eq!(outcome(&world, Misbehaviour::None).await.0, None, "and an honest answer still serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn f2_a_provider_that_hangs_is_given_up_within_the_deadline() {
    let world = World::start().await;
    let started = std::time::Instant::now();
    assert_eq!(outcome(&world, Misbehaviour::HangToken).await.0.as_deref(), Some("CB-301"));
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(outcome(&world, Misbehaviour::SlowToken(Duration::from_millis(300))).await.0, None);
}

/// F7: a key that changed in mid-login is fetched, once.
#[tokio::test(flavor = "multi_thread")]
async fn f7_a_rotated_key_is_fetched_once() {
    let world = World::start().await;
    assert_eq!(outcome(&world, Misbehaviour::None).await.0, None);
    let before = world.provider("hk-iam-smart").counters().jwks;
    world.clock.advance(60);
    world.provider("hk-iam-smart").rotate_key().unwrap();
    assert_eq!(outcome(&world, Misbehaviour::None).await.0, None);
    assert_eq!(outcome(&world, Misbehaviour::None).await.0, None);
    assert_eq!(world.provider("hk-iam-smart").counters().jwks - before, 1);
}

/// F9: keys at hand serve while the provider's key set is down.
#[tokio::test(flavor = "multi_thread")]
async fn f9_a_key_set_that_is_down_does_not_stop_logins() {
    let world = World::start().await;
    assert_eq!(outcome(&world, Misbehaviour::None).await.0, None);
    assert_eq!(outcome(&world, Misbehaviour::JwksDown).await.0, None);
}
