use super::*;
use crate::authorize::{AcrRequest, Answer, Prompt, ReplyTo, ResponseMode};
use crate::claims::ClaimsRequest;
use crate::client::Client;

fn request() -> AuthorizationRequest {
    let client = Client::from_document("a", crate::client::tests::SOUND).unwrap();
    AuthorizationRequest {
        client: client.id.clone(),
        answer: Answer::Carried(ReplyTo {
            client: client.id.clone(),
            redirect: client.check_redirect("https://portal.example/cb").unwrap(),
            mode: ResponseMode::Query,
            state: None,
        }),
        service: "sample".parse().unwrap(),
        details: None,
        nonce: None,
        code_challenge: None,
        dpop_jkt: None,
        pushed: None,
        prompt: Prompt::default(),
        max_age: None,
        acr: AcrRequest::default(),
        claims: ClaimsRequest::default(),
        subject: None,
        login_hint: None,
        locale: None,
        received_at: Timestamp(100),
    }
}

fn step(request: &AuthorizationRequest, evidence: Option<Evidence>, consent: Consent) -> Step {
    let eligible = ["hk".parse().unwrap(), "mo".parse().unwrap()];
    let link = if consent == Consent::Unknown { LinkOffer::Unknown } else { LinkOffer::NotWanted };
    next(&Situation { request, evidence, consent, link, eligible: &eligible, preferred: None })
}

const FINE: Evidence = Evidence { origin: Origin::Session, verdict: Ok(()), right_subject: true };

#[test]
fn a_good_session_needs_no_login_and_a_covered_consent_no_page() {
    let request = request();
    assert_eq!(step(&request, Some(FINE), Consent::Unknown), Step::LookUp);
    assert_eq!(step(&request, Some(FINE), Consent::Covered), Step::Issue);
    assert_eq!(step(&request, Some(FINE), Consent::Needed), Step::AskConsent);
}

#[test]
fn a_session_that_falls_short_leads_to_one_new_login_never_to_a_loop() {
    let request = request();
    let short = Evidence { verdict: Err(Failure::NotFresh), ..FINE };
    assert_eq!(step(&request, Some(short), Consent::Unknown), Step::Choose);
    let again = Evidence { origin: Origin::ThisLogin, ..short };
    assert_eq!(step(&request, Some(again), Consent::Unknown), Step::Stop(Failure::NotFresh));
}

#[test]
fn prompt_none_shows_nothing() {
    let mut request = request();
    request.prompt.none = true;
    let code = |step| match step {
        Step::Reply(error) => error.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(step(&request, None, Consent::Unknown)), OAuthCode::LoginRequired);
    assert_eq!(code(step(&request, Some(FINE), Consent::Needed)), OAuthCode::ConsentRequired);
    assert_eq!(step(&request, Some(FINE), Consent::Covered), Step::Issue);
}

#[test]
fn another_person_than_asked_for_is_never_handed_over() {
    let request = request();
    let other = Evidence { right_subject: false, ..FINE };
    assert_eq!(step(&request, Some(other), Consent::Covered), Step::Choose);
    let this = Evidence { origin: Origin::ThisLogin, ..other };
    assert!(matches!(step(&request, Some(this), Consent::Covered), Step::Reply(_)));
}

#[test]
fn a_preferred_provider_is_used_only_when_it_is_eligible() {
    let request = request();
    let (hk, gd): (ProviderId, ProviderId) = ("hk".parse().unwrap(), "gd".parse().unwrap());
    let eligible = [hk.clone()];
    let go = |preferred| {
        let situation = Situation {
            request: &request,
            evidence: None,
            consent: Consent::Unknown,
            link: LinkOffer::Unknown,
            eligible: &eligible,
            preferred: Some(preferred),
        };
        next(&situation)
    };
    assert_eq!(go(&hk), Step::GoUpstream(hk.clone()));
    assert_eq!(go(&gd), Step::Choose);
}

#[test]
fn a_transaction_ends_and_waiting_for_a_provider_puts_the_end_off() {
    let mut transaction = Transaction {
        kept: None,
        id: TransactionId::from_random([1; 16]),
        request: request(),
        stage: Stage::Choosing,
        locale: None,
        fell_short: None,
        failure: None,
        link: LinkQuestion::Open,
        expires_at: Timestamp(700),
    };
    assert!(!transaction.is_expired(Timestamp(699)));
    assert!(transaction.is_expired(Timestamp(700)));
    transaction.put_off(Timestamp(1_000));
    assert!(!transaction.is_expired(Timestamp(1_599)) && transaction.is_expired(Timestamp(1_600)));
    transaction.put_off(Timestamp(0));
    assert_eq!(transaction.expires_at, Timestamp(1_600));
}

#[test]
fn a_link_is_offered_before_consent_and_never_without_a_page() {
    let mut request = request();
    let gd: ProviderId = "gd".parse().unwrap();
    let go = |request: &AuthorizationRequest, consent| {
        let link = LinkOffer::Wanted("gd".parse().unwrap());
        next(&Situation { request, evidence: Some(FINE), consent, link, eligible: &[], preferred: None })
    };
    assert_eq!(go(&request, Consent::Unknown), Step::OfferLink(gd.clone()));
    assert_eq!(go(&request, Consent::Covered), Step::OfferLink(gd));
    request.prompt.none = true;
    assert_eq!(go(&request, Consent::Covered), Step::Issue);
}
