//! What is measured, as a portal and its people see it: an OpenID provider found through its discovery document.

use std::sync::Arc;

use ::http::Request;
use http_body_util::Full;
use hyper::body::Bytes;
use rustls::ClientConfig;
use serde_json::Value;

use crate::Failed;
use crate::http::{Connector, Pool};
use crate::jose::Key;
use crate::upstream::Upstream;

/// Where the portal lives; nobody connects to it.
pub(crate) const PORTAL: &str = "https://portal.example";
/// Where logins come back to.
pub(crate) const REDIRECT: &str = "https://portal.example/callback";

/// The portal's own side of the arrangement.
pub(crate) struct Portal {
    /// What it signs its token requests with.
    pub(crate) key: Key,
    /// The identity system that its people use.
    pub(crate) upstream: Arc<Upstream>,
    /// How often a waiting page looks for news before its person approves.
    pub(crate) looks: u32,
    /// Whether a browser resumes its TLS session when it comes back, as real ones do.
    pub(crate) resumes: bool,
    /// How browsers connect.
    pub(crate) browser_tls: Arc<ClientConfig>,
    /// How its back end connects.
    pub(crate) portal_tls: Arc<ClientConfig>,
}

/// What differs between the gateway and the comparison.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kind {
    /// The end of the chooser's link to follow.
    pub(crate) choice: Option<&'static str>,
    /// Files that the first page names; a new browser has none of them.
    pub(crate) assets: &'static [&'static str],
    /// The service that is asked for.
    pub(crate) resource: Option<&'static str>,
    /// The scopes that are asked for.
    pub(crate) scope: &'static str,
}

/// Somewhere to log in.
pub(crate) struct Site {
    /// Its issuer identifier.
    pub(crate) issuer: String,
    /// Where browsers are sent.
    pub(crate) authorization_endpoint: String,
    /// Where codes are redeemed.
    pub(crate) token_endpoint: String,
    /// Where requests are pushed.
    pub(crate) par_endpoint: String,
    /// Where tokens are asked about.
    pub(crate) introspection_endpoint: String,
    /// Where claims are fetched.
    pub(crate) userinfo_endpoint: String,
    /// How each browser connects.
    pub(crate) browser: Connector,
    /// The portal's connections.
    pub(crate) back_end: Pool,
    /// The identity system's connections, for what it delivers.
    pub(crate) deliveries: Pool,
    /// The portal.
    pub(crate) portal: Arc<Portal>,
    /// What differs.
    pub(crate) kind: Kind,
}

impl Site {
    /// Finds the endpoints; fails while nothing answers there.
    pub(crate) async fn discover(port: u16, portal: &Arc<Portal>, kind: Kind) -> Result<Self, Failed> {
        let issuer = format!("https://localhost:{port}");
        let back_end = Pool::new(Connector::new(Arc::clone(&portal.portal_tls), port));
        let request = Request::get(format!("{issuer}/.well-known/openid-configuration")).body(Full::new(Bytes::new()));
        let answer = back_end.send(request.map_err(|error| error.to_string())?).await?;
        let metadata: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        let at = |name: &str| {
            let address = metadata.get(name).and_then(Value::as_str);
            address.map(str::to_owned).ok_or_else(|| format!("the metadata has no {name}"))
        };
        Ok(Self {
            authorization_endpoint: at("authorization_endpoint")?,
            token_endpoint: at("token_endpoint")?,
            par_endpoint: at("pushed_authorization_request_endpoint")?,
            introspection_endpoint: at("introspection_endpoint")?,
            userinfo_endpoint: at("userinfo_endpoint")?,
            browser: Connector::new(Arc::clone(&portal.browser_tls), port),
            back_end,
            deliveries: Pool::new(Connector::new(Arc::clone(&portal.portal_tls), port)),
            portal: Arc::clone(portal),
            kind,
            issuer,
        })
    }
}
