//! What a request says of its matter (RFC 9396), from the request to the token.

use integration_tests::Keyed;
use integration_tests::browser::encode;
use integration_tests::rp::{Rp, claims, query};
use integration_tests::world::{SECRET, World, client_document, secret_line, service_document};
use serde_json::{Value, json};

const SERVICE: &str = "school-place";
const KIND: &str = "https://services.example/school-place";

const FIELDS: &str = r#"
[detail.reference]
kind = "text"
longest = 12
required = true
name = { zh-Hans = "申请编号", zh-Hant-HK = "申請編號", pt = "Referência", en = "Reference" }
[detail.for_child]
kind = "choice"
name = { zh-Hans = "为谁申请", zh-Hant-HK = "為誰申請", pt = "Para quem", en = "For whom" }
[detail.for_child.choices]
son = { zh-Hans = "儿子", zh-Hant-HK = "兒子", pt = "Filho", en = "My son" }
daughter = { zh-Hans = "女儿", zh-Hant-HK = "女兒", pt = "Filha", en = "My daughter" }
[detail.begins]
kind = "date"
name = { zh-Hans = "入学日期", zh-Hant-HK = "入學日期", pt = "Início", en = "Begins" }
"#;

async fn world(more: &str) -> (World, Rp) {
    let client = client_document(
        "school",
        "https://school.example/cb",
        "client_secret_basic",
        &format!("{}\nrefresh_lifetime = \"8h\"", secret_line()),
    );
    let service = service_document(SERVICE, &["school"], &["hk-iam-smart"], more) + FIELDS;
    let plain = service_document("plain", &["school"], &["hk-iam-smart"], "");
    let world = World::with(&[
        ("clients/school.toml", &client),
        (&format!("services/{SERVICE}.toml"), &service),
        ("services/plain.toml", &plain),
    ])
    .await;
    let rp = world.client("school", Some(SECRET), "https://school.example/cb");
    (world, rp)
}

fn asked(details: &Value) -> String {
    json!([details]).to_string()
}

/// RFC 9396 sections 2, 5 and 7: the person sees it in their words, agrees to this very matter, and the token says it.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9396_7_what_is_asked_is_shown_agreed_to_and_in_the_token() {
    let (world, rp) = world("access_token = \"jwt\"\nremember_consent = \"30d\"").await;
    let metadata = world.browser().get(format!("{}/.well-known/openid-configuration", world.issuer())).await.json();
    let shipped = "https://services.example/driving-licence-exchange";
    assert_eq!(metadata["authorization_details_types_supported"], json!([shipped, KIND]));
    let details = json!({"type": KIND, "reference": "A-2026-001", "for_child": "daughter", "begins": "2026-09-01"});
    let params = [
        ("authorization_details", asked(&details)),
        ("resource", String::new()),
        ("ui_locales", "en".into()),
        ("scope", "openid profile offline_access".into()),
    ];
    let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut browser = world.browser();
    // No resource: its type names the service.
    let page = world.to_consent(&mut browser, &rp.authorize(SERVICE, &params), "hk-iam-smart", "hk-chan").await;
    for shown in ["Reference", "A-2026-001", "For whom", "My daughter", "2026-09-01"] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    let back = world.agree(&mut browser, &page, &[]).await;
    let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
    assert_eq!(tokens["authorization_details"], json!([details]));
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(claims(access)["authorization_details"], json!([details]));
    let told = rp.post("/introspect", &[("token", access)]).await.json();
    assert_eq!(told["authorization_details"], json!([details]));
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    assert_eq!(rp.token(&refresh).await.json()["authorization_details"], json!([details]));
    // A remembered yes is one to the same matter, and to no other.
    let again = browser.get(rp.authorize(SERVICE, &params)).await;
    assert!(query(&again.target(), "code").is_some(), "{}", again.body);
    let other =
        asked(&json!({"type": KIND, "reference": "A-2026-002", "for_child": "daughter", "begins": "2026-09-01"}));
    let params: Vec<(&str, &str)> = params
        .iter()
        .map(|(name, value)| (*name, if *name == "authorization_details" { other.as_str() } else { *value }))
        .collect();
    let page = browser.get(rp.authorize(SERVICE, &params)).await;
    let page = world.past_waiting(&mut browser, page.target()).await;
    assert!(page.body.contains("A-2026-002") && page.field("question").is_some(), "{}", page.body);
    // On record are names and a digest, and no value.
    let record = world.record("code_issued").await;
    assert_eq!(record["details"]["fields"], json!(["begins", "for_child", "reference"]), "{record}");
    assert!(record["details"]["digest"].as_str().is_some_and(|digest| digest.len() == 43), "{record}");
    assert!(!record.to_string().contains("A-2026-001") && !record.to_string().contains("daughter"), "{record}");
}

