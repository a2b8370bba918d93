//! Outgoing HTTPS of the portal: HTTP/1.1 over rustls, with idle connections kept for reuse.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use http::header::{self, HeaderName};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::Failure;

const TIMEOUT: Duration = Duration::from_secs(15);
const ANSWER_LIMIT: usize = 256 * 1024;

/// Idle connections kept for each server.
const IDLE_LIMIT: usize = 8;

type Sender = http1::SendRequest<Full<Bytes>>;

/// A small HTTPS client; clones share their idle connections.
#[derive(Clone)]
pub struct PortalHttp {
    connector: TlsConnector,
    addresses: HashMap<String, SocketAddr>,
    idle: Arc<Mutex<HashMap<String, Vec<Sender>>>>,
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl PortalHttp {
    /// A client that trusts what `config` trusts.
    #[must_use]
    pub fn new(config: &ClientConfig) -> Self {
        let mut config = config.clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { connector: TlsConnector::from(Arc::new(config)), addresses: HashMap::new(), idle: Arc::default() }
    }

    /// Connects to `address` whenever a URL says `authority` (`host:port`), instead of asking DNS.
    /// For tests that serve made-up host names.
    #[must_use]
    pub fn with_address(mut self, authority: &str, address: SocketAddr) -> Self {
        self.addresses.insert(authority.to_owned(), address);
        self
    }

    /// Sends a request and reads the answer; redirects are not followed.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, String)],
        body: String,
    ) -> Result<Answer, Failure> {
        let failed = |reason: String| Failure::new("network", "unreachable", format!("{url}: {reason}"));
        let exchange = self.exchange(method, url, headers, body);
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("no answer in time".to_owned())),
        }
    }

    /// Posts JSON; the status of the answer, or `None` when none came.
    pub(crate) async fn post_json(&self, url: &str, body: String) -> Option<u16> {
        let headers = [(header::CONTENT_TYPE, "application/json".to_owned())];
        let answer = self.send(Method::POST, url, &headers, body).await.ok()?;
        Some(answer.status.as_u16())
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, String)],
        body: String,
    ) -> Result<Answer, Error> {
        let url = Url::parse(url)?;
        let host = url.host_str().filter(|_| url.scheme() == "https").ok_or("the URL is not https")?;
        let authority = format!("{host}:{}", url.port().unwrap_or(443));
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let host_header = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut builder = Request::builder().method(method).uri(path).header(header::HOST, host_header);
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        let request = builder.body(Full::new(Bytes::from(body)))?;

        let (mut sender, answer) = self.send_on_some_connection(host, &authority, request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await?.to_bytes();
        if sender.ready().await.is_ok() {
            self.put_idle(&authority, sender);
        }
        Ok(Answer { status, body })
    }

    /// Uses an idle connection if one still works. A request that never left is sent on a new one.
    async fn send_on_some_connection(
        &self,
        host: &str,
        authority: &str,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Sender, http::Response<Incoming>), Error> {
        while let Some(mut sender) = self.take_idle(authority) {
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok((sender, answer)),
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(refused.into_error().into()),
                },
            }
        }
        let mut sender = self.connect(host, authority).await?;
        let answer = sender.send_request(request).await?;
        Ok((sender, answer))
    }

    async fn connect(&self, host: &str, authority: &str) -> Result<Sender, Error> {
        let tcp = match self.addresses.get(authority) {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect(authority).await?,
        };
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        let tls = self.connector.connect(name, tcp).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "portal connection ended");
            }
        });
        Ok(sender)
    }

    fn take_idle(&self, authority: &str) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.get_mut(authority)?.pop()
    }

    fn put_idle(&self, authority: &str, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.entry(authority.to_owned()).or_default();
        if connections.len() < IDLE_LIMIT {
            connections.push(sender);
        }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;
