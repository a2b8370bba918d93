use certs::vault::Vault;
use gateway_core::link::{Ground, Signals};
use proptest::prelude::*;

use super::*;
use crate::config::{Engine, StoreConfig};

const NOW: Timestamp = Timestamp(1_800_000_000);

struct Rig {
    store: Store,
    seals: Seals,
    key: Secret<Vec<u8>>,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::Embedded(folder.path().join("store"));
        let store = Store::open(&StoreConfig { node: "test".to_owned(), engine }, vec![1; 32]).await.unwrap();
        let (seals, key) = (Seals::new(Vault::new([7; 32])), Secret::new(vec![9; 32]));
        Self { store, seals, key, _folder: folder }
    }

    fn links(&self) -> Links<'_> {
        Links::new(&self.store, &self.seals, &self.key)
    }
}

fn person(n: u8) -> PersonId {
    PersonId::from_random([n; 24])
}

fn by() -> Actor {
    Actor::Person { provider: "hk".parse().unwrap() }
}

/// An entry that brings account `first` of person `previous` to account `second` of person `to`.
fn entry(id: &str, (first, previous): (&str, PersonId), (second, to): (&str, PersonId), status: Status) -> Entry {
    let provider = |account: &str| account.split('-').next().unwrap().parse().unwrap();
    Entry {
        id: id.to_owned(),
        made_at: NOW,
        changed_at: NOW,
        first: provider(first),
        second: provider(second),
        ground: Ground::BothPresent,
        signals: Signals::none(),
        status,
        person: to,
        previous,
        account: first.to_owned(),
        other: second.to_owned(),
    }
}

fn simple(id: &str, account: &str, previous: u8, status: Status) -> Entry {
    entry(id, (account, person(previous)), ("gd-g", person(1)), status)
}

#[tokio::test]
async fn one_person_has_one_account_of_a_kind() {
    let rig = Rig::new().await;
    let links = rig.links();
    links.enter(&simple("one", "hk-a", 2, Status::Active), by(), NOW).await.unwrap();
    let second = links.enter(&simple("two", "hk-b", 3, Status::Active), by(), NOW).await;
    assert!(matches!(second, Err(LinkError::Otherwise)));
    assert_eq!(links.person("hk-b", NOW).await.unwrap(), None, "nothing was half done");
    links.undo(&person(1), "one", by(), NOW).await.unwrap();
    assert_eq!(links.person("hk-a", NOW).await.unwrap(), Some(person(2)));
    links.enter(&simple("three", "hk-b", 3, Status::Active), by(), NOW).await.unwrap();
    assert_eq!(links.person("hk-b", NOW).await.unwrap(), Some(person(1)));
    links.enter(&simple("four", "mo-c", 4, Status::Active), by(), NOW).await.unwrap();
    assert_eq!(links.person("mo-c", NOW).await.unwrap(), Some(person(1)), "one of another kind may join");
}

/// Two tabs, two links of one account: undoing both once left it with the person of the first.
#[tokio::test]
async fn an_account_that_was_moved_moves_no_further() {
    let rig = Rig::new().await;
    let links = rig.links();
    links.enter(&simple("one", "hk-a", 2, Status::Active), by(), NOW).await.unwrap();
    for previous in [1, 2] {
        let again = entry("two", ("hk-a", person(previous)), ("mo-m", person(4)), Status::Active);
        assert!(matches!(links.enter(&again, by(), NOW).await, Err(LinkError::Otherwise)));
    }
    let chained = entry("three", ("gd-g", person(1)), ("mo-m", person(4)), Status::Active);
    assert!(matches!(links.enter(&chained, by(), NOW).await, Err(LinkError::Otherwise)), "nor does what took it in");
    let onto = entry("four", ("mo-m", person(4)), ("hk-a", person(1)), Status::Active);
    assert!(matches!(links.enter(&onto, by(), NOW).await, Err(LinkError::Otherwise)), "nor does it take others in");
}

#[tokio::test]
async fn what_waits_for_an_officer_moves_nothing_until_they_decide_once() {
    let rig = Rig::new().await;
    let links = rig.links();
    let officer = || Actor::Officer { name: "A".to_owned() };
    links.enter(&simple("one", "hk-a", 2, Status::UnderReview), by(), NOW).await.unwrap();
    assert_eq!(links.person("hk-a", NOW).await.unwrap(), Some(person(2)));
    assert_eq!(links.reviews(NOW).await.unwrap().len(), 1);
    assert_eq!(links.decide("one", true, officer(), NOW).await.unwrap().status, Status::Active);
    assert_eq!(links.person("hk-a", NOW).await.unwrap(), Some(person(1)));
    assert!(matches!(links.decide("one", false, officer(), NOW).await, Err(LinkError::NoEntry)));
    for owner in [1, 2] {
        assert_eq!(links.ledger(&person(owner), NOW).await.unwrap()[0].status, Status::Active);
    }
    links.enter(&simple("two", "mo-b", 3, Status::UnderReview), by(), NOW).await.unwrap();
    assert_eq!(links.decide("two", false, officer(), NOW).await.unwrap().status, Status::Refused);
    assert_eq!(links.person("mo-b", NOW).await.unwrap(), Some(person(3)));
    let chains = rig.store.verify_audit().await.unwrap();
    assert!(chains.iter().all(|chain| chain.records == 4 && chain.broken.is_none()));
}

