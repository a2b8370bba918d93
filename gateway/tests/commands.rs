//! The `gateway` command, as an operator types it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use certs::devca::DevCa;
use gateway::config::{Engine, StoreConfig};
use gateway::links::Links;
use gateway::ports::{Clock as _, SystemClock};
use gateway::seal::Seals;
use gateway::store::{Batch, Class, Store};
use gateway_core::audit::Event;
use gateway_core::ids::PersonId;
use gateway_core::link::{Actor, Agreement, Entry, Ground, Signals, Status};

fn gateway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gateway")).args(arguments).output().unwrap()
}

/// The folder of a store is free a moment after whoever had it is gone.
fn once_unlocked(arguments: &[&str]) -> Output {
    let locked = |output: &Output| text(&output.stderr).contains("Locked");
    let mut output = gateway(arguments);
    for _ in 0..100 {
        if !locked(&output) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        output = gateway(arguments);
    }
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const TEXTS: &str = "{ zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }";

/// A whole configuration that holds no problem.
fn write(folder: &Path, port: u16) -> String {
    let ca = DevCa::open(&folder.join("ca"), SystemClock.now().0).unwrap();
    ca.issue("server", &["localhost"]).unwrap();
    let bundle = folder.join("bundle");
    for kind in ["clients", "services", "providers", "vocabulary"] {
        fs::create_dir_all(bundle.join(kind)).unwrap();
    }
    fs::write(bundle.join("vocabulary/v.toml"), policies::documents::VOCABULARY).unwrap();
    fs::write(
        bundle.join("clients/a.toml"),
        format!(
            "client_id = \"a\"\njurisdiction = \"CN-GD\"\nsector = \"s\"\nredirect_uris = [\"https://a.example/cb\"]\n\
             name = {TEXTS}\noperator = {TEXTS}\ntoken_endpoint_auth_method = \"none\"\n"
        ),
    )
    .unwrap();
    let config = folder.join("gateway.toml");
    fs::write(
        &config,
        format!(
            "issuer = \"https://localhost:{port}\"\nlisten = \"127.0.0.1:{port}\"\n\
             [tls]\ncertificate = \"ca/server.pem\"\nkey = \"ca/server.key\"\n[keys]\nmaster = \"master.key\"\n\
             [store]\nnode = \"node-1\"\nengine = \"embedded\"\npath = \"data\"\n[bundle]\nfolder = \"bundle\"\nunsigned = true\n\
             [egress]\ntrust = \"ca/ca.pem\"\n"
        ),
    )
    .unwrap();
    config.to_str().unwrap().to_owned()
}

#[test]
fn a_master_key_is_made_once_and_a_client_secret_with_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("master.key");
    let path = file.to_str().unwrap();
    assert!(gateway(&["master-key", path]).status.success());
    assert!(!gateway(&["master-key", path]).status.success(), "never over an existing file");
    let said = text(&gateway(&["client-secret"]).stdout);
    let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let digest = gateway_core::client::SecretDigest::of(&value("client_secret "));
    assert_eq!(digest.as_str(), value("client_secret_sha256 "));
}

#[test]
fn check_reports_every_problem_at_once_and_binds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // The port is taken: a check that bound it would fail.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let config = write(folder.path(), taken.local_addr().unwrap().port());
    let missing = gateway(&["check", "--config", &config]);
    assert!(!missing.status.success() && text(&missing.stderr).contains("master.key"), "F26: no default key");
    gateway(&["master-key", folder.path().join("master.key").to_str().unwrap()]);
    let sound = gateway(&["check", "--config", &config]);
    assert!(sound.status.success(), "{}", text(&sound.stderr));
    let bundle = folder.path().join("bundle");
    fs::write(bundle.join("services/s.toml"), "service = \"S\"\n[[alow]]\n").unwrap();
    fs::write(bundle.join("providers/p.toml"), "id = \"p\"\nkind = \"magic\"\n").unwrap();
    fs::write(bundle.join("clients/b.toml"), "client_id = \"b\nnewline = \"in header\"\n").unwrap();
    let text_of_config = fs::read_to_string(&config).unwrap();
    fs::write(&config, text_of_config.replace("engine = \"embedded\"", "engine = \"floppy\"")).unwrap();
    let broken = gateway(&["check", "--config", &config]);
    assert_eq!(broken.status.code(), Some(1));
    let said = text(&broken.stderr);
    for expected in [
        "gateway.toml:10: engine: must be embedded or cluster",
        "s.toml:1: service:",
        "s.toml:2: alow is not a known field; did you mean allow?",
        "p.toml:2: kind: magic",
        "b.toml:1:",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    assert!(!folder.path().join("data").exists(), "a check leaves nothing behind");
}

