//! One whole login: a person nobody has seen before, in a browser with nothing in it, and the portal's two calls after.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ::http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE, USER_AGENT};
use ::http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use url::{Url, form_urlencoded};

use crate::http::{Answer, Connection, Connector};
use crate::portal::{Asked, Rp};
use crate::rig::REACHED;
use crate::site::{REDIRECT, Site};

/// The waiting page's script; a new browser does not have it.
const WAIT_SCRIPT: &str = "/static/wait.js";
/// When a page that should have news by now is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How long one login took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// From the intended start to the last answer.
    pub(crate) whole: Duration,
    /// Of that, waiting for what is measured: connecting, and every answer; the first from the intended start.
    pub(crate) waited: Duration,
    /// Of that, the token request.
    pub(crate) token: Duration,
    /// Requests that were answered: the browser's, the portal's and deliveries.
    pub(crate) requests: u32,
    /// Of them, looks at the waiting page that found no news.
    pub(crate) looks: u32,
    /// Of them, deliveries.
    pub(crate) deliveries: u32,
}

/// Why a login came to nothing.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What kind, to be counted.
    pub(crate) kind: String,
    /// More of it, to be looked at once.
    pub(crate) detail: String,
}

impl Fault {
    fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), detail: String::new() }
    }

    /// With more to be looked at.
    pub(crate) fn with(kind: &str, detail: String) -> Self {
        Self { kind: kind.to_owned(), detail }
    }
}

impl From<String> for Fault {
    fn from(kind: String) -> Self {
        Self::new(kind)
    }
}

/// A browser's cookies: name, path and value.
pub(crate) type Cookies = Vec<(String, String, String)>;

/// What a browser does next.
enum Step {
    Get(String),
    Post(String, String),
}

/// How a person's way ends.
enum End {
    /// The browser is sent away, to a portal.
    Sent(Url),
    /// At a page that asks nothing more.
    Here(Url, Answer),
}

/// A browser, its cookies and its one connection.
pub(crate) struct Browser<'a> {
    site: &'a Site,
    connector: Connector,
    cookies: Cookies,
    connection: Option<Connection>,
    waited: Duration,
    requests: u32,
    looks: u32,
    deliveries: u32,
    knows_assets: bool,
    /// Who sits here, as the identity system knows them.
    person: Option<u64>,
}

/// Logs one person in at a portal.
pub(crate) async fn login(site: &Site, rp: &Rp, intended: Instant) -> Result<Timing, Fault> {
    let mut browser = Browser::new(site, intended);
    let asked = rp.ask(site, &[]).await?;
    browser.waited = intended.elapsed();
    let code = browser.sign_in(asked.url.clone(), &asked.state).await?;
    let began = Instant::now();
    let tokens = rp.redeem(site, &code, &asked).await?;
    let token = began.elapsed();
    let began = Instant::now();
    rp.userinfo(site, &tokens).await?;
    let waited = browser.waited + token + began.elapsed();
    let (requests, looks, deliveries) = (browser.requests + asked.requests + 2, browser.looks, browser.deliveries);
    Ok(Timing { whole: intended.elapsed(), waited, token, requests, looks, deliveries })
}

/// The browser's part of a login alone: the code.
pub(crate) async fn code(site: &Site, asked: &Asked) -> Result<String, Fault> {
    Browser::new(site, Instant::now()).sign_in(asked.url.clone(), &asked.state).await
}

impl<'a> Browser<'a> {
    /// A new one, for somebody who wanted to begin then.
    pub(crate) fn new(site: &'a Site, intended: Instant) -> Self {
        let resumes = site.portal.resumes;
        Self {
            site,
            connector: if resumes { site.browser.of_one_browser() } else { site.browser.clone() },
            cookies: Vec::new(),
            connection: None,
            waited: intended.elapsed(),
            requests: 0,
            looks: 0,
            deliveries: 0,
            knows_assets: site.kind.assets.is_empty(),
            person: None,
        }
    }
}

impl<'a> Browser<'a> {
    /// One that was used before, with what it kept: no connection, and the files that pages name.
    pub(crate) fn picked_up(site: &'a Site, cookies: Cookies) -> Self {
        Self { cookies, knows_assets: true, ..Self::new(site, Instant::now()) }
    }

    /// What is kept of it when nobody looks at it.
    pub(crate) fn put_down(self) -> Cookies {
        self.cookies
    }
}

