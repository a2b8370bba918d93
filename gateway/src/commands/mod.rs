//! Commands with more to them than a few lines.

pub(crate) mod policy;
