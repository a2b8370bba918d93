//! The portal's pages: Simplified Chinese first, English below, no script.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use qrcode::QrCode;
use qrcode::render::svg;

use super::callback::SignedIn;
use super::elsewhere::Waiting;
use super::{Elsewhere, Failure, Shared};
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
                 {elsewhere}<a href=\"/login?service={index}&amp;prompt=login\">重新验证后登录 \
                 <span lang=\"en\">Sign in with a new login</span></a></section>\n",
                elsewhere = elsewhere(&shared, index),
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

/// How a terminal or a counter begins for one service.
fn elsewhere(shared: &Shared, service: usize) -> String {
    let (ask, zh, en) = match shared.config.elsewhere {
        None => return String::new(),
        Some(Elsewhere::Terminal) => (String::new(), "用自己的手机登录", "Sign in on your own phone"),
        Some(Elsewhere::Counter) => {
            let ask = format!(
                "<label>居民手机上的代码 <span lang=\"en\">The code on the resident's phone</span> \
                 (<a href=\"{0}/requests\">{0}/requests</a>)<br>\
                 <input name=\"code\" required autocomplete=\"off\" maxlength=\"16\"></label>",
                escape(&shared.config.issuer)
            );
            (ask, "请居民在手机上确认", "Ask the resident on their phone")
        }
    };
    format!(
        "<form method=\"post\" action=\"/elsewhere\"><input type=\"hidden\" name=\"service\" value=\"{service}\">{ask}\
         <button>{zh}<small lang=\"en\">{en}</small></button></form>"
    )
}

/// What a terminal or a counter shows meanwhile.
pub(super) fn waiting(shared: &Shared, waiting: &Waiting) -> String {
    let service = shared.config.services.get(waiting.service).map_or("", |service| service.name_zh.as_str());
    let code = waiting.code.as_ref().map_or_else(String::new, |[address, code, whole]| {
        format!(
            "<div class=\"qr\">{picture}</div><p>用手机扫码，或者打开 <span lang=\"en\">Scan, or open</span> \
             <code>{address}</code></p><p class=\"digits\">{code}</p>\
             <p><a href=\"{whole}\" target=\"_blank\" rel=\"noopener\">在另一个窗口打开（演示） \
             <span lang=\"en\">Open in another window, as the phone</span></a></p>",
            picture = picture(whole),
            address = escape(address),
            code = escape(code),
            whole = escape(whole),
        )
    });
    let content = format!(
        "<div class=\"card\"><h1>请在手机上确认</h1><p class=\"second\"><span lang=\"en\">Please answer on the phone</span> \
         · {service}</p>{code}<p>两边的数字应当相同 <span lang=\"en\">Both sides show the same digits</span></p>\
         <p class=\"digits\" role=\"status\">{check}</p></div>\n{BACK}",
        service = escape(service),
        check = escape(&waiting.check),
    );
    frame(shared, &content)
}

/// An address as a picture that phones read.
fn picture(address: &str) -> String {
    let drawn = QrCode::new(address).map(|code| code.render::<svg::Color<'_>>().min_dimensions(220, 220).build());
    let drawn = drawn.unwrap_or_default();
    drawn.split_once("<svg").map_or_else(String::new, |(_, rest)| format!("<svg role=\"img\" aria-label=\"QR\"{rest}"))
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

/// `GET /privacy`: the notice that people are led to before they agree.
pub(super) async fn privacy(State(shared): State<Arc<Shared>>) -> Response {
    let content = "<h1>隐私说明</h1><p>这是模拟门户：只有虚构的人，数据只保存在内存中。</p>\
                   <p class=\"second\" lang=\"en\">Privacy notice: everybody here is synthetic, and their data is kept in memory only.</p>";
    web::html(StatusCode::OK, frame(&shared, content))
}

/// `GET /style.css`
pub(super) async fn style() -> Response {
    web::asset("text/css; charset=utf-8", format!("{PORTAL_CSS}{BASE_CSS}"))
}

/// `GET /emblem.svg`
pub(super) async fn emblem() -> Response {
    web::asset("image/svg+xml", PORTAL_SVG.to_owned())
}
