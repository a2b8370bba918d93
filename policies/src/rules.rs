//! From rows to Cedar: a service's document becomes a small, schema-checked policy set of its own.
//!
//! The principal is the provider that vouches, the resource is the service, and the context holds the facts of the
//! login. A set holds one service's policies only, so a decision costs the same however many services there are.

use std::fmt::Write as _;
use std::str::FromStr as _;
use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Request,
    ResourceConstraint, RestrictedExpression, Schema, ValidationMode, Validator,
};
use gateway_core::ids::ServiceId;

use crate::decide::Facts;
use crate::service::{Allow, Forbid, Service};

/// What a policy may speak of. Raw Cedar in a document is checked against it as well.
pub const SCHEMA: &str = r"
entity Provider;
entity Service;
entity Client;
action signIn appliesTo {
  principal: [Provider],
  resource: [Service],
  context: {
    client: Client,
    jurisdiction: String,   // of the provider: CN-GD, HK or MO
    identity: Long,         // 1 to 3
    authentication: Long,   // 1 to 3
    age: Long,              // seconds since the person authenticated
    timeStated: Bool,       // whether the provider said when
  },
};
";

static PARSED_SCHEMA: LazyLock<Option<Schema>> =
    LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA).ok().map(|(schema, _)| schema));

/// The compiled rules of one service.
#[derive(Debug, Clone)]
pub struct Rules {
    set: PolicySet,
    resource: EntityUid,
}

/// What the rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the login may go on.
    pub allowed: bool,
    /// The rules that decided: allows when it may, forbids when one held.
    pub rules: Vec<String>,
    /// Whether any rule could not be evaluated; then it may not.
    pub errors: bool,
}

impl Rules {
    /// Compiles a service's rows and raw policies.
    ///
    /// # Errors
    /// Every problem, in Cedar's words.
    pub fn compile(service: &Service) -> Result<Self, Vec<String>> {
        let Some(schema) = PARSED_SCHEMA.as_ref() else {
            return Err(vec!["the policy schema cannot be read".to_owned()]);
        };
        let mut set = PolicySet::new();
        let mut problems = Vec::new();
        let allows = service.allow.iter().map(|row| (row.id.clone(), allow_source(&service.id, row)));
        let forbids = service.forbid.iter().map(|row| (row.id.clone(), forbid_source(&service.id, row)));
        for (id, source) in allows.chain(forbids) {
            let policy = Policy::parse(Some(PolicyId::new(id)), source).map_err(|error| vec![error.to_string()])?;
            set.add(policy).map_err(|error| vec![error.to_string()])?;
        }
        let resource =
            uid("Service", service.id.as_str()).ok_or_else(|| vec!["the service id is no entity".to_owned()])?;
        add_raw(&mut set, service, &resource, &mut problems);
        let checked = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        problems.extend(checked.validation_errors().map(ToString::to_string));
        if problems.is_empty() { Ok(Self { set, resource }) } else { Err(problems) }
    }

    /// Applies the rules to the facts of a login.
    #[must_use]
    pub fn apply(&self, facts: &Facts<'_>) -> Verdict {
        let refused = Verdict { allowed: false, rules: Vec::new(), errors: true };
        let Some(request) = self.request(facts) else { return refused };
        let response = Authorizer::new().is_authorized(&request, &self.set, &Entities::empty());
        let errors = response.diagnostics().errors().next().is_some();
        let mut rules: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        rules.sort();
        Verdict { allowed: response.decision() == Decision::Allow && !errors, rules, errors }
    }

    fn request(&self, facts: &Facts<'_>) -> Option<Request> {
        let long = |number: u64| RestrictedExpression::new_long(i64::try_from(number).unwrap_or(i64::MAX));
        let client = uid("Client", facts.client.as_str())?;
        let context = Context::from_pairs([
            ("client".to_owned(), RestrictedExpression::new_entity_uid(client)),
            ("jurisdiction".to_owned(), RestrictedExpression::new_string(facts.jurisdiction.code().to_owned())),
            ("identity".to_owned(), long(u8::from(facts.assurance.identity).into())),
            ("authentication".to_owned(), long(u8::from(facts.assurance.authentication).into())),
            ("age".to_owned(), long(facts.age.as_secs())),
            ("timeStated".to_owned(), RestrictedExpression::new_bool(facts.time_stated)),
        ])
        .ok()?;
        let principal = uid("Provider", facts.provider.as_str())?;
        let action = uid("Action", "signIn")?;
        Request::new(principal, action, self.resource.clone(), context, None).ok()
    }
}

fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    Some(EntityUid::from_type_name_and_id(EntityTypeName::from_str(kind).ok()?, EntityId::new(id)))
}

/// Adds the document's raw Cedar. Each policy must be about this very service, so that one document cannot widen
/// another.
fn add_raw(set: &mut PolicySet, service: &Service, resource: &EntityUid, problems: &mut Vec<String>) {
    let Some(source) = &service.cedar else { return };
    let raw = match PolicySet::from_str(source) {
        Ok(raw) => raw,
        Err(error) => return problems.push(format!("cedar: {error}")),
    };
    for (index, policy) in raw.policies().enumerate() {
        if policy.resource_constraint() != ResourceConstraint::Eq(resource.clone()) {
            problems.push(format!("cedar: policy {} must say resource == Service::\"{}\"", index + 1, service.id));
        }
        let renamed = policy.new_id(PolicyId::new(format!("cedar-{}", index + 1)));
        if let Err(error) = set.add(renamed) {
            problems.push(format!("cedar: {error}"));
        }
    }
}

fn one_of<'a>(kind: &str, ids: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = ids.map(|id| format!("{kind}::\"{id}\"")).collect();
    format!("[{}]", names.join(", "))
}

fn allow_source(service: &ServiceId, row: &Allow) -> String {
    let mut source = format!(
        "permit(principal, action == Action::\"signIn\", resource == Service::\"{service}\") when {{ {}.contains(principal) \
         && context.identity >= {} && context.authentication >= {}",
        one_of("Provider", row.providers.iter().map(|id| id.as_str())),
        u8::from(row.assurance.identity),
        u8::from(row.assurance.authentication),
    );
    if let Some(max_age) = row.max_age {
        let _ = write!(source, " && context.age <= {}", max_age.as_secs());
    }
    source + " };"
}

fn forbid_source(service: &ServiceId, row: &Forbid) -> String {
    let mut conditions = Vec::new();
    if !row.providers.is_empty() {
        conditions
            .push(format!("{}.contains(principal)", one_of("Provider", row.providers.iter().map(|id| id.as_str()))));
    }
    if !row.clients.is_empty() {
        conditions
            .push(format!("{}.contains(context.client)", one_of("Client", row.clients.iter().map(|id| id.as_str()))));
    }
    if row.unstated_time {
        conditions.push("!context.timeStated".to_owned());
    }
    let conditions = conditions.join(" && ");
    format!(
        "forbid(principal, action == Action::\"signIn\", resource == Service::\"{service}\") when {{ {conditions} }};"
    )
}
