//! Third-party peers: scripts in `peers/` over packages from the npm registry, and a real Chromium.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use certs::devca::DevCa;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Where the scripts are.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// A peer that runs. It ends when its standard input is closed, and so with this value.
pub struct Peer {
    child: Child,
}

impl Peer {
    /// Starts a script and waits until it says that it is ready.
    pub async fn start(script: &str, settings: &Value) -> Self {
        let mut child = command(script, settings).stdout(Stdio::piped()).spawn().expect("node is installed");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        let _ = BufReader::new(stdout).read_line(&mut line).await;
        let ready = serde_json::from_str::<Value>(&line).ok().and_then(|value| value["ready"].as_bool());
        assert_eq!(ready, Some(true), "{script} did not start: {line}");
        Self { child }
    }

    /// Ends it.
    pub async fn stop(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait().await;
    }
}

fn command(script: &str, settings: &Value) -> Command {
    let mut command = Command::new("node");
    command.current_dir(folder()).arg(script).arg(settings.to_string());
    command.stdin(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

/// The first code block of this language on a page of the documentation.
#[must_use]
pub fn code_of(page: &str, language: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (_, code) = text.split_once(&format!("```{language}\n")).expect("a code block");
    code.split_once("\n```").expect("its end").0.to_owned()
}

/// A program of the documentation that runs as its reader would run it, until this value is dropped.
pub struct Sample {
    _child: Child,
}

impl Sample {
    /// Starts a command and waits until its port answers.
    pub async fn start(mut command: Command, port: u16) -> Self {
        let log = Stdio::piped();
        let mut child = command.stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn().expect("it is installed");
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Self { _child: child };
            }
            if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let _ = child.kill().await;
        let mut text = String::new();
        let _ = child.stderr.take().expect("a pipe").read_to_string(&mut text).await;
        panic!("it did not start: {text}")
    }
}

/// The Python that the peers from PyPI are installed for.
#[must_use]
pub fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python")
}

/// Runs a list of steps in Chromium; what the steps collected, one list for each run.
pub async fn chromium(settings: &Value) -> Value {
    let mut child = command("browser.mjs", settings).stdout(Stdio::piped()).spawn().expect("node is installed");
    let stdin = child.stdin.take();
    let mut text = String::new();
    let _ = child.stdout.take().expect("a pipe").read_to_string(&mut text).await;
    drop(stdin);
    let _ = child.wait().await;
    let result: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("the browser script said: {text}"));
    assert_eq!(result["ok"].as_bool(), Some(true), "{result:#}");
    result["results"].clone()
}

/// A certificate for a peer, from a world's own CA.
#[must_use]
pub fn certificate(data: &Path, name: &str) -> (PathBuf, PathBuf) {
    use gateway::ports::Clock as _;
    let ca = DevCa::open(&data.join("ca"), gateway::ports::SystemClock.now().0).expect("a CA");
    ca.issue(name, &["localhost", "127.0.0.1"]).expect("a certificate")
}

/// Where screenshots are kept.
#[must_use]
pub fn screenshots(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots").join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}
