//! Entity statements (OpenID Federation 1.0 section 3) and trust marks (section 7), read from claims whose signature was
//! verified.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::policy::{OPERATORS, Policy};
use super::{Constraints, FederationError, Metadata};
use crate::ids::EntityId;
use crate::time::{SKEW, Timestamp};

/// What an entity says of itself, or a superior of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Who says it.
    pub iss: EntityId,
    /// Of whom.
    pub sub: EntityId,
    /// When it ends.
    pub exp: Timestamp,
    /// The keys of whom it is about, as a JWK Set.
    pub jwks: Value,
    /// The superiors of an entity that speaks of itself.
    pub authority_hints: Vec<EntityId>,
    /// Metadata by entity type.
    pub metadata: Metadata,
    /// What a superior says of metadata below, by entity type.
    pub policies: BTreeMap<String, Policy>,
    /// What a superior allows below.
    pub constraints: Constraints,
    /// Marks that an entity shows of itself.
    pub trust_marks: Vec<TrustMark>,
    /// Who may issue which mark, as an anchor says; nobody in the list stands for anybody.
    pub trust_mark_issuers: BTreeMap<String, Vec<EntityId>>,
    /// The types of marks that somebody owns who lets others issue them, as an anchor says.
    pub owned_trust_marks: BTreeSet<String>,
}

/// A mark that an entity shows: what kind it says that it is, and the mark itself, signed by its issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustMark {
    /// Its type.
    pub kind: String,
    /// A JWS.
    pub mark: String,
}

/// Claims that may not be in what an entity says of itself, and those that may not be in what others say of it (section 3).
const OF_SUPERIORS: [&str; 4] = ["metadata_policy", "metadata_policy_crit", "constraints", "source_endpoint"];
const OF_ONESELF: [&str; 4] = ["authority_hints", "trust_anchor_hints", "trust_mark_issuers", "trust_mark_owners"];
/// The most of anything that is listed.
const MOST: usize = 64;

impl Statement {
    /// Reads a statement.
    ///
    /// # Errors
    /// What is missing, of the wrong form, over, or critical and not known here.
    pub fn read(claims: &Map<String, Value>, now: Timestamp) -> Result<Self, FederationError> {
        let name = |claim| claims.get(claim).and_then(Value::as_str).unwrap_or("?");
        let about = format!("what {} says of {}", name("iss"), name("sub"));
        read(claims, now).map_err(|why| FederationError(format!("{about}: {why}")))
    }

    /// Whether an entity speaks of itself.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.iss == self.sub
    }

    /// An address of its metadata as a federation entity.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Option<&str> {
        self.metadata.get(super::FEDERATION_ENTITY)?.get(name)?.as_str()
    }
}

fn read(claims: &Map<String, Value>, now: Timestamp) -> Result<Statement, &'static str> {
    let (iss, sub) = (entity(claims, "iss")?, entity(claims, "sub")?);
    let foreign: &[&str] = if iss == sub { &OF_SUPERIORS } else { &OF_ONESELF };
    if foreign.iter().any(|claim| claims.contains_key(*claim)) {
        return Err("has a claim that is not for this kind of statement");
    }
    // Section 3.1.2: what is critical and not known makes it void. We know no claim beyond those of the standard.
    if claims.get("crit").is_some_and(|crit| crit.as_array().is_none_or(|claims| !claims.is_empty())) {
        return Err("says that something is critical that is not known here");
    }
    let known = |operator: &Value| operator.as_str().is_some_and(|operator| OPERATORS.contains(&operator));
    let critical = claims.get("metadata_policy_crit");
    if critical.is_some_and(|critical| !critical.as_array().is_some_and(|operators| operators.iter().all(known))) {
        return Err("has a critical policy operator that is not known here");
    }
    let exp = times(claims, now)?;
    let jwks = claims.get("jwks").filter(|jwks| jwks.get("keys").is_some_and(Value::is_array));
    let mut policies = BTreeMap::new();
    for (entity_type, said) in object(claims, "metadata_policy")? {
        let said = said.as_object().ok_or("metadata_policy is of the wrong form")?;
        let policy = Policy::read(said).map_err(|_| "has a metadata policy that contradicts itself")?;
        policies.insert(entity_type, policy);
    }
    let mut metadata = Metadata::new();
    for (entity_type, said) in object(claims, "metadata")? {
        let Value::Object(said) = said else { return Err("metadata is of the wrong form") };
        metadata.insert(entity_type, said);
    }
    Ok(Statement {
        iss,
        sub,
        exp,
        jwks: jwks.ok_or("jwks is missing")?.clone(),
        authority_hints: entities(claims.get("authority_hints"))?,
        metadata,
        policies,
        constraints: Constraints::read(&object(claims, "constraints")?).ok_or("constraints are of the wrong form")?,
        trust_marks: marks(claims)?,
        trust_mark_issuers: issuers(claims)?,
        owned_trust_marks: object(claims, "trust_mark_owners")?.into_iter().map(|(kind, _)| kind).collect(),
    })
}

