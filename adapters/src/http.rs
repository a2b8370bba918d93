//! The HTTP port: the only way out for an adapter.

use async_trait::async_trait;

/// Why a request got no usable answer. No variant holds anything the peer sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The host is not one that the configuration names.
    #[error("the host {0} is not configured")]
    Forbidden(String),
    /// No connection, or it broke.
    #[error("no connection: {0}")]
    Connect(String),
    /// The certificate cannot be verified.
    #[error("the certificate cannot be verified: {0}")]
    Certificate(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer is larger than the limit.
    #[error("the answer is too large")]
    TooLarge,
    /// The answer has a status that promises no content.
    #[error("status {0}")]
    Status(u16),
    /// This gateway has too much to do: that there was no answer in time says nothing about the peer.
    #[error("this gateway is overloaded")]
    Overloaded,
    /// The peer answered, and the answer failed our checks; this is the check that failed.
    #[error("the answer fails a check: {0}")]
    Unusable(&'static str),
}

/// Sends requests to configured hosts. An implementation limits time and size, checks certificates and addresses,
/// follows no redirect, and reuses connections.
#[async_trait]
pub trait Http: Send + Sync {
    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// [`HttpError`] when there is no answer; an answer with an error status is an answer.
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError>;
}
