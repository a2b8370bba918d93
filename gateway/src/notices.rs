//! Telling clients that a session ended (OpenID Connect Back-Channel Logout 1.0): laid down with the end itself, sent at once,
//! and tried again until the client says that it heard, or a day is over. Operators see what waits and what was given up.

use std::time::Duration;

use futures_util::future::join_all;
use gateway_core::digest::sha256;
use gateway_core::ids::{ClientId, base64url};
use gateway_core::logout;
use gateway_core::time::Timestamp;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::op::protect;
use crate::seal::{SealError, Seals};
use crate::store::{Batch, Class, Key, Store, StoreError, Write};

/// Notices that wait: by client, and of each in the order in which they are due.
const WAITING: &str = "logout-notice";
/// Those that were given up.
const GIVEN_UP: &str = "logout-given-up";
/// Which node is sending one just now.
const CLAIM: &str = "logout-claim";
/// How many operators are shown.
const PAGE: usize = 100;
/// Of how many clients, at most, notices are sent at a time.
const CLIENTS: usize = 10_000;
/// How many of one client are sent at a time.
const SHARE: usize = 20;
/// How long a client has to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after each failed attempt the next one is made.
const PAUSES: [u64; 7] = [15, 60, 300, 1_200, 3_600, 14_400, 43_200];
/// How long operators see what was given up.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// One client that has to be told of one session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Notice {
    /// Names it.
    pub id: String,
    /// Whom to tell.
    pub client: ClientId,
    /// The person, as the client knows them.
    pub subject: String,
    /// The session, as the client knows it.
    pub sid: String,
    /// When the session ended.
    pub made_at: Timestamp,
    /// How often it was tried.
    pub attempts: usize,
    /// Why the last attempt failed.
    pub failure: String,
    /// When it is tried next.
    pub due: Timestamp,
}

/// What operators are told of a notice: no person and no session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shown {
    /// Who has not heard.
    pub client: ClientId,
    /// Since when.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: usize,
    /// Why the last attempt failed.
    pub failure: String,
    /// When it is tried next; nothing, when it was given up.
    pub next: Option<Timestamp>,
}

/// Why notices cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealing.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A stored notice is not one of ours.
    #[error("a stored notice cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl Notice {
    fn key(&self) -> Key {
        let client = base64url(&sha256(self.client.as_str().as_bytes()));
        Key::new(WAITING, &format!("{client}/{:020}-{}", self.due.0, self.id))
    }

    /// The write that lays it down.
    ///
    /// # Errors
    /// [`NoticeError`].
    pub fn laid_down(&self, seals: &Seals) -> Result<Write, NoticeError> {
        let key = self.key();
        let sealed = seals.at_rest(key.as_str(), &serde_json::to_vec(self)?)?;
        Ok(Write::Put(key, sealed, None))
    }

    fn shown(&self, next: Option<Timestamp>) -> Shown {
        Shown {
            client: self.client.clone(),
            since: self.made_at,
            attempts: self.attempts,
            failure: self.failure.clone(),
            next,
        }
    }
}

/// What waits and what was given up, for operators.
///
/// # Errors
/// [`NoticeError`].
pub async fn shown(store: &Store, seals: &Seals, now: Timestamp) -> Result<Vec<Shown>, NoticeError> {
    let mut all = Vec::new();
    for (table, given_up) in [(GIVEN_UP, true), (WAITING, false)] {
        for (key, sealed) in store.list(table, None, PAGE, now).await? {
            let notice: Notice = serde_json::from_slice(&seals.open_at_rest(key.as_str(), &sealed)?)?;
            let next = (!given_up).then_some(notice.due);
            all.push(notice.shown(next));
        }
    }
    Ok(all)
}

