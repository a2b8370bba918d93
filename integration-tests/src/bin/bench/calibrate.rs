//! The yardsticks: what one ES256 signature costs on the gateway's core now, and what one disk barrier takes.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
};
use serde::{Deserialize, Serialize};

use crate::{Failed, jose};

/// Microseconds of CPU on the gateway's core.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Calibration {
    /// One ES256 verification with a parsed key.
    pub(crate) verify_us: f64,
    /// One ES256 signature.
    pub(crate) sign_us: f64,
}

/// Measures in a process of its own that is pinned to `core`.
pub(crate) fn on_core(core: usize, seconds: u64) -> Result<Calibration, Failed> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(own).args(["--calibrate", &seconds.to_string()]);
    let output = command.output().map_err(|error| format!("taskset: {error}"))?;
    serde_json::from_slice(&output.stdout).map_err(|error| format!("calibration: {error}"))
}

/// What that process does.
#[expect(clippy::print_stdout, reason = "its line is read by the process that started it")]
pub(crate) fn print(seconds: u64) -> Result<bool, Failed> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|error| error.to_string())?;
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
    let public = public.map_err(|error| error.to_string())?;
    let message = [7_u8; 300];
    let random = jose::random();
    let signature = pair.sign(&random, &message).map_err(|error| error.to_string())?;
    let verify_us = per_turn(Duration::from_secs(seconds), || public.verify_sig(&message, signature.as_ref()).is_ok());
    let sign_us = per_turn(Duration::from_secs(1), || pair.sign(&random, &message).is_ok());
    let measured = Calibration { verify_us, sign_us };
    println!("{}", serde_json::to_string(&measured).map_err(|error| error.to_string())?);
    Ok(true)
}

/// Microseconds of this thread's CPU time for one turn.
pub(crate) fn per_turn(during: Duration, mut turn: impl FnMut() -> bool) -> f64 {
    let (from, began) = (thread_cpu(), Instant::now());
    let mut turns = 0_u32;
    while began.elapsed() < during {
        for _ in 0..100 {
            std::hint::black_box(turn());
        }
        turns = turns.saturating_add(100);
    }
    let spent = match (from, thread_cpu()) {
        (Some(from), Some(to)) => Duration::from_nanos(to.saturating_sub(from)),
        _ => began.elapsed(),
    };
    spent.as_secs_f64() * 1e6 / f64::from(turns.max(1))
}

/// Nanoseconds on the CPU, from the scheduler.
fn thread_cpu() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

/// The median and the slowest of a hundred `fdatasync` calls of 400 bytes, in milliseconds.
pub(crate) fn barriers(folder: &Path) -> Result<(f64, f64), Failed> {
    let path = folder.join("barrier");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = std::fs::File::create(&path).map_err(failed)?;
    let mut taken = Vec::new();
    for _ in 0..100 {
        file.write_all(&[7; 400]).map_err(failed)?;
        let began = Instant::now();
        file.sync_data().map_err(failed)?;
        taken.push(began.elapsed().as_secs_f64() * 1e3);
    }
    taken.sort_by(f64::total_cmp);
    let _ = std::fs::remove_file(&path);
    Ok((taken.get(50).copied().unwrap_or_default(), taken.last().copied().unwrap_or_default()))
}
