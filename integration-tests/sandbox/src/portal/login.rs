//! `/login`: begins a sign-in for one service.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;

use super::{Failure, Shared, Transaction, cannot_begin};
use crate::clock::now_unix;
use crate::entropy;
use crate::web::{self, Params};

const TRANSACTION_SECONDS: u64 = 1800;

/// Parameters that a test or a link of the demonstration may add to a sign-in; they replace the
/// service's own.
const PASSED_ON: [&str; 5] = ["prompt", "max_age", "acr_values", "login_hint", "ui_locales"];

/// `GET /login?service=N`, or `?iss=…&target_link_uri=…`
pub(super) async fn login(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let browser = web::cookie(&headers, &shared.browser_cookie());
    match begin(&shared, query.as_deref().unwrap_or_default(), browser).await {
        Ok((location, browser)) => {
            let mut response = web::redirect(&location);
            web::set_cookie(&mut response, &shared.browser_cookie(), &browser);
            response
        }
        Err(failure) => cannot_begin(&shared, &failure),
    }
}

/// The issuer's address to go to, and the browser's cookie value.
async fn begin(shared: &Shared, query: &str, browser: Option<String>) -> Result<(String, String), Failure> {
    let asked = Params::parse(query).ok_or_else(|| refused("a parameter is repeated"))?;
    // OpenID Connect Core section 4: somebody else asks for this sign-in, so the issuer must be the portal's own.
    if asked.get("iss").is_some_and(|iss| iss != shared.config.issuer) {
        return Err(refused("another issuer than this portal's"));
    }
    let target = asked.get("target_link_uri");
    let index: usize = match target {
        Some(target) => shared.config.services.iter().position(|service| service.resource == target).unwrap_or(0),
        None => asked.get("service").unwrap_or("0").parse().map_err(|_| refused("service must be a number"))?,
    };
    let service = shared.config.services.get(index).ok_or_else(|| refused("there is no such service"))?;
    let metadata = shared.metadata().await?;

    let random = || entropy::token().map_err(|error| refused(&error.to_string()));
    let (state, nonce, verifier) = (random()?, random()?, random()?);
    let browser = browser.filter(|value| !value.is_empty()).map_or_else(random, Ok)?;
    let mut pairs = vec![
        ("response_type", "code".to_owned()),
        ("client_id", shared.config.client_id.clone()),
        ("redirect_uri", shared.redirect_uri()),
        ("scope", shared.config.scope.clone()),
        ("resource", service.resource.clone()),
        ("state", state.clone()),
        ("nonce", nonce.clone()),
        ("code_challenge", entropy::sha256_base64url(&verifier)),
        ("code_challenge_method", "S256".to_owned()),
    ];
    for name in PASSED_ON {
        let own = match name {
            "acr_values" => service.acr_values.clone(),
            "max_age" => service.max_age.map(|seconds| seconds.to_string()),
            _ => None,
        };
        pairs.extend(asked.owned(name).or(own).map(|value| (name, value)));
    }
    pairs.extend(service.claims.as_ref().map(|claims| ("claims", claims.to_string())));

    let max_age = asked.get("max_age").map_or(service.max_age, |text| text.parse().ok());
    let transaction =
        Transaction { browser: browser.clone(), nonce, verifier, service: index, max_age, started: now_unix() };
    if !shared.transactions.insert(&state, transaction, TRANSACTION_SECONDS) {
        return Err(refused("too many sign-ins are under way"));
    }
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Ok((web::with_query(&metadata.authorization_endpoint, &pairs), browser))
}

fn refused(reason: &str) -> Failure {
    Failure::new("login", "cannot_begin", reason)
}
