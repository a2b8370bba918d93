//! Where a running gateway takes orders from whoever runs it: a socket in the file system, for its own user alone.
//!
//! An [`Order`] is carried out by one function, [`carry_out`], whether a running gateway does it or a command that opens
//! the store itself because none runs.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use certs::key::KeySet;
use gateway_core::audit::RegistrationChange;
use gateway_core::ids::ClientId;
use gateway_core::link::{Actor, Status};
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::activation::{ActivationError, Activations, Change, InEffect};
use crate::app::{App, Source};
use crate::bundle;
use crate::catalog::{self, Catalog};
use crate::exports::Exports;
use crate::keys::lasting_secret;
use crate::links::Links;
use crate::notices;
use crate::ports::Entropy;
use crate::roll::{Roll, RollError};
use crate::seal::Seals;
use crate::store::{Store, StoreError};
use crate::usage::Usage;

/// The longest order or answer, in bytes.
const LONGEST: u32 = 256 * 1024 * 1024;
/// How often a change of the roll is tried again when others came first.
const TRIES: usize = 16;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(60);

/// What can be asked of a gateway.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Put a bundle into effect.
    Activate {
        /// The archive.
        archive: String,
        /// Who orders it.
        by: String,
        /// Whether many documents may disappear.
        #[serde(default)]
        may_lose: bool,
    },
    /// Do not put the bundle into effect that waits for its time.
    Cancel {
        /// Who orders it.
        by: String,
    },
    /// Go back to the bundle before.
    RollBack {
        /// Who orders it.
        by: String,
    },
    /// Try a draft in shadow, or end that.
    Shadow {
        /// The archive; none ends it.
        archive: Option<String>,
        /// Who orders it.
        by: String,
    },
    /// Say what is in effect.
    Status,
    /// Hand out the archive that is in effect.
    Bundle,
    /// Hand out recorded decisions, newest first.
    Decisions {
        /// How many.
        last: usize,
    },
    /// Say which clients have not heard of a logout.
    Logouts,
    /// Say which clients still use what is being given up.
    Retiring,
    /// List the portals that registered themselves.
    Portals,
    /// Take a portal that registered itself off the roll.
    RemovePortal {
        /// Its `client_id`.
        client: ClientId,
        /// Who orders it.
        by: String,
    },
    /// Follow every audit chain.
    VerifyAudit,
    /// List the links that wait because something speaks against them.
    Reviews,
    /// Decide about one of them.
    DecideLink {
        /// Its reference.
        entry: String,
        /// Whether the accounts are linked.
        accept: bool,
        /// Who decides.
        officer: String,
    },
    /// Count the people whose data crossed a border in a year.
    Exports {
        /// The year.
        year: i64,
    },
}

/// What an order is carried out on.
pub struct Office<'a> {
    /// The store.
    pub store: &'a Store,
    /// Sealing.
    pub seals: &'a Seals,
    /// Where bundles come from.
    pub source: &'a Source,
    /// What a running gateway counted.
    pub usage: Option<&'a Usage>,
    /// Now.
    pub now: Timestamp,
}

type Answer = Result<Value, Vec<String>>;

fn refused(error: impl std::error::Error) -> Vec<String> {
    vec![error.to_string()]
}

/// Carries an order out.
///
/// # Errors
/// Lines for whoever ordered; nothing was changed then.
pub async fn carry_out(order: Order, office: &Office<'_>) -> Answer {
    match order {
        Order::Decisions { last } => Ok(json!(office.store.decisions(last).await.map_err(refused)?)),
        Order::Logouts => {
            let shown = notices::shown(office.store, office.seals, office.now).await;
            Ok(json!(shown.map_err(refused)?))
        }
        Order::Retiring => match office.usage {
            Some(usage) => Ok(json!(usage.shown())),
            None => Err(vec!["no gateway runs here: each counts what it sees while it runs".to_owned()]),
        },
        Order::Portals => {
            let roll = roll(office).await?;
            let shown = roll.iter().map(|(client, record)| {
                let name = record.metadata.get("client_name").cloned().unwrap_or_default();
                let until = record.vouched.as_ref().map(|vouched| vouched.expires_at);
                json!({"client": client, "name": name, "live": record.live, "since": record.issued_at, "until": until})
            });
            Ok(shown.collect())
        }
        Order::RemovePortal { client, by } => remove_portal(&client, &by, office).await,
        Order::VerifyAudit => {
            let reports = office.store.verify_audit().await.map_err(refused)?;
            let shown = reports.into_iter().map(|report| {
                json!({
                    "node": report.node, "records": report.records,
                    "broken": report.broken.map(|broken| broken.to_string()),
                })
            });
            Ok(shown.collect())
        }
        Order::Reviews | Order::DecideLink { .. } => links(order, office).await,
        Order::Exports { year } => {
            let exports = Exports::new(office.store);
            Ok(json!(exports.count(year, office.now).await.map_err(refused)?))
        }
        order => match office.source {
            Source::Signed { signers, secrets } => change(order, office, &signers.keys(), secrets).await,
            Source::Folder(folder) => {
                let folder = folder.display();
                Err(vec![format!(
                    "this gateway takes whatever is in {folder}: it has no signed bundles to put into effect"
                )])
            }
        },
    }
}

