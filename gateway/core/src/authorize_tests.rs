use super::*;
use crate::assurance::Assurance;
use crate::client::tests::SOUND;

struct OneClient(Client);

impl Registry for OneClient {
    fn client(&self, id: &ClientId) -> Option<&Client> {
        (*id == self.0.id).then_some(&self.0)
    }
    fn service(&self, _: &Client, resource: Option<&str>) -> Option<ServiceId> {
        matches!(resource, None | Some("https://service.example/a")).then(|| "sample".parse().unwrap())
    }
    fn details(&self, _: &ServiceId, _: &Map<String, Value>) -> Result<Vec<(String, String)>, OAuthError> {
        Err(crate::details::invalid("no details"))
    }
    fn retiring_acr(&self, name: &str) -> Option<OldAcr> {
        let means = Assurance::from_acr("urn:cbid:acr:i2a2").unwrap();
        let old = OldAcr { name: name.to_owned(), means, until: "2027-06-30".parse().unwrap() };
        (name == "urn:old:high").then_some(old)
    }
    fn hinted_subject(&self, _: &Client, id_token: &str) -> Option<String> {
        (id_token == "ours").then(|| "someone".to_owned())
    }
}

const BASE: &str = "client_id=portal-a&redirect_uri=https://portal.example/cb&response_type=code&scope=openid&state=s\
    &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

fn run(query: &str) -> Result<AuthorizationRequest, Refusal> {
    let registry = OneClient(Client::from_document("a.toml", SOUND).unwrap());
    parse(&Params::parse(query.as_bytes()).unwrap(), Arrival::default(), &registry, Timestamp(1_000))
}

fn code(query: &str) -> OAuthCode {
    match run(query).unwrap_err() {
        Refusal::Reply(_, error) => error.code,
        Refusal::Page(failure) => panic!("{query}: page {failure:?}"),
    }
}

/// CVE-2026-41479: no early error redirects before client and URI are validated.
#[test]
fn cve_2026_41479_nothing_redirects_before_client_and_uri() {
    for query in [
        "",
        "response_type=token",
        "client_id=nobody&redirect_uri=https://portal.example/cb",
        "client_id=portal-a",
        "client_id=portal-a&redirect_uri=https://evil.example/cb&prompt=none",
        "client_id=portal-a&client_id=portal-a&redirect_uri=https://portal.example/cb",
        "client_id=portal-a&redirect_uri=https://portal.example/cb&redirect_uri=https://portal.example/cb",
        "client_id=portal-a&redirect_uri=https://portal.example/cb/",
        "client_id=portal-a&redirect_uri=https://portal.example/CB",
        "client_id=portal-a&redirect_uri=https://portal.example/cb%20",
    ] {
        assert!(matches!(run(query), Err(Refusal::Page(_))), "{query}");
    }
}

/// CVE-2026-79651: of all the languages that can be asked for, what is kept is one of ours or none.
#[test]
fn cve_2026_79651_a_language_that_nobody_speaks_is_none() {
    for tags in ["xx", "fr de it", "..%2f", "zh-Hant-HK-x-1", &"x".repeat(2_000)] {
        let request = run(&format!("{BASE}&ui_locales={tags}"));
        let kept = request.ok().and_then(|request| request.locale);
        assert!(kept.is_none_or(|locale| Locale::ALL.contains(&locale)), "{tags:.20}");
    }
}

#[test]
fn a_sound_request_passes_every_check() {
    let request = run(&format!("{BASE}&nonce=n&max_age=60&prompt=login%20consent&ui_locales=fr%20zh-HK")).unwrap();
    assert_eq!(request.max_age, Some(60));
    assert!(request.prompt.login && request.prompt.consent && request.demands_login());
    assert_eq!(request.locale, Some(Locale::ZhHantHk));
    let Answer::Carried(to) = &request.answer else { panic!("carried by the browser") };
    assert_eq!(to.state.as_deref(), Some("s"));
}

