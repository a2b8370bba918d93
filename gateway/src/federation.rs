//! Documents about federations (OpenID Federation 1.0): whom we believe at the top of each, and whom we vouch for ourselves.

use std::sync::Arc;

use adapters::federation::Anchor;
use certs::key::KeySet;
use gateway_core::digest::sha256;
use gateway_core::document::{Problems, Section, Source};
use gateway_core::federation::Statement;
use gateway_core::ids::{EntityId, ProviderId, base64url};
use gateway_core::jurisdiction::Jurisdiction;
use gateway_core::time::Timestamp;
use serde_json::{Map, Value, json};
use url::Url;

/// A federation that portals and providers may belong to.
#[derive(Debug, Clone)]
pub struct Federation {
    /// Its name in other documents.
    pub id: ProviderId,
    /// Whom we believe.
    pub anchor: Anchor,
    /// The jurisdictions whose portals and providers it may speak for.
    pub jurisdictions: Vec<Jurisdiction>,
    /// Our own superiors in it, where we belong to it ourselves.
    pub superiors: Vec<EntityId>,
}

impl Federation {
    /// Reads a federation's document.
    ///
    /// # Errors
    /// Every problem in it.
    pub fn from_document(file: &str, text: &str) -> Result<Self, Problems> {
        Source::new(file, text).read(|doc| {
            let (id, entity) = (doc.require("federation"), doc.require::<EntityId>("anchor"));
            let (keys, origins) = (read_keys(doc), read_origins(doc));
            let (superiors, jurisdictions) = (doc.list("superiors"), doc.list("jurisdictions"));
            if jurisdictions.is_empty() {
                doc.refuse_field("jurisdictions", "at least one is needed: whose entities the anchor speaks for");
            }
            let keys = keys?;
            let basis = format!("{}\n{}\n{}", entity.as_ref()?, keys.0, origins.join(" "));
            let version = base64url(&sha256(basis.as_bytes()));
            let anchor = Anchor { entity: entity?, keys: Arc::new(keys.1), origins, version };
            if !anchor.may_call(anchor.entity.as_str()) {
                doc.refuse_field("origins", "the anchor's own is missing");
            }
            Some(Self { id: id?, anchor, jurisdictions, superiors })
        })
    }
}

fn read_keys(doc: &Section<'_>) -> Option<(Value, KeySet)> {
    let text = doc.require::<String>("jwks")?;
    let read = serde_json::from_str(&text).ok().zip(KeySet::parse(text.as_bytes()).ok());
    if read.as_ref().is_none_or(|(_, keys): &(Value, KeySet)| keys.is_empty()) {
        doc.refuse_field("jwks", "holds no key that can verify a signature");
    }
    read
}

fn read_origins(doc: &Section<'_>) -> Vec<String> {
    let origins: Vec<Url> = doc.list("origins");
    let written = |url: &Url| url.scheme() == "https" && url.path() == "/" && url.query().is_none();
    if origins.is_empty() || !origins.iter().all(written) {
        doc.refuse_field("origins", "the https origins of everybody in it are needed: nothing else is ever called");
    }
    origins.iter().map(|url| url.origin().ascii_serialization()).collect()
}

/// An entity that we vouch for.
#[derive(Debug, Clone)]
pub struct Subordinate {
    /// Which.
    pub entity: EntityId,
    /// What it is, for those who list.
    pub entity_types: Vec<String>,
    /// What we say of it, but for issuer and times (section 3.1.3).
    said: Map<String, Value>,
}

impl Subordinate {
    /// Reads a subordinate's document.
    ///
    /// # Errors
    /// Every problem in it.
    pub fn from_document(file: &str, text: &str) -> Result<Self, Problems> {
        Source::new(file, text).read(|doc| {
            let entity = doc.require::<EntityId>("entity");
            let entity_types: Vec<String> = doc.list("entity_types");
            if entity_types.is_empty() {
                doc.refuse_field("entity_types", "at least one is needed, such as openid_relying_party");
            }
            let keys = read_keys(doc);
            let mut said = Map::new();
            for name in ["metadata", "metadata_policy", "constraints"] {
                let Some(text) = doc.optional::<String>(name) else { continue };
                match serde_json::from_str::<Map<String, Value>>(&text) {
                    Ok(object) => drop(said.insert(name.to_owned(), object.into())),
                    Err(error) => doc.refuse(format_args!("{name}: is no JSON object: {error}")),
                }
            }
            let entity = entity?;
            said.extend([("sub".to_owned(), entity.as_str().into()), ("jwks".to_owned(), keys?.0)]);
            let subordinate = Self { entity, entity_types, said };
            // What nobody else could read is said here and not to those who ask.
            let draft = subordinate.statement("https://gateway.invalid", Timestamp(0), Timestamp(1));
            if let Err(error) = Statement::read(&draft, Timestamp(0)) {
                doc.refuse(error);
            }
            Some(subordinate)
        })
    }

    /// What `issuer` says of it.
    #[must_use]
    pub fn statement(&self, issuer: &str, now: Timestamp, until: Timestamp) -> Map<String, Value> {
        let mut said = self.said.clone();
        said.extend([
            ("iss".to_owned(), issuer.into()),
            ("iat".to_owned(), json!(now)),
            ("exp".to_owned(), json!(until)),
        ]);
        said
    }
}
