//! `/register/{client}/checks`: what a portal that registered itself has to show before every service of its document is open
//! to it. The list is made by looking: addresses are called, keys read, certificates dated, and somebody signed in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::stream::{self, StreamExt as _};
use gateway_core::audit::RegistrationChange;
use gateway_core::client::{Client, GrantType};
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::ClientId;
use gateway_core::redirect::RedirectUri;
use gateway_core::time::Timestamp;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_FRAME_OPTIONS};
use http::{Request, StatusCode};
use serde::Serialize;
use serde_json::json;
use url::Url;

use super::client_keys::{allowed, keys};
use super::register::{answered, enter, own};
use super::sector::lists_all;
use super::token::internal;
use crate::app::{Active, App};
use crate::catalog::{Registered, recipient};
use crate::http::{reply, request};
use crate::keys::algorithm;
use crate::roll::Record;
use crate::store::{Batch, Class, Key, StoreError, Write};

/// Clients that have not passed yet, and when somebody last signed in at each.
const TRIAL_LOGIN: &str = "trial-login";
/// How long a sign-in counts as proof.
const TRIAL_COUNTS: Duration = Duration::from_secs(30 * 86_400);
/// How long one check list may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a certificate has to hold from now.
const CERTIFICATE_HOLDS: u64 = 14 * 86_400;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    /// What kind of thing.
    check: &'static str,
    /// Which one.
    of: String,
    passed: bool,
    /// What was found, for whoever has to mend it.
    found: String,
}

impl Check {
    fn new(check: &'static str, of: impl Into<String>, found: Result<String, String>) -> Self {
        let passed = found.is_ok();
        Self { check, of: of.into(), passed, found: found.unwrap_or_else(|why| why) }
    }
}

/// `GET /register/{client}/checks`: the list, and nothing is changed.
pub async fn get(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    list(&app, &id, request, false).await
}

/// `POST /register/{client}/checks`: the list, and who passes it goes live.
pub async fn post(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    list(&app, &id, request, true).await
}

async fn list(app: &App, id: &str, request: Request<Body>, goes_live: bool) -> Response {
    let (parts, body) = request.into_parts();
    let _ = request::bytes(body).await;
    let looked = async {
        let active = app.bundle();
        let (id, record, admission) = own(&active, id, &parts)?;
        let place = app.limits.checklists.try_take(&[id.as_str(), admission.template.id.as_str()]);
        let _place = place.ok_or_else(|| busy("too many check lists at once: try again"))?;
        let registered = active.client(&id).ok_or_else(super::register::no_token)?;
        let looked = tokio::time::timeout(PATIENCE, look(app, registered, record)).await;
        let checks = looked.map_err(|_| busy("the registered addresses answer too slowly: try again"))?;
        let checks = checks.map_err(|error| internal(&error))?;
        let passed = checks.iter().all(|check| check.passed);
        if passed && goes_live && !record.live {
            let looked_at = record.clone();
            enter(app, (RegistrationChange::WentLive, ""), |active| went_live(active, &id, &looked_at)).await?;
            tracing::info!(client = %id, "went live");
        }
        Ok::<_, OAuthError>((id, record.live || passed && goes_live, checks))
    };
    match looked.await {
        Err(error) => answered(Err(error), StatusCode::OK),
        Ok((id, live, checks))
            if request::header(&parts, ACCEPT).is_some_and(|kind| kind.starts_with("text/plain")) =>
        {
            reply::text(print(&id, live, &checks))
        }
        Ok((id, live, checks)) => {
            let passed = checks.iter().all(|check| check.passed);
            reply::json(StatusCode::OK, &json!({"client_id": id, "live": live, "passed": passed, "checks": checks}))
        }
    }
}

fn busy(why: &'static str) -> OAuthError {
    OAuthError::new(OAuthCode::TemporarilyUnavailable, why)
}

