//! `gateway policy`, as an officer types it, on the shipped documents.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use certs::devca::DevCa;
use gateway::ports::{Clock as _, SystemClock};
use policies::documents::{self, CLIENTS, PROVIDERS};
use serde_json::Value;

/// An office: a folder of documents, a key, and the configuration of a gateway that does not run.
struct Office {
    folder: tempfile::TempDir,
}

impl Office {
    fn new() -> Self {
        let office = Self { folder: tempfile::tempdir().unwrap() };
        let bundle = office.path("bundle");
        for kind in ["clients", "groups", "instruments", "providers", "services", "vocabulary"] {
            fs::create_dir_all(bundle.join(kind)).unwrap();
        }
        let clients = CLIENTS.iter().map(|(name, text)| (format!("clients/{name}"), *text));
        let providers = PROVIDERS.iter().map(|(name, text)| (format!("providers/{name}"), *text));
        for (path, text) in documents::common().chain(clients).chain(providers) {
            let text = text
                .replace("@PORTAL@", "https://portal.example")
                .replace("@ORIGIN@", "https://provider.example")
                .replace("@APP@", "https://app.example/")
                .replace("@SECRET@", &"A".repeat(43))
                .replace("@JWKS@", JWKS);
            fs::write(bundle.join(path), text).unwrap();
        }
        let signer = office.run(&["policy", "signer", &office.text("officer.key")]);
        fs::write(office.path("signers.jwks"), &signer.stdout).unwrap();
        office.configure();
        office
    }

    fn configure(&self) {
        let ca = DevCa::open(&self.path("ca"), SystemClock.now().0).unwrap();
        ca.issue("server", &["localhost"]).unwrap();
        self.run(&["master-key", &self.text("master.key")]);
        fs::create_dir_all(self.path("secrets")).unwrap();
        for name in ["hk-iam-smart.secret", "mo-one-account.secret", "gd-unified.secret"] {
            fs::write(self.path("secrets").join(name), "a-secret-of-a-test").unwrap();
        }
        let key = aws_lc_rs::rsa::PrivateDecryptingKey::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let der = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        fs::write(self.path("secrets/hk-iam-smart.kek"), certs::devca::private_key_pem(der.as_ref())).unwrap();
        fs::write(
            self.path("gateway.toml"),
            "issuer = \"https://localhost:1\"\nlisten = \"127.0.0.1:1\"\n\
             [tls]\ncertificate = \"ca/server.pem\"\nkey = \"ca/server.key\"\n[keys]\nmaster = \"master.key\"\n\
             [store]\nnode = \"node-1\"\nengine = \"embedded\"\npath = \"data\"\n\
             [bundle]\nsigners = \"signers.jwks\"\nsecrets = \"secrets\"\n[control]\nsocket = \"control.sock\"\n",
        )
        .unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_gateway")).args(arguments).current_dir(self.folder.path()).output().unwrap()
    }

