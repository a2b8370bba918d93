//! `/authorize` (OpenID Connect Core section 3.1.2), by GET and by POST.
//!
//! Nothing is stored for a visit that may never come back: the transaction leaves in the browser's own cookie.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use certs::jws::{Unverified, Verified};
use certs::key::Algorithm;
use gateway_core::authorize::{self, Arrival, AuthorizationRequest, OldAcr, Refusal, Registry};
use gateway_core::client::Client;
use gateway_core::error::{Failure, OAuthCode, OAuthError};
use gateway_core::ids::{ClientId, ServiceId, TransactionId};
use gateway_core::interaction::{LinkQuestion, Stage, TRANSACTION_LIFETIME, Transaction};
use gateway_core::params::Params;
use http::{Request, StatusCode};
use policies::detail;
use serde_json::{Map, Value};

use super::pushed::{self, Opened};
use super::session::SessionError;
use super::transaction::is_large;
use super::{Visit, joining, request_object};
use crate::app::App;
use crate::http::{reply, request};

/// The longest query that a POST is sent on with, in bytes: it has to fit into a header beside the cookies.
const LONGEST_QUERY: usize = 16 * 1024;

/// `GET /authorize`.
pub async fn get(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let params = request::query(&parts);
    if let Ok(params) = &params {
        admit(&app, params).await;
    }
    let visit = Visit::new(&app, &parts);
    match params {
        Ok(params) => match visit.open(params).await {
            Ok(transaction) => visit.begin(transaction).await,
            Err(response) => *response,
        },
        Err(_) => visit.failure_page(StatusCode::BAD_REQUEST, Failure::MalformedRequest, None),
    }
}

/// `POST /authorize`. A portal's cross-site POST comes without our cookies, so the browser brings the same request again
/// by GET, which has them.
pub async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(params) = request::form(&parts, body).await else {
        return Visit::new(&app, &parts).failure_page(StatusCode::BAD_REQUEST, Failure::MalformedRequest, None);
    };
    admit(&app, &params).await;
    let visit = Visit::new(&app, &parts);
    let query = params.encode();
    if query.len() > LONGEST_QUERY {
        return visit.failure_page(StatusCode::URI_TOO_LONG, Failure::MalformedRequest, None);
    }
    // What lies elsewhere is fetched once, when the browser comes again.
    let elsewhere = params.one("request_uri").is_ok_and(|uri| uri.is_some_and(|uri| !uri.starts_with(pushed::PREFIX)));
    if !elsewhere && let Err(response) = visit.parsed(params).await {
        return *response;
    }
    reply::see_other(&format!("{}/authorize?{query}", app.issuer))
}

/// Lets a client in that nobody here has met, where it is an entity of a federation and signs what it asks.
async fn admit(app: &App, params: &Params) {
    let named = params.one("client_id").ok().flatten();
    if let Some(id) = named.filter(|_| ["request", "request_uri"].iter().any(|name| params.all(name).next().is_some()))
    {
        joining::admit(app, id).await;
    }
}

