//! Generic OpenID Connect (Core 1.0, Discovery 1.0) as a relying party, on `openidconnect` and `oauth2` over our own
//! HTTP port and keys.
//!
//! Beyond what the libraries check: RFC 9207 `iss`, the host of every endpoint, `alg` and header rules before anything
//! is fetched, `at_hash` when there is one, one skew for all times, and a code that is never sent twice.

mod fapi;
mod joined;
mod key;
mod logout;
mod metadata;
mod settings;
mod verify;

use std::sync::Arc;

use async_trait::async_trait;
use certs::key::KeySet;
use gateway_core::claims::Claims;
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, TokenResponse as _,
};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm, CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AuthenticationContextClass, AuthenticationFlow, Client, EmptyAdditionalClaims, EmptyExtraTokenFields, IdToken,
    IdTokenFields, LanguageTag, LoginHint, Nonce, StandardErrorResponse, StandardTokenResponse, SubjectIdentifier,
    UserInfoUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

pub use joined::Joined;
pub use settings::{Settings, TokenAuth};

use crate::error::UpstreamError;
use crate::http::{Http, HttpError};
use crate::remote::Remote;
use crate::{Adapter, Answer, Departure, Fresh, LoggedOut, Progress, Signer, Step, Wish};
use key::Key;
use metadata::Metadata;

type OidcIdToken =
    IdToken<EmptyAdditionalClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

type OidcTokenResponse = StandardTokenResponse<
    IdTokenFields<
        EmptyAdditionalClaims,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

type OidcClient = Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    Key,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    OidcTokenResponse,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

/// What an assertion of a client is (RFC 7523 section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What has to survive the visit to the provider.
#[derive(Serialize, Deserialize)]
struct Memo {
    nonce: String,
    verifier: String,
}

/// An OpenID Connect provider.
pub struct Oidc {
    settings: Settings,
    callback: Url,
    secret: Option<Secret<String>>,
    http: Arc<dyn Http>,
    signer: Arc<dyn Signer>,
    metadata: Remote<Metadata>,
    keys: Remote<KeySet>,
    logout_keys: Remote<KeySet>,
    nonce: fapi::LastNonce,
    joined: Option<Joined>,
}

impl Oidc {
    /// An adapter for one provider; fetches nothing yet, so that a dead provider delays no start.
    #[must_use]
    pub fn new(
        mut settings: Settings,
        callback: Url,
        secret: Option<Secret<String>>,
        (http, signer): (Arc<dyn Http>, Arc<dyn Signer>),
        joined: Option<Joined>,
    ) -> Self {
        // To whom has never heard of us we are called what we call ourselves.
        if settings.client_id.is_empty() {
            let issuer = callback.as_str().rsplit_once("/callback/").map(|(issuer, _)| issuer.to_owned());
            settings.client_id = issuer.unwrap_or_default();
        }
        let own = settings.clone();
        let metadata = Remote::new(Arc::clone(&http), move |json| Metadata::judged(json, &own));
        let keys = || Remote::new(Arc::clone(&http), verify::keys);
        let (keys, logout_keys) = (keys(), keys());
        Self {
            settings,
            callback,
            secret,
            http,
            signer,
            metadata,
            keys,
            logout_keys,
            nonce: fapi::LastNonce::default(),
            joined,
        }
    }

    async fn metadata(&self, now: Timestamp) -> Result<Arc<Metadata>, UpstreamError> {
        match &self.joined {
            Some(joined) => joined.metadata(&self.settings, now).await,
            None => Ok(self.metadata.get(&self.settings.discovery_url(), now).await?),
        }
    }

    fn client(&self, metadata: &Metadata) -> OidcClient {
        let callback = RedirectUrl::from_url(self.callback.clone());
        let client = Client::new(
            ClientId::new(self.settings.client_id.clone()),
            metadata.issuer.clone(),
            openidconnect::JsonWebKeySet::new(Vec::new()),
        )
        .set_auth_uri(metadata.authorization_endpoint.clone())
        .set_token_uri(metadata.token_endpoint.clone())
        .set_redirect_uri(callback);
        match (&self.settings.auth, &self.secret) {
            (TokenAuth::SecretBasic(_), Some(secret)) => {
                client.set_client_secret(ClientSecret::new(secret.expose().clone())).set_auth_type(AuthType::BasicAuth)
            }
            (TokenAuth::SecretPost(_), Some(secret)) => client
                .set_client_secret(ClientSecret::new(secret.expose().clone()))
                .set_auth_type(AuthType::RequestBody),
            _ => client,
        }
    }

