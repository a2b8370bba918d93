//! A lean upstream provider inside the generator: OpenID Connect with RS256 ID tokens and a new person at every login.
//!
//! It checks nothing that costs CPU, because its CPU is the generator's. People visit it in memory: what happens between a
//! browser and a provider costs a gateway nothing.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ::http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use url::form_urlencoded;

use crate::Failed;
use crate::jose::{self, Key};

/// What a code stands for.
struct Visit {
    person: u64,
    client_id: String,
    nonce: String,
}

/// The provider.
pub(crate) struct Provider {
    /// Its issuer identifier.
    pub(crate) issuer: String,
    key: Key,
    realm: String,
    people: AtomicU64,
    connections: AtomicU64,
    codes: Mutex<HashMap<String, Visit>>,
    tokens: Mutex<HashMap<String, u64>>,
}

impl Provider {
    /// Serves a provider on a listener until the process ends.
    pub(crate) fn start(listener: TcpListener, tls: Arc<ServerConfig>) -> Result<Arc<Self>, Failed> {
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let provider = Arc::new(Self {
            issuer: format!("https://localhost:{port}"),
            key: Key::rs256()?,
            realm: jose::token()?.chars().take(8).collect(),
            people: AtomicU64::default(),
            connections: AtomicU64::default(),
            codes: Mutex::default(),
            tokens: Mutex::default(),
        });
        tokio::spawn(serve(listener, TlsAcceptor::from(tls), Arc::clone(&provider)));
        Ok(provider)
    }

    /// A person's visit: from the authorization request's query to the address their browser is sent back to.
    pub(crate) fn visit(&self, query: &str) -> Result<String, Failed> {
        let params: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let one = |name: &str| params.get(name).cloned().ok_or_else(|| format!("the provider was not told {name}"));
        let (redirect, state) = (one("redirect_uri")?, one("state")?);
        let visit = Visit {
            person: self.people.fetch_add(1, Ordering::Relaxed),
            client_id: one("client_id")?,
            nonce: one("nonce")?,
        };
        let code = jose::token()?;
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).insert(code.clone(), visit);
        let mut answer = form_urlencoded::Serializer::new(format!("{redirect}?"));
        Ok(answer.append_pair("code", &code).append_pair("state", &state).append_pair("iss", &self.issuer).finish())
    }

    /// Connections that were opened to it: what is measured should keep them.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    fn subject(&self, person: u64) -> String {
        format!("{}-{person:08}", self.realm)
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}/{path}", self.issuer);
        json!({
            "issuer": self.issuer, "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
            "userinfo_endpoint": at("userinfo"), "jwks_uri": at("jwks"),
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"], "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
            "authorization_response_iss_parameter_supported": true,
            "acr_values_supported": ["iamsmart:default"], "scopes_supported": ["openid", "profile", "document", "email"],
        })
    }

    fn token(&self, form: &[u8]) -> Result<Value, Failed> {
        let code = form_urlencoded::parse(form).find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
        let code = code.ok_or("no code")?;
        let visit = self.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(&code).ok_or("unknown code")?;
        let (access, now) = (jose::token()?, jose::now());
        let id_token = self.key.sign(&json!({
            "iss": self.issuer, "sub": self.subject(visit.person), "aud": visit.client_id, "nonce": visit.nonce,
            "iat": now, "exp": now + 300, "auth_time": now, "acr": "iamsmart:default",
        }))?;
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(access.clone(), visit.person);
        Ok(json!({"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": id_token}))
    }

    fn userinfo(&self, authorization: &str) -> Result<Value, Failed> {
        let access = authorization.strip_prefix("Bearer ").ok_or("no token")?;
        let person =
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(access).ok_or("unknown token")?;
        Ok(json!({
            "sub": self.subject(person), "name": "CHAN, Tai Man", "family_name": "CHAN", "given_name": "Tai Man",
            "name_zh": "陳大文", "birthdate": "1979-03-14", "gender": "male", "hkid": "A123456(3)",
            "home_return_permit": "H1234567800", "email": format!("person.{person}@example.com"),
            "email_verified": true,
        }))
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let answered = match parts.uri.path() {
            "/.well-known/openid-configuration" => Ok(self.metadata()),
            "/jwks" => Ok(self.key.jwks()),
            "/token" => match body.collect().await {
                Ok(form) => self.token(&form.to_bytes()),
                Err(error) => Err(error.to_string()),
            },
            "/userinfo" => {
                let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                self.userinfo(header.unwrap_or_default())
            }
            _ => Err("no such page".to_owned()),
        };
        let (status, body) = match answered {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => (StatusCode::BAD_REQUEST, json!({"error": "invalid_request", "error_description": error})),
        };
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, ::http::HeaderValue::from_static("application/json"));
        response
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, provider: Arc<Provider>) {
    while let Ok((tcp, _)) = listener.accept().await {
        provider.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(connection(tcp, tls.clone(), Arc::clone(&provider)));
    }
}

async fn connection(tcp: TcpStream, tls: TlsAcceptor, provider: Arc<Provider>) {
    let _ = tcp.set_nodelay(true);
    let Ok(stream) = tls.accept(tcp).await else { return };
    let service = hyper::service::service_fn(move |request| {
        let provider = Arc::clone(&provider);
        async move { Ok::<_, Infallible>(provider.answer(request).await) }
    });
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
