//! Where bundles come from, as the configuration says.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use certs::key::KeySet;

use crate::app::StartError;
use crate::config::BundleConfig;

/// Where bundles come from.
pub enum Source {
    /// The store's list of changes; only what these keys signed gets onto it.
    Signed {
        /// The keys.
        signers: Signers,
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
                Ok(Self::Signed { signers: Signers::open(signers)?, secrets: secrets.clone() })
            }
        }
    }
}

/// The keys that may sign bundles. They follow their file: a key that is taken out signs nothing from then on.
pub struct Signers {
    file: PathBuf,
    read: RwLock<(Option<SystemTime>, Arc<KeySet>)>,
}

impl Signers {
    fn open(file: &Path) -> Result<Self, StartError> {
        let (stamp, keys) = (modified(file), read(file)?);
        Ok(Self { file: file.to_owned(), read: RwLock::new((stamp, keys)) })
    }

    /// The keys as the file has them now. While it cannot be read, nobody signs.
    #[must_use]
    pub fn keys(&self) -> Arc<KeySet> {
        let stamp = modified(&self.file);
        let known = self.read.read().unwrap_or_else(PoisonError::into_inner);
        if stamp.is_some() && known.0 == stamp {
            return Arc::clone(&known.1);
        }
        drop(known);
        let (stamp, keys) = match read(&self.file) {
            Ok(keys) => (stamp, keys),
            // Looked at again the next time, whether the file was written or not.
            Err(error) => {
                tracing::error!("{error}");
                (None, Arc::default())
            }
        };
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = (stamp, Arc::clone(&keys));
        keys
    }
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|data| data.modified()).ok()
}

fn read(file: &Path) -> Result<Arc<KeySet>, StartError> {
    let refuse = |reason: &str| StartError::Signers(format!("{}: {reason}", file.display()));
    let text = std::fs::read(file).map_err(|error| refuse(&error.to_string()))?;
    let keys = KeySet::parse(&text).map_err(|error| refuse(&error.to_string()))?;
    if keys.is_empty() { Err(refuse("holds no key")) } else { Ok(Arc::new(keys)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signers that could not be read for a moment were none until their file was written again.
    #[test]
    fn signers_that_can_be_read_again_sign_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("signers.jwks");
        let key = certs::signer::create(&folder.path().join("signer.key")).unwrap();
        std::fs::write(&file, serde_json::json!({"keys": [key.public_jwk()]}).to_string()).unwrap();
        let signers = Signers::open(&file).unwrap();
        let away = folder.path().join("away");
        std::fs::rename(&file, &away).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(signers.keys().is_empty());
        std::fs::remove_dir(&file).unwrap();
        std::fs::rename(&away, &file).unwrap();
        assert!(!signers.keys().is_empty());
    }
}
