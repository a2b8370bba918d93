//! Who takes part in the demonstration, and the simulator of each.

use std::fs;
use std::path::Path;

use axum::Router;
use gateway::ports::Entropy;
use gateway::server::Server;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use josekit::jwk::alg::rsa::RsaKeyPair;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{DemoError, HOST, PortalInfo, ProviderInfo, Simulator, Wire};
use crate::SandboxError;
use crate::guangdong::{GuangdongClient, GuangdongConfig, GuangdongSim};
use crate::iam_smart::{IamSmartClient, IamSmartConfig, IamSmartSim};
use crate::macao::{MacaoClient, MacaoConfig, MacaoSim};
use crate::people::{Place, catalogue};
use crate::portal::{Elsewhere, PortalAuth, PortalConfig, PortalHttp, PortalService, PortalSim};
use crate::provider::{ClientAuth, ProviderConfig, ProviderSim, RegisteredClient};

/// How many ports are needed: the gateway, the providers, the portals.
pub(super) fn count() -> u16 {
    4 + u16::try_from(policies::documents::CLIENTS.len()).unwrap_or(u16::MAX)
}

/// What the gateway is called at every provider.
const CLIENT_ID: &str = "gateway";

/// A provider of the demonstration.
pub(super) struct ProviderParty {
    pub(super) id: &'static str,
    pub(super) place: Place,
    pub(super) issuer: String,
    /// The secret shared with the gateway; `None` where the gateway signs.
    pub(super) secret: Option<String>,
    /// The gateway's key-encryption key, where the provider uses one: PKCS#8 PEM.
    pub(super) kek: Option<String>,
}

/// A portal of the demonstration: a shipped client.
pub(super) struct PortalParty {
    pub(super) client_id: String,
    pub(super) name: String,
    pub(super) name_zh: String,
    pub(super) url: String,
    pub(super) auth: PortalAuth,
    pub(super) elsewhere: Option<Elsewhere>,
    pub(super) services: Vec<PortalService>,
}

/// The portals that come first, with the services that theirs begin with: what most people try.
const FIRST: [(&str, &[&str]); 6] = [
    (
        "gd-government-service-network",
        &[
            "social-insurance-record",
            "driving-licence-exchange",
            "marriage-registration-appointment",
            "lodging-registration",
            "company-registration",
            "school-enrolment",
            "medical-appointment",
            "e-invoice",
            "ratings",
        ],
    ),
    ("gd-bay-area-services", &["transit-card", "medical-appointment", "school-enrolment", "e-invoice"]),
    ("hk-cross-boundary-enquiry", &["hk-cross-boundary-enquiry"]),
    ("gd-yuezhizhu", &["job-fair-registration", "traffic-violation-enquiry", "service-guide"]),
    ("gd-trusted-identity", &["hotel-check-in"]),
    ("gd-verification-point", &[]),
];

/// A shipped document, as far as a portal needs it.
fn table(text: &str) -> Result<toml::Table, DemoError> {
    text.parse().map_err(|error: toml::de::Error| DemoError::Configuration(error.to_string()))
}

fn text<'t>(table: &'t toml::Table, name: &str) -> &'t str {
    table.get(name).and_then(toml::Value::as_str).unwrap_or_default()
}

fn in_language(table: &toml::Table, language: &str) -> String {
    let name = table.get("name").and_then(toml::Value::as_table).map(|names| text(names, language)).unwrap_or_default();
    let end = name.find(['（', '(']).unwrap_or(name.len());
    name.get(..end).unwrap_or(name).trim().to_owned()
}

/// How a client reaches people who are not at its browser.
fn elsewhere(table: &toml::Table) -> Option<Elsewhere> {
    let grants = table.get("grant_types").and_then(toml::Value::as_array)?;
    let has = |name: &str| grants.iter().any(|grant| grant.as_str() == Some(name));
    let counter = has("urn:openid:params:grant-type:ciba").then_some(Elsewhere::Counter);
    has("urn:ietf:params:oauth:grant-type:device_code").then_some(Elsewhere::Terminal).or(counter)
}

/// The services that a client offers, the best known first.
fn services_of(client_id: &str) -> Result<Vec<PortalService>, DemoError> {
    let first = FIRST.iter().find(|(id, _)| *id == client_id).map(|(_, first)| *first).unwrap_or_default();
    let mut services = Vec::new();
    for (_, document) in policies::documents::SERVICES {
        let table = table(document)?;
        let clients = table.get("clients").and_then(toml::Value::as_array);
        if !clients.is_some_and(|clients| clients.iter().any(|client| client.as_str() == Some(client_id))) {
            continue;
        }
        let id = text(&table, "service");
        let place = first.iter().position(|known| *known == id).unwrap_or(first.len());
        let service = PortalService {
            resource: text(&table, "resource").to_owned(),
            name_zh: in_language(&table, "zh-Hans"),
            name_en: in_language(&table, "en"),
            claims: None,
            acr_values: None,
            max_age: None,
        };
        services.push((place, service));
    }
    services.sort_by_key(|(place, _)| *place);
    Ok(services.into_iter().map(|(_, service)| service).collect())
}

