//! A running gateway, from start to end.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use certs::tls::ReloadingCert;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

use crate::app::{App, StartError};
use crate::config::Config;
use crate::control;
use crate::http::connections::{self, Connections};
use crate::http::{listener, routes};
use crate::notices;
use crate::op::joining;
use crate::ports::Clock;

/// How often keys, certificate, bundle and expired records are looked after.
pub(crate) const TEND: Duration = Duration::from_secs(10);

/// How often it is looked whether another bundle is in effect: often enough that all nodes have it within a second.
pub(crate) const FOLLOW: Duration = Duration::from_millis(250);

/// The fewest connections that a gateway is of use with, and the limit of open files that they need.
const FEWEST: usize = 64;
const LEAST_DESCRIPTORS: u64 = 192;

/// How often it is looked whether the store has been written lately.
const PROBE: Duration = Duration::from_secs(1);

/// A gateway that serves.
pub struct Server {
    app: Arc<App>,
    certificate: Arc<ReloadingCert>,
    address: SocketAddr,
    peers_address: Option<SocketAddr>,
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
        Self::serve(opened, listener, config).await
    }

    /// Opens everything the configuration names, and serves on a listener that is bound already.
    ///
    /// # Errors
    /// [`StartError`]; nothing is served then.
    pub async fn start_on(listener: TcpListener, config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        Self::serve(Self::open(config, clock).await?, listener, config).await
    }

    async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<(Arc<App>, Arc<ReloadingCert>), StartError> {
        let certificate = ReloadingCert::load(&config.certificate, &config.certificate_key)?;
        Ok((App::open(config, clock).await?, certificate))
    }

    async fn serve(
        (app, certificate): (Arc<App>, Arc<ReloadingCert>),
        listener: TcpListener,
        config: &Config,
    ) -> Result<Self, StartError> {
        let peers = peers(config).await?;
        let clients = clients(&app, config).await?;
        // The listeners for peers and for clients with a certificate have room of their own, which no stranger takes.
        let budget = connections::budget(descriptors()?);
        let (own, others) = (Connections::new(budget - budget / 4), budget / 8);
        let load = Arc::clone(app.store.load());
        let orders = match &config.control {
            Some(socket) => Some(control::bind(socket).map_err(StartError::Listen)?),
            None => None,
        };
        let address = listener.local_addr().map_err(|error| StartError::Listen(error.to_string()))?;
        let tls = certs::tls::server(Arc::clone(&certificate) as Arc<_>)?;
        let (stop, stopped) = watch::channel(false);
        let mut peers_address = None;
        let mut for_peers = None;
        if let Some(peers) = peers {
            let tls = certs::tls::server_for_peers(Arc::clone(&certificate) as Arc<_>, peers.authorities)?;
            peers_address = peers.listener.local_addr().ok();
            let (router, room) = (routes::peers(Arc::clone(&app)), Connections::new(others));
            for_peers = Some(listener::serve(peers.listener, tls, router, room, None, stopped.clone()));
        }
        let mut for_clients = None;
        if let Some(listener) = clients {
            let tls = certs::tls::server_for_clients(Arc::clone(&certificate) as Arc<_>)?;
            let (router, room) = (routes::clients(Arc::clone(&app)), Connections::new(others));
            for_clients = Some(listener::serve(listener, tls, router, room, Some(Arc::clone(&load)), stopped.clone()));
        }
        if let Some(problem) = certificate.problem(&app.host(), app.now().0) {
            tracing::error!(%problem, "browsers will not believe this server");
        }
        let loops = loops(&app, &certificate, &stopped);
        let taking_orders =
            orders.map(|listener| tokio::spawn(control::serve(listener, Arc::clone(&app), stopped.clone())));
        // The first answer about how we are is a true one.
        app.store.probe(app.now()).await;
        let serving = listener::serve(listener, tls, routes::router(Arc::clone(&app)), own, Some(load), stopped);
        let serving = tokio::spawn(async move {
            let others: Vec<_> =
                [for_peers.map(tokio::spawn), for_clients.map(tokio::spawn)].into_iter().flatten().collect();
            serving.await;
            drop(loops);
            if let Some(taking_orders) = taking_orders {
                let _ = taking_orders.await;
            }
            for other in others {
                let _ = other.await;
            }
        });
        tracing::info!(issuer = app.issuer, %address, "serving");
        Ok(Self { app, certificate, address, peers_address, stop, serving })
    }

    /// Where it listens for peers that show a client certificate.
    #[must_use]
    pub fn peers_address(&self) -> Option<SocketAddr> {
        self.peers_address
    }

    /// What requests share.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Looks at everything again that is followed anyway: certificate, signers, bundle, keys, registrations.
    pub async fn look_again(&self) {
        tracing::info!("told to look again");
        self.app.tend(Some(&self.certificate)).await;
        self.app.follow().await;
        if let Err(error) = self.app.follow_roll().await {
            tracing::error!(%error, "the roll of clients cannot be read");
        }
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

/// How many descriptors this process may open: the soft limit is raised to the hard one first.
fn descriptors() -> Result<u64, StartError> {
    let limit = |error: std::io::Error| StartError::Listen(format!("the limit of open files cannot be read: {error}"));
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).map_err(limit)?;
    if connections::budget(descriptors) < FEWEST {
        let why =
            format!("this process may open {descriptors} files; it needs at least {LEAST_DESCRIPTORS} (ulimit -n)");
        return Err(StartError::Listen(why));
    }
    Ok(descriptors)
}

