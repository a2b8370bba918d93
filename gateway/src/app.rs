//! The running gateway: everything that requests share.

mod following;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use adapters::Signer;
use adapters::federation::Resolver;
use adapters::http::{Http, HttpError};
use adapters::registry::Ports;
use adapters::remote::Remote;
use arc_swap::{ArcSwap, ArcSwapOption};
use certs::key::KeySet;
use certs::ring::Rotation;
use certs::tls::ReloadingCert;
use certs::vault::Vault;
use gateway_core::client::SigningAlg;
use gateway_core::document::Problems;
use gateway_core::redirect::RedirectUri;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use policies::PolicySet;
use rustls::pki_types::CertificateDer;
use tokio::sync::Mutex;
use url::Url;

pub use self::following::State;
use self::following::{Followed, in_effect};
use crate::activation::ActivationError;
pub use crate::active::Active;
use crate::active::Adapters;
use crate::bundle::Bundle;
use crate::catalog::Catalog;
use crate::config::Config;
use crate::egress::{Egress, EgressError};
use crate::exports::Exports;
use crate::keys::{Keys, KeysError, lasting_secret};
use crate::limits::Limits;
use crate::op::logo::Logo;
use crate::ports::{Clock, Entropy, NoEntropy};
use crate::roll::Roll;
use crate::seal::{SealError, Seals};
use crate::shared::SharedState;
pub use crate::source::Source;
use crate::store::{Store, StoreError};
use crate::usage::Usage;

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
    /// The files of this node that the bundle names; every problem on a line of its own.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Secrets(Problems),
    /// The bundle that is in effect.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// The keys of whoever may sign a bundle.
    #[error("{0}")]
    Signers(String),
    /// The address.
    #[error("{0}")]
    Listen(String),
}

/// A list of redirect URIs; what could not be one is nobody's, and left out.
fn redirect_uris(json: &[u8]) -> Result<Vec<RedirectUri>, &'static str> {
    let listed: Vec<String> = serde_json::from_slice(json).map_err(|_| "it is no list of addresses")?;
    Ok(listed.into_iter().filter_map(|uri| uri.parse().ok()).collect())
}

/// The keys of a client. A set without any is no set of keys: the last good one serves.
fn keys_of_clients(json: &[u8]) -> Result<KeySet, &'static str> {
    let keys = KeySet::parse(json).map_err(|_| "it is no JWK Set")?;
    if keys.is_empty() && !keys.encrypts() { Err("it holds no key of use") } else { Ok(keys) }
}

/// How many pictures are kept.
const LOGOS: u64 = 256;

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
    /// Keys that clients publish at an address.
    pub client_keys: Remote<KeySet>,
    /// The redirect URIs that the addresses of sectors list.
    pub sectors: Remote<Vec<RedirectUri>>,
    /// The pictures of clients.
    pub logos: Remote<Logo>,
    /// The address of the listener for clients that may show a certificate, once there is one.
    pub mutual_tls: OnceLock<String>,
    /// Who certifies clients.
    pub client_authorities: Vec<CertificateDer<'static>>,
    /// Bounds of concurrent work, and rates.
    pub limits: Limits,
    active: ArcSwap<Active>,
    /// Held while a new snapshot is put together from the one before.
    changing: std::sync::Mutex<()>,
    rolling: Mutex<()>,
    /// Held while a change of the roll is made here: nodes compete for the next number, and not every request.
    pub entering: Mutex<()>,
    /// Who still uses what is being given up.
    pub usage: Usage,
    /// Whom federations vouch for.
    pub federations: Arc<Resolver>,
    shadow: ArcSwapOption<PolicySet>,
    egress: Arc<Egress>,
    ports: Ports,
    source: Source,
    followed: Mutex<Followed>,
    /// Since when this node does not follow what is in effect.
    behind_since: std::sync::Mutex<Option<Instant>>,
}

