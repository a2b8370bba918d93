//! The simulator driven route by route; its results arrive over real TLS.

mod bench;

use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use bench::{Bench, GET_KEY, PROFILE, RETURN, REVOKE_KEY, STEP_UP, TOKEN, login_path, unwrap_key};

const CHAN: &[(&str, &str)] = &[("person", "hk-chan")];
const ALL_FIELDS: &[&str] = &["idNo", "enName", "chName", "birthDate", "gender"];

#[tokio::test]
async fn a_login_and_a_profile() {
    let bench = Bench::new().await;
    let back = bench.press(&[], CHAN).await;
    assert_eq!((back.status, back.param("state").as_deref()), (StatusCode::SEE_OTHER, Some("s_1-x")));
    assert!(bench.control.last_query().unwrap().contains("state=s_1-x"));
    let exchange = json!({ "code": back.param("code").unwrap(), "grantType": "authorization_code" });
    let token = bench.ask(TOKEN, exchange).await.unwrap();
    assert_eq!((&token["tokenType"], &token["userType"]), (&json!("Bearer"), &json!("sign")));
    assert_eq!((&token["expiresIn"], &token["scope"]), (&json!(14_400_000), &json!("eidapi_auth eidapi_profiles")));
    assert!(token["issueAt"].as_u64().unwrap() > 1_700_000_000_000 && token["lastModifiedDate"].is_u64());
    let open_id = token["openID"].as_str().unwrap();
    assert!(open_id.ends_with("%3D") && open_id.len() <= 64);
    assert_eq!(bench.log_in(CHAN).await["openID"], token["openID"], "stable");

    let answer = bench.ask(PROFILE, bench.request(&token, "b1", ALL_FIELDS)).await.unwrap();
    assert_eq!(answer["authByQR"], true);
    let (code, content, key) = bench.result().await;
    assert_eq!((code.as_str(), key), ("D00000", bench.key()));
    assert_eq!((&content["businessID"], &content["state"]), (&json!("b1"), &json!("s-b1")));
    assert_eq!((&content["openID"], &content["chNameVerified"]), (&token["openID"], &json!("U+9673 U+5927 U+6587")));
    assert_eq!(content["idNo"], json!({ "Identification": "A123456", "CheckDigit": "3" }));
    assert_eq!(bench.control.last_business_id().as_deref(), Some("b1"));
    assert_eq!(bench.control.last_profile_state().as_deref(), Some("s-b1"));
    let counters = bench.control.counters();
    assert_eq!((counters.qr, counters.token, counters.get_key, counters.profile), (2, 2, 1, 1));
    assert_eq!((counters.callbacks, counters.stale_timestamps, counters.bad_signatures), (1, 0, 0));
}

#[tokio::test]
async fn only_requested_fields_come_back() {
    let bench = Bench::new().await;
    let token = bench.log_in(CHAN).await;
    bench.ask(PROFILE, bench.request(&token, "b1", &["gender"])).await.unwrap();
    let (_, content, _) = bench.result().await;
    let mut names: Vec<_> = content.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["businessID", "gender", "openID", "state"]);
}

#[tokio::test]
async fn login_requests_are_checked() {
    let bench = Bench::without_key().await;
    for (name, value, code) in [
        ("clientID", "nobody", "D20003"),
        ("responseType", "token", "D20003"),
        ("source", "App_Link", "D20007"),
        ("source", "", "D20002"),
        ("redirectURI", "https://elsewhere.example/", "D20008"),
        ("scope", "eidapi_auth eidapi_sign", "D20015"),
        ("scope", "eidapi_unheard_of", "D20015"),
        ("state", "with space", "D20003"),
        ("state", "0123456789012345678901234567890123456", "D20003"),
        ("lang", "pt-PT", "D20003"),
        ("brokerPage", "yes", "D20003"),
        ("cScope", "corpidapi_auth", "D20003"),
    ] {
        let reply = bench.get(&login_path(&[(name, value)])).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{name}={value}");
        assert!(reply.body.contains(code) && reply.location.is_empty(), "{name}={value}");
    }
    let repeated = bench.get(&format!("{}&state=y", login_path(&[]))).await;
    assert!(repeated.body.contains("D20004"));
    assert!(bench.get("/api/v1/auth/getQR").await.body.contains("D20001"));
}

