//! Linking a Guangdong account to iAM Smart in the middle of a sign-in.

use integration_tests::rp::{claims, query};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Browser, Reply, World};

const SERVICE: &str = "linked-matter";
const LINK: &str = "[link]\nprovider = \"gd-unified\"\nidentity = 2\nauthentication = 2";

/// What is compared is what the service reads anyway; without it every link would wait for staff.
const NAME: &str = "[[release]]\nclaim = \"name_zh\"\nfrom = 'claims.name_zh'\non_missing = \"clear\"\n\
                    purpose = \"identify-applicant\"\nground = \"consent\"\nscope = \"profile\"\n";

async fn world() -> World {
    let both = ["hk-iam-smart", "gd-unified"];
    let service = service_document(SERVICE, &["gd-bay-area-services"], &both, LINK) + NAME;
    World::own(&[("services/linked-matter.toml", &service)]).await
}

/// The page that offers the link, after a login at iAM Smart.
async fn offer(world: &World, browser: &mut Browser, person: &str) -> Reply {
    let page = world.to_consent(browser, &world.rp().authorize(SERVICE, &[]), "hk-iam-smart", person).await;
    assert!(page.url.path().ends_with("/link"), "{}", page.body);
    page
}

pub(crate) async fn decide(world: &World, browser: &mut Browser, page: &Reply, decision: &str) -> Reply {
    let question = page.field("question").unwrap_or_else(|| panic!("no question: {}", page.body));
    let reply = browser.post(&page.url, &[("question", question.as_str()), ("decision", decision)]).await;
    match reply.location() {
        Some(next) if next.as_str().starts_with(world.issuer()) => world.past_waiting(browser, next).await,
        _ => reply,
    }
}

/// From the offer through the other login to the question.
async fn prove(world: &World, browser: &mut Browser, page: &Reply, person: &str, method: &str) -> Reply {
    let away = decide(world, browser, page, "prove").await;
    let back = world.answer_provider(browser, &away.target(), &[("person", person), ("method", method)]).await;
    world.past_waiting(browser, back).await
}

