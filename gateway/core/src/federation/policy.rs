//! Metadata policies (OpenID Federation 1.0 section 6.1): what superiors say of the metadata of everybody below them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::FederationError;

/// What is said of the parameters of one entity type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy(BTreeMap<String, Operators>);

/// What is said of one parameter.
#[derive(Debug, Clone, Default, PartialEq)]
struct Operators {
    /// It is this; null takes it away.
    value: Option<Value>,
    add: Option<Vec<Value>>,
    default: Option<Value>,
    one_of: Option<Vec<Value>>,
    subset_of: Option<Vec<Value>>,
    superset_of: Option<Vec<Value>>,
    essential: Option<bool>,
}

/// The operators that we know (section 6.1.3.1).
pub(super) const OPERATORS: [&str; 7] = ["value", "add", "default", "one_of", "subset_of", "superset_of", "essential"];

fn refuse<T>(parameter: &str, why: &str) -> Result<T, FederationError> {
    Err(FederationError(format!("metadata policy of {parameter}: {why}")))
}

impl Policy {
    /// Reads what a statement says of one entity type. Operators that nobody calls critical and that we do not know say nothing.
    pub(super) fn read(said: &Map<String, Value>) -> Result<Self, FederationError> {
        let mut policy = BTreeMap::new();
        for (parameter, operators) in said {
            let Value::Object(operators) = operators else { return refuse(parameter, "is no object") };
            let read = Operators::read(operators).filter(Operators::is_sound);
            let read = read.filter(|read| parameter != "scope" || read.names_single_scopes());
            match read {
                Some(read) => policy.insert(parameter.clone(), read),
                None => return refuse(parameter, "its operators contradict each other"),
            };
        }
        Ok(Self(policy))
    }

    /// This policy, and what somebody below says besides: it may only narrow (section 6.1.3.1).
    ///
    /// # Errors
    /// What they say does not go together.
    pub fn merge(mut self, below: &Self) -> Result<Self, FederationError> {
        for (parameter, operators) in &below.0 {
            let merged = match self.0.get(parameter) {
                None => Some(operators.clone()),
                Some(above) => above.merge(operators).filter(Operators::is_sound),
            };
            match merged {
                Some(merged) => self.0.insert(parameter.clone(), merged),
                None => return refuse(parameter, "a superior and its subordinate say what does not go together"),
            };
        }
        Ok(self)
    }

    /// Whether it says anything of a parameter.
    #[must_use]
    pub fn names(&self, parameter: &str) -> bool {
        self.0.contains_key(parameter)
    }

    /// Applies it to the metadata of an entity.
    ///
    /// # Errors
    /// The metadata is not what the policy asks for.
    pub fn apply(&self, metadata: &mut Map<String, Value>) -> Result<(), FederationError> {
        for (parameter, operators) in &self.0 {
            let is_scope = parameter == "scope";
            let before = metadata.remove(parameter);
            if is_scope && before.as_ref().is_some_and(|scopes| !scopes.is_string()) {
                return refuse(parameter, "is no text");
            }
            let before = before.map(|value| if is_scope { listed(value) } else { value });
            let Some(after) = operators.apply(before, is_scope) else {
                return refuse(parameter, "the metadata does not meet it");
            };
            if let Some(after) = after {
                metadata.insert(parameter.clone(), if is_scope { joined(after) } else { after });
            }
        }
        Ok(())
    }
}

/// The values of `scope`, one by one.
fn listed(value: Value) -> Value {
    match &value {
        Value::String(scopes) => scopes.split_ascii_whitespace().collect(),
        _ => value,
    }
}

fn joined(value: Value) -> Value {
    match value.as_array() {
        Some(scopes) => scopes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ").into(),
        None => value,
    }
}

fn set_of(value: &Value) -> Option<Vec<Value>> {
    value.as_array().cloned()
}

fn within(values: &[Value], all: &[Value]) -> bool {
    values.iter().all(|value| all.contains(value))
}

fn union(a: &[Value], b: &[Value]) -> Vec<Value> {
    let more = b.iter().filter(|value| !a.contains(value));
    a.iter().chain(more).cloned().collect()
}

fn intersection(a: &[Value], b: &[Value]) -> Vec<Value> {
    a.iter().filter(|value| b.contains(value)).cloned().collect()
}

/// Two wishes that both hold, where there are two.
fn both<T: Clone>(a: Option<&T>, b: Option<&T>, together: impl Fn(&T, &T) -> Option<T>) -> Option<Option<T>> {
    match (a, b) {
        (Some(a), Some(b)) => together(a, b).map(Some),
        (one, other) => Some(one.or(other).cloned()),
    }
}