#[tokio::test]
async fn the_login_page_speaks_two_languages_and_knows_the_device() {
    let bench = Bench::without_key().await;
    let page = bench.get(&login_path(&[])).await.body;
    assert!(page.contains("以手機掃描") && page.contains("/code.svg") && page.contains("SIMULATOR"));
    assert!(page.contains("name=\"hold\"") && !page.contains("<script") && !page.contains("style=\""));
    let page = bench.get(&login_path(&[("lang", "en-US"), ("source", "iOS_Safari")])).await.body;
    assert!(page.contains("Open the app as:") && !page.contains("/code.svg"));
    assert!(bench.get("/code.svg").await.body.starts_with("<svg"));
}

#[tokio::test]
async fn logins_can_be_refused_and_states_be_wrong() {
    let bench = Bench::new().await;
    let cancelled = bench.press(&[], &[("person", "")]).await;
    assert_eq!(cancelled.param("error_code").as_deref(), Some("D40001"));
    assert_eq!(cancelled.param("state").as_deref(), Some("s_1-x"));
    bench.control.set(Misbehaviour::RefuseSilently);
    assert_eq!(bench.press(&[], &[("person", "")]).await.location, format!("{RETURN}?state=s_1-x"));
    bench.control.set(Misbehaviour::LoginError("D40003".to_owned()));
    assert_eq!(bench.press(&[], CHAN).await.param("error_code").as_deref(), Some("D40003"));
    bench.control.set(Misbehaviour::WrongState);
    assert_ne!(bench.press(&[], CHAN).await.param("state").unwrap(), "s_1-x");
    bench.control.set(Misbehaviour::OmitState);
    assert_eq!(bench.press(&[], CHAN).await.param("state"), None);
    bench.control.set(Misbehaviour::DuplicateState);
    assert_eq!(bench.press(&[], CHAN).await.location.matches("state=s_1-x").count(), 2);
}

#[tokio::test]
async fn forms_and_codes_work_once() {
    let bench = Bench::new().await;
    let page = bench.get(&login_path(&[])).await.body;
    let pairs = [("handle", form_handle(&page).unwrap()), ("person", "hk-chan")];
    let code = bench.form("/login/decide", &pairs).await.param("code").unwrap();
    assert_eq!(bench.form("/login/decide", &pairs).await.status, StatusCode::BAD_REQUEST);
    let exchange = json!({ "code": code, "grantType": "authorization_code" });
    assert!(bench.ask(TOKEN, exchange.clone()).await.is_ok());
    assert_eq!(bench.ask(TOKEN, exchange).await.unwrap_err(), "D40004");
    let other_client = [("clientID", "service-2")];
    let code = bench.press(&other_client, CHAN).await.param("code").unwrap();
    let exchange = json!({ "code": code, "grantType": "authorization_code" });
    assert_eq!(bench.ask(TOKEN, exchange).await.unwrap_err(), "D40004", "another client's code");
    assert_eq!(bench.ask(TOKEN, json!({ "code": "x", "grantType": "password" })).await.unwrap_err(), "D20003");
    assert_eq!(bench.ask(TOKEN, json!({ "code": "" })).await.unwrap_err(), "D20002");
    assert_eq!(bench.ask(TOKEN, json!({})).await.unwrap_err(), "D20001");
}

#[tokio::test]
async fn headers_are_checked() {
    let bench = Bench::without_key().await;
    let call = || bench.call(GET_KEY, String::new());
    for name in ["content-type", "clientID", "signatureMethod", "timestamp", "nonce", "signature"] {
        assert_eq!(bench.send_call(call().without(name)).await.code(), "D20001", "{name}");
        assert_eq!(bench.send_call(call().set(name, "")).await.code(), "D20002", "{name}");
        let mut twice = call();
        twice.headers.push((name, "x".to_owned()));
        assert_eq!(bench.send_call(twice).await.code(), "D20004", "{name}");
    }
    for (name, value, code) in [
        ("content-type", "text/plain", "D20003"),
        ("clientID", "nobody", "D20003"),
        ("signatureMethod", "HmacSHA512", "D20005"),
        ("timestamp", "1700000000", "D20003"),
        ("timestamp", "+1900000000000", "D20003"),
        ("nonce", "0123456789012345678901234567890123456", "D20003"),
    ] {
        assert_eq!(bench.send_call(call().set(name, value).sign()).await.code(), code, "{name}: {value}");
    }
    let mut body = call();
    body.body = "{}".to_owned();
    assert_eq!(bench.send_call(body.sign()).await.code(), "D20003", "the body must be empty");
    assert_eq!(bench.send_call(call()).await.code(), "D00000");
}

