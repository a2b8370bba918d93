//! The documents that ship with the product, compiled in so that they can never be missing.
//!
//! `@ORIGIN@`, `@APP@`, `@PORTAL@`, `@JWKS@` and `@SECRET@` stand for what only an operator can know.

/// What claims, purposes and grounds are called.
pub const VOCABULARY: &str = include_str!("../documents/vocabulary.toml");

include!(concat!(env!("OUT_DIR"), "/documents.rs"));
