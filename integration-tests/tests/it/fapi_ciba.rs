//! Requests to people from clients under the FAPI profile (FAPI-CIBA), and from counters where staff help.

use integration_tests::browser::Reply;
use integration_tests::world::{SECRET, World, client_document, secret_line, service_document};
use integration_tests::{Browser, Keyed};
use serde_json::{Map, Value, json};

use crate::ciba::{code, open};

const GRANT: &str = "urn:openid:params:grant-type:ciba";

/// Opens what waits and agrees to it.
async fn agree(world: &World, phone: &mut Browser) -> Reply {
    let page = open(world, phone).await;
    world.agree_here(phone, &page).await
}

fn form(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// FAPI-CIBA section 5.2.2: requests are signed, with a context that is this request's own, and tokens are bound to a key.
#[tokio::test(flavor = "multi_thread")]
async fn fapi_ciba_5_2_2_requests_are_signed_and_tokens_bound() {
    for profile in ["fapi2", "fapi2-message-signing"] {
        let lines = format!("grant_types = [\"authorization_code\", \"{GRANT}\"]");
        let (world, client) = Keyed::world(profile, &lines).await;
        let mut phone = world.browser();
        let signs = profile != "fapi2";
        let mode = [("response_mode", "jwt")];
        let pushed = client.push(signs, if signs { &mode } else { &[] }).await;
        world.sign_in(&mut phone, &client.authorize(&pushed), "hk-iam-smart", "hk-chan").await;
        let shown = code(&world, &mut phone).await;
        let resource = format!("https://services.example/{}", integration_tests::keyed::SERVICE);
        let asks = json!({
            "scope": "openid profile", "resource": resource, "login_hint": shown, "binding_message": "Form B-12",
            "terminal_name": "Counter 7", "terminal_place": "Nansha service hall",
        });
        let plain: Vec<(String, String)> = asks
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        let refused = client.send("/bc-authorize", &plain, &[]).await;
        assert_eq!(refused.json()["error"], "invalid_request", "{profile}: it has to be signed");
        let signed = |asks: &Value, lasts: u64| {
            let now = client.now();
            let mut claims: Map<String, Value> = asks.as_object().unwrap().clone();
            let own = json!({
                "iss": client.rp.client_id, "aud": client.rp.issuer, "iat": now, "nbf": now, "exp": now + lasts,
                "jti": format!("{profile}-{lasts}"),
            });
            claims.extend(own.as_object().unwrap().clone());
            form(&[("request", &client.request_object(&claims))])
        };
        // FAPI-CIBA section 5.2.2: a request lasts an hour at most.
        let refused = client.send("/bc-authorize", &signed(&asks, 3_700), &[]).await;
        assert_eq!(refused.json()["error"], "invalid_request", "{}", refused.body);
        let asked = client.send("/bc-authorize", &signed(&asks, 60), &[]).await;
        assert_eq!(asked.status, 200, "{}", asked.body);
        let asked = asked.json();
        let page = phone.get(format!("{}/requests", world.issuer())).await;
        let check = asked["check_code"].as_str().unwrap();
        assert!(check.len() == 4 && page.body.contains(check), "the context is this request's own: {}", page.body);
        agree(&world, &mut phone).await;
        let poll = form(&[("grant_type", GRANT), ("auth_req_id", asked["auth_req_id"].as_str().unwrap())]);
        assert_eq!(client.send("/token", &poll, &[]).await.json()["error"], "invalid_request", "no proof");
        let tokens = client.send_proven("/token", &poll).await;
        assert_eq!((tokens.status.as_u16(), &tokens.json()["token_type"]), (200, &json!("DPoP")), "{}", tokens.body);
        let access = tokens.json()["access_token"].as_str().unwrap().to_owned();
        let told = client.send("/introspect", &form(&[("token", &access)]), &[]).await;
        assert!(told.json()["cnf"]["jkt"].is_string(), "{}", told.body);
        assert_eq!(client.userinfo(&access).await.json()["name"], "CHAN, Tai Man");
        let again = client.send_proven("/token", &poll).await;
        assert_eq!(again.json()["error"], "invalid_grant", "once");
    }
}

/// Where staff help, policy decides about that too, and it is on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_counter_where_staff_help_asks_people() {
    let lines = format!(
        "{}\ngrant_types = [\"{GRANT}\"]\nplace = \"counter\"\nstaff_assisted = true\ndefault_service = \"assisted\"",
        secret_line()
    );
    let counter = client_document("counter", "", "client_secret_basic", &lines).replace("redirect_uris = [\"\"]\n", "");
    let portal = client_document("portal", "https://portal.example/cb", "client_secret_basic", &secret_line());
    let own = service_document("own", &["counter", "portal"], &["hk-iam-smart"], "");
    let assisted = service_document("assisted", &["counter", "portal"], &["hk-iam-smart"], "")
        .replace("[[allow]]", "[[allow]]\ncapacities = [\"own\", \"assisted\"]");
    let world = World::with(&[
        ("clients/counter.toml", &counter),
        ("clients/portal.toml", &portal),
        ("services/own.toml", &own),
        ("services/assisted.toml", &assisted),
    ])
    .await;
    let counter = world.client("counter", Some(SECRET), "https://unused.example/");
    let portal = world.client("portal", Some(SECRET), "https://portal.example/cb");
    let mut phone = world.browser();
    world.sign_in(&mut phone, &portal.authorize("assisted", &[]), "hk-iam-smart", "hk-chan").await;
    let mut asked = Vec::new();
    for service in ["own", "assisted"] {
        let shown = code(&world, &mut phone).await;
        let resource = format!("https://services.example/{service}");
        let ask = [
            ("scope", "openid profile"),
            ("resource", &resource),
            ("login_hint", &shown),
            ("terminal_name", "Counter 7"),
            ("terminal_place", "Hall"),
        ];
        let answer = counter.post("/bc-authorize", &ask).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        asked.push(answer.json()["auth_req_id"].as_str().unwrap().to_owned());
        if service == "own" {
            // People are helped here, and this matter is everybody's own.
            let requests = format!("{}/requests", world.issuer());
            let question = phone.get(&requests).await.field("question").unwrap();
            let begun = phone.post(&requests, &[("question", &question), ("decision", "open")]).await;
            assert!(begun.status == 200 && begun.field("question").is_none(), "{}", begun.body);
            phone.post(requests, &[("question", &question), ("decision", "no")]).await;
        }
    }
    agree(&world, &mut phone).await;
    let poll = async |id: &str| counter.token(&[("grant_type", GRANT), ("auth_req_id", id)]).await;
    assert_ne!(poll(&asked[0]).await.status, 200);
    let tokens = poll(&asked[1]).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let record = world.record("code_issued").await;
    assert_eq!(record["assisted"], true, "{record}");
}