impl Browser<'_> {
    /// From the portal's request to the code it is sent back with.
    pub(crate) async fn sign_in(&mut self, start: String, state: &str) -> Result<String, Fault> {
        match self.browse(start).await? {
            End::Sent(target) => arrived(&target, state, &self.site.issuer),
            End::Here(url, answer) => Err(refused(&url, &answer)),
        }
    }

    /// Answers somebody who waits elsewhere: agrees to whatever is asked until nothing is asked any more.
    pub(crate) async fn answer(&mut self, start: String) -> Result<(), Fault> {
        match self.browse(start).await? {
            End::Sent(target) => Err(Fault::with("sent away", target.to_string())),
            End::Here(..) => Ok(()),
        }
    }

    async fn browse(&mut self, start: String) -> Result<End, Fault> {
        let mut step = Step::Get(start);
        for _ in 0..20 {
            let (url, answer) = self.take(step).await?;
            if answer.status == StatusCode::OK {
                match self.read(&url, &answer).await? {
                    Some(next) => step = next,
                    None => return Ok(End::Here(url, answer)),
                }
                continue;
            }
            let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            let Some(location) = location.filter(|_| answer.status.is_redirection()) else {
                return Err(refused(&url, &answer));
            };
            let target = url.join(location).map_err(|_| Fault::new("a redirect to nowhere"))?;
            let upstream = &self.site.portal.upstream;
            if target.as_str().starts_with(REDIRECT) {
                return Ok(End::Sent(target));
            }
            if target.as_str().starts_with(&upstream.origin) {
                // Time goes by there, and the connection with it.
                self.connection = None;
                let visit = upstream.visit(target.query().unwrap_or_default())?;
                self.person = Some(visit.person);
                step = Step::Get(visit.back);
            } else {
                step = Step::Get(target.into());
            }
        }
        Err(Fault::new("too many redirects"))
    }

    /// Carries out one step, cookies included.
    async fn take(&mut self, step: Step) -> Result<(Url, Answer), Fault> {
        let (url, form) = match step {
            Step::Get(url) => (url, None),
            Step::Post(url, form) => (url, Some(form)),
        };
        let url = Url::parse(&url).map_err(|_| Fault::new("an address that is none"))?;
        let began = Instant::now();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connector.open().await.map_err(|error| at(&url, &error))?,
        };
        let request = self.request(&url, form)?;
        let answer = connection.send(request).await.map_err(|error| at(&url, &error))?;
        self.waited += began.elapsed();
        self.requests += 1;
        self.connection = Some(connection);
        self.remember(&answer);
        Ok((url, answer))
    }

    fn request(&self, url: &Url, form: Option<String>) -> Result<Request<Full<Bytes>>, Fault> {
        let mut request = Request::builder()
            .uri(url.as_str())
            .header(USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36")
            .header(ACCEPT, "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8")
            .header(ACCEPT_LANGUAGE, "zh-HK,zh-Hant;q=0.9,en;q=0.8")
            .header("accept-encoding", "gzip, deflate, br")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-site", if form.is_some() { "same-origin" } else { "cross-site" });
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .filter(|(_, path, _)| url.path().starts_with(path.as_str()))
            .map(|(name, _, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if form.is_some() {
            request = request
                .method("POST")
                .header(ORIGIN, &self.site.issuer)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        request.body(Full::new(Bytes::from(form.unwrap_or_default()))).map_err(|error| Fault::new(error.to_string()))
    }

    /// Keeps the cookies of an answer, and lets go of those it removes.
    fn remember(&mut self, answer: &Answer) {
        for line in answer.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let Some((name, value)) = pair.trim().split_once('=') else { continue };
            let attribute = |wanted: &str| {
                attributes
                    .split(';')
                    .filter_map(|one| one.trim().split_once('='))
                    .find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.to_owned()))
            };
            let path = attribute("path").unwrap_or_else(|| "/".to_owned());
            self.cookies.retain(|(known, at, _)| known != name || *at != path);
            let ended = attribute("max-age").is_some_and(|age| age == "0")
                || attribute("expires").is_some_and(|when| when.contains("1970"));
            if !value.is_empty() && !ended {
                self.cookies.push((name.to_owned(), path, value.to_owned()));
            }
        }
    }

    /// Fetches a file that a page names.
    async fn fetch(&mut self, file: &str) -> Result<(), Fault> {
        let (url, answer) = self.take(Step::Get(format!("{}{file}", self.site.issuer))).await?;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(refused(&url, &answer)) }
    }

    /// Sits before a waiting page, whose script looks until there is news and then goes on.
    async fn wait(&mut self, page: &Url) -> Result<Step, Fault> {
        self.fetch(WAIT_SCRIPT).await?;
        for _ in 0..self.site.portal.looks {
            self.sees_news(page).await?;
        }
        self.approve().await?;
        while !self.sees_news(page).await? {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(Step::Get(page.as_str().replace("/wait", "/continue")))
    }

    async fn sees_news(&mut self, page: &Url) -> Result<bool, Fault> {
        let (_, answer) = self.take(Step::Get(page.to_string())).await?;
        self.looks += u32::from(answer.status == StatusCode::OK);
        Ok(answer.status != StatusCode::OK)
    }

    /// The person approves on the phone, and the identity system delivers. That takes a person longer than the gateway
    /// needs to write down what is open, so it never comes before the page.
    async fn approve(&mut self) -> Result<(), Fault> {
        let person = self.person.ok_or_else(|| Fault::new("a waiting page for nobody"))?;
        let body = self.site.portal.upstream.approve(person)?;
        let request = Request::post(format!("{}/receive/{REACHED}", self.site.issuer))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Fault::new(error.to_string()))?;
        let began = Instant::now();
        let answer = self.site.deliveries.send(request).await?;
        self.waited += began.elapsed();
        (self.requests, self.deliveries) = (self.requests + 1, self.deliveries + 1);
        match answer.status {
            StatusCode::OK => Ok(()),
            status => Err(Fault::new(format!("/receive: {}", status.as_u16()))),
        }
    }

    /// Reads a page: follows the chooser's link, or submits the form with its first button. Nothing, where it has neither.
    async fn read(&mut self, url: &Url, answer: &Answer) -> Result<Option<Step>, Fault> {
        if !self.knows_assets {
            self.knows_assets = true;
            for asset in self.site.kind.assets {
                self.fetch(asset).await?;
            }
        }
        if url.path().ends_with("/wait") {
            return self.wait(url).await.map(Some);
        }
        let page = String::from_utf8_lossy(&answer.body);
        let join = |target: &str| url.join(target).map(String::from).map_err(|_| Fault::new("a link to nowhere"));
        if let Some(link) = self.site.kind.choice.and_then(|choice| link_to(&page, choice)) {
            return Ok(Some(Step::Get(join(link)?)));
        }
        let form = page.split_once("<form method=\"post\"").map(|(_, form)| form);
        let Some(form) = form.and_then(|form| form.split_once("</form>")).map(|(form, _)| form) else {
            return Ok(None);
        };
        let action = form.split_once('>').and_then(|(tag, _)| value_of(tag, "action"));
        let mut fields = form_urlencoded::Serializer::new(String::new());
        let agreed = form.split("<input type=\"checkbox\"").skip(1).filter(|tag| tag.starts_with(" name=\"export\""));
        let hidden = form.split("<input type=\"hidden\"").skip(1);
        for tag in hidden.chain(agreed).chain(form.split("<button").nth(1)) {
            let tag = tag.split('>').next().unwrap_or_default();
            fields.append_pair(value_of(tag, "name").unwrap_or_default(), value_of(tag, "value").unwrap_or_default());
        }
        Ok(Some(Step::Post(join(action.unwrap_or(url.as_str()))?, fields.finish())))
    }
}

