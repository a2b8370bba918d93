//! The page where a person waits for their own approval: without a script, through a restart, given up, too late, and in
//! several tabs.

use std::time::Duration;

use http::Method;
use integration_tests::rp::query;
use integration_tests::{Browser, World};
use sandbox::demo::{Trust, Wire};
use sandbox::iam_smart::{Approval, Misbehaviour};

use crate::iam_smart::{PROVIDER, SERVICE, completes, waiting};
use crate::outcome::{give_up, nobody_is_signed_in, refused, service_of};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_without_a_script_shows_progress_and_can_be_left() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    for needle in ["<noscript><meta http-equiv=\"refresh\"", "<progress", "/cancel\"", "role=\"status\"", "18"] {
        assert!(page.body.contains(needle), "{needle}: {}", page.body);
    }
    for secret in [business.as_str(), &world.iam_smart().last_profile_state().unwrap()] {
        assert!(!page.body.contains(secret));
    }
    for _ in 0..3 {
        let again = browser.get(&page.url).await;
        assert_eq!((again.status.as_u16(), again.location()), (200, None));
    }
    // Whoever asks for the next page too early is sent back to wait, and has lost nothing.
    let early = browser.get(page.url.as_str().replace("/wait", "/continue")).await;
    assert_eq!(early.target(), page.url);
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    let ready = browser.get(&page.url).await;
    assert_eq!(ready.status, 303);
    assert!(ready.target().path().ends_with("/continue"));
    assert_eq!(completes(&world, &mut browser, &page).await["name"], "CHAN, Tai Man");
    assert_eq!(world.iam_smart().counters().profile, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_closes_the_request_and_a_later_delivery_is_refused() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    let cancel = page.url.as_str().replace("/wait", "/cancel");
    for header in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let reply = browser.send(Method::POST, &cancel, Some(String::new()), &[header]).await;
        assert_eq!(reply.failure(), Some("CB-204"), "{header:?}");
    }
    let mut copy = browser.clone();
    let back = give_up(&world, &mut browser, &page).await;
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(world.iam_smart().deliver(&business, true).await, 403);
    nobody_is_signed_in(&world, &mut browser).await;
    // Nor does the cookie as it was before bring anything back.
    let later = copy.follow_within(page.url.as_str().replace("/wait", "/continue"), world.issuer()).await;
    assert_eq!(later.failure(), Some("CB-203"), "{}", later.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn choosing_another_way_closes_the_request_as_well() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    let chooser = page.url.as_str().trim_end_matches("/wait").to_owned();
    let address = browser.get(format!("{chooser}/to/mo-one-account")).await.target();
    assert_eq!(world.iam_smart().deliver(&business, true).await, 403);
    let callback = world.sign_in_at_provider(&mut browser, &address, "mo-vong").await;
    let page = browser.follow_within(callback, world.issuer()).await;
    assert!(page.url.path().ends_with("/consent"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_eighteen_minutes_nobody_waits_any_longer() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    world.clock.advance(18 * 60 - 5);
    assert_eq!(browser.get(&page.url).await.failure(), None);
    world.clock.advance(6);
    assert_eq!(world.iam_smart().deliver(&business, true).await, 403);
    let late = browser.get(&page.url).await;
    refused(&world, &mut browser, &late, "CB-207").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_in_time_counts_although_the_person_comes_back_later() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    world.clock.advance(17 * 60);
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    world.clock.advance(3 * 60);
    assert_eq!(completes(&world, &mut browser, &page).await["name"], "CHAN, Tai Man");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_waits_survives_a_restart_of_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(&folder.path().join("data"), &[], Wire::Own, Trust::Folder).await;
    let (mut first, mut second) = (world.browser(), world.browser());
    let (before, one) = waiting(&world, &mut first, "hk-chan").await;
    let (after, two) = waiting(&world, &mut second, "hk-leung").await;
    assert_eq!(world.iam_smart().deliver(&one, true).await, 200, "this one arrives before the restart");
    let world = world.restarted().await;
    assert_eq!(second.get(&after.url).await.status, 200);
    assert_eq!(world.iam_smart().deliver(&two, true).await, 200, "and this one after it");
    assert_eq!(completes(&world, &mut first, &before).await["name"], "CHAN, Tai Man");
    assert_eq!(completes(&world, &mut second, &after).await["name_zh"], "梁詠𤧬");
    assert_eq!(world.iam_smart().counters().get_key, 1, "the key survives as well");
    assert_eq!(world.iam_smart().counters().stale_timestamps, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browser_can_neither_look_nor_go_on_nor_cancel() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    let state = world.iam_smart().last_profile_state().unwrap();
    let mut stranger = world.browser();
    for path in ["/wait", "/continue", "/consent", ""] {
        let reply = stranger.get(page.url.as_str().replace("/wait", path)).await;
        assert_eq!(reply.failure(), Some("CB-202"), "{path}");
    }
    let cancel = stranger.post(page.url.as_str().replace("/wait", "/cancel"), &[]).await;
    assert_eq!(cancel.failure(), Some("CB-202"));
    let callback = format!("{}/callback/{PROVIDER}?state={state}", world.issuer());
    assert_eq!(stranger.get(&callback).await.failure(), Some("CB-202"));
    // A stranger's own sign-in does not open this one either.
    let (theirs, _) = waiting(&world, &mut stranger, "hk-wong").await;
    let mut thief = Browser { cookies: stranger.cookies.clone(), ..world.browser() };
    let (own, value) = thief.cookies.pop_first().unwrap();
    let id = page.url.path().split('/').nth(2).unwrap();
    let their = theirs.url.path().split('/').nth(2).unwrap();
    thief.cookies.insert(own.replace(their, id), value);
    assert_eq!(thief.get(&page.url).await.failure(), Some("CB-202"));
    assert_eq!(completes(&world, &mut browser, &page).await["name"], "CHAN, Tai Man");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_cannot_bring_the_browser_back_with_another_state_or_by_another_provider() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    let state = world.iam_smart().last_profile_state().unwrap();
    let other = format!("{}{}", &state[..state.len() - 1], if state.ends_with('A') { 'B' } else { 'A' });
    for (path, status) in [
        (format!("{PROVIDER}?state={other}"), 403),
        (format!("mo-one-account?state={state}"), 403),
        (format!("gd-unified?state={state}&code=x"), 403),
        (format!("{PROVIDER}?state={state}&state={state}"), 400),
    ] {
        let reply = browser.get(format!("{}/callback/{path}", world.issuer())).await;
        assert_eq!(reply.status.as_u16(), status, "{path}");
    }
    // A code that somebody adds is not looked at: there is a login already.
    let back = browser.get(format!("{}/callback/{PROVIDER}?state={state}&code=foreign", world.issuer())).await;
    assert_eq!(back.target(), page.url);
    assert_eq!(world.iam_smart().counters().token, 1);
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    assert_eq!(completes(&world, &mut browser, &page).await["name"], "CHAN, Tai Man");
}

/// Two tabs of one sign-in go on at the same moment; the one that comes second must not take it from the first.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_tab_of_one_sign_in_does_not_spoil_the_first() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    let go_on = page.url.as_str().replace("/wait", "/continue");
    let mut tab = browser.clone();
    let consent = browser.follow_within(&go_on, world.issuer()).await;
    assert!(consent.url.path().ends_with("/consent"));
    // The tab's request left with the cookie of before; the browser has one jar for both.
    let late = tab.get(&go_on).await;
    assert!(!late.status.is_server_error());
    for line in late.headers.get_all("set-cookie") {
        let (name, value) = line.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
        browser.cookies.insert(name.to_owned(), value.to_owned());
    }
    let back = world.agree(&mut browser, &consent, &[]).await;
    assert!(query(&back, "code").is_some(), "{back}");
}

/// The answer that led on was lost on the way to the browser (a phone changes networks): the page must not wait for a
/// delivery that was taken long ago.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_closed_is_not_waited_for() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    let lost = browser.clone().get(page.url.as_str().replace("/wait", "/continue")).await;
    assert_eq!(lost.status, 303);
    let page = browser.get(&page.url).await;
    assert_eq!(page.failure(), Some("CB-203"), "{} {}", page.status, page.body);
}

/// Two requests to the person in one sign-in, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_wait_of_a_sign_in_has_its_own_time_and_name() {
    let strong = service_of("strong", &[PROVIDER], (2, 3), &[("name", "claims.name")]);
    let world = World::own(&[("services/strong.toml", &strong)]).await;
    world.iam_smart().approval(Approval::Manual);
    let (rp, mut browser) = (world.rp(), world.browser());
    let address = world.to_provider(&mut browser, &rp.authorize("strong", &[]), PROVIDER).await;
    let callback = world.sign_in_at_provider(&mut browser, &address, "hk-chan").await;
    let wait = browser.follow_within(callback, world.issuer()).await;
    let step_up = world.iam_smart().last_business_id().unwrap();
    let old = browser.clone();
    world.clock.advance(17 * 60);
    assert_eq!(world.iam_smart().deliver(&step_up, true).await, 200);
    let wait = browser.follow_within(&wait.url, world.issuer()).await;
    assert!(wait.url.path().ends_with("/wait"), "{}", wait.body);
    let profile = world.iam_smart().last_business_id().unwrap();
    assert_ne!(step_up, profile);
    assert_eq!(world.iam_smart().deliver(&step_up, true).await, 403, "the first request is closed");
    // The cookie of the first wait cannot be used again.
    let replayed = old.clone().follow_within(wait.url.as_str().replace("/wait", "/continue"), world.issuer()).await;
    assert_eq!(replayed.failure(), Some("CB-203"));
    world.clock.advance(17 * 60);
    assert_eq!(world.iam_smart().deliver(&profile, true).await, 200);
    assert_eq!(completes(&world, &mut browser, &wait).await["name"], "CHAN, Tai Man");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_tabs_that_wait_do_not_disturb_each_other_nor_outgrow_the_header() {
    let world = World::own(&[]).await;
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1".to_owned();
    let mut browser = Browser { headers: vec![("user-agent", phone)], ..world.browser() };
    let mut tabs = Vec::new();
    for _ in 0..8 {
        tabs.push(waiting(&world, &mut browser, "hk-chan").await);
    }
    let size: usize = browser.cookies.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
    let largest = browser.cookies.iter().map(|(name, value)| name.len() + value.len()).max().unwrap();
    assert!(size < 15 * 1024 && largest < 4096, "{size} bytes of cookies, {largest} in one");
    for (page, business) in tabs.into_iter().rev() {
        assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
        let next = world.past_waiting(&mut browser, &page.url).await;
        assert!(next.failure().is_none(), "{}", next.body);
    }
}

/// A result may be here before the answer to the request that it is about.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_overtakes_the_answer_to_its_request_is_not_lost() {
    let world = World::own(&[]).await;
    world.iam_smart().set(Misbehaviour::ResultFirst);
    let (rp, mut browser) = (world.rp(), world.browser());
    let address = world.to_provider(&mut browser, &rp.authorize(SERVICE, &[]), PROVIDER).await;
    let callback = world.sign_in_at_provider(&mut browser, &address, "hk-chan").await;
    let arrived = browser.follow_within(callback, world.issuer()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.iam_smart().callback_statuses(), [200]);
    assert_eq!(completes(&world, &mut browser, &arrived).await["name"], "CHAN, Tai Man");
}

/// A browser that fetches links in advance takes no step for the person.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_fetches_in_advance_takes_no_step() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    let ahead = [("sec-purpose", "prefetch;prerender")];
    for path in ["", "/to/hk-iam-smart", "/continue"] {
        let url = page.url.as_str().replace("/wait", path);
        assert_eq!(browser.send(Method::GET, &url, None, &ahead).await.status, 503, "{path}");
    }
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200, "the request is still open");
    assert_eq!(completes(&world, &mut browser, &page).await["name"], "CHAN, Tai Man");
}
