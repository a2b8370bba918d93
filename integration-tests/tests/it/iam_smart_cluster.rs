//! Two nodes under one client identifier: one series of time stamps, one content key, one login across both.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use gateway::config::{Config, StoreConfig};
use gateway::ports::Clock;
use gateway::server::Server;
use integration_tests::browser::Balancer;
use integration_tests::servers::{Running, postgres, redis};
use integration_tests::world::TestClock;
use integration_tests::{Browser, Rp, World};
use sandbox::iam_smart::Approval;

use crate::cluster::engine;
use crate::iam_smart::{PROVIDER, SERVICE};
use crate::outcome::learned;

struct Pair {
    world: World,
    other: Arc<TestClock>,
    balancer: Arc<Balancer>,
    _second: Server,
    _servers: (Running, Running),
}

/// Two nodes; the second has a clock of its own, which goes as the first one's does.
async fn pair() -> Pair {
    let servers = (postgres().await, redis().await);
    let engine = engine(&servers.0, &servers.1);
    let store = |node: &str| StoreConfig { node: node.to_owned(), engine: engine.clone() };
    let world = World::own(&[]).await.restarted_with(|config| config.store = store("node-1")).await;
    let mut config = Config::load(&world.demo.config).unwrap();
    let port = config.listen.port();
    config.listen.set_port(0);
    config.control = None;
    config.store = store("node-2");
    let other = Arc::new(TestClock::default());
    let clock: Arc<dyn Clock> = Arc::clone(&other) as Arc<dyn Clock>;
    let second = Server::start(&config, clock).await.unwrap_or_else(|error| panic!("{error}"));
    let nodes = vec![port, second.address().port()];
    let balancer = Arc::new(Balancer { port, nodes, count: AtomicUsize::new(0) });
    Pair { world, other, balancer, _second: second, _servers: servers }
}

impl Pair {
    fn browser(&self) -> Browser {
        Browser { balancer: Some(Arc::clone(&self.balancer)), ..self.world.browser() }
    }

    fn rp(&self) -> Rp {
        Rp { http: self.browser(), ..self.world.rp() }
    }

    fn advance(&self, seconds: u64) {
        self.world.clock.advance(seconds);
        self.other.advance(seconds);
    }

    /// From the portal to the consent page; the code of a failure.
    async fn login(&self) -> Option<String> {
        let mut browser = self.browser();
        let page = self.world.to_consent(&mut browser, &self.rp().authorize(SERVICE, &[]), PROVIDER, "hk-chan").await;
        page.failure().map(str::to_owned)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_logins_on_two_nodes_share_one_key_and_one_series_of_stamps() {
    let pair = Arc::new(pair().await);
    for _ in 0..5 {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let pair = Arc::clone(&pair);
                tokio::spawn(async move { pair.login().await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), None);
        }
        pair.advance(13);
    }
    let counters = pair.world.iam_smart().counters();
    assert_eq!((counters.stale_timestamps, counters.bad_signatures), (0, 0));
    assert_eq!((counters.token, counters.profile, counters.revoke_key), (40, 40, 0));
    // Two nodes that are both new may both ask, and are told the same key.
    let asked = counters.get_key;
    assert!(asked <= 2, "{asked}");
    // A key that was renewed by one node serves the other.
    pair.world.iam_smart().revoke_cek();
    for _ in 0..4 {
        assert_eq!(pair.login().await, None);
    }
    assert_eq!(pair.world.iam_smart().counters().get_key, asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_to_one_node_goes_on_at_the_other() {
    let pair = pair().await;
    pair.world.iam_smart().approval(Approval::Manual);
    let (rp, mut browser) = (pair.rp(), pair.browser());
    let address = pair.world.to_provider(&mut browser, &rp.authorize(SERVICE, &[]), PROVIDER).await;
    let callback = pair.world.sign_in_at_provider(&mut browser, &address, "hk-leung").await;
    let page = browser.follow_within(callback, pair.world.issuer()).await;
    let business = pair.world.iam_smart().last_business_id().unwrap();
    assert_eq!(pair.world.iam_smart().deliver(&business, true).await, 200);
    let page = pair.world.past_waiting(&mut browser, &page.url).await;
    let back = pair.world.agree(&mut browser, &page, &[]).await;
    assert_eq!(learned(&rp, &back).await.1["name_zh"], "梁詠𤧬");
}

/// Clocks of two machines differ; what the provider refuses for it is to be sent again with a stamp that it takes.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_clocks_differ_by_a_second_lose_no_login() {
    let pair = pair().await;
    pair.other.advance(1);
    let mut failures = Vec::new();
    for round in 0..8 {
        // The node that is ahead opens a window that for the other one has not begun.
        for node in [1, 0, 1, 0, 1] {
            let one = Arc::new(Balancer {
                port: pair.balancer.port,
                nodes: vec![pair.balancer.nodes[node]],
                count: AtomicUsize::new(0),
            });
            let mut browser = Browser { balancer: Some(one), ..pair.world.browser() };
            // It releases nothing, so that nothing but calls can fail.
            let page =
                pair.world.to_consent(&mut browser, &pair.rp().authorize("ratings", &[]), PROVIDER, "hk-chan").await;
            failures.extend(page.failure().map(|code| (round, node, code.to_owned())));
        }
        pair.advance(if round % 2 == 0 { 40 } else { 15 });
    }
    let stale = pair.world.iam_smart().counters().stale_timestamps;
    assert!(failures.is_empty(), "{failures:?}, {stale} stale stamps");
}
