//! From rows to Cedar: a service's document becomes a small, schema-checked policy set of its own.
//!
//! The principal is the provider that vouches, the resource is the service, and the context holds the facts of the
//! login. A set holds one service's policies only, so a decision costs the same however many services there are.
//!
//! A verdict is kept under the class of its facts: everything that the rows can tell apart. Cedar is asked once a class,
//! however many people sign in.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::{Arc, LazyLock, RwLock};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Request,
    ResourceConstraint, RestrictedExpression, Schema, ValidationMode, Validator,
};
use gateway_core::circumstances::Person;
use gateway_core::ids::ServiceId;

use crate::condition::{Condition, Situation};
use crate::service::{Effect, Row, Service};

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
    from: String,           // where the provider stands: CN-GD, HK or MO
    to: String,             // where the client stands
    place: String,          // browser, app, kiosk or counter
    identity: Long,         // 1 to 3
    authentication: Long,   // 1 to 3
    age: Long,              // seconds since the person authenticated
    timeStated: Bool,       // whether the provider said when
    weekday: Long,          // 1, Monday, to 7, Sunday
    minute: Long,           // of the day, UTC+8
    capacity: String,       // own, legal-person or assisted
    population?: String,    // mainland, hk, macao, taiwan or other
    years?: Long,           // the highest age limit of the programme that the person has reached
  },
};
";

static PARSED_SCHEMA: LazyLock<Option<Schema>> =
    LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA).ok().map(|(schema, _)| schema));

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

/// Where a party stands in its set: cheaper to compare than its name.
pub(crate) type Index = u32;

/// Everything that a service's rows can tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Class {
    provider: Index,
    client: Index,
    assurance: (u8, u8),
    time_stated: bool,
    person: Person,
    /// Between which limits of the document the login's age lies; beside raw Cedar, which may look at any, the age.
    age: u64,
    /// Between which opening and closing times of the document the moment lies; likewise.
    at: u64,
}

/// The most classes whose verdicts one service keeps; then it begins anew.
const KEPT: usize = 4_096;

/// The compiled rules of one service.
#[derive(Debug)]
pub struct Rules {
    set: PolicySet,
    resource: EntityUid,
    /// The ages of a login, in seconds, at which some row changes its mind; `None` when raw Cedar may look at any age.
    ages: Option<Vec<u64>>,
    /// The moments of the week, likewise.
    moments: Vec<(u16, u16)>,
    verdicts: Verdicts,
}

/// The verdicts that are kept.
#[derive(Default)]
struct Verdicts(RwLock<HashMap<Class, Arc<Verdict>>>);

