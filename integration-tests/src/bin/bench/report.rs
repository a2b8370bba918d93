//! What was measured, as text for people and as JSON for scripts.

use serde::Serialize;
use serde_json::{Value, json};

use crate::Arguments;
use crate::calibrate::Calibration;
use crate::load::Load;
use crate::operations::Price;
use crate::overload::Overload;
use crate::process::first_line;
use crate::upstream::Wire;

/// What the figures belong to.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    kernel: String,
    rustc: String,
    node: String,
    oidc_provider: String,
    revision: String,
    upstream: Wire,
    looks: u32,
    key_exchange: &'static str,
    portal_http: &'static str,
    /// Median and slowest `fdatasync` of 400 bytes, milliseconds.
    barrier_ms: (f64, f64),
    seconds: u64,
    warmup: u64,
}

impl Machine {
    /// Looks around.
    pub(crate) fn look(arguments: &Arguments, barrier_ms: (f64, f64)) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let models: Vec<&str> =
            cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")).map(|line| line.trim()).collect();
        let model = models.first().map_or("-", |line| line.trim_start_matches(':').trim());
        let package = arguments.peers.join("node_modules/oidc-provider/package.json");
        let package: Value =
            std::fs::read(package).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self {
            processor: format!("{} x {model}", models.len()),
            kernel: first_line("uname", &["-sr"]),
            rustc: first_line("rustc", &["-V"]),
            node: first_line("node", &["-v"]),
            oidc_provider: package.get("version").and_then(Value::as_str).unwrap_or("-").to_owned(),
            revision: first_line("git", &["describe", "--always", "--dirty"]),
            upstream: arguments.upstream,
            looks: arguments.looks,
            key_exchange: if arguments.classic { "X25519" } else { "X25519MLKEM768" },
            portal_http: if arguments.portal_h1 { "HTTP/1.1" } else { "HTTP/2" },
            barrier_ms,
            seconds: arguments.seconds,
            warmup: arguments.warmup,
        }
    }
}

/// The gateway or the comparison in one run.
#[derive(Debug, Serialize)]
pub(crate) struct Subject {
    /// Seconds from start to first answer.
    pub(crate) ready_after: f64,
    /// Resident memory before the load, KiB.
    pub(crate) resident_idle: u64,
    /// What it did.
    pub(crate) load: Load,
    /// CPU of one login, in ES256 verifications.
    pub(crate) units: f64,
    /// The yardstick before.
    pub(crate) before: Calibration,
    /// The yardstick after.
    pub(crate) after: Calibration,
}

/// One run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// The gateway.
    pub(crate) gateway: Subject,
    /// Audit records that verify afterwards.
    pub(crate) audited: u64,
    /// What its store weighs then, KiB.
    pub(crate) stored_kib: u64,
    /// What it logged, KiB.
    pub(crate) logged_kib: u64,
    /// The comparison.
    pub(crate) peer: Option<Subject>,
}

impl Run {
    /// One record for the code and one for its redemption; logins that failed half-way may leave one.
    fn audit_is_whole(&self) -> bool {
        let (finished, failed) = (self.gateway.load.all, self.gateway.load.errors.values().sum::<u64>());
        (2 * finished..=2 * (finished + failed)).contains(&self.audited)
    }
}

/// Each operation by itself: its CPU, and that in ES256 verifications.
#[derive(Debug, Serialize)]
pub(crate) struct Operations {
    /// Of the gateway.
    pub(crate) gateway: Vec<(Price, f64)>,
    /// Of the comparison.
    pub(crate) peer: Option<Vec<(Price, f64)>>,
}

/// A benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    /// The runs.
    pub(crate) runs: Vec<Run>,
    /// The operations, in each run.
    pub(crate) operations: Vec<Operations>,
    /// The steps of the search for the limit.
    pub(crate) steps: Vec<Load>,
    /// The last step that it kept up with.
    pub(crate) limit: Option<Load>,
    /// What it did when far more was offered.
    pub(crate) overloads: Vec<Overload>,
}

