//! A signing key in a file of its own, for people who sign: PKCS#8 PEM, readable by its owner alone.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::key::{Algorithm, KeyError, SigningKey};

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others can read it.
    #[error("{0}: others can read this key; take their permission away (chmod 600)")]
    Exposed(PathBuf),
    /// It holds no key.
    #[error("{0}: no private key in it")]
    Empty(PathBuf),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl SignerError {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// Makes a new ES256 key and writes it; never over an existing file.
///
/// # Errors
/// [`SignerError`].
pub fn create(path: &Path) -> Result<SigningKey, SignerError> {
    let key = SigningKey::generate(Algorithm::ES256)?;
    let pem = crate::devca::private_key_pem(&key.to_pkcs8()?);
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(SignerError::file(path))?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(SignerError::file(path))?;
    Ok(key)
}

/// Reads a key that [`create`] made.
///
/// # Errors
/// [`SignerError`]; a file that others can read is refused.
pub fn load(path: &Path) -> Result<SigningKey, SignerError> {
    let mode = fs::metadata(path).map_err(SignerError::file(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(SignerError::Exposed(path.to_owned()));
    }
    let text = fs::read(path).map_err(SignerError::file(path))?;
    let pem = pem::parse(text).map_err(|_| SignerError::Empty(path.to_owned()))?;
    Ok(SigningKey::from_pkcs8(Algorithm::ES256, pem.contents())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_to_itself_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signer.key");
        let made = create(&path).unwrap();
        assert_eq!(load(&path).unwrap().kid(), made.kid());
        assert!(create(&path).is_err(), "never over an existing file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load(&path), Err(SignerError::Exposed(_))));
    }
}