/// Until when claims hold that are not over.
fn times(claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, &'static str> {
    let time = |name| claims.get(name).and_then(Value::as_u64).map(Timestamp);
    let (iat, exp) = (time("iat").ok_or("iat is missing")?, time("exp").ok_or("exp is missing")?);
    if exp.plus(SKEW).is_past(now) {
        return Err("is over");
    }
    if iat > now.plus(SKEW) {
        return Err("is from the future");
    }
    Ok(exp)
}

fn object(claims: &Map<String, Value>, name: &str) -> Result<Map<String, Value>, &'static str> {
    match claims.get(name) {
        None => Ok(Map::new()),
        Some(Value::Object(members)) if members.len() <= MOST => Ok(members.clone()),
        Some(_) => Err("a claim is not an object of a sensible size"),
    }
}

fn entity(claims: &Map<String, Value>, name: &str) -> Result<EntityId, &'static str> {
    let text = claims.get(name).and_then(Value::as_str).ok_or("iss or sub is missing")?;
    text.parse().map_err(|_| "iss or sub is not an entity identifier")
}

fn entities(list: Option<&Value>) -> Result<Vec<EntityId>, &'static str> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let listed = list.as_array().filter(|listed| listed.len() <= MOST).ok_or("a list of entities is none")?;
    let mut read: Vec<EntityId> = Vec::new();
    for entity in listed {
        let entity = entity.as_str().and_then(|entity| entity.parse().ok()).ok_or("a list names what is no entity")?;
        // Whoever is named twice is asked once.
        if !read.contains(&entity) {
            read.push(entity);
        }
    }
    Ok(read)
}

fn marks(claims: &Map<String, Value>) -> Result<Vec<TrustMark>, &'static str> {
    let Some(listed) = claims.get("trust_marks") else { return Ok(Vec::new()) };
    let listed = listed.as_array().filter(|listed| listed.len() <= MOST).ok_or("trust_marks is no list")?;
    let text = |mark: &Value, name: &str| mark.get(name).and_then(Value::as_str).map(str::to_owned);
    let read = listed
        .iter()
        .map(|mark| Some(TrustMark { kind: text(mark, "trust_mark_type")?, mark: text(mark, "trust_mark")? }));
    read.collect::<Option<_>>().ok_or("trust_marks is of the wrong form")
}

fn issuers(claims: &Map<String, Value>) -> Result<BTreeMap<String, Vec<EntityId>>, &'static str> {
    let said = object(claims, "trust_mark_issuers")?;
    said.into_iter().map(|(kind, issuers)| Ok((kind, entities(Some(&issuers))?))).collect()
}

/// What a verified trust mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustMarkClaims {
    /// Who issued it.
    pub iss: EntityId,
    /// Whose it is.
    pub sub: EntityId,
    /// Its type.
    pub kind: String,
    /// When it ends, if it does.
    pub exp: Option<Timestamp>,
}

impl TrustMarkClaims {
    /// Reads the claims of a mark.
    ///
    /// # Errors
    /// What is missing, of the wrong form, or over.
    pub fn read(claims: &Map<String, Value>, now: Timestamp) -> Result<Self, FederationError> {
        let refuse = |why: &str| FederationError(format!("a trust mark: {why}"));
        let (iss, sub) = (entity(claims, "iss").map_err(refuse)?, entity(claims, "sub").map_err(refuse)?);
        let kind = claims.get("trust_mark_type").and_then(Value::as_str).ok_or_else(|| refuse("has no type"))?;
        let exp = claims.get("exp").map(|exp| exp.as_u64().map(Timestamp).ok_or_else(|| refuse("exp is no time")));
        let (exp, iat) = (exp.transpose()?, claims.get("iat").and_then(Value::as_u64).map(Timestamp));
        if exp.is_some_and(|exp| exp.plus(SKEW).is_past(now)) {
            return Err(refuse("is over"));
        }
        if iat.is_none_or(|iat| iat > now.plus(SKEW)) {
            return Err(refuse("is from the future, or does not say from when"));
        }
        // An owner's delegation would have to be verified too: marks that need one are not believed (section 7.2).
        if claims.contains_key("delegation") {
            return Err(refuse("is delegated"));
        }
        Ok(Self { iss, sub, kind: kind.to_owned(), exp })
    }
}
