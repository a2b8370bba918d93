//! What tests of providers have in common: how a refusal looks to everybody, and what a whole login releases.

use integration_tests::rp::{claims, query};
use integration_tests::world::service_document;
use integration_tests::{Browser, Reply, Rp, World};
use serde_json::Value;

/// A service for the Bay Area portal that releases these claims, each from an expression, as far as they are there.
pub(crate) fn service_of(
    id: &str,
    providers: &[&str],
    (identity, authentication): (u8, u8),
    rows: &[(&str, &str)],
) -> String {
    let plain = service_document(id, &["gd-bay-area-services"], providers, "");
    let (head, _) = plain.split_once("[[release]]").unwrap();
    let head = head
        .replace("\nidentity = 1\n", &format!("\nidentity = {identity}\n"))
        .replace("\nauthentication = 1\n", &format!("\nauthentication = {authentication}\n"))
        // People, and those who act for an organisation.
        + "capacities = [\"own\", \"legal-person\"]\n";
    let row = |(claim, from): &(&str, &str)| {
        // Claims that no scope of OpenID Connect has need one named.
        let standard = ["name", "birthdate", "gender", "email", "phone_number"].contains(claim);
        let scope = if standard { "" } else { "scope = \"profile\"\n" };
        let number = ["home_return_permit", "resident_id", "hkid", "bir", "credit_code"].contains(claim);
        let ground = if number { "lodging-law" } else { "consent" };
        format!(
            "[[release]]\nclaim = \"{claim}\"\nfrom = '{from}'\non_missing = \"clear\"\n\
             purpose = \"identify-applicant\"\nground = \"{ground}\"\n{scope}"
        )
    };
    head.to_owned() + &rows.iter().map(row).collect::<String>()
}

/// The id of the sign-in that a page belongs to.
pub(crate) fn transaction(page: &Reply) -> &str {
    let rest = page.body.split("/login/").nth(1).unwrap_or_else(|| panic!("no sign-in: {}", page.body));
    rest.split(['"', '?', '/']).next().unwrap()
}

/// Gives a sign-in up; where the browser goes.
pub(crate) async fn give_up(world: &World, browser: &mut Browser, page: &Reply) -> url::Url {
    browser.post(format!("{}/login/{}/cancel", world.issuer(), transaction(page)), &[]).await.target()
}

/// The page shows this code, the portal hears the error that belongs to it, and nobody is signed in.
pub(crate) async fn refused(world: &World, browser: &mut Browser, page: &Reply, code: &str) {
    assert_eq!(page.failure(), Some(code), "{} {}", page.status, page.body);
    let error = match code {
        "CB-301" => "temporarily_unavailable",
        "CB-302" | "CB-303" => "server_error",
        "CB-402" => "unmet_authentication_requirements",
        _ => "access_denied",
    };
    let back = give_up(world, browser, page).await;
    assert_eq!(query(&back, "error").as_deref(), Some(error), "{back}");
    assert_eq!(query(&back, "code"), None);
    nobody_is_signed_in(world, browser).await;
}

/// There is no session, not even half of one.
pub(crate) async fn nobody_is_signed_in(world: &World, browser: &mut Browser) {
    let silent = browser.get(world.rp().authorize("e-invoice", &[("prompt", "none")])).await.target();
    assert_eq!(query(&silent, "error").as_deref(), Some("login_required"), "{silent}");
}

/// What the portal learns when it redeems the code at this address: the claims of the ID token, and those of userinfo.
pub(crate) async fn learned(rp: &Rp, back: &url::Url) -> (Value, Value) {
    let code = query(back, "code").unwrap_or_else(|| panic!("no code: {back}"));
    let tokens = rp.redeem(&code).await.json();
    let userinfo = rp.userinfo(tokens["access_token"].as_str().unwrap()).await.json();
    (claims(tokens["id_token"].as_str().unwrap()), userinfo)
}

/// A whole login of somebody new to this browser, answered with these fields at the provider.
pub(crate) async fn login(world: &World, service: &str, provider: &str, fields: &[(&str, &str)]) -> (Value, Value) {
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = answered(world, &mut browser, &rp, service, provider, fields).await;
    let back = match page.location() {
        Some(back) => back,
        None => world.agree(&mut browser, &page, &[]).await,
    };
    learned(&rp, &back).await
}

/// From a portal to the page after the provider.
pub(crate) async fn answered(
    world: &World,
    browser: &mut Browser,
    rp: &Rp,
    service: &str,
    provider: &str,
    fields: &[(&str, &str)],
) -> Reply {
    let address = world.to_provider(browser, &rp.authorize(service, &[]), provider).await;
    let callback = world.answer_provider(browser, &address, fields).await;
    world.past_waiting(browser, callback).await
}
