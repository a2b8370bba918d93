//! Accepting connections: TLS, limits, deadlines, and an orderly end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use certs::client_cert::ClientCertificate;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connections::{Connections, Seat};
use super::{body, hello};
use crate::load::Load;

/// The time a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The time a request's header may take from its first byte on: a slow sender is cut off (fault F30).
const HEADER: Duration = Duration::from_secs(5);
/// The largest header block: cookies of several sign-ins, and a long request in the query.
const MAX_HEADER: usize = 32 * 1024;
/// How long a connection may carry no request: well above the interval at which terminals poll. Pings keep no idle connection
/// open.
const IDLE: Duration = Duration::from_secs(75);
/// How long a new connection may take until its first request.
const FIRST: Duration = Duration::from_secs(10);
/// The time that running requests get when the process ends.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a connection may take to end that makes way for another: both hold a descriptor meanwhile.
const MAKES_WAY: Duration = Duration::from_millis(100);

/// The client certificate of a connection: the handshake proved that the peer holds its key.
#[derive(Debug, Clone)]
pub struct PeerCertificate(pub Arc<ClientCertificate>);

/// The address of a connection.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(IpAddr);

impl PeerAddress {
    /// The address as limits count it.
    #[must_use]
    pub fn counted(self) -> IpAddr {
        self.0
    }
}

/// Binds an address.
///
/// # Errors
/// A sentence that names the address, for the operator.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => format!("{address} is taken by another program; choose another port"),
        _ => format!("{address} cannot be listened on: {error}"),
    })
}

/// Serves `router` over TLS until `stop` says so, then lets running requests finish. Connections are turned away by `load`, where
/// anybody can make them.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    connections: Arc<Connections>,
    load: Option<Arc<Load>>,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let (tcp, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: wait for some to come back instead of spinning.
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            _ = stop.changed() => break,
        };
        let Some(seat) = connections.admit(address.ip()) else { continue };
        let (acceptor, router, load, stop) = (acceptor.clone(), router.clone(), load.clone(), stop.clone());
        tokio::spawn(connection(tcp, (acceptor, router), load, Arc::new(seat), stop));
    }
    drop(listener);
    let _ = timeout(DRAIN, connections.drained()).await;
}

async fn connection(
    tcp: TcpStream,
    (acceptor, router): (TlsAcceptor, Router),
    load: Option<Arc<Load>>,
    seat: Arc<Seat>,
    mut stop: watch::Receiver<bool>,
) {
    // A handshake is the dearest part of a visit: what cannot be served is turned away before it.
    let mut let_in = None;
    if let Some(load) = load.filter(|load| load.is_too_much()) {
        let resumes = hello::resumes(&tcp).await;
        if !load.takes_connection(resumes) {
            return;
        }
        let_in = (!resumes).then(LetIn::default);
    }
    let _ = tcp.set_nodelay(true);
    let accepted = tokio::select! {
        accepted = timeout(HANDSHAKE, acceptor.accept(tcp)) => accepted,
        () = seat.makes_way() => return,
    };
    let Ok(Ok(stream)) = accepted else { return };
    // The protocol is what TLS agreed on; nothing is guessed from the first bytes, which might never come.
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let shown = stream.get_ref().1.peer_certificates().and_then(ClientCertificate::of);
    let certificate = shown.map(|shown| PeerCertificate(Arc::new(shown)));
    let address = PeerAddress(seat.address());
    let (activity, watched) = Activity::new(Arc::clone(&seat));
    let stream = Observed { stream, activity: activity.clone(), h2 };
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        let running = activity.begin();
        request.extensions_mut().insert(address);
        if let Some(let_in) = let_in.clone() {
            request.extensions_mut().insert(let_in);
        }
        if let Some(certificate) = certificate.clone() {
            request.extensions_mut().insert(certificate);
        }
        let router = router.clone();
        async move {
            // A connection whose bodies do not come makes way like any other on which nothing runs.
            let request = body::arrived(request).await;
            let seated = running.seated();
            let answer = request.answered(router).await;
            drop((seated, running));
            answer
        }
    });
    let builder = builder(h2);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let drains = tokio::select! {
        _ = served.as_mut() => return,
        end = watched.ended() => if end == End::Cut { return } else { DRAIN },
        // Its place is another's already.
        () = seat.makes_way() => MAKES_WAY,
        _ = stop.changed() => DRAIN,
    };
    served.as_mut().graceful_shutdown();
    let _ = timeout(drains, served).await;
}

fn builder(h2: bool) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = if h2 { builder.http2_only() } else { builder.http1_only() };
    // This timer runs while a connection is idle as well: slow headers are cut by our own.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(2 * IDLE).max_buf_size(MAX_HEADER).max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .max_header_list_size(32 * 1024)
        // Set by hand: a default once became "unlimited" unnoticed.
        .max_pending_accept_reset_streams(Some(20))
        .max_local_error_reset_streams(Some(64))
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// That a connection was let in though there was too much to do: its first sign-in is not turned away as often as others are.
#[derive(Debug, Clone, Default)]
pub struct LetIn(Arc<AtomicBool>);

impl LetIn {
    /// True the first time.
    #[must_use]
    pub fn is_first(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

/// What happens on a connection, told by its service and its stream.
#[derive(Clone)]
struct Activity {
    now: Arc<watch::Sender<Now>>,
    seat: Arc<Seat>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Now {
    /// Requests that run.
    running: usize,
    /// Bytes came since the last request, and no new request yet.
    header_began: bool,
    /// There was a request before.
    was_of_use: bool,
}

/// The same, watched by the connection.
struct Watched(watch::Receiver<Now>);

/// How a quiet connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing came for long: it is closed in order.
    Idle,
    /// A header took too long: it is cut.
    Cut,
}

/// A request that came, or is coming.
struct RunningRequest(Activity);

/// A request that is being answered.
struct Seated(Arc<Seat>);

impl Activity {
    fn new(seat: Arc<Seat>) -> (Self, Watched) {
        let (sender, receiver) = watch::channel(Now::default());
        (Self { now: Arc::new(sender), seat }, Watched(receiver))
    }

    fn begin(&self) -> RunningRequest {
        self.now.send_modify(|now| *now = Now { running: now.running + 1, header_began: false, was_of_use: true });
        RunningRequest(self.clone())
    }

    fn bytes_came(&self) {
        self.now.send_if_modified(|now| {
            let begins = now.running == 0 && !now.header_began;
            now.header_began |= begins;
            begins
        });
    }
}

impl RunningRequest {
    /// The request is whole, and answered from here on.
    fn seated(&self) -> Seated {
        self.0.seat.begin();
        Seated(Arc::clone(&self.0.seat))
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.now.send_modify(|now| now.running = now.running.saturating_sub(1));
    }
}

impl Watched {
    /// Returns once the connection was quiet for too long.
    async fn ended(mut self) -> End {
        loop {
            let now = *self.0.borrow_and_update();
            let (span, end) = match now {
                Now { header_began: true, .. } => (HEADER, End::Cut),
                Now { was_of_use: false, .. } => (FIRST, End::Idle),
                _ => (IDLE, End::Idle),
            };
            let changed = timeout(span, self.0.changed()).await;
            if now.running == 0 && changed.is_err() {
                return end;
            }
        }
    }
}

/// A connection's stream that tells when bytes come. Over HTTP/2 they may be no request's.
struct Observed {
    stream: TlsStream<TcpStream>,
    activity: Activity,
    h2: bool,
}

impl AsyncRead for Observed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !self.h2 && buf.filled().len() > before {
            self.activity.bytes_came();
        }
        read
    }
}

impl AsyncWrite for Observed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
