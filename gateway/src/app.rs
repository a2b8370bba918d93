//! The running gateway: everything that requests share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adapters::http::Http;
use adapters::registry::Ports;
use adapters::remote::Remote;
use adapters::{Adapter, Signer};
use arc_swap::ArcSwap;
use certs::key::KeySet;
use certs::ring::Rotation;
use certs::tls::ReloadingCert;
use certs::vault::Vault;
use gateway_core::client::SigningAlg;
use gateway_core::document::Problems;
use gateway_core::ids::ProviderId;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use tokio::sync::Semaphore;

use crate::catalog::{Bundle, Catalog};
use crate::config::Config;
use crate::egress::{Egress, EgressError};
use crate::keys::{Keys, KeysError, lasting_secret};
use crate::ports::{Clock, Entropy, NoEntropy};
use crate::seal::{SealError, Seals};
use crate::shared::SharedState;
use crate::store::{Class, Key, Store, StoreError};

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The master key.
    #[error(transparent)]
    Vault(#[from] certs::vault::VaultError),
    /// The server certificate.
    #[error(transparent)]
    Tls(#[from] certs::tls::TlsError),
    /// The way out.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// The store.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Sealing.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The bundle; every problem on a line of its own.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Bundle(Problems),
    /// The address.
    #[error("{0}")]
    Listen(String),
}

/// A catalog with its adapters opened: the snapshot that one step of a login works with.
pub struct Active {
    /// What the bundle says.
    pub catalog: Catalog,
    /// How to reach its providers.
    pub adapters: HashMap<ProviderId, Arc<dyn Adapter>>,
}

/// How many deliveries are looked at together.
const DELIVERIES: usize = 256;

/// Everything that requests share.
pub struct App {
    /// The issuer identifier.
    pub issuer: String,
    /// How long a sign-in serves further services.
    pub session_lifetime: Duration,
    /// Records.
    pub store: Arc<Store>,
    /// Sealing.
    pub seals: Arc<Seals>,
    /// Signing keys.
    pub keys: Arc<Keys>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Entropy,
    /// The key of pairwise subjects and of the names under which links are stored.
    pub pairwise: Secret<Vec<u8>>,
    /// Places for deliveries: strangers may post as well, and no more than so many are looked at together.
    pub deliveries: Semaphore,
    /// Keys that clients publish at an address.
    pub client_keys: Remote<KeySet>,
    active: ArcSwap<Active>,
    egress: Arc<Egress>,
    ports: Ports,
    folder: PathBuf,
}

impl App {
    /// Opens everything that the configuration names.
    ///
    /// # Errors
    /// [`StartError`], before anything listens.
    pub async fn open(config: &Config, bundle: &Bundle, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        let now = clock.now();
        let (seals, entropy) = (Arc::new(Seals::new(Vault::load(&config.master_key)?)), Entropy::default());
        let catalog = Catalog::compile(bundle).map_err(StartError::Bundle)?;
        let egress = Arc::new(Egress::open(&config.egress)?);
        let store = Arc::new(Store::open(&config.store, seals.key("audit")?).await?);
        let rotation = Rotation::every(config.rotate_every);
        let keys = Arc::new(Keys::open(rotation, &catalog.algorithms(), &store, &seals, now).await?);
        let pairwise = lasting_secret(&store, &seals, "pairwise", entropy.bytes()?, now).await?;
        let http: Arc<dyn Http> = Arc::clone(&egress) as Arc<dyn Http>;
        let shared = SharedState::new(Arc::clone(&store), Arc::clone(&seals), Arc::clone(&clock));
        let signer = Arc::clone(&keys) as Arc<dyn Signer>;
        let ports = Ports { http: Arc::clone(&http), signer, shared: Arc::new(shared) };
        let active = connect(&config.issuer, catalog, &egress, &ports).map_err(StartError::Bundle)?;
        Ok(Arc::new(Self {
            issuer: config.issuer.clone(),
            session_lifetime: config.session_lifetime,
            store,
            seals,
            keys,
            clock,
            entropy,
            pairwise,
            deliveries: Semaphore::new(DELIVERIES),
            client_keys: Remote::new(http, |json| KeySet::parse(json).ok()),
            active: ArcSwap::from_pointee(active),
            egress,
            ports,
            folder: config.bundle.clone(),
        }))
    }

    /// The snapshot to work with.
    pub fn bundle(&self) -> Arc<Active> {
        self.active.load_full()
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Swaps a checked bundle in, whole.
    ///
    /// # Errors
    /// A provider that cannot be opened; nothing is changed then.
    pub fn activate(&self, catalog: Catalog) -> Result<(), Problems> {
        let version = catalog.policies().version().to_owned();
        self.active.store(Arc::new(connect(&self.issuer, catalog, &self.egress, &self.ports)?));
        tracing::info!(version, "bundle activated");
        Ok(())
    }

    /// True when the store answers.
    pub async fn is_ready(&self) -> bool {
        let key = Key::new("health", "probe");
        let both = async {
            let durable = self.store.get(Class::Durable, &key, self.now()).await;
            let ephemeral = self.store.get(Class::Ephemeral, &key, self.now()).await;
            durable.is_ok() && ephemeral.is_ok()
        };
        tokio::time::timeout(Duration::from_secs(1), both).await.unwrap_or(false)
    }

    /// What has to happen now and then: keys, certificates, a changed bundle, expired records.
    pub async fn tend(&self, certificate: Option<&ReloadingCert>) {
        self.reload_bundle().await;
        let algorithms = self.bundle().catalog.algorithms();
        self.refresh_keys(&algorithms).await;
        match certificate.map(ReloadingCert::reload) {
            Some(Ok(true)) => tracing::info!("server certificate reloaded"),
            Some(Err(error)) => tracing::error!(%error, "the changed server certificate is not used"),
            _ => {}
        }
        self.sweep().await;
    }

    async fn refresh_keys(&self, algorithms: &[SigningAlg]) {
        if let Err(error) = self.keys.refresh(algorithms, &self.store, &self.seals, self.now()).await {
            tracing::error!(%error, "signing keys cannot be refreshed");
        }
    }

    /// Frees what expired, in portions, until nothing is left; others get their turn in between.
    async fn sweep(&self) {
        let mut freed = 0;
        loop {
            match self.store.sweep(self.now()).await {
                Ok(0) => break,
                Ok(portion) => freed += portion,
                Err(error) => {
                    tracing::warn!(%error, "sweep");
                    break;
                }
            }
        }
        if freed > 0 {
            tracing::debug!(freed, "expired records");
        }
    }

    /// Takes over a bundle folder that changed. A folder with a problem changes nothing and is named in the log. Keys for
    /// an algorithm that the new bundle asks for are there before it is active.
    async fn reload_bundle(&self) {
        let (folder, version) = (self.folder.clone(), self.bundle().catalog.policies().version().to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let bundle = Bundle::read(&folder)?;
            if bundle.version() == version { Ok(None) } else { Catalog::compile(&bundle).map(Some) }
        });
        match read.await {
            Ok(Ok(Some(catalog))) => {
                self.refresh_keys(&catalog.algorithms()).await;
                report(self.activate(catalog).err().unwrap_or_default());
            }
            Ok(Ok(None)) => {}
            Ok(Err(problems)) => report(problems),
            Err(error) => tracing::error!(%error, "the bundle cannot be read"),
        }
    }
}

fn report(problems: Problems) {
    for problem in problems {
        tracing::error!(%problem, "the changed bundle is not used");
    }
}

fn connect(issuer: &str, catalog: Catalog, egress: &Arc<Egress>, ports: &Ports) -> Result<Active, Problems> {
    let adapters = catalog.open_adapters(issuer, ports)?;
    egress.allow(&catalog.addresses());
    Ok(Active { catalog, adapters })
}
