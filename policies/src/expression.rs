//! Mapping expressions: short CEL over what a provider said.
//!
//! The language is closed: the operators and a few functions of CEL, no loops, and the functions of
//! [`functions`](crate::functions). An expression sees `claims`, `provider`, `jurisdiction`, `today`
//! and `residence` (of which place policy found the person to be a resident), and names the claims
//! it reads one by one, so that anybody can say which data it needs. Its cost is bounded when it is compiled: by its length,
//! its depth, and the absence of anything that repeats.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use cel::objects::{Key, Map};
use cel::{Context, ExecutionError, Value as Cel};
use gateway_core::assertion::Assertion;
use gateway_core::circumstances::Population;
use gateway_core::claims::Claims;
use gateway_core::time::Date;
use serde_json::Value;

use crate::functions::{DATED, ENVIRONMENT, OURS, STANDARD};

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 500;
/// The most brackets and choices in one.
const MAX_BRACKETS: usize = 16;
/// What an expression may name, besides operators and literals.
const VARIABLES: [&str; 5] = ["claims", "provider", "jurisdiction", "today", "residence"];

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    body: Body,
    /// The claims that it reads.
    claims: BTreeSet<String>,
    /// Those whose value may show in its answer.
    shown: BTreeSet<String>,
    /// Those that it masks, with how many characters of the front and of the end show.
    masked: Vec<(String, u64, u64)>,
    /// Whether it asks of which place the person is a resident.
    residence: bool,
}

#[derive(Clone)]
enum Body {
    /// A claim as it is: by far the commonest, and no work for an interpreter.
    Claim(String),
    Program(Arc<IdedExpr>),
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.source)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl FromStr for Expression {
    type Err = String;

    fn from_str(source: &str) -> Result<Self, String> {
        if let Some(claim) = source.strip_prefix("claims.").filter(|name| is_name(name)) {
            let claims = BTreeSet::from([claim.to_owned()]);
            let body = Body::Claim(claim.to_owned());
            return Ok(Self {
                source: source.into(),
                body,
                shown: claims.clone(),
                claims,
                masked: Vec::new(),
                residence: false,
            });
        }
        if source.len() > MAX_LENGTH {
            return Err(format!("an expression is at most {MAX_LENGTH} bytes long"));
        }
        if source.matches(['(', '[', '{', '?']).count() > MAX_BRACKETS {
            return Err(format!("an expression nests at most {MAX_BRACKETS} brackets and choices"));
        }
        let program = ENVIRONMENT.compile(source).map_err(|error| error.to_string())?;
        if let Some(name) = program.references().variables().into_iter().find(|name| !VARIABLES.contains(name)) {
            return Err(format!("{name} is not known here; an expression sees {}", VARIABLES.join(", ")));
        }
        let ours: Vec<&str> = OURS.iter().map(|(name, _)| *name).chain(STANDARD).collect();
        for name in program.references().functions() {
            let operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
            if !operator && !ours.contains(&name) {
                let hint = gateway_core::document::nearest(name, &ours);
                let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                return Err(format!("{name} is not a function that mappings may use{hint}"));
            }
        }
        let mut body = program.expression().clone();
        let mut reads = Reads::default();
        if !reads.visit(&body, false) {
            return Err("claims are named one by one: claims.name".to_owned());
        }
        prepare(&mut body);
        let Reads { all: claims, shown, masked, residence } = reads;
        Ok(Self { source: source.into(), body: Body::Program(Arc::new(body)), claims, shown, masked, residence })
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Which claims an expression reads, and which of them its answer may show.
#[derive(Default)]
struct Reads {
    all: BTreeSet<String>,
    shown: BTreeSet<String>,
    masked: Vec<(String, u64, u64)>,
    residence: bool,
}

impl Reads {
    /// False when claims are read other than by name, so that nobody could say which data is needed.
    fn visit(&mut self, expression: &IdedExpr, hidden: bool) -> bool {
        match &expression.expr {
            Expr::Ident(name) => {
                self.residence |= name == "residence";
                name != "claims"
            }
            Expr::Select(select) if matches!(&select.operand.expr, Expr::Ident(name) if name == "claims") => {
                self.all.insert(select.field.clone());
                if !hidden && !select.test {
                    self.shown.insert(select.field.clone());
                }
                true
            }
            Expr::Select(select) => self.visit(&select.operand, hidden),
            Expr::Call(call) => {
                if let Some(masked) = masked(call) {
                    self.all.insert(masked.0.clone());
                    self.masked.push(masked);
                    return true;
                }
                let closing = OURS.iter().any(|(name, closes)| *closes && *name == call.func_name);
                let target = call.target.as_deref().into_iter();
                target.chain(&call.args).all(|part| self.visit(part, hidden || closing))
            }
            Expr::List(list) => list.elements.iter().all(|part| self.visit(part, hidden)),
            Expr::Literal(_) | Expr::Unspecified => true,
            // Nothing of these is needed by a mapping, and each would hide what it reads.
            Expr::Map(_) | Expr::Struct(_) | Expr::Comprehension(_) => false,
        }
    }
}

/// The claim that a call masks, and how much of it shows. Only a claim itself, masked by plain numbers, is known not to show:
/// what is put together first could be put together so that the mask covers nothing.
fn masked(call: &CallExpr) -> Option<(String, u64, u64)> {
    let [what, first, last] = call.args.as_slice() else { return None };
    let number = |part: &IdedExpr| match &part.expr {
        Expr::Literal(LiteralValue::Int(number)) => u64::try_from(*number.inner()).ok(),
        _ => None,
    };
    match &what.expr {
        Expr::Select(select) if call.func_name == "mask" && call.target.is_none() => match &select.operand.expr {
            Expr::Ident(name) if name == "claims" => Some((select.field.clone(), number(first)?, number(last)?)),
            _ => None,
        },
        _ => None,
    }
}

/// Hands today's date to the functions that need it, and makes `has(claims.x)` the question that CEL means by it.
fn prepare(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| prepare(target));
            call.args.iter_mut().for_each(prepare);
            if DATED.contains(&call.func_name.as_str()) {
                call.args.push(IdedExpr { id: expression.id, expr: Expr::Ident("today".to_owned()) });
            }
            if let ("has", [IdedExpr { expr: Expr::Select(select), .. }]) =
                (call.func_name.as_str(), call.args.as_mut_slice())
            {
                select.test = true;
                expression.expr = Expr::Select(select.clone());
            }
        }
        Expr::Select(select) => prepare(&mut select.operand),
        Expr::List(list) => list.elements.iter_mut().for_each(prepare),
        _ => {}
    }
}

