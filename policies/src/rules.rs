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
use gateway_core::assurance::Assurance;
use gateway_core::circumstances::{Person, Place, WeekMinute};
use gateway_core::ids::ServiceId;

use crate::condition::Situation;
use crate::limits::Limits;
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
    place: String,          // of the client: browser, app, kiosk or counter
    signedInAt: String,     // where the person signed in: there, or where the session was made that serves
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
pub(crate) type Index = usize;

/// Everything that a service's rows can tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Class {
    provider: Index,
    client: Index,
    assurance: Assurance,
    time_stated: bool,
    signed_in_at: Place,
    person: Person,
    when: When,
}

/// The age of a login and its moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum When {
    /// The classes of both between the limits of the rows.
    Between(usize, usize),
    /// Both as they are: raw Cedar may look at any.
    Exactly(u64, WeekMinute),
}

/// The most classes whose verdicts one service keeps; then it begins anew.
const KEPT: usize = 4_096;

/// The compiled rules of one service.
#[derive(Debug)]
pub struct Rules {
    set: PolicySet,
    resource: EntityUid,
    /// Where rows change their mind; `None` when raw Cedar may do so anywhere.
    limits: Option<Limits>,
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
        let limits = service.cedar.is_none().then(|| Limits::of(&[service]));
        Ok(Self { set, resource, limits, verdicts: Verdicts::default() })
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

    /// The class of a situation. Where the parties stand and the place follow from who they are; all else is part of it.
    fn class(&self, at: &Situation<'_>, provider: Index, client: Index) -> Class {
        let Situation {
            provider: _,
            client: _,
            from: _,
            to: _,
            place: _,
            person,
            at,
            assurance,
            age,
            time_stated,
            signed_in_at,
        } = *at;
        let when = match &self.limits {
            Some(limits) => When::Between(limits.ages.class(age.as_secs()), limits.moments.class(at)),
            None => When::Exactly(age.as_secs(), at),
        };
        Class { provider, client, assurance, time_stated, signed_in_at, person, when }
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
        let long = RestrictedExpression::new_long;
        // Cedar counts to here; no row can name an age so great, so those beyond are alike.
        let age = i64::try_from(at.age.as_secs()).unwrap_or(i64::MAX);
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let client = uid("Client", at.client.as_str())?;
        let mut context = vec![
            ("client", RestrictedExpression::new_entity_uid(client)),
            ("from", text(at.from.code())),
            ("to", text(at.to.code())),
            ("place", text(at.place.as_str())),
            ("signedInAt", text(at.signed_in_at.as_str())),
            ("identity", long(u8::from(at.assurance.identity).into())),
            ("authentication", long(u8::from(at.assurance.authentication).into())),
            ("age", long(age)),
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