#[tokio::test]
async fn signatures_cover_everything_and_are_url_encoded() {
    let bench = Bench::without_key().await;
    let call = || bench.call(GET_KEY, String::new());
    let plain = |call: &bench::Call| {
        let (_, encoded) = call.headers.iter().find(|(name, _)| *name == "signature").unwrap();
        encoded.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=")
    };
    let right = call();
    let unencoded = plain(&right);
    assert_eq!(bench.send_call(right.set("signature", &unencoded)).await.code(), "D20006");
    assert_eq!(bench.send_call(call().set("nonce", "another")).await.code(), "D20006");
    assert_eq!(bench.send_call(call().set("clientID", "service-2")).await.code(), "D20006");
    let mut body = call();
    body.body = "{}".to_owned();
    assert_eq!(bench.send_call(body).await.code(), "D20006");
    assert_eq!(bench.control.counters().bad_signatures, 4);
}

#[tokio::test]
async fn timestamps_do_not_go_back_and_nonces_do_not_repeat() {
    let bench = Bench::without_key().await;
    let (early, late) = (bench.call(GET_KEY, String::new()), bench.call(GET_KEY, String::new()));
    let nonce = late.headers.iter().find(|(name, _)| *name == "nonce").unwrap().1.clone();
    assert_eq!(bench.send_call(late).await.code(), "D00000");
    assert_eq!(bench.send_call(early).await.code(), "D20003");
    assert_eq!(bench.control.counters().stale_timestamps, 1);
    let repeated = bench.call(GET_KEY, String::new()).set("nonce", &nonce).sign();
    assert_eq!(bench.send_call(repeated).await.code(), "D20004");
    assert_eq!(bench.send_call(bench.call(GET_KEY, String::new())).await.code(), "D00000");
}

#[tokio::test]
async fn a_key_lives_until_it_is_revoked() {
    let bench = Bench::new().await;
    let first = bench.key();
    bench.fetch_key().await;
    assert_eq!(bench.key(), first);
    let token = json!({ "code": "x", "grantType": "authorization_code" });
    bench.control.revoke_cek();
    assert_eq!(bench.ask(TOKEN, token.clone()).await.unwrap_err(), "D30002");
    bench.fetch_key().await;
    assert_ne!(bench.key(), first);
    assert_eq!(bench.ask(TOKEN, token.clone()).await.unwrap_err(), "D40004", "the key works again");
    assert_eq!(bench.send_call(bench.call(REVOKE_KEY, String::new())).await.code(), "D00000");
    assert_eq!(bench.ask(TOKEN, token).await.unwrap_err(), "D30002");
    assert_eq!(bench.control.counters().revoke_key, 1);
}