/// The link of a page that ends so.
fn link_to<'a>(page: &'a str, end: &str) -> Option<&'a str> {
    let (before, _) = page.split_once(&format!("{end}\""))?;
    let start = before.rfind("href=\"")? + "href=\"".len();
    page.get(start..before.len() + end.len())
}

fn value_of<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

/// The first part of a path, which names the kind of page.
pub(crate) fn at(url: &Url, error: &str) -> Fault {
    Fault::new(format!("/{}: {error}", url.path().split('/').nth(1).unwrap_or_default()))
}

pub(crate) fn refused(url: &Url, answer: &Answer) -> Fault {
    let page = String::from_utf8_lossy(&answer.body);
    let code = page.split_once("id=\"code\">").and_then(|(_, rest)| rest.split('<').next()).unwrap_or_default();
    let mut fault = at(url, &format!("{} {code}", answer.status.as_u16()));
    fault.detail = page.chars().take(600).collect();
    fault
}

/// The code that the portal is sent, when the answer is its own (RFC 9207).
fn arrived(target: &Url, state: &str, issuer: &str) -> Result<String, Fault> {
    let params: HashMap<_, _> = target.query_pairs().into_owned().collect();
    let is = |name: &str, wanted: &str| params.get(name).is_some_and(|value| value == wanted);
    match params.get("code") {
        Some(code) if is("state", state) && is("iss", issuer) => Ok(code.clone()),
        _ => Err(Fault {
            kind: format!("redirected with {}", params.get("error").map_or("no code", String::as_str)),
            detail: target.to_string(),
        }),
    }
}
