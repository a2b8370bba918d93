//! The demonstration: a gateway, three providers and every shipped portal in one process, on the embedded store.
//!
//! The gateway is the production one, configured by files like any other; only what stands around it is simulated.

mod documents;
mod party;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::devca::{DevCa, DevCaError};
use gateway::config::Config;
use gateway::http::connections::Connections;
use gateway::http::listener;
use gateway::ports::Clock;
use gateway::server::Server;
use gateway_core::document::Problem;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::people::Place;
use crate::{SandboxError, clock};
use party::Parties;

/// What to start.
pub struct Options {
    /// Where keys, records and documents are kept.
    pub data: PathBuf,
    /// The gateway's port; the others follow it. `None` takes free ones.
    pub port: Option<u16>,
    /// Folders of further documents.
    pub add: Vec<PathBuf>,
    /// The gateway's clock.
    pub clock: Arc<dyn Clock>,
    /// What the providers speak.
    pub wire: Wire,
    /// How the gateway gets its bundle.
    pub trust: Trust,
}

/// How the gateway gets its bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Signed, as in production: what is in the folder is signed and put into effect at each start.
    Signed,
    /// From the folder, which it watches.
    Folder,
}

/// What the simulated providers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Each its own protocol.
    Own,
    /// Plain OpenID Connect, all of them.
    OpenId,
}

/// The handle of one simulator.
#[derive(Clone)]
pub enum Simulator {
    /// Plain OpenID Connect.
    OpenId(crate::provider::Control),
    /// iAM Smart.
    IamSmart(crate::iam_smart::Control),
    /// Guangdong's platform.
    Guangdong(crate::guangdong::Control),
    /// Macao's stand-in.
    Macao(crate::macao::Control),
}

impl Simulator {
    fn kind(&self) -> &'static str {
        match self {
            Self::OpenId(_) => "oidc",
            Self::IamSmart(_) => "iam-smart",
            Self::Guangdong(_) => "guangdong",
            Self::Macao(_) => "oauth",
        }
    }
}

/// Why the demonstration cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An address.
    #[error("{0}")]
    Listen(String),
    /// The development CA.
    #[error(transparent)]
    Ca(#[from] DevCaError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] certs::tls::TlsError),
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] gateway::app::StartError),
    /// The master key.
    #[error(transparent)]
    Vault(#[from] certs::vault::VaultError),
    /// A simulator.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The generated configuration, or a document that was added.
    #[error("{0}")]
    Configuration(String),
    /// Randomness.
    #[error(transparent)]
    Entropy(#[from] gateway::ports::NoEntropy),
}

impl DemoError {
    fn problems(problems: &[Problem]) -> Self {
        Self::Configuration(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// A portal that runs.
#[derive(Debug, Clone)]
pub struct PortalInfo {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Its client identifier.
    pub client_id: String,
}

/// A provider that runs.
#[derive(Clone)]
pub struct ProviderInfo {
    /// Its id in the bundle.
    pub id: &'static str,
    /// Which simulator it is.
    pub place: Place,
    /// Its issuer.
    pub url: String,
    /// Makes it misbehave.
    pub control: Simulator,
}

/// A running demonstration.
pub struct Demo {
    /// The gateway.
    pub gateway: Server,
    /// Its issuer.
    pub issuer: String,
    /// The CA's certificate.
    pub ca: PathBuf,
    /// The gateway's configuration file.
    pub config: PathBuf,
    /// Where everything is kept.
    pub data: PathBuf,
    /// How the gateway gets its bundle.
    pub trust: Trust,
    /// The portals.
    pub portals: Vec<PortalInfo>,
    /// The providers.
    pub providers: Vec<ProviderInfo>,
    stop: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
}

/// The host that everything runs on.
const HOST: &str = "localhost";

impl Demo {
    /// Starts everything.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn start(options: &Options) -> Result<Self, DemoError> {
        let data = &options.data;
        std::fs::create_dir_all(data).map_err(DemoError::file(data))?;
        let ca = DevCa::open(&data.join("ca"), clock::now_unix())?;
        let (chain, key) = ca.issue("server", &[HOST, "127.0.0.1", "::1"])?;
        let listeners = bind(options.port).await?;
        let parties = Parties::new(data, &listeners, options.wire)?;
        let config_path = documents::write(data, &ca, &parties, &options.add, options.trust)?;
        let config = Config::load(&config_path).map_err(|problems| DemoError::problems(&problems))?;
        if options.trust == Trust::Signed {
            documents::activate(data, &config, options.clock.now()).await?;
        }
        let mut listeners = listeners.into_iter();
        let Some(first) = listeners.next() else { return Err(DemoError::Listen("no port".to_owned())) };
        let gateway = Server::start_on(first, &config, Arc::clone(&options.clock)).await?;
        let roots = certs::tls::read_certificates(&ca.certificate())?;
        let simulated = parties.simulate(&gateway, &certs::tls::client(roots)?)?;
        let certificate = certs::tls::ReloadingCert::load(&chain, &key)?;
        let tls = certs::tls::server(certificate)?;
        let (stop, stopped) = watch::channel(false);
        let serving = listeners.zip(simulated.routers).map(|(listener, router)| {
            tokio::spawn(listener::serve(
                listener,
                Arc::clone(&tls),
                router,
                Connections::new(4_096),
                None,
                stopped.clone(),
            ))
        });
        Ok(Self {
            serving: serving.collect(),
            issuer: parties.issuer,
            ca: ca.certificate(),
            config: config_path,
            data: data.clone(),
            trust: options.trust,
            portals: simulated.portals,
            providers: simulated.providers,
            gateway,
            stop,
        })
    }

    /// The line of JSON that tools read.
    #[must_use]
    pub fn describe(&self) -> String {
        let portals = self
            .portals
            .iter()
            .map(|portal| serde_json::json!({"name": portal.name, "url": portal.url, "client_id": portal.client_id}));
        let providers = self.providers.iter().map(
            |provider| serde_json::json!({"id": provider.id, "kind": provider.control.kind(), "url": provider.url}),
        );
        serde_json::json!({
            "issuer": self.issuer,
            "ca": self.ca,
            "portals": portals.collect::<Vec<_>>(),
            "providers": providers.collect::<Vec<_>>(),
            "admin": null,
        })
        .to_string()
    }

    /// Stops the gateway alone and starts another in its place; everybody else goes on.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn with_gateway(self, config: &Config, clock: Arc<dyn Clock>) -> Result<Self, DemoError> {
        let Self { gateway, issuer, ca, config: path, data, trust, portals, providers, stop, serving } = self;
        gateway.stop().await;
        let gateway = Server::start(config, clock).await?;
        Ok(Self { gateway, issuer, ca, config: path, data, trust, portals, providers, stop, serving })
    }

    /// Stops everything in order.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        self.gateway.stop().await;
        for serving in self.serving {
            serving.abort();
            let _ = serving.await;
        }
    }
}

/// One listener for each party, the gateway first.
async fn bind(port: Option<u16>) -> Result<Vec<TcpListener>, DemoError> {
    let mut listeners = Vec::new();
    for offset in 0..party::count() {
        let port = match port {
            Some(first) => first.checked_add(offset).ok_or_else(|| DemoError::Listen("the port is too high".into()))?,
            None => 0,
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        listeners.push(listener::bind(address).await.map_err(DemoError::Listen)?);
    }
    Ok(listeners)
}
