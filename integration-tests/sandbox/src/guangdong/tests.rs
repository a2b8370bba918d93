//! The platform driven route by route, without a socket.

mod bench;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::Value;

use super::*;
use bench::{AUTHORIZE, Bench, CALLBACK, GENERATIONS, ORIGIN, TOKEN, extproperty, with};

#[tokio::test]
async fn a_login_passes_through_every_generation() {
    for generation in GENERATIONS {
        let bench = Bench::new();
        let back = bench.press(generation, "gd-li").await;
        let code = back.code();
        assert_eq!(back.location, format!("{CALLBACK}&code={code}"), "only the code is added");
        let answer = bench.redeem(generation, &code, &[]).await.json();
        assert_eq!(answer["expires_in"], "179");
        assert_eq!(answer["scope"], "all");
        assert!(answer["refresh_token"].is_string());
        let told = bench.tokeninfo(generation, answer["access_token"].as_str().unwrap()).await.json();
        assert_eq!(STANDARD.decode(told["signdata"].as_str().unwrap()).unwrap().len(), 128);
        assert_eq!(told["pareobj"], Value::Null);
        let userobj = &told["userobj"];
        for (name, value) in [
            ("cn", "李伟强"),
            ("uid", "liwq_1979"),
            ("usertype", "1"),
            ("idcardtype", "10"),
            ("sex", "1"),
            ("mail", "li.weiqiang@example.com"),
            ("isreal", "true"),
            ("creditable_level_of_account", "L3"),
            ("parent_uidcode", "-1"),
        ] {
            assert_eq!(userobj[name], value, "{generation:?} {name}");
        }
        assert_eq!(extproperty(userobj, "accout_type"), Some("3"));
        assert_eq!(extproperty(userobj, "origin"), Some("gdbs"));
        let ways = &told["user_creditable_level"]["creditable_level_of_account_way_list"];
        assert_eq!(ways[2]["auth_time"], "2025-03-14 10:20:30");
        assert_eq!(ways[2]["way_code"], "GW");
        let counters = bench.sim.control().counters();
        assert_eq!(counters, Counters { authorize: 1, token: 1, tokeninfo: 1, logout: 0 });
        assert!(bench.sim.control().last_authorize_query().unwrap().contains("service=initService"));
    }
}

#[tokio::test]
async fn only_the_legacy_generation_mixes_case() {
    let bench = Bench::new();
    let mixed = ["userIdCode", "idCardNumber", "telephoneNumber", "extProperties", "createTime", "orgInfo"];
    let lower = ["useridcode", "idcardnumber", "telephonenumber", "extproperties", "createtime"];
    for generation in GENERATIONS {
        let told = bench.login(generation, "gd-huang").await.json();
        let is_legacy = generation == Generation::Legacy;
        assert!(mixed.iter().all(|name| told["userobj"].get(name).is_some() == is_legacy), "{told}");
        assert!(lower.iter().all(|name| told["userobj"].get(name).is_some() != is_legacy), "{told}");
    }
    let legacy = bench.login(Generation::Legacy, "gd-huang").await.json();
    assert_eq!(legacy["userobj"]["userIdCode"], "gd.91d7e3605bc84fa2");
    assert_eq!(legacy["userobj"]["telephoneNumber"], "10000000002");
}