#[test]
fn a_taken_port_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let config = write(folder.path(), taken.local_addr().unwrap().port());
    gateway(&["master-key", folder.path().join("master.key").to_str().unwrap()]);
    let served = gateway(&["serve", "--config", &config]);
    assert!(!served.status.success());
    assert!(text(&served.stderr).contains("is taken by another program"), "{}", text(&served.stderr));
}

/// A gateway that serves, until this is dropped.
struct Serving {
    child: Child,
    port: u16,
}

impl Serving {
    /// Starts it with so many descriptors, and its log going there.
    fn start(config: &str, port: u16, descriptors: &str, log: Stdio) -> Self {
        let binary = env!("CARGO_BIN_EXE_gateway");
        let command = format!("ulimit -n {descriptors}; exec {binary} serve --config {config}");
        let child = Command::new("sh").args(["-c", &command]).stderr(log).spawn().unwrap();
        let listening = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        assert!(listening, "it listens");
        Self { child, port }
    }

    /// What it says of its health; nothing, where no answer comes.
    fn health(&self) -> String {
        let address = format!("127.0.0.1:{}", self.port);
        let mut asking = Command::new("timeout")
            .args(["5", "openssl", "s_client", "-quiet", "-servername", "localhost", "-connect", &address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let request = format!("GET /health HTTP/1.1\r\nhost: localhost:{}\r\nconnection: close\r\n\r\n", self.port);
        let mut to = asking.stdin.take().unwrap();
        let _ = to.write_all(request.as_bytes());
        let answer = asking.wait_with_output().unwrap();
        drop(to);
        text(&answer.stdout)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with all that a gateway needs, its configuration, and its port.
fn prepared() -> (tempfile::TempDir, String, u16) {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let config = write(folder.path(), port);
    let told = fs::read_to_string(&config).unwrap() + "[control]\nsocket = \"control.sock\"\n";
    fs::write(&config, told).unwrap();
    gateway(&["master-key", folder.path().join("master.key").to_str().unwrap()]);
    (folder, config, port)
}

#[test]
fn serve_stops_when_told_to() {
    let (_folder, config, port) = prepared();
    let mut serving = Serving::start(&config, port, "1024", Stdio::null());
    Command::new("kill").args(["-TERM", &serving.child.id().to_string()]).status().unwrap();
    assert!(serving.child.wait().unwrap().success());
}

/// A reload killed the process. It takes a new certificate, and none that would serve worse than the one in use.
#[test]
fn a_reload_takes_a_new_certificate_and_ends_nothing() {
    let (folder, config, port) = prepared();
    let mut serving = Serving::start(&config, port, "1024", Stdio::null());
    let shown = |at: u16| {
        let address = format!("127.0.0.1:{at}");
        let seen = Command::new("timeout")
            .args(["5", "openssl", "s_client", "-servername", "localhost", "-connect", &address])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let seen = text(&seen.stdout);
        seen.split("-----BEGIN").nth(1)?.split("-----END").next().map(str::to_owned)
    };
    let reload = |serving: &Serving, names: &[&str]| {
        let ca = DevCa::open(&folder.path().join("ca"), SystemClock.now().0).unwrap();
        // Files are told apart by when they were written.
        std::thread::sleep(Duration::from_millis(20));
        ca.issue("server", names).unwrap();
        Command::new("kill").args(["-HUP", &serving.child.id().to_string()]).status().unwrap();
    };
    let first = shown(port);
    assert!(first.is_some());
    reload(&serving, &["localhost"]);
    let second = (0..100).map(|_| shown(port)).find(|seen| *seen != first);
    assert!(second.is_some(), "the new one is shown");
    reload(&serving, &["elsewhere.example"]);
    assert!(serving.health().starts_with("HTTP/1.1 200"));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(Some(shown(port)), second, "the one of another host is not taken");
    assert!(serving.child.try_wait().unwrap().is_none());
}

/// With 256 descriptors and 235 silent connections nobody got in, and the store was broken for good.
#[test]
fn silent_connections_keep_nobody_out_however_few_descriptors_there_are() {
    let (_folder, config, port) = prepared();
    let serving = Serving::start(&config, port, "256", Stdio::null());
    let silent: Vec<_> = (0..235).filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok()).collect();
    assert!(silent.len() > 200, "{}", silent.len());
    let answered = (0..10).map(|_| serving.health()).find(|answer| answer.starts_with("HTTP/1.1 200"));
    assert!(answered.is_some(), "{}", serving.health());
    drop(silent);
    assert!(serving.health().starts_with("HTTP/1.1 200"));
}

/// A log whose reader is gone made every handler that had something to say panic.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let (_folder, config, port) = prepared();
    let mut serving = Serving::start(&config, port, "1024", Stdio::piped());
    drop(serving.child.stderr.take());
    for _ in 0..5 {
        assert!(serving.health().starts_with("HTTP/1.1 200"));
    }
    // One that is there and does not read.
    let (_folder, config, port) = prepared();
    let serving = Serving::start(&config, port, "1024", Stdio::piped());
    for _ in 0..5 {
        assert!(serving.health().starts_with("HTTP/1.1 200"));
    }
}

/// The commands of officers and operators needed the gateway stopped.
#[test]
fn commands_work_while_the_gateway_runs() {
    let (_folder, config, port) = prepared();
    let serving = Serving::start(&config, port, "1024", Stdio::null());
    assert!(serving.health().starts_with("HTTP/1.1 200"));
    for command in [&["audit", "verify"][..], &["links", "reviews"], &["portals", "list"], &["logouts"], &["retiring"]]
    {
        let said = gateway(&[command, &["--config", &config]].concat());
        assert!(said.status.success(), "{command:?}: {}", text(&said.stderr));
    }
}

/// The shipped documents of the three systems hold no problem once their addresses are filled in; a key that is none does.
#[test]
fn check_knows_the_shipped_providers_and_looks_at_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), 1);
    gateway(&["master-key", folder.path().join("master.key").to_str().unwrap()]);
    let providers = folder.path().join("bundle/providers");
    for (name, text) in policies::documents::PROVIDERS {
        let text = text.replace("@ORIGIN@", "https://idp.example").replace("@APP@", "hk.gov.iamsmart://");
        fs::write(providers.join(name), text).unwrap();
        fs::write(providers.join(name.replace(".toml", ".secret")), "a secret").unwrap();
    }
    fs::write(providers.join("hk-iam-smart.kek"), "not a key").unwrap();
    let broken = gateway(&["check", "--config", &config]);
    let said = text(&broken.stderr);
    assert!(!broken.status.success() && said.contains("hk-iam-smart.kek: must be an RSA private key"), "{said}");
    let key = aws_lc_rs::rsa::PrivateDecryptingKey::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der = aws_lc_rs::encoding::AsDer::as_der(&key).unwrap();
    fs::write(providers.join("hk-iam-smart.kek"), certs::devca::private_key_pem(der.as_ref())).unwrap();
    let sound = gateway(&["check", "--config", &config]);
    assert!(sound.status.success(), "{}", text(&sound.stderr));
}

