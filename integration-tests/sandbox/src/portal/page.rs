//! The portal's pages: Simplified Chinese first, English below, no script.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::callback::SignedIn;
use super::{Failure, Shared};
use crate::clock::now_unix;
use crate::web::{self, escape};

const BASE_CSS: &str = include_str!("../../assets/base.css");
const PORTAL_CSS: &str = include_str!("../../assets/portal.css");
const PORTAL_SVG: &str = include_str!("../../assets/portal.svg");

/// `GET /`
pub(super) async fn home(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let session = web::cookie(&headers, &shared.session_cookie());
    let subject = session.and_then(|id| shared.sessions.get(&id));
    let greeting = subject.map_or_else(String::new, |subject| {
        format!(
            "<div class=\"card good\"><p>已登录 <span lang=\"en\">Signed in as</span> <code>{}</code></p>\
             <form method=\"post\" action=\"/logout\"><button class=\"cancel\">退出 \
             <span lang=\"en\">Sign out</span></button></form></div>\n",
            escape(&subject)
        )
    });
    let services: String = shared
        .config
        .services
        .iter()
        .enumerate()
        .map(|(index, service)| {
            format!(
                "<section class=\"card\"><h2>{zh}</h2><p class=\"second\" lang=\"en\">{en}<br>\
                 <code>{resource}</code></p>\
                 <a class=\"button big\" href=\"/login?service={index}\">登录办理\
                 <small lang=\"en\">Sign in for this service</small></a>\
                 <a href=\"/login?service={index}&amp;prompt=login\">重新验证后登录 \
                 <span lang=\"en\">Sign in with a new login</span></a></section>\n",
                zh = escape(&service.name_zh),
                en = escape(&service.name_en),
                resource = escape(&service.resource),
            )
        })
        .collect();
    let content =
        format!("{greeting}<h1>请选择事项</h1><p class=\"second\" lang=\"en\">Choose a service</p>\n{services}");
    web::html(StatusCode::OK, frame(&shared, &content))
}

/// All claims that came, with their source.
pub(super) fn signed_in(shared: &Shared, signed_in: &SignedIn) -> String {
    let service = shared.config.services.get(signed_in.service);
    let (zh, en) = service.map_or(("", ""), |service| (service.name_zh.as_str(), service.name_en.as_str()));
    let content = format!(
        "<div class=\"card good\"><h1>登录成功</h1><p class=\"second\"><span lang=\"en\">Signed in</span> · {zh} · \
         <span lang=\"en\">{en}</span></p>{how}</div>\n\
         <div class=\"card\"><h2>身份令牌 <span lang=\"en\">ID token</span></h2>{claims}</div>\n\
         <div class=\"card\"><h2>用户信息 <span lang=\"en\">Userinfo</span></h2>{userinfo}</div>\n{back}",
        zh = escape(zh),
        en = escape(en),
        how = how_table(&signed_in.claims),
        claims = table(&signed_in.claims),
        userinfo = table(&signed_in.userinfo),
        back = BACK,
    );
    frame(shared, &content)
}

const BACK: &str = "<a class=\"button\" href=\"/\">返回首页 <span lang=\"en\">Back to the home page</span></a>";

/// How and when the person logged in, ahead of everything else.
fn how_table(claims: &Map<String, Value>) -> String {
    let show = |name: &str| claims.get(name).map_or_else(|| "—".to_owned(), |value| escape(&plain(value)));
    let age = claims.get("auth_time").and_then(Value::as_u64).map_or_else(String::new, |time| {
        let seconds = now_unix().saturating_sub(time);
        format!("（{seconds} 秒前 <span lang=\"en\">{seconds} s ago</span>）")
    });
    format!(
        "<table><tr><th>保证级别 <code>acr</code></th><td><code>{}</code></td></tr>\
         <tr><th>验证方式 <code>amr</code></th><td><code>{}</code></td></tr>\
         <tr><th>验证时间 <code>auth_time</code></th><td><code>{}</code>{age}</td></tr></table>",
        show("acr"),
        show("amr"),
        show("auth_time"),
    )
}

fn table(claims: &Map<String, Value>) -> String {
    let rows: String = claims
        .iter()
        .map(|(name, value)| {
            format!("<tr><th><code>{}</code></th><td>{}</td></tr>\n", escape(name), escape(&plain(value)))
        })
        .collect();
    format!("<table>\n{rows}</table>")
}

/// Text without quotes, everything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What went wrong, with the raw error for whoever has to find out why.
pub(super) fn failure(shared: &Shared, failure: &Failure) -> String {
    let content = format!(
        "<div class=\"card fail\"><h1>登录未完成</h1><p class=\"second\" lang=\"en\">You are not signed in</p>\
         <table><tr><th>步骤 <span lang=\"en\">Stage</span></th><td><code>{}</code></td></tr>\
         <tr><th><code>error</code></th><td><code>{}</code></td></tr>\
         <tr><th><code>error_description</code></th><td>{}</td></tr></table></div>\n{BACK}",
        escape(failure.stage),
        escape(&failure.error),
        escape(&failure.description),
    );
    frame(shared, &content)
}

fn frame(shared: &Shared, content: &str) -> String {
    web::page("zh-Hans", &shared.config.name_zh, &shared.config.name, content)
}

/// `GET /style.css`
pub(super) async fn style() -> Response {
    web::asset("text/css; charset=utf-8", format!("{PORTAL_CSS}{BASE_CSS}"))
}

/// `GET /emblem.svg`
pub(super) async fn emblem() -> Response {
    web::asset("image/svg+xml", PORTAL_SVG.to_owned())
}
