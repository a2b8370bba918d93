//! Far more than it can do: what a gateway still does then, and how soon it is itself again.
//!
//! The gateway is held to a share of its core, so that the generator can offer many times what it can do. Rates are of its own
//! peak, which is looked for first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::Failed;
use crate::load::{self, PATIENCE, Plan};
use crate::login::{Fault, Timing, login};
use crate::portal::{CLIENT, Profile, Rp};
use crate::process::Usage;
use crate::site::Site;

/// How long too much is offered.
const TOO_MUCH: Duration = Duration::from_secs(30);
/// Of that, what is left out: until everything that was begun before is done.
const SETTLES: Duration = Duration::from_secs(5);
/// How long less than the peak is offered afterwards, and what share of it.
const AFTER: Duration = Duration::from_secs(20);
const NORMAL: f64 = 0.7;
/// How many requests of the portal run at once, at most.
const SHARED: usize = 256;
/// A login of normal service takes less.
const SOON: Duration = Duration::from_secs(2);

/// One overload.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Overload {
    /// How many times the peak was offered.
    pub(crate) factor: f64,
    /// Logins a second that were sent.
    pub(crate) offered: f64,
    /// Logins a second that were finished meanwhile.
    pub(crate) finished: f64,
    /// The most a second that were finished without overload.
    pub(crate) peak: f64,
    /// What part of a core the gateway used meanwhile.
    pub(crate) busy: f64,
    /// Why logins that began then came to nothing: how often.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Seconds after the overload from which on every login succeeded and took less than two.
    pub(crate) normal_after: f64,
}

/// How one login went: when it began and ended, since the beginning.
struct Outcome {
    began: Duration,
    ended: Duration,
    done: Result<Timing, Fault>,
}

/// The most logins a second that are finished: the best of rising rates, until more is offered than is done.
pub(crate) async fn peak(site: &Arc<Site>, pid: u32, from: f64, cores: (usize, usize)) -> Result<f64, Failed> {
    let (mut best, mut rate) = (0.0_f64, from);
    loop {
        let (warmup, measured) = (Duration::from_secs(3), Duration::from_secs(10));
        let load = load::run(site, pid, Plan { rate, warmup, measured, cores }).await?;
        eprintln!("{rate:.0}/s offered, {:.1}/s finished, p99 {:.0} ms", load.finished, load.whole.p99);
        best = best.max(load.finished);
        if load.finished < 0.9 * rate {
            return Ok(best);
        }
        rate *= 1.15;
    }
}

/// Offers `factor` times the peak, and then less than the peak.
pub(crate) async fn overload(site: &Arc<Site>, pid: u32, peak: f64, factor: f64) -> Result<Overload, Failed> {
    let rp = Arc::new(Rp::new(CLIENT, Profile::Baseline)?);
    let began = Instant::now();
    let mut running = JoinSet::new();
    // A portal keeps its connections, and shares them among its requests.
    site.back_end.widen(SHARED).await?;
    let before = Usage::of(pid).cpu();
    offer(&mut running, site, &rp, began, (Duration::ZERO, TOO_MUCH), factor * peak).await;
    let busy = (Usage::of(pid).cpu() - before) / TOO_MUCH.as_secs_f64();
    offer(&mut running, site, &rp, began, (TOO_MUCH, TOO_MUCH + AFTER), NORMAL * peak).await;
    let outcomes: Vec<Outcome> = running.join_all().await;
    let during = |moment: Duration| (SETTLES..TOO_MUCH).contains(&moment);
    let finished = outcomes.iter().filter(|one| one.done.is_ok() && during(one.ended)).count();
    let mut errors = BTreeMap::new();
    for one in outcomes.iter().filter(|one| one.began < TOO_MUCH) {
        if let Err(fault) = &one.done {
            *errors.entry(fault.kind.clone()).or_insert(0) += 1;
        }
    }
    let slow = |one: &&Outcome| one.began >= TOO_MUCH && (one.done.is_err() || one.ended - one.began > SOON);
    let last = outcomes.iter().filter(slow).map(|one| one.began - TOO_MUCH).max();
    Ok(Overload {
        factor,
        offered: factor * peak,
        finished: f64::from(u32::try_from(finished).unwrap_or(u32::MAX)) / (TOO_MUCH - SETTLES).as_secs_f64(),
        peak,
        busy,
        errors,
        normal_after: last.unwrap_or_default().as_secs_f64(),
    })
}

/// Sends logins at a rate, whether or not earlier ones are done.
async fn offer(
    running: &mut JoinSet<Outcome>,
    site: &Arc<Site>,
    rp: &Arc<Rp>,
    start: Instant,
    (from, to): (Duration, Duration),
    rate: f64,
) {
    for number in 0_u32.. {
        let began = from + Duration::from_secs_f64(f64::from(number) / rate);
        if began >= to {
            return;
        }
        tokio::time::sleep_until((start + began).into()).await;
        let (site, rp) = (Arc::clone(site), Arc::clone(rp));
        running.spawn(async move {
            let done = tokio::time::timeout(PATIENCE, login(&site, &rp, start + began)).await;
            let done = done.unwrap_or_else(|_| Err(Fault::from("not finished in time".to_owned())));
            Outcome { began, ended: start.elapsed(), done }
        });
    }
}