impl Report {
    /// A report without figures yet.
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            runs: Vec::new(),
            operations: Vec::new(),
            steps: Vec::new(),
            limit: None,
            overloads: Vec::new(),
        }
    }

    /// True when no login failed and the audit chains are whole.
    pub(crate) fn is_sound(&self) -> bool {
        self.runs.iter().all(|run| {
            let peer = run.peer.as_ref().is_none_or(|peer| peer.load.errors.is_empty());
            peer && run.gateway.load.errors.is_empty() && run.audit_is_whole()
        })
    }

    /// Everything.
    pub(crate) fn json(&self) -> Value {
        let mut all = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = all.as_object_mut() {
            members.insert("sound".to_owned(), json!(self.is_sound()));
        }
        all
    }
}

/// Prints a report.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub(crate) fn print(report: &Report) {
    println!("{}", text(report));
}

fn text(report: &Report) -> String {
    let machine = &report.machine;
    let mut out = vec![
        format!("{} | {} | {} | revision {}", machine.processor, machine.kernel, machine.rustc, machine.revision),
        format!(
            "{}, portal {}, fdatasync median {:.1} ms, slowest of 100 {:.1} ms; {} s measured after {} s",
            machine.key_exchange,
            machine.portal_http,
            machine.barrier_ms.0,
            machine.barrier_ms.1,
            machine.seconds,
            machine.warmup
        ),
    ];
    out.extend(operations(&report.operations));
    if report.runs.is_empty() {
        return out.join("\n");
    }
    out.push(format!("\ngateway, {} upstream", machine.upstream.name()));
    out.extend(subject(&report.runs.iter().map(|run| &run.gateway).collect::<Vec<_>>()));
    for run in &report.runs {
        out.push(format!(
            "  audit: {} records verify after {} logins ({}); store {} KiB, log {} KiB",
            run.audited,
            run.gateway.load.all,
            if run.audit_is_whole() { "two each, whole" } else { "NOT WHOLE" },
            run.stored_kib,
            run.logged_kib
        ));
    }
    let peers: Vec<&Subject> = report.runs.iter().filter_map(|run| run.peer.as_ref()).collect();
    if !peers.is_empty() {
        out.push(format!("\nbroker of oidc-provider {} on Node {}", machine.oidc_provider, machine.node));
        out.extend(subject(&peers));
    }
    out.extend(limit(report));
    out.extend(report.overloads.iter().flat_map(overload));
    out.join("\n")
}

fn operations(runs: &[Operations]) -> Vec<String> {
    let Some(first) = runs.first() else { return Vec::new() };
    let mut lines = vec!["\nCPU of one, in ES256 verifications: median (range)".to_owned()];
    for (index, (price, _)) in first.gateway.iter().enumerate() {
        let of = |prices: Vec<&Vec<(Price, f64)>>| {
            let mut units: Vec<f64> = prices.iter().filter_map(|run| run.get(index)).map(|(_, units)| *units).collect();
            units.sort_by(f64::total_cmp);
            let at = |index: usize| units.get(index).copied().unwrap_or_default();
            (
                at(units.len() / 2),
                format!("{:>7.1} ({:.1} to {:.1})", at(units.len() / 2), at(0), at(units.len().saturating_sub(1))),
            )
        };
        let (own, gateway) = of(runs.iter().map(|run| &run.gateway).collect());
        let mut line = format!("  {:<36} gateway {gateway:<26}", price.name);
        if first.peer.is_some() {
            let (theirs, peer) = of(runs.iter().filter_map(|run| run.peer.as_ref()).collect());
            // What the comparison does not offer has no figure there.
            if theirs > 0.0 {
                line += &format!(" broker {peer:<26} {:.1} x", theirs / own);
            }
        }
        lines.push(line + &format!("  {:.0} us, of {}", price.cpu_us, price.count));
    }
    lines
}

/// The median and the range of one figure over all runs.
fn row(name: &str, unit: &str, subjects: &[&Subject], figure: impl Fn(&Subject) -> f64) -> String {
    let mut figures: Vec<f64> = subjects.iter().map(|subject| figure(subject)).collect();
    figures.sort_by(f64::total_cmp);
    let at = |index: usize| figures.get(index).copied().unwrap_or_default();
    let (low, median, high) = (at(0), at(figures.len() / 2), at(figures.len().saturating_sub(1)));
    let digits = if high < 10.0 { 2 } else { usize::from(high < 1_000.0) };
    format!("  {name:<44} {median:>9.digits$} {unit:<9} ({low:.digits$} to {high:.digits$})")
}

