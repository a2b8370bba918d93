//! `gateway policy`: everything that an officer does with trust policy besides writing it.

use std::fs;
use std::path::{Path, PathBuf};

use certs::key::KeySet;
use clap::{Args, Subcommand};
use gateway::app::Source;
use gateway::bundle::{self, Bundle, Manifest};
use gateway::catalog;
use gateway::config::{BundleConfig, Config};
use gateway::control::Order;
use gateway::ports::{Clock as _, SystemClock};
use gateway_core::document::nearest;
use gateway_core::time::{Date, Timestamp};
use policies::PolicySet;
use policies::case::Case;
use policies::diff::Direction;
use policies::replay::{Summary, replay};
use serde_json::{Value, json};

use crate::{Failed, problems, say};

/// What can be done with trust policy.
#[derive(Subcommand)]
pub(crate) enum Policy {
    /// Report every problem of a bundle.
    Check(What),
    /// Run the examples that every service's document carries.
    Test(What),
    /// Say why a login that a case file describes is let in or not, and what would have to change.
    Explain {
        /// The case file.
        case: PathBuf,
        #[command(flatten)]
        what: What,
        /// Answer for tools, in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compare two bundles by meaning: who gains, who loses. Each is a folder or a signed archive; without the second, the
    /// first is compared with what is in effect.
    Diff {
        /// The new one.
        new: PathBuf,
        /// The old one.
        old: Option<PathBuf>,
        #[command(flatten)]
        node: Node,
        /// Answer for tools, in JSON.
        #[arg(long)]
        json: bool,
        /// Fail when anything is widened.
        #[arg(long)]
        no_widening: bool,
    },
    /// Put recorded decisions to a draft: how many would be another.
    Simulate {
        /// The draft: a folder or a signed archive.
        draft: PathBuf,
        #[command(flatten)]
        node: Node,
        /// How many of the newest decisions.
        #[arg(long, default_value_t = 10_000)]
        last: usize,
        /// Answer for tools, in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a key to sign bundles with; prints its public half for the signers of `gateway.toml`.
    Signer {
        /// Where to write the private half.
        file: PathBuf,
    },
    /// Sign a folder of documents, once all of it is checked and tested.
    Bundle(Sign),
    /// Put a signed bundle into effect on every node.
    Activate(Change),
    /// Do not put the bundle into effect that waits for its time.
    Cancel {
        #[command(flatten)]
        node: Node,
        #[command(flatten)]
        by: By,
    },
    /// Go back to the bundle that was in effect before, on every node.
    Rollback {
        #[command(flatten)]
        node: Node,
        #[command(flatten)]
        by: By,
    },
    /// Try a signed draft beside the bundle in effect: what it would have said is recorded where it differs.
    Shadow {
        /// The draft; none ends the trial.
        archive: Option<PathBuf>,
        #[command(flatten)]
        node: Node,
        #[command(flatten)]
        by: By,
    },
    /// Say what is in effect.
    Status(Node),
    /// Count the people whose data crossed a border in a year, by instrument and class.
    Exports {
        #[command(flatten)]
        node: Node,
        /// The year; this one when it is not said.
        #[arg(long)]
        year: Option<i64>,
    },
}

/// A gateway, by its configuration.
#[derive(Args)]
pub(crate) struct Node {
    /// The configuration file of a gateway.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Who orders something; it is recorded.
#[derive(Args)]
pub(crate) struct By {
    /// Who orders it; it is recorded.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    by: String,
}

/// Which documents.
#[derive(Args)]
pub(crate) struct What {
    /// A folder of documents, or a signed archive; what is in effect when it is not said.
    documents: Option<PathBuf>,
    #[command(flatten)]
    node: Node,
}

/// A change of what is in effect.
#[derive(Args)]
pub(crate) struct Change {
    /// The signed archive.
    archive: PathBuf,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    by: By,
    /// Let more than a tenth of the clients, services or providers disappear.
    #[arg(long)]
    may_lose: bool,
}

/// What a signature says.
#[derive(Args)]
pub(crate) struct Sign {
    /// The folder of documents.
    documents: PathBuf,
    /// The private key.
    #[arg(long)]
    key: PathBuf,
    /// Who signs.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    signer: String,
    /// Where to write the archive.
    #[arg(long)]
    out: PathBuf,
    /// Greater than that of every bundle before; the time of signing when it is not said.
    #[arg(long)]
    sequence: Option<u64>,
    /// The day on which it takes effect, 00:00 UTC+8; at once when it is not said.
    #[arg(long)]
    effective_from: Option<Date>,
    /// The day from which it is not put into effect any more.
    #[arg(long)]
    valid_until: Option<Date>,
    /// The version that the folder was made from; what a gateway has in effect when only its configuration is said.
    #[arg(long, conflicts_with = "config")]
    based_on: Option<String>,
    #[command(flatten)]
    node: Node,
}

pub(crate) async fn run(command: Policy) -> Result<(), Failed> {
    match command {
        Policy::Check(what) => {
            let set = read(&what.documents, &what.node).await?;
            say(&format!("no problem found in {} services, version {}", set.services().count(), set.version()));
            Ok(())
        }
        Policy::Test(what) => test(&read(&what.documents, &what.node).await?),
        Policy::Explain { what, case, json } => explain(&read(&what.documents, &what.node).await?, &case, json),
        Policy::Diff { new, old, node, json, no_widening } => {
            let (new, old) = (documents(&Some(new), &node).await?, documents(&old, &node).await?);
            diff(&old, &new, json, no_widening)
        }
        Policy::Simulate { draft, node, last, json } => {
            let draft = read(&Some(draft), &node).await?;
            simulate(&draft, order(&node, Order::Decisions { last }).await?, json)
        }
        Policy::Signer { file } => {
            let key = certs::signer::create(&file)?;
            say(&serde_json::to_string(&json!({"keys": [key.public_jwk()]}))?);
            Ok(())
        }
        Policy::Bundle(sign) => make_bundle(&sign).await,
        Policy::Activate(Change { archive, node, by, may_lose }) => {
            let order_ = Order::Activate { archive: fs::read_to_string(archive)?, by: by.by, may_lose };
            tell(order(&node, order_).await?)
        }
        Policy::Cancel { node, by } => tell(order(&node, Order::Cancel { by: by.by }).await?),
        Policy::Rollback { node, by } => tell(order(&node, Order::RollBack { by: by.by }).await?),
        Policy::Shadow { archive, node, by } => {
            let archive = archive.map(fs::read_to_string).transpose()?;
            tell(order(&node, Order::Shadow { archive, by: by.by }).await?)
        }
        Policy::Status(node) => tell(order(&node, Order::Status).await?),
        Policy::Exports { node, year } => {
            let year = year.unwrap_or_else(|| SystemClock.now().date().year);
            tell(order(&node, Order::Exports { year }).await?)
        }
    }
}

fn tell(answer: Value) -> Result<(), Failed> {
    say(&serde_json::to_string(&answer)?);
    Ok(())
}

/// Compiles documents: of a folder, of a signed archive, or of what is in effect at a gateway.
async fn read(path: &Option<PathBuf>, node: &Node) -> Result<PolicySet, Failed> {
    catalog::policies(&documents(path, node).await?).map_err(|found| problems(&found))
}

async fn documents(path: &Option<PathBuf>, node: &Node) -> Result<Bundle, Failed> {
    match path {
        Some(path) if path.is_dir() => Bundle::read(path).map_err(|found| problems(&found)),
        Some(path) => Ok(bundle::open(&fs::read(path)?, &signers(node)?)?.1),
        None => match load(node)?.bundle {
            BundleConfig::Folder(folder) => Bundle::read(&folder).map_err(|found| problems(&found)),
            BundleConfig::Signed { .. } => {
                let archive = order(node, Order::Bundle).await?;
                Ok(bundle::open(archive.as_str().unwrap_or_default().as_bytes(), &signers(node)?)?.1)
            }
        },
    }
}

fn path(node: &Node) -> Result<PathBuf, Failed> {
    node.config.clone().ok_or_else(|| Failed(vec!["--config is needed for this".to_owned()]))
}

fn load(node: &Node) -> Result<Config, Failed> {
    Config::load(&path(node)?).map_err(|found| problems(&found))
}

fn signers(node: &Node) -> Result<KeySet, Failed> {
    match Source::open(&load(node)?.bundle)? {
        Source::Signed { signers, .. } => Ok(KeySet::clone(&signers.keys())),
        Source::Folder(_) => Err(Failed(vec!["this gateway's configuration names no signers".to_owned()])),
    }
}

async fn order(node: &Node, order: Order) -> Result<Value, Failed> {
    super::order(&path(node)?, order).await
}

fn test(set: &PolicySet) -> Result<(), Failed> {
    let failing = set.test();
    if failing.is_empty() {
        let examples: usize = set.services().map(|service| service.examples.len()).sum();
        say(&format!("{examples} examples of {} services hold", set.services().count()));
        return Ok(());
    }
    Err(problems(&failing))
}

fn explain(set: &PolicySet, file: &Path, json: bool) -> Result<(), Failed> {
    let name = file.display().to_string();
    let case = Case::from_document(&name, &fs::read_to_string(file)?).map_err(|found| problems(&found))?;
    let known = case.service.as_ref().and_then(|id| set.service(id));
    let service = known.ok_or_else(|| Failed(vec![format!("{name}: names no service of this bundle")]))?;
    if set.provider(&case.provider).is_none() {
        let known: Vec<&str> = set.providers().map(|provider| provider.id.as_str()).collect();
        let hint =
            nearest(case.provider.as_str(), &known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(Failed(vec![format!("{name}: {} is no provider of this bundle{hint}", case.provider)]));
    }
    let explanation = set.explain(service, &case);
    if json {
        return tell(serde_json::to_value(&explanation)?);
    }
    say(&format!("{}: {} (by {})", explanation.service, explanation.outcome, explanation.decided_by.join(", ")));
    for row in &explanation.rows {
        say(&format!("  {} {}", row.id, if row.holds { "holds" } else { "does not hold" }));
        for condition in &row.conditions {
            let mark = match condition.holds {
                Some(true) => "yes",
                Some(false) => "no ",
                None => "?  ",
            };
            say(&format!("    {mark} {}; found: {}", condition.asks, condition.found));
        }
    }
    for (claim, from) in &explanation.released {
        let cover = from.cover.as_ref().map(|(under, filing)| format!(", under {under} {filing}")).unwrap_or_default();
        say(&format!("  {claim} goes out: {} ({}{cover})", from.from, from.row));
    }
    explanation.change.iter().for_each(|change| say(&format!("  to change: {change}")));
    Ok(())
}

fn diff(old: &Bundle, new: &Bundle, json: bool, no_widening: bool) -> Result<(), Failed> {
    let changed = old.unlike(new, &NOT_BY_MEANING);
    let compile = |bundle| catalog::policies(bundle).map_err(|found| problems(&found));
    let (old, new) = (compile(old)?, compile(new)?);
    let mut diff = policies::diff::diff(&old, &new, SystemClock.now().date());
    let by_hand = changed.into_iter().map(|about| {
        let what = "changed, and is not compared by meaning: look at it".to_owned();
        policies::diff::Change { direction: Direction::Widening, about, what, example: None }
    });
    diff.changes.splice(0..0, by_hand);
    if json {
        tell(serde_json::to_value(&diff)?)?;
    } else {
        say(&format!("from {} to {}: {} changes", old.version(), new.version(), diff.changes.len()));
        for change in &diff.changes {
            let direction = match change.direction {
                Direction::Widening => "WIDENING",
                Direction::Narrowing => "narrowing",
                Direction::Neutral => "neutral",
            };
            say(&format!("{direction:<9} {}: {}", change.about, change.what));
            change.example.iter().for_each(|example| say(&format!("          e.g. {example}")));
        }
        for service in &diff.inexact {
            say(&format!("{service}: its own Cedar calculates, so more may change than is said here"));
        }
    }
    let widens = diff.changes.iter().any(|change| change.direction == Direction::Widening);
    if no_widening && widens { Err(Failed(vec!["something is widened".to_owned()])) } else { Ok(()) }
}

/// The documents whose differences are told and not weighed: addresses and keys of providers, words, and who may vouch.
const NOT_BY_MEANING: [&str; 5] = ["authorities", "federations", "providers", "subordinates", "vocabulary"];

fn simulate(draft: &PolicySet, recorded: Value, json: bool) -> Result<(), Failed> {
    let recorded: Vec<gateway::store::Recorded> = serde_json::from_value(recorded)?;
    let summary: Summary = replay(
        recorded.iter().map(|recorded| (&recorded.decision, recorded.released.as_slice())),
        draft,
        SystemClock.now().date(),
    );
    if json {
        return tell(serde_json::to_value(&summary)?);
    }
    say(&format!("of the last {} decisions {} would change", summary.replayed, summary.changed));
    for group in &summary.groups {
        say(&format!(
            "{} with {}: {} now refused, {} now let in, {} refused for another reason, {} given less",
            group.service,
            group.provider,
            group.now_refused,
            group.now_permitted,
            group.other_reason,
            group.less_released
        ));
        let (was, is, rules) = (&group.example.outcome, &group.example_now, group.example_rules.join(", "));
        say(&format!("  e.g. at {}: was {was}, would be {is} (by {rules})", group.example.client));
    }
    Ok(())
}

/// What a gateway has in effect, or waits to have: the version that the next bundle takes the place of.
async fn base(sign: &Sign) -> Result<Option<String>, Failed> {
    if sign.based_on.is_some() || sign.node.config.is_none() {
        return Ok(sign.based_on.clone());
    }
    let status = order(&sign.node, Order::Status).await?;
    let version = |of: &str| status.pointer(&format!("/{of}/version"))?.as_str().map(str::to_owned);
    Ok(version("waiting").or_else(|| version("live")))
}

async fn make_bundle(sign: &Sign) -> Result<(), Failed> {
    let bundle = Bundle::read(&sign.documents).map_err(|found| problems(&found))?;
    let lacks = bundle.lacks();
    if !lacks.is_empty() {
        return Err(problems(&lacks));
    }
    let set = catalog::policies(&bundle).map_err(|found| problems(&found))?;
    test(&set)?;
    let now = SystemClock.now();
    let midnight = |date: Date| Timestamp::of(date, 0);
    let key = certs::signer::load(&sign.key)?;
    let manifest = Manifest {
        based_on: base(sign).await?,
        key: key.kid().to_owned(),
        version: bundle.version(),
        sequence: sign.sequence.unwrap_or(now.0),
        signer: sign.signer.clone(),
        signed_at: now,
        effective_from: sign.effective_from.map_or(now, midnight),
        valid_until: sign.valid_until.map(midnight),
    };
    fs::write(&sign.out, bundle::sign(&bundle, &manifest, &key)?)?;
    say(&format!("{}: version {}, sequence {}", sign.out.display(), manifest.version, manifest.sequence));
    Ok(())
}
