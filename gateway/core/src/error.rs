//! Errors for two audiences. A client gets an OAuth error; a person gets a page with a stable code, whose side failed,
//! and whether trying again helps. Both carry the same code, so that a call to a help desk and a portal's log agree.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Error codes that travel to clients, with the document that defines each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OAuthCode {
    /// RFC 6749 section 4.1.2.1 and 5.2.
    InvalidRequest,
    /// RFC 6749 section 5.2.
    InvalidClient,
    /// RFC 6749 section 5.2.
    InvalidGrant,
    /// RFC 6749 section 5.2.
    UnauthorizedClient,
    /// RFC 6749 section 5.2.
    UnsupportedGrantType,
    /// RFC 6749 section 4.1.2.1.
    UnsupportedResponseType,
    /// RFC 6749 section 4.1.2.1.
    InvalidScope,
    /// RFC 6749 section 4.1.2.1.
    AccessDenied,
    /// RFC 6749 section 4.1.2.1.
    ServerError,
    /// RFC 6749 section 4.1.2.1.
    TemporarilyUnavailable,
    /// RFC 8707 section 2.
    InvalidTarget,
    /// RFC 6750 section 3.1.
    InvalidToken,
    /// OpenID Connect Core section 3.1.2.6.
    LoginRequired,
    /// OpenID Connect Core section 3.1.2.6.
    InteractionRequired,
    /// OpenID Connect Core section 3.1.2.6.
    ConsentRequired,
    /// OpenID Connect Core section 3.1.2.6.
    RequestNotSupported,
    /// OpenID Connect Core section 3.1.2.6.
    RequestUriNotSupported,
    /// OpenID Connect Core section 3.1.2.6.
    RegistrationNotSupported,
    /// RFC 9101 section 6.1.
    InvalidRequestObject,
    /// RFC 9101 section 6.2.
    InvalidRequestUri,
    /// RFC 9396 section 5.
    InvalidAuthorizationDetails,
    /// RFC 7591 section 3.2.2.
    InvalidRedirectUri,
    /// RFC 7591 section 3.2.2.
    InvalidClientMetadata,
    /// RFC 7591 section 3.2.2.
    InvalidSoftwareStatement,
    /// RFC 7591 section 3.2.2.
    UnapprovedSoftwareStatement,
    /// OpenID Connect CIBA section 13.
    UnknownUserId,
    /// OpenID Connect CIBA section 13.
    MissingUserCode,
    /// OpenID Connect CIBA section 13.
    InvalidUserCode,
    /// OpenID Connect CIBA section 13.
    InvalidBindingMessage,
    /// RFC 8628 section 3.5.
    AuthorizationPending,
    /// RFC 8628 section 3.5.
    SlowDown,
    /// RFC 8628 section 3.5.
    ExpiredToken,
    /// OpenID Federation 1.0 section 8.9.
    NotFound,
    /// OpenID Federation 1.0 section 8.9.
    UnsupportedParameter,
    /// OpenID Federation 1.0 section 8.9.
    InvalidTrustAnchor,
    /// OpenID Federation 1.0 section 8.9.
    InvalidTrustChain,
    /// RFC 9449 section 5.
    InvalidDpopProof,
    /// RFC 9449 section 8.
    UseDpopNonce,
    /// OpenID Connect Core Error Code `unmet_authentication_requirements` 1.0.
    UnmetAuthenticationRequirements,
    /// RFC 9470 section 3: what a resource server answers to a token whose login was too weak or too long ago.
    InsufficientUserAuthentication,
}

impl OAuthCode {
    /// The code as it travels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::NotFound => "not_found",
            Self::UnsupportedParameter => "unsupported_parameter",
            Self::InvalidTrustAnchor => "invalid_trust_anchor",
            Self::InvalidTrustChain => "invalid_trust_chain",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidToken => "invalid_token",
            Self::LoginRequired => "login_required",
            Self::InteractionRequired => "interaction_required",
            Self::ConsentRequired => "consent_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::InvalidRequestObject => "invalid_request_object",
            Self::InvalidRequestUri => "invalid_request_uri",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidSoftwareStatement => "invalid_software_statement",
            Self::UnapprovedSoftwareStatement => "unapproved_software_statement",
            Self::UnknownUserId => "unknown_user_id",
            Self::MissingUserCode => "missing_user_code",
            Self::InvalidUserCode => "invalid_user_code",
            Self::InvalidBindingMessage => "invalid_binding_message",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
        }
    }
}

