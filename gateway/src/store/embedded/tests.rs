use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_core::audit::Event;
use gateway_core::time::Timestamp;

use super::super::{Batch, Class, Key, Store, StoreError, Write, conformance};
use crate::config::{Engine, StoreConfig};

const NOW: Timestamp = Timestamp(1_000_000);

fn config(path: &Path) -> StoreConfig {
    StoreConfig { node: "node-1".into(), engine: Engine::Embedded(path.to_owned()) }
}

async fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(&config(path), b"audit".to_vec()).await
}

/// The committer lets go of the folder a moment after its store is dropped.
async fn open_again(path: &Path) -> Result<Store, StoreError> {
    loop {
        match open(path).await {
            Err(StoreError::Unavailable(text)) if text.contains("Locked") => {
                tokio::time::sleep(Duration::from_millis(5)).await
            }
            opened => return opened,
        }
    }
}

fn key(at: usize) -> Key {
    Key::new("t", &format!("{at:06}"))
}

/// One commit with a record and an audit event.
async fn write(store: &Store, at: usize, value: &[u8]) -> Result<(), StoreError> {
    let batch = Batch::of(Write::Put(key(at), value.to_vec(), Some(NOW.plus(Duration::from_secs(3_600)))))
        .recording(Event::SessionEnded { clients: Vec::new() });
    store.commit(Class::Durable, batch, NOW).await
}

/// How many of the records that were acknowledged are there, and whether the audit chain has as many.
async fn found(store: &Store, written: usize) -> Result<(usize, bool), StoreError> {
    let mut found = 0;
    for at in 0..written {
        found += usize::from(store.get(Class::Durable, &key(at), NOW).await?.is_some_and(|value| value == b"value"));
    }
    let report = store.verify_audit().await?.into_iter().find(|report| report.node == "node-1");
    let whole = report.is_some_and(|report| report.broken.is_none() && report.records == written as u64);
    Ok((found, whole))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    conformance::run(std::sync::Arc::new(open(folder.path()).await.unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    conformance::write_before_restart(&open(folder.path()).await.unwrap()).await;
    conformance::read_after_restart(&open_again(folder.path()).await.unwrap()).await;
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { files.extend(self::files(&entry)) } else { files.push(entry) }
    }
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

/// A fault of a disk, done to a file.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Gone,
    Flipped(u64),
    Cut(u64),
}

impl Fault {
    fn strike(self, file: &Path, used: u64) {
        let mut bytes = fs::read(file).unwrap();
        match self {
            Self::Gone => return fs::remove_file(file).unwrap(),
            Self::Flipped(percent) => {
                let at = usize::try_from(used * percent / 100).unwrap().min(bytes.len().saturating_sub(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1;
                }
            }
            Self::Cut(percent) => bytes.truncate(usize::try_from(used * percent / 100).unwrap()),
        }
        fs::write(file, bytes).unwrap();
    }
}

/// A flipped bit or a missing file of 25 bytes once destroyed thousands of acknowledged records without a word. Whatever happens to
/// whichever file: everything is there, or the store says that it is not.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_records_are_never_silently_gone() {
    const WRITTEN: usize = 200;
    let (sound, struck) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(sound.path()).await.unwrap();
    for at in 0..WRITTEN {
        write(&store, at, b"value").await.unwrap();
    }
    drop(store);
    drop(open_again(sound.path()).await.unwrap());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let durable: Vec<PathBuf> =
        files(sound.path()).into_iter().filter(|file| !file.starts_with(sound.path().join("ephemeral"))).collect();
    for file in durable {
        let name = file.strip_prefix(sound.path()).unwrap();
        // A journal is made larger than what is in it.
        let used = fs::read(&file).unwrap().iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        for fault in
            [Fault::Gone, Fault::Flipped(2), Fault::Flipped(50), Fault::Flipped(97), Fault::Cut(0), Fault::Cut(60)]
        {
            let target = struck.path().join("store");
            let _ = fs::remove_dir_all(&target);
            copy(sound.path(), &target);
            fault.strike(&target.join(name), used);
            let said = match open_again(&target).await {
                Err(_) => "refused",
                Ok(store) => match found(&store, WRITTEN).await {
                    Err(_) => "read errors",
                    Ok((WRITTEN, true)) => "all there",
                    Ok(found) => panic!("{}: {fault:?}: silently {found:?} of {WRITTEN}", name.display()),
                },
            };
            *seen.entry(said).or_default() += 1;
        }
    }
    assert!(seen["refused"] > 10 && seen["all there"] > 10, "{seen:?}");
}

/// A folder from yesterday under the mark of today: nothing is served, the journals are kept, and somebody has to decide.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_put_back_to_an_earlier_state_is_not_served_until_somebody_accepts_it() {
    let (folder, before) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(folder.path()).await.unwrap();
    for at in 0..40 {
        write(&store, at, b"value").await.unwrap();
    }
    drop(store);
    drop(open_again(folder.path()).await.unwrap());
    copy(&folder.path().join("durable"), before.path());
    let store = open_again(folder.path()).await.unwrap();
    for at in 40..120 {
        write(&store, at, b"value").await.unwrap();
    }
    drop(store);
    drop(open_again(folder.path()).await.unwrap());
    fs::remove_dir_all(folder.path().join("durable")).unwrap();
    copy(before.path(), &folder.path().join("durable"));
    for _ in 0..2 {
        let Err(StoreError::Lost(said)) = open_again(folder.path()).await else { panic!("it was served") };
        assert!(said.contains("0.jnl is not as it was"), "{said}");
    }
    Store::accept_loss(&config(folder.path()), b"audit".to_vec(), "officer", NOW).await.unwrap();
    let store = open_again(folder.path()).await.unwrap();
    assert!(folder.path().join("durable.before-loss").is_dir());
    let newest = store.newest_records(1).await.unwrap();
    assert_eq!(newest[0].event, Event::StoreLossAccepted { group: 120, by: "officer".into() });
    for at in 200..300 {
        write(&store, at, b"value").await.unwrap();
    }
    drop(store);
    let store = open_again(folder.path()).await.unwrap();
    assert!(store.get(Class::Durable, &key(299), NOW).await.unwrap().is_some());
}

