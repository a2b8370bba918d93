//! What is measured, set up and started: the gateway from configuration files like any operator's, and the comparison.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::devca::DevCa;
use serde_json::json;

use crate::jose;
use crate::operations::{COUNTER, PORTALS};
use crate::portal::{CLIENT, OTHER, Profile, SECRET};
use crate::process::Measured;
use crate::site::{Kind, PORTAL, Portal, REDIRECT, Site};
use crate::{Arguments, Failed};

const PROVIDERS: [(&str, &str); 3] = [
    ("hk-iam-smart", include_str!("../../../sandbox/documents/openid/hk-iam-smart.toml")),
    ("mo-one-account", include_str!("../../../sandbox/documents/openid/mo-one-account.toml")),
    ("gd-unified", include_str!("../../../sandbox/documents/openid/gd-unified.toml")),
];

/// The provider that can be reached, whatever it speaks.
pub(crate) const REACHED: &str = "hk-iam-smart";

/// How the gateway is logged in at.
const GATEWAY: Kind = Kind {
    choice: Some("/to/hk-iam-smart"),
    assets: &["/static/style.css", "/static/mark.svg"],
    resource: Some("https://services.example/social-insurance-record"),
    scope: "openid profile document email",
};

/// How the comparison is logged in at.
const PEER: Kind = Kind { choice: None, assets: &[], resource: None, scope: "openid profile email" };

/// The certificates of one benchmark.
pub(crate) struct Certificates {
    /// The CA.
    pub(crate) ca: PathBuf,
    /// Everybody's server certificate.
    pub(crate) chain: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes them.
    pub(crate) fn make(data: &Path) -> Result<Self, Failed> {
        let ca = DevCa::open(&data.join("ca"), jose::now()).map_err(|error| error.to_string())?;
        let (chain, key) = ca.issue("server", &["localhost"]).map_err(|error| error.to_string())?;
        Ok(Self { ca: ca.certificate(), chain, key })
    }
}

/// Something that is measured, up and answering.
pub(crate) struct Target {
    /// Its process.
    pub(crate) process: Measured,
    /// Where to log in.
    pub(crate) site: Arc<Site>,
    /// Seconds from start to first answer.
    pub(crate) ready_after: f64,
}

