//! The master key, and sealing under keys derived from it.
//!
//! One file of 32 random bytes opens everything the gateway seals: private signing keys at rest, transaction cookies,
//! and the records in which claims wait. Each purpose has a key of its own (HKDF, RFC 5869), so that a value sealed for
//! one is never accepted for another.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

/// The length of the master key and of every key derived from it, in bytes.
pub const KEY_LENGTH: usize = 32;

/// Why the master key cannot be used, or a sealed value not opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may read the file.
    #[error("{0}: must be readable by its owner only (chmod 600)")]
    Permissions(PathBuf),
    /// The file does not hold a master key.
    #[error("{0}: must hold exactly 64 hexadecimal digits; make one with `gateway master-key`")]
    Content(PathBuf),
    /// A sealed value was changed, sealed for another purpose, or under another key.
    #[error("a sealed value cannot be opened")]
    Sealed,
    /// The cryptographic library refused.
    #[error("the cryptographic library refused the operation")]
    Crypto,
}

/// The master key.
pub struct Vault(Zeroizing<Vec<u8>>);

impl Vault {
    /// A vault over these key bytes.
    #[must_use]
    pub fn new(key: [u8; KEY_LENGTH]) -> Self {
        Self(Zeroizing::new(key.to_vec()))
    }

    /// Reads the master key from a file of 64 hexadecimal digits that only its owner can read.
    ///
    /// # Errors
    /// [`VaultError::File`], [`VaultError::Permissions`], [`VaultError::Content`].
    pub fn load(path: &Path) -> Result<Self, VaultError> {
        let file_error = |source| VaultError::File { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(file_error)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(VaultError::Permissions(path.to_owned()));
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(file_error)?);
        let digits: Vec<u8> =
            text.trim().chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
        let digits = Zeroizing::new(digits);
        if text.trim().len() != KEY_LENGTH * 2 || digits.len() != KEY_LENGTH * 2 {
            return Err(VaultError::Content(path.to_owned()));
        }
        let bytes = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// Writes a new master key; never over an existing file.
    ///
    /// # Errors
    /// [`VaultError::File`].
    pub fn create(path: &Path, key: &[u8; KEY_LENGTH]) -> Result<(), VaultError> {
        let file_error = |source| VaultError::File { path: path.to_owned(), source };
        let text: Zeroizing<String> = Zeroizing::new(key.iter().map(|byte| format!("{byte:02x}")).collect());
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(file_error)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(file_error)
    }

    /// The key for one purpose.
    ///
    /// # Errors
    /// [`VaultError::Crypto`], which the library never answers for this length.
    pub fn derive(&self, purpose: &str, context: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        struct Length;
        impl KeyType for Length {
            fn len(&self) -> usize {
                KEY_LENGTH
            }
        }
        let extracted = Salt::new(HKDF_SHA256, purpose.as_bytes()).extract(&self.0);
        let info = [context];
        let okm = extracted.expand(&info, Length).map_err(|_| VaultError::Crypto)?;
        let mut key = Zeroizing::new(vec![0; KEY_LENGTH]);
        okm.fill(&mut key).map_err(|_| VaultError::Crypto)?;
        Ok(key)
    }

    /// A sealer for one purpose.
    ///
    /// # Errors
    /// [`VaultError::Crypto`].
    pub fn sealer(&self, purpose: &str, context: &[u8]) -> Result<Sealer, VaultError> {
        let key = self.derive(purpose, context)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| VaultError::Crypto)?;
        Ok(Sealer(LessSafeKey::new(key)))
    }
}

/// Seals and opens values for one purpose with AES-256-GCM: nonce, then ciphertext, then tag.
pub struct Sealer(LessSafeKey);

impl Sealer {
    /// Seals `plain`, bound to `context`. `nonce` must be fresh random bytes.
    ///
    /// # Errors
    /// [`VaultError::Crypto`].
    pub fn seal(&self, plain: &[u8], context: &[u8], nonce: [u8; NONCE_LEN]) -> Result<Vec<u8>, VaultError> {
        let mut sealed = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut sealed)
            .map_err(|_| VaultError::Crypto)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Sealer::seal`] made for the same context.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] when it was changed or is not for this purpose and context.
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN).ok_or(VaultError::Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Sealed)?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let length =
            self.0.open_in_place(nonce, Aad::from(context), &mut buffer).map_err(|_| VaultError::Sealed)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_values_open_only_for_their_purpose_and_context() {
        let vault = Vault::new([7; 32]);
        let sealer = vault.sealer("cookie", b"1").unwrap();
        let sealed = sealer.seal(b"plain", b"txn", [1; 12]).unwrap();
        assert_eq!(sealer.open(&sealed, b"txn").unwrap().as_slice(), b"plain");
        assert!(sealer.open(&sealed, b"other").is_err());
        assert!(vault.sealer("cookie", b"2").unwrap().open(&sealed, b"txn").is_err());
        assert!(vault.sealer("record", b"1").unwrap().open(&sealed, b"txn").is_err());
        assert!(Vault::new([8; 32]).sealer("cookie", b"1").unwrap().open(&sealed, b"txn").is_err());
    }

    /// CVE-2026-27840: flip, cut and extend every byte.
    #[test]
    fn cve_2026_27840_every_changed_byte_is_noticed() {
        let sealer = Vault::new([7; 32]).sealer("cookie", b"1").unwrap();
        let sealed = sealer.seal(b"plain", b"", [1; 12]).unwrap();
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(sealer.open(&flipped, b"").is_err());
            assert!(sealer.open(&sealed[..at], b"").is_err());
        }
        assert!(sealer.open(&[sealed.as_slice(), &[0]].concat(), b"").is_err());
    }

    #[test]
    fn the_master_key_file_is_private_complete_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(matches!(Vault::load(&path), Err(VaultError::File { .. })));
        Vault::create(&path, &[0xab; 32]).unwrap();
        assert!(Vault::create(&path, &[0; 32]).is_err());
        assert_eq!(Vault::load(&path).unwrap().0.as_slice(), [0xab; 32]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Vault::load(&path), Err(VaultError::Permissions(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "abc").unwrap();
        assert!(matches!(Vault::load(&path), Err(VaultError::Content(_))));
    }
}
