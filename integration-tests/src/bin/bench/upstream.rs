//! Where people are identified: one lean identity system inside the generator, in the protocol that was asked for.
//!
//! It checks nothing that costs CPU, because its CPU is the generator's. People visit it in memory: what happens between a
//! browser and an identity system costs a gateway nothing.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ::http::{Request, Response, StatusCode};
use clap::ValueEnum;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Failed;
use crate::iam_smart::IamSmart;
use crate::provider::Provider;

/// What an identity system speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wire {
    /// OpenID Connect.
    Oidc,
    /// iAM Smart's own protocol.
    IamSmart,
}

impl Wire {
    /// Its name, for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Oidc => "OpenID Connect",
            Self::IamSmart => "iAM Smart",
        }
    }
}

/// What a call is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    /// A code for a token.
    Token,
    /// A person's data: the userinfo, or a profile request.
    Data,
    /// A JWK Set, or a content key.
    Keys,
    /// Anything else.
    Other,
}

/// A person came and goes back.
pub(crate) struct Visit {
    /// Who.
    pub(crate) person: u64,
    /// Where the browser is sent back to.
    pub(crate) back: String,
}

/// What came in since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Connections.
    pub(crate) connections: u64,
    /// Token calls.
    pub(crate) token: u64,
    /// Calls for a person's data.
    pub(crate) data: u64,
    /// Fetches of keys.
    pub(crate) keys: u64,
    /// Other calls.
    pub(crate) other: u64,
}

enum Protocol {
    Oidc(Box<Provider>),
    IamSmart(Box<IamSmart>),
}

/// An identity system.
pub(crate) struct Upstream {
    /// Its origin, which is an issuer identifier where the protocol has one.
    pub(crate) origin: String,
    protocol: Protocol,
    tally: Mutex<Tally>,
}

impl Upstream {
    /// Serves one on a listener until the process ends.
    pub(crate) fn start(listener: TcpListener, tls: Arc<ServerConfig>, wire: Wire) -> Result<Arc<Self>, Failed> {
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let origin = format!("https://localhost:{port}");
        let protocol = match wire {
            Wire::Oidc => Protocol::Oidc(Box::new(Provider::new(origin.clone())?)),
            Wire::IamSmart => Protocol::IamSmart(Box::new(IamSmart::new()?)),
        };
        let upstream = Arc::new(Self { origin, protocol, tally: Mutex::default() });
        tokio::spawn(serve(listener, TlsAcceptor::from(tls), Arc::clone(&upstream)));
        Ok(upstream)
    }

    /// A person's visit: from the query that a browser brings to the address that it is sent back to.
    pub(crate) fn visit(&self, query: &str) -> Result<Visit, Failed> {
        match &self.protocol {
            Protocol::Oidc(provider) => provider.visit(query),
            Protocol::IamSmart(provider) => provider.visit(query),
        }
    }

    /// A person approves what is open for them: the body of the delivery.
    pub(crate) fn approve(&self, person: u64) -> Result<String, Failed> {
        match &self.protocol {
            Protocol::Oidc(_) => Err("nothing waits for an approval in OpenID Connect".to_owned()),
            Protocol::IamSmart(provider) => provider.approve(person),
        }
    }

    /// The key-encryption key that the gateway got at its onboarding, in PEM, where the protocol has one.
    pub(crate) fn key_encryption_key(&self) -> Option<&str> {
        match &self.protocol {
            Protocol::Oidc(_) => None,
            Protocol::IamSmart(provider) => Some(provider.key_encryption_key()),
        }
    }

    /// What came in so far.
    pub(crate) fn tally(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, add: impl FnOnce(&mut Tally)) {
        add(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let (call, answered) = match &self.protocol {
            Protocol::Oidc(provider) => {
                let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                provider.answer(parts.uri.path(), header.unwrap_or_default(), &body)
            }
            Protocol::IamSmart(provider) => provider.answer(parts.uri.path(), &body),
        };
        self.count(|tally| match call {
            Call::Token => tally.token += 1,
            Call::Data => tally.data += 1,
            Call::Keys => tally.keys += 1,
            Call::Other => tally.other += 1,
        });
        reply(answered)
    }
}

fn reply(answered: Result<Value, Failed>) -> Response<Full<Bytes>> {
    let (status, body) = match answered {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (StatusCode::BAD_REQUEST, json!({"error": "invalid_request", "error_description": error})),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, ::http::HeaderValue::from_static("application/json"));
    response
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, upstream: Arc<Upstream>) {
    while let Ok((tcp, _)) = listener.accept().await {
        upstream.count(|tally| tally.connections += 1);
        tokio::spawn(connection(tcp, tls.clone(), Arc::clone(&upstream)));
    }
}

async fn connection(tcp: TcpStream, tls: TlsAcceptor, upstream: Arc<Upstream>) {
    let _ = tcp.set_nodelay(true);
    let Ok(stream) = tls.accept(tcp).await else { return };
    let service = hyper::service::service_fn(move |request| {
        let upstream = Arc::clone(&upstream);
        async move { Ok::<_, Infallible>(upstream.answer(request).await) }
    });
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
