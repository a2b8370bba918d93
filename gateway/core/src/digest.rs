//! Hashes and keyed hashes, as plain functions.

use aws_lc_rs::{digest, hmac};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

fn fixed(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    for (slot, byte) in out.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    out
}

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    fixed(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// HMAC-SHA-256 over length-prefixed parts, so that no two lists of parts share an input.
#[must_use]
pub fn keyed(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    fixed(context.sign().as_ref())
}

/// HMAC-SHA-256 over parts as they stand one after the other (RFC 2104), for peers that define their message so.
#[must_use]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    fixed(context.sign().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(keyed(b"k", &[b"ab", b"c"]), keyed(b"k", &[b"a", b"bc"]));
        assert_ne!(keyed(b"k", &[b"ab"]), keyed(b"l", &[b"ab"]));
    }
}
