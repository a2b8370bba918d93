//! Everything that is checked about what a provider sends back.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certs::jws::Unverified;
use certs::key::KeySet;
use chrono::{DateTime, Utc};
use gateway_core::assertion::UpstreamSubject;
use gateway_core::claims::Claims;
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use gateway_core::time::{SKEW, Timestamp};
use oauth2::{ClientId, TokenResponse as _};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, ClaimsVerificationError, IdTokenVerifier, JsonWebKeySet, Nonce,
    TokenResponse as _,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::{Key, to_core};
use super::metadata::Metadata;
use super::{Memo, Oidc, OidcIdToken, OidcTokenResponse};
use crate::error::UpstreamError;

/// Claims of any name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AnyClaims(HashMap<String, Value>);

impl AdditionalClaims for AnyClaims {}

/// A provider's keys. A set without any that verifies fails its check: the last good one serves.
pub(super) fn keys(json: &[u8]) -> Result<KeySet, &'static str> {
    let keys = KeySet::parse(json).map_err(|_| "it is no JWK Set")?;
    if keys.is_empty() { Err("it holds no key that verifies") } else { Ok(keys) }
}

/// What a verified ID token says.
pub(super) struct IdTokenFacts {
    pub(super) subject: UpstreamSubject,
    pub(super) session: Option<Secret<String>>,
    pub(super) acr: Option<String>,
    pub(super) amr: Vec<String>,
    pub(super) auth_time: Option<Timestamp>,
    pub(super) claims: Claims,
}

/// The code from an authorization response. `iss` is looked at before anything else (RFC 9207 section 2.4).
pub(super) fn callback(params: &Params, metadata: &Metadata, fapi: bool) -> Result<String, UpstreamError> {
    let one = |name| params.one(name).map_err(|_| UpstreamError::misbehaved("a callback parameter is repeated"));
    match one("iss")? {
        Some(iss) if iss == metadata.issuer.as_str() => {}
        Some(_) => return Err(UpstreamError::misbehaved("the callback is of another issuer")),
        None if metadata.promises_iss || fapi => return Err(UpstreamError::misbehaved("the callback names no issuer")),
        None => {}
    }
    match one("error")? {
        Some("access_denied") => return Err(UpstreamError::Denied),
        Some("unmet_authentication_requirements") => return Err(UpstreamError::Unmet),
        Some("temporarily_unavailable") => return Err(crate::http::HttpError::Status(503).into()),
        Some(_) => return Err(UpstreamError::Refused("authorization request".to_owned())),
        None => {}
    }
    one("code")?.map(str::to_owned).ok_or_else(|| UpstreamError::misbehaved("the callback has no code"))
}

impl Oidc {
    /// Verifies the ID token of a token answer (OpenID Connect Core section 3.1.3.7).
    pub(super) async fn verify_id_token(
        &self,
        metadata: &Metadata,
        tokens: &OidcTokenResponse,
        memo: &Memo,
        now: Timestamp,
    ) -> Result<IdTokenFacts, UpstreamError> {
        let token = tokens.id_token().ok_or_else(|| UpstreamError::misbehaved("there is no ID token"))?;
        // Header rules and size hold before a key is looked for, let alone fetched.
        let text = token.to_string();
        let kid = match Unverified::parse(&text) {
            Ok(unverified) => unverified.kid().map(str::to_owned),
            Err(error) => return Err(UpstreamError::Misbehaved(format!("ID token: {error}"))),
        };
        let mut keys = self.keys.get(&metadata.jwks_uri, now).await?;
        if kid.is_some_and(|kid| !keys.has_kid(&kid)) {
            keys = self.keys.refresh(&metadata.jwks_uri, now).await?;
        }
        let mut verdict = self.check(metadata, token, tokens, &keys, memo, now);
        if matches!(verdict, Err(Wrong::Signature)) {
            // The same name may stand for a new key (fault F8); the refetch is limited to one a minute.
            keys = self.keys.refresh(&metadata.jwks_uri, now).await?;
            verdict = self.check(metadata, token, tokens, &keys, memo, now);
        }
        verdict.map_err(|wrong| match wrong {
            Wrong::Signature => UpstreamError::misbehaved("ID token: no key of the provider verifies it"),
            Wrong::Other(reason) => UpstreamError::Misbehaved(format!("ID token: {reason}")),
        })
    }

