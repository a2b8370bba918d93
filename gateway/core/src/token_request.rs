//! The token endpoint's request, grant by grant.

use crate::client::GrantType;
use crate::error::{OAuthCode, OAuthError};
use crate::params::Params;
use crate::secret::Secret;

/// A token request, the client's authentication aside.
#[derive(Debug)]
pub enum TokenRequest {
    /// A code is redeemed (RFC 6749 section 4.1.3).
    Code(CodeRequest),
    /// A refresh token is used (RFC 6749 section 6).
    Refresh(RefreshRequest),
    /// The answer to a device's request is come for (RFC 8628 section 3.4).
    Device(DeviceRequest),
    /// The answer of somebody who was asked elsewhere is come for (CIBA section 10.1).
    Ciba(CibaRequest),
    /// A client acts for itself (RFC 6749 section 4.4).
    Client(ClientRequest),
    /// A token is exchanged for a narrower one (RFC 8693).
    Exchange(ExchangeRequest),
}

/// The request of a client that comes for somebody's answer.
#[derive(Debug)]
pub struct CibaRequest {
    /// The `auth_req_id`.
    pub id: Secret<String>,
    /// RFC 8707 section 2.2: when present, must name the service of the grant.
    pub resource: Option<String>,
}

/// The request of a client that acts for itself.
#[derive(Debug)]
pub struct ClientRequest {
    /// What it asks for; everything that it may have, where it does not say.
    pub scopes: Option<Vec<String>>,
    /// The service (RFC 8707 section 2.2).
    pub resource: Option<String>,
}

/// The request that exchanges a token.
#[derive(Debug)]
pub struct ExchangeRequest {
    /// The token to exchange.
    pub subject_token: Secret<String>,
    /// The token of whoever acts for its person.
    pub actor_token: Option<Secret<String>>,
    /// Must name nothing that the token does not have.
    pub scopes: Option<Vec<String>>,
    /// The service that the new token is for.
    pub resource: String,
}

/// The one kind of token that is exchanged, and given for it (RFC 8693 section 3).
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Reads the parameters of a token exchange (RFC 8693 section 2.1).
fn read_exchange(params: &Params, resource: Option<String>) -> Result<ExchangeRequest, OAuthError> {
    let invalid = |why: &'static str| OAuthError::new(OAuthCode::InvalidRequest, why);
    let secret = |text: &str| Secret::new(text.to_owned());
    let kinds = ["subject_token_type", "actor_token_type", "requested_token_type"];
    for name in kinds {
        if params.one(name)?.is_some_and(|kind| kind != ACCESS_TOKEN_TYPE) {
            return Err(invalid("only access tokens are exchanged, and for access tokens"));
        }
    }
    let actor_token = params.one("actor_token")?;
    if params.one("subject_token_type")?.is_none() || actor_token.is_some() != params.one("actor_token_type")?.is_some()
    {
        return Err(invalid("subject_token_type and, with an actor_token and only then, actor_token_type are needed"));
    }
    let target = |why| OAuthError::new(OAuthCode::InvalidTarget, why);
    if params.all("audience").next().is_some() {
        return Err(target("the service is named by resource"));
    }
    Ok(ExchangeRequest {
        subject_token: secret(params.required("subject_token")?),
        actor_token: actor_token.map(secret),
        scopes: read_scopes(params)?,
        resource: resource.ok_or_else(|| target("resource is missing"))?,
    })
}

fn read_scopes(params: &Params) -> Result<Option<Vec<String>>, OAuthError> {
    Ok(params.one("scope")?.map(|scopes| scopes.split(' ').map(str::to_owned).collect()))
}

/// The request of a device that comes for its answer.
#[derive(Debug)]
pub struct DeviceRequest {
    /// The device code.
    pub code: Secret<String>,
    /// RFC 8707 section 2.2: when present, must name the service of the grant.
    pub resource: Option<String>,
}

/// The request that redeems a code.
#[derive(Debug)]
pub struct CodeRequest {
    /// The code.
    pub code: Secret<String>,
    /// Must equal the one of the authorization request.
    pub redirect_uri: String,
    /// Proves that the authorization request was this client's (RFC 7636 section 4.5).
    pub code_verifier: Option<Secret<String>>,
    /// RFC 8707 section 2.2: when present, must name the service of the grant.
    pub resource: Option<String>,
}

/// The request that uses a refresh token.
#[derive(Debug)]
pub struct RefreshRequest {
    /// The token.
    pub token: Secret<String>,
    /// Must name nothing that the grant does not have.
    pub scopes: Option<Vec<String>>,
    /// RFC 8707 section 2.2: when present, must name the service of the grant.
    pub resource: Option<String>,
}

impl TokenRequest {
    /// Reads the form of a token request.
    ///
    /// # Errors
    /// `unsupported_grant_type`, or `invalid_request` for a missing, repeated or oversized parameter.
    pub fn parse(params: &Params) -> Result<Self, OAuthError> {
        let grant_type: GrantType = params.required("grant_type")?.parse().map_err(|_| {
            OAuthError::new(OAuthCode::UnsupportedGrantType, "grant_type is not one that the metadata lists")
        })?;
        let secret = |text: &str| Secret::new(text.to_owned());
        if params.all("resource").nth(1).is_some() {
            return Err(OAuthError::new(OAuthCode::InvalidTarget, "a token is for one service"));
        }
        let resource = params.all("resource").next().map(str::to_owned);
        Ok(match grant_type {
            GrantType::RefreshToken => Self::Refresh(RefreshRequest {
                token: secret(params.required("refresh_token")?),
                scopes: read_scopes(params)?,
                resource,
            }),
            GrantType::AuthorizationCode => Self::Code(CodeRequest {
                code: secret(params.required("code")?),
                redirect_uri: params.required("redirect_uri")?.to_owned(),
                code_verifier: params.one("code_verifier")?.map(secret),
                resource,
            }),
            GrantType::ClientCredentials => Self::Client(ClientRequest { scopes: read_scopes(params)?, resource }),
            GrantType::Ciba => Self::Ciba(CibaRequest { id: secret(params.required("auth_req_id")?), resource }),
            GrantType::TokenExchange => Self::Exchange(read_exchange(params, resource)?),
            GrantType::DeviceCode => {
                Self::Device(DeviceRequest { code: secret(params.required("device_code")?), resource })
            }
        })
    }

    /// Which way to get tokens it takes.
    #[must_use]
    pub fn grant_type(&self) -> GrantType {
        match self {
            Self::Code(_) => GrantType::AuthorizationCode,
            Self::Refresh(_) => GrantType::RefreshToken,
            Self::Device(_) => GrantType::DeviceCode,
            Self::Ciba(_) => GrantType::Ciba,
            Self::Client(_) => GrantType::ClientCredentials,
            Self::Exchange(_) => GrantType::TokenExchange,
        }
    }
}