/// An error for a client: the code, and a sentence for its developer that holds no outside input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct OAuthError {
    /// The registered code.
    pub code: OAuthCode,
    /// What was wrong, in characters RFC 6749 allows.
    pub description: Cow<'static, str>,
}

impl OAuthError {
    /// An error with its description.
    pub fn new(code: OAuthCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, description: description.into() }
    }
}

/// Whose side failed, said to the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The person: cancelled, came late, used another browser.
    You,
    /// This gateway.
    Gateway,
    /// The identity provider.
    Provider,
    /// The portal that sent the person here, or its service.
    Service,
}

/// Everything that can stop a login in front of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// The request to `/authorize` cannot be read at all.
    MalformedRequest,
    /// `client_id` is missing or names nobody.
    UnknownClient,
    /// `redirect_uri` is not exactly one that the client registered.
    RedirectMismatch,
    /// The portal's request is wrong in a way its developer must mend.
    InvalidRequest,
    /// There is no such page.
    NotFound,
    /// The sign-in was started too long ago.
    Expired,
    /// A pushed request that was used, is too old, or is another portal's.
    RequestOver,
    /// The sign-in was not started in this browser, or its cookie was lost.
    ForeignBrowser,
    /// The sign-in was already finished.
    AlreadyFinished,
    /// The form is not the one this sign-in is waiting for.
    WrongStep,
    /// The person cancelled at the provider.
    Cancelled,
    /// The person did not agree to the release.
    ConsentRefused,
    /// The person did not answer the provider's question in time.
    NotApproved,
    /// The person has another account of that provider linked.
    LinkedOtherwise,
    /// The provider cannot be reached or does not answer in time.
    ProviderUnavailable,
    /// The provider answered something that must not be believed.
    ProviderMisbehaved,
    /// The provider refused this gateway's request.
    ProviderRefused,
    /// The provider is not among those this service accepts.
    ProviderNotAccepted,
    /// The login was not as sure as the service needs.
    AssuranceTooLow,
    /// The login was longer ago than the service allows, and could not be made anew.
    NotFresh,
    /// The service's policy forbids this login for another reason.
    PolicyRefused,
    /// A claim that the service cannot do without is missing at the provider.
    ClaimMissing,
    /// The service is not open at this hour.
    NotOpen,
    /// The service is not for this person: by residence, age, or the capacity in which they act.
    NotEligible,
    /// No legal instrument covers data that would cross a border and that the service cannot do without.
    NoInstrument,
    /// More people are signing in than the gateway can serve.
    Busy,
    /// Something inside the gateway failed.
    Internal,
}

impl Failure {
    /// Every failure, for pages, documentation and tests that must cover them all.
    pub const ALL: [Self; 27] = [
        Self::MalformedRequest,
        Self::UnknownClient,
        Self::RedirectMismatch,
        Self::InvalidRequest,
        Self::NotFound,
        Self::Expired,
        Self::RequestOver,
        Self::ForeignBrowser,
        Self::AlreadyFinished,
        Self::WrongStep,
        Self::Cancelled,
        Self::ConsentRefused,
        Self::NotApproved,
        Self::LinkedOtherwise,
        Self::ProviderUnavailable,
        Self::ProviderMisbehaved,
        Self::ProviderRefused,
        Self::ProviderNotAccepted,
        Self::AssuranceTooLow,
        Self::NotFresh,
        Self::PolicyRefused,
        Self::ClaimMissing,
        Self::NotOpen,
        Self::NotEligible,
        Self::NoInstrument,
        Self::Busy,
        Self::Internal,
    ];

