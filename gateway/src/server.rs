//! A running gateway, from start to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use certs::tls::ReloadingCert;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::{App, StartError};
use crate::catalog::Bundle;
use crate::config::Config;
use crate::http::{listener, routes};
use crate::ports::Clock;

/// How often keys, certificate, bundle and expired records are looked after.
const TEND: Duration = Duration::from_secs(10);

/// A gateway that serves.
pub struct Server {
    app: Arc<App>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Opens everything the configuration names, then listens.
    ///
    /// # Errors
    /// [`StartError`]; nothing listens then.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let opened = Self::open(config, clock).await?;
        let listener = listener::bind(config.listen).await.map_err(StartError::Listen)?;
        Self::serve(opened, listener)
    }

    /// Opens everything the configuration names, and serves on a listener that is bound already.
    ///
    /// # Errors
    /// [`StartError`]; nothing is served then.
    pub async fn start_on(listener: TcpListener, config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        Self::serve(Self::open(config, clock).await?, listener)
    }

    async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<(Arc<App>, Arc<ReloadingCert>), StartError> {
        let bundle = Bundle::read(&config.bundle).map_err(StartError::Bundle)?;
        let certificate = ReloadingCert::load(&config.certificate, &config.certificate_key)?;
        Ok((App::open(config, &bundle, clock).await?, certificate))
    }

    fn serve((app, certificate): (Arc<App>, Arc<ReloadingCert>), listener: TcpListener) -> Result<Self, StartError> {
        let address = listener.local_addr().map_err(|error| StartError::Listen(error.to_string()))?;
        let tls = certs::tls::server(Arc::clone(&certificate) as Arc<_>)?;
        let (stop, stopped) = watch::channel(false);
        let tending = tend(Arc::clone(&app), certificate, stopped.clone());
        let serving = listener::serve(listener, tls, routes::router(Arc::clone(&app)), stopped);
        let serving = tokio::spawn(async move {
            let tending = tokio::spawn(tending);
            serving.await;
            tending.abort();
        });
        tracing::info!(issuer = app.issuer, %address, "serving");
        Ok(Self { app, address, stop, serving })
    }

    /// What requests share.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, lets running requests finish, and returns.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.serving.await;
    }
}

async fn tend(app: Arc<App>, certificate: Arc<ReloadingCert>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TEND) => app.tend(Some(&certificate)).await,
            _ = stop.changed() => return,
        }
    }
}
