//! A relying party that says exactly what a test wants it to say.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use serde_json::Value;
use url::Url;

use crate::browser::{Browser, Reply, encode};

/// A client of the gateway with a secret.
#[derive(Clone)]
pub struct Rp {
    /// The gateway.
    pub issuer: String,
    /// Its identifier.
    pub client_id: String,
    /// Its secret; `None` for a public client.
    pub secret: Option<String>,
    /// Where answers go.
    pub redirect_uri: String,
    /// For its back-channel requests.
    pub http: Browser,
}

/// The PKCE verifier of every test request.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Its challenge (RFC 7636 appendix B).
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

impl Rp {
    /// The parameters of a sound request for `service`.
    #[must_use]
    pub fn params(&self, service: &str) -> Vec<(String, String)> {
        let resource = format!("https://services.example/{service}");
        [
            ("client_id", self.client_id.as_str()),
            ("redirect_uri", &self.redirect_uri),
            ("response_type", "code"),
            ("scope", "openid profile document email phone"),
            ("state", "state-1"),
            ("nonce", "nonce-1"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The address of a request; `changes` replace parameters, or remove them when empty.
    #[must_use]
    pub fn authorize(&self, service: &str, changes: &[(&str, &str)]) -> String {
        let mut params = self.params(service);
        for (name, value) in changes {
            params.retain(|(n, _)| n != name);
            if !value.is_empty() {
                params.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        let pairs: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        format!("{}/authorize?{}", self.issuer, encode(&pairs))
    }

    /// The form of a token request.
    #[must_use]
    pub fn token_form<'a>(&'a self, code: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", VERIFIER),
        ]
    }

    /// Sends a token request with this form, authenticated as registered.
    pub async fn token(&self, form: &[(&str, &str)]) -> Reply {
        self.post("/token", form).await
    }

    /// Sends a form to one of the gateway's endpoints, authenticated as registered.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        let mut http = self.http.clone();
        let url = format!("{}{path}", self.issuer);
        match &self.secret {
            Some(secret) => {
                let basic = format!("Basic {}", STANDARD.encode(format!("{}:{secret}", self.client_id)));
                http.send(Method::POST, &url, Some(encode(form)), &[("authorization", &basic)]).await
            }
            None => {
                let mut form = form.to_vec();
                form.push(("client_id", &self.client_id));
                http.send(Method::POST, &url, Some(encode(&form)), &[]).await
            }
        }
    }

    /// Redeems a code.
    pub async fn redeem(&self, code: &str) -> Reply {
        self.token(&self.token_form(code)).await
    }

    /// Asks for the claims of a token.
    pub async fn userinfo(&self, access_token: &str) -> Reply {
        let bearer = format!("Bearer {access_token}");
        let url = format!("{}/userinfo", self.issuer);
        self.http.clone().send(Method::GET, &url, None, &[("authorization", &bearer)]).await
    }
}

/// A parameter of a redirect's query.
#[must_use]
pub fn query(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
}

/// The claims of a token, its signature unlooked at.
#[must_use]
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a payload");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}
