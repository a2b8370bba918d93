//! **The** route table.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post};
use gateway_core::error::{Failure, OAuthCode, OAuthError};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use tower_http::cors::{Any, CorsLayer};

use super::listener::LetIn;
use super::reply;
use super::request::names_one_host;
use crate::app::App;
use crate::load::Urgency;
use crate::op::Visit;
use crate::op::{
    account, authorize, callback, check_session, checklist, ciba, consent, device, direct, discovery, federation,
    introspect, link, login, logo, logout, matching, pushed, register, requests, revoke, token, upstream_logout,
    userinfo, waiting,
};
use crate::pages;

/// Every path that exists.
pub fn router(app: Arc<App>) -> Router {
    let local = url::Url::parse(&app.issuer).is_ok_and(|issuer| issuer.host_str() == Some("localhost"));
    let anywhere = Router::new()
        .route("/.well-known/openid-configuration", get(discovery::metadata))
        .route("/.well-known/oauth-authorization-server", get(discovery::metadata))
        .route("/jwks", get(discovery::jwks))
        .route("/token", post(token::post))
        .route("/revoke", post(revoke::post))
        .route("/userinfo", get(userinfo::get).post(userinfo::post))
        .method_not_allowed_fallback(wrong_method)
        .layer(from_any_page());
    let routes = Router::new()
        .merge(anywhere)
        .route("/authorize", get(authorize::get).post(authorize::post))
        .route("/login/{transaction}", get(login::chooser))
        .route("/login/{transaction}/to/{provider}", get(login::depart))
        .route("/login/{transaction}/consent", get(consent::show).post(consent::answer))
        .route("/login/{transaction}/wait", get(waiting::show))
        .route("/login/{transaction}/continue", get(waiting::go_on))
        .route("/login/{transaction}/link", get(link::show).post(link::answer))
        .route("/login/{transaction}/cancel", post(login::cancel))
        .route("/device_authorization", post(device::authorization))
        .route("/device", get(device::show).post(device::answer))
        .route("/bc-authorize", post(ciba::authorize))
        .route("/requests", get(requests::show).post(requests::answer))
        .route("/direct/{provider}", get(direct::arrive))
        .route("/direct", get(direct::show).post(direct::answer))
        .route("/account", get(account::show))
        .route("/account/undo", post(account::undo))
        .route("/account/withdraw", post(account::withdraw))
        .route("/account/sign-out", post(account::sign_out))
        .route("/check-session", get(check_session::frame))
        .route("/logout", get(logout::get).post(logout::post))
        .route("/logout/confirm", post(logout::confirm))
        .route("/backchannel-logout/{provider}", post(upstream_logout::post))
        .route("/callback/{provider}", get(callback::get).post(callback::post))
        .route("/receive/{provider}", post(waiting::receive))
        .route("/match/{authority}", post(matching::post))
        .route("/par", post(pushed::post))
        .route("/introspect", post(introspect::post))
        .route("/.well-known/openid-federation", get(federation::configuration))
        .route("/federation/fetch", get(federation::fetch))
        .route("/federation/list", get(federation::list))
        .route("/federation/resolve", get(federation::resolve))
        .route("/register", post(register::post))
        .route("/register/{client}", get(register::get).put(register::put).delete(register::delete))
        .route("/register/{client}/checks", get(checklist::get).post(checklist::post))
        .route("/client/{client}/logo", get(logo::get))
        .route("/static/{file}", get(static_file))
        .route("/health", get(health))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), gate))
        .with_state(app);
    if local { routes } else { routes.layer(map_response(only_https)) }
}

/// What scripts of any page may read (OpenID Connect Core section 5.3, RFC 9449 section 8): portals without a back end run in
/// browsers. None of these endpoints looks at a cookie, so no page gets anything by its visitor's browser.
fn from_any_page() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("dpop")])
        .expose_headers([WWW_AUTHENTICATE, HeaderName::from_static("dpop-nonce")])
        .max_age(Duration::from_secs(86_400))
}

/// The paths of the listener for clients that may show a certificate (RFC 8705 section 5).
pub fn clients(app: Arc<App>) -> Router {
    Router::new()
        .route("/par", post(pushed::post))
        .route("/device_authorization", post(device::authorization))
        .route("/bc-authorize", post(ciba::authorize))
        .route("/token", post(token::post))
        .route("/introspect", post(introspect::post))
        .route("/revoke", post(revoke::post))
        .route("/userinfo", get(userinfo::get).post(userinfo::post))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), gate))
        .with_state(app)
}

/// The paths of the listener for peers that show a client certificate.
pub fn peers(app: Arc<App>) -> Router {
    Router::new()
        .route("/receive/{provider}", post(waiting::receive))
        .route("/match/{authority}", post(matching::post))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), gate))
        .with_state(app)
}

