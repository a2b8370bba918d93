//! What a service's access tokens look like.

use std::str::FromStr;

use gateway_core::client::SigningAlg;
use gateway_core::document::Section;

/// What access tokens look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFormat {
    /// A random text: whoever serves what it opens asks the gateway (RFC 7662).
    Opaque,
    /// A token that resource servers can read (RFC 9068), signed so. It stays good for its five minutes there, whatever is revoked.
    Jwt(SigningAlg),
}

impl FromStr for TokenFormat {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "opaque" => Ok(Self::Opaque),
            "jwt" => Ok(Self::Jwt(SigningAlg::ES256)),
            _ => Err("must be opaque or jwt"),
        }
    }
}

pub(crate) fn read_format(doc: &Section<'_>) -> TokenFormat {
    match (doc.optional("access_token").unwrap_or(TokenFormat::Opaque), doc.optional("access_token_signing_alg")) {
        (TokenFormat::Jwt(_), Some(alg)) => TokenFormat::Jwt(alg),
        (format, None) => format,
        (TokenFormat::Opaque, Some(_)) => {
            doc.refuse_field("access_token_signing_alg", "an opaque token is not signed");
            TokenFormat::Opaque
        }
    }
}
