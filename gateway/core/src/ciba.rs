//! Requests to people who are somewhere else (OpenID Connect Client-Initiated Backchannel Authentication Core 1.0 section 7.1):
//! what such a request has beyond an authorization request.

use std::time::Duration;

use crate::error::{OAuthCode, OAuthError};
use crate::locale::is_readable;
use crate::params::Params;
use crate::secret::Secret;

/// The longest a person has for their answer.
pub const LONGEST: Duration = Duration::from_secs(600);

/// Whom a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// By an ID token of ours for this client, however old.
    IdToken(String),
    /// By the code that the person showed, or the `sub` by which the client knows them.
    Login(String),
}

/// What such a request says besides.
#[derive(Debug)]
pub struct BackchannelRequest {
    /// Whom it asks for.
    pub hint: Hint,
    /// What both sides show, so that the person knows that it is this one; empty where nothing was said.
    pub binding_message: String,
    /// How long the person has.
    pub lives_for: Duration,
    /// The code that the person showed besides, so that nobody is asked who does not want to be.
    pub user_code: Option<Secret<String>>,
    /// What the client is told with, in ping mode.
    pub notification_token: Option<Secret<String>>,
}

/// Reads it.
///
/// # Errors
/// `invalid_request`, `invalid_binding_message`.
pub fn read(params: &Params, pings: bool) -> Result<BackchannelRequest, OAuthError> {
    let invalid = |why: &'static str| OAuthError::new(OAuthCode::InvalidRequest, why);
    let (id_token, login) = (params.one("id_token_hint")?, params.one("login_hint")?);
    let hint = match (id_token, login, params.one("login_hint_token")?) {
        (Some(token), None, None) => Hint::IdToken(token.to_owned()),
        (None, Some(login), None) if login.len() <= 256 => Hint::Login(login.to_owned()),
        _ => return Err(invalid("exactly one of id_token_hint and login_hint says who is asked")),
    };
    let binding_message = params.one("binding_message")?.unwrap_or_default();
    if !binding_message.is_empty() && (binding_message.chars().count() > 64 || !is_readable(binding_message)) {
        let why = "binding_message has at most 64 characters that can be read";
        return Err(OAuthError::new(OAuthCode::InvalidBindingMessage, why));
    }
    let lives_for = match params.one("requested_expiry")? {
        None => LONGEST,
        Some(text) => {
            let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
            let seconds = seconds.ok_or_else(|| invalid("requested_expiry is not a number of seconds"))?;
            Duration::from_secs(seconds).min(LONGEST)
        }
    };
    let token = params.one("client_notification_token")?;
    let sound = |token: &&str| {
        (1..=1_024).contains(&token.len())
            && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b))
    };
    if token.is_some_and(|token| !sound(&token)) || pings && token.is_none() {
        return Err(invalid("client_notification_token is missing, or cannot be sent in a header"));
    }
    let secret = |text: &str| Secret::new(text.to_owned());
    Ok(BackchannelRequest {
        hint,
        binding_message: binding_message.to_owned(),
        lives_for,
        user_code: params.one("user_code")?.map(secret),
        notification_token: token.filter(|_| pings).map(secret),
    })
}
