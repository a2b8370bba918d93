//! The platform's pages, in colours and with an emblem of our own design.

use axum::response::Response;
use http::StatusCode;

use super::{AuthRequest, Shared};
use crate::people::{GuangdongAccount, Person};
use crate::web::{self, escape};

const BASE_CSS: &str = include_str!("../../assets/base.css");
const GUANGDONG_CSS: &str = include_str!("../../assets/guangdong.css");
const GUANGDONG_SVG: &str = include_str!("../../assets/guangdong.svg");

const LANG: &str = "zh-Hans";
const TITLE: &str = "广东省统一身份认证平台模拟站";
const SUBTITLE: &str = "Simulator of Guangdong's unified identity platform";

/// The ways to log in: what `accout_type` says and what the form says.
pub(super) const METHODS: [(&str, &str); 4] = [
    ("1", "账号密码 Password"),
    ("2", "数字证书 Digital certificate"),
    ("3", "粤省事扫码 Yueshengshi scan"),
    ("4", "微警认证 Weijing"),
];

/// The login form: how, one button for each account, and one to cancel.
pub(super) fn login(shared: &Shared, request: &AuthRequest, handle: &str) -> String {
    let buttons: String = shared.accounts().map(|(person, account)| button(person, account)).collect();
    let methods: String =
        METHODS.iter().map(|(code, name)| format!("<option value=\"{code}\">{name}</option>")).collect();
    let content = format!(
        r#"<h1>您是哪一位？</h1><p class="second"><span lang="en">Who are you?</span> → <code>{client}</code></p>
<form method="post" action="/login/decide">
<input type="hidden" name="handle" value="{handle}">
<label class="remember">登录方式 <span lang="en">Log in by</span>
<select name="method"><option value="" selected>按账户习惯 The account's own way</option>{methods}</select></label>
<label class="remember"><input type="checkbox" name="remember" value="1"> 保持登录状态
<span lang="en">Stay logged in at the platform</span></label>
{buttons}<button class="cancel" name="person" value="">取消 <span lang="en">Cancel</span></button>
</form>"#,
        client = escape(&request.client_id),
    );
    web::page(LANG, TITLE, SUBTITLE, &content)
}

fn button(person: &Person, account: &GuangdongAccount) -> String {
    format!(
        "<button name=\"person\" value=\"{id}\"><span class=\"acr\">{level} · {method}</span>\
         <span class=\"who\">{name}</span><span class=\"note\" lang=\"en\">{note}</span></button>\n",
        id = escape(&person.id),
        level = escape(&account.level),
        method = METHODS.iter().find(|(code, _)| *code == account.method).map_or("", |(_, name)| name),
        name = escape(&person.name),
        note = escape(&person.note),
    )
}

/// An error. Nothing public says how the platform reports one to a client, so it stays here.
pub(super) fn problem(explanation: &str) -> Response {
    let content = format!("<div class=\"card fail\"><h1>无法继续</h1><p lang=\"en\">{}</p></div>", escape(explanation));
    web::html(StatusCode::BAD_REQUEST, web::page(LANG, TITLE, SUBTITLE, &content))
}

/// The end of a logout that leads nowhere.
pub(super) fn logged_out() -> Response {
    let content = "<div class=\"card\"><h1>已退出登录</h1><p lang=\"en\">Logged out.</p></div>";
    web::html(StatusCode::OK, web::page(LANG, TITLE, SUBTITLE, content))
}

/// `GET /style.css`
pub(super) async fn style() -> Response {
    web::asset("text/css; charset=utf-8", format!("{GUANGDONG_CSS}{BASE_CSS}"))
}

/// `GET /emblem.svg`
pub(super) async fn emblem() -> Response {
    web::asset("image/svg+xml", GUANGDONG_SVG.to_owned())
}
