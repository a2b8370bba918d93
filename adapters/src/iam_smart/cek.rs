//! The content key: fetched once for all nodes, renewed before it ends and whenever the provider does not know it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certs::envelope::{ContentKey, KeyEncryptionKey};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::call::{Api, Attempt};
use super::wire;
use crate::error::UpstreamError;
use crate::http::HttpError;
use crate::{Fresh, Step};

/// How long before its end a key is no longer used, in seconds.
const MARGIN: u64 = 60;
/// A lifetime above this number of milliseconds is a point in time: a sample shows one in place of a span.
const ABSOLUTE: u64 = 1_000_000_000_000;
/// The shortest time between two questions that unknown deliveries bring about.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest that a key is believed to live, in seconds.
const LONGEST: u64 = 7 * 86_400;

/// A key, and the second in which it ends.
#[derive(Clone)]
struct Live {
    key: Arc<ContentKey>,
    ends_at: Timestamp,
}

/// What the nodes share: the keys in use, newest first. The older one still opens deliveries that were on their way.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// The digest of the key-encryption key that they came under.
    kek: String,
    keys: Vec<(Secret<String>, Timestamp)>,
}

/// The content keys of one client identifier.
pub(super) struct ContentKeys {
    kek: KeyEncryptionKey,
    kek_digest: String,
    /// The keys that this node has at hand, newest first. Reading them waits for no call.
    live: RwLock<Vec<Live>>,
    /// Held while a key is fetched, so that a hundred logins fetch one.
    asked: Mutex<Asked>,
}

/// When the provider was asked for a key.
#[derive(Default)]
struct Asked {
    /// When the provider was last asked in vain.
    failed: Option<(Instant, HttpError)>,
    /// When it was last asked because of a delivery that no known key opens.
    looked: Option<Instant>,
}

impl Asked {
    /// Whoever waited while somebody else asked in vain has their answer: a hundred do not wait one after the other.
    fn still_worth_asking(&self, since: Instant) -> Result<(), UpstreamError> {
        match &self.failed {
            Some((at, error)) if *at >= since => Err(error.clone().into()),
            _ => Ok(()),
        }
    }
}

/// The answer to a request for a key, which itself is not encrypted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyContent {
    secret_key: Secret<String>,
    issue_at: u64,
    expires_in: u64,
}

impl ContentKeys {
    /// Keys that come under `kek`.
    pub(super) fn new(kek: KeyEncryptionKey, kek_digest: String) -> Self {
        Self { kek, kek_digest, live: RwLock::default(), asked: Mutex::default() }
    }

    fn live(&self) -> Vec<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_live(&self, live: Vec<Live>) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// The key to seal and open with now. `label` keeps the randomness of this call apart: one step may need a key twice.
    pub(super) async fn current(
        &self,
        api: &Api,
        step: Step<'_>,
        label: &str,
    ) -> Result<Arc<ContentKey>, UpstreamError> {
        let own = || usable(&self.live(), step.now);
        if let Some(key) = own() {
            return Ok(key);
        }
        let since = Instant::now();
        let mut asked = self.asked.lock().await;
        if let Some(key) = own() {
            return Ok(key);
        }
        asked.still_worth_asking(since)?;
        self.set_live(self.load(api, step.now).await?);
        match own() {
            Some(key) => Ok(key),
            None => self.fetch(api, &mut asked, None, (step, label)).await,
        }
    }

    /// Another key in place of `refused`, which the provider no longer takes; whoever comes first fetches it.
    pub(super) async fn renewed(
        &self,
        api: &Api,
        refused: &ContentKey,
        step: Step<'_>,
        label: &str,
    ) -> Result<Arc<ContentKey>, UpstreamError> {
        let since = Instant::now();
        let mut asked = self.asked.lock().await;
        let other = || usable(&self.live(), step.now).filter(|key| **key != *refused);
        if let Some(key) = other() {
            return Ok(key);
        }
        asked.still_worth_asking(since)?;
        self.set_live(self.load(api, step.now).await?);
        match other() {
            Some(key) => Ok(key),
            None => self.fetch(api, &mut asked, Some(refused), (step, label)).await,
        }
    }

    /// Every key under which a delivery may be sealed: the ones that some node of ours fetched, each laid down before it
    /// is used, and no others.
    pub(super) async fn known(&self, api: &Api, now: Timestamp) -> Result<Vec<Arc<ContentKey>>, UpstreamError> {
        let known = self.load(api, now).await?;
        Ok(known.into_iter().map(|live| live.key).collect())
    }

    /// The ones that this node has at hand.
    pub(super) fn at_hand(&self, now: Timestamp) -> Vec<Arc<ContentKey>> {
        self.live().into_iter().filter(|live| !live.ends_at.is_past(now)).map(|live| live.key).collect()
    }

    /// The provider's key of now, for a delivery that none of ours opens: it may have changed while the person thought.
    /// Strangers bring this about as well, so the provider is asked once in a while, and a login that has a usable key waits
    /// for none of these calls.
    pub(super) async fn of_now(&self, api: &Api, step: Step<'_>) -> Option<Arc<ContentKey>> {
        let mut asked = self.asked.try_lock().ok()?;
        if asked.looked.is_some_and(|at| at.elapsed() < PAUSE) {
            return None;
        }
        asked.looked = Some(Instant::now());
        self.fetch(api, &mut asked, None, (step, "delivery")).await.ok()
    }

