//! A federation for tests (OpenID Federation 1.0): an anchor, somebody in the middle and a portal, at one site.

use certs::jws;
use certs::key::{Algorithm, SigningKey};
use gateway::control::{self, Office, Order};
use serde_json::{Value, json};

use crate::browser::Reply;
use crate::keyed::{Keyed, SERVICE, object};
use crate::rp::query;
use crate::servers::{Site, free_port};
use crate::world::{NOTICE, World, client_document, service_document};

/// The type of the mark that portals have to show.
pub const MARK: &str = "https://marks.example/government-portal";
/// The document under which portals join.
pub const DOCUMENT: &str = "federated";

/// A federation at one site: an anchor, somebody in the middle, a portal. Each has a key of its own.
pub struct Federation {
    /// The site.
    pub site: Site,
    /// Its port.
    pub port: u16,
    keys: Vec<SigningKey>,
    /// The key with which the portal signs what it asks.
    pub portal_key: SigningKey,
}

/// Whom the gateway believes.
pub const ANCHOR: usize = 0;
/// Its subordinate, and the superior of the portal and of the gateway.
pub const MIDDLE: usize = 1;
/// The portal.
pub const PORTAL: usize = 2;
/// How their paths begin.
pub const NAMES: [&str; 3] = ["anchor", "middle", "portal"];

impl Federation {
    /// Its identifier.
    #[must_use]
    pub fn entity(&self, who: usize) -> String {
        format!("https://localhost:{}/{}", self.port, NAMES[who])
    }

    /// Now, in seconds since 1970.
    #[must_use]
    pub fn now() -> u64 {
        use gateway::ports::Clock as _;
        gateway::ports::SystemClock.now().0
    }

    fn jwks(&self, who: usize) -> Value {
        json!({"keys": [self.keys[who].public_jwk()]})
    }

    fn sign(&self, who: usize, typ: &str, claims: &Value) -> String {
        jws::sign(&self.keys[who], typ, &object(claims.clone())).expect("sound")
    }

    /// What an entity says of itself.
    pub fn own(&self, who: usize, more: &Value) {
        let entity = self.entity(who);
        let mut said = json!({
            "iss": entity, "sub": entity, "iat": Self::now(), "exp": Self::now() + 900, "jwks": self.jwks(who),
            "metadata": {"federation_entity": {"federation_fetch_endpoint": format!("{entity}/fetch")}},
        });
        if who > 0 {
            said["authority_hints"] = json!([self.entity(who - 1)]);
        }
        said.as_object_mut().expect("sound").extend(object(more.clone()));
        let at = format!("/{}/.well-known/openid-federation", NAMES[who]);
        self.site.answers_at(&at, 200, vec![], &self.sign(who, "entity-statement+jwt", &said));
    }

    /// What the one above says of an entity.
    pub fn vouch(&self, who: usize, more: &Value) {
        let mut said = json!({
            "iss": self.entity(who - 1), "sub": self.entity(who), "iat": Self::now(), "exp": Self::now() + 900,
            "jwks": self.jwks(who),
        });
        said.as_object_mut().expect("sound").extend(object(more.clone()));
        let sub: String = url::form_urlencoded::byte_serialize(self.entity(who).as_bytes()).collect();
        let at = format!("/{}/fetch?sub={sub}", NAMES[who - 1]);
        self.site.answers_at(&at, 200, vec![], &self.sign(who - 1, "entity-statement+jwt", &said));
    }

    /// Where the portal's answers go.
    #[must_use]
    pub fn redirect(&self) -> String {
        format!("{}/callback", self.entity(PORTAL))
    }

    /// What the portal says of itself as a relying party.
    #[must_use]
    pub fn metadata(&self) -> Value {
        json!({
            "client_registration_types": ["automatic"], "redirect_uris": [self.redirect()], "client_name": "南沙便民门户",
            "jwks": {"keys": [self.portal_key.public_jwk()]}, "response_types": ["code"],
            "id_token_signed_response_alg": "ES256",
        })
    }

    /// A mark of the anchor about the portal.
    #[must_use]
    pub fn mark(&self, more: &Value) -> Value {
        let mut mark = json!({
            "iss": self.entity(ANCHOR), "sub": self.entity(PORTAL), "trust_mark_type": MARK, "iat": Self::now(),
        });
        mark.as_object_mut().expect("sound").extend(object(more.clone()));
        json!({"trust_mark_type": MARK, "trust_mark": self.sign(ANCHOR, "trust-mark+jwt", &mark)})
    }

