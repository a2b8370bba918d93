//! The documents that ship with the product, compiled in so that they can never be missing.
//!
//! `@ORIGIN@`, `@APP@`, `@PORTAL@`, `@JWKS@` and `@SECRET@` stand for what only an operator can know.

/// What claims, purposes and grounds are called.
pub const VOCABULARY: &str = include_str!("../documents/vocabulary/programme.toml");

include!(concat!(env!("OUT_DIR"), "/documents.rs"));

/// The documents that are the same wherever the product runs, each with its path in a bundle.
pub fn common() -> impl Iterator<Item = (String, &'static str)> {
    [
        ("services", SERVICES),
        ("groups", GROUPS),
        ("instruments", INSTRUMENTS),
        ("vocabulary", &[("vocabulary.toml", VOCABULARY)]),
    ]
    .into_iter()
    .flat_map(|(kind, documents)| documents.iter().map(move |(name, text)| (format!("{kind}/{name}"), *text)))
}