    /// The key in a `secretKey` that an authenticated peer sent.
    pub(super) fn open(&self, secret_key: &str) -> Option<ContentKey> {
        wire::content_key(&self.kek.decrypt(&STANDARD.decode(secret_key).ok()?)?)
    }

    async fn fetch(
        &self,
        api: &Api,
        asked: &mut Asked,
        refused: Option<&ContentKey>,
        (step, label): (Step<'_>, &str),
    ) -> Result<Arc<ContentKey>, UpstreamError> {
        let mut content = match self.ask(api, step.fresh, &format!("{label}/get-key")).await {
            Err(UpstreamError::Unavailable(error)) => {
                asked.failed = Some((Instant::now(), error.clone()));
                return Err(error.into());
            }
            answer => answer?,
        };
        let mut key = self.open(content.secret_key.expose());
        if key.as_ref().is_none_or(|key| Some(key) == refused) {
            // A key that lives under an earlier key-encryption key, or that is broken, stays until it is revoked.
            api.post_empty("security/revokeKey", step.fresh, &format!("{label}/revoke-key")).await?.accepted()?;
            content = self.ask(api, step.fresh, &format!("{label}/get-key-again")).await?;
            key = self.open(content.secret_key.expose());
        }
        let key = key.ok_or_else(|| UpstreamError::misbehaved("the content key cannot be opened"))?;
        let new = Live { key: Arc::new(key), ends_at: ends_at(&content, step.now) };
        tracing::info!(client = api.client_id(), until = new.ends_at.0, "content key fetched");
        let mut live = self.live();
        live.retain(|old| old.key != new.key && !old.ends_at.is_past(step.now));
        live.insert(0, new.clone());
        live.truncate(2);
        // Laid down before it is used: any node may get the delivery that is sealed under it.
        self.keep(api, &live, step.now).await?;
        self.set_live(live);
        Ok(new.key)
    }

    async fn ask(&self, api: &Api, fresh: &Fresh, label: &str) -> Result<KeyContent, UpstreamError> {
        let content = match api.post_empty("security/getKey", fresh, label).await? {
            Attempt::Done(content) => content,
            Attempt::Refused(code) => return Err(code.error()),
        };
        serde_json::from_value(content).map_err(|_| UpstreamError::misbehaved("the answer holds no content key"))
    }

    async fn load(&self, api: &Api, now: Timestamp) -> Result<Vec<Live>, UpstreamError> {
        let stored = api.shared().load(&name(api), now).await?;
        let kept: Kept = stored.and_then(|text| serde_json::from_str(text.expose()).ok()).unwrap_or_default();
        if kept.kek != self.kek_digest {
            return Ok(Vec::new());
        }
        let read = |(text, ends_at): (Secret<String>, Timestamp)| {
            let key = ContentKey::new(&STANDARD.decode(text.expose()).ok()?).ok()?;
            Some(Live { key: Arc::new(key), ends_at })
        };
        Ok(kept.keys.into_iter().filter_map(read).filter(|live| !live.ends_at.is_past(now)).collect())
    }

    async fn keep(&self, api: &Api, live: &[Live], now: Timestamp) -> Result<(), UpstreamError> {
        let keys = live.iter().map(|live| (Secret::new(STANDARD.encode(live.key.expose())), live.ends_at)).collect();
        let kept = Kept { kek: self.kek_digest.clone(), keys };
        let text = serde_json::to_string(&kept).map_err(|_| UpstreamError::misbehaved("a key cannot be written"))?;
        let until = live.iter().map(|live| live.ends_at).max().unwrap_or(now);
        Ok(api.shared().keep(&name(api), &Secret::new(text), until, now).await?)
    }
}

fn name(api: &Api) -> String {
    format!("iam-smart-content-key/{}", api.client_id())
}

fn usable(live: &[Live], now: Timestamp) -> Option<Arc<ContentKey>> {
    let newest = live.first()?;
    (newest.ends_at.0 > now.0 + MARGIN).then(|| Arc::clone(&newest.key))
}

/// When a key ends, by our own clock: what the provider says, but never later than we believe any key to live. A key
/// that is said to end within the margin is used for this one call.
fn ends_at(content: &KeyContent, now: Timestamp) -> Timestamp {
    let millis = if content.expires_in > ABSOLUTE {
        content.expires_in
    } else {
        content.issue_at.saturating_add(content.expires_in)
    };
    Timestamp((millis / 1_000).min(now.0 + LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_span_or_a_point_in_time_and_never_far_away() {
        let now = Timestamp(1_700_000_000);
        let content =
            |issue_at, expires_in| KeyContent { secret_key: Secret::new(String::new()), issue_at, expires_in };
        assert_eq!(ends_at(&content(1_700_000_000_000, 3_600_000), now), Timestamp(1_700_003_600));
        assert_eq!(ends_at(&content(1_700_000_000_000, 1_700_003_600_000), now), Timestamp(1_700_003_600));
        assert_eq!(
            ends_at(&content(1_700_000_000_000, u64::MAX), now),
            now.plus(std::time::Duration::from_secs(LONGEST))
        );
    }
}
