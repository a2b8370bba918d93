//! Coming back from a provider: in the right browser, to the right path, once.

use integration_tests::World;
use integration_tests::rp::query;

/// CVE-2026-41425, CVE-2023-... : a callback found in a store but not tied to this browser.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_41425_a_callback_in_another_browser_is_refused() {
    let world = World::start().await;
    let (rp, mut attacker, mut victim) = (world.rp(), world.browser(), world.browser());
    let address = world.to_provider(&mut attacker, &rp.authorize("e-invoice", &[]), "hk-iam-smart").await;
    let callback = world.sign_in_at_provider(&mut attacker, &address, "hk-chan").await;
    let reply = victim.get(&callback).await;
    assert_eq!(reply.failure(), Some("CB-202"), "{}", reply.body);
    // The same in a browser that has a sign-in of its own under way.
    world.to_provider(&mut victim, &rp.authorize("e-invoice", &[]), "hk-iam-smart").await;
    assert_eq!(victim.get(&callback).await.failure(), Some("CB-202"));
    // And nothing was lost for the one it belongs to.
    let page = attacker.follow_within(callback, world.issuer()).await;
    assert!(page.url.path().ends_with("/consent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_on_another_providers_path_is_refused_and_the_sign_in_goes_on() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let address = world.to_provider(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart").await;
    let callback = world.sign_in_at_provider(&mut browser, &address, "hk-chan").await;
    let wrong = callback.as_str().replace("/callback/hk-iam-smart", "/callback/mo-one-account");
    assert_eq!(browser.get(&wrong).await.failure(), Some("CB-204"));
    assert_eq!(world.provider("mo-one-account").counters().token, 0, "the code went to nobody");
    assert!(browser.follow_within(callback, world.issuer()).await.url.path().ends_with("/consent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_looked_at_once() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let address = world.to_provider(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart").await;
    let callback = world.sign_in_at_provider(&mut browser, &address, "hk-chan").await;
    let mut copy = browser.clone();
    assert!(browser.follow_within(&callback, world.issuer()).await.url.path().ends_with("/consent"));
    // Reloaded: the same page again, without a second look at the answer.
    assert!(browser.follow_within(&callback, world.issuer()).await.url.path().ends_with("/consent"));
    // With the cookie as it was before: refused.
    assert_eq!(copy.get(&callback).await.failure(), Some("CB-203"));
    assert_eq!(world.provider("hk-iam-smart").counters().token, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc9207_forged_missing_and_repeated_callback_parameters() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let address = world.to_provider(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart").await;
    let callback = world.sign_in_at_provider(&mut browser, &address, "hk-chan").await;
    let (state, code) = (query(&callback, "state").unwrap(), query(&callback, "code").unwrap());
    let base = format!("{}/callback/hk-iam-smart", world.issuer());
    let forged = format!("{}{}", &state[..state.len() - 1], if state.ends_with('A') { 'B' } else { 'A' });
    for attack in [
        String::new(),
        format!("code={code}"),
        format!("code={code}&state="),
        format!("code={code}&state=%00"),
        format!("code={code}&state={forged}"),
        format!("code={code}&state={}", &state[..22]),
        format!("code={code}&state={state}&state={state}"),
        format!("code={code}&state={}", "x".repeat(9_000)),
        format!("code={code}&state={state}%ff"),
    ] {
        let reply = browser.get(format!("{base}?{attack}")).await;
        assert!(reply.failure().is_some(), "{attack}: {} {}", reply.status, reply.body);
        assert!(!reply.body.contains(&code) && !reply.body.contains(&state), "nothing is reflected");
    }
    assert_eq!(world.provider("hk-iam-smart").counters().token, 0);
    assert!(browser.follow_within(callback, world.issuer()).await.url.path().ends_with("/consent"), "nothing was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_at_the_provider_is_never_an_outage() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "").await;
    assert_eq!(page.failure(), Some("CB-205"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_tabs_do_not_disturb_each_other_and_the_eleventh_does_not_break_the_browser() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let mut tabs = Vec::new();
    for _ in 0..10 {
        tabs.push(world.to_provider(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart").await);
    }
    let size: usize = browser.cookies.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
    assert!(size < 15 * 1024, "{size} bytes of cookies");
    for tab in tabs.into_iter().rev() {
        let callback = world.sign_in_at_provider(&mut browser, &tab, "hk-chan").await;
        let page = browser.get(&callback).await;
        assert!(page.status.is_redirection(), "{} {}", page.status, page.body);
    }
    for _ in 0..30 {
        let reply = browser.get(rp.authorize("e-invoice", &[("state", &"s".repeat(512))])).await;
        assert_eq!(reply.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_took_too_long_says_so() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    world.clock.advance(601);
    assert_eq!(browser.get(&page.url).await.failure(), Some("CB-201"));
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_posted_twice_is_one_release_with_one_code() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let mut second = browser.clone();
    let first = world.agree(&mut browser, &page, &[]).await;
    let again = world.agree(&mut second, &page, &[]).await;
    assert_eq!(query(&first, "code"), query(&again, "code"));
    assert!(rp.redeem(&query(&first, "code").unwrap()).await.status.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_needs_our_own_page_and_the_question_that_was_shown() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let question = page.field("question").unwrap();
    let body = format!("question={question}&decision=allow&export=yes");
    for header in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("origin", "null")] {
        let reply = browser.send(http::Method::POST, page.url.as_str(), Some(body.clone()), &[header]).await;
        assert_eq!(reply.failure(), Some("CB-204"), "{header:?}");
    }
    let stale =
        browser.post(&page.url, &[("question", "another"), ("decision", "allow"), ("export", "yes")]).await.target();
    assert!(stale.path().ends_with("/consent"), "another question is put again, not answered: {stale}");
    let no_answer = browser.post(&page.url, &[("question", &question)]).await;
    assert_eq!(no_answer.failure(), Some("CB-204"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_releases_nothing_and_is_told() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let back = browser.post(&page.url, &[("decision", "refuse")]).await.target();
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert!(query(&back, "code").is_none());
    let reply = browser.get(rp.authorize("e-invoice", &[("prompt", "none")])).await;
    assert_eq!(query(&reply.target(), "error").as_deref(), Some("login_required"), "no half session");
}