/// A review is about the accounts as they were: one that was linked otherwise since is not torn away, and two opposite
/// reviews do not swap two people.
#[tokio::test]
async fn a_review_that_was_overtaken_cannot_be_accepted() {
    let rig = Rig::new().await;
    let links = rig.links();
    let officer = || Actor::Officer { name: "A".to_owned() };
    let opposite = |id, status| entry(id, ("gd-g", person(1)), ("hk-a", person(2)), status);
    links.enter(&simple("one", "hk-a", 2, Status::UnderReview), by(), NOW).await.unwrap();
    links.enter(&opposite("two", Status::UnderReview), by(), NOW).await.unwrap();
    links.decide("two", true, officer(), NOW).await.unwrap();
    assert!(matches!(links.decide("one", true, officer(), NOW).await, Err(LinkError::Otherwise)));
    assert_eq!(links.decide("one", false, officer(), NOW).await.unwrap().status, Status::Refused);
    for account in ["hk-a", "gd-g"] {
        assert_eq!(links.person(account, NOW).await.unwrap(), Some(person(2)), "{account}");
    }
}

#[tokio::test]
async fn nobody_undoes_the_link_of_another_and_an_old_review_is_refused() {
    let rig = Rig::new().await;
    let links = rig.links();
    links.enter(&simple("one", "hk-a", 2, Status::Active), by(), NOW).await.unwrap();
    assert!(matches!(links.undo(&person(5), "one", by(), NOW).await, Err(LinkError::NoEntry)));
    assert!(links.ledger(&person(5), NOW).await.unwrap().is_empty());
    links.enter(&simple("two", "mo-b", 3, Status::UnderReview), by(), NOW).await.unwrap();
    let later = NOW.plus(REVIEWED_WITHIN);
    assert_eq!(links.entry(&person(3), "two", later).await.unwrap().unwrap().status, Status::Refused);
    assert!(links.reviews(later).await.unwrap().is_empty());
}

/// One step of a life: which two accounts, and what is done.
fn steps() -> impl Strategy<Value = Vec<(usize, usize, u8)>> {
    proptest::collection::vec((0_usize..5, 0_usize..5, 0_u8..4), 1..25)
}

const ACCOUNTS: [&str; 5] = ["hk-a", "hk-b", "gd-g", "gd-h", "mo-m"];

async fn live(steps: Vec<(usize, usize, u8)>) {
    let rig = Rig::new().await;
    let links = rig.links();
    for (index, account) in ACCOUNTS.iter().enumerate() {
        let write = links.first_seen(account, &person(u8::try_from(index).unwrap() + 1)).unwrap();
        rig.store.commit(Class::Durable, Batch::of(write), NOW).await.unwrap();
    }
    let mut ids: Vec<(String, PersonId)> = Vec::new();
    for (number, (first, second, what)) in steps.into_iter().enumerate() {
        let (first, second, id) = (ACCOUNTS[first], ACCOUNTS[second], number.to_string());
        let whose = async |account| links.person(account, NOW).await.unwrap().unwrap();
        match what {
            0 | 1 if first.get(..2) != second.get(..2) => {
                let status = if what == 0 { Status::Active } else { Status::UnderReview };
                let (previous, to) = (whose(first).await, whose(second).await);
                if previous != to
                    && links
                        .enter(&entry(&id, (first, previous), (second, to.clone()), status), by(), NOW)
                        .await
                        .is_ok()
                {
                    ids.push((id, to));
                }
            }
            2 => drop(match ids.get(number % ids.len().max(1)) {
                Some((id, to)) => links.undo(to, id, by(), NOW).await.ok(),
                None => None,
            }),
            _ => drop(match ids.get(number % ids.len().max(1)) {
                Some((id, _)) => links.decide(id, true, by(), NOW).await.ok(),
                None => None,
            }),
        }
    }
    for (id, to) in &ids {
        let _ = links.undo(to, id, by(), NOW).await;
    }
    for (index, account) in ACCOUNTS.iter().enumerate() {
        let whose = links.person(account, NOW).await.unwrap().unwrap();
        assert_eq!(whose, person(u8::try_from(index).unwrap() + 1), "{account} is whose it was at first");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is linked, reviewed, accepted and undone, in any order: once nothing is linked, everybody is themselves.
    #[test]
    fn undoing_everything_in_any_order_leaves_everybody_themselves(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(live(steps));
    }
}
