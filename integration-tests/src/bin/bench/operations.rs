//! What each operation of a portal costs: a whole login in three profiles, a refresh, a question about a token, the claims. One
//! thing at a time, many times over, against the gateway and the comparison in one run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::elsewhere::without_a_browser;
use crate::load::PATIENCE;
use crate::login::{Fault, code, login};
use crate::portal::{CLIENT, Profile, Rp, Tokens};
use crate::process::Usage;
use crate::rig::Target;
use crate::site::Site;

/// How many are under way at once.
const AT_ONCE: usize = 4;

/// One operation of one target.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Price {
    /// What it is called.
    pub(crate) name: &'static str,
    /// CPU of one, microseconds.
    pub(crate) cpu_us: f64,
    /// How many were measured.
    pub(crate) count: u32,
}

/// The portals of this benchmark: one of each profile.
pub(crate) const PORTALS: [(&str, Profile); 3] =
    [("bench-legacy", Profile::Legacy), (CLIENT, Profile::Baseline), ("bench-fapi2", Profile::Fapi2)];

/// A counter: what it is remembered by makes its logins dearer, so it is a portal of its own.
pub(crate) const COUNTER: &str = "bench-counter";

/// Everything, one after the other, each for so many seconds.
pub(crate) async fn prices(target: &Target, each: Duration) -> Result<Vec<Price>, Fault> {
    let (site, pid) = (&target.site, target.process.pid());
    let mut prices = Vec::new();
    for ((id, profile), name) in
        PORTALS.into_iter().zip(["login, legacy", "login, baseline", "login, FAPI 2.0 with PAR and DPoP"])
    {
        let rp = Arc::new(Rp::new(id, profile)?);
        // Code and caches warm up, and the portal has its first nonce.
        login(site, &rp, Instant::now()).await?;
        let price = many(pid, name, each, |_| {
            let (site, rp) = (Arc::clone(site), Arc::clone(&rp));
            async move { login(&site, &rp, Instant::now()).await.map(|_| ()) }
        });
        prices.push(price.await?);
    }
    for (profile, names) in [
        (Profile::Baseline, ["refresh, baseline", "introspection, baseline", "userinfo, baseline"]),
        (Profile::Fapi2, ["refresh, FAPI 2.0", "introspection, FAPI 2.0", "userinfo, FAPI 2.0"]),
    ] {
        prices.extend(of_tokens(site, pid, profile, names, each).await?);
    }
    // The comparison offers none of these.
    if site.kind.resource.is_some() {
        prices.extend(without_a_browser(site, pid, each).await?);
    }
    Ok(prices)
}

/// What is done with tokens, after one login for each that is under way at once.
async fn of_tokens(
    site: &Arc<Site>,
    pid: u32,
    profile: Profile,
    names: [&'static str; 3],
    each: Duration,
) -> Result<Vec<Price>, Fault> {
    let (id, _) =
        PORTALS.into_iter().find(|(_, own)| *own == profile).ok_or_else(|| Fault::from("no portal".to_owned()))?;
    let rp = Arc::new(Rp::new(id, profile)?);
    let held: Arc<Vec<tokio::sync::Mutex<Option<Tokens>>>> = {
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(tokio::sync::Mutex::new(Some(offline(site, &rp).await?)));
        }
        Arc::new(held)
    };
    let [refresh, introspection, userinfo] = names;
    let with = |what: fn(Arc<Site>, Arc<Rp>, Tokens) -> Done| {
        let (site, rp, held) = (Arc::clone(site), Arc::clone(&rp), Arc::clone(&held));
        move |lane: usize| {
            let (site, rp, held) = (Arc::clone(&site), Arc::clone(&rp), Arc::clone(&held));
            async move {
                let Some(own) = held.get(lane) else { return Err(Fault::from("no lane".to_owned())) };
                let mut own = own.lock().await;
                let tokens = own.take().ok_or_else(|| Fault::from("the tokens were lost".to_owned()))?;
                *own = Some(what(site, rp, tokens).await?);
                Ok(())
            }
        }
    };
    let refreshed = with(|site, rp, tokens| Box::pin(async move { rp.refresh(&site, tokens).await }));
    let introspected =
        with(|site, rp, tokens| Box::pin(async move { rp.introspect(&site, &tokens).await.map(|()| tokens) }));
    let fetched = with(|site, rp, tokens| Box::pin(async move { rp.userinfo(&site, &tokens).await.map(|()| tokens) }));
    Ok(vec![
        many(pid, refresh, each, refreshed).await?,
        many(pid, introspection, each, introspected).await?,
        many(pid, userinfo, each, fetched).await?,
    ])
}

type Done = std::pin::Pin<Box<dyn Future<Output = Result<Tokens, Fault>> + Send>>;

/// A login whose tokens can be refreshed.
pub(crate) async fn offline(site: &Site, rp: &Rp) -> Result<Tokens, Fault> {
    let scope = format!("{} offline_access", site.kind.scope);
    let asked = rp.ask(site, &[("scope", scope.as_str()), ("prompt", "consent")]).await?;
    let code = code(site, &asked).await?;
    rp.redeem(site, &code, &asked).await
}

/// The price of something that is done over and over, a few at once, for so long.
pub(crate) async fn many<F>(
    pid: u32,
    name: &'static str,
    each: Duration,
    what: impl Fn(usize) -> F,
) -> Result<Price, Fault>
where
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let began = Instant::now();
    lanes(pid, name, what, |_| began.elapsed() < each).await
}

/// The price of something that is done so often, each time with another number.
pub(crate) async fn repeated<F>(
    pid: u32,
    name: &'static str,
    times: usize,
    what: impl Fn(usize) -> F,
) -> Result<Price, Fault>
where
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let next = std::sync::atomic::AtomicUsize::new(0);
    let numbered = |_| what(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    lanes(pid, name, numbered, |started| started < times).await
}

async fn lanes<F>(
    pid: u32,
    name: &'static str,
    what: impl Fn(usize) -> F,
    goes_on: impl Fn(usize) -> bool,
) -> Result<Price, Fault>
where
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let mut lanes = tokio::task::JoinSet::new();
    let (from, mut count, mut started) = (Usage::of(pid).cpu(), 0_u32, AT_ONCE);
    let start = |lanes: &mut tokio::task::JoinSet<(usize, Result<(), Fault>)>, lane: usize| {
        let one = what(lane);
        lanes.spawn(async move {
            let done = tokio::time::timeout(PATIENCE, one).await;
            (lane, done.unwrap_or_else(|_| Err(Fault::from("not finished in time".to_owned()))))
        });
    };
    for lane in 0..AT_ONCE {
        start(&mut lanes, lane);
    }
    while let Some(done) = lanes.join_next().await {
        let (lane, outcome) = done.map_err(|error| Fault::from(error.to_string()))?;
        outcome?;
        count += 1;
        if goes_on(started) {
            start(&mut lanes, lane);
            started += 1;
        }
    }
    let spent = Usage::of(pid).cpu() - from;
    Ok(Price { name, cpu_us: spent * 1e6 / f64::from(count), count })
}
