//! The parameters of a login request, checked one by one.

use std::collections::HashMap;

use url::form_urlencoded;

use super::rpc::Refusal;
use super::{Client, Login, Shared};

/// Where a login can come from in a browser.
const BROWSERS: [&str; 11] = [
    "Android_Chrome",
    "Android_Firefox",
    "Android_Edge",
    "Android_Samsung",
    "Android_Huawei",
    "Android_Xiaomi",
    "iOS_Safari",
    "iOS_Chrome",
    "iOS_Firefox",
    "iOS_Edge",
    PC,
];

/// The only source on another device than the phone.
pub(super) const PC: &str = "PC_Browser";

/// Where a call can come from in an app.
const APPS: [&str; 3] = ["App_Link", "App_Package", "App_Scheme"];

const STATE_LIMIT: usize = 36;

struct Query(HashMap<String, String>);

/// Reads a request; the language comes separately, because refusals are shown in it too.
pub(super) fn read(shared: &Shared, raw: &str) -> Result<(Login, String), Refusal> {
    let query = Query::parse(raw)?;
    let client_id = query.required("clientID")?;
    let client = shared.client(client_id).ok_or_else(|| Refusal::new("D20003", "clientID is not known"))?;
    if query.required("responseType")? != "code" {
        return Err(Refusal::new("D20003", "responseType must be code"));
    }
    let source = query.required("source")?;
    if !BROWSERS.contains(&source) {
        return Err(Refusal::new("D20007", "source is not one of the browsers"));
    }
    let redirect_uri = query.required("redirectURI")?;
    check_redirect(client, redirect_uri)?;
    let scopes = scopes(client, query.required("scope")?)?;
    let state = query.optional("state")?;
    state.map_or(Ok(()), check_state)?;
    query.check_rest()?;
    let login = Login {
        client_id: client_id.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        state: state.map(str::to_owned),
        scopes,
        english: is_english(raw),
    };
    Ok((login, source.to_owned()))
}

/// Whether the page should be in English.
pub(super) fn is_english(raw: &str) -> bool {
    form_urlencoded::parse(raw.as_bytes()).any(|(name, value)| name == "lang" && value == "en-US")
}

/// Refuses addresses that are not registered.
pub(super) fn check_redirect(client: &Client, redirect_uri: &str) -> Result<(), Refusal> {
    if client.registered.redirect_uris.iter().any(|registered| registered == redirect_uri) {
        return Ok(());
    }
    Err(Refusal::new("D20008", "redirectURI is not registered"))
}

/// Refuses a `state` that is too long or has other than the allowed characters.
pub(super) fn check_state(state: &str) -> Result<(), Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if state.len() <= STATE_LIMIT && state.bytes().all(allowed) {
        return Ok(());
    }
    Err(Refusal::new("D20003", "state must be at most 36 letters, digits, hyphens and underscores"))
}

/// Whether a call after the login may come from here.
pub(super) fn is_source(source: &str) -> bool {
    BROWSERS.contains(&source) || APPS.contains(&source)
}

fn scopes(client: &Client, asked: &str) -> Result<Vec<String>, Refusal> {
    let scopes: Vec<String> = asked.split(' ').map(str::to_owned).collect();
    match scopes.iter().find(|scope| !client.registered.scopes.contains(scope)) {
        None => Ok(scopes),
        Some(other) => Err(Refusal::new("D20015", format!("scope {other} is not approved for this client"))),
    }
}

impl Query {
    fn parse(raw: &str) -> Result<Self, Refusal> {
        let mut values = HashMap::new();
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            if values.contains_key(name.as_ref()) {
                return Err(Refusal::new("D20004", format!("{name} is repeated")));
            }
            values.insert(name.into_owned(), value.into_owned());
        }
        Ok(Self(values))
    }

    fn optional(&self, name: &str) -> Result<Option<&str>, Refusal> {
        match self.0.get(name).map(String::as_str) {
            Some("") => Err(Refusal::new("D20002", format!("{name} is empty"))),
            value => Ok(value),
        }
    }

    fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.optional(name)?.ok_or_else(|| Refusal::new("D20001", format!("{name} is missing")))
    }

    /// Parameters that change nothing here, but must be right when they are sent.
    fn check_rest(&self) -> Result<(), Refusal> {
        let allowed = |name: &str, values: &[&str]| match self.optional(name)? {
            Some(value) if !values.contains(&value) => Err(Refusal::new("D20003", format!("{name} is not allowed"))),
            _ => Ok(()),
        };
        allowed("lang", &["en-US", "zh-HK", "zh-CN"])?;
        allowed("brokerPage", &["true", "false"])?;
        // These belong to corporate and anonymous flows, which are not simulated.
        allowed("cScope", &[])?;
        allowed("ticketID", &[])
    }
}
