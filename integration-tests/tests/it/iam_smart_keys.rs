//! The content key and the time stamps: one key for everybody, renewed when it has to be, and stamps that never fall.

use std::time::Duration;

use base64::Engine as _;
use integration_tests::World;
use josekit::jwk::alg::rsa::RsaKeyPair;
use sandbox::demo::{Trust, Wire};
use sandbox::iam_smart::Misbehaviour;

use crate::iam_smart::{PROVIDER, SERVICE, after_login, callbacks, completes, waiting};
use crate::outcome::{login, refused};

async fn chan(world: &World) {
    let (_, told) = login(world, SERVICE, PROVIDER, &[("person", "hk-chan")]).await;
    assert_eq!(told["name"], "CHAN, Tai Man");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_logins_at_once_fetch_one_key_and_lose_no_delivery() {
    let world = std::sync::Arc::new(World::own(&[]).await);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move {
                let page = after_login(&world, &mut world.browser(), "hk-chan").await;
                assert!(page.url.path().ends_with("/consent"), "{} {}", page.url, page.body);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let counters = world.iam_smart().counters();
    assert_eq!((counters.get_key, counters.token, counters.profile), (1, 20, 20));
    assert_eq!((counters.stale_timestamps, counters.bad_signatures, counters.revoke_key), (0, 0, 0));
    assert_eq!(callbacks(&world, 20).await, [200; 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_revoked_is_renewed_once_and_the_login_goes_on() {
    let world = World::own(&[]).await;
    chan(&world).await;
    world.iam_smart().revoke_cek();
    chan(&world).await;
    chan(&world).await;
    let counters = world.iam_smart().counters();
    assert_eq!((counters.get_key, counters.revoke_key), (2, 0));
    // Twenty that find it revoked at once fetch one as well.
    world.iam_smart().revoke_cek();
    let ten = async || {
        chan(&world).await;
    };
    tokio::join!(ten(), ten(), ten(), ten(), ten(), ten(), ten(), ten());
    assert_eq!(world.iam_smart().counters().get_key, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_code_about_keys_is_healed_once() {
    let world = World::own(&[]).await;
    chan(&world).await;
    for code in ["D30001", "D30002", "D30003", "D30004"] {
        world.iam_smart().set(Misbehaviour::CodeOnce(code.to_owned()));
        chan(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_of_a_key_and_both_forms_of_its_end() {
    for misbehaviour in [Misbehaviour::CekAsText, Misbehaviour::AbsoluteExpiry] {
        let world = World::own(&[]).await;
        world.iam_smart().set(misbehaviour.clone());
        chan(&world).await;
        chan(&world).await;
        assert_eq!(world.iam_smart().counters().get_key, 1, "{misbehaviour:?}");
        world.clock.advance(3_550);
        world.iam_smart().revoke_cek();
        chan(&world).await;
        assert!(world.iam_smart().counters().get_key > 1, "{misbehaviour:?}: renewed before its end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_ends_soon_serves_and_is_fetched_again_when_it_ended() {
    let world = World::own(&[]).await;
    world.iam_smart().set(Misbehaviour::ShortCek(Duration::from_secs(2)));
    chan(&world).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    chan(&world).await;
    world.iam_smart().set(Misbehaviour::None);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    chan(&world).await;
    let before = world.iam_smart().counters().get_key;
    chan(&world).await;
    assert_eq!(world.iam_smart().counters().get_key, before, "a key that lives is kept again");
}

/// The person takes their time, and the key that the request went under ends meanwhile: the result comes under a new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_ends_while_the_person_thinks_loses_no_approval() {
    let world = World::own(&[]).await;
    world.iam_smart().set(Misbehaviour::ShortCek(Duration::from_secs(1)));
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    world.iam_smart().set(Misbehaviour::None);
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    assert_eq!(completes(&world, &mut browser, &page).await["name"], "CHAN, Tai Man");
}

/// The same when the provider drops its key before its time, as after an incident.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_provider_dropped_while_the_person_thinks_loses_no_approval() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    world.iam_smart().revoke_cek();
    chan_by_approval(&world, &business).await;
    assert_eq!(completes(&world, &mut browser, &page).await["name"], "CHAN, Tai Man");
}

/// Sends the result twice, as a provider that got no 200 the first time would.
async fn chan_by_approval(world: &World, business: &str) {
    let first = world.iam_smart().deliver(business, true).await;
    if first != 200 {
        assert_eq!(world.iam_smart().deliver(business, true).await, 200);
    }
}

/// Another login renewed the key meanwhile; results under the old one are still on their way.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_by_another_login_loses_no_approval() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-wong").await;
    world.iam_smart().approval(sandbox::iam_smart::Approval::AtOnce);
    world.iam_smart().revoke_cek();
    chan(&world).await;
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    assert_eq!(completes(&world, &mut browser, &page).await["name"], "WONG, Siu Ling Mary");
}

/// The gateway got a new key-encryption key while a content key lives under the old one: that one is revoked.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_key_under_a_foreign_key_encryption_key_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(&folder.path().join("data"), &[], Wire::Own, Trust::Folder).await;
    chan(&world).await;
    let other = RsaKeyPair::generate(2048).unwrap().to_pem_private_key();
    std::fs::write(world.data.join(format!("bundle/providers/{PROVIDER}.kek")), other).unwrap();
    let world = world.restarted().await;
    let mut browser = world.browser();
    // The simulator still seals for the old one, so this cannot succeed; it must try once, say so, and end.
    let page = after_login(&world, &mut browser, "hk-chan").await;
    refused(&world, &mut browser, &page, "CB-302").await;
    let counters = world.iam_smart().counters();
    assert_eq!((counters.get_key, counters.revoke_key), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_time_stamp_is_healed_once_and_a_bad_signature_is_ours() {
    let world = World::own(&[]).await;
    world.iam_smart().set(Misbehaviour::StaleOnce);
    chan(&world).await;
    world.iam_smart().set(Misbehaviour::StaleOnce);
    chan(&world).await;
    let mut browser = world.browser();
    world.iam_smart().set(Misbehaviour::Code("D20006".to_owned()));
    let page = after_login(&world, &mut browser, "hk-chan").await;
    refused(&world, &mut browser, &page, "CB-303").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stamps_rise_through_windows_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(&folder.path().join("data"), &[], Wire::Own, Trust::Folder).await;
    for seconds in [0, 29, 1, 31, 1_800] {
        world.clock.advance(seconds);
        chan(&world).await;
        world = world.restarted().await;
    }
    let counters = world.iam_smart().counters();
    assert_eq!((counters.stale_timestamps, counters.token), (0, 5));
}

/// The content key is at rest only sealed.
#[tokio::test(flavor = "multi_thread")]
async fn neither_key_nor_open_request_is_legible_at_rest() {
    let world = World::own(&[]).await;
    let (_, business) = waiting(&world, &mut world.browser(), "hk-chan").await;
    let state = world.iam_smart().last_profile_state().unwrap();
    let request = world.iam_smart().last_profile_request().unwrap();
    let token = request["accessToken"].as_str().unwrap().to_owned();
    let mut at_rest = Vec::new();
    crate::secrecy::files(&world.data.join("store"), &mut at_rest);
    let open_id = request["openID"].as_str().unwrap().to_owned();
    let encoded = base64::engine::general_purpose::STANDARD.encode(&business);
    for canary in [business, state, token, open_id, encoded] {
        assert!(!crate::secrecy::holds(&at_rest, &canary), "{canary} is at rest");
    }
}