    /// The portal, saying this of itself.
    pub fn portal(&self, metadata: &Value) {
        let types = json!({"openid_relying_party": metadata});
        self.own(PORTAL, &json!({"metadata": types, "trust_marks": [self.mark(&json!({}))]}));
    }

    async fn at(data: &std::path::Path, port: u16) -> Self {
        let site = Site::open(data, port, 404, "").await;
        let key = || SigningKey::generate(Algorithm::ES256).expect("sound");
        let federation = Self { site, port, keys: vec![key(), key(), key()], portal_key: key() };
        federation.own(ANCHOR, &json!({"trust_mark_issuers": {MARK: [federation.entity(ANCHOR)]}}));
        federation.own(MIDDLE, &json!({}));
        federation.vouch(MIDDLE, &json!({}));
        federation.vouch(PORTAL, &json!({}));
        federation.portal(&federation.metadata());
        federation
    }

    fn document(&self) -> String {
        format!(
            "federation = \"gba\"\njurisdictions = [\"CN-GD\", \"HK\"]\nanchor = \"{}\"\njwks = '{}'\norigins = [\"https://localhost:{}\"]\nsuperiors = [\"{}\"]\n",
            self.entity(ANCHOR),
            self.jwks(ANCHOR),
            self.port,
            self.entity(MIDDLE)
        )
    }
}

/// A client document under which portals of the federation join, with further terms.
#[must_use]
pub fn terms(port: u16, more: &str) -> String {
    let document = client_document(DOCUMENT, "https://unused.example/", "none", "profile = \"baseline\"");
    let document = document.replace("redirect_uris = [\"https://unused.example/\"]\n", "").replace(NOTICE, "").replace(
        "token_endpoint_auth_method = \"none\"",
        &format!("default_service = \"{SERVICE}\"\nrefresh_lifetime = \"8h\""),
    );
    format!(
        "{document}[registration]\nfederation = \"gba\"\ntrust_marks = [\"{MARK}\"]\n\
         origins = [\"https://localhost:{port}\"]\n{more}\n"
    )
}

/// A world that believes the federation, and lets its portals in.
pub async fn world(more: &str) -> (World, Federation) {
    let (folder, port) = (tempfile::tempdir().expect("sound"), free_port());
    let data = folder.path().join("data");
    // The site needs an authority that the gateway believes, and the gateway the keys of the site's anchor.
    drop(World::at(&data, &[]).await);
    let federation = Federation::at(&data, port).await;
    let documents = [
        ("federations/gba.toml".to_owned(), federation.document()),
        (format!("clients/{DOCUMENT}.toml"), terms(port, more)),
        (format!("services/{SERVICE}.toml"), service_document(SERVICE, &[DOCUMENT], &["hk-iam-smart"], "")),
    ];
    let documents: Vec<(&str, &str)> = documents.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let world = World::at(&data, &documents).await.keeping(folder);
    (world, federation)
}

/// The portal, as a client of this world.
#[must_use]
pub fn client(world: &World, federation: &Federation) -> Keyed {
    let key =
        SigningKey::from_pkcs8(Algorithm::ES256, &federation.portal_key.to_pkcs8().expect("sound")).expect("sound");
    let mut keyed = Keyed::of(world, "unused", key);
    keyed.rp.client_id = federation.entity(PORTAL);
    keyed.rp.redirect_uri = federation.redirect();
    keyed
}

/// A request by a signed object in the query.
#[must_use]
pub fn signed(client: &Keyed, more: &Value) -> String {
    let request = client.request_object(&client.request_claims(more));
    let query = [("client_id", client.rp.client_id.as_str()), ("response_type", "code"), ("scope", "openid")];
    let query = query.into_iter().chain([("request", request.as_str())]).collect::<Vec<_>>();
    format!("{}/authorize?{}", client.rp.issuer, crate::browser::encode(&query))
}

/// Whoever is on the roll of clients, as officers see it.
pub async fn listed(world: &World) -> Vec<Value> {
    let app = world.demo.gateway.app();
    let office = Office { store: &app.store, seals: &app.seals, source: app.source(), usage: None, now: app.now() };
    control::carry_out(Order::Portals, &office).await.expect("sound").as_array().expect("sound").clone()
}

/// Redeems a code as the portal: by an assertion.
pub async fn redeem(client: &Keyed, back: &url::Url) -> Reply {
    let code = query(back, "code").unwrap_or_else(|| panic!("no code: {back}"));
    client.send("/token", &client.code_form(&code), &[]).await
}
