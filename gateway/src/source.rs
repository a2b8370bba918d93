//! Where bundles come from, as the configuration says.

use std::path::PathBuf;

use certs::key::KeySet;

use crate::app::StartError;
use crate::config::BundleConfig;

/// Where bundles come from.
pub enum Source {
    /// The store's list of changes; only what these keys signed.
    Signed {
        /// The keys.
        signers: KeySet,
        /// The folder of the files that provider documents name.
        secrets: PathBuf,
    },
    /// A folder that nobody signs.
    Folder(PathBuf),
}

impl Source {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// [`StartError::Signers`].
    pub fn open(config: &BundleConfig) -> Result<Self, StartError> {
        match config {
            BundleConfig::Folder(folder) => Ok(Self::Folder(folder.clone())),
            BundleConfig::Signed { signers, secrets } => {
                let refuse = |reason: &str| StartError::Signers(format!("{}: {reason}", signers.display()));
                let text = std::fs::read(signers).map_err(|error| refuse(&error.to_string()))?;
                let keys = KeySet::parse(&text).map_err(|error| refuse(&error.to_string()))?;
                if keys.is_empty() {
                    return Err(refuse("holds no key"));
                }
                Ok(Self::Signed { signers: keys, secrets: secrets.clone() })
            }
        }
    }
}
