//! `bench`: what one brokered login costs. Not a timed test: `docs/benchmark.md` says how to read what it prints.
//!
//! The generator, the portal, the people and a lean identity system are this process; the gateway is the production
//! binary in a process of its own, on a core of its own. Arrivals are open-loop: they do not wait for answers.

mod calibrate;
mod elsewhere;
mod http;
mod iam_smart;
mod jose;
mod load;
mod login;
mod operations;
mod overload;
mod policy;
mod portal;
mod process;
mod provider;
mod report;
mod rig;
mod run;
mod site;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use upstream::Wire;

/// What goes wrong around a measurement, as a sentence.
type Failed = String;

/// Measures brokered logins through the production gateway.
#[derive(Parser, Debug, Clone)]
struct Arguments {
    /// Logins a second that arrive at the gateway.
    #[arg(long, default_value_t = 150.0)]
    rate: f64,
    /// Seconds that are measured in each run.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds of the same load before them.
    #[arg(long, default_value_t = 5)]
    warmup: u64,
    /// How many runs; the summary is their median and range.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Step the rate up, after the runs, until the gateway no longer keeps up.
    #[arg(long)]
    saturate: bool,
    /// Offer so many times what it can do, in place of the runs: `3,10`.
    #[arg(long, value_delimiter = ',')]
    overload: Vec<f64>,
    /// For that: hundredths of its core that the gateway may use.
    #[arg(long, default_value_t = 15)]
    held_to: u32,
    /// Browsers and portals resume their TLS sessions when they come back, as real ones do; otherwise each connection is somebody's
    /// first.
    #[arg(long)]
    resume: bool,
    /// What the identity system speaks. The comparison knows OpenID Connect alone, and is left out otherwise.
    #[arg(long, value_enum, default_value_t = Wire::Oidc)]
    upstream: Wire,
    /// How often a waiting page looks for news before its person approves; the real one looks every three seconds.
    #[arg(long, default_value_t = 0)]
    looks: u32,
    /// Measure each operation of a portal by itself: logins in three profiles, refresh, introspection, userinfo.
    #[arg(long)]
    operations: bool,
    /// Leave the comparison out.
    #[arg(long)]
    no_peer: bool,
    /// Logins a second that arrive at the comparison.
    #[arg(long, default_value_t = 40.0)]
    peer_rate: f64,
    /// X25519 only, as in the reference figures, in place of the hybrid key exchange that browsers offer first.
    #[arg(long)]
    classic: bool,
    /// Portals speak HTTP/1.1 in place of HTTP/2.
    #[arg(long)]
    portal_h1: bool,
    /// The gateway's core.
    #[arg(long, default_value_t = 0)]
    gateway_core: usize,
    /// The generator's core.
    #[arg(long, default_value_t = 1)]
    generator_core: usize,
    /// The gateway binary; otherwise the one beside this binary.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// The folder of `broker.mjs`, after `npm ci` there.
    #[arg(long, default_value = "integration-tests/peers")]
    peers: PathBuf,
    /// Where the gateway keeps its records meanwhile: on a real disk. Otherwise beside this binary.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Write everything that was measured here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Print the price of one signature on this core after that many seconds, and end.
    #[arg(long, hide = true)]
    calibrate: Option<u64>,
    /// Measure trust policy alone, over 100 to 100,000 services.
    #[arg(long)]
    policy: bool,
    /// Ask policy the questions of so many logins over so many services (`services,logins`), and end.
    #[arg(long, hide = true)]
    policy_repeat: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (&arguments.calibrate, &arguments.policy_repeat) {
        (Some(seconds), _) => calibrate::print(*seconds),
        (None, Some(repeat)) => repeat_policy(repeat),
        (None, None) if arguments.policy => measure_policy(&arguments),
        (None, None) => measure(&arguments),
    };
    match done {
        Ok(sound) if sound => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn repeat_policy(text: &str) -> Result<bool, Failed> {
    let numbers = text.split_once(',').and_then(|(size, loops)| Some((size.parse().ok()?, loops.parse().ok()?)));
    let (size, loops) = numbers.ok_or("--policy-repeat takes services,logins")?;
    policy::repeat(size, loops).map(|()| true)
}

fn measure_policy(arguments: &Arguments) -> Result<bool, Failed> {
    let unit = calibrate::on_core(arguments.gateway_core, 2)?;
    process::pin_self(arguments.gateway_core)?;
    policy::measure(unit.verify_us).map(|()| true)
}

/// True when nothing failed in what was measured.
fn measure(arguments: &Arguments) -> Result<bool, Failed> {
    process::pin_self(arguments.generator_core)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let report = runtime.map_err(|error| error.to_string())?.block_on(run::all(arguments))?;
    report::print(&report);
    if let Some(path) = &arguments.json {
        std::fs::write(path, format!("{:#}\n", report.json()))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report.is_sound())
}
