//! The way out: the adapters' HTTP port over one pooled, verified, bounded client.
//!
//! Only hosts that the bundle names are reached (an allow-list, not a deny-list: CVE-2024-49753 and its sequels), the
//! address is checked when the connection is made (so DNS cannot change it in between), redirects are answers and not
//! instructions, and each host has its own bound of calls in flight, so that one slow provider starves no other. Of a host with
//! several addresses the first that answers is used (Happy Eyeballs, RFC 8305); a host that has not answered several times in a row
//! is left alone for a moment, but for one call that finds out whether it is back.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use adapters::http::{Http, HttpError};
use arc_swap::ArcSwap;
use axum::body::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use crate::config::EgressConfig;
use crate::load::Load;

/// The whole time one call may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The time to connect, TLS included.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a connection waits for its next call: less than the five seconds after which the most impatient of the usual
/// servers close it. A call that leaves at the moment of the closing is lost, and a code cannot be sent twice.
const IDLE: Duration = Duration::from_secs(4);
/// The largest answer.
const MAX_ANSWER: usize = 64 * 1024;
/// Calls in flight to one host.
const IN_FLIGHT: usize = 256;
/// How long one address has before the next is tried beside it (RFC 8305 section 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// After how many calls in a row without an answer a host is left alone.
const SILENT: u32 = 8;
/// For how long.
const ALONE: Duration = Duration::from_secs(3);
/// From which delay of our own on, in milliseconds, a missing answer says nothing about the host.
const OWN_DELAY: u32 = 300;

type Allowed = HashMap<String, Arc<Host>>;

/// What is known of a host.
#[derive(Debug)]
struct Host {
    calls: Semaphore,
    silence: Mutex<Silence>,
}

/// How often a host did not answer.
#[derive(Debug, Default)]
struct Silence {
    /// In a row.
    calls: u32,
    /// When it may be called again.
    until: Option<Instant>,
}

impl Host {
    fn new() -> Self {
        Self { calls: Semaphore::new(IN_FLIGHT), silence: Mutex::default() }
    }

    /// Whether it is worth calling now. Of all who want to after a silence one finds out.
    fn may_be_called(&self) -> bool {
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        match silence.until {
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                silence.until = Some(Instant::now() + ALONE);
                true
            }
            None => true,
        }
    }

    fn note(&self, answered: bool) {
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            *silence = Silence::default();
        } else {
            silence.calls += 1;
            if silence.calls >= SILENT {
                silence.until = Some(Instant::now() + ALONE);
            }
        }
    }
}

/// The egress port.
pub struct Egress {
    client: Client<Connector, Full<Bytes>>,
    connector: Connector,
    allowed: ArcSwap<Allowed>,
    load: Arc<Load>,
}

/// Why the port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The trusted roots cannot be read.
    #[error(transparent)]
    Tls(#[from] certs::tls::TlsError),
    /// The machine has no trusted roots.
    #[error("no trusted root certificate is to be had; name a file with egress.trust")]
    NoRoots,
}

impl Egress {
    /// Opens the port; it reaches nobody until [`Egress::allow`] says so.
    ///
    /// # Errors
    /// [`EgressError`].
    pub fn open(config: &EgressConfig) -> Result<Self, EgressError> {
        let roots: Vec<CertificateDer<'static>> = match &config.trust {
            Some(file) => certs::tls::read_certificates(file)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        if roots.is_empty() {
            return Err(EgressError::NoRoots);
        }
        let tls = certs::tls::client(roots)?;
        let connector = Connector { tls: Arc::new(tls), private_addresses: config.private_addresses };
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(64)
            .pool_timer(TokioTimer::new())
            .build(connector.clone());
        Ok(Self { client, connector, allowed: ArcSwap::default(), load: Arc::default() })
    }

    /// The same, in a process whose delay is measured: a host is not blamed for it.
    #[must_use]
    pub fn beside(self, load: &Arc<Load>) -> Self {
        Self { load: Arc::clone(load), ..self }
    }

    /// Sets the hosts that may be reached: scheme, host and port of each address.
    pub fn allow(&self, addresses: &[Url]) {
        let before = self.allowed.load();
        let next = addresses.iter().map(|url| {
            let origin = url.origin().ascii_serialization();
            let host = before.get(&origin).cloned().unwrap_or_else(|| Arc::new(Host::new()));
            (origin, host)
        });
        self.allowed.store(Arc::new(next.collect()));
    }