/// Faults between entries are not covered by the engine's checksums: a flipped count, length or sequence number cut the journal or
/// brought a deleted record back.
#[tokio::test(flavor = "multi_thread")]
async fn no_bit_of_an_acknowledged_journal_flips_unseen() {
    let (sound, struck) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(sound.path()).await.unwrap();
    for at in 0..20 {
        write(&store, at, b"value").await.unwrap();
    }
    drop(store);
    let journal = sound.path().join("durable/0.jnl");
    let used = fs::read(&journal).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    let target = struck.path().join("store");
    copy(sound.path(), &target);
    // A prime step meets every kind of field.
    for at in (0..used).step_by(97) {
        use std::os::unix::fs::FileExt as _;
        let file = fs::File::options().read(true).write(true).open(target.join("durable/0.jnl")).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at as u64).unwrap();
        assert!(matches!(open(&target).await, Err(StoreError::Lost(_))), "byte {at}");
        file.write_all_at(&byte, at as u64).unwrap();
    }
    assert_eq!(found(&open(&target).await.unwrap(), 20).await.unwrap(), (20, true), "nothing was cut meanwhile");
}

/// The end of a commit that nobody was told of is cut, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_and_what_was_acknowledged_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    for at in 0..20 {
        write(&store, at, b"value").await.unwrap();
    }
    drop(store);
    let journal = folder.path().join("durable/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // The beginning of an entry, as a process leaves it that was killed while it wrote.
    bytes.splice(used..used + 9, [1, 3, 0, 0, 0, 99, 0, 0, 0]);
    fs::write(&journal, bytes).unwrap();
    let store = open(folder.path()).await.unwrap();
    assert_eq!(found(&store, 20).await.unwrap(), (20, true));
    write(&store, 20, b"value").await.unwrap();
    drop(store);
    assert_eq!(found(&open(folder.path()).await.unwrap(), 21).await.unwrap(), (21, true));
}

/// Journals that the engine gave up because their content is in its tables are not missed, and those that it still needs are.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_journal_is_noticed_and_one_that_was_given_up_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let large = vec![7; 96 * 1024];
    for at in 0..2_500 {
        write(&store, at, &large).await.unwrap();
    }
    drop(store);
    let journals = || {
        let mut journals: Vec<PathBuf> = files(&folder.path().join("durable"))
            .into_iter()
            .filter(|file| file.extension().is_some_and(|e| e == "jnl"))
            .collect();
        journals.sort();
        journals
    };
    assert!(!journals()[0].ends_with("0.jnl"), "the first one is given up: {:?}", journals());
    drop(open(folder.path()).await.unwrap());
    for journal in journals() {
        let away = journal.with_extension("away");
        fs::rename(&journal, &away).unwrap();
        assert!(open(folder.path()).await.is_err(), "{}", journal.display());
        fs::rename(away, journal).unwrap();
    }
}

/// A mark that is older than the store is one of a machine that lost power: what is there was never in doubt.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_ahead_of_its_mark_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    write(&store, 0, b"value").await.unwrap();
    let mark = fs::read(folder.path().join("durable.mark")).unwrap();
    for at in 1..100 {
        write(&store, at, b"value").await.unwrap();
    }
    drop(store);
    drop(open_again(folder.path()).await.unwrap());
    fs::write(folder.path().join("durable.mark"), mark).unwrap();
    assert_eq!(found(&open_again(folder.path()).await.unwrap(), 100).await.unwrap(), (100, true));
}