/// From the consent page to the `sub` that the portal sees.
async fn sub(world: &World, browser: &mut Browser, page: &Reply) -> String {
    let back = match page.location() {
        Some(back) => back,
        None => world.agree(browser, page, &[]).await,
    };
    let tokens = world.rp().redeem(&query(&back, "code").unwrap()).await.json();
    claims(tokens["id_token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned()
}

/// A plain sign-in with nothing to link; the `sub`.
async fn sub_at(world: &World, provider: &str, person: &str) -> String {
    let mut browser = world.browser();
    let mut page = world.to_consent(&mut browser, &world.rp().authorize(SERVICE, &[]), provider, person).await;
    if page.url.path().ends_with("/link") {
        page = decide(world, &mut browser, &page, "skip").await;
    }
    sub(world, &mut browser, &page).await
}

async fn ledger(world: &World, browser: &mut Browser) -> Reply {
    browser.get(format!("{}/account?lang=en", world.issuer())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_account_is_one_person_and_an_undone_link_is_two_again() {
    let world = world().await;
    let (alone, guangdong) =
        (sub_at(&world, "hk-iam-smart", "hk-chan").await, sub_at(&world, "gd-unified", "gd-chan-tai-man").await);
    assert_ne!(alone, guangdong);
    let mut browser = world.browser();
    let page = offer(&world, &mut browser, "hk-chan").await;
    let question = prove(&world, &mut browser, &page, "gd-chan-tai-man", "3").await;
    assert!(question.url.path().ends_with("/link"), "{}", question.body);
    assert!(!question.body.contains("陳大文") && !question.body.contains("陈大文"), "names are hidden");
    let consent = decide(&world, &mut browser, &question, "link").await;
    assert_eq!(sub(&world, &mut browser, &consent).await, guangdong);
    assert_eq!(sub_at(&world, "hk-iam-smart", "hk-chan").await, guangdong, "later, iAM Smart is enough");
    let account = ledger(&world, &mut browser).await;
    assert!(account.body.contains("Linked"), "{}", account.body);
    let entry = account.field("entry").unwrap();
    browser.post(format!("{}/account/undo", world.issuer()), &[("entry", &entry)]).await;
    assert_eq!(sub_at(&world, "hk-iam-smart", "hk-chan").await, alone);
    assert_eq!(sub_at(&world, "gd-unified", "gd-chan-tai-man").await, guangdong);
    assert!(ledger(&world, &mut browser).await.body.contains("not signed in"), "the old session proves nothing");
}

/// What was given out as one person is not renewed as one once it is two again.
#[tokio::test(flavor = "multi_thread")]
async fn an_undone_link_ends_the_refresh_tokens_that_came_of_it() {
    const REDIRECT: &str = "https://again.example/cb";
    let more = format!("refresh_lifetime = \"2h\"\n{}", secret_line());
    let again = client_document("again", REDIRECT, "client_secret_basic", &more);
    let both = ["hk-iam-smart", "gd-unified"];
    let service = service_document(SERVICE, &["again"], &both, LINK) + NAME;
    let documents = [("clients/again.toml", again.as_str()), ("services/linked-matter.toml", &service)];
    let world = World::own(&documents).await;
    let rp = world.client("again", Some(SECRET), REDIRECT);
    let refresh = async |tokens: &serde_json::Value| {
        let token = tokens["refresh_token"].as_str().unwrap();
        rp.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    };
    let authorize = rp.authorize(SERVICE, &[("scope", "openid profile offline_access")]);

    let mut browser = world.browser();
    let page = world.to_consent(&mut browser, &authorize, "hk-iam-smart", "hk-chan").await;
    let question = prove(&world, &mut browser, &page, "gd-chan-tai-man", "3").await;
    let consent = decide(&world, &mut browser, &question, "link").await;
    let back = world.agree(&mut browser, &consent, &[]).await;
    let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
    let renewed = refresh(&tokens).await;
    assert_eq!(renewed.status, 200, "{}", renewed.body);

    let entry = ledger(&world, &mut browser).await.field("entry").unwrap();
    browser.post(format!("{}/account/undo", world.issuer()), &[("entry", &entry)]).await;
    let refused = refresh(&renewed.json()).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["error"].as_str()),
        (400, Some("invalid_grant")),
        "{}",
        refused.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_permit_and_a_changed_form_of_the_name_change_nothing() {
    let world = world().await;
    let before = sub_at(&world, "gd-unified", "gd-chan-tai-man").await;
    assert_eq!(sub_at(&world, "gd-unified", "gd-chan-tai-man-renewed").await, before);
    let mut browser = world.browser();
    let page = offer(&world, &mut browser, "hk-chan-siu-wing").await;
    let question = prove(&world, &mut browser, &page, "gd-chan-siu-wing", "3").await;
    let consent = decide(&world, &mut browser, &question, "link").await;
    assert_eq!(sub(&world, &mut browser, &consent).await, sub_at(&world, "gd-unified", "gd-chan-siu-wing").await);
    assert!(ledger(&world, &mut browser).await.body.contains("Linked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_disagree_go_to_review_and_are_neither_linked_nor_refused() {
    let world = world().await;
    let mut browser = world.browser();
    let page = offer(&world, &mut browser, "hk-ho-ka-man").await;
    let question = prove(&world, &mut browser, &page, "gd-ho-ka-man", "3").await;
    let consent = decide(&world, &mut browser, &question, "link").await;
    let alone = sub(&world, &mut browser, &consent).await;
    assert_ne!(alone, sub_at(&world, "gd-unified", "gd-ho-ka-man").await);
    let account = ledger(&world, &mut browser).await.body;
    assert!(account.contains("not linked yet") && account.contains("What differs: name"), "{account}");
    let (mut later, again) = (world.browser(), world.rp().authorize(SERVICE, &[]));
    let page = world.to_consent(&mut later, &again, "hk-iam-smart", "hk-ho-ka-man").await;
    assert!(!page.url.path().ends_with("/link"), "the question is not put again while somebody looks at it");
    assert_eq!(sub_at(&world, "hk-iam-smart", "hk-ho-ka-man").await, alone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_or_cancelled_proof_of_the_other_account_leaves_the_sign_in_as_it_was() {
    let world = world().await;
    let mut browser = world.browser();
    let page = offer(&world, &mut browser, "hk-chan").await;
    let weak = prove(&world, &mut browser, &page, "gd-chan-tai-man", "1").await;
    assert!(weak.url.path().ends_with("/link") && weak.body.contains("role=\"alert\""), "{}", weak.body);
    let cancelled = prove(&world, &mut browser, &weak, "", "").await;
    assert!(cancelled.url.path().ends_with("/link") && cancelled.body.contains("role=\"alert\""));
    let consent = decide(&world, &mut browser, &cancelled, "skip").await;
    assert_eq!(sub(&world, &mut browser, &consent).await, sub_at(&world, "hk-iam-smart", "hk-chan").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_answers_the_question() {
    let world = world().await;
    let mut browser = world.browser();
    let page = offer(&world, &mut browser, "hk-chan").await;
    let question = page.field("question").unwrap();
    let form = [("question", question.as_str()), ("decision", "prove")];
    let stranger = world.browser().post(&page.url, &form).await;
    assert_eq!(stranger.failure(), Some("CB-202"));
    let form = Some(format!("question={question}&decision=prove"));
    let foreign = browser.send(http::Method::POST, page.url.as_str(), form, &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(foreign.failure(), Some("CB-204"));
    let undone = browser.post(format!("{}/account/undo", world.issuer()), &[("entry", "nobodys")]).await;
    assert_eq!(undone.target().path(), "/account");
}

/// An authority that knows both accounts links them; its word counts once, and the person can undo it.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_links_two_accounts_and_the_person_undoes_it() {
    let key = certs::key::SigningKey::generate(certs::key::Algorithm::ES256).unwrap();
    let texts = "{ zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }";
    let jwks = serde_json::json!({"keys": [key.public_jwk()]});
    let authority =
        format!("id = \"match\"\nname = {texts}\nproviders = [\"mo-one-account\", \"gd-unified\"]\njwks = '{jwks}'\n");
    let service = service_document(SERVICE, &["gd-bay-area-services"], &["mo-one-account", "gd-unified"], "");
    let documents = [("services/linked-matter.toml", service.as_str()), ("authorities/match.toml", authority.as_str())];
    let world = World::own(&documents).await;
    let subject = |place, id: &str| {
        let people = sandbox::people::catalogue(place).unwrap();
        people.into_iter().find(|person| person.id == id).unwrap().sub
    };
    let (guangdong, alone) =
        (sub_at(&world, "gd-unified", "gd-li").await, sub_at(&world, "mo-one-account", "mo-lei").await);
    let claims = serde_json::json!({"iss": "match", "aud": world.issuer(), "exp": world.now().0 + 300, "jti": "1",
        "purpose": "link-accounts",
        "first": {"provider": "mo-one-account", "subject": subject(sandbox::people::Place::Macao, "mo-lei")},
        "second": {"provider": "gd-unified", "subject": subject(sandbox::people::Place::Guangdong, "gd-li")}});
    let token = certs::jws::sign(&key, "JWT", claims.as_object().unwrap()).unwrap();
    let url = format!("{}/match/match", world.issuer());
    let mut machine = world.browser();
    let jwt = [("content-type", "application/jwt")];
    let send = async |machine: &mut Browser, token: &str| {
        machine.send(http::Method::POST, &url, Some(token.to_owned()), &jwt).await.status.as_u16()
    };
    assert_eq!(send(&mut machine, "x.y.z").await, 400);
    assert_eq!(send(&mut machine, &token).await, 204);
    let mut browser = world.browser();
    let page = world.to_consent(&mut browser, &world.rp().authorize(SERVICE, &[]), "mo-one-account", "mo-lei").await;
    assert_eq!(sub(&world, &mut browser, &page).await, guangdong);
    let entry = ledger(&world, &mut browser).await.field("entry").unwrap();
    browser.post(format!("{}/account/undo", world.issuer()), &[("entry", &entry)]).await;
    assert_eq!(sub_at(&world, "mo-one-account", "mo-lei").await, alone);
    assert_eq!(send(&mut machine, &token).await, 204, "said again, it changes nothing");
    assert_eq!(sub_at(&world, "mo-one-account", "mo-lei").await, alone);
}

/// Whoever signed in at Guangdong's platform is told that its session may still be open, and where it ends.
#[tokio::test(flavor = "multi_thread")]
async fn signing_out_leads_to_the_platforms_own_logout() {
    let world = world().await;
    let mut browser = world.browser();
    let page = world.to_consent(&mut browser, &world.rp().authorize(SERVICE, &[]), "gd-unified", "gd-li").await;
    world.agree(&mut browser, &page, &[]).await;
    assert!(ledger(&world, &mut browser).await.body.contains("You are signed in here"));
    let out = browser.post(format!("{}/account/sign-out", world.issuer()), &[]).await;
    let (_, link) = out.body.split_once("class=\"button\" href=\"").unwrap();
    let link = link.split_once('"').unwrap().0.replace("&#38;", "&").replace("&amp;", "&");
    assert!(link.contains("/_tif_sso_logout_/?redirect_uri="), "{link}");
    let back = browser.get(&link).await.target();
    assert_eq!(back.path(), "/account");
    assert!(ledger(&world, &mut browser).await.body.contains("not signed in"));
    assert_eq!(world.guangdong().counters().logout, 1);
}

/// The page from before the other account was proved, or of other accounts, answers nothing: only the page that shows both
/// is an answer about both.
#[tokio::test(flavor = "multi_thread")]
async fn a_yes_on_an_earlier_page_links_nothing() {
    let world = world().await;
    let mut browser = world.browser();
    let page = offer(&world, &mut browser, "hk-chan").await;
    let question = prove(&world, &mut browser, &page, "gd-chan-tai-man", "3").await;
    let early = page.field("question").unwrap();
    for decision in ["prove", "link", "skip"] {
        let reply = browser.post(&page.url, &[("question", early.as_str()), ("decision", decision)]).await;
        assert!(reply.target().path().ends_with("/link"), "{decision}: the question is put again");
    }
    let reply = browser.post(&page.url, &[("decision", "link")]).await;
    assert!(reply.target().path().ends_with("/link"));
    let consent = decide(&world, &mut browser, &question, "skip").await;
    let alone = sub(&world, &mut browser, &consent).await;
    assert_ne!(alone, sub_at(&world, "gd-unified", "gd-chan-tai-man").await);
}

/// A kiosk: somebody else's login at the platform is still open. It does not count as their being here.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_left_over_at_the_platform_does_not_link_its_owner() {
    let world = world().await;
    let mut kiosk = world.browser();
    let authorize = world.rp().authorize(SERVICE, &[]);
    let address = world.to_provider(&mut kiosk, &authorize, "gd-unified").await;
    let left = [("person", "gd-chan-tai-man"), ("method", "3"), ("remember", "1")];
    world.answer_provider(&mut kiosk, &address, &left).await;
    let page = offer(&world, &mut kiosk, "hk-chan").await;
    let away = decide(&world, &mut kiosk, &page, "prove").await.target();
    assert!(away.path().contains("logout"), "{away}");
    let platform = away.origin().ascii_serialization();
    let login = kiosk.follow_within(away, &platform).await;
    assert!(login.body.contains("name=\"handle\""), "the platform asks who is there: {}", login.body);
}

/// Answers about one account of a person are none about another: after a link was undone and another made, the question
/// is put again.
#[tokio::test(flavor = "multi_thread")]
async fn consent_given_for_one_account_does_not_serve_another_of_the_same_person() {
    let remembered = format!("remember_consent = \"90d\"\n{LINK}");
    let service = service_document(SERVICE, &["gd-bay-area-services"], &["hk-iam-smart", "gd-unified"], &remembered);
    let world = World::own(&[("services/linked-matter.toml", &service)]).await;
    let mut browser = world.browser();
    let page = offer(&world, &mut browser, "hk-chan").await;
    let question = prove(&world, &mut browser, &page, "gd-chan-tai-man", "3").await;
    let consent = decide(&world, &mut browser, &question, "link").await;
    sub(&world, &mut browser, &consent).await;
    let mut later = world.browser();
    let again = world.to_consent(&mut later, &world.rp().authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
    assert!(again.location().is_some(), "remembered for this account");
    let mut other = world.browser();
    let page = world.to_consent(&mut other, &world.rp().authorize(SERVICE, &[]), "gd-unified", "gd-chan-tai-man").await;
    assert!(page.url.path().ends_with("/consent"), "asked about the other one: {}", page.body);
}

/// A session that somebody left open shows links and changes none.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_undone_only_soon_after_a_sign_in() {
    let world = world().await;
    let mut browser = world.browser();
    let page = offer(&world, &mut browser, "hk-chan").await;
    let question = prove(&world, &mut browser, &page, "gd-chan-tai-man", "3").await;
    let consent = decide(&world, &mut browser, &question, "link").await;
    let linked = sub(&world, &mut browser, &consent).await;
    let entry = ledger(&world, &mut browser).await.field("entry").unwrap();
    world.clock.advance(601);
    let page = ledger(&world, &mut browser).await;
    assert!(page.body.contains("some time ago") && page.field("entry").is_none(), "{}", page.body);
    browser.post(format!("{}/account/undo", world.issuer()), &[("entry", &entry)]).await;
    assert_eq!(sub_at(&world, "hk-iam-smart", "hk-chan").await, linked);
}

/// Whoever signs out at a shared machine leaves no sign-in behind that the next person could continue.
#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_sign_ins_that_are_under_way() {
    let world = world().await;
    let mut browser = world.browser();
    let page = world.to_consent(&mut browser, &world.rp().authorize(SERVICE, &[]), "gd-unified", "gd-li").await;
    browser.post(format!("{}/account/sign-out", world.issuer()), &[]).await;
    assert_eq!(browser.get(&page.url).await.failure(), Some("CB-202"));
}

/// Over HTTP/2 an answer that came before the body was read was lost with the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_post_to_nobody_is_answered_over_http2() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let world = World::own(&[]).await;
    let mut tls = certs::tls::client(certs::tls::read_certificates(&world.demo.ca).unwrap()).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = tokio::net::TcpStream::connect(world.demo.gateway.address()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls)).connect(name, tcp).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    for path in ["/match/nobody", "/receive/nobody", "/nothing"] {
        for _ in 0..20 {
            let body = http_body_util::Full::new(hyper::body::Bytes::from_static(b"x"));
            let request = http::Request::post(format!("{}{path}", world.issuer())).body(body).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status(), 404, "{path}");
            http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
        }
    }
}