/// How many portions of expired records are freed in one round, and the pause between two.
const PORTIONS: usize = 1_000;
const BETWEEN_PORTIONS: Duration = Duration::from_millis(5);
impl App {
    /// Opens everything that the configuration names.
    ///
    /// # Errors
    /// [`StartError`], before anything listens.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        let now = clock.now();
        let (seals, entropy) = (Arc::new(Seals::new(Vault::load(&config.master_key)?)), Entropy::default());
        let source = Source::open(&config.bundle)?;
        // What can be wrong in a folder is said before anything is opened.
        let found = if let Source::Folder(folder) = &source { Some(from_folder(folder)?) } else { None };
        let egress = Egress::open(&config.egress)?;
        let store = Arc::new(Store::open(&config.store, seals.key("audit")?).await?);
        store.load().turn_away_at(config.turn_away_at);
        let egress = Arc::new(egress.beside(store.load()));
        let (catalog, followed) = match &source {
            Source::Signed { signers, secrets } => in_effect(&store, &seals, &signers.keys(), secrets, now).await?,
            Source::Folder(folder) => (found.map_or_else(|| from_folder(folder), Ok)?, Followed::default()),
        };
        let certifiers = config.mutual_tls.as_ref().and_then(|clients| clients.authorities.as_ref());
        let client_authorities =
            certifiers.map(|file| certs::tls::read_certificates(file)).transpose()?.unwrap_or_default();
        let rotation = Rotation::every(config.rotate_every);
        let keys = Arc::new(Keys::open(rotation, &catalog.algorithms(), &store, &seals, now).await?);
        let pairwise = lasting_secret(&store, &seals, "pairwise", entropy.bytes()?, now).await?;
        let http: Arc<dyn Http> = Arc::clone(&egress) as Arc<dyn Http>;
        let shared = SharedState::new(Arc::clone(&store), Arc::clone(&seals), Arc::clone(&clock));
        let signer = Arc::clone(&keys) as Arc<dyn Signer>;
        let federations = Arc::new(Resolver::new(Arc::clone(&http)));
        let ports =
            Ports { http: Arc::clone(&http), signer, shared: Arc::new(shared), federations: Arc::clone(&federations) };
        let mut roll = Roll::default();
        roll.take_in(roll.news(&store, &seals, now).await?);
        let (catalog, adapters) = connect(&config.issuer, catalog, &egress, &ports).map_err(StartError::Bundle)?;
        let active = Active::new(catalog, adapters, Arc::new(roll), None);
        Ok(Arc::new(Self {
            issuer: config.issuer.clone(),
            session_lifetime: config.session_lifetime,
            store,
            seals,
            keys,
            clock,
            entropy,
            pairwise,
            client_keys: Remote::new(Arc::clone(&http), keys_of_clients),
            sectors: Remote::new(Arc::clone(&http), redirect_uris),
            logos: Remote::keeping(LOGOS, http, |bytes| Logo::read(bytes).ok_or("it is no picture")),
            mutual_tls: OnceLock::new(),
            client_authorities,
            active: ArcSwap::from_pointee(active),
            changing: std::sync::Mutex::default(),
            rolling: Mutex::default(),
            entering: Mutex::default(),
            limits: Limits::default(),
            usage: Usage::default(),
            federations,
            shadow: ArcSwapOption::empty(),
            egress,
            ports,
            source,
            followed: Mutex::new(followed),
            behind_since: std::sync::Mutex::default(),
        }))
    }

    /// The snapshot to work with.
    pub fn bundle(&self) -> Arc<Active> {
        self.active.load_full()
    }

    /// The way out.
    pub fn http(&self) -> &dyn Http {
        self.egress.as_ref()
    }

    /// Until when the certificate of a host holds that may be called.
    ///
    /// # Errors
    /// The host cannot be reached, or its certificate is not believed.
    pub async fn certificate_until(&self, host: &Url) -> Result<Timestamp, HttpError> {
        self.egress.certificate_until(host).await.map(Timestamp)
    }

    /// The draft that is tried beside the bundle in effect.
    pub fn shadow(&self) -> Option<Arc<PolicySet>> {
        self.shadow.load_full()
    }

    /// Where bundles come from.
    pub fn source(&self) -> &Source {
        &self.source
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
        let (catalog, adapters) = connect(&self.issuer, catalog, &self.egress, &self.ports)?;
        self.swap(|before| Active::new(catalog, adapters, Arc::clone(before.roll()), None));
        tracing::info!(version, "bundle activated");
        Ok(())
    }

    /// Puts a snapshot in the place of the one before.
    fn swap(&self, next: impl FnOnce(&Active) -> Active) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.active.store(Arc::new(next(&self.bundle())));
    }

    /// Follows the roll of the clients that registered themselves: who is on it by now is known here when this returns.
    ///
    /// # Errors
    /// The store.
    pub async fn follow_roll(&self) -> Result<(), StoreError> {
        let _rolling = self.rolling.lock().await;
        let before = self.bundle();
        let news = before.roll().news(&self.store, &self.seals, self.now()).await?;
        if !news.is_empty() {
            let mut roll = Roll::clone(before.roll());
            roll.take_in(news);
            self.swap(|before| {
                let (catalog, adapters) = (Arc::clone(&before.catalog), Arc::clone(&before.adapters));
                Active::new(catalog, adapters, Arc::new(roll), Some(before))
            });
        }
        Ok(())
    }

    /// The host of the issuer.
    #[must_use]
    pub fn host(&self) -> String {
        Url::parse(&self.issuer).ok().and_then(|issuer| issuer.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// What has to happen now and then: keys, certificates, a changed bundle, expired records.
    pub async fn tend(&self, certificate: Option<&ReloadingCert>) {
        if let Source::Folder(folder) = &self.source {
            self.reload_folder(folder.clone()).await;
        }
        let plausible = self.clock.is_plausible();
        if plausible {
            let algorithms = self.bundle().catalog.algorithms();
            self.refresh_keys(&algorithms).await;
        } else {
            tracing::error!(now = %self.now(), "the clock jumped: no key is changed and nothing is swept until it is back, or has stayed");
        }
        match certificate.map(|pair| pair.reload(&self.host(), self.now().0)) {
            Some(Ok(true)) => tracing::info!("server certificate reloaded"),
            Some(Err(error)) => tracing::error!(%error, "the changed server certificate is not used"),
            _ => {}
        }
        if plausible {
            self.sweep().await;
        }
        self.count_exports().await;
    }

    /// Looks once an hour how many people's data crossed a border this year.
    async fn count_exports(&self) {
        let mut followed = self.followed.lock().await;
        let now = self.now();
        if followed.counted_at.is_some_and(|at| at.age(now) < Duration::from_secs(3_600)) {
            return;
        }
        followed.counted_at = Some(now);
        drop(followed);
        if let Err(error) = Exports::new(&self.store).alarm(self.bundle().catalog.policies(), now).await {
            tracing::warn!(%error, "exports cannot be counted");
        }
    }

    async fn refresh_keys(&self, algorithms: &[SigningAlg]) {
        if let Err(error) = self.keys.refresh(algorithms, &self.store, &self.seals, self.now()).await {
            tracing::error!(%error, "signing keys cannot be refreshed");
        }
    }

    /// Frees what expired, in small portions with pauses between them: others get their turn, and what is left waits for the next
    /// round.
    async fn sweep(&self) {
        let mut freed = 0;
        for _ in 0..PORTIONS {
            match self.store.sweep(self.now()).await {
                Ok(0) => break,
                Ok(portion) => {
                    freed += portion;
                    tokio::time::sleep(BETWEEN_PORTIONS).await;
                }
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

    /// Takes over a bundle folder that changed. A folder with a problem changes nothing and is named in the log.
    async fn reload_folder(&self, folder: PathBuf) {
        let version = self.bundle().catalog.policies().version().to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let bundle = Bundle::read(&folder)?;
            if bundle.version() == version {
                return Ok(None);
            }
            Catalog::compile(&bundle, &folder.join("providers")).map(Some)
        });
        match read.await {
            Ok(Ok(Some(catalog))) => report(self.take_over(catalog).await.err().unwrap_or_default()),
            Ok(Ok(None)) => {}
            Ok(Err(problems)) => report(problems),
            Err(error) => tracing::error!(%error, "the bundle cannot be read"),
        }
    }

    /// Puts a checked bundle into effect. Keys for an algorithm that it asks for are there before.
    async fn take_over(&self, catalog: Catalog) -> Result<(), Problems> {
        self.refresh_keys(&catalog.algorithms()).await;
        self.activate(catalog)
    }
}

/// What a folder holds, checked.
fn from_folder(folder: &Path) -> Result<Catalog, StartError> {
    let bundle = Bundle::read(folder).map_err(StartError::Bundle)?;
    Catalog::compile(&bundle, &folder.join("providers")).map_err(StartError::Bundle)
}

fn report(problems: Problems) {
    for problem in problems {
        tracing::error!(%problem, "the changed bundle is not used");
    }
}

type Connected = (Arc<Catalog>, Arc<Adapters>);

fn connect(issuer: &str, catalog: Catalog, egress: &Arc<Egress>, ports: &Ports) -> Result<Connected, Problems> {
    let adapters = catalog.open_adapters(issuer, ports)?;
    egress.allow(&catalog.addresses());
    Ok((Arc::new(catalog), Arc::new(adapters)))
}
