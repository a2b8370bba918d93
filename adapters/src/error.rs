//! What can go wrong at a provider, and whose fault it is.

use gateway_core::error::Failure;

use crate::http::HttpError;
use crate::shared::SharedError;

/// Why a login at a provider failed. The text is for the operator's log: it names no value that the provider sent.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The person, or the provider for them, said no.
    #[error("the person cancelled")]
    Denied,
    /// It cannot be reached, or not in time.
    #[error("unavailable: {0}")]
    Unavailable(HttpError),
    /// It answered something that must not be believed.
    #[error("misbehaved: {0}")]
    Misbehaved(String),
    /// It says that it failed.
    #[error("failed: {0}")]
    Failed(String),
    /// It refused our request: a matter for the operator.
    #[error("refused: {0}")]
    Refused(String),
    /// It could not sign the person in as surely or as freshly as we asked.
    #[error("the demanded assurance was not met")]
    Unmet,
    /// The person did not answer the provider's question in time.
    #[error("the person did not answer in time")]
    TimedOut,
    /// The nodes of the gateway cannot agree on what to send.
    #[error(transparent)]
    Shared(#[from] SharedError),
    /// The provider has no such thing.
    #[error("this provider has no such thing")]
    Unsupported,
}

impl From<HttpError> for UpstreamError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Unusable(why) => Self::Misbehaved(why.to_owned()),
            error => Self::Unavailable(error),
        }
    }
}

impl UpstreamError {
    /// How this is told to the person and the client.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Denied => Failure::Cancelled,
            Self::Unavailable(HttpError::Overloaded) => Failure::Busy,
            Self::Unavailable(_) | Self::Failed(_) => Failure::ProviderUnavailable,
            Self::Misbehaved(_) => Failure::ProviderMisbehaved,
            Self::Refused(_) => Failure::ProviderRefused,
            Self::Unmet => Failure::AssuranceTooLow,
            Self::TimedOut => Failure::NotApproved,
            Self::Shared(_) => Failure::Internal,
            Self::Unsupported => Failure::WrongStep,
        }
    }

    /// A `Misbehaved` with its reason.
    pub(crate) fn misbehaved(reason: impl Into<String>) -> Self {
        Self::Misbehaved(reason.into())
    }
}