/// RFC 9396 sections 2 and 3: terminals and counters name the matter as well, and their people read it on their phones.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9396_2_a_terminal_and_a_counter_name_the_matter() {
    let (world, school) = world("remember_consent = \"30d\"").await;
    let path = world.data.join("bundle/clients/school.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let grants = "grant_types = [\"authorization_code\", \"refresh_token\", \"urn:ietf:params:oauth:grant-type:device_code\", \"urn:openid:params:grant-type:ciba\"]";
    std::fs::write(&path, text.replace("refresh_lifetime", &format!("{grants}\nrefresh_lifetime"))).unwrap();
    world.demo.gateway.app().tend(None).await;
    let mut phone = world.browser();
    world.sign_in(&mut phone, &school.authorize("plain", &[]), "hk-iam-smart", "hk-chan").await;
    let at = |path: &str| format!("{}{path}", world.issuer());
    let details = |reference: &str| json!({"type": KIND, "reference": reference, "for_child": "son"});
    let shown = async |page: &integration_tests::browser::Reply, reference: &str| {
        for text in ["申請編號", reference, "兒子"] {
            assert!(page.body.contains(text), "{text}: {}", page.body);
        }
    };
    let hall =
        [("terminal_name", "T1"), ("terminal_place", "Hall"), ("scope", "openid profile"), ("ui_locales", "zh-HK")];
    // At a terminal.
    let matter = asked(&details("D-1"));
    let form = [&hall[..], &[("authorization_details", matter.as_str())]].concat();
    let device = school.post("/device_authorization", &form).await;
    assert_eq!(device.status, 200, "{}", device.body);
    let device = device.json();
    let code = device["user_code"].as_str().unwrap();
    let begun = phone.post(at("/device?lang=zh-Hant-HK"), &[("user_code", code), ("decision", "yes")]).await;
    let page = world.past_waiting(&mut phone, begun.target()).await;
    shown(&page, "D-1").await;
    world.agree_here(&mut phone, &page).await;
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let tokens = school.token(&[("grant_type", grant), ("device_code", device["device_code"].as_str().unwrap())]).await;
    assert_eq!(tokens.json()["authorization_details"], json!([details("D-1")]), "{}", tokens.body);
    // At a counter.
    let page = phone.post(at("/requests?lang=zh-Hant-HK"), &[("decision", "code")]).await;
    let hint = page.body.split_once("role=\"status\">").unwrap().1.split('<').next().unwrap().to_owned();
    let matter = asked(&details("C-1"));
    let form = [&hall[..], &[("authorization_details", matter.as_str()), ("login_hint", &hint)]].concat();
    let request = school.post("/bc-authorize", &form).await;
    assert_eq!(request.status, 200, "{}", request.body);
    let page = phone.get(at("/requests?lang=zh-Hant-HK")).await;
    let question = page.field("question").unwrap();
    let begun = phone.post(at("/requests?lang=zh-Hant-HK"), &[("question", &question), ("decision", "open")]).await;
    let page = world.past_waiting(&mut phone, begun.target()).await;
    shown(&page, "C-1").await;
    world.agree_here(&mut phone, &page).await;
    let id = request.json()["auth_req_id"].as_str().unwrap().to_owned();
    let tokens = school.token(&[("grant_type", "urn:openid:params:grant-type:ciba"), ("auth_req_id", &id)]).await;
    assert_eq!(tokens.json()["authorization_details"], json!([details("C-1")]), "{}", tokens.body);
    assert_eq!(world.record("code_issued").await["details"]["fields"], json!(["for_child", "reference"]));
    // What is wrong with it is wrong there as well.
    let matter = asked(&json!({"type": KIND}));
    for (path, more) in [("/device_authorization", ("scope", "openid")), ("/bc-authorize", ("login_hint", "x"))] {
        let mut form = hall.to_vec();
        form.retain(|(name, _)| *name != more.0);
        form.extend([more, ("authorization_details", matter.as_str())]);
        assert_eq!(school.post(path, &form).await.json()["error"], "invalid_authorization_details", "{path}");
    }
}

/// RFC 9396 section 5: everything that can be wrong with it, and nothing else happens.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9396_5_details_that_are_not_what_their_type_asks_for() {
    let (world, rp) = world("").await;
    let error = async |details: &str, resource: &str| {
        let mut params = rp.params(SERVICE);
        params.retain(|(name, _)| name != "resource");
        params.push(("authorization_details".into(), details.into()));
        if !resource.is_empty() {
            params.push(("resource".into(), format!("https://services.example/{resource}")));
        }
        let pairs: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let told = world.browser().get(format!("{}/authorize?{}", world.issuer(), encode(&pairs))).await;
        told.location().and_then(|told| query(&told, "error"))
    };
    assert_eq!(error(&asked(&json!({"type": KIND, "reference": "A-1"})), SERVICE).await, None);
    for wrong in [
        json!({"type": KIND}),
        json!({"type": KIND, "reference": ""}),
        json!({"type": KIND, "reference": "longer than twelve"}),
        json!({"type": KIND, "reference": "a\u{202e}b"}),
        json!({"type": KIND, "reference": 1}),
        json!({"type": KIND, "reference": null}),
        json!({"type": KIND, "reference": "A-1", "for_child": "cousin"}),
        json!({"type": KIND, "reference": "A-1", "begins": "soon"}),
        json!({"type": KIND, "reference": "A-1", "unheard_of": "x"}),
        json!({"type": KIND, "reference": "A-1", "locations": [KIND]}),
        json!({"type": "https://services.example/plain", "reference": "A-1"}),
        json!({"reference": "A-1"}),
    ] {
        assert_eq!(error(&asked(&wrong), SERVICE).await.as_deref(), Some("invalid_authorization_details"), "{wrong}");
    }
    for malformed in ["", "[", "{}", "[]", "[1]", "[{},{}]"] {
        let expected = if malformed.is_empty() { "invalid_request" } else { "invalid_authorization_details" };
        let told = error(malformed, SERVICE).await;
        assert!(told.is_none() && malformed.is_empty() || told.as_deref() == Some(expected), "{malformed:?} {told:?}");
    }
    // A service that knows nothing of the kind, and one that is not there.
    assert_eq!(error(&asked(&json!({"type": "https://services.example/plain"})), "plain").await, None);
    let some = asked(&json!({"type": "https://services.example/plain", "x": "y"}));
    assert_eq!(error(&some, "plain").await.as_deref(), Some("invalid_authorization_details"));
    let nowhere = asked(&json!({"type": "https://services.example/nowhere"}));
    assert_eq!(error(&nowhere, "").await.as_deref(), Some("invalid_target"));
}