    /// RFC 7523 section 3: an assertion for this provider, used once and for a minute.
    fn assertion(&self, metadata: &Metadata, unique: Secret<String>, now: Timestamp) -> Result<String, UpstreamError> {
        let claims = json!({
            "iss": self.settings.client_id, "sub": self.settings.client_id, "aud": metadata.issuer.as_str(),
            "jti": unique.expose(), "iat": now.0, "exp": now.0 + 60,
        });
        let claims = claims.as_object().cloned().unwrap_or_default();
        self.signer.sign("JWT", &claims).map_err(|error| UpstreamError::Refused(error.to_string()))
    }

    async fn exchange(
        &self,
        metadata: &Metadata,
        code: &str,
        memo: &Memo,
        fresh: &Fresh,
        now: Timestamp,
    ) -> Result<OidcTokenResponse, UpstreamError> {
        // Who is sent back for a nonce comes again, once, with an assertion of its own (RFC 9449 section 8).
        for attempt in ["jti", "jti-again"] {
            let client = self.client(metadata);
            let mut request = client
                .exchange_code(AuthorizationCode::new(code.to_owned()))
                .set_pkce_verifier(PkceCodeVerifier::new(memo.verifier.clone()));
            if self.settings.auth == TokenAuth::PrivateKeyJwt {
                request = request
                    .add_extra_param("client_assertion_type", ASSERTION_TYPE)
                    .add_extra_param("client_assertion", self.assertion(metadata, fresh.token(attempt), now)?);
            }
            match request.request_async(&self.token_port(fresh, now)).await {
                Err(RequestTokenError::ServerResponse(refusal))
                    if attempt == "jti" && refusal.error().as_ref() == fapi::USE_NONCE => {}
                Ok(tokens) => return Ok(tokens),
                Err(error) => return Err(token_error(error)),
            }
        }
        Err(UpstreamError::misbehaved("it does not take the nonce that it hands out"))
    }

    async fn userinfo(
        &self,
        metadata: &Metadata,
        endpoint: &UserInfoUrl,
        tokens: &OidcTokenResponse,
        subject: &str,
        step: Step<'_>,
    ) -> Result<Claims, UpstreamError> {
        let client = self.client(metadata).set_user_info_url(endpoint.clone());
        let expected = SubjectIdentifier::new(subject.to_owned());
        let request = client.user_info(tokens.access_token().clone(), Some(expected));
        let answer: openidconnect::UserInfoClaims<verify::AnyClaims, CoreGenderClaim> = request
            .require_signed_response(false)
            .request_async(&self.userinfo_port(step.fresh, step.now))
            .await
            .map_err(userinfo_error)?;
        match serde_json::to_value(answer) {
            Ok(serde_json::Value::Object(claims)) => Ok(Claims::from_object(claims)),
            _ => Err(UpstreamError::misbehaved("the userinfo answer cannot be read")),
        }
    }
}

fn token_error(error: RequestTokenError<HttpError, StandardErrorResponse<CoreErrorResponseType>>) -> UpstreamError {
    match error {
        RequestTokenError::Request(error) => UpstreamError::Unavailable(error),
        RequestTokenError::ServerResponse(refusal) => {
            // Its own words stay out of our log: only what the standard names is repeated.
            let known = !matches!(refusal.error(), CoreErrorResponseType::Extension(_));
            let error = if known { refusal.error().as_ref() } else { "an error of its own" };
            UpstreamError::Refused(format!("token request: {error}"))
        }
        RequestTokenError::Parse(..) => UpstreamError::misbehaved("the token answer cannot be read"),
        RequestTokenError::Other(_) => UpstreamError::misbehaved("the token answer is not of the right kind"),
    }
}

