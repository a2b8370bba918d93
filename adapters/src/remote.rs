//! Documents that live at a peer (metadata, key sets), kept parsed.
//!
//! What is fetched is judged before it is kept: a document that fails its checks counts as a failed fetch,
//! and the last good document serves.
//! A document is fetched once however many logins wait for it (single flight), and again at most once a minute
//! however often it is found wanting, so that a flood of unknown `kid`s reaches no peer. When a fetch fails, the last
//! good document serves for up to a day.

use std::sync::Arc;
use std::time::Duration;

use gateway_core::time::Timestamp;
use moka::future::Cache;
use url::Url;

use crate::http::{Http, HttpError};

/// How long a document serves before it is looked at again.
const FRESH: Duration = Duration::from_secs(3_600);
/// How long the last good document serves when its peer is down.
const STALE: Duration = Duration::from_secs(24 * 3_600);
/// The shortest time between two fetches of a document that we have.
const PAUSE: u64 = 60;
/// The shortest time between two fetches of a document that we do not have.
const PAUSE_FIRST: u64 = 2;

struct Kept<T> {
    document: Arc<T>,
    at: Timestamp,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { document: Arc::clone(&self.document), at: self.at }
    }
}

type Attempt<T> = Result<Kept<T>, HttpError>;
/// Reads a document and checks it; or says which check failed.
type Judge<T> = Box<dyn Fn(&[u8]) -> Result<T, &'static str> + Send + Sync>;

/// A cache of remote documents of one kind.
pub struct Remote<T> {
    http: Arc<dyn Http>,
    judge: Judge<T>,
    kept: Cache<Url, Kept<T>>,
    attempts: Cache<(Url, u64), Attempt<T>>,
}

