//! A whole world in one process: the demonstration on free ports, with a clock that tests can set.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway::config::Config;
use gateway::ports::{Clock, SystemClock};
use gateway_core::client::SecretDigest;
use gateway_core::time::Timestamp;
use rustls::ClientConfig;
use sandbox::demo::{Demo, Options, ProviderInfo, Simulator, Trust, Wire};
use sandbox::provider::{Control, form_handle};
use serde_json::Value;
use url::Url;

use crate::browser::{Browser, Reply};
use crate::rp::{Rp, query};

/// The machine's clock, moved ahead by as much as a test wants.
#[derive(Debug, Default)]
pub struct TestClock {
    ahead: AtomicU64,
}

impl TestClock {
    /// Moves the gateway's time ahead.
    pub fn advance(&self, seconds: u64) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn millis(&self) -> u64 {
        SystemClock.millis() + 1_000 * self.ahead.load(Ordering::SeqCst)
    }

    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.ahead.load(Ordering::SeqCst))
    }
}

/// A running world.
pub struct World {
    /// What runs.
    pub demo: Demo,
    /// The gateway's clock.
    pub clock: Arc<TestClock>,
    /// Where it keeps its files.
    pub data: PathBuf,
    tls: Arc<ClientConfig>,
    _folder: Option<tempfile::TempDir>,
}

/// What lets data of Hong Kong and Macao residents cross to a client.
const FILINGS: &str = "[[filing]]\ninstrument = \"gba-contract-hk\"\nnumber = \"T-1\"\nvalid_until = \"2090-12-31\"\n\
    [[filing]]\ninstrument = \"gba-contract-mo\"\nnumber = \"T-2\"\nvalid_until = \"2090-12-31\"\n";

/// The line of a client document that says where its privacy notice is; portals that register themselves each say their own.
pub const NOTICE: &str = "policy_uri = \"https://portal.example/privacy\"\n";

/// A client document with a secret, or public; further lines may be added.
#[must_use]
pub fn client_document(id: &str, redirect_uri: &str, auth: &str, more: &str) -> String {
    let texts = "{ zh-Hans = \"测试\", zh-Hant-HK = \"測試\", pt = \"Teste\", en = \"Test\" }";
    format!(
        "client_id = \"{id}\"\njurisdiction = \"CN-GD\"\nsector = \"{id}\"\nredirect_uris = [\"{redirect_uri}\"]\n\
         registered_in = \"guangzhou\"\ncontact = \"+86 20 0000 0000\"\n{NOTICE}name = {texts}\n\
         operator = {texts}\ntoken_endpoint_auth_method = \"{auth}\"\n{more}\n\
         {FILINGS}"
    )
}

/// A service document that accepts these providers from these clients and releases name and e-mail address.
#[must_use]
pub fn service_document(id: &str, clients: &[&str], providers: &[&str], more: &str) -> String {
    let texts =
        "{ zh-Hans = \"测试事项\", zh-Hant-HK = \"測試事項\", pt = \"Serviço de teste\", en = \"Test service\" }";
    format!(
        "service = \"{id}\"\nresource = \"https://services.example/{id}\"\nclients = {clients:?}\n\
         instruments = [\"gba-contract-hk\", \"gba-contract-mo\"]\nname = {texts}\n{more}\n\
         [[allow]]\nproviders = {providers:?}\nidentity = 1\nauthentication = 1\n\
         [[release]]\nclaim = \"name\"\nfrom = 'claims.name'\non_missing = \"clear\"\npurpose = \"identify-applicant\"\n\
         ground = \"consent\"\n\
         [[release]]\nclaim = \"email\"\nfrom = 'claims.email'\non_missing = \"clear\"\npurpose = \"contact\"\n\
         ground = \"consent\"\noptional = true\n"
    )
}

/// The secret of clients that tests add.
pub const SECRET: &str = "a-secret-of-a-test-client-that-is-long-enough";

/// The line of a client document for [`SECRET`].
#[must_use]
pub fn secret_line() -> String {
    format!("client_secret_sha256 = \"{}\"", SecretDigest::of(SECRET).as_str())
}

impl World {
    /// A world with the shipped documents.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A world with further documents: path below the bundle, and text.
    pub async fn with(documents: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let mut world = Self::at(&data, documents).await;
        world._folder = Some(folder);
        world
    }

    /// The same world, with the folder that its files are in.
    #[must_use]
    pub fn keeping(mut self, folder: tempfile::TempDir) -> Self {
        self._folder = Some(folder);
        self
    }

    /// A world whose providers speak their own protocols.
    pub async fn own(documents: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let mut world = Self::open(&data, documents, Wire::Own, Trust::Folder).await;
        world._folder = Some(folder);
        world
    }

