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
use crate::portal::{PortalAuth, PortalConfig, PortalHttp, PortalService, PortalSim};
use crate::provider::{ClientAuth, ProviderConfig, ProviderSim, RegisteredClient};

/// How many ports are needed: the gateway, the providers, the portals.
pub(super) const COUNT: u16 = 7;

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

/// A portal of the demonstration.
pub(super) struct PortalParty {
    pub(super) client_id: &'static str,
    pub(super) name: &'static str,
    pub(super) name_zh: &'static str,
    pub(super) url: String,
    pub(super) auth: PortalAuth,
    pub(super) services: &'static [Offer],
}

/// A service as a portal offers it: id, names, and what it asks for.
pub(super) struct Offer {
    id: &'static str,
    name_zh: &'static str,
    name_en: &'static str,
    max_age: Option<u64>,
}

const fn offer(id: &'static str, name_zh: &'static str, name_en: &'static str) -> Offer {
    Offer { id, name_zh, name_en, max_age: None }
}

const NETWORK: &[Offer] = &[
    offer("social-insurance-record", "社保参保缴费记录查询", "Social insurance record"),
    offer("driving-licence-exchange", "港澳驾驶证换领", "Driving licence exchange"),
    offer("marriage-registration-appointment", "婚姻登记预约", "Marriage registration appointment"),
    offer("lodging-registration", "住宿登记", "Lodging registration"),
    offer("company-registration", "商事登记", "Company registration"),
    offer("school-enrolment", "随迁子女入学", "School enrolment"),
    offer("medical-appointment", "预约挂号", "Medical appointments"),
    offer("e-invoice", "电子票据", "Electronic invoices"),
    offer("ratings", "政务服务好差评", "Ratings of public services"),
];

const BAY_AREA: &[Offer] = &[
    offer("transit-card", "公共交通一卡通", "Public transport card"),
    offer("medical-appointment", "预约挂号", "Medical appointments"),
    offer("school-enrolment", "随迁子女入学", "School enrolment"),
    offer("e-invoice", "电子票据", "Electronic invoices"),
];

const ENQUIRY: &[Offer] = &[offer("hk-cross-boundary-enquiry", "香港跨境事務查詢", "Hong Kong cross-boundary enquiry")];

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
        let portal = |client_id, name, name_zh, index, auth, services| {
            Ok::<_, DemoError>(PortalParty { client_id, name, name_zh, url: url(index)?, auth, services })
        };
        let (network, bay, hong_kong) =
            ("gd-government-service-network", "gd-bay-area-services", "hk-cross-boundary-enquiry");
        let (bay_secret, hong_kong_secret) = (kept_secret(data, bay)?, kept_secret(data, hong_kong)?);
        Ok(Self {
            wire,
            issuer: url(0)?,
            listen: address(0)?.to_string(),
            providers: vec![
                provider("hk-iam-smart", Place::HongKong, 1)?,
                provider("mo-one-account", Place::Macao, 2)?,
                provider("gd-unified", Place::Guangdong, 3)?,
            ],
            portals: vec![
                portal(
                    network,
                    "Guangdong Government Service Network",
                    "广东政务服务网",
                    4,
                    signing_portal()?,
                    NETWORK,
                )?,
                portal(bay, "Bay Area Services", "湾事通", 5, PortalAuth::SecretBasic(bay_secret), BAY_AREA)?,
                portal(
                    hong_kong,
                    "Hong Kong cross-boundary enquiries",
                    "香港跨境事務查詢",
                    6,
                    PortalAuth::SecretBasic(hong_kong_secret),
                    ENQUIRY,
                )?,
            ],
        })
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
            simulated.portals.push(PortalInfo { name: party.name, url: party.url.clone(), client_id: party.client_id });
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
        let service = |offer: &Offer| PortalService {
            resource: format!("https://services.example/{}", offer.id),
            name_zh: offer.name_zh.to_owned(),
            name_en: offer.name_en.to_owned(),
            claims: None,
            acr_values: None,
            max_age: offer.max_age,
        };
        PortalConfig {
            name: self.name.to_owned(),
            name_zh: self.name_zh.to_owned(),
            base_url: self.url.clone(),
            issuer: issuer.to_owned(),
            client_id: self.client_id.to_owned(),
            client_auth: self.auth.clone(),
            scope: "openid profile document email phone".to_owned(),
            services: self.services.iter().map(service).collect(),
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