impl<T: Send + Sync + 'static> Remote<T> {
    /// A cache of documents that `judge` reads and checks.
    #[must_use]
    pub fn new(http: Arc<dyn Http>, judge: impl Fn(&[u8]) -> Result<T, &'static str> + Send + Sync + 'static) -> Self {
        Self::keeping(10_000, http, judge)
    }

    /// The same, of at most `most` documents.
    #[must_use]
    pub fn keeping(
        most: u64,
        http: Arc<dyn Http>,
        judge: impl Fn(&[u8]) -> Result<T, &'static str> + Send + Sync + 'static,
    ) -> Self {
        Self {
            http,
            judge: Box::new(judge),
            kept: Cache::builder().max_capacity(most).time_to_live(STALE).build(),
            attempts: Cache::builder().max_capacity(most).time_to_live(Duration::from_secs(2 * PAUSE)).build(),
        }
    }

    /// The document at `url`, as fresh as it has to be.
    ///
    /// # Errors
    /// [`HttpError`] when it cannot be had and no earlier one serves.
    pub async fn get(&self, url: &Url, now: Timestamp) -> Result<Arc<T>, HttpError> {
        match self.kept.get(url).await {
            Some(kept) if kept.at.age(now) < FRESH => Ok(kept.document),
            Some(kept) => Ok(self.fetch(url, now, PAUSE).await.map_or(kept.document, |fetched| fetched.document)),
            None => self.fetch(url, now, PAUSE_FIRST).await.map(|fetched| fetched.document),
        }
    }

    /// The document at `url`, fetched again because the one at hand was found wanting; the same one when that happened
    /// less than a minute ago.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub async fn refresh(&self, url: &Url, now: Timestamp) -> Result<Arc<T>, HttpError> {
        match self.kept.get(url).await {
            Some(kept) => Ok(self.fetch(url, now, PAUSE).await.map_or(kept.document, |fetched| fetched.document)),
            None => self.get(url, now).await,
        }
    }

    async fn fetch(&self, url: &Url, now: Timestamp, pause: u64) -> Attempt<T> {
        let attempt = self.attempts.get_with((url.clone(), now.0 / pause), self.download(url, now)).await;
        if let Ok(kept) = &attempt {
            self.kept.insert(url.clone(), kept.clone()).await;
        }
        attempt
    }

    async fn download(&self, url: &Url, now: Timestamp) -> Attempt<T> {
        let request = http::Request::get(url.as_str())
            .header("accept", "application/json")
            .body(Vec::new())
            .map_err(|error| HttpError::Connect(error.to_string()))?;
        let response = self.http.send(request).await?;
        if response.status() != http::StatusCode::OK {
            return Err(HttpError::Status(response.status().as_u16()));
        }
        let document = (self.judge)(response.body()).map_err(|why| {
            tracing::warn!(%url, why, "a fetched document fails a check");
            HttpError::Unusable(why)
        })?;
        Ok(Kept { document: Arc::new(document), at: now })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;

    #[derive(Default)]
    struct Counting {
        calls: AtomicUsize,
        broken: std::sync::atomic::AtomicBool,
    }

    #[async_trait]
    impl Http for Counting {
        async fn send(&self, _: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            if self.broken.load(Ordering::SeqCst) {
                return Err(HttpError::Timeout);
            }
            Ok(http::Response::new(call.to_string().into_bytes()))
        }
    }

    fn remote() -> (Arc<Counting>, Remote<String>, Url) {
        let http = Arc::new(Counting::default());
        let remote = Remote::new(Arc::clone(&http) as Arc<dyn Http>, |bytes| match bytes {
            b"7" => Err("wrong"),
            sound => String::from_utf8(sound.to_vec()).map_err(|_| "no text"),
        });
        (http, remote, "https://peer.example/jwks".parse().unwrap())
    }

    const T0: Timestamp = Timestamp(60_000);

    #[tokio::test]
    async fn a_hundred_waiters_are_one_fetch() {
        let (http, remote, url) = remote();
        let remote = Arc::new(remote);
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let (remote, url) = (Arc::clone(&remote), url.clone());
                tokio::spawn(async move { remote.get(&url, T0).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(http.calls.load(Ordering::SeqCst), 1);
    }

    /// F7 and F10: a flood of unknown names is at most one fetch a minute.
    #[tokio::test]
    async fn f10_a_flood_of_refreshes_is_one_fetch_a_minute() {
        let (http, remote, url) = remote();
        remote.get(&url, T0).await.unwrap();
        for _ in 0..50 {
            remote.refresh(&url, T0.plus(Duration::from_secs(60))).await.unwrap();
        }
        assert_eq!(http.calls.load(Ordering::SeqCst), 2);
        remote.refresh(&url, T0.plus(Duration::from_secs(120))).await.unwrap();
        assert_eq!(http.calls.load(Ordering::SeqCst), 3);
    }

    /// F9: the last good set serves while its peer is down.
    #[tokio::test]
    async fn f9_the_last_good_document_serves_while_the_peer_is_down() {
        let (http, remote, url) = remote();
        assert_eq!(*remote.get(&url, T0).await.unwrap(), "0");
        http.broken.store(true, Ordering::SeqCst);
        let later = T0.plus(FRESH).plus(Duration::from_secs(1));
        assert_eq!(*remote.get(&url, later).await.unwrap(), "0");
        assert_eq!(*remote.refresh(&url, later).await.unwrap(), "0");
        http.broken.store(false, Ordering::SeqCst);
        let much_later = later.plus(Duration::from_secs(120));
        assert_ne!(*remote.get(&url, much_later).await.unwrap(), "0");
    }

    /// A document that fails its checks replaces no good one, and is looked at again after the usual pause.
    #[tokio::test]
    async fn what_fails_its_check_is_a_fetch_that_failed() {
        let (http, remote, url) = remote();
        http.calls.store(6, Ordering::SeqCst);
        assert_eq!(*remote.get(&url, T0).await.unwrap(), "6");
        let later = T0.plus(FRESH).plus(Duration::from_secs(1));
        assert_eq!(*remote.get(&url, later).await.unwrap(), "6", "the next answer is wrong");
        assert_eq!(http.calls.load(Ordering::SeqCst), 8);
        assert_eq!(*remote.get(&url, later.plus(Duration::from_secs(60))).await.unwrap(), "8");
        // Where there is none before, the failure is told and not kept.
        let (http, remote, url) = self::remote();
        http.calls.store(7, Ordering::SeqCst);
        assert_eq!(remote.get(&url, T0).await.unwrap_err(), HttpError::Unusable("wrong"));
        assert_eq!(*remote.get(&url, T0.plus(Duration::from_secs(2))).await.unwrap(), "8");
    }

    #[tokio::test]
    async fn a_first_fetch_that_failed_is_tried_again_soon() {
        let (http, remote, url) = remote();
        http.broken.store(true, Ordering::SeqCst);
        assert_eq!(remote.get(&url, T0).await.unwrap_err(), HttpError::Timeout);
        http.broken.store(false, Ordering::SeqCst);
        assert!(remote.get(&url, T0.plus(Duration::from_secs(2))).await.is_ok());
    }
}