    /// A world whose files stay when it ends.
    pub async fn at(data: &Path, documents: &[(&str, &str)]) -> Self {
        Self::open(data, documents, Wire::OpenId, Trust::Folder).await
    }

    /// A world whose gateway takes signed bundles only, and whose providers speak their own protocols.
    pub async fn signed(documents: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let mut world = Self::open(&data, documents, Wire::Own, Trust::Signed).await;
        world._folder = Some(folder);
        world
    }

    /// Any world whose files stay when it ends.
    pub async fn open(data: &Path, documents: &[(&str, &str)], wire: Wire, trust: Trust) -> Self {
        let add = data.with_extension("add");
        for (path, text) in documents {
            let path = add.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a document");
        }
        let clock = Arc::new(TestClock::default());
        let add = if documents.is_empty() { Vec::new() } else { vec![add] };
        let options = Options {
            data: data.to_owned(),
            port: None,
            add,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            wire,
            trust,
        };
        let demo = Demo::start(&options).await.unwrap_or_else(|error| panic!("{error}"));
        let roots = certs::tls::read_certificates(&demo.ca).expect("a CA");
        let tls = Arc::new(certs::tls::client(roots).expect("TLS"));
        Self { demo, clock, data: data.to_owned(), tls, _folder: None }
    }

    /// The same world after its gateway was stopped and started again; simulators, ports and files stay.
    pub async fn restarted(self) -> Self {
        self.restarted_with(|_| {}).await
    }

    /// The same, with changes to the configuration.
    pub async fn restarted_with(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self { demo, clock, data, tls, _folder } = self;
        let mut config = Config::load(&demo.config).unwrap_or_else(|problems| panic!("{problems:?}"));
        change(&mut config);
        let demo = demo.with_gateway(&config, Arc::clone(&clock) as Arc<dyn Clock>).await;
        Self { demo: demo.unwrap_or_else(|error| panic!("{error}")), clock, data, tls, _folder }
    }

    /// A person's browser, new and empty.
    #[must_use]
    pub fn browser(&self) -> Browser {
        Browser::new(Arc::clone(&self.tls))
    }

    /// Changes a provider's document while the gateway runs; it is taken over when this returns.
    pub async fn rewrite_provider(&self, id: &str, change: impl FnOnce(String) -> String) {
        let file = self.data.join(format!("bundle/providers/{id}.toml"));
        let text = std::fs::read_to_string(&file).expect("a document");
        std::fs::write(&file, change(text)).expect("a document");
        self.demo.gateway.app().tend(None).await;
    }

    /// The gateway's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the gateway has on record, newest first.
    pub async fn records(&self) -> Vec<Value> {
        let records = self.demo.gateway.app().store.newest_records(1_000).await.expect("a store");
        records.iter().map(|record| serde_json::to_value(record).expect("sound")).collect()
    }

    /// The newest of one kind.
    pub async fn record(&self, event: &str) -> Value {
        let records = self.records().await;
        records.into_iter().find(|record| record["event"] == event).unwrap_or_else(|| panic!("no {event} on record"))
    }

