//! The active bundle: clients, services, providers and words, read from a folder, checked as a whole, indexed once.
//!
//! A catalog is an immutable snapshot. A login holds the one it began its step with; a new one is swapped in whole, and
//! a folder that cannot be read as a whole changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use adapters::Adapter;
use adapters::registry::{Ports, Secrets, Settings};
use certs::key::KeySet;
use gateway_core::client::{Client, ClientAuth, KeySource, SigningAlg};
use gateway_core::digest::sha256;
use gateway_core::document::{Problem, Problems};
use gateway_core::ids::{ClientId, ProviderId, base64url};
use gateway_core::secret::Secret;
use policies::set::Document;
use policies::vocabulary::Vocabulary;
use policies::{PolicySet, Provider};
use url::Url;

use crate::authority::Authority;

/// The documents of a bundle, as they were found.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    /// `clients/*.toml`.
    pub clients: Vec<Document>,
    /// `services/*.toml`.
    pub services: Vec<Document>,
    /// `providers/*.toml`.
    pub providers: Vec<Document>,
    /// `vocabulary/*.toml`.
    pub vocabulary: Vec<Document>,
    /// `authorities/*.toml`.
    pub authorities: Vec<Document>,
}

impl Bundle {
    /// Reads every document of a folder, in name order. A sub-folder that is not there is empty.
    ///
    /// # Errors
    /// Every file that cannot be read.
    pub fn read(folder: &Path) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let bundle = Self {
            clients: read_folder(&folder.join("clients"), &mut problems),
            services: read_folder(&folder.join("services"), &mut problems),
            providers: read_folder(&folder.join("providers"), &mut problems),
            vocabulary: read_folder(&folder.join("vocabulary"), &mut problems),
            authorities: read_folder(&folder.join("authorities"), &mut problems),
        };
        if !folder.is_dir() {
            let file = folder.display().to_string();
            problems.push(Problem { file, line: 1, reason: "is not a folder".to_owned() });
        }
        if problems.is_empty() { Ok(bundle) } else { Err(problems) }
    }

    /// The bundle's version: a digest of every document, so that equal bundles have equal versions.
    #[must_use]
    pub fn version(&self) -> String {
        let mut all: Vec<&Document> =
            [&self.clients, &self.services, &self.providers, &self.vocabulary, &self.authorities]
                .into_iter()
                .flatten()
                .collect();
        all.sort_by(|a, b| (&a.file, &a.text).cmp(&(&b.file, &b.text)));
        let digests: Vec<u8> = all.iter().flat_map(|document| sha256(document.text.as_bytes())).collect();
        base64url(&sha256(&digests)).chars().take(16).collect()
    }
}

fn read_folder(folder: &Path, problems: &mut Problems) -> Vec<Document> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut documents = Vec::new();
    for path in paths {
        let file = path.display().to_string();
        match fs::read_to_string(&path) {
            Ok(text) => documents.push(Document { file, text }),
            Err(error) => problems.push(Problem { file, line: 1, reason: error.to_string() }),
        }
    }
    documents
}

/// A client with its inline keys parsed.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The client.
    pub client: Client,
    /// Its keys, when they are written in its document.
    pub keys: Option<Arc<KeySet>>,
}

/// What the bundle says, checked but not yet connected to anything.
#[derive(Debug)]
pub struct Catalog {
    clients: HashMap<ClientId, Registered>,
    policies: PolicySet,
    settings: BTreeMap<ProviderId, Settings>,
    secrets: HashMap<ProviderId, Secrets>,
    authorities: BTreeMap<String, Authority>,
}

