//! Processes that are measured: starting them on a core, reading what they used, ending them.

use std::fs;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Failed;

/// Keeps this process, all threads to come, on one core.
pub(crate) fn pin_self(core: usize) -> Result<(), Failed> {
    let own = std::process::id().to_string();
    let done = Command::new("taskset").args(["-a", "-c", "-p", &core.to_string(), &own]).stdout(Stdio::null()).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        _ => Err("taskset (util-linux) is needed, and a second core for the generator".to_owned()),
    }
}

/// A child process on a core of its own; it ends with this value.
pub(crate) struct Measured {
    child: Child,
    /// Kept open: peers end when it closes.
    _stdin: Option<ChildStdin>,
    /// What it says.
    pub(crate) stdout: Option<ChildStdout>,
}

impl Measured {
    /// Starts `command` on `core`; what it logs goes to a file, as an operator's would.
    pub(crate) fn start(core: usize, command: &[&str], log: &Path) -> Result<Self, Failed> {
        let log = fs::File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Ok(Self { child, _stdin: stdin, stdout })
    }

    /// Its process id; `taskset` became the program itself.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it have so many hundredths of a core from here on, in turns of ten milliseconds.
    pub(crate) fn hold_to(&self, hundredths: u32) -> Result<(), Failed> {
        let v1 = Path::new("/sys/fs/cgroup/cpu");
        let group = if v1.is_dir() { v1 } else { Path::new("/sys/fs/cgroup") }.join(format!("bench-{}", self.pid()));
        let quota = hundredths * 100;
        let limits: &[(&str, String)] = if v1.is_dir() {
            &[("cpu.cfs_period_us", "10000".to_owned()), ("cpu.cfs_quota_us", quota.to_string())]
        } else {
            &[("cpu.max", format!("{quota} 10000"))]
        };
        let failed = |error: std::io::Error| format!("{}: {error}: a control group for CPU is needed", group.display());
        fs::create_dir_all(&group).map_err(failed)?;
        for (file, value) in limits {
            fs::write(group.join(file), value).map_err(failed)?;
        }
        fs::write(group.join("cgroup.procs"), self.pid().to_string()).map_err(failed)
    }

    /// True while it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, and waits up to fifteen seconds.
    pub(crate) fn stop(mut self) -> Result<(), Failed> {
        let _ = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        let until = Instant::now() + Duration::from_secs(15);
        while Instant::now() < until {
            if !self.is_running() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("process {} did not end when asked to", self.pid()))
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a process, and its memory.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Usage {
    /// In its own code, seconds.
    pub(crate) user: f64,
    /// In the kernel, seconds.
    pub(crate) system: f64,
    /// Resident memory, KiB.
    pub(crate) resident: u64,
    /// The most it ever was, KiB.
    pub(crate) peak: u64,
}

impl Usage {
    /// Reads it for one process.
    pub(crate) fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in parentheses may hold anything; utime and stime are the 12th and 13th field after it.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let seconds = |at: usize| {
            let ticks: f64 = fields.get(at).and_then(|field| field.parse().ok()).unwrap_or_default();
            ticks / ticks_a_second()
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or_default()
        };
        Self { user: seconds(11), system: seconds(12), resident: kib("VmRSS:"), peak: kib("VmHWM:") }
    }

    /// All CPU time, seconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// Seconds that a core has been busy since the machine started, whoever for; the hypervisor's share counts.
pub(crate) fn core_busy(core: usize) -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default();
    let ticks = line.split_whitespace().enumerate().filter(|(at, _)| matches!(at, 0..3 | 5..8));
    ticks.filter_map(|(_, field)| field.parse::<f64>().ok()).sum::<f64>() / ticks_a_second()
}

fn ticks_a_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| first_line("getconf", &["CLK_TCK"]).parse().unwrap_or(100.0))
}

/// The first line that a command prints, or a dash.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("-").trim().to_owned()
}