#[test]
fn each_check_answers_its_own_error() {
    for (extra, expected) in [
        ("&state=t", OAuthCode::InvalidRequest),
        ("&response_mode=fragment", OAuthCode::InvalidRequest),
        ("&foo=1&foo=2", OAuthCode::InvalidRequest),
        ("&request=x", OAuthCode::RequestNotSupported),
        ("&request_uri=https://x", OAuthCode::RequestUriNotSupported),
        ("&registration={}", OAuthCode::RegistrationNotSupported),
        ("&prompt=none%20login", OAuthCode::InvalidRequest),
        ("&prompt=dance", OAuthCode::InvalidRequest),
        ("&max_age=-1", OAuthCode::InvalidRequest),
        ("&max_age=1e3", OAuthCode::InvalidRequest),
        ("&max_age=99999999999", OAuthCode::InvalidRequest),
        ("&resource=https://service.example/other", OAuthCode::InvalidTarget),
        ("&resource=https://service.example/a&resource=https://service.example/a", OAuthCode::InvalidTarget),
        ("&claims=[]", OAuthCode::InvalidRequest),
        ("&claims={\"id_token\":3}", OAuthCode::InvalidRequest),
        ("&claims={\"id_token\":{\"acr\":{\"essential\":\"yes\"}}}", OAuthCode::InvalidRequest),
        ("&id_token_hint=theirs", OAuthCode::InvalidRequest),
        ("&claims={\"id_token\":{\"sub\":{\"value\":7}}}", OAuthCode::InvalidRequest),
        ("&claims={\"id_token\":{\"sub\":{\"values\":[\"a\"]}}}", OAuthCode::InvalidRequest),
        ("&claims={\"id_token\":{\"sub\":{\"value\":\"a\"}}}&id_token_hint=ours", OAuthCode::InvalidRequest),
    ] {
        assert_eq!(code(&format!("{BASE}{extra}")), expected, "{extra}");
    }
    let long = "a".repeat(513);
    for name in ["state", "nonce", "login_hint"] {
        let query = format!("{}&{name}={long}", BASE.replace("&state=s", ""));
        assert_eq!(code(&query), OAuthCode::InvalidRequest, "{name}");
    }
    assert_eq!(code(&BASE.replace("response_type=code", "response_type=token")), OAuthCode::UnsupportedResponseType);
    assert_eq!(code(&BASE.replace("&response_type=code", "")), OAuthCode::InvalidRequest);
    assert_eq!(code(&BASE.replace("scope=openid", "scope=profile")), OAuthCode::InvalidScope);
    assert_eq!(code(&BASE.replace("S256", "plain")), OAuthCode::InvalidRequest);
    let without_pkce = BASE.split("&code_challenge").next().unwrap();
    assert_eq!(code(without_pkce), OAuthCode::InvalidRequest);
}

#[test]
fn errors_echo_state_and_use_the_asked_response_mode() {
    let Err(Refusal::Reply(reply, _)) = run(&format!("{BASE}&response_mode=form_post&prompt=dance")) else {
        panic!("refused with a reply")
    };
    assert_eq!((reply.state.as_deref(), reply.mode), (Some("s"), ResponseMode::FormPost));
}

#[test]
fn an_essential_acr_is_kept_even_when_none_of_its_values_is_ours() {
    let query = format!("{BASE}&claims={{\"id_token\":{{\"acr\":{{\"essential\":true,\"values\":[\"loa9\"]}}}}}}");
    let request = run(&query).unwrap();
    assert!(!request.acr.is_satisfied_by(Assurance::all().last().unwrap()));
}

#[test]
fn acr_values_are_a_wish_and_the_strongest_met_is_stated() {
    let request = run(&format!("{BASE}&acr_values=urn:cbid:acr:i1a1%20urn:cbid:acr:i2a2%20urn:x")).unwrap();
    let reached = Assurance::from_acr("urn:cbid:acr:i3a2").unwrap();
    assert_eq!(request.acr.stated(reached).acr(), "urn:cbid:acr:i2a2");
    assert!(request.acr.is_satisfied_by(Assurance::LEAST));
    assert_eq!(request.acr.stated(Assurance::LEAST), Assurance::LEAST);
}

#[test]
fn an_old_name_is_answered_by_itself_unless_the_new_one_is_understood() {
    let stated = Assurance::from_acr("urn:cbid:acr:i2a2").unwrap();
    let (last, after) = ("2027-06-30".parse().unwrap(), "2027-07-01".parse().unwrap());
    let request = run(&format!("{BASE}&acr_values=urn:old:high")).unwrap();
    assert_eq!(request.acr.called(stated, last), "urn:old:high");
    assert_eq!(request.acr.called(stated, after), "urn:cbid:acr:i2a2");
    let request = run(&format!("{BASE}&acr_values=urn:old:high%20urn:cbid:acr:i2a2")).unwrap();
    assert_eq!(request.acr.called(stated, last), "urn:cbid:acr:i2a2");
}

