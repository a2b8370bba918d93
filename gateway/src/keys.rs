//! The gateway's own signing keys: made once for each period, kept sealed in the durable class, the same on every node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use certs::key::{Algorithm, KeyError, KeySet, SigningKey, VerifyingKey};
use certs::ring::Rotation;
use certs::{dpop, jws};
use gateway_core::client::SigningAlg;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::seal::{SealError, Seals};
use crate::store::{Batch, Class, Key, Store, StoreError, Write};

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored key cannot be opened: another master key?
    #[error("a stored key cannot be opened; is this the right master key? ({0})")]
    Seal(#[from] SealError),
    /// A key cannot be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The keys of one phase of the rotation.
struct Table {
    current: BTreeMap<&'static str, Arc<SigningKey>>,
    published: Vec<Arc<SigningKey>>,
    verifying: KeySet,
    period: u64,
    algorithms: BTreeSet<&'static str>,
}

/// The signing keys, as they are now.
pub struct Keys {
    rotation: Rotation,
    table: ArcSwap<Table>,
    federation: SigningKey,
}

/// Our algorithm for a client's choice.
#[must_use]
pub fn algorithm(alg: SigningAlg) -> Algorithm {
    match alg {
        SigningAlg::ES256 => Algorithm::ES256,
        SigningAlg::EdDSA => Algorithm::EdDSA,
        SigningAlg::PS256 => Algorithm::PS256,
        SigningAlg::RS256 => Algorithm::RS256,
    }
}

impl Keys {
    /// Loads or makes the keys of the current phase. ES256 always; others when a client asks for them.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn open(
        rotation: Rotation,
        algorithms: &[SigningAlg],
        store: &Store,
        seals: &Seals,
        now: Timestamp,
    ) -> Result<Self, KeysError> {
        let wanted = wanted(algorithms);
        let table = load(rotation, &wanted, store, seals, now).await?;
        let make = || Ok(SigningKey::generate(Algorithm::ES256)?.to_pkcs8()?.to_vec());
        let federation = kept_secret(store, seals, FEDERATION, None, &make, now).await?;
        let federation = SigningKey::from_pkcs8(Algorithm::ES256, federation.expose())?;
        Ok(Self { rotation, table: ArcSwap::from_pointee(table), federation })
    }

    /// Takes up the phase of `now` and any algorithm that is newly wanted. Cheap when nothing changed.
    ///
    /// # Errors
    /// [`KeysError`]; the keys stay as they were.
    pub async fn refresh(
        &self,
        algorithms: &[SigningAlg],
        store: &Store,
        seals: &Seals,
        now: Timestamp,
    ) -> Result<(), KeysError> {
        let wanted = wanted(algorithms);
        let table = self.table.load();
        if table.period == self.rotation.at(now.0).current
            && wanted.iter().all(|alg| table.algorithms.contains(alg.name()))
        {
            return Ok(());
        }
        self.table.store(Arc::new(load(self.rotation, &wanted, store, seals, now).await?));
        Ok(())
    }

    /// Signs claims with the current key of an algorithm.
    ///
    /// # Errors
    /// [`KeyError`] when there is no such key.
    pub fn sign(&self, algorithm: Algorithm, typ: &str, claims: &Map<String, Value>) -> Result<String, KeyError> {
        let table = self.table.load();
        let key = table.current.get(algorithm.name()).ok_or(KeyError::Unsupported)?;
        jws::sign(key, typ, claims)
    }

    /// Signs what we say in federations. That key is no other's (OpenID Federation 1.0 section 3.1.1), and stays: superiors
    /// know it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn sign_for_federation(&self, typ: &str, claims: &Map<String, Value>) -> Result<String, KeyError> {
        jws::sign(&self.federation, typ, claims)
    }

    /// The public key of what we say in federations, as a JWK Set.
    #[must_use]
    pub fn federation_jwks(&self) -> Value {
        json!({ "keys": [self.federation.public_jwk()] })
    }

    /// The public keys: signing, next and retiring ones (OpenID Connect Core section 10.1.1).
    #[must_use]
    pub fn jwks(&self) -> Value {
        let table = self.table.load();
        json!({ "keys": table.published.iter().map(|key| key.public_jwk()).collect::<Vec<_>>() })
    }

    /// The public keys, to verify what we signed ourselves.
    #[must_use]
    pub fn verifying(&self) -> KeySet {
        self.table.load().verifying.clone()
    }
}

impl adapters::Signer for Keys {
    fn sign(&self, typ: &str, claims: &Map<String, Value>) -> Result<String, KeyError> {
        Self::sign(self, Algorithm::ES256, typ, claims)
    }

    fn prove(&self, claims: &Map<String, Value>) -> Result<String, KeyError> {
        let table = self.table.load();
        dpop::prove(table.current.get(Algorithm::ES256.name()).ok_or(KeyError::Unsupported)?, claims)
    }
}