/// Sends every notice that is due; nodes share them.
///
/// # Errors
/// [`NoticeError`]; what was not sent waits.
pub async fn send_due(app: &App) -> Result<(), NoticeError> {
    let now = app.now();
    let (mut after, mut sending) = (None, Vec::new());
    for _ in 0..CLIENTS {
        let page = app.store.list(WAITING, after.as_ref(), SHARE, now).await?;
        let Some((first, _)) = page.first() else { break };
        let client = first.id().split_once('/').map_or(first.id(), |(client, _)| client);
        let own = page.iter().take_while(|(key, _)| key.id().starts_with(client));
        let notices = own.filter_map(|(key, sealed)| Some((key.clone(), read(app, key, sealed)?)));
        sending.extend(notices.filter(|(_, notice)| notice.due <= now));
        // Behind all of this client's: one that does not answer takes nobody else's turn.
        after = Some(if client == first.id() { first.clone() } else { Key::new(WAITING, &format!("{client}0")) });
    }
    join_all(sending.into_iter().map(|(key, notice)| send_stored(app, key, notice)))
        .await
        .into_iter()
        .try_for_each(|sent| sent.map(|_| ()))
}

/// A stored notice; one that cannot be read is named in the log and stops nobody.
fn read(app: &App, key: &Key, sealed: &[u8]) -> Option<Notice> {
    let plain = app.seals.open_at_rest(key.as_str(), sealed).ok();
    let notice = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
    if notice.is_none() {
        tracing::error!(key = key.as_str(), "a stored logout notice cannot be read");
    }
    notice
}

/// Sends one notice. True when the client has heard.
///
/// # Errors
/// [`NoticeError`]; it waits then.
pub async fn send(app: &App, notice: &Notice) -> Result<bool, NoticeError> {
    send_stored(app, notice.key(), notice.clone()).await
}

/// The same for one that lies under this key.
async fn send_stored(app: &App, key: Key, notice: Notice) -> Result<bool, NoticeError> {
    let now = app.now();
    let claim = Key::new(CLAIM, &format!("{}-{}", notice.id, notice.attempts));
    let claim = Batch::of(Write::Insert(claim, Vec::new(), Some(now.plus(2 * PATIENCE))));
    match app.store.commit(Class::Ephemeral, claim, now).await {
        // Another node is at it.
        Err(StoreError::Conflict) => return Ok(false),
        claimed => claimed?,
    }
    let change = match deliver(app, &notice).await {
        Ok(()) => Batch::of(Write::Delete(key)),
        Err(failure) => {
            tracing::warn!(client = %notice.client, attempts = notice.attempts + 1, failure, "a client did not hear of a logout");
            let mut notice = Notice { failure, ..notice };
            let pause = PAUSES.get(notice.attempts).copied();
            notice.attempts += 1;
            let again = match pause {
                Some(pause) => {
                    notice.due = now.plus(Duration::from_secs(pause));
                    notice.laid_down(&app.seals)?
                }
                None => {
                    let key = Key::new(GIVEN_UP, &notice.id);
                    let sealed = app.seals.at_rest(key.as_str(), &serde_json::to_vec(&notice)?)?;
                    Write::Put(key, sealed, Some(now.plus(KEPT)))
                }
            };
            app.store.commit(Class::Durable, Batch::of(Write::Delete(key)).and(again), now).await?;
            return Ok(false);
        }
    };
    app.store.commit(Class::Durable, change, now).await?;
    Ok(true)
}

/// One attempt (Back-Channel Logout section 2.5): heard means status 200 or 204.
async fn deliver(app: &App, notice: &Notice) -> Result<(), String> {
    let active = app.bundle();
    let Some(registered) = active.client(&notice.client) else {
        // Nobody is left to be told, or somebody who is let in again when a federation vouches for them.
        return match active.roll().get(&notice.client) {
            None => Ok(()),
            Some(_) => Err("it is not let in just now".to_owned()),
        };
    };
    let client = &registered.client;
    let Some(uri) = &client.backchannel_logout_uri else { return Ok(()) };
    let unique = app.entropy.token().map_err(|error| error.to_string())?;
    let claims = logout::token(&app.issuer, &client.id, &notice.subject, &notice.sid, unique.expose(), app.now());
    let token = protect::signed_id_token(app, registered, "logout+jwt", &claims).await;
    let token = token.map_err(|error| error.to_string())?;
    let request = http::Request::post(uri.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .body(format!("logout_token={token}").into_bytes())
        .map_err(|error| error.to_string())?;
    match tokio::time::timeout(PATIENCE, app.http().send(request)).await {
        Ok(Ok(answer)) if matches!(answer.status().as_u16(), 200 | 204) => Ok(()),
        Ok(Ok(answer)) => Err(format!("status {}", answer.status().as_u16())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