    /// Until when, in seconds since 1970, the certificate of a host holds that may be reached.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn certificate_until(&self, host: &Url) -> Result<u64, HttpError> {
        let name = host.host_str().unwrap_or("?");
        if !self.allowed.load().contains_key(&host.origin().ascii_serialization()) {
            return Err(HttpError::Forbidden(name.to_owned()));
        }
        let uri: Uri = host.as_str().parse().map_err(|_| HttpError::Forbidden(name.to_owned()))?;
        let connected = timeout(CONNECT, self.connector.clone().connect(uri)).await.map_err(|_| HttpError::Timeout)?;
        let stream = connected.map_err(|error| refused(&error))?;
        let chain = stream.0.inner().get_ref().1.peer_certificates().unwrap_or_default();
        let own = chain.first().and_then(|own| certs::client_cert::valid_until(own));
        own.ok_or_else(|| HttpError::Certificate("it cannot be read".to_owned()))
    }

    async fn call(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        let request = request.map(|body| Full::new(Bytes::from(body)));
        let response = self.client.request(request).await.map_err(|error| connect_error(&error))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|_| HttpError::TooLarge)?;
        Ok(http::Response::from_parts(parts, body.to_bytes().to_vec()))
    }
}

#[async_trait::async_trait]
impl Http for Egress {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        let origin = Url::parse(&request.uri().to_string()).map(|url| url.origin().ascii_serialization());
        let host = origin.ok().and_then(|origin| self.allowed.load().get(&origin).cloned());
        let Some(host) = host else {
            return Err(HttpError::Forbidden(request.uri().host().unwrap_or("?").to_owned()));
        };
        if !host.may_be_called() {
            return Err(HttpError::Connect("the host has not answered lately".to_owned()));
        }
        let _permit =
            host.calls.try_acquire().map_err(|_| HttpError::Connect("too many calls in flight".to_owned()))?;
        let answer = timeout(DEADLINE, self.call(request)).await.unwrap_or(Err(HttpError::Timeout));
        let silent = matches!(answer, Err(HttpError::Timeout));
        if silent && self.load.delay() > OWN_DELAY {
            return Err(HttpError::Overloaded);
        }
        host.note(!silent);
        answer
    }
}

fn connect_error(error: &hyper_util::client::legacy::Error) -> HttpError {
    match refused(error) {
        HttpError::Connect(_) if !error.is_connect() => HttpError::Connect("the connection broke".to_owned()),
        refused => refused,
    }
}

/// Tells a certificate that cannot be verified and a host that is silent from one that cannot be reached.
fn refused(error: &(dyn std::error::Error + 'static)) -> HttpError {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(cause) = source {
        if let Some(rustls::Error::InvalidCertificate(reason)) = cause.downcast_ref::<rustls::Error>() {
            return HttpError::Certificate(format!("{reason:?}"));
        }
        let failed = cause.downcast_ref::<io::Error>();
        if failed.is_some_and(|failed| failed.kind() == io::ErrorKind::TimedOut) {
            return HttpError::Timeout;
        }
        // An io::Error hides what it wraps from source(): look inside.
        let inner = failed.and_then(io::Error::get_ref);
        source = inner.map(|inner| inner as &dyn std::error::Error).or_else(|| cause.source());
    }
    HttpError::Connect("cannot connect".to_owned())
}

/// Connects to a host over TLS.
#[derive(Clone)]
struct Connector {
    tls: Arc<ClientConfig>,
    private_addresses: bool,
}

impl Connector {
    async fn connect(self, uri: Uri) -> io::Result<Stream> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        let found = tokio::net::lookup_host((host.as_str(), port)).await?;
        let usable = found.filter(|address| self.private_addresses || is_public(address.ip()));
        self.first_to_answer(in_turn(usable.collect()), &name).await
    }

    /// The connection to the first address that answers: each has a moment before the next is tried beside it.
    async fn first_to_answer(&self, addresses: Vec<SocketAddr>, name: &ServerName<'static>) -> io::Result<Stream> {
        let mut refused =
            io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address that may be reached");
        let (mut addresses, mut trying) = (addresses.into_iter(), FuturesUnordered::new());
        loop {
            let next = addresses.next();
            let is_last = next.is_none();
            trying.extend(next.map(|address| self.open(address, name.clone())));
            match timeout(if is_last { CONNECT } else { NEXT_ADDRESS }, trying.next()).await {
                Ok(Some(Ok(stream))) => return Ok(stream),
                Ok(Some(Err(error))) => refused = error,
                Ok(None) => return Err(refused),
                Err(_) if is_last => return Err(io::ErrorKind::TimedOut.into()),
                Err(_) => {}
            }
        }
    }

    async fn open(&self, address: SocketAddr, name: ServerName<'static>) -> io::Result<Stream> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await.map(|stream| Stream(TokioIo::new(stream)))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            if uri.scheme() != Some(&http::uri::Scheme::HTTPS) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "only https is spoken"));
            }
            timeout(CONNECT, connector.connect(uri)).await?
        })
    }
}

