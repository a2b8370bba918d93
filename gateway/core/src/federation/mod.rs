//! OpenID Federation 1.0: what entities say of themselves, what their superiors say of them, and what follows for somebody
//! who believes the one at the top. Signatures were verified before anything comes here.

mod constraints;
mod policy;
mod statement;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use self::constraints::Constraints;
pub use self::policy::Policy;
pub use self::statement::{Statement, TrustMark, TrustMarkClaims};
use crate::ids::EntityId;
use crate::time::Timestamp;

/// The `typ` of statements (section 3).
pub const STATEMENT_TYPE: &str = "entity-statement+jwt";
/// The `typ` of trust marks (section 7).
pub const TRUST_MARK_TYPE: &str = "trust-mark+jwt";
/// The `typ` of what a resolver says (section 8.3).
pub const RESOLVED_TYPE: &str = "resolve-response+jwt";
/// The entity type of providers.
pub const PROVIDER: &str = "openid_provider";
/// The entity type of relying parties.
pub const RELYING_PARTY: &str = "openid_relying_party";
/// The entity type of whoever has superiors or subordinates.
pub const FEDERATION_ENTITY: &str = "federation_entity";
/// The most statements of a chain: more than this is no federation that anybody runs.
pub const LONGEST_CHAIN: usize = 8;

/// Why somebody is not believed, in words for the log and for a developer. It names entities and parameters, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FederationError(pub String);

/// A chain of statements from an entity up to one that is believed (section 4), with the proof that it holds together.
#[derive(Debug, Clone, PartialEq)]
pub struct TrustChain {
    /// What the entity says of itself.
    leaf: Statement,
    /// What each superior says of the one below, from the entity up; none where the entity is the anchor itself.
    superiors: Vec<Statement>,
    /// What the anchor says of itself.
    anchor: Statement,
}

impl TrustChain {
    /// Puts a chain together, and checks that it is one (section 10.2).
    ///
    /// # Errors
    /// What does not fit.
    pub fn new(leaf: Statement, superiors: Vec<Statement>, anchor: Statement) -> Result<Self, FederationError> {
        let refuse = |why: &str| FederationError(format!("the chain of {}: {why}", leaf.sub));
        if superiors.len() > LONGEST_CHAIN {
            return Err(refuse("is too long"));
        }
        if !leaf.is_own() || !anchor.is_own() || superiors.iter().any(Statement::is_own) {
            return Err(refuse("is not one of an entity, its superiors and their anchor"));
        }
        let subjects: Vec<&EntityId> = superiors.iter().map(|statement| &statement.sub).chain([&anchor.sub]).collect();
        if subjects.iter().enumerate().any(|(at, subject)| subjects.iter().skip(at + 1).any(|other| other == subject)) {
            return Err(refuse("goes in a circle"));
        }
        let issuers = superiors.iter().map(|statement| &statement.iss);
        let linked = subjects.first() == Some(&&leaf.sub) && issuers.eq(subjects.iter().skip(1).copied());
        if !linked {
            return Err(refuse("has a gap"));
        }
        if superiors.first().is_some_and(|superior| !leaf.authority_hints.contains(&superior.iss)) {
            return Err(refuse("leads by a superior that the entity does not name"));
        }
        for (below, statement) in superiors.iter().enumerate() {
            let ruled = subjects.iter().take(below + 1).copied();
            statement.constraints.check(below, ruled).map_err(refuse)?;
        }
        Ok(Self { leaf, superiors, anchor })
    }

    /// Whom it is about.
    #[must_use]
    pub fn entity(&self) -> &EntityId {
        &self.leaf.sub
    }

    /// What the entity says of itself.
    #[must_use]
    pub fn leaf(&self) -> &Statement {
        &self.leaf
    }

    /// What the anchor says of itself.
    #[must_use]
    pub fn anchor(&self) -> &Statement {
        &self.anchor
    }

    /// Until when it holds (section 10.4).
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        let above = self.superiors.iter().map(|statement| statement.exp);
        above.chain([self.anchor.exp]).fold(self.leaf.exp, Ord::min)
    }

    /// The keys of the entity, as its superior knows them.
    #[must_use]
    pub fn keys(&self) -> &Value {
        self.superiors.first().map_or(&self.anchor.jwks, |superior| &superior.jwks)
    }

    /// The metadata of the entity, as everybody above it leaves it (section 6.1.4).
    ///
    /// # Errors
    /// It has none of this type, may have none, or what it has is not what its superiors ask for.
    pub fn metadata(&self, entity_type: &str) -> Result<Map<String, Value>, FederationError> {
        let refuse = |why: &str| FederationError(format!("{} {why} {entity_type}", self.leaf.sub));
        let mut metadata = self.leaf.metadata.get(entity_type).cloned().ok_or_else(|| refuse("is no"))?;
        if !self.superiors.iter().all(|superior| superior.constraints.allows_type(entity_type)) {
            return Err(refuse("may not be an"));
        }
        let said = self.superiors.first().and_then(|superior| superior.metadata.get(entity_type));
        let policy = self.policy(entity_type)?;
        // What a superior says of a name it says of the name in every language, unless it says otherwise.
        let ruled = |name: &str| policy.names(name) || said.is_some_and(|said| said.contains_key(name));
        metadata.retain(|name, _| match name.split_once('#') {
            Some((base, _)) => ruled(name) || !ruled(base),
            None => true,
        });
        metadata.extend(said.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        // Nothing is what null says, before anybody asks whether something is there.
        metadata.retain(|_, value| !value.is_null());
        policy.apply(&mut metadata)?;
        Ok(metadata)
    }

    /// What everybody above says of metadata of this type, the anchor first.
    fn policy(&self, entity_type: &str) -> Result<Policy, FederationError> {
        let mut said = self.superiors.iter().rev().filter_map(|superior| superior.policies.get(entity_type));
        said.try_fold(Policy::default(), Policy::merge)
    }
}

/// Metadata by entity type.
pub type Metadata = BTreeMap<String, Map<String, Value>>;

#[cfg(test)]
mod tests;