/// How long any request may take. Each wait inside is shorter.
const DEADLINE: Duration = Duration::from_secs(20);

/// What every request passes before its endpoint. None of our paths needs percent-encoding; one that has it is not ours, and is
/// never decoded. A browser that fetches a page in advance gets none: some of ours take a step, and a step is the person's. What
/// this node cannot do now is turned away at once.
async fn gate(State(app): State<Arc<App>>, request: Request<Body>, next: Next) -> Response {
    let purpose = request.headers().get("sec-purpose").and_then(|value| value.to_str().ok());
    if purpose.is_some_and(|purpose| purpose.contains("prefetch")) {
        return reply::empty(StatusCode::SERVICE_UNAVAILABLE);
    }
    if !names_one_host(&request) {
        return reply::empty(StatusCode::BAD_REQUEST);
    }
    if request.uri().path().contains('%') {
        return not_found(State(app), request).await;
    }
    let urgency = match urgency(request.method(), request.uri().path()) {
        Urgency::Begins if request.extensions().get().is_some_and(LetIn::is_first) => Urgency::LetIn,
        urgency => urgency,
    };
    let serves = urgency == Urgency::Always || app.state().may_serve && app.store.load().takes(urgency);
    let (parts, body) = request.into_parts();
    let answer = match serves {
        true => {
            let request = Request::from_parts(parts.clone(), body);
            tokio::time::timeout(DEADLINE, next.run(request)).await.unwrap_or_else(|_| busy(&app, &parts))
        }
        false => busy(&app, &parts),
    };
    if answer.status() == StatusCode::SERVICE_UNAVAILABLE { reply::with_retry(answer) } else { answer }
}

fn urgency(method: &Method, path: &str) -> Urgency {
    let mut segments = path.split('/').skip(1);
    match (segments.next().unwrap_or_default(), segments.nth(1)) {
        ("health" | "jwks" | ".well-known" | "static", _) => Urgency::Always,
        ("token" | "userinfo" | "introspect" | "revoke" | "callback" | "receive" | "match", _)
        | ("backchannel-logout" | "logout" | "account", _)
        | ("login", Some("continue")) => Urgency::Finishes,
        ("login" | "direct" | "device" | "requests", _) if method == Method::POST => Urgency::Finishes,
        ("login" | "direct" | "device" | "requests", _) => Urgency::GoesOn,
        _ => Urgency::Begins,
    }
}

/// Who is turned away hears it at once: people on a page, back ends in JSON.
fn busy(app: &App, parts: &Parts) -> Response {
    let page =
        parts.headers.get(ACCEPT).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.contains("text/html"));
    if page {
        return Visit::new(app, parts).failure_page(StatusCode::SERVICE_UNAVAILABLE, Failure::Busy, None);
    }
    reply::oauth_error(&OAuthError::new(OAuthCode::TemporarilyUnavailable, "too much to do: try again"))
}

/// Browsers remember to come by https (RFC 6797). Not said of `localhost`, where it would bind every other program too.
async fn only_https(mut response: Response) -> Response {
    response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    response
}

async fn static_file(State(app): State<Arc<App>>, Path(name): Path<String>, request: Request<Body>) -> Response {
    match name.as_str() {
        "style.css" => reply::file("text/css; charset=utf-8", pages::STYLE),
        "submit.js" => reply::file("text/javascript; charset=utf-8", pages::SUBMIT),
        "leave.js" => reply::file("text/javascript; charset=utf-8", pages::LEAVE),
        "check-session.js" => reply::file("text/javascript; charset=utf-8", pages::CHECK_SESSION),
        "wait.js" => reply::file("text/javascript; charset=utf-8", pages::WAIT),
        "mark.svg" => reply::file("image/svg+xml", pages::MARK),
        _ => not_found(State(app), request).await,
    }
}

/// Ready means: both classes were written a moment ago, and what is in effect is in effect here.
async fn health(State(app): State<Arc<App>>) -> Response {
    let state = app.state();
    let status = if state.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let said = serde_json::json!({
        "ready": state.is_ready(),
        "policy_version": app.bundle().catalog.policies().version(),
        "follows_policy": state.follows,
        "store": {"durable": state.durable, "ephemeral": state.ephemeral},
    });
    reply::json(status, &said)
}

async fn not_found(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    // Over HTTP/2 an answer that comes before the body may be lost with the stream.
    let _ = super::request::bytes(body).await;
    let visit = crate::op::Visit::new(&app, &parts);
    visit.failure_page(StatusCode::NOT_FOUND, Failure::NotFound, None)
}

async fn wrong_method() -> Response {
    reply::json(StatusCode::METHOD_NOT_ALLOWED, &serde_json::json!({"error": "invalid_request"}))
}