/// The listener for peers that show a client certificate, and who may certify them.
struct Peers {
    listener: TcpListener,
    authorities: Vec<CertificateDer<'static>>,
}

async fn peers(config: &Config) -> Result<Option<Peers>, StartError> {
    let Some(peers) = &config.peers else { return Ok(None) };
    let authorities = certs::tls::read_certificates(&peers.authorities)?;
    let listener = listener::bind(peers.listen).await.map_err(StartError::Listen)?;
    Ok(Some(Peers { listener, authorities }))
}

/// Binds the listener for clients that may show a certificate, and says where it is.
async fn clients(app: &App, config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(clients) = &config.mutual_tls else { return Ok(None) };
    let listener = listener::bind(clients.listen).await.map_err(StartError::Listen)?;
    let port = listener.local_addr().map_err(|error| StartError::Listen(error.to_string()))?.port();
    let host = Url::parse(&config.issuer).ok().and_then(|issuer| issuer.host_str().map(str::to_owned));
    let address = clients.address.clone().unwrap_or_else(|| format!("https://{}:{port}", host.unwrap_or_default()));
    let _ = app.mutual_tls.set(address);
    Ok(Some(listener))
}

/// Everything that happens besides requests.
fn loops(app: &Arc<App>, certificate: &Arc<ReloadingCert>, stop: &watch::Receiver<bool>) -> JoinSet<()> {
    let mut loops = JoinSet::new();
    let mut spawn = |name, every, task: Task| loops.spawn(supervised(name, every, task, stop.clone()));
    let with = |app: &Arc<App>| Arc::clone(app);
    let (own, pair) = (with(app), Arc::clone(certificate));
    spawn("tend", TEND, Box::new(move || Box::pin(tend(Arc::clone(&own), Arc::clone(&pair)))));
    let own = with(app);
    spawn("follow policy", FOLLOW, Box::new(move || Box::pin(follow(Arc::clone(&own)))));
    // Of its own: a bundle that is being read does not hold up who registers.
    let own = with(app);
    spawn("follow registrations", FOLLOW, Box::new(move || Box::pin(follow_roll(Arc::clone(&own)))));
    // Of its own: federations may take their time.
    let own = with(app);
    spawn("federations", TEND, Box::new(move || Box::pin(look_after(Arc::clone(&own)))));
    let own = with(app);
    spawn("probe the store", PROBE, Box::new(move || Box::pin(probe(Arc::clone(&own)))));
    let (load, stop) = (Arc::clone(app.store.load()), stop.clone());
    loops.spawn(async move { load.measure(stop).await });
    loops
}

type Task = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Does something again and again until told to stop. A round that panics is logged, and the next one comes.
async fn supervised(name: &'static str, every: Duration, task: Task, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = stop.changed() => return,
        }
        let mut round = JoinSet::new();
        round.spawn(task());
        if let Some(Err(error)) = round.join_next().await {
            tracing::error!(task = name, %error, "a background task failed; it is started again");
        }
    }
}

async fn tend(app: Arc<App>, certificate: Arc<ReloadingCert>) {
    app.tend(Some(&certificate)).await;
    if let Err(error) = notices::send_due(&app).await {
        tracing::warn!(%error, "logout notices");
    }
}

async fn look_after(app: Arc<App>) {
    joining::look_after(&app).await;
}

async fn follow(app: Arc<App>) {
    app.follow().await;
}

async fn follow_roll(app: Arc<App>) {
    if let Err(error) = app.follow_roll().await {
        tracing::error!(%error, "the roll of clients cannot be read");
    }
}

async fn probe(app: Arc<App>) {
    app.store.probe(app.now()).await;
}
