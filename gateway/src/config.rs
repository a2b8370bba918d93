//! `gateway.toml`: what belongs to a process. Everything an administrator may change is in the bundle instead.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_core::document::{Problem, Problems, Section, Source};
use url::Url;

use crate::load::TURNS_AWAY;

/// A process's configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The issuer identifier, without a trailing slash; every link is built from it and never from a request.
    pub issuer: String,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The PEM chain of the server certificate.
    pub certificate: PathBuf,
    /// Its PEM key.
    pub certificate_key: PathBuf,
    /// The master key.
    pub master_key: PathBuf,
    /// How often signing keys change.
    pub rotate_every: Duration,
    /// Where things are stored.
    pub store: StoreConfig,
    /// Where the bundle of documents comes from.
    pub bundle: BundleConfig,
    /// Where the running gateway takes orders from whoever runs it.
    pub control: Option<PathBuf>,
    /// How to reach others.
    pub egress: EgressConfig,
    /// How long a sign-in serves further services.
    pub session_lifetime: Duration,
    /// Where peers that show a client certificate are listened for.
    pub peers: Option<PeersConfig>,
    /// Where clients that may show a certificate are listened for.
    pub mutual_tls: Option<MutualTlsConfig>,
    /// The delay of this process from which on those are turned away who begin something, in milliseconds.
    pub turn_away_at: u32,
}

/// A listener for clients that may show a certificate (RFC 8705).
#[derive(Debug, Clone)]
pub struct MutualTlsConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Its address as clients reach it, `https://` and a host; the issuer's host and the port when it is not said.
    pub address: Option<String>,
    /// A PEM file of the authorities that certify clients; without it only self-signed certificates are of use.
    pub authorities: Option<PathBuf>,
}

/// Where the bundle of documents comes from.
#[derive(Debug, Clone)]
pub enum BundleConfig {
    /// Signed archives, put into effect by `gateway policy activate`; all nodes follow what the store says.
    Signed {
        /// A JWK Set of whoever may sign.
        signers: PathBuf,
        /// The folder of the files that provider documents name.
        secrets: PathBuf,
    },
    /// A folder that nobody signed, taken over whenever it changes. For development.
    Folder(PathBuf),
}

impl BundleConfig {
    /// The folder of the files that provider documents name.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        match self {
            Self::Signed { secrets, .. } => secrets.clone(),
            Self::Folder(folder) => folder.join("providers"),
        }
    }
}

/// A listener for peers that show a client certificate.
#[derive(Debug, Clone)]
pub struct PeersConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// A PEM file of the authorities that certify them.
    pub authorities: PathBuf,
}

/// Where things are stored.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// This node's name in the audit chain.
    pub node: String,
    /// The engine.
    pub engine: Engine,
}

/// A storage engine.
#[derive(Debug, Clone)]
pub enum Engine {
    /// One node, one folder.
    Embedded(PathBuf),
    /// Many nodes: PostgreSQL for the durable class, Redis or Valkey for the ephemeral.
    Cluster {
        /// A libpq connection string.
        postgres: String,
        /// A `redis://` address.
        redis: String,
    },
}

/// How to reach others.
#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// A PEM file of roots to trust instead of the system's.
    pub trust: Option<PathBuf>,
    /// Whether configured hosts may resolve to private and loopback addresses.
    pub private_addresses: bool,
}

impl Config {
    /// Reads a configuration file; relative paths count from its folder.
    ///
    /// # Errors
    /// Every problem in the file.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| vec![Problem { file: file.clone(), line: 1, reason: error.to_string() }])?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&file, &text, base)
    }

    /// The folder of an unsigned bundle, as far as a configuration that may be broken elsewhere names one.
    #[must_use]
    pub fn bundle_folder(path: &Path) -> Option<PathBuf> {
        let table: toml::Table = std::fs::read_to_string(path).ok()?.parse().ok()?;
        let folder = table.get("bundle")?.get("folder")?.as_str()?;
        Some(path.parent().unwrap_or(Path::new(".")).join(folder))
    }

    /// Reads a configuration from its text.
    ///
    /// # Errors
    /// Every problem in the text.
    pub fn parse(file: &str, text: &str, base: &Path) -> Result<Self, Problems> {
        Source::new(file, text).read(|doc| read(doc, base))
    }
}

