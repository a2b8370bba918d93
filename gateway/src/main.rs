//! The `gateway` command.

mod commands;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use gateway::app::StartError;
use gateway::bundle::Bundle;
use gateway::catalog::Catalog;
use gateway::config::{BundleConfig, Config, Engine};
use gateway::control::Order;
use gateway::ports::{Clock as _, Entropy, SystemClock, WatchedClock};
use gateway::seal::Seals;
use gateway::server::Server;
use gateway::store::Store;
use gateway_core::client::SecretDigest;
use gateway_core::document::Problems;
use gateway_core::ids::ClientId;
use tokio::signal::unix::{SignalKind, signal};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder};

/// A login makes some thousand short-lived values; this allocator costs a fifteenth less CPU a login than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Cross-border identity federation gateway.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until told to stop.
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Report every problem of a configuration and its bundle; bind nothing.
    Check {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Make a master key; never over an existing file.
    MasterKey {
        /// Where to write it.
        file: PathBuf,
    },
    /// Make a client secret: for the portal the secret, for its document the digest.
    ClientSecret,
    /// Decide about links that wait because something speaks against them.
    Links {
        #[command(subcommand)]
        command: LinksCommand,
    },
    /// List the portals that have not heard of a logout yet, or never will.
    Logouts {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// List the portals that still use what is being given up, and how often this gateway saw it since it started.
    Retiring {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Look after the portals that registered themselves, or joined by a federation.
    Portals {
        #[command(subcommand)]
        command: PortalsCommand,
    },
    /// Check, prove, explain and change trust policy.
    Policy {
        #[command(subcommand)]
        command: commands::policy::Policy,
    },
    /// Look after the store of this node.
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Look at the audit record.
    Audit {
        #[command(subcommand)]
        command: Audit,
    },
}

#[derive(Subcommand)]
enum StoreCommand {
    /// Go on with what an embedded store still has, after it lost records that were acknowledged. Look for a backup first.
    AcceptLoss {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Who decides; it is recorded.
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        by: String,
    },
}

#[derive(Subcommand)]
enum PortalsCommand {
    /// List them: who, since when, whether they passed their check list, and until when a federation vouches for them, where one does.
    List {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Take one off: it is no client any more, and its tokens are worth nothing.
    Remove {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Its `client_id`.
        client: ClientId,
        /// Who decides; it is recorded.
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        by: String,
    },
}

#[derive(Subcommand)]
enum LinksCommand {
    /// List what waits, and what speaks against each.
    Reviews {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Link the accounts: the person showed by other means that both are theirs.
    Accept(Decision),
    /// Leave the accounts apart.
    Refuse(Decision),
}

#[derive(clap::Args)]
struct Decision {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// The reference that the person was given.
    entry: String,
    /// Who decides; it is recorded.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    officer: String,
}

#[derive(Subcommand)]
enum Audit {
    /// Follow every chain; exit non-zero when a record is missing or changed.
    Verify {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

/// What went wrong, as lines for the operator.
struct Failed(Vec<String>);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string().lines().map(str::to_owned).collect())
    }
}

fn problems(problems: &Problems) -> Failed {
    Failed(problems.iter().map(ToString::to_string).collect())
}

#[tokio::main]
async fn main() -> ExitCode {
    // The log must not stop the service: where its reader stalls, or its disk is full, lines are dropped and counted.
    let (writer, _flushed) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LOG_LINES)
        .thread_name("log")
        .finish(std::io::stderr());
    let dropped = writer.error_counter();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(writer).log_internal_errors(false).init();
    let done = match Arguments::parse().command {
        Command::Serve { config } => serve(&config, dropped).await,
        Command::Check { config } => check(&config).await,
        Command::MasterKey { file } => master_key(&file),
        Command::ClientSecret => client_secret(),
        Command::Links { command } => links(command).await,
        Command::Logouts { config } => list(&config, Order::Logouts).await,
        Command::Retiring { config } => list(&config, Order::Retiring).await,
        Command::Portals { command } => portals(command).await,
        Command::Policy { command } => commands::policy::run(command).await,
        Command::Store { command: StoreCommand::AcceptLoss { config, by } } => accept_loss(&config, &by).await,
        Command::Audit { command: Audit::Verify { config } } => verify(&config).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(lines)) => {
            let mut to = std::io::stderr();
            lines.iter().for_each(|line| drop(writeln!(to, "{line}")));
            ExitCode::FAILURE
        }
    }
}

/// How many lines of the log wait to be written.
const LOG_LINES: usize = 16_384;
/// How often it is said how many were dropped.
const LOG_LOOKED_AT: Duration = Duration::from_secs(10);

/// Prints one line for the operator. Whoever closed the other end does not want it.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

async fn serve(path: &Path, dropped: ErrorCounter) -> Result<(), Failed> {
    let config = Config::load(path).map_err(|found| problems(&found))?;
    // Before anything else: a reload that comes while the gateway starts would end it.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(tell_dropped(dropped));
    let server = tokio::select! {
        started = Server::start(&config, Arc::new(WatchedClock::default())) => started?,
        _ = terminate.recv() => return Ok(()),
    };
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
            _ = hang_up.recv() => server.look_again().await,
        }
    }
    server.stop().await;
    Ok(())
}

/// Says how many lines of the log were dropped, once there is room for it.
async fn tell_dropped(dropped: ErrorCounter) {
    let mut told = 0;
    loop {
        tokio::time::sleep(LOG_LOOKED_AT).await;
        let lines = dropped.dropped_lines();
        if lines > told {
            tracing::error!(lines = lines - told, "lines of the log were dropped: nobody took them");
            told = lines;
        }
    }
}

