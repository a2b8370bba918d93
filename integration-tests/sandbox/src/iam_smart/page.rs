//! The simulator's pages. Colours and drawings are our own; none is official.

use axum::response::Response;
use http::StatusCode;

use super::rpc::Refusal;
use super::tickets::{Kind, Ticket};
use super::{Client, Login, Shared};
use crate::people::{IamSmartAccount, Person};
use crate::web::{self, escape};

const BASE_CSS: &str = include_str!("../../assets/base.css");
const OWN_CSS: &str = include_str!("../../assets/hong-kong.css");
const EMBLEM: &str = include_str!("../../assets/hong-kong.svg");
const CODE: &str = include_str!("code.svg");

/// Texts in one language. The pages of the phone are always in both.
struct Words {
    lang: &'static str,
    title: &'static str,
    subtitle: &'static str,
    scan: &'static str,
    open: &'static str,
    hold: &'static str,
    cancel: &'static str,
    problem: &'static str,
}

const CHINESE: Words = Words {
    lang: "zh-Hant-HK",
    title: "智方便模擬站",
    subtitle: "iAM Smart simulator",
    scan: "以手機掃描，身分是：",
    open: "開啟流動應用程式，身分是：",
    hold: "不要自動批准資料要求，我會使用手機頁面",
    cancel: "取消",
    problem: "未能繼續",
};

const ENGLISH: Words = Words {
    lang: "en",
    title: "iAM Smart simulator",
    subtitle: "智方便模擬站",
    scan: "Scan with your phone as:",
    open: "Open the app as:",
    hold: "Do not approve data requests automatically; I will use the phone page",
    cancel: "Cancel",
    problem: "Cannot go on",
};

const fn words(english: bool) -> &'static Words {
    if english { &ENGLISH } else { &CHINESE }
}

impl Words {
    fn page(&self, content: &str) -> String {
        web::page(self.lang, self.title, self.subtitle, content)
    }
}

/// The login page: one button for each person, and one to cancel.
pub(super) fn login(shared: &Shared, login: &Login, on_pc: bool, handle: &str) -> String {
    let words = words(login.english);
    let (question, picture) = if on_pc {
        (words.scan, "<p><img src=\"/code.svg\" alt=\"\" width=\"176\" height=\"176\"></p>")
    } else {
        (words.open, "")
    };
    let content = format!(
        r#"{picture}<h1>{question}</h1><p class="second">→ <code>{client}</code> · {scopes}</p>
<form method="post" action="/login/decide">
<input type="hidden" name="handle" value="{handle}">
<label class="remember"><input type="checkbox" name="hold" value="1"> {hold}</label>
{buttons}<button class="cancel" name="person" value="">{cancel}</button>
</form>
<p class="second"><a href="/phone">/phone</a></p>"#,
        client = escape(&login.client_id),
        scopes = escape(&login.scopes.join(" ")),
        hold = words.hold,
        buttons = people(shared),
        cancel = words.cancel,
    );
    words.page(&content)
}

fn people(shared: &Shared) -> String {
    shared.accounts().map(|(person, account)| button(person, account)).collect()
}

fn button(person: &Person, account: &IamSmartAccount) -> String {
    format!(
        "<button name=\"person\" value=\"{id}\"><span class=\"acr\">{user_type}</span>\
         <span class=\"who\">{name} {name_zh}</span><span class=\"note\" lang=\"en\">{note}</span></button>\n",
        id = escape(&person.id),
        user_type = escape(&account.user_type),
        name = escape(&person.name),
        name_zh = escape(person.name_zh.as_deref().unwrap_or_default()),
        note = escape(&person.note),
    )
}

/// The page inside the app that opens a service.
pub(super) fn direct(shared: &Shared) -> String {
    let mut checked = " checked";
    let service = |client: &Client| {
        let id = escape(&client.registered.client_id);
        let first = std::mem::take(&mut checked);
        format!(
            "<label class=\"remember\"><input type=\"radio\" name=\"client\" value=\"{id}\"{first}> <code>{id}</code></label>\n"
        )
    };
    let offered = shared.clients.iter().filter(|client| client.registered.direct_callback.is_some());
    let services: String = offered.map(service).collect();
    let content = format!(
        r#"<h1>在應用程式內開啟服務</h1><p class="second" lang="en">Open a service from inside the app</p>
<form method="post" action="/direct">
{services}{buttons}</form>"#,
        buttons = people(shared),
    );
    CHINESE.page(&content)
}

/// All open requests of everybody.
pub(super) fn phone(shared: &Shared, waiting: &[Ticket]) -> String {
    let cards: String = waiting.iter().map(|ticket| card(shared, ticket, "phone")).collect();
    let none = if waiting.is_empty() {
        "<p>沒有待處理的要求 <span lang=\"en\">Nothing is waiting</span></p>"
    } else {
        ""
    };
    CHINESE.page(&format!("<h1>手機 <span lang=\"en\">Phone</span></h1>{none}{cards}"))
}

/// One request, as a link into the app shows it.
pub(super) fn app(shared: &Shared, ticket: &Ticket) -> String {
    let home = escape(&shared.origin);
    CHINESE.page(&format!("{}<p class=\"second\"><code>{home}</code></p>", card(shared, ticket, "app")))
}

fn card(shared: &Shared, ticket: &Ticket, from: &str) -> String {
    let who = shared.account(&ticket.person).map(|(person, _)| escape(&person.name)).unwrap_or_default();
    let what = match ticket.kind {
        Kind::Profile => {
            format!("要求個人資料 <span lang=\"en\">asks for</span> {}", escape(&ticket.fields.join(", ")))
        }
        Kind::StepUp => "要求再次認證 <span lang=\"en\">asks you to authenticate again</span>".to_owned(),
    };
    format!(
        r#"<form class="card" method="post" action="/phone/decide">
<h2><code>{client}</code></h2><p>{what}</p><p class="second">{who}</p>
<input type="hidden" name="ticketID" value="{id}"><input type="hidden" name="from" value="{from}">
<button name="decision" value="approve">批准 <span lang="en">Approve</span></button>
<button class="cancel" name="decision" value="reject">拒絕 <span lang="en">Reject</span></button>
</form>
"#,
        client = escape(&ticket.client_id),
        id = escape(&ticket.id),
    )
}

/// A login request that is refused.
pub(super) fn refused(english: bool, refusal: &Refusal) -> Response {
    failure(words(english), &format!("{}: {}", refusal.code, refusal.message))
}

/// Something that went wrong on these pages.
pub(super) fn problem(explanation: &str) -> Response {
    failure(&CHINESE, explanation)
}

fn failure(words: &Words, explanation: &str) -> Response {
    let content =
        format!("<div class=\"card fail\"><h1>{}</h1><p lang=\"en\">{}</p></div>", words.problem, escape(explanation));
    web::html(StatusCode::BAD_REQUEST, words.page(&content))
}

/// `GET /style.css`
pub(super) async fn style() -> Response {
    web::asset("text/css; charset=utf-8", format!("{OWN_CSS}{BASE_CSS}"))
}

/// `GET /emblem.svg`
pub(super) async fn emblem() -> Response {
    web::asset("image/svg+xml", EMBLEM.to_owned())
}

/// `GET /code.svg`: the drawing of a code to scan. It encodes nothing.
pub(super) async fn code() -> Response {
    web::asset("image/svg+xml", CODE.to_owned())
}
