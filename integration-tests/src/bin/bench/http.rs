//! One HTTP connection over TLS, HTTP/2 or HTTP/1.1 as the server chooses, and a pool of them for back ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::http::header::HOST;
use ::http::{HeaderMap, Request, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs as crypto;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Failed;

/// How a client connects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// One client, which resumes its sessions.
    pub(crate) resumes: bool,
    /// X25519 only.
    pub(crate) classic: bool,
    /// HTTP/1.1 only.
    pub(crate) h1: bool,
}

/// A TLS client that resumes nothing unless told to: every person is somebody's first visit.
pub(crate) fn tls(roots: &[CertificateDer<'static>], manner: Manner) -> Result<Arc<ClientConfig>, Failed> {
    let mut store = rustls::RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|error| error.to_string())?;
    }
    let mut provider = crypto::default_provider();
    // Browsers put AES-128 first, rustls AES-256; a server lets them have their way.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    if manner.classic {
        provider.kx_groups = vec![crypto::kx_group::X25519];
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    let mut config = config.map_err(|error| error.to_string())?.with_root_certificates(store).with_no_client_auth();
    if !manner.resumes {
        config.resumption = Resumption::disabled();
    }
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if !manner.h1 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(Arc::new(config))
}

/// Opens connections to one server on this machine.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: TlsConnector,
    address: SocketAddr,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
}

/// An open connection; it closes when dropped.
pub(crate) enum Connection {
    /// HTTP/1.1.
    H1(http1::SendRequest<Full<Bytes>>),
    /// HTTP/2.
    H2(http2::SendRequest<Full<Bytes>>),
}

impl Connector {
    /// A connector to `localhost` at a port.
    pub(crate) fn new(tls: Arc<ClientConfig>, port: u16) -> Self {
        Self { tls: TlsConnector::from(tls), address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) }
    }

    /// A connector that keeps its own sessions, as one browser does.
    pub(crate) fn of_one_browser(&self) -> Self {
        let mut config = ClientConfig::clone(self.tls.config());
        config.resumption = Resumption::in_memory_sessions(4);
        Self { tls: TlsConnector::from(Arc::new(config)), address: self.address }
    }

    /// Opens one.
    pub(crate) async fn open(&self) -> Result<Connection, Failed> {
        let tcp = TcpStream::connect(self.address).await.map_err(|error| format!("connect: {:?}", error.kind()))?;
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        let stream = self.tls.connect(name, tcp).await.map_err(|error| format!("handshake: {error}"))?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream = TokioIo::new(stream);
        if h2 {
            let opened = http2::handshake(TokioExecutor::new(), stream).await;
            let (sender, driver) = opened.map_err(|error| error.to_string())?;
            tokio::spawn(driver);
            Ok(Connection::H2(sender))
        } else {
            let (sender, driver) = http1::handshake(stream).await.map_err(|error| error.to_string())?;
            tokio::spawn(driver);
            Ok(Connection::H1(sender))
        }
    }
}

impl Connection {
    /// Sends one request, its target in absolute form, and reads the answer to its end.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failed> {
        let lost = |error: hyper::Error| format!("connection: {error}");
        let response = match self {
            Self::H1(sender) => {
                sender.ready().await.map_err(lost)?;
                sender.send_request(with_host(request)?).await
            }
            Self::H2(sender) => {
                sender.ready().await.map_err(lost)?;
                sender.send_request(request).await
            }
        };
        read(response.map_err(lost)?).await
    }

    /// True while another request can be sent.
    fn is_open(&self) -> bool {
        match self {
            Self::H1(sender) => !sender.is_closed(),
            Self::H2(sender) => !sender.is_closed(),
        }
    }
}

async fn read(response: ::http::Response<Incoming>) -> Result<Answer, Failed> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| format!("body: {error}"))?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

/// HTTP/1.1 writes the host as a header and the target as a path.
fn with_host(mut request: Request<Full<Bytes>>) -> Result<Request<Full<Bytes>>, Failed> {
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse::<Uri>();
    *request.uri_mut() = path.map_err(|error| error.to_string())?;
    *request.version_mut() = Version::HTTP_11;
    let host = authority.parse().map_err(|_| "the target has no host".to_owned())?;
    request.headers_mut().insert(HOST, host);
    Ok(request)
}

/// How many requests share an HTTP/2 connection where many are under way.
const SHARED_BY: usize = 64;

/// A back end's connections: kept open, one request at a time on each unless it was widened.
pub(crate) struct Pool {
    connector: Connector,
    idle: Mutex<Vec<Connection>>,
    opened: AtomicU64,
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector, idle: Mutex::default(), opened: AtomicU64::default() }
    }

    /// Sends over an idle connection, or a new one.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failed> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle.filter(Connection::is_open) {
            Some(connection) => connection,
            None => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                self.connector.open().await?
            }
        };
        let answer = connection.send(request).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer)
    }

    /// Makes room for so many requests at once, on shared connections.
    pub(crate) async fn widen(&self, requests: usize) -> Result<(), Failed> {
        for _ in 0..requests.div_ceil(SHARED_BY) {
            let Connection::H2(sender) = self.connector.open().await? else {
                return Err("HTTP/1.1 connections carry one request at a time".to_owned());
            };
            self.opened.fetch_add(1, Ordering::Relaxed);
            let seats = std::iter::repeat_with(|| Connection::H2(sender.clone())).take(SHARED_BY);
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(seats);
        }
        Ok(())
    }

    /// Connections that it opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}
