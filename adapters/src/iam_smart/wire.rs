//! The wire: the signature over every POST, and the frame in which contents travel. Pure functions, held to published
//! vectors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certs::envelope::{CONTENT_KEY_LENGTH, ContentKey, IV_LENGTH};
use gateway_core::digest::hmac_sha256;
use zeroize::Zeroizing;

/// The name of the signature method, as the header and the signed message spell it.
pub(super) const SIGNATURE_METHOD: &str = "HmacSHA256";

/// The value of the `signature` header: percent-encoded base64 of the HMAC over client, method, time stamp, nonce and the
/// exact bytes of the body.
pub(super) fn signature(client_id: &str, secret: &str, timestamp: &str, nonce: &str, body: &[u8]) -> String {
    let parts = [client_id, SIGNATURE_METHOD, timestamp, nonce].map(str::as_bytes);
    let [client, method, timestamp, nonce] = parts;
    let mac = hmac_sha256(secret.as_bytes(), &[client, method, timestamp, nonce, body]);
    url::form_urlencoded::byte_serialize(STANDARD.encode(mac).as_bytes()).collect()
}

/// The frame of a content: length of the vector, vector, ciphertext and tag, in base64.
pub(super) fn frame(key: &ContentKey, iv: [u8; IV_LENGTH], plain: &[u8]) -> Option<String> {
    let sealed = key.seal(iv, plain).ok()?;
    let length = u32::try_from(IV_LENGTH).ok()?.to_be_bytes();
    Some(STANDARD.encode([length.as_slice(), iv.as_slice(), &sealed].concat()))
}

/// True for a text that has the form of a frame, whatever its key.
pub(super) fn is_frame(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|bytes| bytes.starts_with(&[0, 0, 0, 12]) && bytes.len() >= 4 + IV_LENGTH + 16)
}

/// What a frame holds; `None` when it is not one, was changed, or was sealed under another key.
pub(super) fn unframe(key: &ContentKey, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    // Twelve is the only length the specification knows; another would move where the ciphertext begins.
    if usize::try_from(u32::from_be_bytes(*length)).ok()? != IV_LENGTH {
        return None;
    }
    let (iv, sealed) = rest.split_first_chunk::<IV_LENGTH>()?;
    key.open(*iv, sealed)
}

/// The content key in a decrypted `secretKey`: 32 raw bytes, or their base64 text. Nothing else is one.
pub(super) fn content_key(plain: &[u8]) -> Option<ContentKey> {
    if plain.len() == CONTENT_KEY_LENGTH {
        return ContentKey::new(plain).ok();
    }
    let text = Zeroizing::new(STANDARD.decode(plain).ok()?);
    (text.len() == CONTENT_KEY_LENGTH).then(|| ContentKey::new(&text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "0123456789abcdef0123456789abcdef";
    const SECRET: &str = "test-secret-not-real";
    const TIMESTAMP: &str = "1700000000123";
    const NONCE: &str = "00112233445566778899aabbccddeeff";
    const CONTENT: &str = "AAAADAABAgMEBQYHCAkKCzwgtXShgOAhryfy7tWPGQ7msOJRlB0+H10BgOB5D2HRZHbLmcunc/sRhlPP7/VJVpoNGf0/9Jn4XuJecXeRnJSRSK8VvY5FDngxiBNptzV57UbTFljuzoxc8jEk";

    fn cek() -> ContentKey {
        ContentKey::new(&(0..32).collect::<Vec<u8>>()).unwrap()
    }

    #[test]
    fn vector_a_signature_over_no_body() {
        let signature = signature(CLIENT, SECRET, TIMESTAMP, NONCE, b"");
        assert_eq!(signature, "Uk7xU1zB5UJy6aq%2Fiof3orV6ENtcmylDl49iCWErF60%3D");
    }

    #[test]
    fn vector_a_frame() {
        let plain = br#"{"code":"feedfacefeedfacefeedfacefeedface","grantType":"authorization_code"}"#;
        let iv: Vec<u8> = (0..12).collect();
        assert_eq!(frame(&cek(), iv.try_into().unwrap(), plain).unwrap(), CONTENT);
        assert_eq!(unframe(&cek(), CONTENT).unwrap().as_slice(), plain);
    }

    #[test]
    fn vector_a_signature_over_a_body() {
        let body = format!("{{\"content\":\"{CONTENT}\"}}");
        let signature = signature(CLIENT, SECRET, TIMESTAMP, NONCE, body.as_bytes());
        assert_eq!(signature, "xHkmPFB88Bs4HG7ZTGv9NToiwtxO8K40FALeG9CgTUg%3D");
    }

    #[test]
    fn a_frame_with_another_vector_length_or_a_changed_byte_is_none() {
        let good = STANDARD.decode(CONTENT).unwrap();
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert!(unframe(&cek(), &STANDARD.encode(&bad)).is_none(), "byte {index}");
            assert!(unframe(&cek(), &STANDARD.encode(&good[..index])).is_none(), "cut at {index}");
        }
        assert!(unframe(&cek(), "").is_none() && unframe(&cek(), "…").is_none());
    }

    #[test]
    fn a_frame_of_any_vector_is_known_by_its_form() {
        for first in [0, 7, 255] {
            let text = frame(&cek(), [first; IV_LENGTH], b"x").unwrap();
            assert!(is_frame(&text) && unframe(&cek(), &text).is_some());
        }
        assert!(!is_frame("") && !is_frame("AAAADAAB") && !is_frame(&STANDARD.encode([1; 64])));
    }

    #[test]
    fn a_content_key_is_32_bytes_or_their_text() {
        let raw: Vec<u8> = (0..32).collect();
        assert!(content_key(&raw).unwrap() == cek());
        assert!(content_key(STANDARD.encode(&raw).as_bytes()).unwrap() == cek());
        for bad in [&raw[..16], &raw[..31], b"", &[0; 33], &[b'A'; 44]] {
            assert!(content_key(bad).is_none());
        }
    }
}