/// The gateway's files.
pub(crate) struct GatewayFiles {
    binary: PathBuf,
    config: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl GatewayFiles {
    /// Writes configuration and bundle into a new folder.
    pub(crate) fn write(
        arguments: &Arguments,
        folder: &Path,
        certificates: &Certificates,
        portal: &Portal,
    ) -> Result<Self, Failed> {
        let binary = match &arguments.gateway {
            Some(binary) => binary.clone(),
            None => beside_us("gateway")?,
        };
        if !binary.is_file() {
            return Err(format!("{}: build it with cargo build --release --bin gateway", binary.display()));
        }
        let (port, config) = (free_port()?, folder.join("gateway.toml"));
        write_bundle(&folder.join("bundle"), portal)?;
        let master = folder.join("master.key");
        let made = Command::new(&binary).arg("master-key").arg(&master).output();
        made.map_err(|error| format!("{}: {error}", binary.display()))?;
        let text = format!(
            "issuer = \"https://localhost:{port}\"\nlisten = \"127.0.0.1:{port}\"\n\
             [tls]\ncertificate = {:?}\nkey = {:?}\n[keys]\nmaster = \"master.key\"\n\
             [store]\nnode = \"bench\"\nengine = \"embedded\"\npath = \"store\"\n[bundle]\nfolder = \"bundle\"\nunsigned = true\n\
             [egress]\ntrust = {:?}\nprivate_addresses = true\n",
            certificates.chain, certificates.key, certificates.ca
        );
        put(&config, &text)?;
        Ok(Self { binary, config, folder: folder.to_owned(), port })
    }

    /// Starts the gateway and waits until it answers.
    pub(crate) async fn start(&self, core: usize, portal: &Arc<Portal>) -> Result<Target, Failed> {
        let (binary, config) = (self.binary.display().to_string(), self.config.display().to_string());
        let log = self.folder.join("gateway.log");
        let began = Instant::now();
        let process = Measured::start(core, &[&binary, "serve", "--config", &config], &log)?;
        answering(process, self.port, portal, GATEWAY, began, &log).await
    }

    /// Follows the audit chain: how many records verify.
    pub(crate) fn verify_audit(&self) -> Result<u64, Failed> {
        let output = Command::new(&self.binary).args(["audit", "verify", "--config"]).arg(&self.config).output();
        let output = output.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let records = text.split_whitespace().find_map(|word| word.parse().ok());
        match records {
            Some(records) if output.status.success() => Ok(records),
            _ => Err(format!("audit verify: {text}{}", String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// How much the gateway wrote, in KiB: its store and its log.
    pub(crate) fn written(&self) -> (u64, u64) {
        (size(&self.folder.join("store")) / 1024, size(&self.folder.join("gateway.log")) / 1024)
    }
}

/// Starts the comparison: `broker.mjs`.
pub(crate) async fn start_peer(
    arguments: &Arguments,
    folder: &Path,
    certificates: &Certificates,
    portal: &Arc<Portal>,
) -> Result<Target, Failed> {
    let port = free_port()?;
    let settings = json!({
        "port": port, "cert": certificates.chain, "key": certificates.key, "ca": certificates.ca,
        "issuer": format!("https://localhost:{port}"),
        "clients": PORTALS.map(|(id, profile)| registered(id, profile, portal)),
        "upstream": {"issuer": portal.upstream.origin, "client_id": "broker", "client_secret": "only of this benchmark"},
    });
    let (file, log) = (folder.join("broker.json"), folder.join("broker.log"));
    put(&file, &settings.to_string())?;
    let script = arguments.peers.join("broker.mjs").display().to_string();
    let file = file.display().to_string();
    let began = Instant::now();
    let mut process = Measured::start(arguments.gateway_core, &["node", &script, &file], &log)?;
    let mut line = String::new();
    if let Some(stdout) = process.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
    }
    answering(process, port, portal, PEER, began, &log).await
}

/// A portal, as the comparison registers it.
fn registered(id: &str, profile: Profile, portal: &Portal) -> serde_json::Value {
    let mut client = json!({
        "client_id": id, "redirect_uris": [REDIRECT], "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256",
        "jwks": portal.key.jwks(), "dpop_bound_access_tokens": profile == Profile::Fapi2,
    });
    if profile == Profile::Legacy {
        client = json!({
            "client_id": id, "redirect_uris": [REDIRECT], "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "client_secret_basic", "client_secret": SECRET,
        });
    }
    client
}

async fn answering(
    mut process: Measured,
    port: u16,
    portal: &Arc<Portal>,
    kind: Kind,
    began: Instant,
    log: &Path,
) -> Result<Target, Failed> {
    while began.elapsed() < Duration::from_secs(20) && process.is_running() {
        if let Ok(site) = Site::discover(port, portal, kind.clone()).await {
            return Ok(Target { process, site: Arc::new(site), ready_after: began.elapsed().as_secs_f64() });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("it does not answer:\n{}", fs::read_to_string(log).unwrap_or_default()))
}

/// The whole shipped catalogue. Only one provider can be reached, and the gateway signs its requests there.
fn write_bundle(bundle: &Path, portal: &Portal) -> Result<(), Failed> {
    let portals: Vec<(&str, Profile)> = PORTALS.into_iter().chain([(COUNTER, Profile::Baseline)]).collect();
    let listed = portals.iter().map(|(id, _)| format!("\"{id}\"")).collect::<Vec<_>>().join(", ");
    for (path, text) in policies::documents::common() {
        // The portals of this benchmark offer the one matter that is asked for.
        let text = match path.ends_with("/social-insurance-record.toml") {
            true => text.replace(&format!("clients = [\"{CLIENT}\""), &format!("clients = [{listed}")),
            false => text.to_owned(),
        };
        put(&bundle.join(path), &text)?;
    }
    put(&bundle.join("services/bench-archive.toml"), &archive())?;
    for (name, template) in policies::documents::CLIENTS {
        let text = template
            .replace("@PORTAL@", PORTAL)
            .replace("@SECRET@", &jose::s256("only of this benchmark"))
            .replace("@JWKS@", &portal.key.jwks().to_string());
        for (id, profile) in portals.iter().copied().filter(|_| name.strip_suffix(".toml") == Some(CLIENT)) {
            let way = "token_endpoint_auth_method = \"private_key_jwt\"\njwks";
            let own = match profile {
                Profile::Legacy => format!(
                    "profile = \"legacy\"\ntoken_endpoint_auth_method = \"client_secret_basic\"\n\
                     client_secret_sha256 = \"{}\"\n# jwks",
                    jose::s256(SECRET)
                ),
                Profile::Baseline if id == COUNTER => {
                    format!(
                        "grant_types = [\"authorization_code\", \"refresh_token\", \"urn:openid:params:grant-type:ciba\"]\n{way}"
                    )
                }
                Profile::Baseline => {
                    format!("grant_types = [{}]\n{way}", GRANT_TYPES.map(|grant| format!("\"{grant}\"")).join(", "))
                }
                Profile::Fapi2 => format!("profile = \"fapi2\"\n{way}"),
            };
            let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("grant_types = ")).collect();
            let own = kept.join("\n").replace(way, &own);
            let own = format!("client_id = \"{id}\"\nrefresh_lifetime = \"8h\"\n{own}");
            let own = own.replace(&format!("client_id = \"{CLIENT}\"\njurisdiction"), "jurisdiction");
            put(&bundle.join("clients").join(format!("{id}.toml")), &own)?;
        }
        if name.strip_suffix(".toml") != Some(CLIENT) {
            put(&bundle.join("clients").join(name), &text)?;
        }
    }
    write_providers(&bundle.join("providers"), portal)
}

/// The ways in which the portal of most figures gets tokens.
const GRANT_TYPES: [&str; 5] = [
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];

/// The service that tokens are exchanged for.
fn archive() -> String {
    format!(
        "service = \"bench-archive\"\nresource = \"{OTHER}\"\nclients = [\"{CLIENT}\"]\ngroups = [\"applicant\"]\n\
         instruments = [\"gba-contract-hk\"]\nexchange_from = [\"social-insurance-record\"]\n\
         name = {{ zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }}\n\
         [[back_end]]\nclient = \"{CLIENT}\"\nscopes = [\"read\"]\n\
         [[allow]]\nproviders = [\"hk-iam-smart\"]\nidentity = 1\nauthentication = 1\n"
    )
}

fn write_providers(folder: &Path, portal: &Portal) -> Result<(), Failed> {
    let origin = &portal.upstream.origin;
    for (name, template) in PROVIDERS {
        let issuer = if name == REACHED { origin.as_str() } else { "https://localhost:1" };
        let text = template
            .replace("@ISSUER@", issuer)
            .replace("client_secret_basic", "private_key_jwt")
            .replace("client_secret_post", "private_key_jwt");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("client_secret_file")).collect();
        put(&folder.join(format!("{name}.toml")), &lines.join("\n"))?;
    }
    let Some(kek) = portal.upstream.key_encryption_key() else { return Ok(()) };
    let file = format!("{REACHED}.toml");
    let shipped = policies::documents::PROVIDERS.iter().find(|(name, _)| *name == file);
    let (_, template) = shipped.ok_or_else(|| format!("{file} does not ship"))?;
    let text = template.replace("@ORIGIN@", origin).replace("@APP@", &format!("{origin}/app/"));
    put(&folder.join(file), &text)?;
    put(&folder.join(format!("{REACHED}.secret")), "only of this benchmark")?;
    put(&folder.join(format!("{REACHED}.kek")), kek)
}

/// A binary in the folder of this one.
fn beside_us(name: &str) -> Result<PathBuf, Failed> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(own.with_file_name(name))
}

fn free_port() -> Result<u16, Failed> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

fn put(path: &Path, text: &str) -> Result<(), Failed> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}

fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return fs::metadata(path).map_or(0, |data| data.len()) };
    entries.filter_map(Result::ok).map(|entry| size(&entry.path())).sum()
}