async fn links(order: Order, office: &Office<'_>) -> Answer {
    let fresh = Entropy::default().bytes().map_err(refused)?;
    let key = lasting_secret(office.store, office.seals, "pairwise", fresh, office.now).await.map_err(refused)?;
    let links = Links::new(office.store, office.seals, &key);
    let Order::DecideLink { entry, accept, officer } = order else {
        let waiting = links.reviews(office.now).await.map_err(refused)?;
        let shown = waiting.into_iter().map(|entry| {
            json!({
                "entry": entry.id, "made_at": entry.made_at.0, "first": entry.first, "second": entry.second,
                "ground": entry.ground, "signals": entry.signals,
            })
        });
        return Ok(shown.collect());
    };
    let by = Actor::Officer { name: officer };
    let decided = links.decide(&entry, accept, by, office.now).await.map_err(refused)?;
    Ok(json!({"entry": decided.id, "linked": decided.status == Status::Active}))
}

async fn roll(office: &Office<'_>) -> Result<Roll, Vec<String>> {
    let mut roll = Roll::default();
    let news = roll.news(office.store, office.seals, office.now).await.map_err(refused)?;
    roll.take_in(news);
    Ok(roll)
}

async fn remove_portal(client: &ClientId, by: &str, office: &Office<'_>) -> Answer {
    for _ in 0..TRIES {
        let roll = roll(office).await?;
        if roll.get(client).is_none() {
            return Err(vec![format!("{client} is not on the roll")]);
        }
        let change = (RegistrationChange::Removed, by);
        match roll.enter(office.store, office.seals, (client, None), change, office.now).await {
            Ok(()) => return Ok(json!({"removed": client})),
            // Somebody registered at this moment.
            Err(RollError::Store(StoreError::Conflict)) => {}
            Err(error) => return Err(refused(error)),
        }
    }
    Err(vec!["too many register at once: try again".to_owned()])
}

async fn change(order: Order, office: &Office<'_>, signers: &KeySet, secrets: &Path) -> Answer {
    let (now, activations) = (office.now, Activations::new(office.store, office.seals, signers));
    match order {
        Order::Activate { archive, by, may_lose } => {
            activate((&archive, &by, may_lose), &activations, signers, secrets, now).await
        }
        Order::Cancel { by } => activations.cancel(&by, now).await.map(describe).map_err(refused),
        Order::RollBack { by } => {
            // What once served may not serve any more: a secret is gone, or the program has grown stricter.
            let (_, documents) = activations.before(now).await.map_err(refused)?;
            Catalog::compile(&documents, secrets).map_err(lines)?;
            activations.roll_back(&by, now).await.map(describe).map_err(refused)
        }
        Order::Shadow { archive, by } => {
            let archive = archive.as_ref().map(String::as_bytes);
            if let Some(archive) = archive {
                let (_, documents) = bundle::open(archive, signers).map_err(refused)?;
                catalog::policies(&documents).map_err(lines)?;
            }
            activations.shadow(archive, &by, now).await.map(describe).map_err(refused)
        }
        Order::Bundle => {
            let live = in_effect(&activations, now).await?.live.ok_or_else(|| refused(ActivationError::None))?;
            let archive = activations.archive(&live.version, now).await.map_err(refused)?;
            Ok(Value::String(String::from_utf8(archive).map_err(refused)?))
        }
        Order::Status => {
            let state = in_effect(&activations, now).await?;
            let signer_is_known = match &state.live {
                Some(live) => Some(activations.bundle(&live.version, now).await.is_ok()),
                None => None,
            };
            Ok(json!({
                "live": state.live, "shadow": state.shadow, "waiting": state.waiting, "changes": state.epoch,
                "signer_is_known": signer_is_known,
            }))
        }
        Order::Decisions { .. }
        | Order::Exports { .. }
        | Order::Logouts
        | Order::Portals
        | Order::Retiring
        | Order::RemovePortal { .. }
        | Order::VerifyAudit
        | Order::Reviews
        | Order::DecideLink { .. } => Err(Vec::new()),
    }
}