    fn check(
        &self,
        metadata: &Metadata,
        token: &OidcIdToken,
        tokens: &OidcTokenResponse,
        keys: &KeySet,
        memo: &Memo,
        now: Timestamp,
    ) -> Result<IdTokenFacts, Wrong> {
        let client = ClientId::new(self.settings.client_id.clone());
        let keys = JsonWebKeySet::new(keys.iter().map(Key::from).collect());
        let (earliest, latest) = (date(now.minus(SKEW)), date(now.plus(SKEW)));
        let verifier =
            IdTokenVerifier::new_public_client(client, metadata.issuer.clone(), keys)
                .set_allowed_algs(self.algorithms().iter().copied().map(to_core))
                .set_time_fn(move || earliest)
                .set_issue_time_verifier_fn(move |issued| {
                    if issued <= latest { Ok(()) } else { Err("issued in the future".to_owned()) }
                });
        let claims = token.claims(&verifier, &Nonce::new(memo.nonce.clone()))?;
        if let Some(stated) = claims.access_token_hash() {
            let (alg, key) = (token.signing_alg(), token.signing_key(&verifier));
            let (Ok(alg), Ok(key)) = (alg, key) else { return Err(Wrong::Other("at_hash cannot be checked")) };
            if AccessTokenHash::from_token(tokens.access_token(), alg, key).ok().as_ref() != Some(stated) {
                return Err(Wrong::Other("at_hash is of another access token"));
            }
        }
        let subject = UpstreamSubject::parse(claims.subject().as_str());
        let auth_time = claims.auth_time().map(|time| u64::try_from(time.timestamp()).map(Timestamp)).transpose();
        let auth_time = auth_time.map_err(|_| Wrong::Other("auth_time is not a time"))?;
        // A time in the future (or in milliseconds) would make a login fresh for ever.
        if auth_time.is_some_and(|time| time > now.plus(SKEW)) {
            return Err(Wrong::Other("auth_time is in the future"));
        }
        let payload = payload(token).ok_or(Wrong::Other("the payload cannot be read"))?;
        Ok(IdTokenFacts {
            subject: subject.ok_or(Wrong::Other("the subject is empty"))?,
            session: payload.get("sid").and_then(Value::as_str).map(|sid| Secret::new(sid.to_owned())),
            acr: claims.auth_context_ref().map(|acr| acr.to_string()),
            amr: claims.auth_method_refs().into_iter().flatten().map(|method| method.to_string()).collect(),
            auth_time,
            claims: payload,
        })
    }
}

/// Why a token is not believed.
enum Wrong {
    Signature,
    Other(&'static str),
}

impl From<ClaimsVerificationError> for Wrong {
    fn from(error: ClaimsVerificationError) -> Self {
        Self::Other(match error {
            ClaimsVerificationError::SignatureVerification(_) => return Self::Signature,
            ClaimsVerificationError::Expired(_) => "it has expired",
            ClaimsVerificationError::InvalidAudience(_) => "it is for another audience",
            ClaimsVerificationError::InvalidIssuer(_) => "it is of another issuer",
            ClaimsVerificationError::InvalidNonce(_) => "the nonce is another",
            ClaimsVerificationError::InvalidSubject(_) => "the subject is another",
            _ => "its claims do not hold",
        })
    }
}

/// The payload of a token that was verified.
fn payload(token: &OidcIdToken) -> Option<Claims> {
    let text = token.to_string();
    let payload = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    match serde_json::from_slice(&payload).ok()? {
        Value::Object(claims) => Some(Claims::from_object(claims)),
        _ => None,
    }
}

fn date(time: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp(i64::try_from(time.0).unwrap_or(i64::MAX), 0).unwrap_or_default()
}
