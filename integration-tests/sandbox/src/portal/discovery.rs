//! What the portal knows of its issuer: metadata and keys, fetched once and kept.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Failure, Shared};

/// The parts of a discovery document that the portal uses.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) userinfo_endpoint: Option<String>,
    pub(super) jwks_uri: String,
    pub(super) device_authorization_endpoint: Option<String>,
    pub(super) backchannel_authentication_endpoint: Option<String>,
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

/// What was fetched so far.
#[derive(Default)]
pub(super) struct Cache {
    metadata: Mutex<Option<Arc<Metadata>>>,
    jwks: Mutex<Option<Arc<Value>>>,
}

impl Shared {
    /// The issuer's metadata, whose `issuer` must be the configured one.
    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, Failure> {
        if let Some(metadata) = read(&self.provider.metadata) {
            return Ok(metadata);
        }
        let url = format!("{}/.well-known/openid-configuration", self.config.issuer);
        let metadata: Metadata = self.get_json(&url).await?;
        if metadata.issuer != self.config.issuer {
            return Err(Failure::new("discovery", "wrong_issuer", format!("{url} speaks for {}", metadata.issuer)));
        }
        Ok(store(&self.provider.metadata, metadata))
    }

    /// The issuer's key set; `fresh` fetches it even when one is known.
    pub(super) async fn jwks(&self, fresh: bool) -> Result<Arc<Value>, Failure> {
        match read(&self.provider.jwks) {
            Some(jwks) if !fresh => Ok(jwks),
            _ => {
                let url = self.metadata().await?.jwks_uri.clone();
                let jwks: Value = self.get_json(&url).await?;
                Ok(store(&self.provider.jwks, jwks))
            }
        }
    }

    async fn get_json<T: DeserializeOwned>(&self, url: &str) -> Result<T, Failure> {
        let accept = [(header::ACCEPT, "application/json".to_owned())];
        let answer = self.config.http.send(Method::GET, url, &accept, String::new()).await?;
        if answer.status != StatusCode::OK {
            return Err(Failure::new("discovery", "bad_status", format!("{url} answered {}", answer.status)));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| Failure::new("discovery", "bad_document", format!("{url}: {error}")))
    }
}

fn read<T>(cell: &Mutex<Option<Arc<T>>>) -> Option<Arc<T>> {
    cell.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn store<T>(cell: &Mutex<Option<Arc<T>>>, value: T) -> Arc<T> {
    let value = Arc::new(value);
    *cell.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&value));
    value
}