#[test]
fn scopes_and_claims_ask_for_claims() {
    let claims = "&claims={\"userinfo\":{\"hkid\":{\"essential\":true}},\"id_token\":{\"name\":null}}";
    let request = run(&format!("{}{claims}", BASE.replace("scope=openid", "scope=openid%20email"))).unwrap();
    assert!(request.claims.asks_for("email") && request.claims.asks_for("hkid") && request.claims.asks_for("name"));
    assert!(!request.claims.asks_for("phone_number") && !request.claims.asks_in_userinfo("name"));
    assert_eq!(request.claims.userinfo.get("hkid"), Some(&true));
}

fn document(more: &str) -> String {
    let keys = "private_key_jwt\"\njwks = \"{}";
    let text = SOUND.replace("client_secret_basic", keys).replace("client_secret_sha256 =", "#");
    text.replacen("jurisdiction", &format!("{more}\njurisdiction"), 1)
}

fn arrived(profile: &str, more: &str, arrival: Arrival) -> Result<AuthorizationRequest, OAuthError> {
    let client = Client::from_document("a", &document(&format!("profile = \"{profile}\""))).unwrap();
    let query = format!("{BASE}{more}");
    let parsed = parse(&Params::parse(query.as_bytes()).unwrap(), arrival, &OneClient(client), Timestamp(1_000));
    parsed.map_err(|refusal| match refusal {
        Refusal::Reply(_, error) => error,
        Refusal::Page(failure) => panic!("{failure:?}"),
    })
}

/// RFC 9126 section 4; FAPI 2.0 Security Profile section 5.3.2.2: a FAPI client's request is pushed or refused.
#[test]
fn fapi2_5_3_2_2_only_pushed_requests() {
    let pushed = Arrival { pushed: true, signed: false };
    assert!(arrived("fapi2", "", Arrival::default()).is_err());
    assert!(arrived("fapi2", "", Arrival { pushed: false, signed: true }).is_err());
    assert!(arrived("fapi2", "", pushed).is_ok());
    assert!(arrived("baseline", "", Arrival::default()).is_ok());
}

/// FAPI 2.0 Message Signing sections 5.3.1 and 5.4.1: requests and answers are signed.
#[test]
fn fapi2_message_signing_5_3_1_only_signed_messages() {
    let both = Arrival { pushed: true, signed: true };
    let profile = "fapi2-message-signing";
    assert!(arrived(profile, "&response_mode=jwt", both).is_ok());
    assert!(arrived(profile, "&response_mode=form_post.jwt", both).is_ok());
    assert!(arrived(profile, "&response_mode=query", both).is_err());
    assert!(arrived(profile, "", both).is_err());
    assert!(arrived(profile, "&response_mode=jwt", Arrival { pushed: true, signed: false }).is_err());
    assert!(arrived(profile, "&response_mode=jwt", Arrival { pushed: false, signed: true }).is_err());
}

/// FAPI 2.0 Message Signing section 5.4: a refusal is signed as well, however early it comes.
#[test]
fn fapi2_message_signing_5_4_every_refusal_is_signed() {
    let client = Client::from_document("a", &document("profile = \"fapi2-message-signing\"")).unwrap();
    let registry = OneClient(client);
    for more in ["", "&response_mode=query", "&response_mode=nonsense", "&state=x&state=y"] {
        let params = Params::parse(format!("{BASE}{more}").as_bytes()).unwrap();
        match parse(&params, Arrival::default(), &registry, Timestamp(1_000)) {
            Err(Refusal::Reply(to, _)) => assert!(to.mode.is_signed(), "{more}"),
            other => panic!("{more}: {other:?}"),
        }
        assert!(reply_address(&params, &registry).unwrap().mode.is_signed());
    }
}

/// RFC 9449 section 10.
#[test]
fn rfc9449_10_dpop_jkt_is_a_thumbprint() {
    let good = "A".repeat(43);
    let parsed = arrived("baseline", &format!("&dpop_jkt={good}"), Arrival::default()).unwrap();
    assert_eq!(parsed.dpop_jkt, Some(good));
    for bad in ["A".repeat(42), "A".repeat(44), "+".repeat(43)] {
        assert!(arrived("baseline", &format!("&dpop_jkt={bad}"), Arrival::default()).is_err(), "{bad}");
    }
}
