//! The gateway's configuration and bundle, written as files like any operator's.

use std::fs;
use std::path::{Path, PathBuf};

use certs::devca::DevCa;
use certs::vault::Vault;
use gateway::ports::Entropy;
use gateway_core::client::SecretDigest;

use super::party::Parties;
use super::{DemoError, Wire};
use crate::portal::PortalAuth;

const CLIENTS: [(&str, &str); 3] = [
    ("gd-government-service-network", include_str!("../../documents/clients/gd-government-service-network.toml")),
    ("gd-bay-area-services", include_str!("../../documents/clients/gd-bay-area-services.toml")),
    ("hk-cross-boundary-enquiry", include_str!("../../documents/clients/hk-cross-boundary-enquiry.toml")),
];

/// The providers as plain OpenID Connect, for tests of what does not depend on a provider's own protocol.
const OPENID: [(&str, &str); 3] = [
    ("hk-iam-smart.toml", include_str!("../../documents/openid/hk-iam-smart.toml")),
    ("mo-one-account.toml", include_str!("../../documents/openid/mo-one-account.toml")),
    ("gd-unified.toml", include_str!("../../documents/openid/gd-unified.toml")),
];

/// Writes everything the gateway reads; the path of its configuration. The bundle is written anew each time, so that a
/// document added once does not stay for ever; keys and records are not touched.
pub(super) fn write(data: &Path, ca: &DevCa, parties: &Parties, add: &[PathBuf]) -> Result<PathBuf, DemoError> {
    let bundle = data.join("bundle");
    if bundle.exists() {
        fs::remove_dir_all(&bundle).map_err(DemoError::file(&bundle))?;
    }
    for (name, text) in policies::documents::SERVICES {
        put(&bundle.join("services").join(name), text)?;
    }
    put(&bundle.join("vocabulary/vocabulary.toml"), policies::documents::VOCABULARY)?;
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
    put(&config, &gateway_toml(parties))?;
    Ok(config)
}

fn gateway_toml(parties: &Parties) -> String {
    format!(
        "# Written by the demonstration at each start.\n\
         issuer = \"{}\"\nlisten = \"{}\"\n\n\
         [tls]\ncertificate = \"ca/server.pem\"\nkey = \"ca/server.key\"\n\n\
         [keys]\nmaster = \"master.key\"\n\n\
         [store]\nnode = \"demo\"\nengine = \"embedded\"\npath = \"store\"\n\n\
         [bundle]\nfolder = \"bundle\"\n\n\
         [peers]\nlisten = \"127.0.0.1:0\"\nauthorities = \"ca/ca.pem\"\n\n\
         [egress]\ntrust = \"roots.pem\"\nprivate_addresses = true\n",
        parties.issuer, parties.listen
    )
}

fn write_clients(bundle: &Path, parties: &Parties) -> Result<(), DemoError> {
    for party in &parties.portals {
        let Some((_, template)) = CLIENTS.iter().find(|(id, _)| *id == party.client_id) else { continue };
        let secret = match &party.auth {
            PortalAuth::SecretBasic(secret) => SecretDigest::of(secret).as_str().to_owned(),
            PortalAuth::PrivateKeyJwt { .. } => String::new(),
        };
        let text = template
            .replace("@PORTAL@", &party.url)
            .replace("@SECRET@", &secret)
            .replace("@JWKS@", &party.jwks()?.to_string());
        put(&bundle.join(format!("clients/{}.toml", party.client_id)), &text)?;
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
    for kind in ["clients", "services", "providers", "vocabulary", "authorities"] {
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
