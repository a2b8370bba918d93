//! What the adapters of all nodes have to agree on.

use async_trait::async_trait;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;

/// The nodes cannot agree now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shared state: {0}")]
pub struct SharedError(pub String);

/// State that every node of a gateway sees.
#[async_trait]
pub trait Shared: Send + Sync {
    /// A time stamp for a request that is sent at once, in milliseconds since 1970: never smaller than one that a request
    /// of the same series carries that may still be on its way, from any node, through restarts and clocks set back.
    /// Requests close in time carry the same stamp. After one was `refused` for its age, the next is greater than it.
    ///
    /// # Errors
    /// [`SharedError`].
    async fn stamp(&self, series: &str, refused: Option<u64>) -> Result<u64, SharedError>;

    /// A value that some node kept under `name`.
    ///
    /// # Errors
    /// [`SharedError`].
    async fn load(&self, name: &str, now: Timestamp) -> Result<Option<Secret<String>>, SharedError>;

    /// Keeps a value under `name`, sealed, for every node.
    ///
    /// # Errors
    /// [`SharedError`].
    async fn keep(
        &self,
        name: &str,
        value: &Secret<String>,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), SharedError>;
}