fn wanted(algorithms: &[SigningAlg]) -> Vec<Algorithm> {
    let mut wanted = vec![Algorithm::ES256];
    for alg in algorithms.iter().copied().map(algorithm) {
        if !wanted.contains(&alg) {
            wanted.push(alg);
        }
    }
    wanted
}

async fn load(
    rotation: Rotation,
    algorithms: &[Algorithm],
    store: &Store,
    seals: &Seals,
    now: Timestamp,
) -> Result<Table, KeysError> {
    let phase = rotation.at(now.0);
    let mut table = Table {
        current: BTreeMap::new(),
        published: Vec::new(),
        verifying: KeySet::default(),
        period: phase.current,
        algorithms: algorithms.iter().map(|alg| alg.name()).collect(),
    };
    for algorithm in algorithms.iter().copied() {
        let key = Arc::new(load_key(rotation, algorithm, phase.current, store, seals, now).await?);
        load_key(rotation, algorithm, phase.next, store, seals, now).await?;
        table.current.insert(algorithm.name(), key);
    }
    table.published = stored_keys(store, seals, now).await?;
    let verifying: Result<Vec<_>, _> =
        table.published.iter().map(|key| VerifyingKey::from_jwk(key.public_jwk())).collect();
    table.verifying = verifying?.into_iter().flatten().collect();
    Ok(table)
}

/// The key of one algorithm and period, made when it is not there.
async fn load_key(
    rotation: Rotation,
    algorithm: Algorithm,
    number: u64,
    store: &Store,
    seals: &Seals,
    now: Timestamp,
) -> Result<SigningKey, KeysError> {
    // The period's length is part of the name: after a change of the rotation old keys keep their own numbers.
    let name = format!("{SIGNING}{}-{}-{number}", algorithm.name(), rotation.period());
    let until = Some(Timestamp(rotation.retired_at(number)));
    let make = || Ok(SigningKey::generate(algorithm)?.to_pkcs8()?.to_vec());
    let der = kept_secret(store, seals, &name, until, &make, now).await?;
    Ok(SigningKey::from_pkcs8(algorithm, der.expose())?)
}

/// The name of the key of what we say in federations.
const FEDERATION: &str = "federation";
/// Names of signing keys begin so; what follows is the algorithm, the period's length and its number.
const SIGNING: &str = "signing-";

/// Every signing key that has not retired: the current ones, the next ones, those of the period before, and those of an
/// algorithm or rotation that is no longer configured.
async fn stored_keys(store: &Store, seals: &Seals, now: Timestamp) -> Result<Vec<Arc<SigningKey>>, KeysError> {
    let mut keys = Vec::new();
    for (key, sealed) in store.list("secret", None, 1_000, now).await? {
        let name = key.id();
        let algorithm = name.strip_prefix(SIGNING).and_then(|rest| rest.split('-').next());
        let Some(algorithm) = algorithm.and_then(|name| name.parse().ok()) else { continue };
        let opened = seals.open_at_rest(name, &sealed).map_err(KeysError::from);
        match opened.and_then(|plain| Ok(SigningKey::from_pkcs8(algorithm, &plain)?)) {
            Ok(key) => keys.push(Arc::new(key)),
            // It signs and verifies nothing; the others do.
            Err(error) => tracing::error!(name, %error, "a stored signing key cannot be read"),
        }
    }
    Ok(keys)
}

/// A random secret that outlives every restart and is the same on every node.
///
/// # Errors
/// [`KeysError`].
pub async fn lasting_secret(
    store: &Store,
    seals: &Seals,
    name: &str,
    fresh: [u8; 32],
    now: Timestamp,
) -> Result<Secret<Vec<u8>>, KeysError> {
    kept_secret(store, seals, name, None, &|| Ok(fresh.to_vec()), now).await
}

type Make<'a> = &'a (dyn Fn() -> Result<Vec<u8>, KeysError> + Sync);

/// A secret kept sealed in the durable class, made when it is not there. Whichever node writes it first wins; the others
/// read it.
async fn kept_secret(
    store: &Store,
    seals: &Seals,
    name: &str,
    until: Option<Timestamp>,
    make: Make<'_>,
    now: Timestamp,
) -> Result<Secret<Vec<u8>>, KeysError> {
    let key = Key::new("secret", name);
    let stored = async || Ok::<_, KeysError>(store.get(Class::Durable, &key, now).await?);
    if let Some(sealed) = stored().await? {
        return Ok(Secret::new(seals.open_at_rest(name, &sealed)?));
    }
    let sealed = seals.at_rest(name, &make()?)?;
    match store.commit(Class::Durable, Batch::of(Write::Insert(key.clone(), sealed, until)), now).await {
        Ok(()) | Err(StoreError::Conflict) => {}
        Err(error) => return Err(error.into()),
    }
    let sealed = stored().await?;
    let sealed = sealed.ok_or_else(|| StoreError::Unavailable("a secret that was just written is gone".to_owned()))?;
    Ok(Secret::new(seals.open_at_rest(name, &sealed)?))
}