impl Catalog {
    /// Checks a bundle as a whole.
    ///
    /// # Errors
    /// Every problem of every document.
    pub fn compile(bundle: &Bundle) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let mut vocabulary = Vocabulary::default();
        for document in &bundle.vocabulary {
            collect(vocabulary.add_document(&document.file, &document.text), &mut problems);
        }
        let (mut settings, mut secrets, mut providers) = (BTreeMap::new(), HashMap::new(), Vec::new());
        for document in &bundle.providers {
            let read = Provider::from_document(&document.file, &document.text, Settings::read);
            let Some((provider, adapter)) = collect(read, &mut problems) else { continue };
            let own = read_secrets(document, &adapter, &mut problems);
            if let Err(reason) = adapter.check(&own) {
                problems.push(Problem { file: document.file.clone(), line: 1, reason });
            }
            secrets.insert(provider.id.clone(), own);
            if settings.insert(provider.id.clone(), adapter).is_some() {
                problems.push(twice(document, provider.id.as_str()));
            }
            providers.push(provider);
        }
        let compiled = PolicySet::compile(bundle.version(), &bundle.services, providers, vocabulary);
        let policies = collect(compiled, &mut problems).unwrap_or_default();
        let clients = read_clients(&bundle.clients, &policies, &mut problems);
        let mut authorities = BTreeMap::new();
        for document in &bundle.authorities {
            let read = Authority::from_document(&document.file, &document.text);
            let Some(authority) = collect(read, &mut problems) else { continue };
            if authorities.insert(authority.id.clone(), authority).is_some() {
                problems.push(twice(document, "the authority"));
            }
        }
        problems.sort();
        let catalog = Self { clients, policies, settings, secrets, authorities };
        if problems.is_empty() { Ok(catalog) } else { Err(problems) }
    }

    /// An authority that may say that two accounts are one person's.
    #[must_use]
    pub fn authority(&self, id: &str) -> Option<&Authority> {
        self.authorities.get(id)
    }

    /// A client.
    #[must_use]
    pub fn client(&self, id: &ClientId) -> Option<&Registered> {
        self.clients.get(id)
    }

    /// Every client.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.values().map(|registered| &registered.client)
    }

    /// Trust policy.
    #[must_use]
    pub fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// Every provider's kind and addresses.
    pub fn providers(&self) -> impl Iterator<Item = (&ProviderId, &Settings)> {
        self.settings.iter()
    }

    /// The algorithms that clients want their ID tokens signed with.
    #[must_use]
    pub fn algorithms(&self) -> Vec<SigningAlg> {
        self.clients().map(|client| client.id_token_alg).collect()
    }

    /// Every address the gateway may call.
    #[must_use]
    pub fn addresses(&self) -> Vec<Url> {
        let keys = self.clients().filter_map(|client| match &client.auth {
            ClientAuth::PrivateKeyJwt(KeySource::Uri(uri)) => Some(uri.clone()),
            _ => None,
        });
        self.settings.values().flat_map(Settings::hosts).chain(keys).collect()
    }

    /// Opens an adapter for every provider. Callbacks are `{issuer}/callback/{provider}`, one for each.
    ///
    /// # Errors
    /// The providers whose secrets are of no use.
    pub fn open_adapters(
        &self,
        issuer: &str,
        ports: &Ports,
    ) -> Result<HashMap<ProviderId, Arc<dyn Adapter>>, Problems> {
        let none = Secrets::default();
        let (mut adapters, mut problems) = (HashMap::new(), Problems::new());
        for (id, settings) in &self.settings {
            let callback = Url::parse(&format!("{issuer}/callback/{id}")).map_err(|error| error.to_string());
            let secrets = self.secrets.get(id).unwrap_or(&none);
            match callback.and_then(|callback| settings.clone().open(callback, secrets, ports)) {
                Ok(adapter) => {
                    adapters.insert(id.clone(), adapter);
                }
                Err(reason) => problems.push(Problem { file: format!("providers/{id}"), line: 1, reason }),
            }
        }
        if problems.is_empty() { Ok(adapters) } else { Err(problems) }
    }

    /// Every claim that some service may be released, for the discovery document.
    #[must_use]
    pub fn claim_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            ["sub", "iss", "aud", "exp", "iat", "auth_time", "acr", "amr", "nonce"].map(str::to_owned).to_vec();
        let released = self.policies.services().flat_map(|service| &service.release);
        let mut more: Vec<String> = released.map(|row| row.claim.to_string()).collect();
        more.sort();
        more.dedup();
        names.extend(more);
        names
    }
}

fn collect<T>(read: Result<T, Problems>, problems: &mut Problems) -> Option<T> {
    read.map_err(|found| problems.extend(found)).ok()
}

fn twice(document: &Document, id: &str) -> Problem {
    let reason = format!("{id} is described by another document as well");
    Problem { file: document.file.clone(), line: 1, reason }
}

/// The secret files named by a provider document, relative to the document's folder.
fn read_secrets(document: &Document, settings: &Settings, problems: &mut Problems) -> Secrets {
    let folder = Path::new(&document.file).parent().unwrap_or(Path::new("."));
    let mut secrets = Secrets::new();
    for name in settings.secret_files() {
        let path = folder.join(name);
        let reason = match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => {
                secrets.insert(name.to_owned(), Secret::new(text.trim().to_owned()));
                continue;
            }
            Ok(_) => format!("{} is empty", path.display()),
            Err(error) => format!("{}: {error}", path.display()),
        };
        problems.push(Problem { file: document.file.clone(), line: 1, reason });
    }
    secrets
}

fn read_clients(
    documents: &[Document],
    policies: &PolicySet,
    problems: &mut Problems,
) -> HashMap<ClientId, Registered> {
    let mut clients: HashMap<ClientId, Registered> = HashMap::new();
    for document in documents {
        let Some(client) = collect(Client::from_document(&document.file, &document.text), problems) else { continue };
        let mut report = |reason: String| problems.push(Problem { file: document.file.clone(), line: 1, reason });
        if let Some(service) = &client.default_service {
            let offered = policies.service(service).is_some_and(|service| service.clients.contains(&client.id));
            if !offered {
                report(format!(
                    "default_service: {service} is not a service that lists {} among its clients",
                    client.id
                ));
            }
        }
        let keys = match &client.auth {
            ClientAuth::PrivateKeyJwt(KeySource::Inline(json)) => match KeySet::parse(json.as_bytes()) {
                Ok(keys) if !keys.is_empty() => Some(Arc::new(keys)),
                _ => {
                    report("jwks: holds no key that can verify an assertion".to_owned());
                    None
                }
            },
            _ => None,
        };
        if clients.contains_key(&client.id) {
            problems.push(twice(document, client.id.as_str()));
        }
        clients.insert(client.id.clone(), Registered { client, keys });
    }
    clients
}