/// Puts a bundle into effect that could be used, does what its author says, and loses no more than it may.
async fn activate(
    (archive, by, may_lose): (&str, &str, bool),
    activations: &Activations<'_>,
    signers: &KeySet,
    secrets: &Path,
    now: Timestamp,
) -> Answer {
    let (_, documents) = bundle::open(archive.as_bytes(), signers).map_err(refused)?;
    let catalog = Catalog::compile(&documents, secrets).map_err(lines)?;
    let failing = [catalog.policies().test(), documents.lacks()].concat();
    if !failing.is_empty() {
        return Err(lines(failing));
    }
    let before = match in_effect(activations, now).await?.live {
        Some(live) => activations.in_effect(&live, now).await.map_err(refused)?,
        None => bundle::Bundle::default(),
    };
    let lost = documents.loses_much(&before);
    if !lost.is_empty() && !may_lose {
        let lost = lost.join(", ");
        return Err(vec![format!("{lost} would disappear: where that is meant, say so with --may-lose")]);
    }
    let change = activations.activate(archive.as_bytes(), by, now).await.map_err(refused)?;
    let (appears, disappears) = documents.since(&before);
    let mut said = describe(change);
    if let Some(members) = said.as_object_mut() {
        members.insert("appears".to_owned(), json!(appears));
        members.insert("disappears".to_owned(), json!(disappears));
    }
    Ok(said)
}

async fn in_effect(activations: &Activations<'_>, now: Timestamp) -> Result<InEffect, Vec<String>> {
    Ok(InEffect::at(&activations.changes(None, now).await.map_err(refused)?, now))
}

fn describe(change: Change) -> Value {
    json!(change)
}

fn lines(problems: gateway_core::document::Problems) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Listens at a socket that only this process's user can open, from its first moment on: it is made in a folder of its own
/// that nobody else can enter, and moved. One that is left over from a process that is gone is replaced; one that answers is
/// another gateway's, and anything that is no socket is left alone.
///
/// # Errors
/// Why it cannot, as a line for the operator.
pub fn bind(socket: &Path) -> Result<UnixListener, String> {
    let refuse = |error: std::io::Error| format!("{}: {error}", socket.display());
    if std::os::unix::net::UnixStream::connect(socket).is_ok() {
        return Err(format!("{}: another gateway listens here", socket.display()));
    }
    if fs::symlink_metadata(socket).is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(format!("{}: is there already, and no socket", socket.display()));
    }
    let folder = socket.with_extension(format!("{}.tmp", std::process::id()));
    fs::DirBuilder::new().mode(0o700).create(&folder).map_err(refuse)?;
    let made = folder.join("s");
    let bound = UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
        fs::rename(&made, socket)?;
        Ok(listener)
    });
    let _ = fs::remove_file(&made);
    let _ = fs::remove_dir(&folder);
    bound.map_err(refuse)
}

/// Whether whoever connected runs as this process does, or as root.
fn is_ours(stream: &UnixStream) -> bool {
    let own = fs::metadata("/proc/self").map(|own| own.uid()).ok();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || Some(peer.uid()) == own)
}

/// Takes orders until told to stop.
pub async fn serve(listener: UnixListener, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if !is_ours(&stream) => tracing::warn!("an order from another user"),
                Ok((stream, _)) => {
                    let app = Arc::clone(&app);
                    tokio::spawn(async move {
                        if let Err(error) = tokio::time::timeout(PATIENCE, take_order(stream, &app)).await {
                            tracing::warn!(%error, "an order took too long");
                        }
                    });
                }
                Err(error) => tracing::warn!(%error, "control socket"),
            },
            _ = stop.changed() => return,
        }
    }
}

async fn take_order(mut stream: UnixStream, app: &App) {
    let order = match receive(&mut stream).await.map(|bytes| serde_json::from_slice::<Order>(&bytes)) {
        Ok(Ok(order)) => order,
        Ok(Err(error)) => return tracing::warn!(%error, "an order that cannot be read"),
        Err(error) => return tracing::warn!(%error, "control socket"),
    };
    let office =
        Office { store: &app.store, seals: &app.seals, source: app.source(), usage: Some(&app.usage), now: app.now() };
    let answer = carry_out(order, &office).await;
    // Whoever ordered a change finds it made on this node when the answer arrives.
    app.follow().await;
    if let Err(error) = app.follow_roll().await {
        tracing::error!(%error, "the roll of clients cannot be read");
    }
    let bytes = serde_json::to_vec(&answer).unwrap_or_default();
    if let Err(error) = send(&mut stream, &bytes).await {
        tracing::warn!(%error, "control socket");
    }
}

/// Gives an order to the gateway that listens at `socket`; nothing when none does.
///
/// # Errors
/// What it answers.
pub async fn order(socket: &Path, order: &Order) -> Option<Answer> {
    let mut stream = UnixStream::connect(socket).await.ok()?;
    let asked = async {
        send(&mut stream, &serde_json::to_vec(order)?).await?;
        receive(&mut stream).await
    };
    let answer = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(bytes)) => serde_json::from_slice(&bytes).map_err(refused),
        Ok(Err(error)) => Err(refused(error)),
        Err(error) => Err(refused(error)),
    };
    Some(answer.and_then(|answer: Answer| answer))
}

async fn send(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= LONGEST);
    let length = length.ok_or_else(|| std::io::Error::other("too long"))?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn receive(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    if length > LONGEST {
        return Err(std::io::Error::other("too long"));
    }
    let mut bytes = Vec::new();
    stream.take(length.into()).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
