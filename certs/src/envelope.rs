//! Keys for peers that speak neither JOSE nor TLS client authentication: an RSA key under which a peer sends us a
//! symmetric key, and that symmetric key (AES-256-GCM).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rsa::{Pkcs1PrivateDecryptingKey, PrivateDecryptingKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

/// The length of the initialisation vector of AES-GCM, in bytes.
pub const IV_LENGTH: usize = NONCE_LEN;
/// The length of a content key, in bytes.
pub const CONTENT_KEY_LENGTH: usize = 32;

/// The key is not one that can be used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not an RSA private key in PKCS#8 PEM of at least 2048 bits.
    #[error("must be an RSA private key of 2048 bits or more, in PKCS#8 PEM")]
    KeyEncryptionKey,
    /// Not 32 bytes.
    #[error("a content key has 32 bytes")]
    ContentKey,
    /// The cryptographic library refused.
    #[error("the cryptographic library refused the operation")]
    Crypto,
}

/// The private half of a key-encryption key (RSA, RSAES-PKCS1-v1_5: RFC 8017 section 7.2).
///
/// That padding is an oracle for whoever may try ciphertexts and watch the outcome. So this key is only ever used on what
/// an authenticated peer sent; callers keep strangers' ciphertexts away from it.
pub struct KeyEncryptionKey(Pkcs1PrivateDecryptingKey);

impl KeyEncryptionKey {
    /// Reads a key in PKCS#8 PEM.
    ///
    /// # Errors
    /// [`EnvelopeError::KeyEncryptionKey`].
    pub fn from_pem(pem: &str) -> Result<Self, EnvelopeError> {
        let refused = |_| EnvelopeError::KeyEncryptionKey;
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| EnvelopeError::KeyEncryptionKey)?;
        let key =
            PrivateDecryptingKey::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| EnvelopeError::KeyEncryptionKey)?;
        Pkcs1PrivateDecryptingKey::new(key).map(Self).map_err(refused)
    }

    /// Decrypts; `None` when it cannot be.
    #[must_use]
    pub fn decrypt(&self, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut output = Zeroizing::new(vec![0; self.0.min_output_size()]);
        let plain = self.0.decrypt(ciphertext, &mut output).ok()?;
        Some(Zeroizing::new(plain.to_vec()))
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey([redacted])")
    }
}

/// A symmetric key under which contents travel (AES-256-GCM, NIST SP 800-38D), without additional data.
pub struct ContentKey {
    bytes: Zeroizing<Vec<u8>>,
    key: LessSafeKey,
}

impl ContentKey {
    /// A key of these 32 bytes.
    ///
    /// # Errors
    /// [`EnvelopeError::ContentKey`] for another length.
    pub fn new(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| EnvelopeError::ContentKey)?;
        Ok(Self { bytes: Zeroizing::new(bytes.to_vec()), key: LessSafeKey::new(key) })
    }

    /// The bytes, for whoever keeps the key sealed.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// Ciphertext and tag. The caller never uses an `iv` twice under one key.
    ///
    /// # Errors
    /// [`EnvelopeError::Crypto`].
    pub fn seal(&self, iv: [u8; IV_LENGTH], plain: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let mut sealed = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(iv);
        let done = self.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed);
        done.map(|()| sealed).map_err(|_| EnvelopeError::Crypto)
    }

    /// The plain text; `None` when it was changed or sealed under another key.
    #[must_use]
    pub fn open(&self, iv: [u8; IV_LENGTH], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(iv);
        let plain = self.key.open_in_place(nonce, Aad::empty(), &mut buffer).ok()?;
        Some(Zeroizing::new(plain.to_vec()))
    }
}

impl PartialEq for ContentKey {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.bytes, &other.bytes).is_ok()
    }
}

impl Eq for ContentKey {}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::{KeySize, Pkcs1PublicEncryptingKey};

    use super::*;
    use crate::devca::private_key_pem;

    #[test]
    fn a_content_key_travels_under_the_key_encryption_key() {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let public = Pkcs1PublicEncryptingKey::new(private.public_key()).unwrap();
        let mut buffer = vec![0; public.ciphertext_size()];
        let sent = public.encrypt(&[7; 32], &mut buffer).unwrap().to_vec();
        let kek = KeyEncryptionKey::from_pem(&private_key_pem(AsDer::as_der(&private).unwrap().as_ref())).unwrap();
        let key = ContentKey::new(&kek.decrypt(&sent).unwrap()).unwrap();
        let sealed = key.seal([1; 12], b"hello").unwrap();
        assert_eq!(key.open([1; 12], &sealed).unwrap().as_slice(), b"hello");
        assert!(key.open([2; 12], &sealed).is_none());
        assert!(ContentKey::new(&[8; 32]).unwrap().open([1; 12], &sealed).is_none());
    }

    #[test]
    fn nothing_but_a_key_is_a_key() {
        assert!(KeyEncryptionKey::from_pem("hello").is_err());
        assert!(ContentKey::new(&[1; 16]).is_err());
        assert_eq!(format!("{:?}", ContentKey::new(&[1; 32]).unwrap()), "ContentKey([redacted])");
    }
}
