//! What every test of the platform needs: requests, the way through the form, and whole logins.

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use url::form_urlencoded;

use super::super::{Generation, GuangdongClient, GuangdongConfig, GuangdongSim, form_handle};
use crate::people::{Place, catalogue};
use crate::web;

pub(super) const ORIGIN: &str = "https://localhost:9445";
pub(super) const CALLBACK: &str = "https://gateway.example/callback/gd?flow=f-1%2B2";
pub(super) const GENERATIONS: [Generation; 3] = [Generation::Legacy, Generation::Middle, Generation::Current];

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) location: String,
    pub(super) cookie: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// All parameters of the redirect, in their order.
    pub(super) fn params(&self) -> Vec<(String, String)> {
        let query = self.location.split_once('?').map(|(_, query)| query).unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    pub(super) fn code(&self) -> String {
        let codes: Vec<_> = self.params().into_iter().filter(|(name, _)| name == "code").collect();
        assert_eq!(codes.len(), 1, "{}", self.location);
        codes.into_iter().next().unwrap().1
    }

    /// The cookie as the browser sends it back.
    pub(super) fn cookie_pair(&self) -> &str {
        self.cookie.split(';').next().unwrap()
    }
}

pub(super) struct Bench {
    pub(super) sim: GuangdongSim,
}

impl Bench {
    pub(super) fn new() -> Self {
        let client = |id: &str| GuangdongClient {
            client_id: id.to_owned(),
            client_secret: format!("{id}-secret/+"),
            redirect_uris: vec!["https://gateway.example/callback/gd".to_owned()],
        };
        let config = GuangdongConfig {
            origin: ORIGIN.to_owned(),
            clients: vec![client("gateway"), client("other")],
            people: catalogue(Place::Guangdong).unwrap(),
        };
        Self { sim: GuangdongSim::new(config).unwrap() }
    }

    pub(super) async fn send(&self, method: Method, path: &str, cookie: &str, body: String) -> Reply {
        let request = Request::builder().method(method).uri(path).header(header::COOKIE, cookie);
        let response = self.sim.router().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let text = |name| {
            let value = response.headers().get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        let (status, location, cookie) = (response.status(), text(header::LOCATION), text(header::SET_COOKIE));
        let body = response.into_body().collect().await.unwrap().to_bytes().to_vec();
        Reply { status, location, cookie, body }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, "", String::new()).await
    }

    pub(super) async fn authorize(&self, generation: Generation, changed: &[(&str, &str)], cookie: &str) -> Reply {
        let path = with(&format!("{}/authorize", generation.base()), AUTHORIZE, changed);
        self.send(Method::GET, &path, cookie, String::new()).await
    }

    /// From the authorization request to the login form's hidden handle.
    pub(super) async fn form(&self, generation: Generation, changed: &[(&str, &str)]) -> String {
        let first = self.authorize(generation, changed, "").await;
        let page = match generation.landing() {
            None => first,
            Some(landing) => {
                assert_eq!(first.status, StatusCode::SEE_OTHER, "{}", first.text());
                let path = first.location.strip_prefix(ORIGIN).unwrap();
                assert!(path.starts_with(&format!("{landing}?redirect_uri=https%3A%2F%2F")), "{path}");
                assert!(path.contains("&client_id=gateway"), "{path}");
                self.get(path).await
            }
        };
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        form_handle(&page.text()).unwrap().to_owned()
    }

    pub(super) async fn decide(&self, handle: &str, choice: &[(&str, &str)]) -> Reply {
        let mut form = vec![("handle", handle)];
        form.extend_from_slice(choice);
        self.send(Method::POST, "/login/decide", "", web::encode(&form)).await
    }

    pub(super) async fn press(&self, generation: Generation, person: &str) -> Reply {
        let handle = self.form(generation, &[]).await;
        self.decide(&handle, &[("person", person)]).await
    }

    pub(super) async fn redeem(&self, generation: Generation, code: &str, changed: &[(&str, &str)]) -> Reply {
        let mut all = vec![("code", code)];
        all.extend_from_slice(changed);
        self.get(&with(&format!("{}/access_token", generation.base()), TOKEN, &all)).await
    }

    pub(super) async fn tokeninfo(&self, generation: Generation, access_token: &str) -> Reply {
        self.get(&with(&format!("{}/tokeninfo", generation.base()), &[], &[("access_token", access_token)])).await
    }

    /// A whole token call with a fresh code.
    pub(super) async fn token(&self, generation: Generation, person: &str) -> Reply {
        let code = self.press(generation, person).await.code();
        self.redeem(generation, &code, &[]).await
    }

    /// A whole login, as `tokeninfo` tells it.
    pub(super) async fn login(&self, generation: Generation, person: &str) -> Reply {
        let answer = self.token(generation, person).await.json();
        self.tokeninfo(generation, answer["access_token"].as_str().unwrap()).await
    }
}

pub(super) const AUTHORIZE: &[(&str, &str)] = &[
    ("client_id", "gateway"),
    ("service", "initService"),
    ("scope", "all"),
    ("response_type", "code"),
    ("redirect_uri", CALLBACK),
];

pub(super) const TOKEN: &[(&str, &str)] = &[
    ("client_id", "gateway"),
    ("client_secret", "gateway-secret/+"),
    ("code", ""),
    ("scope", "all"),
    ("redirect_uri", CALLBACK),
    ("grant_type", "authorization_code"),
];

/// The address with `right` parameters, of which those in `changed` have another value or are new.
pub(super) fn with(path: &str, right: &[(&str, &str)], changed: &[(&str, &str)]) -> String {
    let is_right = |(name, _): &&(&str, &str)| changed.iter().all(|(other, _)| other != name);
    let pairs: Vec<_> = right.iter().filter(is_right).chain(changed).copied().collect();
    web::with_query(path, &pairs)
}

pub(super) fn extproperty<'a>(userobj: &'a Value, wanted: &str) -> Option<&'a str> {
    let list = userobj.get("extproperties").or(userobj.get("extProperties"))?.as_array()?;
    let parted = list.iter().filter_map(|entry| entry.as_str()?.split_once('='));
    parted.filter(|(key, _)| *key == wanted).map(|(_, value)| value).next()
}