#[tokio::test]
async fn content_must_be_decryptable() {
    let bench = Bench::new().await;
    let code = async |body: &str| bench.send_call(bench.call(TOKEN, body.to_owned())).await.code();
    assert_eq!(code("").await, "D20003");
    assert_eq!(code("{}").await, "D20001");
    assert_eq!(code(r#"{"content":7}"#).await, "D20003");
    assert_eq!(code(r#"{"content":"!"}"#).await, "D30004");
    let foreign = crypto::seal(&[7; 32], &[0; 12], b"{}").unwrap();
    assert_eq!(code(&json!({ "content": STANDARD.encode(foreign) }).to_string()).await, "D30004");
    let long = crypto::seal(&bench.key(), &[0; 16], b"{}").unwrap();
    assert_eq!(code(&json!({ "content": STANDARD.encode(long) }).to_string()).await, "D30004");
    let text = crypto::seal(&bench.key(), &[0; 12], b"code=x").unwrap();
    assert_eq!(code(&json!({ "content": STANDARD.encode(text) }).to_string()).await, "D20003");
}

#[tokio::test]
async fn profile_requests_are_checked() {
    let bench = Bench::new().await;
    let token = bench.log_in(CHAN).await;
    let refused = async |member: &str, value: Value| {
        let mut request = bench.request(&token, "b1", ALL_FIELDS);
        request[member] = value;
        bench.ask(PROFILE, request).await.unwrap_err()
    };
    for (member, value, code) in [
        ("accessToken", json!("guess"), "D20009"),
        ("openID", json!("guess"), "D20010"),
        ("source", json!("Toaster"), "D20007"),
        ("redirectURI", json!("https://elsewhere.example/"), "D20008"),
        ("state", json!("with space"), "D20003"),
        ("businessID", json!("0123456789012345678901234567890123456"), "D20003"),
        ("businessID", json!("號"), "D20003"),
        ("businessID", Value::Null, "D20001"),
        ("profileFields", json!([]), "D20002"),
        ("profileFields", json!("idNo"), "D20003"),
        ("profileFields", json!(["idNo", "maritalStatus"]), "D20003"),
        ("profileFields", json!(["idNo", "idNo"]), "D20004"),
    ] {
        assert_eq!(refused(member, value.clone()).await, code, "{member}: {value}");
    }
    let right = bench.request(&token, "b1", ALL_FIELDS);
    assert!(bench.ask(PROFILE, right.clone()).await.is_ok(), "refused calls used nothing up");
    assert_eq!(bench.ask(PROFILE, right).await.unwrap_err(), "D20011");

    let auth_only = [("scope", "eidapi_auth")];
    let code = bench.press(&auth_only, CHAN).await.param("code").unwrap();
    let token = bench.ask(TOKEN, json!({ "code": code, "grantType": "authorization_code" })).await.unwrap();
    assert_eq!(bench.ask(PROFILE, bench.request(&token, "b2", ALL_FIELDS)).await.unwrap_err(), "D20015");
}

#[tokio::test]
async fn a_refusal_tells_nothing_but_which_request() {
    let bench = Bench::new().await;
    bench.control.approval(Approval::Refuse);
    let token = bench.log_in(CHAN).await;
    bench.ask(PROFILE, bench.request(&token, "b1", ALL_FIELDS)).await.unwrap();
    let (code, content, _) = bench.result().await;
    assert_eq!((code.as_str(), content), ("D50001", json!({ "businessID": "b1", "state": "s-b1" })));
}

#[tokio::test]
async fn a_person_decides_on_the_phone() {
    let bench = Bench::new().await;
    let token = bench.log_in(&[("person", "hk-chan"), ("hold", "1")]).await;
    let answer = bench.ask(PROFILE, bench.request(&token, "b1", &["idNo", "gender"])).await.unwrap();
    let ticket = answer["ticketID"].as_str().unwrap();
    let page = bench.get("/phone").await.body;
    assert!(page.contains(ticket) && page.contains("service-1") && page.contains("idNo, gender"));
    assert_eq!(bench.control.counters().callbacks, 0);
    let approve = [("ticketID", ticket), ("from", "phone"), ("decision", "approve")];
    assert_eq!(bench.form("/phone/decide", &approve).await.location, "/phone");
    assert_eq!(bench.result().await.0, "D00000");
    assert!(!bench.get("/phone").await.body.contains(ticket));
    bench.form("/phone/decide", &approve).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.control.counters().callbacks, 1, "decided once");
    assert_eq!(bench.control.callback_statuses(), [204]);
}

#[tokio::test]
async fn the_app_returns_to_the_service() {
    let bench = Bench::new().await;
    bench.control.approval(Approval::Manual);
    let token = bench.log_in(CHAN).await;
    let mut request = bench.request(&token, "b1", &["idNo"]);
    request["source"] = "iOS_Safari".into();
    let answer = bench.ask(PROFILE, request).await.unwrap();
    assert_eq!(answer["authByQR"], false);
    let ticket = answer["ticketID"].as_str().unwrap();
    let app = |kind: &str| format!("/app/{kind}?ticketID={ticket}");
    assert!(bench.get(&app("profile")).await.body.contains(ticket));
    assert_eq!(bench.get(&app("re-auth")).await.status, StatusCode::BAD_REQUEST, "another kind");
    let back = format!("{RETURN}?state=s-b1");
    let reject = [("ticketID", ticket), ("from", "app"), ("decision", "reject")];
    assert_eq!(bench.form("/phone/decide", &reject).await.location, back);
    assert_eq!(bench.result().await.0, "D50001");
    assert_eq!(bench.get(&app("profile")).await.location, back, "decided already");
}

#[tokio::test]
async fn a_lost_phone_answers_nothing() {
    let bench = Bench::new().await;
    bench.control.approval(Approval::Never);
    let token = bench.log_in(CHAN).await;
    let answer = bench.ask(PROFILE, bench.request(&token, "b1", &["idNo"])).await.unwrap();
    let app = format!("/app/profile?ticketID={}", answer["ticketID"].as_str().unwrap());
    assert_eq!(bench.get(&app).await.status, StatusCode::BAD_REQUEST);
    bench.control.approval(Approval::After(Duration::from_millis(20)));
    bench.ask(PROFILE, bench.request(&token, "b2", &["idNo"])).await.unwrap();
    assert_eq!(bench.result().await.1["businessID"], "b2");
}

#[tokio::test]
async fn a_step_up_takes_any_further_member() {
    let bench = Bench::new().await;
    let token = bench.log_in(CHAN).await;
    let mut request = bench.request(&token, "b1", &[]);
    request.as_object_mut().unwrap().remove("profileFields");
    request["factors"] = json!({ "unary": ["FR"] });
    bench.ask(STEP_UP, request.clone()).await.unwrap();
    let (code, content, _) = bench.result().await;
    assert_eq!(code, "D00000");
    assert_eq!(content, json!({ "businessID": "b1", "state": "s-b1", "openID": token["openID"] }));
    assert_eq!(bench.control.last_step_up_request(), Some(request));
    assert_eq!(bench.control.last_business_id().as_deref(), Some("b1"));
    assert_eq!(bench.control.last_profile_request(), None);
    assert_eq!(bench.control.counters().step_up, 1);
    bench.control.approval(Approval::Refuse);
    bench.ask(STEP_UP, bench.request(&token, "b2", &[])).await.unwrap();
    assert!(bench.results(2).await[1].contains("D80001"));
}

#[tokio::test]
async fn a_direct_login_has_no_state() {
    let bench = Bench::new().await;
    let page = bench.get("/direct").await.body;
    assert!(page.contains("service-1") && !page.contains("service-2"));
    let back = bench.form("/direct", &[("client", "service-1"), ("person", "hk-wong")]).await;
    assert!(back.location.starts_with("https://gateway.example/direct?code="));
    assert!(back.param("RefID").is_some() && back.param("state").is_none());
    let exchange = json!({ "code": back.param("code").unwrap(), "grantType": "authorization_code" });
    assert_eq!(bench.ask(TOKEN, exchange).await.unwrap()["userType"], "default");
    let refused = bench.form("/direct", &[("client", "service-2"), ("person", "hk-wong")]).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn forged_and_replayed_results_are_well_formed() {
    let bench = Bench::new().await;
    assert_eq!(bench.control.replay_last_callback().await, 0);
    bench.control.approval(Approval::Manual);
    let token = bench.log_in(CHAN).await;
    bench.ask(PROFILE, bench.request(&token, "b1", ALL_FIELDS)).await.unwrap();
    assert_eq!(bench.control.forge_callback("b1", "s-b1").await, 204);
    let (code, content, key) = bench.result().await;
    assert_eq!((code.as_str(), &content["openID"]), ("D00000", &token["openID"]));
    assert_eq!((&content["businessID"], &content["state"]), (&json!("b1"), &json!("s-b1")));
    assert_ne!(content["idNo"]["Identification"], "A123456", "another person");
    assert_ne!(key, bench.key());
    assert_eq!(bench.control.counters().callbacks, 0);

    bench.control.approval(Approval::AtOnce);
    bench.ask(PROFILE, bench.request(&token, "b2", ALL_FIELDS)).await.unwrap();
    bench.results(2).await;
    assert_eq!(bench.control.replay_last_callback().await, 204);
    let results = bench.results(3).await;
    assert_eq!(results[1], results[2]);
}

#[tokio::test]
async fn results_are_wrong_on_request() {
    let bench = Bench::new().await;
    let token = bench.log_in(CHAN).await;
    let result = async |misbehaviour: Misbehaviour, count: usize| {
        bench.control.set(misbehaviour);
        let id = format!("b{count}");
        bench.ask(PROFILE, bench.request(&token, &id, ALL_FIELDS)).await.unwrap();
        let last = bench.results(count).await.pop().unwrap();
        serde_json::from_str::<Value>(&last).unwrap_or_default()
    };
    assert!(result(Misbehaviour::GarbageCallback, 1).await.is_null());
    let bare = result(Misbehaviour::ResultCode("D50003".to_owned()), 2).await;
    assert_eq!((&bare["code"], bare.get("content"), bare.get("secretKey")), (&json!("D50003"), None, None));
    let wrong = result(Misbehaviour::CallbackWrongState, 3).await;
    assert_ne!(bench.decrypt(&wrong).unwrap()["state"], "s-b3");
    assert_eq!(bench.decrypt(&result(Misbehaviour::CallbackForeignCek, 4).await), None);
    let wrong = bench.decrypt(&result(Misbehaviour::WrongCheckDigit, 5).await).unwrap();
    assert_ne!(wrong["idNo"]["CheckDigit"], "3");
    let text = result(Misbehaviour::CekAsText, 6).await;
    assert_eq!(unwrap_key(text["secretKey"].as_str().unwrap()), STANDARD.encode(bench.key()).as_bytes());
    result(Misbehaviour::DuplicateCallback, 8).await;
    assert_eq!(bench.control.counters().callbacks, 8);
}

#[tokio::test]
async fn answers_are_wrong_on_request() {
    let bench = Bench::new().await;
    let token = async |misbehaviour: Misbehaviour| {
        let code = bench.press(&[], CHAN).await.param("code").unwrap();
        bench.control.set(misbehaviour);
        let call = bench.sealed(TOKEN, &json!({ "code": code, "grantType": "authorization_code" }));
        bench.decrypt(&bench.send_call(call).await.json())
    };
    for misbehaviour in [Misbehaviour::TamperedFrame, Misbehaviour::WrongIvLength, Misbehaviour::ForeignCek] {
        assert_eq!(token(misbehaviour.clone()).await, None, "{misbehaviour:?}");
    }
    assert_eq!(token(Misbehaviour::NoOpenId).await.unwrap().get("openID"), None);
    assert_eq!(token(Misbehaviour::EmptyOpenId).await.unwrap()["openID"], "");
    let get_key = async |misbehaviour: Misbehaviour| {
        bench.control.set(misbehaviour);
        bench.send_call(bench.call(GET_KEY, String::new())).await
    };
    let key = get_key(Misbehaviour::CekAsText).await.json();
    assert_eq!(unwrap_key(key["content"]["secretKey"].as_str().unwrap()).len(), 44);
    let key = get_key(Misbehaviour::AbsoluteExpiry).await.json();
    let times = ["issueAt", "expiresIn"].map(|name| key["content"][name].as_u64().unwrap());
    assert_eq!(times[1] - times[0], 3_600_000);
    bench.control.revoke_cek();
    let key = get_key(Misbehaviour::ShortCek(Duration::from_millis(30))).await.json();
    assert_eq!(key["content"]["expiresIn"], 30);
    assert!(get_key(Misbehaviour::Garbage).await.body.starts_with('<'));
    assert_eq!(get_key(Misbehaviour::Status(503)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get_key(Misbehaviour::Code("D40003".to_owned())).await.code(), "D40003");
    assert_eq!(get_key(Misbehaviour::Slow(Duration::from_millis(1))).await.code(), "D00000");
    for (once, code) in [(Misbehaviour::CodeOnce("D30001".to_owned()), "D30001"), (Misbehaviour::StaleOnce, "D20003")] {
        assert_eq!(get_key(once).await.code(), code);
        assert_eq!(bench.send_call(bench.call(GET_KEY, String::new())).await.code(), "D00000");
    }
}