/// Everybody who takes part.
pub(super) struct Parties {
    pub(super) wire: Wire,
    pub(super) issuer: String,
    pub(super) listen: String,
    pub(super) providers: Vec<ProviderParty>,
    pub(super) portals: Vec<PortalParty>,
}

/// The simulators, ready to be served, in the order of their ports.
pub(super) struct Simulated {
    pub(super) routers: Vec<Router>,
    pub(super) portals: Vec<PortalInfo>,
    pub(super) providers: Vec<ProviderInfo>,
}

impl Parties {
    /// The parties at their addresses; secrets are made on first use and kept.
    pub(super) fn new(data: &Path, listeners: &[TcpListener], wire: Wire) -> Result<Self, DemoError> {
        let address = |index: usize| {
            let bound = listeners.get(index).and_then(|listener| listener.local_addr().ok());
            bound.ok_or_else(|| DemoError::Listen("a port was not bound".to_owned()))
        };
        let url = |index: usize| Ok::<_, DemoError>(format!("https://{HOST}:{}", address(index)?.port()));
        let provider = |id, place, index| {
            let signs = wire == Wire::OpenId && place == Place::Guangdong;
            let secret = if signs { None } else { Some(kept_secret(data, id)?) };
            let wrapped = wire == Wire::Own && place == Place::HongKong;
            let kek = if wrapped { Some(kept(data, &format!("{id}.kek"), rsa_key)?) } else { None };
            Ok::<_, DemoError>(ProviderParty { id, place, issuer: url(index)?, secret, kek })
        };
        Ok(Self {
            wire,
            issuer: url(0)?,
            listen: address(0)?.to_string(),
            providers: vec![
                provider("hk-iam-smart", Place::HongKong, 1)?,
                provider("mo-one-account", Place::Macao, 2)?,
                provider("gd-unified", Place::Guangdong, 3)?,
            ],
            portals: Self::portals(data, url)?,
        })
    }

    /// Every shipped client, at its address.
    fn portals(data: &Path, url: impl Fn(usize) -> Result<String, DemoError>) -> Result<Vec<PortalParty>, DemoError> {
        let mut portals = Vec::new();
        for (_, document) in policies::documents::CLIENTS {
            let table = table(document)?;
            let client_id = text(&table, "client_id").to_owned();
            let auth = match text(&table, "token_endpoint_auth_method") {
                "private_key_jwt" => signing_portal()?,
                _ => PortalAuth::SecretBasic(kept_secret(data, &client_id)?),
            };
            portals.push(PortalParty {
                name: in_language(&table, "en"),
                name_zh: in_language(&table, "zh-Hans"),
                url: String::new(),
                auth,
                elsewhere: elsewhere(&table),
                services: services_of(&client_id)?,
                client_id,
            });
        }
        let place = |id: &str| FIRST.iter().position(|(known, _)| *known == id).unwrap_or(FIRST.len());
        portals.sort_by_key(|portal| place(&portal.client_id));
        for (index, portal) in portals.iter_mut().enumerate() {
            portal.url = url(4 + index)?;
        }
        Ok(portals)
    }

    /// Builds every simulator.
    pub(super) fn simulate(&self, gateway: &Server, tls: &rustls::ClientConfig) -> Result<Simulated, DemoError> {
        let mut simulated = Simulated { routers: Vec::new(), portals: Vec::new(), providers: Vec::new() };
        for party in &self.providers {
            let (router, control) = match self.wire {
                Wire::OpenId => self.openid(party, gateway)?,
                Wire::Own => self.own(party, tls)?,
            };
            simulated.routers.push(router);
            let (id, place, url) = (party.id, party.place, party.issuer.clone());
            simulated.providers.push(ProviderInfo { id, place, url, control });
        }
        for party in &self.portals {
            let http = PortalHttp::new(tls);
            simulated.routers.push(PortalSim::new(party.config(&self.issuer, http)).router());
            simulated.portals.push(PortalInfo {
                name: party.name.clone(),
                url: party.url.clone(),
                client_id: party.client_id.clone(),
            });
        }
        Ok(simulated)
    }
}

/// A simulator's routes and its handle.
type Built = (Router, Simulator);

impl Parties {
    fn callback(&self, party: &ProviderParty) -> String {
        format!("{}/callback/{}", self.issuer, party.id)
    }

    fn openid(&self, party: &ProviderParty, gateway: &Server) -> Result<Built, DemoError> {
        let auth = match &party.secret {
            Some(secret) => ClientAuth::Secret(secret.clone()),
            None => ClientAuth::PrivateKeyJwt { jwks: gateway.app().keys.jwks() },
        };
        let redirect_uris = vec![self.callback(party)];
        let client = RegisteredClient { client_id: CLIENT_ID.to_owned(), redirect_uris, auth };
        let (place, issuer, people) = (party.place, party.issuer.clone(), catalogue(party.place)?);
        let provider = ProviderSim::new(ProviderConfig { place, issuer, clients: vec![client], people })?;
        Ok((provider.router(), Simulator::OpenId(provider.control())))
    }

