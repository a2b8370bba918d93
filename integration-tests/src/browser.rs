//! A browser without a screen: keeps cookies, follows redirects when told to, reads forms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Where from.
    pub url: Url,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Reply {
    /// Where a redirect goes.
    #[must_use]
    pub fn location(&self) -> Option<Url> {
        let target = self.headers.get("location")?.to_str().ok()?;
        self.url.join(target).ok()
    }

    /// The redirect's target; panics when there is none.
    #[must_use]
    pub fn target(&self) -> Url {
        self.location().unwrap_or_else(|| panic!("no redirect but {} {}", self.status, self.body))
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.body))
    }

    /// The value of a hidden field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        let (_, rest) = self.body.split_once(&format!("name=\"{name}\" value=\""))?;
        Some(rest.split_once('"')?.0.replace("&#38;", "&").replace("&amp;", "&"))
    }

    /// The stable code of a failure page.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        let (_, rest) = self.body.split_once("<dd id=\"code\">")?;
        Some(rest.split_once('<')?.0)
    }
}

/// Sends the requests for one port to several in turn, as a load balancer would.
#[derive(Debug)]
pub struct Balancer {
    /// The port that addresses name.
    pub port: u16,
    /// The ports that answer.
    pub nodes: Vec<u16>,
    /// How many requests went through.
    pub count: AtomicUsize,
}

impl Balancer {
    fn pick(&self, port: u16) -> u16 {
        if port != self.port {
            return port;
        }
        self.nodes[self.count.fetch_add(1, Ordering::SeqCst) % self.nodes.len()]
    }
}

/// A browser.
#[derive(Clone)]
pub struct Browser {
    /// What it trusts.
    pub tls: Arc<ClientConfig>,
    /// Its cookies. All of `localhost` shares them, whatever the port, as in a real one.
    pub cookies: BTreeMap<String, String>,
    /// Further headers of every request.
    pub headers: Vec<(&'static str, String)>,
    /// Where requests really go.
    pub balancer: Option<Arc<Balancer>>,
}

impl Browser {
    /// A browser that trusts what `tls` trusts.
    #[must_use]
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls, cookies: BTreeMap::new(), headers: Vec::new(), balancer: None }
    }

    /// Opens an address; follows nothing.
    pub async fn get(&mut self, url: impl AsRef<str>) -> Reply {
        self.send(Method::GET, url.as_ref(), None, &[]).await
    }

    /// Posts a form as the gateway's own page would.
    pub async fn post(&mut self, url: impl AsRef<str>, form: &[(&str, &str)]) -> Reply {
        let body = encode(form);
        self.send(Method::POST, url.as_ref(), Some(body), &[("sec-fetch-site", "same-origin")]).await
    }

    /// Opens an address and follows redirects while they stay at `host` (scheme, host and port).
    pub async fn follow_within(&mut self, url: impl AsRef<str>, host: &str) -> Reply {
        let mut reply = self.get(url).await;
        for _ in 0..10 {
            match reply.location() {
                Some(next) if next.as_str().starts_with(host) => reply = self.get(next).await,
                _ => return reply,
            }
        }
        panic!("too many redirects")
    }

    /// Sends any request.
    pub async fn send(&mut self, method: Method, url: &str, body: Option<String>, more: &[(&str, &str)]) -> Reply {
        let url: Url = url.parse().expect("a URL");
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", &url[url::Position::BeforeHost..url::Position::AfterPort]);
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", cookies.join("; "));
        }
        if body.is_some() && !more.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        for (name, value) in
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied())
        {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).expect("a request");
        let reply = self.exchange(url, request).await;
        self.keep_cookies(&reply);
        reply
    }

    async fn exchange(&self, url: Url, request: Request<Full<Bytes>>) -> Reply {
        let (host, port) = (url.host_str().expect("a host").to_owned(), url.port_or_known_default().expect("a port"));
        let port = self.balancer.as_ref().map_or(port, |balancer| balancer.pick(port));
        let tcp = TcpStream::connect((host.as_str(), port)).await.expect("a connection");
        let name = ServerName::try_from(host).expect("a name");
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await.expect("TLS");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let response = sender.send_request(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Reply { url, status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    fn keep_cookies(&mut self, reply: &Reply) {
        for line in reply.headers.get_all("set-cookie") {
            let line = line.to_str().expect("a cookie");
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').expect("a cookie");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// A form, encoded.
#[must_use]
pub fn encode(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}
