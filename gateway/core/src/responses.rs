//! What a client is sent signed and encrypted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::circumstances::words;
use crate::credential::KeySource;
use crate::document::Section;

/// A signing algorithm a client may ask for (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SigningAlg {
    /// ECDSA on P-256 with SHA-256, the default.
    ES256,
    /// Ed25519.
    EdDSA,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for old clients only.
    RS256,
}

impl SigningAlg {
    /// All of them, the cheapest to sign with first.
    pub const ALL: [Self; 4] = [Self::ES256, Self::EdDSA, Self::PS256, Self::RS256];

    /// The registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
            Self::PS256 => "PS256",
            Self::RS256 => "RS256",
        }
    }
}

impl FromStr for SigningAlg {
    type Err = &'static str;
    fn from_str(name: &str) -> Result<Self, &'static str> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == name).ok_or("algorithm must be ES256, EdDSA, PS256 or RS256")
    }
}

/// The algorithm of each answer that is signed for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedResponses {
    /// ID tokens.
    pub id_token: SigningAlg,
    /// Answers of the userinfo endpoint, where the client wants them signed.
    pub userinfo: Option<SigningAlg>,
    /// Answers at the authorization endpoint, where the client wants them signed (JARM).
    pub authorization: SigningAlg,
    /// Answers to introspection, where the client wants them signed (RFC 9701).
    pub introspection: SigningAlg,
}

impl SignedResponses {
    /// All of them.
    pub fn algorithms(&self) -> impl Iterator<Item = SigningAlg> {
        [self.id_token, self.authorization, self.introspection].into_iter().chain(self.userinfo)
    }
}

words!(
    /// How the key of an encrypted answer travels (RFC 7518 section 4.1).
    KeyManagementAlg, "key management algorithm" {
        /// Agreed on P-256.
        EcdhEs = "ECDH-ES",
        /// Under an RSA key.
        RsaOaep256 = "RSA-OAEP-256",
    }
);

words!(
    /// How an encrypted answer's content is encrypted (RFC 7518 section 5.1).
    ContentAlg, "content encryption" {
        /// AES-128 in CBC mode with HMAC, what the registration means when it says nothing.
        A128CbcHs256 = "A128CBC-HS256",
        /// AES-128 in GCM.
        A128Gcm = "A128GCM",
        /// AES-256 in GCM.
        A256Gcm = "A256GCM",
    }
);

/// How one kind of answer is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encryption {
    /// How the key travels.
    pub alg: KeyManagementAlg,
    /// How the content is encrypted.
    pub enc: ContentAlg,
}

/// The answers that are encrypted for a client; each is signed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncryptedResponses {
    /// ID tokens.
    pub id_token: Option<Encryption>,
    /// Answers of the userinfo endpoint.
    pub userinfo: Option<Encryption>,
}

pub(crate) fn read_signed(doc: &Section<'_>) -> SignedResponses {
    let alg = |name| doc.optional(name).unwrap_or(SigningAlg::ES256);
    SignedResponses {
        id_token: alg("id_token_signed_response_alg"),
        userinfo: doc.optional("userinfo_signed_response_alg"),
        authorization: alg("authorization_signed_response_alg"),
        introspection: alg("introspection_signed_response_alg"),
    }
}

pub(crate) fn read_encrypted(
    doc: &Section<'_>,
    signed: SignedResponses,
    keys: Option<&KeySource>,
) -> EncryptedResponses {
    let encrypted = EncryptedResponses {
        id_token: read_encryption(doc, "id_token_encrypted_response_alg", "id_token_encrypted_response_enc"),
        userinfo: read_encryption(doc, "userinfo_encrypted_response_alg", "userinfo_encrypted_response_enc"),
    };
    if encrypted.userinfo.is_some() && signed.userinfo.is_none() {
        let why = "needs userinfo_signed_response_alg: what is encrypted is signed";
        doc.refuse_field("userinfo_encrypted_response_alg", why);
    }
    if (encrypted.id_token.is_some() || encrypted.userinfo.is_some()) && keys.is_none() {
        doc.refuse("what is encrypted is encrypted to a key: one of jwks and jwks_uri is needed");
    }
    encrypted
}

fn read_encryption(doc: &Section<'_>, alg: &'static str, enc: &'static str) -> Option<Encryption> {
    let content = doc.optional(enc);
    let Some(alg) = doc.optional(alg) else {
        if content.is_some() {
            doc.refuse_field(enc, "stands alone: the alg is missing");
        }
        return None;
    };
    Some(Encryption { alg, enc: content.unwrap_or(ContentAlg::A128CbcHs256) })
}