/// Links that wait are listed, decided once, and recorded with the officer's name.
#[tokio::test(flavor = "multi_thread")]
async fn an_officer_decides_about_links_that_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), 1);
    let key = folder.path().join("master.key");
    gateway(&["master-key", key.to_str().unwrap()]);
    let config = StoreConfig { node: "node-1".into(), engine: Engine::Embedded(folder.path().join("data")) };
    let seals = Seals::new(certs::vault::Vault::load(&key).unwrap());
    let now = SystemClock.now();
    let store = Store::open(&config, seals.key("audit").unwrap()).await.unwrap();
    let pairwise = gateway::keys::lasting_secret(&store, &seals, "pairwise", [7; 32], now).await.unwrap();
    let (name, birthdate, gender) = (Agreement::Different, Agreement::Same, Agreement::Unknown);
    let entry = Entry {
        id: "reference-1".to_owned(),
        made_at: now,
        changed_at: now,
        first: "hk".parse().unwrap(),
        second: "gd".parse().unwrap(),
        ground: Ground::BothPresent,
        signals: Signals { name, birthdate, gender, matcher: String::new() },
        status: Status::UnderReview,
        person: PersonId::from_random([1; 24]),
        previous: PersonId::from_random([2; 24]),
        account: "account".to_owned(),
        other: "other".to_owned(),
    };
    Links::new(&store, &seals, &pairwise)
        .enter(&entry, Actor::Person { provider: "hk".parse().unwrap() }, now)
        .await
        .unwrap();
    drop(store);
    let links = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["links"].iter().chain(arguments).chain(&["--config", &path]).copied().collect();
        once_unlocked(&arguments)
    };
    let listed = text(&links(&["reviews"]).stdout);
    assert!(listed.contains("reference-1") && listed.contains("\"name\":\"different\""), "{listed}");
    let unknown = links(&["accept", "reference-2", "--officer", "Officer A"]);
    assert!(text(&unknown.stderr).contains("no such entry"), "{}", text(&unknown.stderr));
    let accepted = links(&["accept", "reference-1", "--officer", "Officer A"]);
    assert_eq!(text(&accepted.stdout), "reference-1: linked\n");
    assert!(!links(&["refuse", "reference-1", "--officer", "Officer B"]).status.success(), "decided is decided");
    assert_eq!(text(&links(&["reviews"]).stdout), "");
}

