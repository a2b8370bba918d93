//! Several nodes over PostgreSQL and Redis: one contract, one login across both, one winner for each code.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use gateway::config::{Config, Engine, StoreConfig};
use gateway::ports::Clock;
use gateway::server::Server;
use gateway::store::{Batch, Class, Store, conformance};
use gateway_core::audit::Event;
use gateway_core::time::Timestamp;
use integration_tests::browser::Balancer;
use integration_tests::keyed::SERVICE;
use integration_tests::rp::query;
use integration_tests::servers::{Running, free_port, postgres, postgres_address, redis};
use integration_tests::{Browser, Keyed, Rp, World};

use crate::{ciba, register};

pub(crate) fn engine(postgres: &Running, redis: &Running) -> Engine {
    Engine::Cluster { postgres: postgres_address(postgres), redis: format!("redis://127.0.0.1:{}/", redis.port) }
}

async fn open(node: &str, engine: &Engine) -> Store {
    let config = StoreConfig { node: node.to_owned(), engine: engine.clone() };
    Store::open(&config, b"audit".to_vec()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_engine_keeps_the_contract_and_survives_a_restart() {
    let (postgres, redis) = (postgres().await, redis().await);
    let engine = engine(&postgres, &redis);
    conformance::run(Arc::new(open("node-1", &engine).await)).await;
    let restarted = self::postgres().await;
    let fresh = self::engine(&restarted, &redis);
    conformance::write_before_restart(&open("node-1", &fresh).await).await;
    conformance::read_after_restart(&open("node-1", &fresh).await).await;
}

/// Any missing or changed record is found, whichever it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_missing_or_changed_is_found() {
    let (postgres, redis) = (postgres().await, redis().await);
    let engine = engine(&postgres, &redis);
    let store = open("node-1", &engine).await;
    conformance::write_before_restart(&store).await;
    let (client, connection) =
        tokio_postgres::connect(&postgres_address(&postgres), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let broken = async |change: &str| {
        client
            .batch_execute(
                "CREATE TABLE kept AS TABLE gateway_audit; CREATE TABLE kept_heads AS TABLE gateway_audit_heads",
            )
            .await
            .unwrap();
        client.batch_execute(change).await.unwrap();
        let report = store.verify_audit().await.unwrap().remove(0);
        client
            .batch_execute(
                "TRUNCATE gateway_audit, gateway_audit_heads; INSERT INTO gateway_audit TABLE kept;
                 INSERT INTO gateway_audit_heads TABLE kept_heads; DROP TABLE kept, kept_heads",
            )
            .await
            .unwrap();
        report.broken.is_some()
    };
    assert!(!broken("SELECT 1").await);
    for sequence in [1, 5, 10] {
        assert!(broken(&format!("DELETE FROM gateway_audit WHERE sequence = {sequence}")).await, "{sequence} missing");
        let change = "convert_to(replace(convert_from(record, 'UTF8'), 'portal', 'p0rtal'), 'UTF8')";
        assert!(broken(&format!("UPDATE gateway_audit SET record = {change} WHERE sequence = {sequence}")).await);
    }
    assert!(broken("DELETE FROM gateway_audit").await);
    assert!(broken("DELETE FROM gateway_audit_heads").await);
    let forged =
        "UPDATE gateway_audit_heads SET head = convert_to(replace(convert_from(head, 'UTF8'), '10', '9'), 'UTF8')";
    assert!(broken(&format!("DELETE FROM gateway_audit WHERE sequence = 10; {forged}")).await);
}

/// A node whose chain went on elsewhere (a commit nobody heard the end of, a second process of the same name) was stuck
/// until its restart.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_of_one_name_neither_fork_nor_stop_the_chain() {
    let (postgres, redis) = (postgres().await, redis().await);
    let engine = engine(&postgres, &redis);
    let stores = [open("node-1", &engine).await, open("node-1", &engine).await];
    for round in 0..10 {
        for (number, store) in stores.iter().enumerate() {
            let event = Event::CodeRedeemed { grant: format!("{round}-{number}"), client: "a".parse().unwrap() };
            // Only the very first record of a chain may have to be tried again: there is no head to lock yet.
            store.commit(Class::Durable, Batch::default().recording(event), Timestamp(1)).await.unwrap();
        }
    }
    let report = stores[0].verify_audit().await.unwrap().remove(0);
    assert_eq!((report.records, report.broken), (20, None));
}

struct Cluster {
    world: World,
    nodes: Vec<Server>,
    balancer: Arc<Balancer>,
    _servers: (Running, Running),
}

async fn cluster() -> Cluster {
    cluster_of(World::start().await).await
}

/// Two nodes with the documents of this world.
async fn cluster_of(world: World) -> Cluster {
    let servers = (postgres().await, redis().await);
    let mut config = Config::load(&world.demo.config).unwrap();
    let port = config.listen.port();
    config.control = None;
    let mut nodes = Vec::new();
    for node in ["node-1", "node-2"] {
        config.listen.set_port(0);
        config.store = StoreConfig { node: node.to_owned(), engine: engine(&servers.0, &servers.1) };
        let clock: Arc<dyn Clock> = Arc::clone(&world.clock) as Arc<dyn Clock>;
        nodes.push(Server::start(&config, clock).await.unwrap_or_else(|error| panic!("{error}")));
    }
    let ports = nodes.iter().map(|node| node.address().port()).collect();
    let balancer = Arc::new(Balancer { port, nodes: ports, count: AtomicUsize::new(0) });
    Cluster { world, nodes, balancer, _servers: servers }
}

impl Cluster {
    fn browser(&self) -> Browser {
        Browser { balancer: Some(Arc::clone(&self.balancer)), ..self.world.browser() }
    }

    fn rp(&self) -> Rp {
        Rp { http: self.browser(), ..self.world.rp() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_login_whose_every_step_lands_on_the_other_node() {
    let cluster = cluster().await;
    let (world, rp, mut browser) = (&cluster.world, cluster.rp(), cluster.browser());
    let page = world.to_consent(&mut browser, &rp.authorize("school-enrolment", &[]), "hk-iam-smart", "hk-chan").await;
    let back = world.agree(&mut browser, &page, &[]).await;
    let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
    let userinfo = rp.userinfo(tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(userinfo.json()["name_zh"], "陳大文");
    let requests = cluster.balancer.count.load(std::sync::atomic::Ordering::SeqCst);
    assert!(requests >= 7, "{requests} requests, each on the other node than the one before");
    // Both verify tokens by the same keys, and the session serves on either.
    let jwks = async |browser: &mut Browser| browser.get(format!("{}/jwks", world.issuer())).await.json();
    assert_eq!(jwks(&mut browser).await, jwks(&mut browser).await);
    let sso = browser.get(rp.authorize("school-enrolment", &[("prompt", "none")])).await.target();
    assert!(query(&sso, "code").is_some(), "{sso}");
    let reports = cluster.nodes[0].app().store.verify_audit().await.unwrap();
    assert_eq!(reports.len(), 2, "one chain a node");
    assert!(reports.iter().all(|report| report.broken.is_none() && report.records >= 1), "{reports:?}");
}

/// eSignet issue 2418 and RFC 9449 section 11.1 across nodes: what one has taken, the other does not take again; and a whole FAPI
/// login whose every step lands on the other node.
#[tokio::test(flavor = "multi_thread")]
async fn esignet_2418_assertions_and_proofs_are_used_up_on_every_node() {
    let (world, mut client) = Keyed::world("fapi2", "").await;
    let cluster = cluster_of(world).await;
    client.rp.http = cluster.browser();
    let form = [client.rp.params(SERVICE), client.assertion()].concat();
    assert_eq!(client.post("/par", &form, &[]).await.status, 201);
    for _ in 0..2 {
        assert_eq!(client.post("/par", &form, &[]).await.json()["error"], "invalid_client");
    }
    let pushed = client.push(false, &[]).await;
    let authorize = client.authorize(&pushed);
    let mut browser = cluster.browser();
    let page = cluster.world.to_consent(&mut browser, &authorize, "hk-iam-smart", "hk-chan").await;
    let back = cluster.world.agree(&mut browser, &page, &[]).await;
    let code = query(&back, "code").unwrap();
    for _ in 0..2 {
        assert_eq!(cluster.browser().get(&authorize).await.failure(), Some("CB-106"), "a code was issued for it");
    }
    // The nonce of one node serves at the other.
    let tokens = client.redeem(&code).await.json();
    let access = tokens["access_token"].as_str().unwrap_or_else(|| panic!("{tokens}"));
    let refused = client.userinfo_with(access, &client.proof_claims("GET", "/userinfo", None, Some(access))).await;
    let nonce = refused.headers["dpop-nonce"].to_str().unwrap().to_owned();
    let proof = client.proof_claims("GET", "/userinfo", Some(&nonce), Some(access));
    for status in [200, 401, 401] {
        assert_eq!(client.userinfo_with(access, &proof).await.status, status);
    }
    // A code that comes again, wherever, ends what it minted, everywhere.
    assert_eq!(client.redeem(&code).await.json()["error"], "invalid_grant");
    for _ in 0..2 {
        assert_eq!(client.userinfo(access).await.status, 401);
    }
}

/// Terminals, and people who are asked: who asks, who answers and who comes for it are at another node each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_and_a_counter_whose_every_step_lands_on_the_other_node() {
    let (world, mut counter, mut portal) = ciba::world("").await;
    let cluster = cluster_of(world).await;
    (counter.http, portal.http) = (cluster.browser(), cluster.browser());
    let (world, mut phone) = (&cluster.world, cluster.browser());
    world.sign_in(&mut phone, &portal.authorize("check-point", &[]), "hk-iam-smart", "hk-chan").await;
    for _ in 0..2 {
        let shown = ciba::code(world, &mut phone).await;
        let asked = ciba::ask(&counter, &shown, &[]).await.json();
        let page = ciba::open(world, &mut phone).await;
        world.agree_here(&mut phone, &page).await;
        let tokens = ciba::poll(&counter, &asked).await;
        assert_eq!(tokens.status, 200, "{}", tokens.body);
        for _ in 0..2 {
            assert_eq!(ciba::poll(&counter, &asked).await.json()["error"], "invalid_grant", "once, everywhere");
        }
        let (_, form) = ciba::at_terminal(world, &counter, &mut phone).await;
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let tokens = counter.token(&form).await;
        assert_eq!(tokens.status, 200, "{}", tokens.body);
        for _ in 0..2 {
            assert_eq!(counter.token(&form).await.json()["error"], "invalid_grant");
        }
    }
}

/// F34 across nodes.
#[tokio::test(flavor = "multi_thread")]
async fn f34_a_code_redeemed_on_two_nodes_at_once_succeeds_once() {
    let cluster = cluster().await;
    let rp = cluster.rp();
    let back =
        cluster.world.sign_in(&mut cluster.browser(), &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let code = query(&back, "code").unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (rp, code) = (rp.clone(), code.clone());
            tokio::spawn(async move { rp.redeem(&code).await.status.is_success() })
        })
        .collect();
    let mut successes = 0;
    for task in tasks {
        successes += u32::from(task.await.unwrap());
    }
    assert_eq!(successes, 1);
}

/// RFC 7591 across nodes: who registers at one is known at the other when the answer comes, and gone there as soon.
#[tokio::test(flavor = "multi_thread")]
async fn rfc7591_3_who_registers_at_one_node_is_known_at_the_other() {
    let world = register::world(free_port(), "").await;
    let cluster = cluster_of(world).await;
    let at = |path: &str| serde_json::json!({"redirect_uris": [format!("{}/{path}", register::site(&cluster.world))]});
    for round in 0..3 {
        let registered =
            register::register_by(&mut cluster.browser(), &cluster.world, &at(&format!("cb{round}"))).await;
        assert_eq!(registered.status, 201, "{}", registered.body);
        let registered = registered.json();
        let rp = Rp { http: cluster.browser(), ..register::rp(&cluster.world, &registered) };
        for _ in 0..4 {
            assert_eq!(cluster.browser().get(rp.authorize(register::SERVICE, &[])).await.status, 303);
        }
        let (url, token) = (&registered["registration_client_uri"], &registered["registration_access_token"]);
        let authorization = format!("Bearer {}", token.as_str().unwrap());
        let headers = [("authorization", authorization.as_str())];
        let gone = cluster.browser().send(http::Method::DELETE, url.as_str().unwrap(), None, &headers).await;
        assert_eq!(gone.status, 204);
        for _ in 0..4 {
            let refused = cluster.browser().get(rp.authorize(register::SERVICE, &[])).await;
            assert_eq!(refused.failure(), Some("CB-102"));
        }
    }
}

/// Whoever reads the store without keys learned which matters are one person's: names of records held session and client, or a
/// person's beside the sign-in's, which the audit chain names in the clear with its service and time.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_records_say_of_no_two_matters_that_they_are_one_persons() {
    let cluster = cluster().await;
    let (rp, mut browser) = (cluster.rp(), cluster.browser());
    for service in ["e-invoice", "school-enrolment", "e-invoice"] {
        let page = browser.follow_within(rp.authorize(service, &[]), cluster.world.issuer()).await;
        let back = match page.location() {
            Some(_) => page.target(),
            None if page.url.path().ends_with("/consent") => cluster.world.agree(&mut browser, &page, &[]).await,
            None => {
                let authorize = rp.authorize(service, &[]);
                cluster.world.sign_in(&mut browser, &authorize, "hk-iam-smart", "hk-leung").await
            }
        };
        assert!(rp.redeem(&query(&back, "code").unwrap()).await.json()["access_token"].is_string());
    }
    let (client, connection) =
        tokio_postgres::connect(&postgres_address(&cluster._servers.0), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let names: Vec<String> =
        client.query("SELECT key FROM gateway_records", &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let chain = client.query("SELECT record FROM gateway_audit", &[]).await.unwrap();
    let chain: String = chain.iter().map(|row| String::from_utf8_lossy(row.get(0)).into_owned()).collect();
    let grants: Vec<&str> = chain.split("\"grant\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(grants.len() >= 3 && names.iter().any(|name| name.starts_with("party/")), "{names:?}");
    for name in &names {
        assert!(!name.contains(rp.client_id.as_str()), "{name} names a client");
        let (_, id) = name.split_once('/').unwrap();
        assert!(grants.iter().all(|grant| !id.contains(grant) || id == *grant), "{name} names more than a sign-in");
    }
    // Of one session's records each has a name of its own.
    let parties: Vec<&String> = names.iter().filter(|name| name.starts_with("party/")).collect();
    assert!(parties.iter().all(|party| !chain.contains(party.rsplit('/').next().unwrap())), "{parties:?}");
}
