//! What entities of a federation say of themselves and of each other.

use gateway_core::federation::{PROVIDER, RELYING_PARTY, Statement, TrustChain, TrustMarkClaims};
use gateway_core::time::Timestamp;
use serde_json::{Map, Value};

const NOW: Timestamp = Timestamp(super::tokens::NOW);

/// Statements from an entity up to its anchor, as a JSON array of claims: what they come to does not depend on how often it is looked
/// at, lasts no longer than any of them, and is about the one who was asked for.
pub fn federation(data: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<Vec<Map<String, Value>>>(data) else { return };
    for claims in &claims {
        let _ = TrustMarkClaims::read(claims, NOW);
    }
    let read: Result<Vec<Statement>, _> = claims.iter().map(|claims| Statement::read(claims, NOW)).collect();
    let Ok(mut statements) = read else { return };
    let (Some(anchor), false) = (statements.pop(), statements.is_empty()) else { return };
    let leaf = statements.remove(0);
    let Ok(chain) = TrustChain::new(leaf.clone(), statements.clone(), anchor.clone()) else { return };
    assert_eq!(chain.entity(), &leaf.sub);
    assert!(statements.iter().chain([&leaf, &anchor]).all(|statement| chain.expires_at() <= statement.exp));
    for kind in [RELYING_PARTY, PROVIDER] {
        let Ok(metadata) = chain.metadata(kind) else { continue };
        assert!(metadata.values().all(|value| !value.is_null()));
        // Whoever says of themselves what their superiors leave is left all of it.
        let mut leaf = leaf.clone();
        leaf.metadata.insert(kind.to_owned(), metadata.clone());
        let again = TrustChain::new(leaf, statements.clone(), anchor.clone()).and_then(|chain| chain.metadata(kind));
        assert_eq!(again.ok(), Some(metadata), "looked at again it is something else");
    }
}
