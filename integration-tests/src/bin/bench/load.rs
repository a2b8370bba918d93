//! Open-loop load: logins begin at a fixed rate whether or not earlier ones are done, and each is timed from the moment it
//! was meant to begin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::Failed;
use crate::login::{Fault, Timing, login};
use crate::portal::{CLIENT, Profile, Rp};
use crate::process::{Usage, core_busy};
use crate::site::Site;
use crate::upstream::Tally;

/// How long a login may take before it counts as an error.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// What to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Logins a second.
    pub(crate) rate: f64,
    /// Before anything is measured.
    pub(crate) warmup: Duration,
    /// What is measured.
    pub(crate) measured: Duration,
    /// The cores of the process that is measured, and of the generator.
    pub(crate) cores: (usize, usize),
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Percentiles {
    /// Half are faster.
    pub(crate) p50: f64,
    /// All but one in a hundred are faster.
    pub(crate) p99: f64,
    /// The slowest.
    pub(crate) max: f64,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Load {
    /// Logins a second that were sent.
    pub(crate) offered: f64,
    /// Logins a second that were finished while measuring.
    pub(crate) finished: f64,
    /// Whole logins.
    pub(crate) whole: Percentiles,
    /// The part of each that what is measured took: all answers and handshakes summed.
    pub(crate) waited: Percentiles,
    /// Token requests.
    pub(crate) token: Percentiles,
    /// Requests in one login: the browser's, the portal's and deliveries.
    pub(crate) requests: f64,
    /// Of them, looks at the waiting page that found no news.
    pub(crate) looks: f64,
    /// Of them, deliveries by the identity system.
    pub(crate) deliveries: f64,
    /// Calls to the identity system in one login.
    pub(crate) calls: f64,
    /// Of them, token calls.
    pub(crate) token_calls: f64,
    /// Of them, for the person's data.
    pub(crate) data_calls: f64,
    /// Fetches of the identity system's keys since the load began, warm-up included.
    pub(crate) key_fetches: u64,
    /// CPU of what is measured for one login, microseconds.
    pub(crate) cpu_us: f64,
    /// Of that, in the kernel.
    pub(crate) system_us: f64,
    /// Connections that it opened to the identity system, in a thousand logins.
    pub(crate) upstream_connections: f64,
    /// Connections that the identity system opened for deliveries, in a thousand logins.
    pub(crate) delivery_connections: f64,
    /// How busy what is measured was, 1 being one core.
    pub(crate) busy: f64,
    /// How busy others kept its core: above a few hundredths the run is noisy.
    pub(crate) others: f64,
    /// How busy others kept the generator's core: above a few hundredths latencies are the machine's, not the gateway's.
    pub(crate) generator_others: f64,
    /// How busy the generator was.
    pub(crate) generator_busy: f64,
    /// Logins that were finished since it was started, warm-up included.
    pub(crate) all: u64,
    /// Errors by kind, warm-up included.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Resident memory at the end, KiB.
    pub(crate) resident: u64,
    /// The most it ever was, KiB.
    pub(crate) peak: u64,
}

/// A moment: when, what both processes had used, how many logins were done.
struct Mark {
    at: Instant,
    target: Usage,
    generator: Usage,
    cores: (f64, f64),
    upstream: Tally,
    delivery_connections: u64,
    finished: u64,
}

impl Mark {
    fn now(pid: u32, cores: (usize, usize), site: &Site, finished: &AtomicU64) -> Self {
        Self {
            at: Instant::now(),
            target: Usage::of(pid),
            generator: Usage::of(std::process::id()),
            cores: (core_busy(cores.0), core_busy(cores.1)),
            upstream: site.portal.upstream.tally(),
            delivery_connections: site.deliveries.opened(),
            finished: finished.load(Ordering::Relaxed),
        }
    }
}

/// Sends a plan's load at `site`, which process `pid` serves.
pub(crate) async fn run(site: &Arc<Site>, pid: u32, plan: Plan) -> Result<Load, Failed> {
    let rp = Arc::new(Rp::new(CLIENT, Profile::Baseline)?);
    let finished = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    let (mut outcomes, mut from) = (Vec::new(), None);
    let fetched = site.portal.upstream.tally().keys;
    let start = Instant::now() + Duration::from_millis(20);
    for number in 0_u32.. {
        let intended = start + Duration::from_secs_f64(f64::from(number) / plan.rate);
        if intended >= start + plan.warmup + plan.measured {
            break;
        }
        tokio::time::sleep_until(intended.into()).await;
        let measured = intended >= start + plan.warmup;
        if measured && from.is_none() {
            from = Some(Mark::now(pid, plan.cores, site, &finished));
        }
        let (site, rp, finished) = (Arc::clone(site), Arc::clone(&rp), Arc::clone(&finished));
        running.spawn(async move {
            let done = tokio::time::timeout(PATIENCE, login(&site, &rp, intended)).await;
            let done = done.unwrap_or_else(|_| Err(Fault::from("not finished in time".to_owned())));
            if done.is_ok() {
                finished.fetch_add(1, Ordering::Relaxed);
            }
            (measured, done)
        });
        while let Some(Ok(outcome)) = running.try_join_next() {
            outcomes.push(outcome);
        }
    }
    let to = Mark::now(pid, plan.cores, site, &finished);
    while let Some(done) = running.join_next().await {
        outcomes.extend(done);
    }
    let mut load = summary(&outcomes);
    load.offered = plan.rate;
    load.all = finished.load(Ordering::Relaxed);
    load.key_fetches = to.upstream.keys - fetched;
    if let Some(from) = from {
        between(&mut load, &from, &to);
    }
    Ok(load)
}

fn between(load: &mut Load, from: &Mark, to: &Mark) {
    let seconds = (to.at - from.at).as_secs_f64();
    let logins = u32::try_from(to.finished - from.finished).map_or(0.0, f64::from);
    let each = |spent: f64| if logins > 0.0 { spent * 1e6 / logins } else { 0.0 };
    load.finished = logins / seconds;
    load.cpu_us = each(to.target.cpu() - from.target.cpu());
    load.system_us = each(to.target.system - from.target.system);
    upstream(load, (&from.upstream, &to.upstream), logins);
    load.delivery_connections = 1e3 * rate(from.delivery_connections, to.delivery_connections, logins);
    load.busy = (to.target.cpu() - from.target.cpu()) / seconds;
    load.generator_busy = (to.generator.cpu() - from.generator.cpu()) / seconds;
    let others = |from: f64, to: f64, ours: f64| ((to - from) / seconds - ours).max(0.0);
    load.others = others(from.cores.0, to.cores.0, load.busy);
    load.generator_others = others(from.cores.1, to.cores.1, load.generator_busy);
    (load.resident, load.peak) = (to.target.resident, to.target.peak);
}

/// What one login was to the identity system.
fn upstream(load: &mut Load, (from, to): (&Tally, &Tally), logins: f64) {
    load.token_calls = rate(from.token, to.token, logins);
    load.data_calls = rate(from.data, to.data, logins);
    load.calls = load.token_calls + load.data_calls + rate(from.keys + from.other, to.keys + to.other, logins);
    load.upstream_connections = 1e3 * rate(from.connections, to.connections, logins);
}

fn rate(from: u64, to: u64, logins: f64) -> f64 {
    let count = u32::try_from(to - from).map_or(0.0, f64::from);
    if logins > 0.0 { count / logins } else { 0.0 }
}

fn summary(outcomes: &[(bool, Result<Timing, Fault>)]) -> Load {
    let mut load = Load::default();
    let mut timings = Vec::new();
    for (measured, outcome) in outcomes {
        match outcome {
            Ok(timing) if *measured => timings.push(*timing),
            Ok(_) => {}
            Err(fault) => {
                let count = load.errors.entry(fault.kind.clone()).or_insert(0);
                *count += 1;
                if *count == 1 {
                    eprintln!("first of its kind: {}\n{}", fault.kind, fault.detail);
                }
            }
        }
    }
    load.whole = percentiles(timings.iter().map(|timing| timing.whole));
    load.waited = percentiles(timings.iter().map(|timing| timing.waited));
    load.token = percentiles(timings.iter().map(|timing| timing.token));
    let logins = timings.len().max(1);
    let mean = |count: fn(&Timing) -> u32| {
        let all: f64 = timings.iter().map(|timing| f64::from(count(timing))).sum();
        all / u32::try_from(logins).map_or(f64::INFINITY, f64::from)
    };
    load.requests = mean(|timing| timing.requests);
    load.looks = mean(|timing| timing.looks);
    load.deliveries = mean(|timing| timing.deliveries);
    load
}

fn percentiles(durations: impl Iterator<Item = Duration>) -> Percentiles {
    let mut sorted: Vec<Duration> = durations.collect();
    sorted.sort_unstable();
    let rank = |hundredths: usize| {
        let at = (sorted.len() * hundredths / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).map_or(0.0, |duration| duration.as_secs_f64() * 1e3)
    };
    Percentiles { p50: rank(50), p99: rank(99), max: rank(100) }
}
