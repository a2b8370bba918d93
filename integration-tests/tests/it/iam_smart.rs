//! Hong Kong's iAM Smart in its own protocol, against a simulator that shares no code with the adapter.

use std::time::Duration;

use integration_tests::rp::query;
use integration_tests::{Browser, Reply, World};
use sandbox::iam_smart::{Approval, Misbehaviour};
use url::Url;

const SERVICE: &str = "medical-appointment";

/// From the portal to the page after the provider.
async fn after_login(world: &World, browser: &mut Browser, person: &str) -> Reply {
    let authorize = world.rp().authorize(SERVICE, &[]);
    world.to_consent(browser, &authorize, "hk-iam-smart", person).await
}

/// From the portal to the page where the person waits; nobody approves.
async fn waiting(world: &World, browser: &mut Browser, person: &str) -> Reply {
    let authorize = world.rp().authorize(SERVICE, &[]);
    let address = world.to_provider(browser, &authorize, "hk-iam-smart").await;
    let callback = world.sign_in_at_provider(browser, &address, person).await;
    browser.follow_within(callback, world.issuer()).await
}

async fn callbacks(world: &World, count: usize) -> Vec<u16> {
    for _ in 0..100 {
        let statuses = world.iam_smart().callback_statuses();
        if statuses.len() >= count {
            return statuses;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no callback: {:?}", world.iam_smart().callback_statuses())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_login_with_data_that_comes_later() {
    let world = World::own(&[]).await;
    let rp = world.rp();
    let mut browser = world.browser();
    let back = world.sign_in(&mut browser, &rp.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
    let tokens = rp.redeem(&query(&back, "code").expect("a code")).await.json();
    let claims = rp.userinfo(tokens["access_token"].as_str().unwrap()).await.json();
    assert_eq!(claims["name"], "CHAN, Tai Man");
    let counters = world.iam_smart().counters();
    assert_eq!((counters.get_key, counters.token, counters.profile), (1, 1, 1));
    assert_eq!((counters.stale_timestamps, counters.bad_signatures), (0, 0));
    assert_eq!(callbacks(&world, 1).await, [200]);
}