fn userinfo_error(error: openidconnect::UserInfoError<HttpError>) -> UpstreamError {
    match error {
        openidconnect::UserInfoError::Request(error) => UpstreamError::Unavailable(error),
        openidconnect::UserInfoError::ClaimsVerification(_) => {
            UpstreamError::misbehaved("the userinfo answer is about somebody else")
        }
        _ => UpstreamError::misbehaved("the userinfo answer cannot be read"),
    }
}

#[async_trait]
impl Adapter for Oidc {
    async fn begin(&self, wish: &Wish, step: Step<'_>) -> Result<Departure, UpstreamError> {
        let metadata = self.metadata(step.now).await?;
        let client = self.client(&metadata);
        let memo = Memo {
            nonce: step.fresh.token("nonce").expose().clone(),
            verifier: step.fresh.token("verifier").expose().clone(),
        };
        let (state, nonce) = (CsrfToken::new(step.state.to_owned()), Nonce::new(memo.nonce.clone()));
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(memo.verifier.clone()));
        let mut request = client
            .authorize_url(AuthenticationFlow::<CoreResponseType>::AuthorizationCode, move || state, move || nonce)
            .set_pkce_challenge(challenge)
            .add_scopes(self.settings.scopes.iter().filter(|scope| *scope != "openid").cloned().map(Scope::new));
        for acr in &wish.acr_values {
            request = request.add_auth_context_value(AuthenticationContextClass::new(acr.clone()));
        }
        if let Some(max_age) = wish.max_age {
            request = request.set_max_age(max_age);
        }
        if wish.login {
            request = request.add_prompt(CoreAuthPrompt::Login);
        }
        if let Some(hint) = &wish.login_hint {
            request = request.set_login_hint(LoginHint::new(hint.clone()));
        }
        if let Some(locale) = wish.locale {
            request = request.add_ui_locale(LanguageTag::new(locale.tag().to_owned()));
        }
        let (mut url, _, _) = request.url();
        if self.settings.fapi {
            url = self.pushed(&metadata, &url, step).await?;
        } else if self.joined.is_some() {
            url = self.signed(&metadata, &url, step)?;
        }
        let memo = serde_json::to_string(&memo).map_err(|_| UpstreamError::misbehaved("the memo cannot be written"))?;
        Ok(Departure { url, memo: Secret::new(memo) })
    }

    async fn finish(&self, memo: &str, callback: &Params, step: Step<'_>) -> Result<Progress, UpstreamError> {
        let (fresh, now) = (step.fresh, step.now);
        let memo: Memo =
            serde_json::from_str(memo).map_err(|_| UpstreamError::misbehaved("the memo cannot be read"))?;
        let metadata = self.metadata(now).await?;
        let code = verify::callback(callback, &metadata, self.settings.fapi)?;
        let tokens = self.exchange(&metadata, &code, &memo, fresh, now).await?;
        // FAPI 2.0 Security Profile section 5.3.3.1: a token that anybody could use is none.
        if self.settings.fapi && !tokens.token_type().as_ref().eq_ignore_ascii_case("dpop") {
            return Err(UpstreamError::misbehaved("the token is not bound to our key"));
        }
        let verified = self.verify_id_token(&metadata, &tokens, &memo, now).await?;
        let mut claims = verified.claims;
        if let Some(endpoint) = metadata.userinfo_endpoint.as_ref().filter(|_| self.settings.userinfo) {
            let more = self.userinfo(&metadata, endpoint, &tokens, verified.subject.expose(), step).await?;
            claims = claims.merged_with(more);
        }
        Ok(Progress::Done(Box::new(Answer {
            subject: verified.subject,
            session: verified.session,
            acr: verified.acr,
            amr: verified.amr,
            auth_time: verified.auth_time,
            claims,
            asked: None,
        })))
    }

    async fn logout(&self, back: &Url, now: Timestamp) -> Option<Url> {
        self.logout_at(back, now).await
    }

    fn tells_logout(&self) -> bool {
        self.settings.backchannel_logout
    }

    async fn logged_out(&self, token: &str, now: Timestamp) -> Result<LoggedOut, UpstreamError> {
        self.believe(token, now).await
    }
}