    /// What a command says; it must succeed.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command complains of; it must fail.
    fn complains(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    fn edit(&self, document: &str, from: &str, to: &str) {
        let path = self.path("bundle").join(document);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{document} holds {from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    fn sign(&self, out: &str, more: &[&str]) -> String {
        let mut arguments =
            vec!["policy", "bundle", "bundle", "--key", "officer.key", "--signer", "Officer", "--out", out];
        arguments.extend(more);
        self.says(&arguments)
    }
}

/// A key that verifies nothing of anybody: the public example of RFC 7517 appendix A.1.
const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

const LICENCE: &str = "services/driving-licence-exchange.toml";

fn is_in(folder: &Path, name: &str) -> bool {
    folder.join(name).exists()
}

#[test]
fn an_officer_checks_tests_and_explains() {
    let office = Office::new();
    assert!(office.says(&["policy", "check", "bundle"]).contains("no problem found in 158 services"));
    assert!(office.says(&["policy", "test", "bundle"]).contains("examples of 158 services hold"));
    let case = "service = \"driving-licence-exchange\"\nprovider = \"hk-iam-smart\"\nacr = \"default\"\nsigned_in = \"20m\"\n\
        claims = { name = \"CHAN, Tai Man\", birthdate = \"1979-03-14\" }\n";
    fs::write(office.path("case.toml"), case).unwrap();
    let why = office.says(&["policy", "explain", "case.toml", "bundle"]);
    assert!(why.starts_with("driving-licence-exchange: CB-403 (by allow-1)"), "{why}");
    assert!(why.contains("no  signed in at most 10m ago; found: 20m"), "{why}");
    assert!(why.contains("to change: allow-1 needs: signed in at most 10m ago; found: 20m"), "{why}");
    fs::write(office.path("case.toml"), case.replace("20m", "2m")).unwrap();
    let why = office.says(&["policy", "explain", "--json", "case.toml", "bundle"]);
    let why: Value = serde_json::from_str(&why).unwrap();
    assert_eq!(
        (why["outcome"].as_str(), why["released"]["name"]["cover"][0].as_str()),
        (Some("permit"), Some("gba-contract-hk"))
    );
    for (from, to, reason) in [
        ("hk-iam-smart", "hk-iam-smar", "hk-iam-smar is no provider of this bundle; did you mean hk-iam-smart?"),
        ("signed_in", "signedin", "case.toml:4: signedin is not a known field; did you mean signed_in?"),
        ("driving", "diving", "names no service of this bundle"),
        ("20m", "soon", "case.toml:4: signed_in: expected a number and a unit"),
    ] {
        fs::write(office.path("case.toml"), case.replace(from, to)).unwrap();
        let said = office.complains(&["policy", "explain", "case.toml", "bundle"]);
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn an_officer_compares_signs_activates_and_goes_back() {
    let office = Office::new();
    let config = ["--config", "gateway.toml"];
    let with = |arguments: &[&'static str]| [arguments, &config].concat();
    assert!(office.complains(&with(&["policy", "diff", "bundle"])).contains("no bundle is in effect yet"));
    assert!(office.complains(&["serve", "--config", "gateway.toml"]).contains("no bundle is in effect yet"));
    office.sign("first.bundle", &["--sequence", "1"]);
    let first: Value =
        serde_json::from_str(&office.says(&with(&["policy", "activate", "first.bundle", "--by", "Officer"]))).unwrap();
    assert_eq!((first["epoch"].as_u64(), first["by"].as_str()), (Some(1), Some("Officer")));
    assert!(office.says(&with(&["policy", "diff", "bundle", "--no-widening"])).contains("0 changes"));

    office.edit(LICENCE, "max_age = \"10m\"", "max_age = \"30m\"");
    let diff = office.says(&with(&["policy", "diff", "bundle"]));
    assert!(
        diff.contains("WIDENING  driving-licence-exchange: at gd-government-service-network with hk-iam-smart"),
        "{diff}"
    );
    assert!(diff.contains("e.g. a Hong Kong resident"), "{diff}");
    assert!(office.complains(&with(&["policy", "diff", "bundle", "--no-widening"])).contains("something is widened"));
    office.edit("providers/gd-unified.toml", "https://provider.example", "https://elsewhere.example");
    assert!(office.says(&with(&["policy", "diff", "bundle"])).contains("WIDENING  providers/gd-unified.toml: changed"));

    office.sign("stale.bundle", &["--sequence", "3", "--based-on", "0000000000000000"]);
    assert!(
        office.complains(&with(&["policy", "activate", "stale.bundle", "--by", "Officer"])).contains("was made from")
    );
    office.sign("second.bundle", &["--sequence", "2", "--config", "gateway.toml"]);
    office.says(&with(&["policy", "activate", "second.bundle", "--by", "Officer"]));
    assert!(
        office
            .complains(&with(&["policy", "activate", "first.bundle", "--by", "Officer"]))
            .contains("must be greater than 2")
    );
    let back: Value = serde_json::from_str(&office.says(&with(&["policy", "rollback", "--by", "Officer"]))).unwrap();
    assert_eq!(back["version"], first["version"]);
    let status: Value = serde_json::from_str(&office.says(&with(&["policy", "status"]))).unwrap();
    assert_eq!((status["changes"].as_u64(), &status["live"]["version"]), (Some(3), &first["version"]));
    assert!(
        office.says(&with(&["policy", "simulate", "second.bundle"])).contains("of the last 0 decisions 0 would change")
    );
    assert_eq!(office.says(&with(&["policy", "exports"])).trim(), "[]");
    assert!(office.says(&["audit", "verify", "--config", "gateway.toml"]).contains("3 records verify"));
}

#[test]
fn what_is_wrong_is_never_signed_or_put_into_effect() {
    let office = Office::new();
    office.sign("first.bundle", &[]);
    office.edit(LICENCE, "max_age = \"10m\"", "max_age = \"1m\"");
    let sign = ["policy", "bundle", "bundle", "--key", "officer.key", "--signer", "O", "--out", "next.bundle"];
    let said = office.complains(&sign);
    assert!(
        said.contains("driving-licence-exchange.toml:") && said.contains("expected permit, but it is CB-403"),
        "{said}"
    );
    assert!(!is_in(office.folder.path(), "next.bundle"));
    office.edit(LICENCE, "max_age = \"1m\"", "max_age = \"1x\"");
    assert!(office.complains(&sign).contains("max_age: expected a number and a unit"));
    // A key that others can read, and one that nobody knows here.
    let loose = office.path("loose.key");
    fs::copy(office.path("officer.key"), &loose).unwrap();
    fs::set_permissions(&loose, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    office.edit(LICENCE, "max_age = \"1x\"", "max_age = \"10m\"");
    let with_key =
        |key: &'static str| ["policy", "bundle", "bundle", "--key", key, "--signer", "O", "--out", "other.bundle"];
    assert!(office.complains(&with_key("loose.key")).contains("others can read this key"));
    office.says(&["policy", "signer", "stranger.key"]);
    office.says(&with_key("stranger.key"));
    let activate = |file: &'static str| ["policy", "activate", file, "--by", "O", "--config", "gateway.toml"];
    assert!(office.complains(&activate("other.bundle")).contains("not signed by a signer of this gateway"));
    fs::remove_file(office.path("secrets/gd-unified.secret")).unwrap();
    assert!(
        office.complains(&activate("first.bundle")).contains("gd-unified.secret"),
        "a bundle that could not be used here"
    );
    assert!(office.complains(&["policy", "status"]).contains("--config is needed"));
}

/// Hours that end at 24:00 end where the next day begins: opening that day is a widening, however the hours were written.
#[test]
fn opening_the_weekend_is_a_widening_however_its_hours_were_written() {
    let (open, closed) = (Office::new(), Office::new());
    let max_age = "max_age = \"10m\"";
    let diff = |old: &Office, new: &Office| {
        let (old, new) = (old.text("bundle"), new.text("bundle"));
        open.run(&["policy", "diff", &new, &old, "--no-widening"])
    };
    closed.edit(LICENCE, max_age, &format!("hours = [\"daily 00:00-24:00\"]\n{max_age}"));
    for output in [diff(&open, &closed), diff(&closed, &open)] {
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("0 changes"), "{said}");
    }
    for (was, hours) in [("daily 00:00-24:00", "Mon-Fri 00:00-24:00"), ("Mon-Fri 00:00-24:00", "Mon-Fri 00:00-23:59")] {
        closed.edit(LICENCE, was, hours);
        let (there, back) = (diff(&closed, &open), diff(&open, &closed));
        let said = String::from_utf8_lossy(&there.stdout);
        assert!(!there.status.success() && said.contains("WIDENING  driving-licence-exchange: at"), "{hours}: {said}");
        assert!(String::from_utf8_lossy(&there.stderr).contains("something is widened"));
        let said = String::from_utf8_lossy(&back.stdout);
        assert!(back.status.success() && said.contains("narrowing driving-licence-exchange: at"), "{hours}: {said}");
    }
}