fn subject(subjects: &[&Subject]) -> Vec<String> {
    let mib = |kib: u64| u32::try_from(kib).map_or(0.0, f64::from) / 1024.0;
    let mut rows = vec![
        row("requests in one login", "", subjects, |s| s.load.requests),
        row("  of them looks that found no news", "", subjects, |s| s.load.looks),
        row("  of them deliveries", "", subjects, |s| s.load.deliveries),
        row("calls to the provider in one login", "", subjects, |s| s.load.calls),
        row("  of them for a token", "", subjects, |s| s.load.token_calls),
        row("  of them for the person's data", "", subjects, |s| s.load.data_calls),
        row("its keys fetched, warm-up included", "times", subjects, |s| {
            u32::try_from(s.load.key_fetches).map_or(0.0, f64::from)
        }),
        row("offered", "logins/s", subjects, |s| s.load.offered),
        row("finished", "logins/s", subjects, |s| s.load.finished),
        row("whole login p50", "ms", subjects, |s| s.load.whole.p50),
        row("whole login p99", "ms", subjects, |s| s.load.whole.p99),
        row("its answers and handshakes summed p50", "ms", subjects, |s| s.load.waited.p50),
        row("its answers and handshakes summed p99", "ms", subjects, |s| s.load.waited.p99),
        row("/token p50", "ms", subjects, |s| s.load.token.p50),
        row("/token p99", "ms", subjects, |s| s.load.token.p99),
        row("CPU of one login", "us", subjects, |s| s.load.cpu_us),
        row("  of it in the kernel", "us", subjects, |s| s.load.system_us),
        row("ES256 verification, mean of before and after", "us", subjects, |s| {
            f64::midpoint(s.before.verify_us, s.after.verify_us)
        }),
        row("CPU of one login in ES256 verifications", "units", subjects, |s| s.units),
        row("connections opened to the provider", "in 1000", subjects, |s| s.load.upstream_connections),
        row("connections opened for deliveries", "in 1000", subjects, |s| s.load.delivery_connections),
        row("busy", "cores", subjects, |s| s.load.busy),
        row("others on its core", "cores", subjects, |s| s.load.others),
        row("generator busy", "cores", subjects, |s| s.load.generator_busy),
        row("others on the generator's core", "cores", subjects, |s| s.load.generator_others),
        row("start to first answer", "s", subjects, |s| s.ready_after),
        row("memory before", "MiB", subjects, |s| mib(s.resident_idle)),
        row("memory after", "MiB", subjects, |s| mib(s.load.resident)),
        row("memory at most", "MiB", subjects, |s| mib(s.load.peak)),
    ];
    let failed: u64 = subjects.iter().flat_map(|subject| subject.load.errors.values()).sum();
    rows.push(format!("  errors: {failed}"));
    for (kind, count) in subjects.iter().flat_map(|subject| &subject.load.errors) {
        rows.push(format!("    {count} x {kind}"));
    }
    rows
}

fn limit(report: &Report) -> Vec<String> {
    if report.steps.is_empty() {
        return Vec::new();
    }
    let mut lines = vec!["\nuntil it no longer keeps up".to_owned()];
    for step in &report.steps {
        lines.push(format!(
            "  {:>5.0}/s offered {:>5.0}/s finished  whole p50 {:>6.1} p99 {:>7.1} ms  /token p99 {:>6.1} ms  \
             gateway {:.2} cores, others {:.2}; generator {:.2}, others {:.2}  CPU {:.0} us  errors {}",
            step.offered,
            step.finished,
            step.whole.p50,
            step.whole.p99,
            step.token.p99,
            step.busy,
            step.others,
            step.generator_busy,
            step.generator_others,
            step.cpu_us,
            step.errors.values().sum::<u64>()
        ));
    }
    if let Some(limit) = &report.limit {
        lines.push(format!("  it kept up with {:.0} logins/s on one core", limit.finished));
    }
    lines
}

fn overload(overload: &Overload) -> Vec<String> {
    let Overload { factor, offered, finished, peak, busy, errors, normal_after } = overload;
    let share = 100.0 * finished / peak;
    let mut lines = vec![format!(
        "{factor} x: {offered:.0}/s offered, {finished:.1}/s finished, {share:.0} % of the peak of {peak:.1}/s; \
         normal {normal_after:.1} s after; {busy:.2} of a core"
    )];
    lines.extend(errors.iter().map(|(kind, count)| format!("  {count} x {kind}")));
    lines
}
