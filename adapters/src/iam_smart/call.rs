//! One signed POST: the only way in which anything is said to iAM Smart.

use std::sync::Arc;

use gateway_core::secret::Secret;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::code::{Code, SUCCESS};
use super::wire::{self, SIGNATURE_METHOD};
use crate::error::UpstreamError;
use crate::http::Http;
use crate::shared::Shared;
use crate::{Fresh, answer};

/// The envelope of every answer. `content` is sealed, except where the answer brings the key itself.
#[derive(Deserialize)]
struct Envelope {
    code: String,
    #[serde(rename = "txID")]
    tx_id: Option<String>,
    #[serde(default)]
    content: Value,
}

/// What came of a call.
pub(super) enum Attempt {
    /// The content of a success.
    Done(Value),
    /// The provider's code.
    Refused(Code),
}

impl Attempt {
    /// The content, or the code as an error.
    pub(super) fn accepted(self) -> Result<Value, UpstreamError> {
        match self {
            Self::Done(content) => Ok(content),
            Self::Refused(code) => Err(code.error()),
        }
    }
}

/// The interface, as one client identifier calls it.
pub(super) struct Api {
    base: Url,
    client_id: String,
    secret: Secret<String>,
    http: Arc<dyn Http>,
    shared: Arc<dyn Shared>,
}

impl Api {
    /// The interface below `base`.
    pub(super) fn new(
        base: Url,
        client_id: String,
        secret: Secret<String>,
        http: Arc<dyn Http>,
        shared: Arc<dyn Shared>,
    ) -> Self {
        Self { base, client_id, secret, http, shared }
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) fn shared(&self) -> &dyn Shared {
        self.shared.as_ref()
    }

    /// A call without a body, as those for keys are. A stamp that was overtaken on the way is made anew, once.
    pub(super) async fn post_empty(&self, path: &str, fresh: &Fresh, label: &str) -> Result<Attempt, UpstreamError> {
        self.post(path, Vec::new(), fresh, label).await
    }

    /// A signed call with exactly these bytes.
    pub(super) async fn post(
        &self,
        path: &str,
        body: Vec<u8>,
        fresh: &Fresh,
        label: &str,
    ) -> Result<Attempt, UpstreamError> {
        let series = format!("iam-smart/{}", self.client_id);
        let stamp = self.shared.stamp(&series, None).await?;
        let first = self.send(path, body.clone(), stamp, fresh, label).await?;
        match first {
            Attempt::Refused(code) if code.is_stale_stamp() => {
                tracing::warn!(client = self.client_id, path, "a time stamp was overtaken on its way");
                // This node's clock may be behind another's: the same stamp would be refused again.
                let stamp = self.shared.stamp(&series, Some(stamp)).await?;
                self.send(path, body, stamp, fresh, &format!("{label}/again")).await
            }
            _ => Ok(first),
        }
    }

    async fn send(
        &self,
        path: &str,
        body: Vec<u8>,
        stamp: u64,
        fresh: &Fresh,
        label: &str,
    ) -> Result<Attempt, UpstreamError> {
        let url = self.base.join(path).map_err(|_| UpstreamError::Refused(format!("{path} is no path")))?;
        let nonce = fresh.bytes::<16>(&format!("nonce/{label}"));
        let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        let timestamp = stamp.to_string();
        let signature = wire::signature(&self.client_id, self.secret.expose(), &timestamp, &nonce, &body);
        let request = http::Request::post(url.as_str())
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .header("clientID", &self.client_id)
            .header("signatureMethod", SIGNATURE_METHOD)
            .header("timestamp", timestamp)
            .header("nonce", nonce)
            .header("signature", signature)
            .body(body)
            .map_err(|error| UpstreamError::Refused(error.to_string()))?;
        let envelope: Envelope = answer::json(&self.http.send(request).await?)?;
        tracing::debug!(path, code = %printable(&envelope.code), tx = %printable(envelope.tx_id.as_deref().unwrap_or("-")), "iAM Smart");
        if envelope.code == SUCCESS {
            return Ok(Attempt::Done(envelope.content));
        }
        let code = Code::parse(&envelope.code);
        code.map(Attempt::Refused).ok_or_else(|| UpstreamError::misbehaved("the answer has no known form of code"))
    }
}

/// A code or transaction number of the peer, if it has the shape of one: nothing else of theirs is logged.
fn printable(text: &str) -> &str {
    let shaped = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if shaped { text } else { "?" }
}
