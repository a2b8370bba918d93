//! The cryptography of the calls, done with OpenSSL.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use url::form_urlencoded;

/// A content encryption key (AES-256).
pub(super) type Key = [u8; 32];

/// The only signature method.
pub(super) const METHOD: &str = "HmacSHA256";

/// Length of an initialisation vector; the frame names it, but no other is right.
pub(super) const IV: usize = 12;

const TAG: usize = 16;
const PREFIX: usize = 4;

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], ErrorStack> {
    let mut bytes = [0_u8; N];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(bytes)
}

/// An unguessable identifier of 32 hexadecimal digits.
pub(super) fn token() -> Result<String, ErrorStack> {
    Ok(format!("{:032x}", u128::from_be_bytes(random()?)))
}

/// SHA-256 of a text.
pub(super) fn sha256(text: &str) -> [u8; 32] {
    openssl::sha::sha256(text.as_bytes())
}

/// The signature header of a request; `head` is everything signed before the body.
pub(super) fn sign(secret: &str, head: &str, body: &[u8]) -> Result<String, ErrorStack> {
    let key = PKey::hmac(secret.as_bytes())?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    signer.update(head.as_bytes())?;
    signer.update(body)?;
    Ok(url_base64(&signer.sign_to_vec()?))
}

/// Base64, URL-encoded as form fields are.
pub(super) fn url_base64(bytes: &[u8]) -> String {
    form_urlencoded::byte_serialize(STANDARD.encode(bytes).as_bytes()).collect()
}

/// Encrypts into a frame: length of the vector, vector, ciphertext, tag.
pub(super) fn seal(key: &Key, iv: &[u8], plain: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let mut tag = [0_u8; TAG];
    let sealed = encrypt_aead(Cipher::aes_256_gcm(), key, Some(iv), &[], plain, &mut tag)?;
    let length = u32::try_from(iv.len()).unwrap_or(u32::MAX).to_be_bytes();
    Ok([&length, iv, &sealed, &tag].concat())
}

/// Decrypts a frame; `None` when anything about it is wrong.
pub(super) fn open(key: &Key, frame: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = frame.split_first_chunk::<PREFIX>()?;
    if u32::from_be_bytes(*length) as usize != IV {
        return None;
    }
    let (iv, rest) = rest.split_first_chunk::<IV>()?;
    let (sealed, tag) = rest.split_last_chunk::<TAG>()?;
    decrypt_aead(Cipher::aes_256_gcm(), key, Some(iv), &[], sealed, tag).ok()
}

/// Encrypts to a client's RSA key (PKCS #1 v1.5), in base64.
pub(super) fn wrap(kek: &Rsa<Public>, plain: &[u8]) -> Result<String, ErrorStack> {
    let mut wrapped = vec![0_u8; kek.size() as usize];
    let length = kek.public_encrypt(plain, &mut wrapped, Padding::PKCS1)?;
    wrapped.truncate(length);
    Ok(STANDARD.encode(wrapped))
}

/// Base64 of the client's public key, as it is shown beside a wrapped key.
pub(super) fn public_key(kek: &Rsa<Public>) -> Result<String, ErrorStack> {
    Ok(STANDARD.encode(kek.public_key_to_der()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        concat!("0123456789abcdef0123456789abcdef", "HmacSHA256", "1700000000123", "00112233445566778899aabbccddeeff");
    const SECRET: &str = "test-secret-not-real";
    const PLAIN: &[u8] = br#"{"code":"feedfacefeedfacefeedfacefeedface","grantType":"authorization_code"}"#;
    const CONTENT: &str = "AAAADAABAgMEBQYHCAkKCzwgtXShgOAhryfy7tWPGQ7msOJRlB0+H10BgOB5D2HRZHbLmcunc/sRhlPP7/VJVpoNGf0/9Jn4XuJecXeRnJSRSK8VvY5FDngxiBNptzV57UbTFljuzoxc8jEk";

    fn counting<const N: usize>() -> [u8; N] {
        std::array::from_fn(|i| u8::try_from(i).unwrap())
    }

    #[test]
    fn an_empty_body_is_signed_as_computed_elsewhere() {
        assert_eq!(sign(SECRET, HEAD, b"").unwrap(), "Uk7xU1zB5UJy6aq%2Fiof3orV6ENtcmylDl49iCWErF60%3D");
    }

    #[test]
    fn a_frame_is_sealed_as_computed_elsewhere() {
        let frame = seal(&counting(), &counting::<IV>(), PLAIN).unwrap();
        assert_eq!(STANDARD.encode(&frame), CONTENT);
        assert_eq!(open(&counting(), &frame).unwrap(), PLAIN);
    }

    #[test]
    fn a_body_is_signed_as_computed_elsewhere() {
        let body = format!(r#"{{"content":"{CONTENT}"}}"#);
        assert_eq!(sign(SECRET, HEAD, body.as_bytes()).unwrap(), "xHkmPFB88Bs4HG7ZTGv9NToiwtxO8K40FALeG9CgTUg%3D");
    }

    #[test]
    fn damaged_frames_do_not_open() {
        let frame = seal(&counting(), &counting::<IV>(), PLAIN).unwrap();
        for position in 0..frame.len() {
            let mut damaged = frame.clone();
            damaged[position] ^= 1;
            assert_eq!(open(&counting(), &damaged), None, "byte {position}");
        }
        for length in 0..frame.len() {
            assert_eq!(open(&counting(), &frame[..length]), None, "{length} bytes");
        }
        assert_eq!(open(&counting(), &seal(&counting(), &counting::<16>(), PLAIN).unwrap()), None);
    }
}
