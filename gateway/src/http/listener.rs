//! Accepting connections: TLS, limits, deadlines, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use certs::client_cert::ClientCertificate;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

/// Open connections at most; the next ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 65_536;
/// The time a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The time a request's header may take: a slow sender is cut off (fault F30).
const HEADER: Duration = Duration::from_secs(5);
/// The largest header block.
const MAX_HEADER: usize = 16 * 1024;
/// How long a connection may carry no request. Pings keep no idle connection open.
const IDLE: Duration = Duration::from_secs(60);
/// The time that running requests get when the process ends.
const DRAIN: Duration = Duration::from_secs(10);

/// The client certificate of a connection: the handshake proved that the peer holds its key.
#[derive(Debug, Clone)]
pub struct PeerCertificate(pub Arc<ClientCertificate>);

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

/// Serves `router` over TLS until `stop` says so, then lets running requests finish.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, router: Router, mut stop: watch::Receiver<bool>) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let tcp = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    // Out of descriptors, most likely: wait for some to come back instead of spinning.
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            _ = stop.changed() => break,
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        tokio::spawn(async move {
            connection(tcp, acceptor, router, stop).await;
            drop(place);
        });
    }
    drop(listener);
    // Every place comes back when its connection ends.
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    let _ = timeout(DRAIN, places.acquire_many(all)).await;
}

async fn connection(tcp: TcpStream, acceptor: TlsAcceptor, router: Router, mut stop: watch::Receiver<bool>) {
    let _ = tcp.set_nodelay(true);
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(tcp)).await else { return };
    // The protocol is what TLS agreed on; nothing is guessed from the first bytes, which might never come.
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let shown = stream.get_ref().1.peer_certificates().and_then(ClientCertificate::of);
    let certificate = shown.map(|shown| PeerCertificate(Arc::new(shown)));
    let (activity, idle) = Activity::new();
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        if let Some(certificate) = certificate.clone() {
            request.extensions_mut().insert(certificate);
        }
        let (answer, running) = (router.clone().call(request), activity.begin());
        async move {
            let answer = answer.await;
            drop(running);
            answer
        }
    });
    let builder = builder(h2);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    tokio::select! {
        _ = served.as_mut() => return,
        () = idle.passed(IDLE) => {}
        _ = stop.changed() => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = timeout(DRAIN, served).await;
}

fn builder(h2: bool) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = if h2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER).max_buf_size(MAX_HEADER).max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .max_header_list_size(16 * 1024)
        // Set by hand: a default once became "unlimited" unnoticed.
        .max_pending_accept_reset_streams(Some(20))
        .max_local_error_reset_streams(Some(64))
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Whether requests are running on a connection, told by the service.
#[derive(Clone)]
struct Activity(Arc<watch::Sender<usize>>);

/// The same, watched by the connection.
struct Idle(watch::Receiver<usize>);

/// A request that runs.
struct RunningRequest(Activity);

impl Activity {
    fn new() -> (Self, Idle) {
        let (sender, receiver) = watch::channel(0);
        (Self(Arc::new(sender)), Idle(receiver))
    }

    fn begin(&self) -> RunningRequest {
        self.0.send_modify(|running| *running += 1);
        RunningRequest(self.clone())
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.0.send_modify(|running| *running = running.saturating_sub(1));
    }
}

impl Idle {
    /// Returns once nothing has run for `span`.
    async fn passed(mut self, span: Duration) {
        loop {
            let busy = *self.0.borrow_and_update() > 0;
            let changed = timeout(span, self.0.changed()).await;
            if !busy && changed.is_err() {
                return;
            }
        }
    }
}