async fn append(config: &StoreConfig, seals: &Seals, count: u64) {
    // The folder is free again a moment after the store before was dropped.
    let mut opened = Store::open(config, seals.key("audit").unwrap()).await;
    for _ in 0..100 {
        if opened.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        opened = Store::open(config, seals.key("audit").unwrap()).await;
    }
    let store = Arc::new(opened.unwrap_or_else(|error| panic!("{error}")));
    for number in 0..count {
        let event = Event::CodeRedeemed { grant: number.to_string(), client: "a".parse().unwrap() };
        store.commit(Class::Durable, Batch::default().recording(event), SystemClock.now()).await.unwrap();
    }
}

/// Any missing or changed record, and a head that is not ours, make the command exit non-zero.
#[tokio::test(flavor = "multi_thread")]
async fn audit_verify_finds_what_is_missing_or_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), 1);
    let key = folder.path().join("master.key");
    gateway(&["master-key", key.to_str().unwrap()]);
    let data = folder.path().join("data");
    let config = StoreConfig { node: "node-1".into(), engine: Engine::Embedded(data.clone()) };
    let seals = Seals::new(certs::vault::Vault::load(&key).unwrap());
    append(&config, &seals, 6).await;
    let verify = || once_unlocked(&["audit", "verify", "--config", &path]);
    let sound = verify();
    assert!(sound.status.success(), "{}", text(&sound.stderr));
    assert!(text(&sound.stdout).contains("node-1: 6 records verify"));
    let tamper = |change: &dyn Fn(&fjall::Keyspace)| {
        let database = fjall::Database::builder(data.join("durable")).open().unwrap();
        let audit = database.keyspace("audit-node-1", fjall::KeyspaceCreateOptions::default).unwrap();
        change(&audit);
        database.persist(fjall::PersistMode::SyncAll).unwrap();
    };
    let record = |sequence: u64| sequence.to_be_bytes();
    for sequence in 1..=6 {
        tamper(&|audit| audit.remove(record(sequence)).unwrap());
        assert_eq!(verify().status.code(), Some(1), "record {sequence} is missing");
        tamper(&|audit| audit.insert(record(sequence), forged(sequence)).unwrap());
        assert_eq!(verify().status.code(), Some(1), "record {sequence} was changed");
        fs::remove_dir_all(&data).unwrap();
        append(&config, &seals, 6).await;
    }
}

/// A record of the right shape that nobody wrote.
fn forged(sequence: u64) -> String {
    format!(
        "{{\"node\":\"node-1\",\"sequence\":{sequence},\"time\":1,\"previous\":\"{}\",\"event\":\"code_redeemed\",\
         \"grant\":\"x\",\"client\":\"a\"}}",
        "0".repeat(64)
    )
}
