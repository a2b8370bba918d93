//! The gateway's configuration and bundle, written as files like any operator's.

use std::fs;
use std::path::{Path, PathBuf};

use certs::devca::DevCa;
use certs::signer;
use certs::vault::Vault;
use gateway::app::Source;
use gateway::bundle::{Bundle, Manifest};
use gateway::config::Config;
use gateway::control::{self, Office, Order};
use gateway::ports::Entropy;
use gateway::seal::Seals;
use gateway::store::Store;
use gateway_core::client::SecretDigest;
use gateway_core::time::Timestamp;

use super::party::Parties;
use super::{DemoError, Trust, Wire};
use crate::portal::PortalAuth;

/// The providers as plain OpenID Connect, for tests of what does not depend on a provider's own protocol.
const OPENID: [(&str, &str); 3] = [
    ("hk-iam-smart.toml", include_str!("../../documents/openid/hk-iam-smart.toml")),
    ("mo-one-account.toml", include_str!("../../documents/openid/mo-one-account.toml")),
    ("gd-unified.toml", include_str!("../../documents/openid/gd-unified.toml")),
];

/// Writes everything the gateway reads; the path of its configuration. The bundle is written anew each time, so that a
/// document added once does not stay for ever; keys and records are not touched.
pub(super) fn write(
    data: &Path,
    ca: &DevCa,
    parties: &Parties,
    add: &[PathBuf],
    trust: Trust,
) -> Result<PathBuf, DemoError> {
    let bundle = data.join("bundle");
    if bundle.exists() {
        fs::remove_dir_all(&bundle).map_err(DemoError::file(&bundle))?;
    }
    for (path, text) in policies::documents::common() {
        put(&bundle.join(path), text)?;
    }
    write_clients(&bundle, parties)?;
    write_providers(&bundle, parties)?;
    let mut roots = read(&ca.certificate())?;
    for folder in add {
        roots += &add_folder(&bundle, folder)?;
    }
    put(&data.join("roots.pem"), &roots)?;
    let master = data.join("master.key");
    if !master.exists() {
        Vault::create(&master, &Entropy::default().bytes()?)?;
    }
    let config = data.join("gateway.toml");
    let signed = match trust {
        Trust::Folder => "folder = \"bundle\"\nunsigned = true",
        Trust::Signed => "signers = \"signers.jwks\"\nsecrets = \"bundle/providers\"",
    };
    put(&config, &gateway_toml(parties, signed))?;
    Ok(config)
}

/// Signs what is in the bundle's folder, and puts it into effect as an officer would.
pub(super) async fn activate(data: &Path, config: &Config, now: Timestamp) -> Result<(), DemoError> {
    let wrong = |error: &dyn std::fmt::Display| DemoError::Configuration(error.to_string());
    let file = data.join("secrets/bundle-signer.key");
    let key = if file.exists() { signer::load(&file) } else { signer::create(&file) };
    let key = key.map_err(|error| wrong(&error))?;
    put(&data.join("signers.jwks"), &serde_json::json!({"keys": [key.public_jwk()]}).to_string())?;
    let bundle = Bundle::read(&data.join("bundle")).map_err(|problems| DemoError::problems(&problems))?;
    let source = Source::open(&config.bundle)?;
    let seals = Seals::new(Vault::load(&config.master_key)?);
    let store = Store::open(&config.store, seals.key("audit").map_err(|error| wrong(&error))?).await;
    let store = store.map_err(|error| wrong(&error))?;
    let office = Office { store: &store, seals: &seals, source: &source, usage: None, now };
    let status = control::carry_out(Order::Status, &office).await.map_err(|lines| wrong(&lines.join("\n")))?;
    let last = status.pointer("/live/sequence").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if status.pointer("/live/version").and_then(serde_json::Value::as_str) == Some(&bundle.version()) {
        return Ok(());
    }
    let manifest = Manifest {
        version: bundle.version(),
        sequence: now.0.max(last + 1),
        signer: "demonstration".to_owned(),
        signed_at: now,
        effective_from: now,
        valid_until: None,
        based_on: status.pointer("/live/version").and_then(serde_json::Value::as_str).map(str::to_owned),
        key: key.kid().to_owned(),
    };
    let archive = gateway::bundle::sign(&bundle, &manifest, &key).map_err(|error| wrong(&error))?;
    let archive = String::from_utf8(archive).map_err(|error| wrong(&error))?;
    let order = Order::Activate { archive, by: "demonstration".to_owned(), may_lose: true };
    control::carry_out(order, &office).await.map_err(|lines| wrong(&lines.join("\n")))?;
    Ok(())
}

