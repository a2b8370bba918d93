//! The demonstration's own terminal and counter: people answer on their phones, and the portals show what came.

use std::time::Duration;

use integration_tests::Browser;
use integration_tests::browser::Reply;
use integration_tests::peers::{chromium, screenshots};
use integration_tests::world::World;
use serde_json::{Value, json};

fn portal(world: &World, id: &str) -> String {
    world.demo.portals.iter().find(|portal| portal.client_id == id).unwrap().url.clone()
}

/// The address of the page that waits, after a portal asked.
async fn ask(desk: &mut Browser, portal: &str, form: &[(&str, &str)]) -> String {
    let asked = desk.post(format!("{portal}/elsewhere"), form).await;
    assert_eq!(asked.status, 303, "{}", asked.body);
    asked.target().into()
}

/// The page until it says something else than that it waits.
async fn outcome(desk: &mut Browser, address: &str) -> Reply {
    for _ in 0..30 {
        let page = desk.get(address).await;
        if !page.headers.contains_key("refresh") {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("nobody answered")
}

fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("no {before}: {page}"));
    rest.split(after).next().unwrap()
}

/// From where a person began on the phone to the page that says that it is done.
async fn agree(world: &World, phone: &mut Browser, begun: &Reply) {
    let page = world.past_waiting(phone, begun.target()).await;
    let done = world.agree_here(phone, &page).await;
    assert_eq!((done.status.as_u16(), done.location()), (200, None), "{}", done.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstrations_kiosk_signs_people_in_on_their_phones() {
    let world = World::start().await;
    let kiosk = portal(&world, "gd-yuezhizhu");
    let (mut desk, mut phone) = (world.browser(), world.browser());
    let address = ask(&mut desk, &kiosk, &[("service", "0")]).await;
    let page = desk.get(&address).await;
    assert!(page.body.contains("<svg role=\"img\""), "{}", page.body);
    let (code, digits) = (between(&page.body, "<p><a href=\"", "\""), between(&page.body, "role=\"status\">", "<"));
    let shown = phone.get(code.replace("&amp;", "&")).await;
    assert!(shown.body.contains(digits), "the same digits: {}", shown.body);
    let user_code = shown.field("user_code").unwrap();
    let device = format!("{}/device", world.issuer());
    let chooser = phone.post(device, &[("user_code", &user_code), ("decision", "yes")]).await;
    let login = between(&chooser.body, "/login/", "?").to_owned();
    let there = phone.get(format!("{}/login/{login}/to/hk-iam-smart", world.issuer())).await.target();
    let callback = world.sign_in_at_provider(&mut phone, &there, "hk-chan").await;
    let page = world.past_waiting(&mut phone, callback).await;
    let done = world.agree_here(&mut phone, &page).await;
    assert_eq!((done.status.as_u16(), done.location()), (200, None), "{}", done.body);
    let page = outcome(&mut desk, &address).await;
    assert!(page.status == 200 && page.body.contains("登录成功"), "{}", page.body);
    assert_eq!(desk.get(&address).await.status, 502, "once");
    // Other portals have no terminals.
    let other = portal(&world, "gd-government-service-network");
    let refused = desk.post(format!("{other}/elsewhere"), &[("service", "0")]).await;
    assert_eq!(refused.status, 502, "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstrations_verification_point_asks_people_where_they_are() {
    let world = World::start().await;
    let counter = portal(&world, "gd-verification-point");
    let (mut desk, mut phone) = (world.browser(), world.browser());
    // A counter leaves no session behind: the phone has its own, from a portal that is nobody's counter.
    let own = portal(&world, "gd-government-service-network");
    let begun = phone.get(format!("{own}/login?service=0")).await.target();
    world.sign_in(&mut phone, begun.as_str(), "hk-iam-smart", "hk-chan").await;
    let requests = format!("{}/requests", world.issuer());
    let page = phone.post(&requests, &[("decision", "code")]).await;
    let code = between(&page.body, "role=\"status\">", "<").to_owned();
    let address = ask(&mut desk, &counter, &[("service", "0"), ("code", &code)]).await;
    let waiting = desk.get(&address).await;
    let digits = between(&waiting.body, "role=\"status\">", "<").to_owned();
    let asked = phone.get(&requests).await;
    assert!(asked.body.contains(&digits), "the same digits: {}", asked.body);
    let question = asked.field("question").unwrap();
    let begun = phone.post(&requests, &[("question", &question), ("decision", "open")]).await;
    agree(&world, &mut phone, &begun).await;
    let page = outcome(&mut desk, &address).await;
    assert!(page.status == 200 && page.body.contains("登录成功"), "{}", page.body);
    // It is told yes or no, and neither who that was nor any number of theirs.
    assert!(page.body.contains("<code>over_18</code></th><td>true"), "{}", page.body);
    for never in ["CHAN", "hkid", "birthdate"] {
        assert!(!page.body.contains(never), "{never}: {}", page.body);
    }
    // A code that nobody shows.
    let wrong = desk.post(format!("{counter}/elsewhere"), &[("service", "0"), ("code", "BBBB-BBBB")]).await;
    assert!(wrong.status == 502 && wrong.body.contains("unknown_user_id"), "{}", wrong.body);
}

/// What people see of it, on the machine's own screen.
#[tokio::test(flavor = "multi_thread")]
async fn the_demonstrations_kiosk_in_a_real_browser() {
    let world = World::start().await;
    let kiosk = portal(&world, "gd-yuezhizhu");
    let look = |name: &str| vec![json!({"screenshot": name}), json!({"noHorizontalScroll": true})];
    let steps: [Vec<Value>; 4] = [
        vec![json!({"goto": kiosk})],
        look("kiosk"),
        vec![json!({"click": "form[action='/elsewhere'] button"}), json!({"expectText": {"text": "请在手机上确认"}})],
        look("kiosk-waiting"),
    ];
    let runs = [(1100, 900), (390, 844)].map(|(width, height)| {
        let viewport = json!({"width": width, "height": height});
        json!({"javascript": false, "locale": "zh-CN", "viewport": viewport, "steps": steps.concat()})
    });
    chromium(&json!({"ca": world.demo.ca, "out": screenshots("kiosk"), "timeout": 20_000, "runs": runs})).await;
}
