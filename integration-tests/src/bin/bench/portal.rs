//! A portal's back end, in each profile: how it asks, redeems, refreshes, and asks about tokens.

use std::sync::{Mutex, PoisonError};

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use ::http::{Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::Failed;
use crate::jose::{self, Key};
use crate::login::{Fault, at, refused};
use crate::site::{REDIRECT, Site};

/// The portal that most figures are of, at the gateway and at the comparison alike.
pub(crate) const CLIENT: &str = "gd-government-service-network";
/// The other service: a back end acts there for itself, and tokens are exchanged for its own.
pub(crate) const OTHER: &str = "https://services.example/bench-archive";
/// The secret of the portals that have one.
pub(crate) const SECRET: &str = "only-of-this-benchmark";

/// What a portal is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// A secret, and neither PKCE nor keys.
    Legacy,
    /// PKCE, and assertions.
    Baseline,
    /// Assertions, pushed requests, proofs of possession.
    Fapi2,
}

/// A portal.
pub(crate) struct Rp {
    /// Its identifier.
    pub(crate) id: &'static str,
    /// What it is held to.
    pub(crate) profile: Profile,
    /// What it signs its proofs with.
    proof_key: Key,
    /// The last nonce that it was given, as libraries keep it.
    nonce: Mutex<Option<String>>,
}

/// What one login is asked with, and what has to come back with it.
pub(crate) struct Asked {
    /// Where the browser is sent.
    pub(crate) url: String,
    /// Comes back unchanged.
    pub(crate) state: String,
    nonce: String,
    verifier: String,
    /// Requests of the back end for it.
    pub(crate) requests: u32,
}

/// What a code was redeemed for.
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) subject: String,
}