impl Operators {
    fn read(said: &Map<String, Value>) -> Option<Self> {
        let set = |name| said.get(name).map_or(Some(None), |value| set_of(value).map(Some));
        let default = said.get("default").cloned();
        Some(Self {
            value: said.get("value").cloned(),
            add: set("add")?,
            default: if default == Some(Value::Null) { return None } else { default },
            one_of: set("one_of")?,
            subset_of: set("subset_of")?,
            superset_of: set("superset_of")?,
            essential: said.get("essential").map_or(Some(None), |value| value.as_bool().map(Some))?,
        })
    }

    fn merge(&self, below: &Self) -> Option<Self> {
        let equal = |a: &Value, b: &Value| (a == b).then(|| a.clone());
        let narrower = |a: &Vec<Value>, b: &Vec<Value>| Some(intersection(a, b));
        let wider = |a: &Vec<Value>, b: &Vec<Value>| Some(union(a, b));
        let one_of = both(self.one_of.as_ref(), below.one_of.as_ref(), narrower)?;
        if one_of.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        Some(Self {
            value: both(self.value.as_ref(), below.value.as_ref(), equal)?,
            add: both(self.add.as_ref(), below.add.as_ref(), wider)?,
            default: both(self.default.as_ref(), below.default.as_ref(), equal)?,
            one_of,
            subset_of: both(self.subset_of.as_ref(), below.subset_of.as_ref(), narrower)?,
            superset_of: both(self.superset_of.as_ref(), below.superset_of.as_ref(), wider)?,
            essential: both(self.essential.as_ref(), below.essential.as_ref(), |a, b| Some(*a || *b))?,
        })
    }

    /// Whether each value of its sets is one scope: two in one text would be two once they are written down.
    fn names_single_scopes(&self) -> bool {
        let single = |value: &Value| {
            value.as_str().is_some_and(|scope| !scope.is_empty() && !scope.contains(|c: char| c.is_ascii_whitespace()))
        };
        let sets = [&self.add, &self.subset_of, &self.superset_of];
        let whole = [&self.value, &self.default].into_iter().flatten();
        sets.into_iter().flatten().flatten().all(single)
            && whole.into_iter().all(|value| value.is_string() || value.is_null())
    }

    /// Whether its operators go together (the combinations of section 6.1.3.1).
    fn is_sound(&self) -> bool {
        let with_value = self.value.as_ref().is_none_or(|value| {
            let set = value.as_array().map(Vec::as_slice);
            let meets = |wanted: Option<&Vec<Value>>, test: &dyn Fn(&[Value], &[Value]) -> bool| {
                wanted.is_none_or(|wanted| set.is_some_and(|set| test(set, wanted)))
            };
            let single = self.one_of.as_ref().is_none_or(|known| known.contains(value));
            let never = value.is_null() && (self.default.is_some() || self.essential == Some(true));
            let added = meets(self.add.as_ref(), &|set, add| within(add, set));
            let lower = meets(self.superset_of.as_ref(), &|set, least| within(least, set));
            !never && single && added && lower && meets(self.subset_of.as_ref(), &within)
        });
        let sets = self.add.is_some() || self.subset_of.is_some() || self.superset_of.is_some();
        let within_most = |set: &Option<Vec<Value>>| match (set, &self.subset_of) {
            (Some(set), Some(most)) => within(set, most),
            _ => true,
        };
        with_value && !(sets && self.one_of.is_some()) && within_most(&self.add) && within_most(&self.superset_of)
    }

    /// The value as it is to be, nothing where it goes; nothing at all when the policy is not met.
    fn apply(&self, before: Option<Value>, is_scope: bool) -> Option<Option<Value>> {
        let mut value = match &self.value {
            Some(Value::Null) => None,
            Some(value) => Some(if is_scope { listed(value.clone()) } else { value.clone() }),
            None => before,
        };
        if let Some(add) = &self.add {
            let own = value.as_ref().map_or(Some(Vec::new()), set_of)?;
            value = Some(Value::Array(union(&own, add)));
        }
        if value.is_none() {
            value = self.default.clone().map(|default| if is_scope { listed(default) } else { default });
        }
        if let (Some(known), Some(value)) = (&self.one_of, &value)
            && !known.contains(value)
        {
            return None;
        }
        if let (Some(most), Some(found)) = (&self.subset_of, &value) {
            value = Some(Value::Array(intersection(&set_of(found)?, most)));
        }
        if let (Some(least), Some(value)) = (&self.superset_of, &value)
            && !within(least, &set_of(value)?)
        {
            return None;
        }
        if self.essential == Some(true) && value.is_none() { None } else { Some(value) }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
