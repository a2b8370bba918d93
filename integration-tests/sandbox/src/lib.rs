//! Simulated identity providers and portals for demonstrations and tests.
//!
//! Everything here is written **without** the gateway's protocol code, so that a login in the
//! sandbox is a meeting of two independent implementations: a mistake in one cannot hide in the
//! other. The providers can misbehave on request (see [`provider::Misbehaviour`]), because a gateway
//! is judged by what it refuses. No person, number or key in this crate is real.

pub mod clock;
pub mod demo;
mod entropy;
pub mod guangdong;
pub mod iam_smart;
mod jose;
pub mod macao;
pub mod people;
pub mod portal;
pub mod provider;
mod sync;
mod table;
mod web;

use thiserror::Error;

/// Why a simulator could not be built or could not do a piece of work of its own.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// A key could not be made, read or used.
    #[error("key or signature: {0}")]
    Jose(#[from] josekit::JoseError),
    /// An embedded catalogue of people is not readable.
    #[error("people catalogue: {0}")]
    People(#[from] toml::de::Error),
    /// The operating system gave no random bytes.
    #[error("no random bytes available")]
    Entropy,
}
