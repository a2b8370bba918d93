//! Logging out: at the provider by the browser (RP-Initiated Logout 1.0), and by the provider's own word (Back-Channel Logout 1.0).

use std::time::Duration;

use certs::claims::{self, ClaimError};
use certs::jws::{JwsError, Unverified};
use certs::key::KeySet;
use gateway_core::assertion::UpstreamSubject;
use gateway_core::secret::Secret;
use gateway_core::time::{SKEW, Timestamp};
use serde_json::{Map, Value};
use url::Url;

use super::Oidc;
use crate::LoggedOut;
use crate::error::UpstreamError;

/// The event that a logout token is about (Back-Channel Logout section 2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// What a logout token may say that it is; most say nothing.
const TYPES: [&str; 2] = ["logout+jwt", "JWT"];
/// The longest that a logout token may live.
const LONGEST: Duration = Duration::from_secs(600);

impl Oidc {
    /// Where a browser ends its session there. The ID token of that session was not kept, so the provider may ask the person.
    pub(super) async fn logout_at(&self, back: &Url, now: Timestamp) -> Option<Url> {
        let metadata = self.metadata(now).await.ok()?;
        let ours = |url: &&Url| {
            url.scheme() == "https" && self.settings.hosts().iter().any(|host| host.origin() == url.origin())
        };
        let mut url = metadata.end_session_endpoint.as_ref().filter(ours)?.clone();
        url.query_pairs_mut()
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("post_logout_redirect_uri", back.as_str());
        Some(url)
    }

    /// Everything that Back-Channel Logout section 2.6 asks of a logout token.
    pub(super) async fn believe(&self, token: &str, now: Timestamp) -> Result<LoggedOut, UpstreamError> {
        let unbelieved = |error: JwsError| UpstreamError::Misbehaved(format!("logout token: {error}"));
        let unverified = Unverified::parse(token).map_err(unbelieved)?;
        if unverified.typ().is_some_and(|typ| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ))) {
            return Err(UpstreamError::misbehaved("logout token: it is another kind of token"));
        }
        let metadata = self.metadata(now).await?;
        // Taking a token apart costs little, and a second try needs it whole.
        let verify = |keys: &KeySet| Unverified::parse(token)?.verify(keys, self.algorithms());
        // A copy of the keys for this alone: strangers can send tokens here, and must not use up what sign-ins may fetch.
        let mut verified = verify(&*self.logout_keys.get(&metadata.jwks_uri, now).await?);
        if matches!(verified, Err(JwsError::UnknownKey | JwsError::Signature)) {
            verified = verify(&*self.logout_keys.refresh(&metadata.jwks_uri, now).await?);
        }
        let claims = verified.map_err(unbelieved)?;
        self.over(&claims, metadata.issuer.as_str(), now)
            .map_err(|error| UpstreamError::Misbehaved(format!("logout token: {error}")))
    }

    fn over(&self, said: &Map<String, Value>, issuer: &str, now: Timestamp) -> Result<LoggedOut, ClaimError> {
        if claims::text(said, "iss")? != issuer {
            return Err(ClaimError::Issuer);
        }
        if !claims::has_audience(said, &self.settings.client_id)? {
            return Err(ClaimError::Audience);
        }
        claims::check_times(said, now.0, SKEW.as_secs(), LONGEST.as_secs())?;
        let issued = claims::time(said, "iat")?.ok_or(ClaimError::Missing("iat"))?;
        // With a nonce it would be an ID token, which a provider hands to anybody who signs in.
        if said.contains_key("nonce") {
            return Err(ClaimError::Type("nonce"));
        }
        let event = said.get("events").and_then(|events| events.get(EVENT));
        event.filter(|event| event.is_object()).ok_or(ClaimError::Missing("events"))?;
        let subject = said.contains_key("sub").then(|| claims::text(said, "sub")).transpose()?;
        let session = said.contains_key("sid").then(|| claims::text(said, "sid")).transpose()?;
        let person =
            subject.map(|subject| UpstreamSubject::parse(subject).ok_or(ClaimError::Type("sub"))).transpose()?;
        if session.is_none() && person.is_none() {
            return Err(ClaimError::Missing("sid"));
        }
        // Section 2.4 asks for it. To hear the same word twice changes nothing, so none has to be remembered.
        claims::text(said, "jti")?;
        let session = session.map(|session| Secret::new(session.to_owned()));
        Ok(LoggedOut { session, person, at: Timestamp(issued) })
    }
}