impl Visit<'_> {
    /// Checks a request and opens its transaction, or answers why not.
    async fn open(&self, params: Params) -> Result<Transaction, Box<Response>> {
        let request = self.parsed(params).await?;
        // Anybody can bring about that such a request is kept.
        if is_large(&request) && !self.app.limits.large_requests.allows(&request::address(self.parts), self.now) {
            return Err(Box::new(self.failure_page(StatusCode::SERVICE_UNAVAILABLE, Failure::Busy, None)));
        }
        self.transaction_for(request).await.map_err(|error| Box::new(self.internal(&error, None)))
    }

    /// Reads and checks a request, or answers why not.
    async fn parsed(&self, params: Params) -> Result<AuthorizationRequest, Box<Response>> {
        let Opened { params, arrival, digest } = self.arrived(params).await?;
        let parsed = self.checked(&params, arrival).await;
        let mut request = parsed.map_err(|refusal| Box::new(self.refused(refusal)))?;
        request.pushed = Some(digest).filter(|digest| !digest.is_empty());
        self.keep_releasable(&mut request);
        Ok(request)
    }

    fn refused(&self, refusal: Refusal) -> Response {
        match refusal {
            Refusal::Page(failure) => self.failure_page(StatusCode::BAD_REQUEST, failure, None),
            Refusal::Reply(to, error) => self.client_error(&to, &error),
        }
    }

    /// The request's own parameters: as they came, pushed before (RFC 9126 section 4), or signed (RFC 9101 section 5). Of
    /// the last two, whatever stands beside them counts for nothing.
    async fn arrived(&self, params: Params) -> Result<Opened, Box<Response>> {
        let told = |error: OAuthError| {
            let reply = authorize::reply_address(&params, self).map(|to| Refusal::Reply(to, error));
            Box::new(self.refused(reply.unwrap_or_else(|page| page)))
        };
        let (object, uri) = (params.one("request").map_err(told)?, params.one("request_uri").map_err(told)?);
        match (object, uri) {
            (None, None) => Ok(Opened { params, arrival: Arrival::default(), digest: String::new() }),
            (None, Some(uri)) if uri.starts_with(pushed::PREFIX) => {
                let client = params.one("client_id").map_err(told)?;
                let opened = self.pushed(uri, client).await.map_err(|error| Box::new(self.internal(&error, None)))?;
                // Nothing is known of where to send an answer: the request is what is missing.
                opened.ok_or_else(|| Box::new(self.failure_page(StatusCode::BAD_REQUEST, Failure::RequestOver, None)))
            }
            (Some(_), Some(_)) => Err(told(OAuthError::new(OAuthCode::InvalidRequest, "request and request_uri"))),
            // OpenID Connect Core section 6.1 knows those: they are not refused for being wrong.
            (Some(object), None) if request_object::is_unsigned(object) => {
                Err(told(OAuthError::new(OAuthCode::RequestNotSupported, "a request object has to be signed")))
            }
            (object, reference) => {
                let client = params.one("client_id").map_err(told)?.and_then(|id| id.parse().ok());
                let registered = client.and_then(|id| self.active.client(&id));
                let registered = registered.filter(|found| self.active.serves(&found.client, self.now));
                let Some(registered) = registered else {
                    return Err(Box::new(self.refused(Refusal::Page(Failure::UnknownClient))));
                };
                let fetched = match reference {
                    Some(uri) => Some(
                        request_object::fetch(self.app, registered, uri, &request::address(self.parts))
                            .await
                            .map_err(told)?,
                    ),
                    None => None,
                };
                let object = fetched.as_deref().or(object).unwrap_or_default();
                let inner = request_object::read(self.app, registered, object, request_object::Of::Browser)
                    .await
                    .map_err(told)?;
                let arrival = Arrival { pushed: false, signed: true };
                let digest = request_object::digest(&registered.client, object);
                let spent = self.is_spent(digest.as_deref()).await;
                if spent.map_err(|error| Box::new(self.internal(&error, None)))? {
                    return Err(Box::new(self.failure_page(StatusCode::BAD_REQUEST, Failure::RequestOver, None)));
                }
                Ok(Opened { params: inner, arrival, digest: digest.unwrap_or_default() })
            }
        }
    }

    /// Lets go of claims that the service is never given, and of scopes that mean nothing there: they need not travel.
    pub(super) fn keep_releasable(&self, request: &mut AuthorizationRequest) {
        let service = self.active.catalog.policies().service(&request.service);
        let releasable =
            |name: &String| service.is_some_and(|service| service.release.iter().any(|row| row.claim.as_str() == name));
        request.claims.scopes.retain(|scope| service.is_some_and(|service| service.knows_scope(scope)));
        request.claims.id_token.retain(|name, _| releasable(name));
        request.claims.userinfo.retain(|name, _| releasable(name));
        request.claims.verified.iter_mut().for_each(|verified| verified.claims.retain(|name, _| releasable(name)));
        request.claims.verified.retain(|verified| !verified.claims.is_empty());
    }

    /// A new sign-in. A request that is too large to travel is kept.
    pub(super) async fn transaction_for(&self, request: AuthorizationRequest) -> Result<Transaction, SessionError> {
        let kept = if is_large(&request) { Some(self.keep_request(&request).await?) } else { None };
        let id = TransactionId::from_random(self.app.entropy.bytes()?);
        let expires_at = self.now.plus(TRANSACTION_LIFETIME);
        let transaction = Transaction {
            id,
            request,
            kept,
            stage: Stage::Choosing,
            locale: None,
            failure: None,
            fell_short: None,
            link: LinkQuestion::Open,
            expires_at,
        };
        tracing::info!(
            trace = Visit::trace(&transaction), client = %transaction.request.client,
            service = %transaction.request.service, "sign-in begins"
        );
        Ok(transaction)
    }
}

impl Registry for Visit<'_> {
    fn client(&self, id: &ClientId) -> Option<&Client> {
        let client = &self.active.client(id)?.client;
        self.active.serves(client, self.now).then_some(client)
    }

    fn service(&self, client: &Client, resource: Option<&str>) -> Option<ServiceId> {
        match resource {
            Some(resource) => self.active.service_at(&client.id, resource).map(|s| s.id.clone()),
            None => client.default_service.clone().filter(|service| self.active.admits(&client.id, service)),
        }
    }

    fn details(&self, service: &ServiceId, named: &Map<String, Value>) -> Result<Vec<(String, String)>, OAuthError> {
        let service = self.active.catalog.policies().service(service);
        detail::check(service.map(|service| service.details.as_slice()).unwrap_or_default(), named)
    }

    fn retiring_acr(&self, name: &str) -> Option<OldAcr> {
        self.active.catalog.policies().vocabulary().retiring.acr(name, self.now.date()).cloned()
    }

    fn hinted_subject(&self, client: &Client, id_token: &str) -> Option<String> {
        // An old token still names the person: expiry is not looked at (OpenID Connect Core section 3.1.2.1).
        let claims = self.own_id_token(id_token)?;
        let theirs = certs::claims::has_audience(&claims, client.id.on_the_wire()).ok()?;
        theirs.then(|| certs::claims::text(&claims, "sub").ok().map(str::to_owned))?
    }
}

impl Visit<'_> {
    /// The claims of an ID token of ours, however old. Other tokens that we sign are none: of those that have its type, only an ID
    /// token says which access token it came with (`at_hash`).
    pub(super) fn own_id_token(&self, token: &str) -> Option<Verified<Map<String, Value>>> {
        let unverified = Unverified::parse(token).ok()?;
        let typ = unverified.typ() == Some("JWT");
        let claims = unverified.verify(&self.app.keys.verifying(), &Algorithm::ALL).ok()?;
        let ours = certs::claims::text(&claims, "iss").ok()? == self.app.issuer;
        (ours && typ && claims.contains_key("at_hash")).then_some(claims)
    }
}