fn read(doc: &Section<'_>, base: &Path) -> Option<Config> {
    let (issuer, listen) = (read_origin(doc, "issuer"), doc.require("listen"));
    let (tls, keys) = (doc.require_section("tls"), doc.require_section("keys"));
    let certificate = tls.as_ref().and_then(|tls| path(tls, "certificate", base));
    let certificate_key = tls.as_ref().and_then(|tls| path(tls, "key", base));
    let master_key = keys.as_ref().and_then(|keys| path(keys, "master", base));
    let rotate_every = keys.as_ref().and_then(|keys| keys.duration("rotate_every"));
    let store = doc.require_section("store").and_then(|store| read_store(&store, base));
    let bundle = doc.require_section("bundle").and_then(|bundle| read_bundle(&bundle, base));
    if let Some(bundle) = &bundle {
        let secrets = bundle.secrets();
        keep_apart(keys.as_ref(), "master", master_key.as_deref(), &secrets);
        keep_apart(tls.as_ref(), "key", certificate_key.as_deref(), &secrets);
    }
    let control = doc.section("control").and_then(|control| path(&control, "socket", base));
    let egress = doc.section("egress").map(|egress| EgressConfig {
        trust: egress.optional::<PathBuf>("trust").map(|trust| base.join(trust)),
        private_addresses: egress.flag("private_addresses", false),
    });
    let session = doc.section("session").and_then(|session| {
        let lifetime = session.duration("lifetime");
        if lifetime.is_some_and(|lifetime| lifetime > Duration::from_secs(12 * 3_600)) {
            session.refuse_field("lifetime", "must be at most 12h");
        }
        lifetime
    });
    let peers = doc.section("peers").and_then(|peers| {
        let (listen, authorities) = (peers.require("listen"), path(&peers, "authorities", base));
        Some(PeersConfig { listen: listen?, authorities: authorities? })
    });
    let mutual_tls = doc.section("mutual_tls").and_then(|section| {
        Some(MutualTlsConfig {
            listen: section.require("listen")?,
            address: section.has("address").then(|| read_origin(&section, "address")).flatten(),
            authorities: section.optional::<PathBuf>("authorities").map(|file| base.join(file)),
        })
    });
    let limits = doc.section("limits");
    let turn_away_at = limits.and_then(|limits| limits.number("turn_away_at_ms", 20..=60_000));
    Some(Config {
        turn_away_at: turn_away_at.and_then(|millis| u32::try_from(millis).ok()).unwrap_or(TURNS_AWAY),
        peers,
        mutual_tls,
        issuer: issuer?,
        listen: listen?,
        certificate: certificate?,
        certificate_key: certificate_key?,
        master_key: master_key?,
        rotate_every: rotate_every.unwrap_or(Duration::from_secs(30 * 86_400)),
        store: store?,
        bundle: bundle?,
        control,
        egress: egress.unwrap_or_default(),
        session_lifetime: session.unwrap_or(Duration::from_secs(1_800)),
    })
}

fn read_bundle(bundle: &Section<'_>, base: &Path) -> Option<BundleConfig> {
    let unsigned = bundle.flag("unsigned", false);
    match (bundle.has("folder"), bundle.has("signers")) {
        (true, false) if unsigned => path(bundle, "folder", base).map(BundleConfig::Folder),
        (true, false) => {
            let reason = "nobody signs a folder: name signers instead, or say unsigned = true, for development";
            bundle.refuse_field("folder", reason);
            None
        }
        (false, true) if !unsigned => {
            let (signers, secrets) = (path(bundle, "signers", base), path(bundle, "secrets", base));
            Some(BundleConfig::Signed { signers: signers?, secrets: secrets? })
        }
        _ => {
            bundle.refuse("needs signers and secrets, or a folder and unsigned = true");
            None
        }
    }
}

