//! Bundles: only what is signed and newer takes effect, whole, on every node, within a second; what is broken changes
//! nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway::config::{Config, StoreConfig};
use gateway::control::Order;
use gateway::ports::Clock;
use gateway::server::Server;
use gateway::store::{Batch, Class, Key, Write};
use gateway_core::time::Timestamp;
use integration_tests::World;
use integration_tests::rp::query;
use integration_tests::servers::{postgres, redis};
use integration_tests::world::service_document;
use sandbox::demo::{Trust, Wire};

use crate::cluster::engine;

const INVOICE: &str = "services/e-invoice.toml";

/// Keeps Hong Kong out, and says so in the examples.
fn without_hong_kong(text: String) -> String {
    let (rules, examples) = text.split_once("[[example]]").unwrap();
    let examples: String = examples
        .split("[[example]]")
        .map(|example| {
            let (kept, _) = example.split_once("released").unwrap_or((example, ""));
            let ours = example.contains("hk-iam-smart");
            let example = if ours { kept.replace("\"permit\"", "\"CB-404\"") } else { example.to_owned() };
            format!("[[example]]{example}")
        })
        .collect();
    format!("{rules}[[forbid]]\nproviders = [\"hk-iam-smart\"]\n\n{examples}")
}

async fn offers_hong_kong(world: &World) -> bool {
    let page = world.browser().get(world.rp().authorize("e-invoice", &[])).await;
    page.body.contains("/to/hk-iam-smart")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_bundle_takes_effect_at_once_while_people_sign_in_and_is_rolled_back() {
    let world = World::signed(&[]).await;
    let first = world.version();
    world.edit(INVOICE, |text| text.replace("# ", "#  "));
    world.activate().await.unwrap_or_else(|lines| panic!("{lines:#?}"));
    let second = world.version();
    assert_ne!(first, second);
    // A sign-in that began before goes on under what holds when it ends.
    let (rp, mut under_way) = (world.rp(), world.browser());
    let page = world.to_consent(&mut under_way, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    world.edit(INVOICE, without_hong_kong);
    world.activate().await.unwrap_or_else(|lines| panic!("{lines:#?}"));
    assert!(!offers_hong_kong(&world).await);
    let question = page.field("question").unwrap();
    let form = [("question", question.as_str()), ("decision", "allow"), ("export", "yes")];
    assert_eq!(under_way.post(&page.url, &form).await.failure(), Some("CB-404"));
    let rolled_back = world.order(&Order::RollBack { by: "officer".into() }).await.unwrap();
    assert_eq!(
        (rolled_back["version"].as_str(), rolled_back["change"].as_str()),
        (Some(&*second), Some("rolled-back"))
    );
    assert!(offers_hong_kong(&world).await);
    // Twice back is where everything began.
    assert_eq!(world.order(&Order::RollBack { by: "officer".into() }).await.unwrap()["version"], *first);
    assert!(world.order(&Order::RollBack { by: "officer".into() }).await.is_err(), "there is nothing before");
    assert_eq!(world.version(), first);
    let audit = world.demo.gateway.app().store.verify_audit().await.unwrap();
    assert!(audit.iter().all(|report| report.broken.is_none() && report.records > 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_older_outdated_and_broken_bundles_change_nothing_and_say_why() {
    let world = World::signed(&[]).await;
    let version = world.version();
    let refused = async |archive: String| {
        let answer = world.order(&Order::Activate { archive, by: "officer".into(), may_lose: false }).await;
        assert_eq!(world.version(), version);
        answer.unwrap_err().join("\n")
    };
    let sound = std::fs::read_to_string(world.document(INVOICE)).unwrap();
    world.edit(INVOICE, |text| text.replace("# ", "#  "));
    let stranger = world.data.join("stranger.key");
    certs::signer::create(&stranger).unwrap();
    let later = 8_000_000_000;
    assert!(
        refused(world.signed_by(&stranger, later, |_| {})).await.contains("not signed by a signer of this gateway")
    );
    assert!(refused(world.signed_by(&world.signer(), 1, |_| {})).await.contains("must be greater than"));
    let outdated = world.signed_by(&world.signer(), later, |m| m.valid_until = Some(Timestamp(1)));
    assert!(refused(outdated).await.contains("valid until"));
    let tampered = world.signed_by(&world.signer(), later, |_| {}).replace("identity = 1", "identity = 2");
    assert!(refused(tampered).await.contains("not those that were signed"));
    assert!(refused("{}".to_owned()).await.contains("not a bundle archive"));
    for (from, to, reason) in [
        (
            "identity = 1",
            "idenity = 1",
            "services/e-invoice.toml:19: idenity is not a known field; did you mean identity?",
        ),
        ("providers = [\"hk-iam-smart\"", "providers = [\"hk-iam-smar\"", "did you mean hk-iam-smart?"),
        ("expect = \"permit\"", "expect = \"CB-403\"", "expected CB-403, but it is permit"),
        ("from = 'claims.name'", "from = 'claims.name +'", "e-invoice.toml:"),
        ("instruments = [\"gba-contract-hk\"", "instruments = [\"gba-contract\"", "is not known in this bundle"),
    ] {
        std::fs::write(world.document(INVOICE), &sound).unwrap();
        world.edit(INVOICE, |text| text.replacen(from, to, 1));
        let said = refused(world.signed_by(&world.signer(), later, |_| {})).await;
        assert!(said.contains(reason), "{to}: {said}");
    }
    assert!(offers_hong_kong(&world).await, "the last good bundle serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_waits_for_its_day_and_a_restart_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(&folder.path().join("data"), &[], Wire::Own, Trust::Signed).await;
    let now_in_effect = world.version();
    world.edit(INVOICE, without_hong_kong);
    let tomorrow = world.now().plus(Duration::from_secs(86_400));
    let archive = world.signed_by(&world.signer(), 8_000_000_000, |manifest| manifest.effective_from = tomorrow);
    world.order(&Order::Activate { archive, by: "officer".into(), may_lose: false }).await.unwrap();
    assert_eq!(world.version(), now_in_effect);
    let status = world.order(&Order::Status).await.unwrap();
    assert_eq!(status["waiting"]["effective_from"], tomorrow.0);
    let world = world.restarted().await;
    assert_eq!(world.version(), now_in_effect);
    world.clock.advance(86_400);
    world.demo.gateway.app().follow().await;
    assert_ne!(world.version(), now_in_effect);
    assert!(!offers_hong_kong(&world).await);
}

/// Every node follows within a second, and a node that cannot use the next bundle keeps the last.
#[tokio::test(flavor = "multi_thread")]
async fn every_node_follows_within_a_second() {
    let (postgres, redis) = (postgres().await, redis().await);
    let world = World::signed(&[]).await;
    let first = world.signed_by(&world.signer(), 1, |_| {});
    let mut config = Config::load(&world.demo.config).unwrap();
    let clock: Arc<dyn Clock> = Arc::clone(&world.clock) as Arc<dyn Clock>;
    let mut nodes = Vec::new();
    for name in ["node-1", "node-2"] {
        config.listen.set_port(0);
        config.control = Some(world.data.join(format!("{name}.sock")));
        config.store = StoreConfig { node: name.to_owned(), engine: engine(&postgres, &redis) };
        if nodes.is_empty() {
            let (store, seals, source) = opened(&config).await;
            let office = gateway::control::Office {
                store: &store,
                seals: &seals,
                source: &source,
                usage: None,
                now: world.now(),
            };
            let order = Order::Activate { archive: first.clone(), by: "officer".into(), may_lose: false };
            gateway::control::carry_out(order, &office).await.unwrap();
        }
        nodes.push(Server::start(&config, Arc::clone(&clock)).await.unwrap_or_else(|error| panic!("{error}")));
    }
    let version = |node: &Server| node.app().bundle().catalog.policies().version().to_owned();
    assert_eq!(version(&nodes[0]), version(&nodes[1]));
    world.edit(INVOICE, without_hong_kong);
    let archive = world.signed_by(&world.signer(), 2, |_| {});
    let order = Order::Activate { archive, by: "officer".into(), may_lose: false };
    gateway::control::order(&world.data.join("node-1.sock"), &order).await.unwrap().unwrap();
    let began = Instant::now();
    while version(&nodes[1]) != version(&nodes[0]) {
        assert!(began.elapsed() < Duration::from_secs(5), "the other node does not follow");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for node in nodes {
        node.stop().await;
    }
}

async fn opened(config: &Config) -> (gateway::store::Store, gateway::seal::Seals, gateway::app::Source) {
    let seals = gateway::seal::Seals::new(certs::vault::Vault::load(&config.master_key).unwrap());
    let store = gateway::store::Store::open(&config.store, seals.key("audit").unwrap()).await.unwrap();
    (store, seals, gateway::app::Source::open(&config.bundle).unwrap())
}

/// A draft beside the live bundle changes nothing for anybody; where it would have said otherwise is on record, and a
/// replay of the record says the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_draft_in_shadow_is_heard_and_not_obeyed() {
    let world = World::signed(&[]).await;
    let live = world.version();
    world.edit(INVOICE, without_hong_kong);
    let archive = world.signed_by(&world.signer(), 1, |_| {});
    world.order(&Order::Shadow { archive: Some(archive), by: "officer".into() }).await.unwrap();
    let rp = world.rp();
    for (provider, person) in [("hk-iam-smart", "hk-chan"), ("mo-one-account", "mo-vong")] {
        let back = world.sign_in(&mut world.browser(), &rp.authorize("e-invoice", &[]), provider, person).await;
        assert!(query(&back, "code").is_some());
    }
    assert_eq!(world.version(), live);
    let recorded = world.order(&Order::Decisions { last: 10 }).await.unwrap();
    let recorded: Vec<gateway::store::Recorded> = serde_json::from_value(recorded).unwrap();
    let shadows: Vec<_> = recorded
        .iter()
        .map(|r| (r.decision.login.provider.as_str(), r.decision.shadow.as_ref().map(|shadow| shadow.outcome.as_str())))
        .collect();
    assert_eq!(shadows.len(), 2);
    assert!(shadows.contains(&("hk-iam-smart", Some("CB-404"))), "{shadows:?}");
    assert!(shadows.contains(&("mo-one-account", None)), "{shadows:?}");
    let text = serde_json::to_string(&recorded).unwrap();
    assert!(!text.contains("CHAN") && !text.contains("1979"), "no personal data: {text}");
    let draft = gateway::bundle::Bundle::read(&world.data.join("bundle")).unwrap();
    let draft = gateway::catalog::policies(&draft).unwrap();
    let summary = policies::replay::replay(
        recorded.iter().map(|recorded| (&recorded.decision, recorded.released.as_slice())),
        &draft,
        world.now().date(),
    );
    assert_eq!((summary.replayed, summary.changed, summary.groups[0].now_refused), (2, 1, 1));
    assert_eq!(summary.groups[0].provider.as_str(), "hk-iam-smart");
    world.order(&Order::Shadow { archive: None, by: "officer".into() }).await.unwrap();
    assert!(world.demo.gateway.app().shadow().is_none());
}

/// A draft in shadow that a node could not load held up every later activation on that node.
#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_cannot_be_loaded_holds_up_no_activation() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(&folder.path().join("data"), &[], Wire::Own, Trust::Signed).await;
    let live = world.version();
    world.edit(INVOICE, |text| text.replace("# ", "#  "));
    let draft = world.signed_by(&world.signer(), 8_000_000_000, |_| {});
    let status = world.order(&Order::Shadow { archive: Some(draft), by: "officer".into() }).await.unwrap();
    let version = status["version"].as_str().unwrap();
    let gone = Batch::of(Write::Delete(Key::new("bundle", version)));
    world.demo.gateway.app().store.commit(Class::Durable, gone, world.now()).await.unwrap();
    let world = world.restarted().await;
    world.demo.gateway.app().follow().await;
    assert!(world.demo.gateway.app().shadow().is_none(), "the draft cannot be loaded");
    world.edit(INVOICE, without_hong_kong);
    let archive = world.signed_by(&world.signer(), 8_000_000_001, |_| {});
    world.order(&Order::Activate { archive, by: "officer".into(), may_lose: false }).await.unwrap();
    assert_ne!(world.version(), live);
    assert!(!offers_hong_kong(&world).await);
}

/// Two officers who change the same version would undo each other's work without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_was_made_from_another_version_is_not_put_into_effect() {
    let world = World::signed(&[]).await;
    let base = world.version();
    world.edit(INVOICE, |text| text.replace("# ", "#  "));
    let hers = world.signed_by(&world.signer(), 8_000_000_000, |_| {});
    world.edit(INVOICE, |text| text.replace("#  ", "#   "));
    let his = world.signed_by(&world.signer(), 8_000_000_001, |_| {});
    let unsaid = world.signed_by(&world.signer(), 8_000_000_002, |manifest| manifest.based_on = None);
    let activate = async |archive: &str| {
        world.order(&Order::Activate { archive: archive.to_owned(), by: "officer".into(), may_lose: false }).await
    };
    activate(&hers).await.unwrap();
    let now = world.version();
    for late in [&his, &unsaid] {
        let said = activate(late).await.unwrap_err().join("\n");
        assert!(said.contains(&format!("--based-on {now}")), "{said}");
    }
    assert!(now != base && world.version() == now);
    let again = world.signed_by(&world.signer(), 8_000_000_003, |_| {});
    activate(&again).await.unwrap();
    // Who signed is on record.
    let record = world.record("policy").await;
    assert!(record["key"].as_str().is_some_and(|key| !key.is_empty()), "{record}");
}

/// Going back while a change waits took back the one in effect, and dropped the one that waited.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_cancelled_by_its_name_and_going_back_does_not_drop_it() {
    let world = World::signed(&[]).await;
    world.edit(INVOICE, |text| text.replace("# ", "#  "));
    world.activate().await.unwrap();
    let live = world.version();
    world.edit(INVOICE, without_hong_kong);
    let tomorrow = world.now().plus(Duration::from_secs(86_400));
    let archive = world.signed_by(&world.signer(), 8_000_000_000, |manifest| manifest.effective_from = tomorrow);
    world.order(&Order::Activate { archive, by: "officer".into(), may_lose: false }).await.unwrap();
    let said = world.order(&Order::RollBack { by: "officer".into() }).await.unwrap_err().join("\n");
    assert!(said.contains("gateway policy cancel"), "{said}");
    assert_eq!(world.version(), live);
    assert_eq!(world.order(&Order::Cancel { by: "officer".into() }).await.unwrap()["change"], "cancelled");
    assert!(world.order(&Order::Cancel { by: "officer".into() }).await.is_err(), "nothing waits");
    world.clock.advance(2 * 86_400);
    world.demo.gateway.app().follow().await;
    assert_eq!(world.version(), live);
    assert!(world.order(&Order::RollBack { by: "officer".into() }).await.is_ok());
}

/// A folder above or beside the bundle once became an empty policy on every node.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_lacks_or_loses_much_is_not_put_into_effect_unasked() {
    let extra: Vec<String> = (0..24).map(|at| format!("extra-{at}")).collect();
    let examples = |id: &str| {
        format!(
            "[[example]]\nabout = \"{id}: in\"\nclient = \"gd-bay-area-services\"\nprovider = \"hk-iam-smart\"\nacr = \"default\"\n\
             expect = \"permit\"\nreleased = []\n\
             [[example]]\nabout = \"{id}: out\"\nclient = \"gd-bay-area-services\"\nprovider = \"mo-one-account\"\nacr = \"default\"\n\
             expect = \"CB-404\"\n"
        )
    };
    let document = |id: &String| service_document(id, &["gd-bay-area-services"], &["hk-iam-smart"], "") + &examples(id);
    let documents: Vec<_> = extra.iter().map(|id| (format!("services/{id}.toml"), document(id))).collect();
    let documents: Vec<_> = documents.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let world = World::signed(&documents).await;
    let live = world.version();
    let activate = async |may_lose| {
        let archive = world.signed_by(&world.signer(), 8_000_000_000, |_| {});
        world.order(&Order::Activate { archive, by: "officer".into(), may_lose }).await
    };
    let services = world.document("services");
    for id in &extra {
        std::fs::remove_file(services.join(format!("{id}.toml"))).unwrap();
    }
    let said = activate(false).await.unwrap_err().join("\n");
    assert!(said.contains("would disappear") && said.contains("services"), "{said}");
    assert_eq!(world.version(), live);
    assert!(activate(true).await.is_ok());
    let live = world.version();
    std::fs::remove_dir_all(&services).unwrap();
    std::fs::create_dir(&services).unwrap();
    let said = activate(true).await.unwrap_err().join("\n");
    assert!(said.contains("services"), "{said}");
    assert_eq!(world.version(), live);
}

/// A document that names another file than one in the folder of secrets would hand whatever that is to whoever it names.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_names_secrets_by_plain_names_only() {
    let world = World::signed(&[]).await;
    let provider = std::fs::read_to_string(world.document("providers/gd-unified.toml")).unwrap();
    let (_, rest) = provider.split_once("client_secret_file = \"").unwrap();
    let name = rest.split('"').next().unwrap().to_owned();
    for wrong in
        ["../master.key", "../../master.key", "/etc/passwd", "..", ".", "", "a/b", ".hidden", "a\\b", "secret file"]
    {
        let changed = provider.replace(&format!("\"{name}\""), &format!("{wrong:?}"));
        std::fs::write(world.document("providers/gd-unified.toml"), changed).unwrap();
        let said = world.activate().await.unwrap_err().join("\n");
        assert!(said.contains("plain name") || said.contains("client_secret_file"), "{wrong:?}: {said}");
    }
}

/// A node that cannot read one of its own files for a moment treated a good bundle as bad, and kept the old policy for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_condemns_no_bundle() {
    let world = World::signed(&[]).await;
    let before = world.version();
    world.edit(INVOICE, without_hong_kong);
    let archive = world.signed_by(&world.signer(), 8_000_000_000, |manifest| {
        manifest.effective_from = Timestamp(manifest.signed_at.0 + 3_600);
    });
    world.order(&Order::Activate { archive, by: "officer".into(), may_lose: false }).await.unwrap();
    let file = world.document("providers/gd-unified.secret");
    let away = file.with_extension("away");
    std::fs::rename(&file, &away).unwrap();
    world.clock.advance(3_600);
    let app = world.demo.gateway.app();
    app.follow().await;
    assert_eq!(world.version(), before);
    assert!(!app.state().follows, "it says that it does not follow");
    std::fs::rename(&away, &file).unwrap();
    let began = Instant::now();
    while !app.state().follows {
        assert!(began.elapsed() < Duration::from_secs(15), "it is never tried again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(world.version() != before && app.state().is_ready());
}

/// A signer who is taken out signs nothing from then on, without a restart; what is in effect goes on, a restart included.
#[tokio::test(flavor = "multi_thread")]
async fn a_signer_who_is_taken_out_signs_nothing_more_and_keeps_no_node_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(&folder.path().join("data"), &[], Wire::Own, Trust::Signed).await;
    let live = world.version();
    let next = world.data.join("secrets/next-signer.key");
    let key = certs::signer::create(&next).unwrap();
    let jwks = serde_json::json!({"keys": [key.public_jwk()]}).to_string();
    let file = world.data.join("signers.jwks");
    let when = std::fs::metadata(&file).unwrap().modified().unwrap() + Duration::from_secs(5);
    std::fs::write(&file, jwks).unwrap();
    std::fs::File::options().append(true).open(&file).unwrap().set_modified(when).unwrap();
    world.edit(INVOICE, |text| text.replace("# ", "#  "));
    let said = world.activate().await.unwrap_err().join("\n");
    assert!(said.contains("not signed by a signer"), "{said}");
    assert_eq!(world.order(&Order::Status).await.unwrap()["signer_is_known"], false);
    let world = world.restarted().await;
    assert_eq!(world.version(), live, "what is in effect was signed by a signer of its time");
    let archive = world.signed_by(&next, 8_000_000_000, |_| {});
    world.order(&Order::Activate { archive, by: "officer".into(), may_lose: false }).await.unwrap();
    assert_ne!(world.version(), live);
    assert_eq!(world.order(&Order::Status).await.unwrap()["signer_is_known"], true);
}