impl std::fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verdicts")
    }
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
        for row in &service.rows {
            let parsed = Policy::parse(Some(PolicyId::new(&row.id)), source(&service.id, row));
            let policy = parsed.map_err(|error| vec![error.to_string()])?;
            set.add(policy).map_err(|error| vec![error.to_string()])?;
        }
        let resource =
            uid("Service", service.id.as_str()).ok_or_else(|| vec!["the service id is no entity".to_owned()])?;
        add_raw(&mut set, service, &resource, &mut problems);
        let checked = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        problems.extend(checked.validation_errors().map(ToString::to_string));
        if !problems.is_empty() {
            return Err(problems);
        }
        let (ages, moments) = limits(service);
        let ages = service.cedar.is_none().then_some(ages);
        Ok(Self { set, resource, ages, moments, verdicts: Verdicts::default() })
    }

    /// Applies the rules to the facts of a login. `provider` and `client` are where those stand in the set.
    #[must_use]
    pub(crate) fn apply(&self, at: &Situation<'_>, provider: Index, client: Index) -> Arc<Verdict> {
        let class = self.class(at, provider, client);
        let kept = self.verdicts.0.read().ok().and_then(|kept| kept.get(&class).cloned());
        if let Some(verdict) = kept {
            return verdict;
        }
        let verdict = Arc::new(self.ask(at));
        if let Ok(mut kept) = self.verdicts.0.write() {
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(class, Arc::clone(&verdict));
        }
        verdict
    }

    fn class(&self, at: &Situation<'_>, provider: Index, client: Index) -> Class {
        let (seconds, moment) = (at.age.as_secs(), (at.at.weekday(), at.at.minute()));
        let (age, at_time) = match &self.ages {
            Some(ages) => (
                ages.partition_point(|limit| *limit < seconds) as u64,
                self.moments.partition_point(|limit| *limit <= moment) as u64,
            ),
            None => (seconds, u64::from(moment.0) * 1_440 + u64::from(moment.1)),
        };
        Class {
            provider,
            client,
            assurance: (at.assurance.identity.into(), at.assurance.authentication.into()),
            time_stated: at.time_stated,
            person: at.person,
            age,
            at: at_time,
        }
    }

    /// Asks Cedar.
    fn ask(&self, at: &Situation<'_>) -> Verdict {
        let Some(request) = self.request(at) else {
            return Verdict { allowed: false, rules: Vec::new(), errors: true };
        };
        let response = Authorizer::new().is_authorized(&request, &self.set, &Entities::empty());
        let errors = response.diagnostics().errors().next().is_some();
        let mut rules: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        rules.sort();
        Verdict { allowed: response.decision() == Decision::Allow && !errors, rules, errors }
    }

    fn request(&self, at: &Situation<'_>) -> Option<Request> {
        let long = |number: u64| RestrictedExpression::new_long(i64::try_from(number).unwrap_or(i64::MAX));
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let client = uid("Client", at.client.as_str())?;
        let mut context = vec![
            ("client", RestrictedExpression::new_entity_uid(client)),
            ("from", text(at.from.code())),
            ("to", text(at.to.code())),
            ("place", text(at.place.as_str())),
            ("identity", long(u8::from(at.assurance.identity).into())),
            ("authentication", long(u8::from(at.assurance.authentication).into())),
            ("age", long(at.age.as_secs())),
            ("timeStated", RestrictedExpression::new_bool(at.time_stated)),
            ("weekday", long(at.at.weekday().into())),
            ("minute", long(at.at.minute().into())),
            ("capacity", text(at.person.capacity.as_str())),
        ];
        context.extend(at.person.population.map(|population| ("population", text(population.as_str()))));
        context.extend(at.person.age.map(|limit| ("years", long(limit.years().into()))));
        let context = Context::from_pairs(context.into_iter().map(|(name, value)| (name.to_owned(), value))).ok()?;
        let (principal, action) = (uid("Provider", at.provider.as_str())?, uid("Action", "signIn")?);
        Request::new(principal, action, self.resource.clone(), context, None).ok()
    }
}

fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    Some(EntityUid::from_type_name_and_id(EntityTypeName::from_str(kind).ok()?, EntityId::new(id)))
}

/// The ages of a login and the moments of the week at which some row of a service changes its mind.
pub(crate) fn limits(service: &Service) -> (Vec<u64>, Vec<(u16, u16)>) {
    let (mut ages, mut moments) = (Vec::new(), Vec::new());
    for condition in service.rows.iter().flat_map(|row| &row.conditions) {
        match condition {
            Condition::Within(age) | Condition::OlderThan(age) => ages.push(age.as_secs()),
            Condition::Hours(hours) => {
                for (hours, day) in hours.iter().flat_map(|hours| hours.weekdays().map(move |day| (hours, day))) {
                    moments.extend([(day, hours.opens), (day, hours.closes)]);
                }
            }
            _ => {}
        }
    }
    ages.sort_unstable();
    ages.dedup();
    moments.sort_unstable();
    moments.dedup();
    (ages, moments)
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

/// A row in Cedar.
fn source(service: &ServiceId, row: &Row) -> String {
    // What cannot be judged lets nobody in and keeps everybody out.
    let (effect, unknown) = match row.effect {
        Effect::Allow => ("permit", false),
        Effect::Forbid => ("forbid", true),
    };
    let conditions: Vec<String> = row.conditions.iter().map(|condition| condition.cedar(unknown)).collect();
    format!(
        "{effect}(principal, action == Action::\"signIn\", resource == Service::\"{service}\") when {{ {} }};",
        conditions.join(" && ")
    )
}