    /// The gateway's issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.demo.issuer
    }

    /// The Bay Area portal, played by the test.
    #[must_use]
    pub fn rp(&self) -> Rp {
        let secret = std::fs::read_to_string(self.data.join("secrets/gd-bay-area-services")).expect("a secret");
        let portal = self.demo.portals.iter().find(|portal| portal.client_id == "gd-bay-area-services");
        self.client("gd-bay-area-services", Some(&secret), &format!("{}/callback", portal.expect("a portal").url))
    }

    /// Any client, played by the test.
    #[must_use]
    pub fn client(&self, id: &str, secret: Option<&str>, redirect_uri: &str) -> Rp {
        Rp {
            issuer: self.issuer().to_owned(),
            client_id: id.to_owned(),
            secret: secret.map(str::to_owned),
            redirect_uri: redirect_uri.to_owned(),
            http: self.browser(),
        }
    }

    /// A simulated provider.
    #[must_use]
    pub fn simulator(&self, id: &str) -> &ProviderInfo {
        self.demo.providers.iter().find(|provider| provider.id == id).expect("a provider")
    }

    /// Makes a plain OpenID Connect provider misbehave.
    #[must_use]
    pub fn provider(&self, id: &str) -> &Control {
        let Simulator::OpenId(control) = &self.simulator(id).control else { panic!("{id} is of another kind") };
        control
    }

    /// iAM Smart.
    #[must_use]
    pub fn iam_smart(&self) -> &sandbox::iam_smart::Control {
        let Simulator::IamSmart(control) = &self.simulator("hk-iam-smart").control else { panic!("another kind") };
        control
    }

    /// Guangdong's platform.
    #[must_use]
    pub fn guangdong(&self) -> &sandbox::guangdong::Control {
        let Simulator::Guangdong(control) = &self.simulator("gd-unified").control else { panic!("another kind") };
        control
    }

    /// Macao's stand-in.
    #[must_use]
    pub fn macao(&self) -> &sandbox::macao::Control {
        let Simulator::Macao(control) = &self.simulator("mo-one-account").control else { panic!("another kind") };
        control
    }

    /// Signs in at a provider as one of its people, from the address that leads there; the callback's address.
    pub async fn sign_in_at_provider(&self, browser: &mut Browser, address: &Url, person: &str) -> Url {
        self.answer_provider(browser, address, &[("person", person)]).await
    }

    /// Answers a provider's page with these fields; the callback's address.
    pub async fn answer_provider(&self, browser: &mut Browser, address: &Url, fields: &[(&str, &str)]) -> Url {
        let page = browser.follow_within(address, &address.origin().ascii_serialization()).await;
        if let Some(back) = page.location() {
            return back;
        }
        let handle = form_handle(&page.body).unwrap_or_else(|| panic!("no form: {}", page.body)).to_owned();
        let (_, action) = page.body.split_once("action=\"").expect("a form");
        let decide = address.join(action.split_once('"').expect("an address").0).expect("an address");
        let mut form = vec![("handle", handle.as_str())];
        form.extend(fields);
        browser.post(decide, &form).await.target()
    }

    /// Opens an address at the gateway, and waits on the page that waits for a provider.
    pub async fn past_waiting(&self, browser: &mut Browser, address: impl AsRef<str>) -> Reply {
        let mut page = browser.follow_within(address, self.issuer()).await;
        for _ in 0..100 {
            if !(page.status == 200 && page.url.path().ends_with("/wait")) {
                return page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            page = browser.follow_within(page.url.clone(), self.issuer()).await;
        }
        panic!("still waiting: {}", page.body)
    }

    /// From a request to a provider's page: by the chooser, or directly where there is no choice.
    pub async fn to_provider(&self, browser: &mut Browser, authorize: &str, provider: &str) -> Url {
        let reply = browser.get(authorize).await;
        match reply.location() {
            Some(address) => address,
            None => {
                let needle = format!("/to/{provider}\"");
                let end =
                    reply.body.find(&needle).unwrap_or_else(|| panic!("{provider} is not offered: {}", reply.body));
                let start = reply.body[..end].rfind('"').expect("a link") + 1;
                let href = &reply.body[start..end + needle.len() - 1];
                browser.get(format!("{}{href}", self.issuer())).await.target()
            }
        }
    }

    /// From a request to the page after the provider: consent, or a failure.
    pub async fn to_consent(&self, browser: &mut Browser, authorize: &str, provider: &str, person: &str) -> Reply {
        let address = self.to_provider(browser, authorize, provider).await;
        let callback = self.sign_in_at_provider(browser, &address, person).await;
        self.past_waiting(browser, callback).await
    }

    /// Agrees on the consent page, with these optional claims ticked; where the browser is sent.
    pub async fn agree(&self, browser: &mut Browser, page: &Reply, ticked: &[&str]) -> Url {
        let question =
            page.field("question").unwrap_or_else(|| panic!("no consent page: {:?} {}", page.failure(), page.body));
        let mut form = vec![("question", question.as_str()), ("decision", "allow"), ("export", "yes")];
        form.extend(ticked.iter().map(|claim| ("claim", *claim)));
        browser.post(&page.url, &form).await.target()
    }

    /// Agrees on the consent page where no browser carries the answer; the last page.
    pub async fn agree_here(&self, browser: &mut Browser, page: &Reply) -> Reply {
        let question = page.field("question").unwrap_or_else(|| panic!("no consent page: {}", page.body));
        browser.post(&page.url, &[("question", &question), ("decision", "allow"), ("export", "yes")]).await
    }

    /// A whole sign-in; the address at the portal, with the code.
    pub async fn sign_in(&self, browser: &mut Browser, authorize: &str, provider: &str, person: &str) -> Url {
        let page = self.to_consent(browser, authorize, provider, person).await;
        match page.location() {
            // An earlier answer of this person covers the release.
            Some(back) => back,
            None => self.agree(browser, &page, &[]).await,
        }
    }

    /// A whole sign-in; the code.
    pub async fn code(&self, rp: &Rp, service: &str, provider: &str, person: &str) -> String {
        let back = self.sign_in(&mut self.browser(), &rp.authorize(service, &[]), provider, person).await;
        query(&back, "code").unwrap_or_else(|| panic!("no code: {back}"))
    }
}