/// A TLS connection in the shape that hyper pools.
struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Addresses with the families taking turns, beginning with that of the first (RFC 8305 section 4).
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (own, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut own, mut other) = (own.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [own.next(), other.next()];
        if pair.iter().all(Option::is_none) {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

/// True for an address of the public Internet (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (b == 18 || b == 19))
                || (a == 192 && (b == 0 || (b == 88 && c == 99))))
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            let global = first & 0xe000 == 0x2000;
            // 2001::/23 holds Teredo and other special blocks; 6to4 carries IPv4 addresses inside.
            let special = first == 0x2001 && v6.segments()[1] < 0x0200;
            let documentation = first == 0x2001 && v6.segments()[1] == 0x0db8;
            global && !special && !documentation && first != 0x2002
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVE-2026-1180: private, loopback, link-local, mapped and tunnelled addresses.
    #[test]
    fn cve_2026_1180_no_private_address_in_any_clothing() {
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.1",
            "198.18.0.1",
            "240.0.0.1",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::7f00:1",
            "192.88.99.1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "1.1.1.1", "2606:4700::1111"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn cve_2024_49753_a_host_that_is_not_configured_is_never_called() {
        let folder = tempfile::tempdir().unwrap();
        let ca = certs::devca::DevCa::open(folder.path(), 1_800_000_000).unwrap();
        let egress = Egress::open(&EgressConfig { trust: Some(ca.certificate()), private_addresses: true }).unwrap();
        egress.allow(&["https://localhost:1".parse().unwrap()]);
        for uri in
            ["https://localhost:2/", "http://localhost:1/", "https://localhost.evil.example:1/", "https://127.0.0.1:1/"]
        {
            let request = http::Request::get(uri).body(Vec::new()).unwrap();
            assert!(matches!(egress.send(request).await, Err(HttpError::Forbidden(_))), "{uri}");
        }
        let request = http::Request::get("https://localhost:1/").body(Vec::new()).unwrap();
        assert!(matches!(egress.send(request).await, Err(HttpError::Connect(_))));
    }

    /// RFC 8305: addresses that say nothing, of either family and in any number, keep nobody from one that works.
    #[tokio::test]
    async fn rfc8305_a_silent_address_keeps_nobody_from_one_that_works() {
        let folder = tempfile::tempdir().unwrap();
        let ca =
            certs::devca::DevCa::open(folder.path(), crate::ports::Clock::now(&crate::ports::SystemClock).0).unwrap();
        let (chain, key) = ca.issue("server", &["localhost"]).unwrap();
        let tls = certs::tls::server(certs::tls::ReloadingCert::load(&chain, &key).unwrap()).unwrap();
        let egress = Egress::open(&EgressConfig { trust: Some(ca.certificate()), private_addresses: true }).unwrap();
        let silent = async |ip: &str| tokio::net::TcpListener::bind((ip, 0)).await.unwrap();
        let working = silent("127.0.0.1").await;
        let at = working.local_addr().unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(tls);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = working.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let open = acceptor.accept(tcp).await;
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    drop(open);
                });
            }
        });
        // They take the connection and never say a word.
        let (six, four, other) = (silent("::1").await, silent("127.0.0.2").await, silent("127.0.0.3").await);
        let [six, four, other] = [&six, &four, &other].map(|silent| silent.local_addr().unwrap());
        let name = ServerName::try_from("localhost").unwrap();
        for addresses in [vec![at], vec![six, at], vec![four, other, at], vec![six, four, other, at], vec![at, six]] {
            let connected = egress.connector.first_to_answer(in_turn(addresses.clone()), &name);
            assert!(timeout(Duration::from_secs(2), connected).await.is_ok_and(|open| open.is_ok()), "{addresses:?}");
        }
        let none = egress.connector.first_to_answer(vec![six, four], &name).await;
        assert_eq!(none.err().unwrap().kind(), io::ErrorKind::TimedOut);
        assert!(egress.connector.first_to_answer(Vec::new(), &name).await.is_err());
    }

    #[test]
    fn a_host_that_does_not_answer_is_left_alone_and_found_again() {
        let host = Host::new();
        (1..SILENT).for_each(|_| host.note(false));
        assert!(host.may_be_called());
        host.note(false);
        assert!(!host.may_be_called());
        host.silence.lock().unwrap().until = Some(Instant::now());
        assert!(host.may_be_called() && !host.may_be_called(), "one finds out");
        host.note(true);
        assert!(host.may_be_called() && host.may_be_called());
    }

    /// A name that was configured may lead anywhere by the time that it is called: what it leads to is looked at then, and before a
    /// single byte is sent.
    #[tokio::test]
    async fn cve_2026_1180_what_a_name_leads_to_is_looked_at_when_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let ca = certs::devca::DevCa::open(folder.path(), 1_800_000_000).unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for (private_addresses, reached) in [(false, false), (true, true)] {
            let egress = Egress::open(&EgressConfig { trust: Some(ca.certificate()), private_addresses }).unwrap();
            egress.allow(&[format!("https://localhost:{port}").parse().unwrap()]);
            let request = http::Request::get(format!("https://localhost:{port}/")).body(Vec::new()).unwrap();
            let (sent, came) = tokio::join!(egress.send(request), async {
                // Whoever is reached closes at once.
                timeout(Duration::from_millis(500), listener.accept()).await.is_ok()
            });
            assert!(matches!(sent, Err(HttpError::Connect(_))), "{sent:?}");
            assert_eq!(came, reached);
        }
    }
}
