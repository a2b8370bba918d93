//! Every seed goes through its target. What the fuzzer finds is put among the seeds: a crash once is a test for ever.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    entries.map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn every_target_stands_its_seeds() {
    for (name, target) in fuzz::TARGETS {
        let own = root().join("integration-tests/fuzz/corpus").join(name);
        let elsewhere = fs::read_to_string(own.join("folders")).unwrap_or_default();
        let folders = elsewhere.split_whitespace().map(|folder| root().join(folder)).chain([own]);
        let seeds: Vec<Vec<u8>> = folders.flat_map(|folder| files(&folder)).collect();
        assert!(seeds.len() >= 5, "{name}: {} seeds", seeds.len());
        for seed in seeds {
            target(&seed);
            // And what is nearly right.
            for cut in [1, seed.len() / 2, seed.len().saturating_sub(1)] {
                target(seed.get(..cut).unwrap_or_default());
            }
            let mut turned = seed.clone();
            for byte in turned.iter_mut().step_by(17) {
                *byte ^= 1;
            }
            target(&turned);
        }
    }
}