/// Headers and body of a request.
type Parts = (Vec<(&'static str, String)>, String);

impl Rp {
    /// A portal with keys of its own.
    pub(crate) fn new(id: &'static str, profile: Profile) -> Result<Self, Failed> {
        Ok(Self { id, profile, proof_key: Key::es256()?, nonce: Mutex::default() })
    }

    /// What a login begins with: the address for the browser. `more` are further parameters.
    pub(crate) async fn ask(&self, site: &Site, more: &[(&str, &str)]) -> Result<Asked, Fault> {
        let (state, nonce, verifier) = (jose::token()?, jose::token()?, jose::token()?);
        let challenge = jose::s256(&verifier);
        let mut params = vec![
            ("response_type", "code"),
            ("client_id", self.id),
            ("redirect_uri", REDIRECT),
            ("scope", site.kind.scope),
            ("state", &state),
            ("nonce", &nonce),
        ];
        if self.profile != Profile::Legacy {
            params.extend([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]);
        }
        params.extend(site.kind.resource.map(|resource| ("resource", resource)));
        params.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        params.extend(more);
        let mut url = Url::parse(&site.authorization_endpoint).map_err(|_| Fault::from("no address".to_owned()))?;
        let mut requests = 0;
        if self.profile == Profile::Fapi2 {
            let pushed = self.post(site, &site.par_endpoint, &params, false, StatusCode::CREATED).await?;
            let uri = pushed.get("request_uri").and_then(Value::as_str).unwrap_or_default();
            url.query_pairs_mut().append_pair("client_id", self.id).append_pair("request_uri", uri);
            requests = 1;
        } else {
            url.query_pairs_mut().extend_pairs(params);
        }
        Ok(Asked { url: url.into(), state, nonce, verifier, requests })
    }

    /// Redeems a code.
    pub(crate) async fn redeem(&self, site: &Site, code: &str, asked: &Asked) -> Result<Tokens, Fault> {
        let mut form = vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT)];
        if self.profile != Profile::Legacy {
            form.push(("code_verifier", &asked.verifier));
        }
        let answer = self.post(site, &site.token_endpoint, &form, true, StatusCode::OK).await?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let claims = text("id_token").and_then(|token| jose::claims(&token)).unwrap_or_default();
        let is = |name: &str, wanted: &str| claims.get(name).and_then(Value::as_str) == Some(wanted);
        let subject = claims.get("sub").and_then(Value::as_str).map(str::to_owned);
        match (text("access_token"), subject) {
            (Some(access), Some(subject))
                if is("iss", &site.issuer) && is("aud", self.id) && is("nonce", &asked.nonce) =>
            {
                Ok(Tokens { access, refresh: text("refresh_token"), subject })
            }
            _ => Err(Fault::with("the token answer does not hold", answer.to_string())),
        }
    }

    /// Uses a refresh token; what to use the next time.
    pub(crate) async fn refresh(&self, site: &Site, tokens: Tokens) -> Result<Tokens, Fault> {
        let old = tokens.refresh.ok_or_else(|| Fault::from("no refresh token".to_owned()))?;
        let form = [("grant_type", "refresh_token"), ("refresh_token", old.as_str())];
        let answer = self.post(site, &site.token_endpoint, &form, true, StatusCode::OK).await?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        match text("access_token") {
            Some(access) => {
                Ok(Tokens { access, refresh: text("refresh_token").or(Some(old)), subject: tokens.subject })
            }
            None => Err(Fault::with("the token answer does not hold", answer.to_string())),
        }
    }

    /// Asks what a token is good for.
    pub(crate) async fn introspect(&self, site: &Site, tokens: &Tokens) -> Result<(), Fault> {
        let form = [("token", tokens.access.as_str())];
        let answer = self.post(site, &site.introspection_endpoint, &form, false, StatusCode::OK).await?;
        match answer.get("active").and_then(Value::as_bool) {
            Some(true) => Ok(()),
            _ => Err(Fault::with("the token is good for nothing", answer.to_string())),
        }
    }

    /// Fetches the claims, which must be of the same person.
    pub(crate) async fn userinfo(&self, site: &Site, tokens: &Tokens) -> Result<(), Fault> {
        let bound = self.profile == Profile::Fapi2;
        let scheme = if bound { "DPoP" } else { "Bearer" };
        let url = &site.userinfo_endpoint;
        let answer = self
            .proven(site, Method::GET, url, bound.then_some(tokens.access.as_str()), bound, &|| {
                Ok((vec![("authorization", format!("{scheme} {}", tokens.access))], String::new()))
            })
            .await?;
        let claims = expected(url, answer, StatusCode::OK)?;
        let named = claims.get("name").and_then(Value::as_str).is_some_and(|name| name == "CHAN, Tai Man");
        if named && claims.get("sub").and_then(Value::as_str) == Some(&tokens.subject) {
            return Ok(());
        }
        Err(Fault::with("the claims do not hold", claims.to_string()))
    }

    /// Gets a token to act for itself.
    pub(crate) async fn client_credentials(&self, site: &Site) -> Result<(), Fault> {
        let form = [("grant_type", "client_credentials"), ("resource", OTHER)];
        self.post(site, &site.token_endpoint, &form, true, StatusCode::OK).await.map(drop)
    }

    /// Exchanges a token for one of another service.
    pub(crate) async fn exchange(&self, site: &Site, tokens: &Tokens) -> Result<(), Fault> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", tokens.access.as_str()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("resource", OTHER),
        ];
        self.post(site, &site.token_endpoint, &form, true, StatusCode::OK).await.map(drop)
    }

    /// Asks for a terminal; its device code, and the address that its person opens.
    pub(crate) async fn device(&self, site: &Site) -> Result<(String, String), Fault> {
        let form = [("scope", "openid"), ("resource", OTHER)];
        let url = format!("{}/device_authorization", site.issuer);
        let answer = self.post(site, &url, &form, false, StatusCode::OK).await?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let asked = text("device_code").zip(text("verification_uri_complete"));
        asked.ok_or_else(|| Fault::with("no device code", answer.to_string()))
    }

    /// Comes for the answer of a terminal that nobody has opened, or of somebody who has not answered.
    pub(crate) async fn poll(&self, site: &Site, (grant, name): (&str, &str), code: &str) -> Result<(), Fault> {
        let form = [("grant_type", grant), (name, code)];
        let answer = self.post(site, &site.token_endpoint, &form, true, StatusCode::BAD_REQUEST).await?;
        match answer.get("error").and_then(Value::as_str) {
            Some("authorization_pending" | "slow_down") => Ok(()),
            _ => Err(Fault::with("the answer of a terminal does not hold", answer.to_string())),
        }
    }

    /// Comes for the answer of somebody who has answered.
    pub(crate) async fn collect(&self, site: &Site, (grant, name): (&str, &str), code: &str) -> Result<(), Fault> {
        let form = [("grant_type", grant), (name, code)];
        let answer = self.post(site, &site.token_endpoint, &form, true, StatusCode::OK).await?;
        let claims = answer.get("id_token").and_then(Value::as_str).and_then(jose::claims).unwrap_or_default();
        match claims.get("aud").and_then(Value::as_str) {
            Some(audience) if audience == self.id => Ok(()),
            _ => Err(Fault::with("the token answer does not hold", answer.to_string())),
        }
    }

    /// Asks somebody where they are; what to come for the answer with.
    pub(crate) async fn backchannel(&self, site: &Site, subject: &str) -> Result<String, Fault> {
        let resource = site.kind.resource.unwrap_or_default();
        let form = [("scope", "openid"), ("resource", resource), ("login_hint", subject)];
        let url = format!("{}/bc-authorize", site.issuer);
        let answer = self.post(site, &url, &form, false, StatusCode::OK).await?;
        let id = answer.get("auth_req_id").and_then(Value::as_str).map(str::to_owned);
        id.ok_or_else(|| Fault::with("no auth_req_id", answer.to_string()))
    }

    /// Posts a form, authenticated as this portal is registered; with a proof where its tokens are bound.
    async fn post(
        &self,
        site: &Site,
        url: &str,
        form: &[(&str, &str)],
        mints: bool,
        status: StatusCode,
    ) -> Result<Value, Fault> {
        let authenticated = || {
            let kind = (CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded".to_owned());
            let mut body = form_urlencoded::Serializer::new(String::new());
            body.extend_pairs(form);
            if self.profile == Profile::Legacy {
                let basic = STANDARD.encode(format!("{}:{SECRET}", self.id));
                return Ok((vec![kind, (AUTHORIZATION.as_str(), format!("Basic {basic}"))], body.finish()));
            }
            let now = jose::now();
            let assertion = site.portal.key.sign(&json!({
                "iss": self.id, "sub": self.id, "aud": site.issuer, "jti": jose::token()?, "iat": now, "exp": now + 60,
            }))?;
            if !form.iter().any(|(name, _)| *name == "client_id") {
                body.append_pair("client_id", self.id);
            }
            body.append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                .append_pair("client_assertion", &assertion);
            Ok((vec![kind], body.finish()))
        };
        let bound = mints && self.profile == Profile::Fapi2;
        let answer = self.proven(site, Method::POST, url, None, bound, &authenticated).await?;
        expected(url, answer, status)
    }

    /// Sends a request; where a proof goes with it and its nonce is not taken, once more with the one that was handed out.
    async fn proven(
        &self,
        site: &Site,
        method: Method,
        url: &str,
        token: Option<&str>,
        bound: bool,
        parts: &(dyn Fn() -> Result<Parts, Fault> + Sync),
    ) -> Result<crate::http::Answer, Fault> {
        let kept = || self.nonce.lock().unwrap_or_else(PoisonError::into_inner);
        for last in [false, true] {
            let (headers, body) = parts()?;
            let mut request = Request::builder().method(method.clone()).uri(url).header(ACCEPT, "application/json");
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if bound {
                let nonce = kept().clone();
                request = request.header("dpop", self.proof(method.as_str(), url, nonce.as_deref(), token)?);
            }
            let request = request.body(Full::new(Bytes::from(body))).map_err(|error| Fault::from(error.to_string()))?;
            let address = Url::parse(url).map_err(|_| Fault::from("an address that is none".to_owned()))?;
            let answer = site.back_end.send(request).await.map_err(|error| at(&address, &error))?;
            if let Some(next) = answer.headers.get("dpop-nonce").and_then(|nonce| nonce.to_str().ok()) {
                *kept() = Some(next.to_owned());
            }
            if last || !bound || !String::from_utf8_lossy(&answer.body).contains("use_dpop_nonce") {
                return Ok(answer);
            }
        }
        Err(Fault::from("no answer".to_owned()))
    }

    fn proof(&self, method: &str, url: &str, nonce: Option<&str>, token: Option<&str>) -> Result<String, Failed> {
        let (ath, jti) = (token.map(jose::s256), jose::token()?);
        let mut claims = json!({"jti": jti, "htm": method, "htu": url, "iat": jose::now(), "nonce": nonce, "ath": ath});
        if let Some(members) = claims.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        self.proof_key.sign_typed("dpop+jwt", true, &claims)
    }
}

fn expected(url: &str, answer: crate::http::Answer, status: StatusCode) -> Result<Value, Fault> {
    let address = Url::parse(url).map_err(|_| Fault::from("an address that is none".to_owned()))?;
    if answer.status != status {
        return Err(refused(&address, &answer));
    }
    serde_json::from_slice(&answer.body).map_err(|_| refused(&address, &answer))
}
