//! The provider's pages. Each place has colours and an emblem of our own design; none is official.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::{AuthRequest, Place, Shared};
use crate::people::Person;
use crate::web::{self, escape};

const BASE_CSS: &str = include_str!("../../assets/base.css");
const HONG_KONG_CSS: &str = include_str!("../../assets/hong-kong.css");
const MACAO_CSS: &str = include_str!("../../assets/macao.css");
const GUANGDONG_CSS: &str = include_str!("../../assets/guangdong.css");
const HONG_KONG_SVG: &str = include_str!("../../assets/hong-kong.svg");
const MACAO_SVG: &str = include_str!("../../assets/macao.svg");
const GUANGDONG_SVG: &str = include_str!("../../assets/guangdong.svg");

/// Texts of one provider in one language.
struct Words {
    lang: &'static str,
    title: &'static str,
    subtitle: &'static str,
    question: &'static str,
    remember: &'static str,
    cancel: &'static str,
    problem: &'static str,
}

fn words(place: Place, english: bool) -> Words {
    if english {
        return english_words(place);
    }
    match place {
        Place::HongKong => Words {
            lang: "zh-Hant-HK",
            title: "香港登入模擬站",
            subtitle: "Hong Kong login simulator",
            question: "你是哪一位？ Who are you?",
            remember: "在此瀏覽器記住我 Remember me in this browser",
            cancel: "取消 Cancel",
            problem: "未能繼續 Cannot go on",
        },
        Place::Macao => Words {
            lang: "zh-Hant-MO",
            title: "澳門登入模擬站",
            subtitle: "Simulador de autenticação de Macau",
            question: "閣下是哪一位？ Quem é?",
            remember: "在此瀏覽器記住本人 Lembrar neste navegador",
            cancel: "取消 Cancelar",
            problem: "未能繼續 Não é possível continuar",
        },
        Place::Guangdong => Words {
            lang: "zh-Hans",
            title: "广东登录模拟站",
            subtitle: "Guangdong login simulator",
            question: "您是哪一位？ Who are you?",
            remember: "在此浏览器记住我 Remember me in this browser",
            cancel: "取消 Cancel",
            problem: "无法继续 Cannot go on",
        },
    }
}

fn english_words(place: Place) -> Words {
    let (title, subtitle) = match place {
        Place::HongKong => ("Hong Kong login simulator", "香港登入模擬站"),
        Place::Macao => ("Macao login simulator", "澳門登入模擬站"),
        Place::Guangdong => ("Guangdong login simulator", "广东登录模拟站"),
    };
    Words {
        lang: "en",
        title,
        subtitle,
        question: "Who are you?",
        remember: "Remember me in this browser",
        cancel: "Cancel",
        problem: "Cannot go on",
    }
}

/// The login form: one button for each person, and one to cancel.
pub(super) fn login(shared: &Shared, request: &AuthRequest, handle: &str) -> String {
    let words = words(shared.config.place, request.english);
    let hint = request.login_hint.as_deref();
    let is_hinted = |person: &&Person| Some(person.id.as_str()) == hint;
    let (first, rest): (Vec<&Person>, Vec<&Person>) = shared.config.people.iter().partition(is_hinted);
    let buttons: String = first
        .iter()
        .map(|person| button(person, " class=\"hinted\""))
        .chain(rest.iter().map(|person| button(person, "")))
        .collect();
    let content = format!(
        r#"<h1>{question}</h1><p class="second">→ <code>{client}</code></p>
<form method="post" action="/authorize/decide">
<input type="hidden" name="handle" value="{handle}">
<label class="remember"><input type="checkbox" name="remember" value="1"> {remember}</label>
{buttons}<button class="cancel" name="person" value="">{cancel}</button>
</form>"#,
        question = words.question,
        client = escape(&request.client_id),
        remember = words.remember,
        cancel = words.cancel,
    );
    web::page(words.lang, words.title, words.subtitle, &content)
}

fn button(person: &Person, class: &str) -> String {
    format!(
        "<button name=\"person\" value=\"{id}\"{class}><span class=\"acr\">{acr}</span>\
         <span class=\"who\">{name} {name_zh}</span><span class=\"note\" lang=\"en\">{note}</span></button>\n",
        id = escape(&person.id),
        acr = escape(&person.acr),
        name = escape(&person.name),
        name_zh = escape(person.name_zh.as_deref().filter(|zh| *zh != person.name).unwrap_or_default()),
        note = escape(&person.note),
    )
}

/// An error that must not be sent to the client.
pub(super) fn problem(shared: &Shared, explanation: &str) -> Response {
    let words = words(shared.config.place, false);
    let content =
        format!("<div class=\"card fail\"><h1>{}</h1><p lang=\"en\">{}</p></div>", words.problem, escape(explanation));
    web::html(StatusCode::BAD_REQUEST, web::page(words.lang, words.title, words.subtitle, &content))
}

/// The hidden handle of a login form, for tests that press a button without a browser: post it as
/// `handle` together with `person` to `/authorize/decide`.
#[must_use]
pub fn form_handle(page: &str) -> Option<&str> {
    let (_, after) = page.split_once("name=\"handle\" value=\"")?;
    after.split_once('"').map(|(handle, _)| handle)
}

/// `GET /style.css`
pub(super) async fn style(State(shared): State<Arc<Shared>>) -> Response {
    let own = match shared.config.place {
        Place::HongKong => HONG_KONG_CSS,
        Place::Macao => MACAO_CSS,
        Place::Guangdong => GUANGDONG_CSS,
    };
    web::asset("text/css; charset=utf-8", format!("{own}{BASE_CSS}"))
}

/// `GET /emblem.svg`
pub(super) async fn emblem(State(shared): State<Arc<Shared>>) -> Response {
    let own = match shared.config.place {
        Place::HongKong => HONG_KONG_SVG,
        Place::Macao => MACAO_SVG,
        Place::Guangdong => GUANGDONG_SVG,
    };
    web::asset("image/svg+xml", own.to_owned())
}
