//! What must never be written down: every secret and every personal value of a whole run, looked for in the logs and in
//! everything on disk.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use integration_tests::World;
use integration_tests::rp::query;
use sandbox::provider::Misbehaviour;
use tracing_subscriber::fmt::MakeWriter;

use crate::{ciba, register};

#[derive(Clone, Default)]
pub(crate) struct Buffer(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Buffer {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

pub(crate) fn files(folder: &Path, into: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
        if entry.path().is_dir() {
            files(&entry.path(), into);
        } else {
            into.extend(std::fs::read(entry.path()).unwrap());
        }
    }
}

pub(crate) fn holds(haystack: &[u8], needle: &str) -> bool {
    memchr::memmem::find(haystack, needle.as_bytes()).is_some()
}

/// Everything that is logged from now on, at every level. Other tests of this binary log here as well; that only adds to
/// what must be clean.
pub(crate) fn listen() -> Buffer {
    static LOG: LazyLock<Buffer> = LazyLock::new(|| {
        let log = Buffer::default();
        let subscriber = tracing_subscriber::fmt().json().with_env_filter(FILTER).with_writer(log.clone()).finish();
        let _ = tracing::subscriber::set_global_default(subscriber);
        log
    });
    LOG.clone()
}

const FILTER: &str = "trace,h2=info,rustls=info";

/// CVE-2024-39315, RUSTSEC-2022-0086: canaries of a whole run leave no trace in logs, and none at rest.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_39315_no_secret_and_no_personal_value_in_logs_or_at_rest() {
    let log = listen();
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let address = world.to_provider(&mut browser, &rp.authorize("school-enrolment", &[]), "hk-iam-smart").await;
    let callback = world.sign_in_at_provider(&mut browser, &address, "hk-leung").await;
    let page = browser.follow_within(&callback, world.issuer()).await;
    let cookies: Vec<String> = browser.cookies.values().cloned().collect();
    let back = world.agree(&mut browser, &page, &["phone_number"]).await;
    let code = query(&back, "code").unwrap();
    let tokens = rp.redeem(&code).await.json();
    let access = tokens["access_token"].as_str().unwrap().to_owned();
    let userinfo = rp.userinfo(&access).await.json();
    rp.redeem(&code).await;
    world.provider("hk-iam-smart").set(Misbehaviour::WrongNonce);
    let failed =
        world.to_consent(&mut world.browser(), &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-leung").await;
    assert!(failed.failure().is_some());

    let mut canaries = vec![
        code,
        access,
        tokens["id_token"].as_str().unwrap().to_owned(),
        query(&callback, "code").unwrap(),
        query(&callback, "state").unwrap(),
        query(&address, "nonce").unwrap(),
        rp.secret.clone().unwrap(),
        std::fs::read_to_string(world.data.join("secrets/hk-iam-smart")).unwrap(),
        "LEUNG".to_owned(),
        "梁詠".to_owned(),
        userinfo["phone_number"].as_str().unwrap().to_owned(),
    ];
    canaries.extend(cookies);
    canaries.extend(browser.cookies.values().cloned());
    let log = log.0.lock().unwrap().clone();
    assert!(holds(&log, "sign-in begins"), "the log was listened to");
    let mut at_rest = Vec::new();
    files(&world.data.join("store"), &mut at_rest);
    assert!(holds(&at_rest, "code_issued"), "the store was looked at");
    for canary in canaries {
        assert!(!holds(&log, &canary), "{canary} is in the log");
        assert!(!holds(&at_rest, &canary), "{canary} is at rest");
    }
    // Nor does the name of a record say which portal a session served.
    let parties: Vec<usize> = memchr::memmem::find_iter(&at_rest, "party/").collect();
    assert!(!parties.is_empty());
    for at in parties {
        let name = at_rest[at..].iter().take(120).take_while(|b| b.is_ascii_graphic()).copied().collect::<Vec<u8>>();
        assert!(!holds(&name, rp.client_id.as_str()), "{}", String::from_utf8_lossy(&name));
    }
}

/// The same where no browser of the portal's is needed: what terminals, counters and portals that register themselves hold.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_39315_no_secret_of_terminals_counters_and_registrations() {
    let log = listen();
    let mut canaries = Vec::new();
    let (world, counter, portal) = ciba::world("").await;
    let mut phone = world.browser();
    world.sign_in(&mut phone, &portal.authorize("check-point", &[]), "hk-iam-smart", "hk-leung").await;
    let shown = ciba::code(&world, &mut phone).await;
    let asked = ciba::ask(&counter, &shown, &[("binding_message", "Canary 4711")]).await.json();
    let page = ciba::open(&world, &mut phone).await;
    world.agree_here(&mut phone, &page).await;
    let by_counter = ciba::poll(&counter, &asked).await.json();
    let (device, form) = ciba::at_terminal(&world, &counter, &mut phone).await;
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let by_terminal = counter.token(&form).await.json();
    let (_, proof) = device["verification_uri_complete"].as_str().unwrap().split_once("proof=").unwrap();
    canaries.extend([shown, "Canary 4711".to_owned(), "LEUNG".to_owned(), proof.to_owned()]);
    for (answer, names) in [
        (&asked, vec!["auth_req_id"]),
        (&device, vec!["device_code", "user_code"]),
        (&by_counter, vec!["access_token", "id_token"]),
        (&by_terminal, vec!["access_token", "id_token"]),
    ] {
        canaries.extend(
            names.into_iter().map(|name| answer[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()),
        );
    }
    canaries.extend(phone.cookies.values().cloned());
    let joined = register::world(integration_tests::servers::free_port(), "").await;
    let metadata = serde_json::json!({"redirect_uris": [format!("{}/cb", register::site(&joined))]});
    let registered = register::register(&joined, &metadata).await.json();
    canaries.extend(
        ["client_secret", "registration_access_token"].map(|name| registered[name].as_str().unwrap().to_owned()),
    );
    let log = log.0.lock().unwrap().clone();
    let mut at_rest = Vec::new();
    for world in [&world, &joined] {
        files(&world.data.join("store"), &mut at_rest);
    }
    assert!(holds(&at_rest, "code_issued") && holds(&at_rest, "registration"), "the stores were looked at");
    for canary in canaries {
        assert!(!holds(&log, &canary), "{canary} is in the log");
        assert!(!holds(&at_rest, &canary), "{canary} is at rest");
    }
}