fn path(section: &Section<'_>, name: &'static str, base: &Path) -> Option<PathBuf> {
    section.require::<PathBuf>(name).map(|path| base.join(path))
}

/// A bundle's documents name files of the folder of secrets, which then go to the hosts that the documents name.
fn keep_apart(section: Option<&Section<'_>>, name: &'static str, key: Option<&Path>, secrets: &Path) {
    if let (Some(section), Some(true)) = (section, key.map(|key| key.starts_with(secrets))) {
        section
            .refuse_field(name, "lies in the folder of the bundle's secrets, which documents of the bundle may name");
    }
}

fn read_origin(doc: &Section<'_>, name: &'static str) -> Option<String> {
    let issuer: Url = doc.require(name)?;
    let sound = issuer.scheme() == "https"
        && issuer.query().is_none()
        && issuer.fragment().is_none()
        && issuer.path() == "/"
        && issuer.username().is_empty()
        && issuer.password().is_none();
    if !sound {
        doc.refuse_field(name, "must be https:// and a host, with no path, query or fragment");
    }
    Some(issuer.as_str().trim_end_matches('/').to_owned())
}

fn read_store(store: &Section<'_>, base: &Path) -> Option<StoreConfig> {
    let node: Option<gateway_core::ids::ServiceId> = store.require("node");
    let engine = match store.require::<String>("engine")?.as_str() {
        "embedded" => path(store, "path", base).map(Engine::Embedded),
        "cluster" => {
            let (postgres, redis) = (store.require("postgres"), store.require("redis"));
            Some(Engine::Cluster { postgres: postgres?, redis: redis? })
        }
        _ => {
            store.refuse_field("engine", "must be embedded or cluster");
            None
        }
    };
    Some(StoreConfig { node: node?.to_string(), engine: engine? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_example_is_sound() {
        let text = include_str!("../gateway.example.toml");
        let config = Config::parse("gateway.example.toml", text, Path::new("/etc/gateway")).unwrap();
        assert_eq!(config.bundle.secrets(), Path::new("/etc/gateway/secrets"));
    }

    #[test]
    fn an_unsigned_folder_has_to_be_asked_for() {
        let text = include_str!("../gateway.example.toml");
        let with = |bundle: &str| {
            let text = text.replace("signers = \"signers.jwks\"", bundle).replace("secrets = \"secrets\"", "");
            Config::parse("g.toml", &text, Path::new("/")).map(|config| config.bundle)
        };
        assert!(matches!(with("folder = \"b\"\nunsigned = true").unwrap(), BundleConfig::Folder(_)));
        for bad in ["folder = \"b\"", "signers = \"a\"\nfolder = \"b\"\nunsigned = true", "", "unsigned = true"] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }

    /// A signer of bundles would hold everything.
    #[test]
    fn our_own_keys_are_no_secrets_of_a_bundle() {
        let text = include_str!("../gateway.example.toml");
        for (own, beside) in
            [("\"master.key\"", "\"secrets/master.key\""), ("\"tls/key.pem\"", "\"secrets/tls/key.pem\"")]
        {
            let problems = Config::parse("g.toml", &text.replace(own, beside), Path::new("/etc/gateway")).unwrap_err();
            assert!(
                problems.iter().all(|problem| problem.reason.contains("folder of the bundle's secrets")),
                "{problems:?}"
            );
        }
        let near = text.replace("\"master.key\"", "\"secrets-of-ours/master.key\"");
        assert!(Config::parse("g.toml", &near, Path::new("/etc/gateway")).is_ok());
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let text = "issuer = \"http://x/y\"\nlisten = \"nowhere\"\nlitsen = 1\n[tls]\n[keys]\nmaster = 3\n[store]\nengine = \"x\"\n";
        let problems = Config::parse("g.toml", text, Path::new(".")).unwrap_err();
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert!(problems.len() >= 8, "{problems:#?}");
        assert!(lines.contains(&1) && lines.contains(&2) && lines.contains(&3) && lines.contains(&6), "{problems:#?}");
    }
}