/// The signature of the bundle in effect, where it can be looked at: a signer may have been taken out.
async fn signer_problem(path: &Path, config: &Config) -> Option<String> {
    let there = match &config.store.engine {
        Engine::Embedded(folder) => folder.is_dir(),
        Engine::Cluster { .. } => true,
    };
    if !there || matches!(config.bundle, BundleConfig::Folder(_)) {
        return None;
    }
    let status = commands::order(path, Order::Status).await.ok()?;
    let lost = status.get("signer_is_known").and_then(serde_json::Value::as_bool) == Some(false);
    lost.then(|| {
        "the bundle in effect was signed by a key that is no longer among the signers: sign one anew".to_owned()
    })
}

async fn check(path: &Path) -> Result<(), Failed> {
    let mut lines: Vec<String> = Vec::new();
    let mut report = |problems: Problems| lines.extend(problems.iter().map(ToString::to_string));
    let config = Config::load(path).map_err(&mut report).ok();
    // A broken configuration does not hide what is wrong with the bundle.
    let folder = match config.as_ref().map(|config| &config.bundle) {
        Some(BundleConfig::Folder(folder)) => Some(folder.clone()),
        // What is signed was checked before it came into effect.
        Some(BundleConfig::Signed { .. }) => None,
        None => Config::bundle_folder(path),
    };
    if let Some(folder) = folder {
        let secrets = folder.join("providers");
        let _ = Bundle::read(&folder).and_then(|bundle| Catalog::compile(&bundle, &secrets)).map_err(&mut report);
    }
    if let Some(config) = &config {
        lines.extend(unusable_files(config));
        lines.extend(signer_problem(path, config).await);
    }
    if lines.is_empty() {
        say("no problem found");
        return Ok(());
    }
    Err(Failed(lines))
}

/// The files a configuration names that cannot be used.
fn unusable_files(config: &Config) -> Vec<String> {
    let certificate = certs::tls::ReloadingCert::load(&config.certificate, &config.certificate_key);
    let certificate = certificate.and_then(|pair| {
        let host = url::Url::parse(&config.issuer).ok().and_then(|issuer| issuer.host_str().map(str::to_owned));
        pair.problem(&host.unwrap_or_default(), SystemClock.now().0).map_or(Ok(()), Err)
    });
    let parts: [Result<(), StartError>; 4] = [
        gateway::app::Source::open(&config.bundle).map(drop),
        certs::vault::Vault::load(&config.master_key).map(drop).map_err(StartError::from),
        certificate.map_err(StartError::from),
        gateway::egress::Egress::open(&config.egress).map(drop).map_err(StartError::from),
    ];
    parts.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect()
}

fn master_key(file: &Path) -> Result<(), Failed> {
    certs::vault::Vault::create(file, &Entropy::default().bytes()?)?;
    say(&format!("{} written; the same file belongs on every node, and in a safe", file.display()));
    Ok(())
}

fn client_secret() -> Result<(), Failed> {
    let secret = Entropy::default().token()?;
    say(&format!("client_secret        {}", secret.expose()));
    say(&format!("client_secret_sha256 {}", SecretDigest::of(secret.expose()).as_str()));
    Ok(())
}

async fn accept_loss(path: &Path, by: &str) -> Result<(), Failed> {
    let config = Config::load(path).map_err(|found| problems(&found))?;
    let seals = Seals::new(certs::vault::Vault::load(&config.master_key)?);
    Store::accept_loss(&config.store, seals.key("audit")?, by, SystemClock.now()).await?;
    say("the store goes on with what it has; who decided is in the audit record");
    Ok(())
}

async fn list(path: &Path, order: Order) -> Result<(), Failed> {
    let listed = commands::order(path, order).await?;
    listed.as_array().into_iter().flatten().for_each(|line| say(&line.to_string()));
    Ok(())
}

async fn portals(command: PortalsCommand) -> Result<(), Failed> {
    match command {
        PortalsCommand::List { config } => list(&config, Order::Portals).await?,
        PortalsCommand::Remove { config, client, by } => {
            commands::order(&config, Order::RemovePortal { client: client.clone(), by }).await?;
            say(&format!("{client}: removed"));
        }
    }
    Ok(())
}

async fn links(command: LinksCommand) -> Result<(), Failed> {
    let (accept, decision) = match command {
        LinksCommand::Reviews { config } => return list(&config, Order::Reviews).await,
        LinksCommand::Accept(decision) => (true, decision),
        LinksCommand::Refuse(decision) => (false, decision),
    };
    let Decision { config, entry, officer } = decision;
    let decided = commands::order(&config, Order::DecideLink { entry: entry.clone(), accept, officer }).await?;
    let what = if decided.get("linked") == Some(&true.into()) { "linked" } else { "left apart" };
    say(&format!("{entry}: {what}"));
    Ok(())
}

async fn verify(path: &Path) -> Result<(), Failed> {
    let reports = commands::order(path, Order::VerifyAudit).await?;
    let text = |report: &serde_json::Value, name: &str| {
        report.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let mut broken = Vec::new();
    for report in reports.as_array().into_iter().flatten() {
        let node = text(report, "node").unwrap_or_default();
        say(&format!("{node}: {} records verify", text(report, "records").unwrap_or_default()));
        let error = report.get("broken").and_then(serde_json::Value::as_str);
        broken.extend(error.map(|error| format!("{node}: {error}")));
    }
    if broken.is_empty() { Ok(()) } else { Err(Failed(broken)) }
}