fn gateway_toml(parties: &Parties, bundle: &str) -> String {
    format!(
        "# Written by the demonstration at each start.\n\
         issuer = \"{}\"\nlisten = \"{}\"\n\n\
         [tls]\ncertificate = \"ca/server.pem\"\nkey = \"ca/server.key\"\n\n\
         [keys]\nmaster = \"master.key\"\n\n\
         [store]\nnode = \"demo\"\nengine = \"embedded\"\npath = \"store\"\n\n\
         [bundle]\n{bundle}\n\n\
         [control]\nsocket = \"control.sock\"\n\n\
         [peers]\nlisten = \"127.0.0.1:0\"\nauthorities = \"ca/ca.pem\"\n\n\
         [mutual_tls]\nlisten = \"127.0.0.1:0\"\nauthorities = \"ca/ca.pem\"\n\n\
         [egress]\ntrust = \"roots.pem\"\nprivate_addresses = true\n\n\
         # Simulators, portals and browsers share this machine.\n\
         [limits]\nturn_away_at_ms = 60000\n",
        parties.issuer, parties.listen
    )
}

fn write_clients(bundle: &Path, parties: &Parties) -> Result<(), DemoError> {
    for party in &parties.portals {
        let file = format!("{}.toml", party.client_id);
        let shipped = policies::documents::CLIENTS.iter().find(|(name, _)| **name == file);
        let Some((_, template)) = shipped else { continue };
        let secret = match &party.auth {
            PortalAuth::SecretBasic(secret) => SecretDigest::of(secret).as_str().to_owned(),
            PortalAuth::PrivateKeyJwt { .. } => String::new(),
        };
        let text = template
            .replace("@PORTAL@", &party.url)
            .replace("@SECRET@", &secret)
            .replace("@JWKS@", &party.jwks()?.to_string());
        put(&bundle.join("clients").join(file), &text)?;
    }
    Ok(())
}

fn write_providers(bundle: &Path, parties: &Parties) -> Result<(), DemoError> {
    for party in &parties.providers {
        let file = format!("{}.toml", party.id);
        let shipped = match parties.wire {
            Wire::Own => policies::documents::PROVIDERS,
            Wire::OpenId => &OPENID[..],
        };
        let Some((_, template)) = shipped.iter().find(|(name, _)| *name == file) else { continue };
        let text = template
            .replace("@ISSUER@", &party.issuer)
            .replace("@ORIGIN@", &party.issuer)
            .replace("@APP@", &format!("{}/app/", party.issuer))
            .replace("logout_first = false", "logout_first = true")
            // The simulator's own codes for the permits of Hong Kong and Macao residents.
            .replace(
                "[guangdong.documents]\n",
                "[guangdong.documents]\n90 = \"home_return_permit\"\n91 = \"residence_permit\"\n",
            );
        put(&bundle.join("providers").join(file), &text)?;
        for (extension, secret) in [("secret", &party.secret), ("kek", &party.kek)] {
            if let Some(secret) = secret {
                put(&bundle.join(format!("providers/{}.{extension}", party.id)), secret)?;
            }
        }
    }
    Ok(())
}

/// Copies a stranger's documents over ours: a file of the same name replaces the shipped one. The folder's own `*.pem`
/// files are roots to trust; their text is returned.
fn add_folder(bundle: &Path, folder: &Path) -> Result<String, DemoError> {
    let mut roots = String::new();
    for entry in entries(folder)? {
        if entry.extension().is_some_and(|extension| extension == "pem") {
            roots += &read(&entry)?;
        }
    }
    for kind in gateway::bundle::KINDS {
        let from = folder.join(kind);
        if !from.is_dir() {
            continue;
        }
        for entry in entries(&from)? {
            let Some(name) = entry.file_name() else { continue };
            put(&bundle.join(kind).join(name), &read(&entry)?)?;
        }
    }
    Ok(roots)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, DemoError> {
    let entries = fs::read_dir(folder).map_err(DemoError::file(folder))?;
    Ok(entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

fn read(path: &Path) -> Result<String, DemoError> {
    fs::read_to_string(path).map_err(DemoError::file(path))
}

fn put(path: &Path, text: &str) -> Result<(), DemoError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(DemoError::file(folder))?;
    }
    fs::write(path, text).map_err(DemoError::file(path))
}
