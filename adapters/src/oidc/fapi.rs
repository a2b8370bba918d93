//! A provider that is spoken to by the FAPI 2.0 Security Profile (section 5.3.3): requests are pushed (RFC 9126), tokens are bound to our
//! key (RFC 9449), and nothing that is signed with RS256 is taken.

use std::sync::{Arc, Mutex, PoisonError};

use certs::key::Algorithm;
use gateway_core::digest::sha256;
use gateway_core::ids::base64url;
use gateway_core::time::Timestamp;
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::metadata::Metadata;
use super::{ASSERTION_TYPE, Oidc};
use crate::error::UpstreamError;
use crate::http::{Http, HttpError};
use crate::port::{PortFuture, answered};
use crate::{Fresh, Signer, Step};

/// What a provider says to a proof that answers no nonce of its own.
pub(super) const USE_NONCE: &str = "use_dpop_nonce";

/// What a FAPI provider may sign with (section 5.4.1).
const STRONG: [Algorithm; 3] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256];

/// The nonce that a provider handed out last.
pub(super) type LastNonce = Arc<Mutex<Option<String>>>;

/// Makes the proofs of one step.
struct Prover {
    http: Arc<dyn Http>,
    signer: Arc<dyn Signer>,
    nonce: LastNonce,
    fresh: Fresh,
    now: Timestamp,
}

impl Oidc {
    /// The algorithms that this provider's tokens may be signed with.
    pub(super) fn algorithms(&self) -> &'static [Algorithm] {
        if self.settings.fapi { &STRONG } else { &Algorithm::ALL }
    }

    /// Pushes a request: the address for the browser, with nothing in it but its name.
    pub(super) async fn pushed(&self, metadata: &Metadata, url: &Url, step: Step<'_>) -> Result<Url, UpstreamError> {
        let none = || UpstreamError::misbehaved("the metadata names no place to push requests to");
        let endpoint = metadata.push_endpoint.as_ref().ok_or_else(none)?;
        let assertion = self.assertion(metadata, step.fresh.token("push"), step.now)?;
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(url.query_pairs())
            .append_pair("client_assertion_type", ASSERTION_TYPE)
            .append_pair("client_assertion", &assertion)
            .finish();
        let request = http::Request::post(endpoint.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form.into_bytes())
            .map_err(|error| HttpError::Connect(error.to_string()))?;
        let response = answered(&*self.http, request).await?;
        let said: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let name = said.get("request_uri").and_then(Value::as_str).filter(|_| response.status().is_success());
        let name = name.ok_or_else(|| UpstreamError::Refused("pushed authorization request".to_owned()))?;
        let mut url = metadata.authorization_endpoint.url().clone();
        url.query_pairs_mut().append_pair("client_id", &self.settings.client_id).append_pair("request_uri", name);
        Ok(url)
    }

    /// The port for a token request: with a proof, where tokens are bound. Whoever asks comes again for a nonce.
    pub(super) fn token_port(
        &self,
        fresh: &Fresh,
        now: Timestamp,
    ) -> impl Fn(oauth2::HttpRequest) -> PortFuture + use<> {
        self.proving(fresh, now, 1)
    }

    /// The port for claims: with a proof, where the token is bound, and once more where a nonce is wanted.
    pub(super) fn userinfo_port(
        &self,
        fresh: &Fresh,
        now: Timestamp,
    ) -> impl Fn(oauth2::HttpRequest) -> PortFuture + use<> {
        self.proving(fresh, now, 2)
    }

    fn proving(
        &self,
        fresh: &Fresh,
        now: Timestamp,
        attempts: usize,
    ) -> impl Fn(oauth2::HttpRequest) -> PortFuture + use<> {
        let (http, fapi) = (Arc::clone(&self.http), self.settings.fapi);
        let prover = Arc::new(Prover {
            http: Arc::clone(&http),
            signer: Arc::clone(&self.signer),
            nonce: Arc::clone(&self.nonce),
            fresh: fresh.clone(),
            now,
        });
        move |request| {
            let (http, prover) = (Arc::clone(&http), Arc::clone(&prover));
            Box::pin(async move {
                if fapi { prover.send(request, attempts).await } else { answered(&*http, request).await }
            })
        }
    }
}

impl Prover {
    /// Sends a request with a proof, at most so many times.
    async fn send(&self, request: oauth2::HttpRequest, attempts: usize) -> Result<oauth2::HttpResponse, HttpError> {
        let mut response = self.once(request.clone(), 0).await?;
        for attempt in 1..attempts {
            let said = response.headers().get("www-authenticate").and_then(|said| said.to_str().ok());
            if !said.is_some_and(|said| said.contains(USE_NONCE)) {
                break;
            }
            response = self.once(request.clone(), attempt).await?;
        }
        Ok(response)
    }

    async fn once(&self, mut request: oauth2::HttpRequest, attempt: usize) -> Result<oauth2::HttpResponse, HttpError> {
        let unsent = |_| HttpError::Connect("a proof cannot be made".to_owned());
        let bearer = request.headers().get(AUTHORIZATION).and_then(|token| token.to_str().ok());
        let token = bearer.and_then(|token| token.strip_prefix("Bearer ")).map(str::to_owned);
        let proof = HeaderValue::from_str(&self.proof(&request, token.as_deref(), attempt)?).map_err(unsent)?;
        request.headers_mut().insert("dpop", proof);
        if let Some(token) = token {
            let bound = HeaderValue::from_str(&format!("DPoP {token}")).map_err(unsent)?;
            request.headers_mut().insert(AUTHORIZATION, bound);
        }
        let response = answered(&*self.http, request).await?;
        if let Some(nonce) = response.headers().get("dpop-nonce").and_then(|nonce| nonce.to_str().ok()) {
            *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(nonce.to_owned());
        }
        Ok(response)
    }

    fn proof(&self, request: &oauth2::HttpRequest, token: Option<&str>, attempt: usize) -> Result<String, HttpError> {
        // Without query and fragment (RFC 9449 section 4.2).
        let address = request.uri().to_string();
        let address = address.split(['?', '#']).next().unwrap_or_default();
        let nonce = self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let label = format!("dpop/{}/{attempt}/{}", request.method(), nonce.as_deref().unwrap_or_default());
        let claims = json!({
            "jti": self.fresh.token(&label).expose(), "htm": request.method().as_str(), "htu": address, "iat": self.now.0,
            "nonce": nonce, "ath": token.map(|token| base64url(&sha256(token.as_bytes()))),
        });
        let mut claims = claims.as_object().cloned().unwrap_or_default();
        claims.retain(|_, value| !value.is_null());
        self.signer.prove(&claims).map_err(|error| HttpError::Connect(error.to_string()))
    }
}
