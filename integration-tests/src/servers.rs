//! Real servers from the machine's packages, started for one test on a free port of the loopback address.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::http::connections::Connections;
use gateway::http::listener;
use tokio::sync::watch;

use crate::peers;

/// A server that ends with its value.
pub struct Running {
    /// Its port.
    pub port: u16,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Running {
    /// Makes the server and its processes stand still: connections stay, and nobody answers.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let server = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        let _ = Command::new("sh")
            .args(["-c", &format!("kill {signal} {server} {children}")])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.resume();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on, and that stays free until it is used: below the range from which the kernel gives connections
/// theirs, and handed out once in this process.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(37) % 10_000;
    for _ in 0..10_000 {
        let number = begin.wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst)) % 10_000;
        let port = 20_000 + u16::try_from(number).expect("below 10,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free")
}

/// The newest PostgreSQL of the machine.
fn postgres_binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let mut versions: Vec<_> = versions.filter_map(Result::ok).map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    versions.pop().expect("PostgreSQL is installed")
}

/// Runs a command as the user that PostgreSQL runs as: it refuses to be root.
fn as_postgres(program: &Path) -> Command {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

fn hand_over(folder: &Path) {
    let id = |flag| {
        let output = Command::new("id").args([flag, "postgres"]).output().expect("id");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok()
    };
    // Without such a user the tests are not root either, and nothing has to change hands.
    if let (Some(user), Some(group)) = (id("-u"), id("-g")) {
        let _ = chown(folder, Some(user), Some(group));
    }
}

/// Starts PostgreSQL with an empty database.
pub async fn postgres() -> Running {
    let folder = tempfile::Builder::new().prefix("pg").tempdir().expect("a folder");
    hand_over(folder.path());
    let (binaries, data, port) = (postgres_binaries(), folder.path().join("data"), free_port());
    let made = as_postgres(&binaries.join("initdb"))
        .args(["--auth=trust", "--username=gateway", "--encoding=UTF8", "--locale=C", "-D"])
        .arg(&data)
        .output()
        .expect("initdb");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let child = as_postgres(&binaries.join("postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("postgres");
    let running = Running { port, child, _folder: folder };
    let address = postgres_address(&running);
    wait_for("PostgreSQL", async || tokio_postgres::connect(&address, tokio_postgres::NoTls).await.is_ok()).await;
    running
}

/// The address of a PostgreSQL started here.
#[must_use]
pub fn postgres_address(server: &Running) -> String {
    format!("host=127.0.0.1 port={} user=gateway dbname=postgres", server.port)
}

/// Starts Redis without persistence.
pub async fn redis() -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed");
    let running = Running { port, child, _folder: folder };
    wait_for("Redis", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
    running
}

async fn wait_for(name: &str, ready: impl AsyncFn() -> bool) {
    for _ in 0..200 {
        if ready().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} did not start");
}

/// A small web site under a world's own authority: one answer for all paths but those that have their own, until it is changed.
pub struct Site {
    /// What every request is answered with: status, further headers, body.
    pub answer: Arc<Mutex<Answer>>,
    /// What requests for some paths are answered with.
    pub by_path: Arc<Mutex<HashMap<String, Answer>>>,
    /// The requests so far: what follows the host, and the body.
    pub asked: Arc<Mutex<Vec<(String, String)>>>,
    _stop: watch::Sender<bool>,
}

/// Status, further headers, and body.
pub type Answer = (u16, Vec<(&'static str, String)>, String);

impl Site {
    /// Opens the site at `https://localhost:{port}`.
    pub async fn open(data: &Path, port: u16, status: u16, body: &str) -> Self {
        let answer = Arc::new(Mutex::new((status, Vec::new(), body.to_owned())));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let by_path = Arc::new(Mutex::new(HashMap::<String, Answer>::new()));
        let (shared, heard, paths) = (Arc::clone(&answer), Arc::clone(&asked), Arc::clone(&by_path));
        let router = axum::Router::new().fallback(async move |uri: http::Uri, body: String| {
            heard.lock().expect("no panic").push((uri.to_string(), body));
            let own = {
                let paths = paths.lock().expect("no panic");
                paths.get(&uri.to_string()).or_else(|| paths.get(uri.path())).cloned()
            };
            let (status, headers, body) = own.unwrap_or_else(|| shared.lock().expect("no panic").clone());
            let headers = headers
                .iter()
                .fold(http::Response::builder().status(status), |reply, (name, value)| reply.header(*name, value));
            let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
            headers.header("content-type", kind).body(body).expect("an answer")
        });
        let (chain, key) = peers::certificate(data, &format!("site-{port}"));
        let certificate = certs::tls::ReloadingCert::load(&chain, &key).expect("a certificate");
        let tls = certs::tls::server(certificate).expect("TLS");
        let listener = listener::bind(([127, 0, 0, 1], port).into()).await.expect("a port");
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(listener::serve(listener, tls, router, Connections::new(4_096), None, stopped));
        Self { answer, by_path, asked, _stop: stop }
    }

    /// Changes what it answers.
    pub fn answers(&self, status: u16, headers: Vec<(&'static str, String)>, body: &str) {
        *self.answer.lock().expect("no panic") = (status, headers, body.to_owned());
    }

    /// Changes what it answers at one path, with its query or whatever query it has.
    pub fn answers_at(&self, path: &str, status: u16, headers: Vec<(&'static str, String)>, body: &str) {
        self.by_path.lock().expect("no panic").insert(path.to_owned(), (status, headers, body.to_owned()));
    }

    /// What it was asked so far.
    #[must_use]
    pub fn heard(&self) -> Vec<(String, String)> {
        self.asked.lock().expect("no panic").clone()
    }
}
