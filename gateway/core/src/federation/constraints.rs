//! What a superior allows below the one that it speaks of (OpenID Federation 1.0 section 6.2).

use serde_json::{Map, Value};

use super::FEDERATION_ENTITY;
use crate::ids::EntityId;

/// The limits of one statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints {
    max_path_length: Option<u64>,
    permitted: Option<Vec<String>>,
    excluded: Vec<String>,
    allowed_entity_types: Option<Vec<String>>,
}

impl Constraints {
    /// Reads the claim `constraints`; nothing, when it is not of its form.
    pub(super) fn read(said: &Map<String, Value>) -> Option<Self> {
        let texts = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_ascii_lowercase)).collect()
        };
        let list =
            |of: &Map<String, Value>, name: &str| of.get(name).map_or(Some(None), |value| texts(value).map(Some));
        let names = said.get("naming_constraints").map_or(Some(Map::new()), |names| names.as_object().cloned())?;
        Some(Self {
            max_path_length: said.get("max_path_length").map_or(Some(None), |length| length.as_u64().map(Some))?,
            permitted: list(&names, "permitted")?,
            excluded: list(&names, "excluded")?.unwrap_or_default(),
            allowed_entity_types: list(said, "allowed_entity_types")?,
        })
    }

    /// Whether so many may stand between its issuer and the entity, and whoever is below may have these names.
    pub(super) fn check<'e>(
        &self,
        between: usize,
        mut below: impl Iterator<Item = &'e EntityId>,
    ) -> Result<(), &'static str> {
        if self.max_path_length.is_some_and(|most| u64::try_from(between).is_ok_and(|between| between > most)) {
            return Err("is longer than a superior allows");
        }
        if below.any(|entity| !self.allows_name(&entity.host())) {
            return Err("has a name that a superior does not allow");
        }
        Ok(())
    }

    /// RFC 5280 section 4.2.1.10: a name that begins with a dot stands for every host below it, any other for itself.
    fn allows_name(&self, host: &str) -> bool {
        let fits = |name: &String| if name.starts_with('.') { host.ends_with(name.as_str()) } else { host == name };
        self.permitted.as_ref().is_none_or(|permitted| permitted.iter().any(fits)) && !self.excluded.iter().any(fits)
    }

    /// Whether entities below may be of this type.
    pub(super) fn allows_type(&self, entity_type: &str) -> bool {
        let listed = |types: &Vec<String>| types.iter().any(|allowed| allowed == entity_type);
        entity_type == FEDERATION_ENTITY || self.allowed_entity_types.as_ref().is_none_or(listed)
    }
}
