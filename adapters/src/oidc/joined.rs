//! A provider that is found through its federation (OpenID Federation 1.0 section 12), and that has never heard of us: what it says of
//! itself is what its chain leaves of it, and each request shows by our signature who asks.

use std::sync::{Arc, Mutex, PoisonError};

use gateway_core::federation::{FederationError, PROVIDER};
use gateway_core::ids::EntityId;
use gateway_core::time::Timestamp;
use serde_json::{Map, Value, json};
use url::Url;

use super::Oidc;
use super::metadata::Metadata;
use super::settings::Settings;
use crate::Step;
use crate::error::UpstreamError;
use crate::federation::{Anchor, Resolved, Resolver};
use crate::shares::Shares;

/// How long a signed request may be used, in seconds.
const LIFETIME: u64 = 120;

/// The federation of a provider.
pub struct Joined {
    /// Who finds out.
    pub resolver: Arc<Resolver>,
    /// Whom we believe.
    pub anchor: Anchor,
    places: Shares,
    last: Mutex<Option<(Arc<Resolved>, Arc<Metadata>)>>,
}

impl Joined {
    /// Nothing is found out yet.
    #[must_use]
    pub fn new(resolver: Arc<Resolver>, anchor: Anchor) -> Self {
        Self { resolver, anchor, places: Shares::new("provider's federation", 4, &[4]), last: Mutex::default() }
    }

    /// The metadata of a provider, as its federation leaves it. Where that cannot be used, the last that was serves as long as its
    /// chain does.
    pub(super) async fn metadata(&self, settings: &Settings, now: Timestamp) -> Result<Arc<Metadata>, UpstreamError> {
        let refuse = |error: FederationError| UpstreamError::Refused(format!("federation: {error}"));
        let entity: EntityId =
            settings.issuer_text().parse().map_err(|_| UpstreamError::misbehaved("its issuer is no entity"))?;
        let found = self.resolver.resolve(&entity, &self.anchor, &self.places, now).await.map_err(refuse)?;
        let judged = match self.known(|known| Arc::ptr_eq(known, &found)) {
            Some(metadata) => return Ok(metadata),
            None => judged(&found, settings),
        };
        match judged {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((found, Arc::clone(&metadata)));
                Ok(metadata)
            }
            Err(error) => {
                tracing::warn!(%entity, %error, "a provider's metadata cannot be used");
                self.resolver.forget(&entity, &self.anchor).await;
                self.known(|known| !known.expires_at.is_past(now)).ok_or(error)
            }
        }
    }

    fn known(&self, serves: impl FnOnce(&Arc<Resolved>) -> bool) -> Option<Arc<Metadata>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, metadata) = last.as_ref()?;
        serves(found).then(|| Arc::clone(metadata))
    }
}

fn judged(found: &Resolved, settings: &Settings) -> Result<Metadata, UpstreamError> {
    let said = found.chain.metadata(PROVIDER);
    let said = said.map_err(|error| UpstreamError::Refused(format!("federation: {error}")))?;
    let takes = said.get("client_registration_types_supported").and_then(Value::as_array);
    if !takes.is_some_and(|types| types.iter().any(|kind| kind == "automatic")) {
        return Err(UpstreamError::misbehaved("it takes nobody whom it was not told of"));
    }
    Metadata::judged(Value::Object(said).to_string().as_bytes(), settings).map_err(UpstreamError::misbehaved)
}

impl Oidc {
    /// The same request, signed (RFC 9101), with no more beside it than OAuth 2.0 asks for (OpenID Federation 1.0 section 12.1.1.1).
    pub(super) fn signed(&self, metadata: &Metadata, url: &Url, step: Step<'_>) -> Result<Url, UpstreamError> {
        let mut claims: Map<String, Value> =
            url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
        let more = json!({
            "iss": self.settings.client_id, "aud": metadata.issuer.as_str(), "iat": step.now.0,
            "exp": step.now.0 + LIFETIME, "jti": step.fresh.token("request").expose(),
        });
        claims.extend(more.as_object().cloned().unwrap_or_default());
        let request = self.signer.sign("oauth-authz-req+jwt", &claims);
        let request = request.map_err(|error| UpstreamError::Refused(error.to_string()))?;
        let mut signed = metadata.authorization_endpoint.url().clone();
        let beside = url.query_pairs().filter(|(name, _)| ["client_id", "response_type", "scope"].contains(&&**name));
        signed.query_pairs_mut().extend_pairs(beside).append_pair("request", &request);
        Ok(signed)
    }
}
