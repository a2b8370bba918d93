//! tmp
use sandbox::{people, provider::*, portal::*};
#[tokio::main]
async fn main() {
    for (i, place) in [Place::HongKong, Place::Macao, Place::Guangdong].into_iter().enumerate() {
        let port = 18080 + i;
        let sim = ProviderSim::new(ProviderConfig { place, issuer: format!("http://localhost:{port}"), clients: vec![RegisteredClient { client_id: "gw".into(), redirect_uris: vec!["https://x.example/cb".into()], auth: ClientAuth::Secret("s".into()) }], people: people::catalogue(place).unwrap() }).unwrap();
        let l = tokio::net::TcpListener::bind(("127.0.0.1", port as u16)).await.unwrap();
        tokio::spawn(async move { axum::serve(l, sim.router()).await.unwrap() });
    }
    let p = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let c = rustls::ClientConfig::builder_with_provider(p).with_safe_default_protocol_versions().unwrap().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let portal = PortalSim::new(PortalConfig { name: "Sample Guangdong portal".into(), name_zh: "示例政务服务门户".into(), base_url: "http://localhost:18083".into(), issuer: "https://localhost:1".into(), client_id: "p".into(), client_auth: PortalAuth::SecretBasic("s".into()), scope: "openid".into(), http: PortalHttp::new(&c), services: vec![PortalService { resource: "https://p.example/s/1".into(), name_zh: "异地就医备案".into(), name_en: "Medical treatment in another place".into(), claims: None, acr_values: None, max_age: None }] });
    let l = tokio::net::TcpListener::bind(("127.0.0.1", 18083)).await.unwrap();
    axum::serve(l, portal.router()).await.unwrap();
}
