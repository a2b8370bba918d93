//! The running gateway: everything that requests share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adapters::http::Http;
use adapters::remote::Remote;
use adapters::{Adapter, Signer};
use arc_swap::ArcSwap;
use certs::key::KeySet;
use certs::ring::Rotation;
use certs::tls::ReloadingCert;
use certs::vault::Vault;
use gateway_core::document::Problems;
use gateway_core::ids::ProviderId;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;

use crate::catalog::{Bundle, Catalog};
use crate::config::Config;
use crate::egress::{Egress, EgressError};
use crate::keys::{Keys, KeysError, lasting_secret};
use crate::ports::{Clock, Entropy, NoEntropy};
use crate::seal::{SealError, Seals};
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

/// Everything that requests share.
pub struct App {
    /// The issuer identifier.
    pub issuer: String,
    /// How long a sign-in serves further services.
    pub session_lifetime: Duration,
    /// Records.
    pub store: Store,
    /// Sealing.
    pub seals: Seals,
    /// Signing keys.
    pub keys: Arc<Keys>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Entropy,
    /// The key of pairwise subjects and of the names under which links are stored.
    pub pairwise: Secret<Vec<u8>>,
    /// Keys that clients publish at an address.
    pub client_keys: Remote<KeySet>,
    active: ArcSwap<Active>,
    egress: Arc<Egress>,
    folder: Option<PathBuf>,
}

impl App {
    /// Opens everything that the configuration names.
    ///
    /// # Errors
    /// [`StartError`], before anything listens.
    pub async fn open(config: &Config, bundle: &Bundle, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        let now = clock.now();
        let (seals, entropy) = (Seals::new(Vault::load(&config.master_key)?), Entropy::default());
        let catalog = Catalog::compile(bundle).map_err(StartError::Bundle)?;
        let egress = Arc::new(Egress::open(&config.egress)?);
        let store = Store::open(&config.store, seals.key("audit")?).await?;
        let rotation = Rotation::every(config.rotate_every);
        let keys = Arc::new(Keys::open(rotation, &catalog.algorithms(), &store, &seals, now).await?);
        let pairwise = lasting_secret(&store, &seals, "pairwise", entropy.bytes()?, now).await?;
        let http: Arc<dyn Http> = Arc::clone(&egress) as Arc<dyn Http>;
        let active = connect(&config.issuer, catalog, &egress, &keys);
        Ok(Arc::new(Self {
            issuer: config.issuer.clone(),
            session_lifetime: config.session_lifetime,
            store,
            seals,
            keys,
            clock,
            entropy,
            pairwise,
            client_keys: Remote::new(http, |json| KeySet::parse(json).ok()),
            active: ArcSwap::from_pointee(active),
            egress,
            folder: Some(config.bundle.clone()),
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

    /// Swaps a bundle in, whole.
    ///
    /// # Errors
    /// Every problem of the bundle; the active one stays.
    pub fn activate(&self, bundle: &Bundle) -> Result<(), Problems> {
        let catalog = Catalog::compile(bundle)?;
        let version = catalog.policies().version().to_owned();
        self.active.store(Arc::new(connect(&self.issuer, catalog, &self.egress, &self.keys)));
        tracing::info!(version, "bundle activated");
        Ok(())
    }

    /// True when the store answers.
    pub async fn is_ready(&self) -> bool {
        let key = Key::new("health", "probe");
        let durable = self.store.get(Class::Durable, &key, self.now()).await;
        let ephemeral = self.store.get(Class::Ephemeral, &key, self.now()).await;
        durable.is_ok() && ephemeral.is_ok()
    }

    /// What has to happen now and then: keys, certificates, a changed bundle, expired records.
    pub async fn tend(&self, certificate: Option<&ReloadingCert>) {
        let now = self.now();
        let algorithms = self.bundle().catalog.algorithms();
        if let Err(error) = self.keys.refresh(&algorithms, &self.store, &self.seals, now).await {
            tracing::error!(%error, "signing keys cannot be refreshed");
        }
        match certificate.map(ReloadingCert::reload) {
            Some(Ok(true)) => tracing::info!("server certificate reloaded"),
            Some(Err(error)) => tracing::error!(%error, "the changed server certificate is not used"),
            _ => {}
        }
        self.reload_bundle();
        match self.store.sweep(now).await {
            Ok(freed) if freed > 0 => tracing::debug!(freed, "expired records"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "sweep"),
        }
    }

    /// Takes over a bundle folder that changed. A folder with a problem changes nothing and is named in the log.
    fn reload_bundle(&self) {
        let Some(folder) = &self.folder else { return };
        let changed = Bundle::read(folder)
            .map(|bundle| (bundle.version() != self.bundle().catalog.policies().version()).then_some(bundle));
        let outcome = match changed {
            Ok(Some(bundle)) => self.activate(&bundle),
            Ok(None) => Ok(()),
            Err(problems) => Err(problems),
        };
        for problem in outcome.err().into_iter().flatten() {
            tracing::error!(%problem, "the changed bundle is not used");
        }
    }
}

fn connect(issuer: &str, catalog: Catalog, egress: &Arc<Egress>, keys: &Arc<Keys>) -> Active {
    egress.allow(&catalog.addresses());
    let http = Arc::clone(egress) as Arc<dyn Http>;
    let signer = Arc::clone(keys) as Arc<dyn Signer>;
    let adapters = catalog.open_adapters(issuer, &http, &signer);
    Active { catalog, adapters }
}