/// An expression went wrong other than by absence. It names no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the expression failed")]
pub struct Failed;

impl Expression {
    /// The expression as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The claims that it reads.
    #[must_use]
    pub fn claims(&self) -> &BTreeSet<String> {
        &self.claims
    }

    /// The claims whose value its answer may show: all that it reads, but for those inside a function that gives nothing
    /// away.
    #[must_use]
    pub fn shown(&self) -> &BTreeSet<String> {
        &self.shown
    }

    /// Whether it asks of which place the person is a resident.
    #[must_use]
    pub fn asks_residence(&self) -> bool {
        self.residence
    }

    /// The claims that it masks, with how many characters of the front and of the end show.
    #[must_use]
    pub fn masked(&self) -> &[(String, u64, u64)] {
        &self.masked
    }

    /// Its value; `None` when what it reads is missing, null or empty.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Option<Value>, Failed> {
        let program = match &self.body {
            Body::Claim(name) => return Ok(scope.claims.get(name).filter(|value| is_present(value)).cloned()),
            Body::Program(program) => program,
        };
        match Cel::resolve(program, scope.context()) {
            Ok(Cel::Null) | Err(ExecutionError::NoSuchKey(_)) => Ok(None),
            Ok(Cel::String(text)) if text.is_empty() => Ok(None),
            Ok(value) => to_json(&value).map(Some).ok_or(Failed),
            Err(_) => Err(Failed),
        }
    }
}

fn is_present(value: &Value) -> bool {
    !matches!(value, Value::Null) && value.as_str() != Some("")
}

/// What expressions see of one login. The interpreter's own view is made when the first expression needs it.
pub struct Scope<'a> {
    root: &'a Context<'static, 'static>,
    claims: &'a Claims,
    provider: &'a str,
    jurisdiction: &'static str,
    today: Date,
    residence: Option<Population>,
    context: OnceCell<Context<'a, 'static>>,
}

impl<'a> Scope<'a> {
    /// What `assertion` says, on this day.
    #[must_use]
    pub fn new(root: &'a Context<'static, 'static>, assertion: &'a Assertion, today: Date) -> Self {
        Self {
            root,
            claims: &assertion.claims,
            provider: assertion.provider.as_str(),
            jurisdiction: assertion.jurisdiction.code(),
            today,
            residence: None,
            context: OnceCell::new(),
        }
    }

    /// The same, knowing of which place the person is a resident.
    #[must_use]
    pub fn of_resident(mut self, residence: Option<Population>) -> Self {
        self.residence = residence;
        self
    }

    /// This day.
    #[must_use]
    pub fn today(&self) -> Date {
        self.today
    }

    fn context(&self) -> &Context<'a, 'static> {
        self.context.get_or_init(|| {
            let mut context = self.root.new_inner_scope();
            let present = self.claims.iter().filter(|(_, value)| is_present(value));
            let claims = present.map(|(name, value)| (Key::String(Arc::new(name.to_owned())), to_cel(value)));
            context.add_variable_from_value("claims", Cel::Map(Map { map: Arc::new(claims.collect()) }));
            context.add_variable_from_value("provider", self.provider.to_owned());
            context.add_variable_from_value("jurisdiction", self.jurisdiction.to_owned());
            context.add_variable_from_value("today", self.today.to_string());
            let residence = self.residence.map(|place| Cel::String(Arc::new(place.as_str().to_owned())));
            context.add_variable_from_value("residence", residence.unwrap_or(Cel::Null));
            context
        })
    }
}

fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => {
            number.as_i64().map(Cel::Int).unwrap_or_else(|| Cel::Float(number.as_f64().unwrap_or(f64::NAN)))
        }
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(members) => {
            let map: HashMap<Key, Cel> =
                members.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), to_cel(value))).collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

fn to_json(value: &Cel) -> Option<Value> {
    match value {
        Cel::Bool(flag) => Some(Value::Bool(*flag)),
        Cel::Int(number) => Some((*number).into()),
        Cel::UInt(number) => Some((*number).into()),
        Cel::Float(number) => serde_json::Number::from_f64(*number).map(Value::Number),
        Cel::String(text) => Some(Value::String(text.as_ref().clone())),
        Cel::List(items) => items.iter().map(to_json).collect::<Option<Vec<_>>>().map(Value::Array),
        Cel::Map(map) => {
            let members = map.map.iter().map(|(key, value)| match key {
                Key::String(name) => Some((name.as_ref().clone(), to_json(value)?)),
                _ => None,
            });
            members.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
        }
        _ => None,
    }
}
