//! The order of a benchmark: yardstick, gateway, comparison, yardstick, as often as asked; then how much it can take.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::calibrate::{self, Calibration};
use crate::http::{self, Manner};
use crate::jose::Key;
use crate::load::{self, Load, Plan};
use crate::operations::{self, Price};
use crate::overload::{self, Overload};
use crate::process::Usage;
use crate::report::{Machine, Operations, Report, Run, Subject};
use crate::rig::{self, Certificates, GatewayFiles, Target};
use crate::site::Portal;
use crate::upstream::{Upstream, Wire};
use crate::{Arguments, Failed};

/// A step of the search for the limit fails beyond this p99 of a whole login, in milliseconds.
const TOO_SLOW: f64 = 1_000.0;
/// The most steps.
const STEPS: usize = 16;

/// What all runs share.
struct Bench<'a> {
    arguments: &'a Arguments,
    data: PathBuf,
    certificates: Certificates,
    portal: Arc<Portal>,
}

/// Everything that was asked for.
pub(crate) async fn all(arguments: &Arguments) -> Result<Report, Failed> {
    let data = match &arguments.data {
        Some(data) => data.clone(),
        None => std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("bench-data"),
    };
    if data.join("ca").exists() {
        fs::remove_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    }
    fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    let certificates = Certificates::make(&data)?;
    let portal = portal(arguments, &certificates).await?;
    let bench = Bench { arguments, data, certificates, portal };
    let mut report = Report::new(Machine::look(arguments, calibrate::barriers(&bench.data)?));
    let plain = !arguments.operations && arguments.overload.is_empty();
    for number in 1..=if plain { arguments.runs } else { 0 } {
        eprintln!("run {number} of {}", arguments.runs);
        report.runs.push(bench.run(number).await?);
    }
    if arguments.operations {
        for number in 1..=arguments.runs {
            eprintln!("operations, run {number} of {}", arguments.runs);
            report.operations.push(bench.operations().await?);
        }
    }
    if !arguments.overload.is_empty() {
        report.overloads = bench.overloads().await?;
    }
    if arguments.saturate {
        (report.steps, report.limit) = bench.saturate().await?;
    }
    fs::remove_dir_all(&bench.data).map_err(|error| error.to_string())?;
    Ok(report)
}

async fn portal(arguments: &Arguments, certificates: &Certificates) -> Result<Arc<Portal>, Failed> {
    let roots = certs::tls::read_certificates(&certificates.ca).map_err(|error| error.to_string())?;
    let classic = arguments.classic;
    let browsers = Manner { resumes: false, classic, h1: false };
    let back_end = Manner { resumes: arguments.resume, classic, h1: arguments.portal_h1 };
    let certificate = certs::tls::ReloadingCert::load(&certificates.chain, &certificates.key);
    let server = certs::tls::server(certificate.map_err(|error| error.to_string())?);
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
    Ok(Arc::new(Portal {
        key: Key::es256()?,
        upstream: Upstream::start(listener, server.map_err(|error| error.to_string())?, arguments.upstream)?,
        looks: arguments.looks,
        resumes: arguments.resume,
        browser_tls: http::tls(&roots, browsers)?,
        portal_tls: http::tls(&roots, back_end)?,
    }))
}