#[tokio::test]
async fn authorize_takes_a_final_slash_and_a_legacy_scope() {
    let bench = Bench::new();
    for generation in GENERATIONS {
        let reply = bench.get(&with(&format!("{}/authorize/", generation.base()), AUTHORIZE, &[])).await;
        assert!(reply.status == StatusCode::OK || reply.status == StatusCode::SEE_OTHER);
    }
    let listed = [("scope", "cn+uid+userIdCode")];
    assert_eq!(bench.authorize(Generation::Legacy, &listed, "").await.status, StatusCode::OK);
    assert_eq!(bench.authorize(Generation::Current, &listed, "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_wrong_authorization_request_stays_here() {
    let bench = Bench::new();
    for wrong in [
        ("client_id", "nobody"),
        ("service", "anotherService"),
        ("scope", "openid"),
        ("response_type", "token"),
        ("redirect_uri", "https://gateway.example/callback/other"),
        ("redirect_uri", "https://gateway.example:444/callback/gd"),
        ("redirect_uri", "http://gateway.example/callback/gd"),
        ("redirect_uri", "https://gateway.example.evil.example/callback/gd"),
        ("redirect_uri", "https://user@gateway.example/callback/gd"),
        ("redirect_uri", "https://gateway.example/callback/gd#part"),
        ("redirect_uri", "not an address"),
    ] {
        let reply = bench.authorize(Generation::Current, &[wrong], "").await;
        assert_eq!((reply.status, reply.location.as_str()), (StatusCode::BAD_REQUEST, ""), "{wrong:?}");
    }
    let twice = format!("{}&scope=all", with("/tif/sso/connect/page/oauth2/authorize", AUTHORIZE, &[]));
    assert_eq!(bench.get(&twice).await.status, StatusCode::BAD_REQUEST);
    let landing = "/pscp/sso/static/?redirect_uri=https%3A%2F%2Fevil.example%2F&client_id=gateway";
    assert_eq!(bench.get(landing).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn state_comes_back_only_when_told_to() {
    for (echo, expected) in [(false, None), (true, Some("s1"))] {
        for generation in GENERATIONS {
            let bench = Bench::new();
            bench.sim.control().echo_state(echo);
            let handle = bench.form(generation, &[("state", "s1")]).await;
            let params = bench.decide(&handle, &[("person", "gd-li")]).await.params();
            let state = params.iter().find(|(name, _)| name == "state").map(|(_, value)| value.as_str());
            assert_eq!(state, expected, "{generation:?}");
        }
    }
}

#[tokio::test]
async fn a_code_works_once_for_its_client_address_and_generation() {
    let bench = Bench::new();
    let current = Generation::Current;
    let code = bench.press(current, "gd-li").await.code();
    assert!(bench.redeem(current, &code, &[]).await.json()["access_token"].is_string());
    let again = bench.redeem(current, &code, &[]).await;
    assert_eq!((again.status, &again.json()["errcode"]), (StatusCode::OK, &"SIM-CODE".into()));
    assert!(again.json().get("access_token").is_none());

    for (wrong, errcode) in [
        (vec![("redirect_uri", "https://gateway.example/callback/gd")], "SIM-REDIRECT-URI"),
        (vec![("redirect_uri", "https://gateway.example/callback/gd?flow=f-1+2")], "SIM-REDIRECT-URI"),
        (vec![("client_id", "other"), ("client_secret", "other-secret/+")], "SIM-CODE"),
    ] {
        let code = bench.press(current, "gd-li").await.code();
        assert_eq!(bench.redeem(current, &code, &wrong).await.json()["errcode"], errcode);
        assert_eq!(bench.redeem(current, &code, &[]).await.json()["errcode"], "SIM-CODE", "spent by the attempt");
    }
    let code = bench.press(Generation::Middle, "gd-li").await.code();
    assert_eq!(bench.redeem(current, &code, &[]).await.json()["errcode"], "SIM-CODE");
}

#[tokio::test]
async fn a_wrong_token_call_is_refused_in_the_words_of_its_generation() {
    let bench = Bench::new();
    let code = bench.press(Generation::Current, "gd-li").await.code();
    for (wrong, errcode) in [
        (("client_secret", "guess"), "SIM-CLIENT"),
        (("client_secret", ""), "SIM-CLIENT"),
        (("client_id", "nobody"), "SIM-CLIENT"),
        (("grant_type", "code"), "SIM-GRANT-TYPE"),
        (("scope", "openid"), "SIM-SCOPE"),
    ] {
        assert_eq!(bench.redeem(Generation::Current, &code, &[wrong]).await.json()["errcode"], errcode, "{wrong:?}");
    }
    assert!(bench.redeem(Generation::Current, &code, &[]).await.json()["access_token"].is_string());
    let legacy = bench.redeem(Generation::Legacy, "unknown", &[]).await.json();
    assert_eq!(legacy["error_code"], "SIM-CODE");
    assert!(legacy["error_msg"].is_string() && legacy.get("errcode").is_none());
    let unknown = bench.tokeninfo(Generation::Current, "unknown").await.json();
    assert_eq!(unknown, serde_json::json!({ "errcode": "SIM-TOKEN" }));
}

#[tokio::test]
async fn post_is_not_taken() {
    let bench = Bench::new();
    for generation in GENERATIONS {
        for endpoint in ["access_token", "tokeninfo"] {
            let path = format!("{}/{endpoint}", generation.base());
            let reply = bench.send(Method::POST, &path, "", web::encode(TOKEN)).await;
            assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
        }
    }
    assert_eq!(bench.sim.control().counters().token, 0);
}

#[tokio::test]
async fn a_form_works_once_and_only_as_offered() {
    let bench = Bench::new();
    let handle = bench.form(Generation::Current, &[]).await;
    assert_eq!(bench.decide(&handle, &[("person", "gd-li")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(bench.decide(&handle, &[("person", "gd-li")]).await.status, StatusCode::BAD_REQUEST);
    for wrong in [[("person", "nobody"), ("method", "")], [("person", "gd-li"), ("method", "5")]] {
        let handle = bench.form(Generation::Current, &[]).await;
        assert_eq!(bench.decide(&handle, &wrong).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_cancelled_login_comes_back_without_a_code() {
    let bench = Bench::new();
    for generation in GENERATIONS {
        assert_eq!(bench.press(generation, "").await.location, CALLBACK);
    }
}

#[tokio::test]
async fn the_form_says_how_the_login_was_done() {
    let bench = Bench::new();
    for (person, method, expected) in [("gd-lin", "", "2"), ("gd-lin", "1", "1"), ("gd-zeng", "", "4")] {
        let handle = bench.form(Generation::Current, &[]).await;
        let code = bench.decide(&handle, &[("person", person), ("method", method)]).await.code();
        let answer = bench.redeem(Generation::Current, &code, &[]).await.json();
        let told = bench.tokeninfo(Generation::Current, answer["access_token"].as_str().unwrap()).await.json();
        assert_eq!(extproperty(&told["userobj"], "accout_type"), Some(expected));
    }
}

#[tokio::test]
async fn the_platform_session_serves_every_client_until_logout() {
    let bench = Bench::new();
    let handle = bench.form(Generation::Current, &[]).await;
    let first = bench.decide(&handle, &[("person", "gd-huang"), ("method", "4"), ("remember", "1")]).await;
    let cookie = first.cookie_pair();
    assert!(first.cookie.contains("HttpOnly") && cookie.starts_with("__Host-"));
    for generation in GENERATIONS {
        let other = [("client_id", "other"), ("prompt", "login")];
        let back = bench.authorize(generation, &other, cookie).await;
        let proof = [("client_id", "other"), ("client_secret", "other-secret/+")];
        let answer = bench.redeem(generation, &back.code(), &proof).await.json();
        let told = bench.tokeninfo(generation, answer["access_token"].as_str().unwrap()).await.json();
        assert_eq!(told["userobj"]["cn"], "黄丽");
        assert_eq!(extproperty(&told["userobj"], "accout_type"), Some("4"), "as it was done then");
    }
    let address = "/_tif_sso_logout_/?redirect_uri=https%3A%2F%2Fgateway.example%2Fbye%3Fa%3D1";
    let out = bench.send(Method::GET, address, cookie, String::new()).await;
    assert_eq!(out.location, "https://gateway.example/bye?a=1");
    assert!(out.cookie.contains("Max-Age=0"));
    let after = bench.authorize(Generation::Current, &[], cookie).await;
    assert!(after.location.starts_with(&format!("{ORIGIN}/pscp/sso/static/")), "the old cookie is worth nothing");
    assert_eq!(bench.sim.control().counters().logout, 1);
}

#[tokio::test]
async fn without_remember_there_is_no_session() {
    let bench = Bench::new();
    assert_eq!(bench.press(Generation::Current, "gd-li").await.cookie, "");
}

#[tokio::test]
async fn logout_leads_only_to_hosts_of_clients() {
    let bench = Bench::new();
    for address in ["https://evil.example/", "javascript:alert(1)", "//gateway.example/", "data:text/html,x"] {
        let path = web::with_query("/_tif_sso_logout_/", &[("redirect_uri", address)]);
        let reply = bench.get(&path).await;
        assert_eq!((reply.status, reply.location.as_str()), (StatusCode::OK, ""), "{address}");
    }
    assert_eq!(bench.get("/_tif_sso_logout_").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_sub_account_comes_with_its_organisation() {
    let bench = Bench::new();
    for (generation, subject) in [(Generation::Current, "useridcode"), (Generation::Legacy, "userIdCode")] {
        let told = bench.login(generation, "gd-staff-liang").await.json();
        let (staff, organisation) = (&told["userobj"], &told["pareobj"]);
        assert_eq!(staff["cn"], "梁敏仪");
        assert_eq!(organisation["cn"], "岭南模拟贸易有限公司");
        assert_eq!((&organisation["usertype"], &organisation["idcardtype"]), (&"2".into(), &"49".into()));
        assert_eq!(staff["parent_uidcode"], organisation[subject]);
        assert_ne!(staff[subject], organisation[subject]);
        assert_eq!(extproperty(staff, "accout_type"), Some("3"));
        assert_eq!(extproperty(organisation, "accout_type"), Some("-1"), "the organisation did not log in");
        assert_eq!(extproperty(organisation, "legal_person"), Some("温国栋"));
    }
    let alone = bench.login(Generation::Current, "gd-co-lingnan").await.json();
    assert_eq!(alone["pareobj"], Value::Null);
    assert_eq!((&alone["userobj"]["sex"], &alone["userobj"]["link_person_name"]), (&"-1".into(), &"温国栋".into()));
}

#[tokio::test]
async fn fields_have_the_quirks_of_the_platform() {
    let bench = Bench::new();
    let ye = bench.login(Generation::Current, "gd-ye").await.json();
    assert_eq!(extproperty(&ye["userobj"], "address"), Some("江门市模拟路1号A=B座"));
    assert_eq!(extproperty(&ye["userobj"], "user_typeext"), Some("a=1=="));
    assert_eq!(extproperty(&ye["userobj"], "link_person_type"), Some(""));
    let zeng = bench.login(Generation::Current, "gd-zeng").await.json();
    let ways = "L2@ALV@44009819880816079X||L1@IDV@44009819880816079X";
    assert_eq!(zeng["userobj"]["creditable_level_of_account_way"], ways);
    let list = &zeng["user_creditable_level"]["creditable_level_of_account_way_list"];
    assert_eq!(list[1]["auth_time"], Value::Null);
    let su = bench.login(Generation::Current, "gd-su").await.json();
    for (name, value) in [("isreal", "false"), ("realtype", "-1"), ("area", "-1")] {
        assert_eq!(su["userobj"][name], value);
    }
    assert_eq!(su["userobj"]["creditable_level_of_account_way"], "-1");
    assert_eq!(su["userobj"]["address"], Value::Null);
}

#[tokio::test]
async fn a_renewed_permit_keeps_the_subject() {
    let bench = Bench::new();
    let before = bench.login(Generation::Current, "gd-chan-tai-man").await.json();
    let after = bench.login(Generation::Current, "gd-chan-tai-man-renewed").await.json();
    assert_eq!(before["userobj"]["useridcode"], after["userobj"]["useridcode"]);
    assert_eq!(before["userobj"]["idcardnumber"], "H1234567800");
    assert_eq!(after["userobj"]["idcardnumber"], "H1234567801");
    let ways = after["userobj"]["creditable_level_of_account_way"].as_str().unwrap();
    assert!(ways.ends_with("||L2@YSS@H1234567800"), "the first proof was made with the first permit");
}

#[tokio::test]
async fn callbacks_are_wrong_on_request() {
    let bench = Bench::new();
    let control = bench.sim.control();
    control.echo_state(true);
    let back = async |misbehaviour: Misbehaviour| {
        control.set(misbehaviour);
        let handle = bench.form(Generation::Current, &[("state", "s1")]).await;
        bench.decide(&handle, &[("person", "gd-li")]).await
    };
    let wrong = back(Misbehaviour::WrongState).await;
    let answer = bench.redeem(Generation::Current, &wrong.code(), &[]).await.json();
    assert!(answer["access_token"].is_string(), "the code itself is right");
    let others: Vec<_> = wrong.params().into_iter().filter(|(name, _)| name != "code").collect();
    let expected = ["flow", "state"].map(|name| (name.to_owned(), "a-value-nobody-sent".to_owned()));
    assert_eq!(others, expected);
    let doubled = back(Misbehaviour::DuplicateParameter).await.params();
    assert_eq!(doubled.len(), 6);
    assert_eq!(doubled[..3], doubled[3..]);
}

#[tokio::test]
async fn token_calls_go_wrong_on_request() {
    let bench = Bench::new();
    let control = bench.sim.control();
    let token = async |misbehaviour: Misbehaviour| {
        control.set(misbehaviour);
        bench.token(Generation::Current, "gd-li").await
    };
    let garbage = token(Misbehaviour::Garbage).await;
    assert!(garbage.status == StatusCode::OK && serde_json::from_slice::<Value>(&garbage.body).is_err());
    assert_eq!(token(Misbehaviour::Status(503)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(token(Misbehaviour::Status(302)).await.location, format!("{ORIGIN}/elsewhere"));
    let html = token(Misbehaviour::HtmlWith200).await;
    assert!(html.status == StatusCode::OK && html.text().starts_with("<!DOCTYPE"));
    let refused = token(Misbehaviour::ErrCode("40001".to_owned())).await;
    assert_eq!(refused.json(), serde_json::json!({ "errcode": "40001" }));
    let huge = token(Misbehaviour::HugeBody(300_000)).await;
    assert!(huge.body.len() > 300_000 && huge.json()["access_token"].is_string());
    let slow = Misbehaviour::Slow(Duration::from_millis(30));
    assert!(tokio::time::timeout(Duration::from_millis(10), token(slow.clone())).await.is_err());
    assert!(token(slow).await.json()["access_token"].is_string());
    let hang = tokio::time::timeout(Duration::from_millis(50), token(Misbehaviour::Hang)).await;
    assert!(hang.is_err());
}

#[tokio::test]
async fn tokeninfo_calls_go_wrong_on_request() {
    let bench = Bench::new();
    let control = bench.sim.control();
    let after_token = async |misbehaviour: Misbehaviour| {
        control.set(Misbehaviour::AfterToken(Box::new(misbehaviour)));
        bench.login(Generation::Current, "gd-li").await
    };
    assert!(serde_json::from_slice::<Value>(&after_token(Misbehaviour::Garbage).await.body).is_err());
    assert_eq!(after_token(Misbehaviour::Status(500)).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(after_token(Misbehaviour::HtmlWith200).await.text().starts_with("<!DOCTYPE"));
    assert_eq!(after_token(Misbehaviour::ErrCode("E".to_owned())).await.json()["errcode"], "E");
    let hang = tokio::time::timeout(Duration::from_millis(50), after_token(Misbehaviour::Hang)).await;
    assert!(hang.is_err());
    control.set(Misbehaviour::None);
    let answer = bench.token(Generation::Legacy, "gd-li").await.json();
    control.set(Misbehaviour::ErrCode("E".to_owned()));
    let refused = bench.tokeninfo(Generation::Legacy, answer["access_token"].as_str().unwrap()).await;
    assert_eq!(refused.json()["error_code"], "E");
    control.set(Misbehaviour::HugeBody(300_000));
    let huge = bench.login(Generation::Current, "gd-li").await;
    assert!(huge.body.len() > 300_000 && huge.json()["userobj"].is_object());
}

#[tokio::test]
async fn accounts_are_wrong_on_request() {
    let bench = Bench::new();
    let told = async |generation, misbehaviour: Misbehaviour| {
        bench.sim.control().set(misbehaviour);
        bench.login(generation, "gd-li").await.json()["userobj"].take()
    };
    for (generation, subject) in [(Generation::Current, "useridcode"), (Generation::Legacy, "userIdCode")] {
        assert_eq!(told(generation, Misbehaviour::NoSubject).await.get(subject), None);
        assert_eq!(told(generation, Misbehaviour::EmptySubject).await[subject], "");
        assert_eq!(told(generation, Misbehaviour::NumericSubject).await[subject], 12_345);
        assert_eq!(told(generation, Misbehaviour::UnknownLevel).await["creditable_level_of_account"], "L9");
        assert_eq!(told(generation, Misbehaviour::UnknownDocumentType).await["idcardtype"], "99");
        assert_eq!(told(generation, Misbehaviour::NullUserobj).await, Value::Null);
        assert_eq!(told(generation, Misbehaviour::BooleanFlags).await["isreal"], true);
        let alias = told(generation, Misbehaviour::IsRealAlias).await;
        assert_eq!((alias.get("isreal"), &alias["is_real"]), (None, &"true".into()));
        assert_eq!(told(generation, Misbehaviour::None).await["isreal"], "true");
    }
}

#[tokio::test]
async fn pages_have_no_script_and_say_what_they_are() {
    let bench = Bench::new();
    let page = bench.authorize(Generation::Legacy, &[], "").await.text();
    assert!(page.contains("SIMULATOR") && page.contains("lang=\"zh-Hans\"") && page.contains("lang=\"en\""));
    assert!(!page.contains("<script") && !page.contains("style=\""));
    assert!(page.contains("name=\"person\" value=\"gd-chan-siu-wing\"") && page.contains("name=\"method\""));
    for path in ["/style.css", "/emblem.svg"] {
        assert_eq!(bench.get(path).await.status, StatusCode::OK);
    }
}