/// RFC 9396 sections 3 and 4: pushed and signed, as an array and not as a text.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9396_4_details_that_are_pushed_and_signed() {
    let (world, client) = Keyed::world("fapi2-message-signing", "").await;
    let file = world.data.join(format!("bundle/services/{}.toml", integration_tests::keyed::SERVICE));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + FIELDS).unwrap();
    world.demo.gateway.app().tend(None).await;
    let kind = format!("https://services.example/{}", integration_tests::keyed::SERVICE);
    let details = json!([{"type": kind, "reference": "B-1"}]);
    let more = json!({"authorization_details": details, "response_mode": "jwt", "ui_locales": "en"});
    let form = [("request".to_owned(), client.request_object(&client.request_claims(&more)))];
    let pushed = client.send("/par", &form, &[]).await;
    assert_eq!(pushed.status, 201, "{}", pushed.body);
    let mut browser = world.browser();
    let page = world.to_consent(&mut browser, &client.authorize(&pushed), "hk-iam-smart", "hk-chan").await;
    assert!(page.body.contains("B-1"), "{}", page.body);
    let back = world.agree(&mut browser, &page, &[]).await;
    let answer = claims(&query(&back, "response").unwrap());
    let tokens = client.redeem(answer["code"].as_str().unwrap()).await.json();
    assert_eq!(tokens["authorization_details"], details);
    let wrong = json!({"authorization_details": [{"type": kind, "reference": 1}], "response_mode": "jwt"});
    let form = [("request".to_owned(), client.request_object(&client.request_claims(&wrong)))];
    assert_eq!(client.send("/par", &form, &[]).await.json()["error"], "invalid_authorization_details");
}

