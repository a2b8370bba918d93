//! Clients that act for themselves: rows of a service's document.

use gateway_core::document::Section;
use gateway_core::ids::ClientId;

/// A client that acts for itself (RFC 6749 section 4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackEnd {
    /// Which.
    pub client: ClientId,
    /// The scopes that it may have.
    pub scopes: Vec<String>,
}

pub(crate) fn read_back_end(row: &Section<'_>) -> Option<BackEnd> {
    let scopes: Vec<String> = row.list("scopes");
    let sound = |scope: &String| (1..=64).contains(&scope.len()) && scope.bytes().all(|b| b.is_ascii_graphic());
    if scopes.is_empty() || !scopes.iter().all(sound) || scopes.iter().any(|scope| scope == "openid") {
        row.refuse_field("scopes", "at least one is needed, of printable letters; openid is about a person");
    }
    Some(BackEnd { client: row.require("client")?, scopes })
}
