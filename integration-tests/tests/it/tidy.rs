//! The rules of the house, as tests: which way the arrows point, what pure packages may not touch, how long things get.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn dependencies(package: &str) -> Vec<String> {
    let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    manifest["dependencies"].as_table().unwrap().keys().cloned().collect()
}

fn sources(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            into.push((path, text));
        }
    }
}

fn all_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for package in [
        "gateway",
        "adapters",
        "policies",
        "certs",
        "integration-tests/src",
        "integration-tests/tests",
        "integration-tests/sandbox/src",
        "integration-tests/fuzz/src",
        "integration-tests/fuzz/tests",
    ] {
        sources(&root().join(package), &mut found);
    }
    found
}

#[test]
fn arrows_point_down() {
    let ours = ["gateway-core", "certs", "policies", "adapters", "gateway", "sandbox", "integration-tests"];
    for (package, allowed) in [
        ("gateway/core", &[][..]),
        ("certs", &[]),
        ("policies", &["gateway-core"]),
        ("adapters", &["gateway-core", "certs"]),
        ("gateway", &["gateway-core", "certs", "policies", "adapters"]),
    ] {
        for dependency in dependencies(package).iter().filter(|name| ours.contains(&name.as_str())) {
            assert!(allowed.contains(&dependency.as_str()), "{package} must not depend on {dependency}");
        }
    }
}

#[test]
fn the_core_and_policies_are_pure() {
    for package in ["gateway/core", "policies"] {
        for dependency in dependencies(package) {
            assert!(
                !["tokio", "hyper", "rustls", "axum", "fjall", "redis"].contains(&dependency.as_str()),
                "{package}: {dependency}"
            );
        }
        let mut found = Vec::new();
        sources(&root().join(package).join("src"), &mut found);
        for (path, text) in found.iter().filter(|(path, _)| !path.ends_with("set_tests.rs")) {
            for forbidden in ["std::fs", "std::net", "SystemTime", "SystemRandom", "Instant::now"] {
                assert!(!text.contains(forbidden), "{} uses {forbidden}", path.display());
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_none_is_too_long() {
    for (path, text) in all_sources() {
        let tests = path.to_string_lossy().ends_with("tests.rs");
        assert!(tests || text.starts_with("//!"), "{} has no module documentation", path.display());
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines().count();
        assert!(code <= 500, "{} has {code} lines before its tests", path.display());
    }
}

/// RUSTSEC-2023-0071: no private RSA operation in the `rsa` crate, which only `openidconnect` may bring.
#[test]
fn rustsec_2023_0071_the_rsa_crate_has_one_user() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let users = |of: &str| -> Vec<String> {
        let named =
            |package: &&str| package.contains(&format!("\n \"{of}\",")) || package.contains(&format!("\n \"{of} "));
        let name = |package: &str| package.split("name = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        lock.split("[[package]]").filter(named).map(name).collect()
    };
    assert_eq!(users("rsa"), ["openidconnect"]);
    // An optional dependency that is locked and never built: there is one cryptographic provider.
    assert_eq!(users("ring"), ["rustls-webpki"]);
}

/// What the tables of the documentation say is tested is tested by tests of these names.
#[test]
fn the_tables_of_facts_name_tests_that_exist() {
    let sources: String = all_sources().into_iter().map(|(_, text)| text).collect();
    for (file, least) in [("docs/identity-systems.md", 40), ("docs/conformance.md", 300), ("docs/attacks.md", 60)] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.rsplit('|').nth(1));
        let is_function = |name: &&str| {
            name.contains('_') && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let names: Vec<&str> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(is_function).collect();
        assert!(names.len() > least, "{file}: {}", names.len());
        for name in names {
            assert!(sources.contains(&format!("fn {name}(")), "{file}: {name}");
        }
    }
}