/// A field that the service dropped while the person signed in was on no page, and in the token.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_knows_no_more_is_neither_shown_nor_in_a_token() {
    let (world, rp) = world("").await;
    let details = json!({"type": KIND, "reference": "A-2026-001", "for_child": "daughter", "begins": "2026-09-01"});
    let authorize = rp.authorize(SERVICE, &[("authorization_details", &asked(&details)), ("ui_locales", "en")]);
    let mut browser = world.browser();
    let page = world.to_consent(&mut browser, &authorize, "hk-iam-smart", "hk-chan").await;
    assert!(page.body.contains("My daughter") && page.body.contains("2026-09-01"), "{}", page.body);
    world.edit(&format!("services/{SERVICE}.toml"), |text| {
        let (kept, _) = text.split_once("[detail.begins]").unwrap();
        kept.replace("daughter = {", "girl = {")
    });
    world.demo.gateway.app().tend(None).await;
    let back = {
        let question = page.field("question").unwrap();
        let form = [("question", question.as_str()), ("decision", "allow"), ("export", "yes")];
        browser.post(&page.url, &form).await.target()
    };
    let page = browser.get(&back).await;
    assert!(
        !page.body.contains("daughter") && !page.body.contains("2026-09-01"),
        "a question of its own: {}",
        page.body
    );
    let code = query(&world.agree(&mut browser, &page, &[]).await, "code").unwrap();
    let tokens = rp.redeem(&code).await.json();
    assert_eq!(tokens["authorization_details"], json!([{"type": KIND, "reference": "A-2026-001"}]));
}

/// The words that people agreed to could be given another meaning behind the same value.
#[tokio::test(flavor = "multi_thread")]
async fn other_words_for_a_detail_are_another_question() {
    let (world, rp) = world("remember_consent = \"30d\"").await;
    let details = json!({"type": KIND, "reference": "A-2026-001", "for_child": "daughter"});
    let authorize = rp.authorize(SERVICE, &[("authorization_details", &asked(&details))]);
    let mut browser = world.browser();
    let page = world.to_consent(&mut browser, &authorize, "hk-iam-smart", "hk-chan").await;
    world.agree(&mut browser, &page, &[]).await;
    let silent = rp.authorize(SERVICE, &[("authorization_details", &asked(&details)), ("prompt", "none")]);
    assert!(query(&browser.get(silent.clone()).await.target(), "code").is_some());
    world.edit(&format!("services/{SERVICE}.toml"), |text| text.replace("en = \"My daughter\"", "en = \"Nobody\""));
    world.demo.gateway.app().tend(None).await;
    let asked = browser.get(silent).await.target();
    assert_eq!(query(&asked, "error").as_deref(), Some("consent_required"), "{asked}");
}