/// After one failed write the engine answered `Poisoned` for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_failed_is_opened_again_when_its_disk_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    write(&store, 0, b"value").await.unwrap();
    let away = |file: &Path| file.with_extension("away");
    let tables: Vec<PathBuf> = fs::read_dir(folder.path().join("durable/keyspaces"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("tables"))
        .filter(|tables| tables.is_dir())
        .collect();
    tables.iter().for_each(|tables| fs::rename(tables, away(tables)).unwrap());
    let large = vec![7; 64 * 1024];
    let mut acknowledged = Vec::new();
    let mut failed = false;
    for at in 1..2_000 {
        match write(&store, at, &large).await {
            Ok(()) => acknowledged.push(at),
            Err(StoreError::Unavailable(_)) => {
                failed = true;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(failed, "nothing failed");
    assert!(store.failed_lately());
    assert!(store.get(Class::Durable, &key(0), NOW).await.unwrap().is_some(), "reads go on");
    for tables in &tables {
        let _ = fs::remove_dir_all(tables);
        fs::rename(away(tables), tables).unwrap();
    }
    let mut tries = 0;
    while write(&store, 5_000, b"value").await.is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        tries += 1;
        assert!(tries < 100, "it never came back");
    }
    for at in acknowledged {
        assert!(store.get(Class::Durable, &key(at), NOW).await.unwrap().is_some(), "{at}");
    }
    drop(store);
    assert!(open_again(folder.path()).await.is_ok());
}

/// Sweeping goes on where it stopped, and still finds what ends before that.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_clock_set_back_wrote_is_swept_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let put = async |name: &str, ends: u64, now: u64| {
        let batch = Batch::of(Write::Put(Key::new("e", name), Vec::new(), Some(Timestamp(ends))));
        store.commit(Class::Ephemeral, batch, Timestamp(now)).await.unwrap();
    };
    let sweep = async |now| {
        let mut freed = 0;
        loop {
            match store.sweep(Timestamp(now)).await.unwrap() {
                0 => return freed,
                portion => freed += portion,
            }
        }
    };
    for at in 0..1_000 {
        put(&format!("{at}"), 100 + at / 10, 50).await;
    }
    assert_eq!(sweep(1_000).await, 1_000);
    assert_eq!(sweep(1_000).await, 0);
    put("late", 120, 110).await;
    put("later", 2_000, 1_000).await;
    assert_eq!(sweep(1_000).await, 1);
    assert_eq!(sweep(3_000).await, 1);
}

/// Records name no person, and still are nobody else's business.
#[tokio::test(flavor = "multi_thread")]
async fn the_folder_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let _store = open(&path).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
}

/// A node of another name has no chain yet: that is no loss.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_called_otherwise_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    for at in 0..100 {
        write(&store, at, b"value").await.unwrap();
    }
    drop(store);
    let renamed = StoreConfig { node: "node-2".into(), ..config(folder.path()) };
    for round in 0..2 {
        let store = loop {
            match Store::open(&renamed, b"audit".to_vec()).await {
                Err(StoreError::Unavailable(text)) if text.contains("Locked") => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => break opened.unwrap(),
            }
        };
        write(&store, 200 + round, b"value").await.unwrap();
        let reports = store.verify_audit().await.unwrap();
        assert!(reports.len() == 2 && reports.iter().all(|report| report.broken.is_none()), "{reports:?}");
        drop(store);
    }
    // Under the first name again, nothing is lost either.
    assert_eq!(found(&open_again(folder.path()).await.unwrap(), 100).await.unwrap(), (100, true));
}

/// An ephemeral class that could not be opened for a moment's reason was put aside, and the next time removed.
#[tokio::test(flavor = "multi_thread")]
async fn only_an_ephemeral_class_that_cannot_be_read_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let batch = || Batch::of(Write::Put(key(1), b"value".to_vec(), None));
    store.commit(Class::Ephemeral, batch(), NOW).await.unwrap();
    drop(store);
    let (ephemeral, broken) = (folder.path().join("ephemeral"), folder.path().join("ephemeral.broken"));
    let garbage = |version: &Path| fs::write(version.join("version"), b"garbage").unwrap();
    for round in 0..2 {
        drop(open_again(folder.path()).await.unwrap());
        assert_eq!(broken.exists(), round > 0);
        garbage(&ephemeral);
        if round == 0 {
            fs::write(ephemeral.join("first"), b"").unwrap();
        }
        drop(open_again(folder.path()).await.unwrap());
        assert!(broken.join("first").exists(), "the first one stays");
    }
}

/// What is in memory goes to disk after so many bytes, with nobody asking the engine's only worker for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_goes_to_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let large = vec![7; 256 * 1024];
    for at in 0..120 {
        for class in [Class::Durable, Class::Ephemeral] {
            store.commit(class, Batch::of(Write::Put(key(at), large.clone(), None)), NOW).await.unwrap();
        }
    }
    for class in ["durable", "ephemeral"] {
        let tables = || -> u64 {
            let within = |file: &&PathBuf| file.components().any(|part| part.as_os_str() == "tables");
            let files = files(&folder.path().join(class));
            files.iter().filter(within).map(|file| fs::metadata(file).map_or(0, |data| data.len())).sum()
        };
        let mut waited = 0;
        while tables() < 20_000 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            waited += 1;
            assert!(waited < 200, "{class}: {}", tables());
        }
    }
    for at in 0..120 {
        assert!(store.get(Class::Durable, &key(at), NOW).await.unwrap().is_some_and(|value| value == large), "{at}");
    }
}
