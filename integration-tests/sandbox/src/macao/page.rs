//! The stand-in's pages, in colours and with an emblem of our own design.

use axum::response::Response;
use http::StatusCode;

use super::{AuthRequest, Shared};
use crate::people::{MacaoAccount, Person};
use crate::web::{self, escape};

const BASE_CSS: &str = include_str!("../../assets/base.css");
const MACAO_CSS: &str = include_str!("../../assets/macao.css");
const MACAO_SVG: &str = include_str!("../../assets/macao.svg");

/// Every way to log in, from weak to strong.
pub(super) const WAYS: [&str; 4] = ["password", "password+otp", "password+face", "password+cloud-signature"];

/// Texts in one language.
struct Words {
    lang: &'static str,
    title: &'static str,
    subtitle: &'static str,
    question: &'static str,
    how: &'static str,
    usual: &'static str,
    /// Names of [`WAYS`], in their order.
    ways: [&'static str; 4],
    remember: &'static str,
    cancel: &'static str,
}

const CHINESE: Words = Words {
    lang: "zh-Hant-MO",
    title: "澳門一戶通模擬站",
    subtitle: "Simulador da Conta Única de Macau",
    question: "閣下是哪一位？",
    how: "登入方式",
    usual: "按帳戶習慣",
    ways: ["密碼", "密碼及一次性密碼", "密碼及人臉識別", "密碼及雲簽"],
    remember: "保持登入狀態",
    cancel: "取消",
};

const PORTUGUESE: Words = Words {
    lang: "pt",
    title: "Simulador da Conta Única de Macau",
    subtitle: "澳門一戶通模擬站",
    question: "Quem é?",
    how: "Forma de autenticação",
    usual: "A habitual da conta",
    ways: [
        "Palavra-passe",
        "Palavra-passe e código único",
        "Palavra-passe e reconhecimento facial",
        "Palavra-passe e assinatura na nuvem",
    ],
    remember: "Manter a sessão iniciada",
    cancel: "Cancelar",
};

/// The login form: how, one button for each account, and one to cancel.
pub(super) fn login(shared: &Shared, request: &AuthRequest, handle: &str) -> String {
    let words = if request.portuguese { PORTUGUESE } else { CHINESE };
    let buttons: String = shared.accounts().map(|(person, account)| button(person, account)).collect();
    let ways: String = WAYS
        .iter()
        .zip(words.ways)
        .filter(|(way, _)| request.accepts(way))
        .map(|(way, name)| format!("<option value=\"{way}\">{name}</option>"))
        .collect();
    // A demanded factor is not everybody's habit, so then the form asks for one of the ways with it.
    let usual = match request.factor {
        None => format!("<option value=\"\" selected>{}</option>", words.usual),
        Some(_) => String::new(),
    };
    let content = format!(
        r#"<h1>{question}</h1><p class="second">→ <code>{client}</code></p>
<form method="post" action="/login/decide">
<input type="hidden" name="handle" value="{handle}">
<label class="remember">{how} <select name="factor">{usual}{ways}</select></label>
<label class="remember"><input type="checkbox" name="remember" value="1"> {remember}</label>
{buttons}<button class="cancel" name="person" value="">{cancel}</button>
</form>"#,
        question = words.question,
        client = escape(&request.client_id),
        how = words.how,
        remember = words.remember,
        cancel = words.cancel,
    );
    web::page(words.lang, words.title, words.subtitle, &content)
}

fn button(person: &Person, account: &MacaoAccount) -> String {
    format!(
        "<button name=\"person\" value=\"{id}\"><span class=\"acr\">{factor}</span>\
         <span class=\"who\">{name} {name_zh}</span><span class=\"note\" lang=\"en\">{note}</span></button>\n",
        id = escape(&person.id),
        factor = escape(&account.factor),
        name = escape(&person.name),
        name_zh = escape(person.name_zh.as_deref().unwrap_or_default()),
        note = escape(&person.note),
    )
}

/// An error that must not be sent to the client.
pub(super) fn problem(explanation: &str) -> Response {
    let content = format!(
        "<div class=\"card fail\"><h1>未能繼續 <span lang=\"pt\">Não é possível continuar</span></h1>\
         <p lang=\"en\">{}</p></div>",
        escape(explanation)
    );
    web::html(StatusCode::BAD_REQUEST, web::page(CHINESE.lang, CHINESE.title, CHINESE.subtitle, &content))
}

/// `GET /style.css`
pub(super) async fn style() -> Response {
    web::asset("text/css; charset=utf-8", format!("{MACAO_CSS}{BASE_CSS}"))
}

/// `GET /emblem.svg`
pub(super) async fn emblem() -> Response {
    web::asset("image/svg+xml", MACAO_SVG.to_owned())
}