/// What is entered for a client that passed: nothing, if it is not the one any more that was looked at.
fn went_live(active: &Active, id: &ClientId, looked_at: &Record) -> Result<(ClientId, Option<Record>), OAuthError> {
    let same = active.joined(id).filter(|(record, _)| *record == looked_at);
    let (record, _) = same.ok_or_else(|| busy("it changed meanwhile: try again"))?;
    Ok((id.clone(), Some(Record { live: true, ..record.clone() })))
}

/// The list as people read it.
fn print(id: &ClientId, live: bool, checks: &[Check]) -> String {
    let passed = checks.iter().filter(|check| check.passed).count();
    let state = if live { "live" } else { "not live" };
    let lines = checks.iter().map(|check| {
        let mark = if check.passed { "ok  " } else { "FAIL" };
        format!("{mark}  {:14}{}\n      {:14}{}\n", check.check, check.of, "", check.found)
    });
    format!("{id}: {state}; {passed} of {} checks passed\n\n{}", checks.len(), lines.collect::<String>())
}

async fn look(app: &App, registered: &Registered, record: &Record) -> Result<Vec<Check>, StoreError> {
    let client = &registered.client;
    let redirects: BTreeSet<&str> = client.redirect_uris.iter().map(RedirectUri::as_str).collect();
    let mut checks = a_few_at_a_time(redirects.into_iter().map(|uri| redirect(app, "redirects", uri)).collect()).await;
    let after: BTreeSet<&str> = client.post_logout_redirect_uris.iter().map(RedirectUri::as_str).collect();
    checks.extend(a_few_at_a_time(after.into_iter().map(|uri| redirect(app, "logout", uri)).collect()).await);
    if client.sector_identifier_uri.is_some() {
        let listed = match lists_all(app, client).await {
            Ok(true) => Ok("every redirect URI is listed".to_owned()),
            Ok(false) => Err("not every redirect URI is listed".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        checks.push(Check::new("redirects", "sector_identifier_uri", listed));
    }
    if !client.filings.is_empty() && has_people(client) {
        checks.push(Check::new("privacy", "policy_uri", has_privacy_notice(app, client).await));
    }
    checks.push(Check::new("keys", client.auth.method(), authenticates(app, registered).await));
    checks.extend(encrypts(app, registered).await);
    checks.push(signed_in(app, client, record).await?);
    if let Some(uri) = &client.ciba.notify {
        checks.push(Check::new("notification", uri.as_str(), refuses_strangers(app, uri).await));
    }
    if let Some(uri) = &client.backchannel_logout_uri {
        checks.push(Check::new("logout", uri.as_str(), hears_logout(app, uri).await));
    }
    if let Some(uri) = &client.frontchannel_logout_uri {
        checks.push(Check::new("logout", uri.as_str(), can_be_framed(app, uri).await));
    }
    let hosts = hosts(client);
    checks.extend(a_few_at_a_time(hosts.iter().map(|host| certificate(app, host)).collect()).await);
    Ok(checks)
}

/// People whose data crosses a border are shown the recipient's privacy notice.
async fn has_privacy_notice(app: &App, client: &Client) -> Result<String, String> {
    let notice = client.pages.policy.as_ref();
    let notice = notice.ok_or("is needed: people whose data crosses a border are shown it")?;
    match call(app, notice.as_str()).await?.status() {
        StatusCode::OK => Ok(format!("{notice} answers")),
        status => Err(format!("{notice} answers {}", status.as_u16())),
    }
}

/// One check after the other, but that four are under way at a time: a host has others to serve as well.
async fn a_few_at_a_time(checks: Vec<impl Future<Output = Check>>) -> Vec<Check> {
    stream::iter(checks).buffered(4).collect().await
}

/// The status and the headers of an address when it is called without anything.
async fn call(app: &App, uri: &str) -> Result<http::Response<Vec<u8>>, String> {
    let request = http::Request::get(uri).header(ACCEPT, "*/*").body(Vec::new()).map_err(|error| error.to_string())?;
    app.http().send(request).await.map_err(|error| error.to_string())
}

async fn redirect(app: &App, check: &'static str, uri: &str) -> Check {
    if !uri.starts_with("https:") {
        return Check::new(check, uri, Ok("on the person's own device".to_owned()));
    }
    let found = match call(app, uri).await {
        Ok(answer) if matches!(answer.status().as_u16(), 404 | 410 | 500..) => {
            Err(format!("answers {}: is anything there?", answer.status().as_u16()))
        }
        Ok(answer) => Ok(format!("answers {}", answer.status().as_u16())),
        Err(error) => Err(error),
    };
    Check::new(check, uri, found)
}

/// Whether the client has what it authenticates with.
async fn authenticates(app: &App, registered: &Registered) -> Result<String, String> {
    let client = &registered.client;
    let signs = client.auth.is_by_key() || client.keys.is_some();
    if !signs {
        return Ok("needs no key".to_owned());
    }
    if client.keys.is_none() {
        return Ok("its certificate names it".to_owned());
    }
    let keys = keys(app, registered, true).await.map_err(|error| error.to_string())?;
    let wanted = [client.auth_alg, client.requests.alg, client.ciba.alg].into_iter().flatten().map(algorithm);
    let has = |alg| keys.candidates(alg, None).next().is_some();
    if let Some(missing) = wanted.into_iter().find(|alg| !has(*alg)) {
        return Err(format!("no key signs with {}, which is registered", missing.name()));
    }
    let usable: Vec<&str> = allowed(client).iter().filter(|alg| has(**alg)).map(|alg| alg.name()).collect();
    if usable.is_empty() {
        return Err("no key may sign under this profile".to_owned());
    }
    if keys.iter().any(|key| key.kid().is_none()) {
        return Err("a key has no kid: it cannot be told from the next one when they change".to_owned());
    }
    Ok(format!("keys for {}", usable.join(", ")))
}

async fn encrypts(app: &App, registered: &Registered) -> Vec<Check> {
    let encrypted = registered.client.encrypted;
    let mut checks = Vec::new();
    for (of, encryption) in [("id_token", encrypted.id_token), ("userinfo", encrypted.userinfo)] {
        let Some(encryption) = encryption else { continue };
        let found = match keys(app, registered, false).await {
            Ok(keys) if recipient(&keys, encryption).is_some() => Ok(format!("a key for {}", encryption.alg)),
            Ok(_) => Err(format!("no key to encrypt to with {}", encryption.alg)),
            Err(error) => Err(error.to_string()),
        };
        checks.push(Check::new("keys", of, found));
    }
    checks
}

/// Whether anybody got as far as the token endpoint with what is registered now: a person, where people sign in at this client,
/// and otherwise the client for itself.
async fn signed_in(app: &App, client: &Client, record: &Record) -> Result<Check, StoreError> {
    let mark = app.store.get(Class::Durable, &Key::new(TRIAL_LOGIN, client.id.as_str()), app.now()).await?;
    let at = mark.and_then(|mark| String::from_utf8(mark).ok()?.parse().ok()).map(Timestamp);
    let people = has_people(client);
    let kind = if people { "sign-in" } else { "token" };
    let found = match (at.filter(|at| *at > record.changed_at), people) {
        (Some(at), _) => Ok(format!("the last was on {}", at.date())),
        (None, true) => {
            Err("nobody has signed in yet with what is registered now, as far as the token endpoint".to_owned())
        }
        (None, false) => Err("no token was asked for yet with what is registered now".to_owned()),
    };
    Ok(Check::new(kind, "a trial service", found))
}

/// Whether anybody signs in at a client at all.
fn has_people(client: &Client) -> bool {
    let by_person = [GrantType::AuthorizationCode, GrantType::DeviceCode, GrantType::Ciba];
    client.grant_types.iter().any(|grant| by_person.contains(grant))
}

/// Remembers that a back end got a token for itself, where nobody signs in that could show more.
pub(super) async fn remember_back_end(app: &App, active: &Active, client: &Client, at: Timestamp) {
    if !has_people(client) {
        remember(app, active, &client.id, at).await;
    }
}

/// Whether the portal refuses a notification that nobody sent (CIBA section 10.2).
async fn refuses_strangers(app: &App, uri: &Url) -> Result<String, String> {
    let request = http::Request::post(uri.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(AUTHORIZATION, "Bearer nobodys")
        .body(b"{\"auth_req_id\":\"nobodys\"}".to_vec())
        .map_err(|error| error.to_string())?;
    match app.http().send(request).await.map_err(|error| error.to_string())?.status().as_u16() {
        200..=299 => Err("takes a notification with a token that it never gave".to_owned()),
        status @ (404 | 410 | 500..) => Err(format!("answers {status}: is anything there?")),
        status => Ok(format!("answers {status} to a notification that nobody sent")),
    }
}

/// Remembers that somebody signed in at a client that is not live yet, with what was registered `at` that moment.
pub(super) async fn remember(app: &App, active: &Active, client: &ClientId, at: Timestamp) {
    if !client.registered_itself() || active.joined(client).is_none_or(|(record, _)| record.live) {
        return;
    }
    let now = app.now();
    let key = Key::new(TRIAL_LOGIN, client.as_str());
    let write = Write::Put(key, at.0.to_string().into_bytes(), Some(now.plus(TRIAL_COUNTS)));
    if let Err(error) = app.store.commit(Class::Durable, Batch::of(write), now).await {
        tracing::warn!(%error, "a trial sign-in is not remembered");
    }
}

/// Whether the portal refuses a logout that nobody signed (Back-Channel Logout section 2.8).
async fn hears_logout(app: &App, uri: &Url) -> Result<String, String> {
    let request = http::Request::post(uri.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(b"logout_token=e30.e30.".to_vec())
        .map_err(|error| error.to_string())?;
    match app.http().send(request).await.map_err(|error| error.to_string())?.status().as_u16() {
        400 => Ok("refuses a logout that nobody signed".to_owned()),
        200 | 204 => Err("takes a logout that nobody signed: anybody could sign its people out".to_owned()),
        status => Err(format!("answers {status} to a logout that nobody signed; 400 is the answer")),
    }
}

/// Whether a page of ours may open the portal's in a frame (Front-Channel Logout section 2).
async fn can_be_framed(app: &App, uri: &Url) -> Result<String, String> {
    let answer = call(app, uri.as_str()).await?;
    let policy = answer.headers().get(CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
    let ancestors = policy.and_then(|policy| policy.split(';').find(|part| part.trim().starts_with("frame-ancestors")));
    if answer.headers().contains_key(X_FRAME_OPTIONS)
        || ancestors.is_some_and(|ancestors| !ancestors.contains(&app.issuer) && !ancestors.contains('*'))
    {
        return Err("its headers keep it from being opened in a frame of ours".to_owned());
    }
    match answer.status().as_u16() {
        200 => Ok("can be opened in a frame".to_owned()),
        status => Err(format!("answers {status}")),
    }
}

/// The hosts of every address that a client registered, once each.
fn hosts(client: &Client) -> Vec<Url> {
    let addresses = client.addresses().filter_map(|(_, address)| Url::parse(address).ok());
    let mut hosts: Vec<Url> = addresses
        .filter(|url| url.scheme() == "https")
        .filter_map(|url| Url::parse(&url.origin().ascii_serialization()).ok())
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

async fn certificate(app: &App, host: &Url) -> Check {
    let found = match app.certificate_until(host).await {
        Ok(until) if until.0 >= app.now().0.saturating_add(CERTIFICATE_HOLDS) => {
            Ok(format!("its certificate holds until {}", until.date()))
        }
        Ok(until) => Err(format!("its certificate holds until {} only", until.date())),
        Err(error) => Err(error.to_string()),
    };
    Check::new("certificates", host.as_str(), found)
}