impl Bench<'_> {
    fn folder(&self, name: &str) -> Result<PathBuf, Failed> {
        let folder = self.data.join(name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    }

    fn yardstick(&self) -> Result<Calibration, Failed> {
        calibrate::on_core(self.arguments.gateway_core, 2)
    }

    fn plan(&self, rate: f64) -> Plan {
        self.plan_of(rate, self.arguments.warmup, self.arguments.seconds)
    }

    fn plan_of(&self, rate: f64, warmup: u64, measured: u64) -> Plan {
        let (warmup, measured) = (Duration::from_secs(warmup), Duration::from_secs(measured));
        let cores = (self.arguments.gateway_core, self.arguments.generator_core);
        Plan { rate, warmup, measured, cores }
    }

    async fn run(&self, number: usize) -> Result<Run, Failed> {
        let before = self.yardstick()?;
        let folder = self.folder(&format!("run-{number}"))?;
        let files = GatewayFiles::write(self.arguments, &folder, &self.certificates, &self.portal)?;
        let target = files.start(self.arguments.gateway_core, &self.portal).await?;
        let (gateway, load) = loaded(target, self.plan(self.arguments.rate)).await?;
        let between = self.yardstick()?;
        let gateway = gateway.against(&load, before, between);
        let audited = files.verify_audit()?;
        let (stored_kib, logged_kib) = files.written();
        let peer = if self.has_peer() { Some(self.peer(&folder, between).await?) } else { None };
        fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
        Ok(Run { gateway, audited, stored_kib, logged_kib, peer })
    }

    /// Each operation by itself, at the gateway and at the comparison.
    async fn operations(&self) -> Result<Operations, Failed> {
        let folder = self.folder("operations")?;
        let files = GatewayFiles::write(self.arguments, &folder, &self.certificates, &self.portal)?;
        let before = self.yardstick()?;
        let target = files.start(self.arguments.gateway_core, &self.portal).await?;
        let gateway = self.priced(target, before).await?;
        let peer = if self.has_peer() {
            let before = self.yardstick()?;
            let target = rig::start_peer(self.arguments, &folder, &self.certificates, &self.portal).await?;
            Some(self.priced(target, before).await?)
        } else {
            None
        };
        fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
        Ok(Operations { gateway, peer })
    }

    /// The operations of one target, each in ES256 verifications as well.
    async fn priced(&self, target: Target, before: Calibration) -> Result<Vec<(Price, f64)>, Failed> {
        let prices = operations::prices(&target, Duration::from_secs(self.arguments.seconds)).await;
        target.process.stop()?;
        let prices = prices.map_err(|fault| format!("{}\n{}", fault.kind, fault.detail))?;
        let unit = f64::midpoint(before.verify_us, self.yardstick()?.verify_us);
        Ok(prices.into_iter().map(|price| (price.clone(), price.cpu_us / unit)).collect())
    }

    /// The comparison speaks OpenID Connect alone.
    fn has_peer(&self) -> bool {
        !self.arguments.no_peer && self.arguments.upstream == Wire::Oidc
    }

    async fn peer(&self, folder: &Path, before: Calibration) -> Result<Subject, Failed> {
        let target = rig::start_peer(self.arguments, folder, &self.certificates, &self.portal).await?;
        let (peer, load) = loaded(target, self.plan(self.arguments.peer_rate)).await?;
        Ok(peer.against(&load, before, self.yardstick()?))
    }

    /// Raises the rate by a tenth at a time, each step on the same gateway, until it no longer keeps up.
    async fn saturate(&self) -> Result<(Vec<Load>, Option<Load>), Failed> {
        let folder = self.folder("saturate")?;
        let files = GatewayFiles::write(self.arguments, &folder, &self.certificates, &self.portal)?;
        let target = files.start(self.arguments.gateway_core, &self.portal).await?;
        let pid = target.process.pid();
        let (mut steps, mut limit, mut rate) = (Vec::new(), None, self.arguments.rate);
        for _ in 0..STEPS {
            let load = load::run(&target.site, pid, self.plan_of(rate, 3, 8)).await?;
            eprintln!("{rate:.0}/s offered, {:.0}/s finished, p99 {:.0} ms", load.finished, load.whole.p99);
            let kept_up = load.errors.is_empty() && load.whole.p99 < TOO_SLOW && load.finished > 0.97 * rate;
            steps.push(load.clone());
            if !kept_up {
                break;
            }
            limit = Some(load);
            rate *= 1.1;
        }
        target.process.stop()?;
        Ok((steps, limit))
    }

    /// Offers many times what a gateway can do that is held to a share of its core.
    async fn overloads(&self) -> Result<Vec<Overload>, Failed> {
        let folder = self.folder("overload")?;
        let files = GatewayFiles::write(self.arguments, &folder, &self.certificates, &self.portal)?;
        let target = files.start(self.arguments.gateway_core, &self.portal).await?;
        target.process.hold_to(self.arguments.held_to)?;
        let cores = (self.arguments.gateway_core, self.arguments.generator_core);
        let from = f64::from(self.arguments.held_to);
        let peak = overload::peak(&target.site, target.process.pid(), from, cores).await?;
        let mut overloads = Vec::new();
        for factor in &self.arguments.overload {
            tokio::time::sleep(Duration::from_secs(5)).await;
            overloads.push(overload::overload(&target.site, target.process.pid(), peak, *factor).await?);
        }
        target.process.stop()?;
        Ok(overloads)
    }
}

/// Puts a load on a target and stops it.
async fn loaded(target: Target, plan: Plan) -> Result<(Idle, Load), Failed> {
    let pid = target.process.pid();
    let idle = Idle { ready_after: target.ready_after, resident: Usage::of(pid).resident };
    let load = load::run(&target.site, pid, plan).await?;
    target.process.stop()?;
    Ok((idle, load))
}

/// A target before anybody came.
struct Idle {
    ready_after: f64,
    resident: u64,
}

impl Idle {
    fn against(self, load: &Load, before: Calibration, after: Calibration) -> Subject {
        let verify_us = f64::midpoint(before.verify_us, after.verify_us);
        Subject {
            ready_after: self.ready_after,
            resident_idle: self.resident,
            load: load.clone(),
            units: load.cpu_us / verify_us,
            before,
            after,
        }
    }
}
