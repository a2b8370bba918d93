//! What people are asked: to agree, to take note, or nothing; the border by itself; and how an answer is taken back.

use integration_tests::rp::query;
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Reply, World};

/// Signs in up to the page after the provider at a service that ships.
async fn page(world: &World, service: &str, person: &str) -> Reply {
    world.to_consent(&mut world.browser(), &world.rp().authorize(service, &[]), "hk-iam-smart", person).await
}

/// A service that only tells, by a law that it cites.
fn notice() -> String {
    service_document("notice", &["gd-bay-area-services"], &["hk-iam-smart"], "consent = \"notice\"")
        .replace("ground = \"consent\"", "ground = \"lodging-law\"")
        .replace("optional = true\n", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn people_agree_take_note_or_are_not_asked_as_the_service_says() {
    let world = World::with(&[("services/notice.toml", &notice())]).await;
    let asked = page(&world, "e-invoice", "hk-chan").await;
    assert!(asked.body.contains("您同意提供") || asked.body.contains("consent"), "{}", asked.body);
    let rp = world.rp();
    let english = rp.authorize("notice", &[("ui_locales", "en")]);
    let mut browser = world.browser();
    let told = world.to_consent(&mut browser, &english, "hk-iam-smart", "hk-chan").await;
    assert!(told.body.contains("passed on as the law provides"), "{}", told.body);
    assert!(told.body.contains("旅馆业治安管理办法"), "the law is cited: {}", told.body);
    assert!(query(&world.agree(&mut browser, &told, &[]).await, "code").is_some());
    // Nothing about the person goes out: straight back to the portal.
    let silent = page(&world, "ratings", "hk-chan").await;
    assert!(silent.location().is_some_and(|back| query(&back, "code").is_some()), "{}", silent.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_crosses_a_border_on_a_yes_of_its_own_under_a_named_instrument() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let english = rp.authorize("e-invoice", &[("ui_locales", "en")]);
    let page = world.to_consent(&mut browser, &english, "hk-iam-smart", "hk-chan").await;
    assert!(page.body.contains("Greater Bay Area standard contract"), "{}", page.body);
    assert!(page.body.contains("<input type=\"checkbox\" name=\"export\" value=\"yes\">"), "never ticked beforehand");
    let question = page.field("question").unwrap();
    for bundled in [vec![], vec![("export", "no")], vec![("export", "")], vec![("claim", "export")]] {
        let mut form = vec![("question", question.as_str()), ("decision", "allow")];
        form.extend(bundled);
        let again = browser.post(&page.url, &form).await;
        assert_eq!(again.status, 422, "{}", again.body);
        assert!(again.body.contains("Please tick the box"), "{}", again.body);
        assert_eq!(again.field("question"), Some(question.clone()), "the same question");
    }
    assert!(query(&world.agree(&mut browser, &page, &[]).await, "code").is_some());
    // At home nothing crosses, and nothing is asked of that kind.
    let mut at_home = world.browser();
    let page = world.to_consent(&mut at_home, &rp.authorize("e-invoice", &[]), "gd-unified", "gd-li").await;
    assert!(!page.body.contains("name=\"export\""), "{}", page.body);
    let form = [("question", page.field("question").unwrap()), ("decision", "allow".to_owned())];
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(query(&at_home.post(&page.url, &form).await.target(), "code").is_some());
}

/// login.gov PR 6373: consent that was revoked, and data that was sent all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_stops_the_next_release_at_once() {
    let redirect = "https://again.example/cb";
    let more = format!("refresh_lifetime = \"2h\"\n{}", secret_line());
    let client = client_document("again", redirect, "client_secret_basic", &more);
    let service = service_document("kept", &["again"], &["hk-iam-smart"], "remember_consent = \"90d\"");
    let world = World::with(&[("clients/again.toml", &client), ("services/kept.toml", &service)]).await;
    let (rp, mut browser) = (world.client("again", Some(SECRET), redirect), world.browser());
    let offline = rp.authorize("kept", &[("scope", "openid profile offline_access")]);
    let back = world.sign_in(&mut browser, &offline, "hk-iam-smart", "hk-chan").await;
    let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    let silent = rp.authorize("kept", &[("scope", "openid profile offline_access"), ("prompt", "none")]);
    let waiting = query(&browser.get(&silent).await.target(), "code").expect("the answer is remembered");
    assert_eq!(rp.userinfo(&text("access_token")).await.status, 200);

    let account = browser.get(format!("{}/account?lang=en", world.issuer())).await;
    assert!(account.body.contains("Test service: from iAM Smart (simulated) to Test"), "{}", account.body);
    let receipt = account.field("receipt").unwrap();
    // Somebody else cannot take it back.
    let mut stranger = world.browser();
    world.sign_in(&mut stranger, &world.rp().authorize("e-invoice", &[]), "hk-iam-smart", "hk-wong").await;
    let withdraw = format!("{}/account/withdraw", world.issuer());
    let _ = stranger.post(&withdraw, &[("receipt", &receipt)]).await.target();
    assert_eq!(rp.userinfo(&text("access_token")).await.status, 200);
    let _ = browser.post(&withdraw, &[("receipt", &receipt)]).await.target();

    assert_eq!(rp.userinfo(&text("access_token")).await.status, 401);
    let form = [("grant_type", "refresh_token"), ("refresh_token", &*text("refresh_token"))];
    assert_eq!(rp.token(&form).await.json()["error"], "invalid_grant");
    assert_eq!(rp.redeem(&waiting).await.json()["error"], "invalid_grant", "a code that was out already");
    assert_eq!(query(&browser.get(&silent).await.target(), "error").as_deref(), Some("consent_required"));
    let account = browser.get(format!("{}/account?lang=en", world.issuer())).await;
    assert!(account.body.contains("taken back") && account.field("receipt").is_none(), "{}", account.body);
    // Asked again, they may agree again.
    let page = browser.follow_within(rp.authorize("kept", &[]), world.issuer()).await;
    assert!(query(&world.agree(&mut browser, &page, &[]).await, "code").is_some());
}

/// What a service wants and no instrument covers stays here; what it cannot do without ends the sign-in.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_instrument_nothing_crosses() {
    let bare = client_document("bare", "https://bare.example/cb", "client_secret_basic", &secret_line());
    let bare = bare.split("[[filing]]").next().unwrap().to_owned();
    let outside = bare.replace("\"bare\"", "\"outside\"").replace("bare.example", "outside.example");
    let filed = "[[filing]]\ninstrument = \"gba-contract-hk\"\nnumber = \"1\"\nvalid_until = \"2090-12-31\"\n";
    // Zhanjiang is outside the nine cities: a filing does not help.
    let outside = format!("{}\n{filed}", outside.replace("\"guangzhou\"", "\"zhanjiang\""));
    let ran_out = format!("{}\n{}", bare.replace("\"bare\"", "\"late\""), filed.replace("2090-12-31", "2026-01-01"));
    let clients = ["bare", "outside", "late"];
    let optional = service_document("wish", &clients, &["hk-iam-smart"], "");
    let needed = service_document("need", &clients, &["hk-iam-smart"], "").replacen("\"clear\"", "\"fail\"", 1);
    let documents = [
        ("clients/bare.toml", bare.as_str()),
        ("clients/outside.toml", &outside),
        ("clients/late.toml", &ran_out),
        ("services/wish.toml", &optional),
        ("services/need.toml", &needed),
    ];
    let world = World::with(&documents).await;
    for (client, redirect) in [
        ("bare", "https://bare.example/cb"),
        ("outside", "https://outside.example/cb"),
        ("late", "https://bare.example/cb"),
    ] {
        let rp = world.client(client, Some(SECRET), redirect);
        let page = world.to_consent(&mut world.browser(), &rp.authorize("need", &[]), "hk-iam-smart", "hk-chan").await;
        assert_eq!(page.failure(), Some("CB-408"), "{client}: {}", page.body);
        let code = world.code(&rp, "wish", "hk-iam-smart", "hk-chan").await;
        let tokens = rp.redeem(&code).await.json();
        let told = rp.userinfo(tokens["access_token"].as_str().unwrap()).await.json();
        assert_eq!(told.as_object().unwrap().len(), 1, "{client}: only who, in their own sector: {told}");
    }
}

/// The law counts people, not sign-ins: a person counts once a year, instrument and class.
#[tokio::test(flavor = "multi_thread")]
async fn people_whose_data_crossed_are_counted_once_a_year() {
    let world = World::start().await;
    let rp = world.rp();
    for (service, provider, person) in [
        ("e-invoice", "hk-iam-smart", "hk-chan"),
        ("medical-appointment", "hk-iam-smart", "hk-chan"),
        ("e-invoice", "hk-iam-smart", "hk-wong"),
        ("e-invoice", "mo-one-account", "mo-vong"),
        ("e-invoice", "gd-unified", "gd-li"),
        ("ratings", "hk-iam-smart", "hk-leung"),
    ] {
        world.code(&rp, service, provider, person).await;
    }
    let app = world.demo.gateway.app();
    let exports = gateway::exports::Exports::new(&app.store);
    let year = world.now().date().year;
    let counts = exports.count(year, world.now()).await.unwrap();
    let counted: Vec<(&str, &str, u64)> =
        counts.iter().map(|count| (count.instrument.as_str(), count.class.as_str(), count.people)).collect();
    // Names are general; the dates of birth of a medical appointment are sensitive.
    let expected =
        [("gba-contract-hk", "general", 2), ("gba-contract-hk", "sensitive", 1), ("gba-contract-mo", "general", 1)];
    assert_eq!(counted, expected);
    assert!(exports.count(year - 1, world.now()).await.unwrap().is_empty());
    assert_eq!(exports.alarm(app.bundle().catalog.policies(), world.now()).await.unwrap(), 0);
    world.edit("instruments/gba-contract-hk.toml", |text| text.replace("people_a_year = 100000", "people_a_year = 2"));
    app.tend(None).await;
    assert_eq!(exports.alarm(app.bundle().catalog.policies(), world.now()).await.unwrap(), 1);
}
