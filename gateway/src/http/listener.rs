//! Accepting connections: TLS, limits, deadlines, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
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
/// The time that running requests get when the process ends.
const DRAIN: Duration = Duration::from_secs(10);

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
    let draining = GracefulShutdown::new();
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
        let (acceptor, router, watcher) = (acceptor.clone(), router.clone(), draining.watcher());
        tokio::spawn(async move {
            connection(tcp, acceptor, router, watcher).await;
            drop(place);
        });
    }
    let _ = timeout(DRAIN, draining.shutdown()).await;
}

async fn connection(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let _ = tcp.set_nodelay(true);
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(tcp)).await else { return };
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| router.clone().call(request));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER).max_buf_size(MAX_HEADER).max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .max_header_list_size(16 * 1024)
        // Set by hand: a default once became "unlimited" unnoticed.
        .max_pending_accept_reset_streams(Some(20))
        .max_local_error_reset_streams(Some(64))
        .keep_alive_interval(Some(Duration::from_secs(60)))
        .keep_alive_timeout(Duration::from_secs(20));
    let served = builder.serve_connection(TokioIo::new(stream), service);
    let _ = watcher.watch(served.into_owned()).await;
}