    fn own(&self, party: &ProviderParty, tls: &rustls::ClientConfig) -> Result<Built, DemoError> {
        let (origin, people) = (party.issuer.clone(), catalogue(party.place)?);
        let (client_id, client_secret) = (CLIENT_ID.to_owned(), party.secret.clone().unwrap_or_default());
        let redirect_uris = vec![self.callback(party)];
        Ok(match party.place {
            Place::HongKong => {
                let client = IamSmartClient {
                    client_id,
                    client_secret,
                    redirect_uris,
                    result_callback: format!("{}/receive/{}", self.issuer, party.id),
                    direct_callback: Some(format!("{}/direct/{}", self.issuer, party.id)),
                    scopes: ["eidapi_auth", "eidapi_profiles", "eidapi_fr"].map(str::to_owned).to_vec(),
                    kek: public_pem(party.kek.as_deref().unwrap_or_default())?,
                };
                let http = PortalHttp::new(tls);
                let simulator = IamSmartSim::new(IamSmartConfig { origin, clients: vec![client], people, http })?;
                (simulator.router(), Simulator::IamSmart(simulator.control()))
            }
            Place::Guangdong => {
                let clients = vec![GuangdongClient { client_id, client_secret, redirect_uris }];
                let simulator = GuangdongSim::new(GuangdongConfig { origin, clients, people })?;
                (simulator.router(), Simulator::Guangdong(simulator.control()))
            }
            Place::Macao => {
                let clients = vec![MacaoClient { client_id, client_secret, redirect_uris }];
                let simulator = MacaoSim::new(MacaoConfig { origin, clients, people })?;
                (simulator.router(), Simulator::Macao(simulator.control()))
            }
        })
    }
}

impl PortalParty {
    fn config(&self, issuer: &str, http: PortalHttp) -> PortalConfig {
        PortalConfig {
            name: self.name.clone(),
            name_zh: self.name_zh.clone(),
            base_url: self.url.clone(),
            issuer: issuer.to_owned(),
            client_id: self.client_id.clone(),
            client_auth: self.auth.clone(),
            scope: "openid profile document email phone".to_owned(),
            services: self.services.clone(),
            elsewhere: self.elsewhere,
            http,
        }
    }

    /// The public keys that its client document holds.
    pub(super) fn jwks(&self) -> Result<Value, DemoError> {
        let PortalAuth::PrivateKeyJwt { jwk } = &self.auth else { return Ok(Value::Null) };
        let members = jwk.as_object().cloned().unwrap_or_default();
        let public = Jwk::from_map(members).and_then(|jwk| jwk.to_public_key()).map_err(SandboxError::from)?;
        let mut public = Value::Object(public.into());
        if let (Some(members), Some(kid)) = (public.as_object_mut(), jwk.get("kid")) {
            members.insert("kid".to_owned(), kid.clone());
        }
        Ok(json!({"keys": [public]}))
    }
}

fn signing_portal() -> Result<PortalAuth, DemoError> {
    let mut jwk = Jwk::generate_ec_key(EcCurve::P256).map_err(SandboxError::from)?;
    jwk.set_key_id("portal-1");
    jwk.set_algorithm("ES256");
    Ok(PortalAuth::PrivateKeyJwt { jwk: Value::Object(jwk.into()) })
}

/// A new RSA key, in PKCS#8 PEM.
fn rsa_key() -> Result<String, DemoError> {
    let key = RsaKeyPair::generate(2048).map_err(SandboxError::from)?;
    String::from_utf8(key.to_pem_private_key()).map_err(|error| DemoError::Configuration(error.to_string()))
}

/// The public half of a private key, as a provider gets it.
fn public_pem(private: &str) -> Result<String, DemoError> {
    let key = RsaKeyPair::from_pem(private).map_err(SandboxError::from)?;
    String::from_utf8(key.to_pem_public_key()).map_err(|error| DemoError::Configuration(error.to_string()))
}

/// A random secret that is made once and kept.
fn kept_secret(data: &Path, name: &str) -> Result<String, DemoError> {
    kept(data, name, || Ok(Entropy::default().token()?.expose().clone()))
}

/// Something secret that is made once and kept in a file only its owner can read.
fn kept(data: &Path, name: &str, make: impl FnOnce() -> Result<String, DemoError>) -> Result<String, DemoError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let folder = data.join("secrets");
    fs::create_dir_all(&folder).map_err(DemoError::file(&folder))?;
    let path = folder.join(name);
    if let Ok(secret) = fs::read_to_string(&path) {
        return Ok(secret);
    }
    let secret = make()?;
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(DemoError::file(&path))?;
    file.write_all(secret.as_bytes()).map_err(DemoError::file(&path))?;
    Ok(secret)
}