    /// The stable code, whose side failed, whether trying again helps, and what the client is told. One row a failure.
    #[must_use]
    pub fn row(self) -> (&'static str, Side, bool, OAuthCode) {
        use OAuthCode::{AccessDenied, InvalidRequest, ServerError, TemporarilyUnavailable};
        use OAuthCode::{LoginRequired, UnmetAuthenticationRequirements};
        match self {
            Self::MalformedRequest => ("CB-101", Side::Service, false, InvalidRequest),
            Self::UnknownClient => ("CB-102", Side::Service, false, InvalidRequest),
            Self::RedirectMismatch => ("CB-103", Side::Service, false, InvalidRequest),
            Self::InvalidRequest => ("CB-104", Side::Service, false, InvalidRequest),
            Self::NotFound => ("CB-105", Side::You, false, InvalidRequest),
            Self::RequestOver => ("CB-106", Side::Service, true, InvalidRequest),
            Self::Expired => ("CB-201", Side::You, true, AccessDenied),
            Self::ForeignBrowser => ("CB-202", Side::You, true, AccessDenied),
            Self::AlreadyFinished => ("CB-203", Side::You, true, AccessDenied),
            Self::WrongStep => ("CB-204", Side::You, true, AccessDenied),
            Self::Cancelled => ("CB-205", Side::You, true, AccessDenied),
            Self::ConsentRefused => ("CB-206", Side::You, true, AccessDenied),
            Self::NotApproved => ("CB-207", Side::You, true, AccessDenied),
            Self::LinkedOtherwise => ("CB-208", Side::You, true, AccessDenied),
            Self::ProviderUnavailable => ("CB-301", Side::Provider, true, TemporarilyUnavailable),
            Self::ProviderMisbehaved => ("CB-302", Side::Provider, true, ServerError),
            Self::ProviderRefused => ("CB-303", Side::Provider, false, ServerError),
            Self::ProviderNotAccepted => ("CB-401", Side::Service, false, AccessDenied),
            Self::AssuranceTooLow => ("CB-402", Side::Service, true, UnmetAuthenticationRequirements),
            Self::NotFresh => ("CB-403", Side::Service, true, LoginRequired),
            Self::PolicyRefused => ("CB-404", Side::Service, false, AccessDenied),
            Self::ClaimMissing => ("CB-405", Side::Provider, false, AccessDenied),
            Self::NotOpen => ("CB-406", Side::Service, false, AccessDenied),
            Self::NotEligible => ("CB-407", Side::Service, true, AccessDenied),
            Self::NoInstrument => ("CB-408", Side::Service, false, AccessDenied),
            Self::Busy => ("CB-501", Side::Gateway, true, TemporarilyUnavailable),
            Self::Internal => ("CB-502", Side::Gateway, true, ServerError),
        }
    }

    /// The failure with this code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|failure| failure.code() == code)
    }

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.row().0
    }

    /// What the client is told when the person gives up or cannot go on.
    #[must_use]
    pub fn to_oauth(self) -> OAuthError {
        let (code, _, _, oauth) = self.row();
        OAuthError::new(oauth, format!("{code} {self}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MalformedRequest => "the request cannot be read",
            Self::UnknownClient => "the client is not registered",
            Self::RedirectMismatch => "the redirect_uri is not registered for the client",
            Self::InvalidRequest => "the request is not valid",
            Self::NotFound => "there is no such page",
            Self::RequestOver => "the pushed request is over, or another client's",
            Self::Expired => "the sign-in took too long",
            Self::ForeignBrowser => "the sign-in was not started in this browser",
            Self::AlreadyFinished => "the sign-in was already finished",
            Self::WrongStep => "the sign-in is at another step",
            Self::Cancelled => "the person cancelled at the identity provider",
            Self::ConsentRefused => "the person did not agree to the release",
            Self::NotApproved => "the person did not answer the identity provider in time",
            Self::LinkedOtherwise => "another account of that identity provider is linked already",
            Self::ProviderUnavailable => "the identity provider is not available",
            Self::ProviderMisbehaved => "the identity provider's answer was not valid",
            Self::ProviderRefused => "the identity provider refused the request",
            Self::ProviderNotAccepted => "the service does not accept this identity provider",
            Self::AssuranceTooLow => "the sign-in was not as sure as the service needs",
            Self::NotFresh => "the sign-in was too long ago",
            Self::PolicyRefused => "the policy of the service does not allow this sign-in",
            Self::ClaimMissing => "the identity provider did not supply required data",
            Self::NotOpen => "the service is not open at this hour",
            Self::NotEligible => "the service is not for this person, or not in this capacity",
            Self::NoInstrument => "no legal instrument covers data that the service cannot do without",
            Self::Busy => "too many sign-ins at once",
            Self::Internal => "an internal error",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_descriptions_keep_to_rfc6749() {
        let mut codes: Vec<_> = Failure::ALL.iter().map(|failure| failure.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Failure::ALL.len());
        for failure in Failure::ALL {
            let description = failure.to_oauth().description;
            let allowed = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
            assert!(description.chars().all(allowed), "{description}");
        }
    }

    #[test]
    fn a_cancel_is_never_an_outage() {
        assert_eq!(Failure::Cancelled.to_oauth().code, OAuthCode::AccessDenied);
        assert_eq!(Failure::Cancelled.row().1, Side::You);
    }
}
