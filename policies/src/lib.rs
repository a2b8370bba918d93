//! Trust policy: which provider may serve which service, how surely, and which claims go out for which purpose.
//!
//! One TOML document a service ([`service`]) compiles to Cedar ([`rules`]). The semantics, in prose:
//!
//! * **Deny by default.** Without an `allow` row that holds, nobody signs in.
//! * **Forbid wins.** A `forbid` row that holds refuses whatever the `allow` rows say.
//! * **An error never permits.** When any rule cannot be evaluated, the answer is a refusal.
//! * **What the client asks for only narrows**: an essential `acr` or a `max_age` that is not met refuses as well.
//! * **Released is a subset of permitted**: a claim goes out only if its row is in the service's document and the
//!   client asked for it ([`release`]); across a border only what a legal instrument covers.
//!
//! [`decide`] is the one decision function; a [`decide::Permit`] comes from nowhere else. Pure: no clock, no files.

mod back_end;
pub mod case;
pub mod choose;
mod classes;
pub mod condition;
mod consistent;
pub mod decide;
pub mod detail;
pub mod diff;
pub mod documents;
pub mod explain;
pub mod expression;
mod functions;
pub mod instrument;
mod limits;
pub mod provider;
mod raw;
pub mod release;
mod release_row;
pub mod replay;
pub mod retire;
pub mod rules;
pub mod service;
pub mod set;
mod stands;
mod token_format;
pub mod vocabulary;

pub use decide::{Facts, Permit, Refusal};
pub use provider::Provider;
pub use service::Service;
pub use set::PolicySet;
