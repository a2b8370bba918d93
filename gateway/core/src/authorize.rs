//! The authorization request (OpenID Connect Core section 3.1.2.1): raw parameters in, a checked request out.
//!
//! [`CHECKS`] is the whole list, in order. Until the client and its redirect URI are known nothing redirects: a refusal
//! before that is a page (RFC 6749 section 4.1.2.1); after it, an error to the checked URI.

use serde_json::{Map, Value};

pub use crate::authorization_request::{
    AcrRequest, Answer, Arrival, AuthorizationRequest, Collection, OldAcr, Prompt, Refusal, ReplyTo, ResponseMode,
    Terminal,
};
use crate::claims::ClaimsRequest;
use crate::claims_parameter;
use crate::client::Client;
use crate::details::{self, Details};
use crate::error::{Failure, OAuthCode, OAuthError};
use crate::ids::{ClientId, ServiceId};
use crate::locale::Locale;
use crate::params::Params;
use crate::pkce::CodeChallenge;
use crate::redirect::CheckedRedirect;
use crate::time::Timestamp;

/// What the checks look up, as far as they need to.
pub trait Registry {
    /// The client with this identifier.
    fn client(&self, id: &ClientId) -> Option<&Client>;
    /// The service that a client may name by this `resource` URI, or the client's default service.
    fn service(&self, client: &Client, resource: Option<&str>) -> Option<ServiceId>;
    /// What a request says of its matter, as the document of the service knows it.
    ///
    /// # Errors
    /// `invalid_authorization_details`.
    fn details(&self, service: &ServiceId, named: &Map<String, Value>) -> Result<Vec<(String, String)>, OAuthError>;
    /// What a name for an assurance stands for that is being given up, while it is good.
    fn retiring_acr(&self, name: &str) -> Option<OldAcr>;
    /// The subject of an ID token that this gateway issued to this client; `None` when it did not.
    fn hinted_subject(&self, client: &Client, id_token: &str) -> Option<String>;
}

/// The longest `state`, in bytes.
const MAX_STATE: usize = 512;

/// Reads and checks a request.
///
/// # Errors
/// The first check of the list that fails.
pub fn parse(
    params: &Params,
    arrival: Arrival,
    registry: &dyn Registry,
    now: Timestamp,
) -> Result<AuthorizationRequest, Refusal> {
    let client = find_client(params, registry)?;
    let redirect = find_redirect(params, client)?;
    let mut reply = reply_to(client, redirect);
    let mut draft = Draft { params, arrival, registry, client, reply: Some(&mut reply), request: Parts::default() };
    for (_, check) in CHECKS {
        if let Err(error) = check(&mut draft) {
            return Err(Refusal::Reply(reply, error));
        }
    }
    let parts = draft.request;
    match finished(client, parts, Answer::Carried(reply.clone()), now) {
        Ok(request) => Ok(request),
        Err(error) => Err(Refusal::Reply(reply, error)),
    }
}

/// Reads and checks a request whose client comes for the answer itself: what speaks of browsers and codes has no place in it.
///
/// # Errors
/// The first check of the list that fails.
pub fn parse_collected(
    params: &Params,
    client: &Client,
    collection: Collection,
    registry: &dyn Registry,
    now: Timestamp,
) -> Result<AuthorizationRequest, OAuthError> {
    let arrival = Arrival { pushed: true, signed: false };
    let mut draft = Draft { params, arrival, registry, client, reply: None, request: Parts::default() };
    for check in COLLECTED_CHECKS {
        check(&mut draft)?;
    }
    finished(client, draft.request, Answer::Collected(collection), now)
}

fn finished(client: &Client, parts: Parts, answer: Answer, now: Timestamp) -> Result<AuthorizationRequest, OAuthError> {
    let service = parts.service.ok_or_else(|| OAuthError::new(OAuthCode::InvalidTarget, "no service is named"))?;
    Ok(AuthorizationRequest {
        client: client.id.clone(),
        answer,
        service,
        details: parts.details,
        nonce: parts.nonce,
        code_challenge: parts.code_challenge,
        dpop_jkt: parts.dpop_jkt,
        pushed: None,
        prompt: parts.prompt,
        max_age: parts.max_age,
        acr: parts.acr,
        claims: parts.claims,
        subject: parts.subject,
        login_hint: parts.login_hint,
        locale: parts.locale,
        received_at: now,
    })
}

/// Where a refusal may travel that is found before the parameters themselves can be believed: the client's registered
/// address, with the `state` that came (RFC 6749 section 4.1.2.1), but for a client to whom that would be signed.
///
/// # Errors
/// The page to show when there is none.
pub fn reply_address(params: &Params, registry: &dyn Registry) -> Result<ReplyTo, Refusal> {
    let client = find_client(params, registry)?;
    let redirect = find_redirect(params, client)?;
    let state = params.one("state").ok().flatten().filter(|state| state.len() <= MAX_STATE);
    let state = state.filter(|_| !client.profile.requires_signed_messages());
    Ok(ReplyTo { state: state.map(str::to_owned), ..reply_to(client, redirect) })
}

/// How a client is answered before its request is read: signed, where its profile says that everything is.
fn reply_to(client: &Client, redirect: CheckedRedirect) -> ReplyTo {
    let signed = client.profile.requires_signed_messages();
    let mode = if signed { ResponseMode::QueryJwt } else { ResponseMode::Query };
    ReplyTo { client: client.id.clone(), redirect, mode, state: None }
}

fn find_client<'r>(params: &Params, registry: &'r dyn Registry) -> Result<&'r Client, Refusal> {
    let id = params.one("client_id").ok().flatten().and_then(|id| id.parse().ok());
    id.and_then(|id| registry.client(&id)).ok_or(Refusal::Page(Failure::UnknownClient))
}

fn find_redirect(params: &Params, client: &Client) -> Result<CheckedRedirect, Refusal> {
    let requested = params.one("redirect_uri").ok().flatten();
    requested.and_then(|uri| client.check_redirect(uri)).ok_or(Refusal::Page(Failure::RedirectMismatch))
}

/// What the checks fill in.
#[derive(Default)]
struct Parts {
    service: Option<ServiceId>,
    details: Option<Details>,
    nonce: Option<String>,
    code_challenge: Option<CodeChallenge>,
    dpop_jkt: Option<String>,
    prompt: Prompt,
    max_age: Option<u64>,
    acr: AcrRequest,
    claims: ClaimsRequest,
    subject: Option<String>,
    login_hint: Option<String>,
    locale: Option<Locale>,
}

struct Draft<'a> {
    params: &'a Params,
    arrival: Arrival,
    registry: &'a dyn Registry,
    client: &'a Client,
    /// Nothing, where no browser carries the answer.
    reply: Option<&'a mut ReplyTo>,
    request: Parts,
}

/// Every parameter that is read, or refused.
pub const PARAMETERS: [&str; 22] = [
    "client_id",
    "redirect_uri",
    "state",
    "response_mode",
    "request",
    "request_uri",
    "registration",
    "response_type",
    "scope",
    "code_challenge",
    "code_challenge_method",
    "dpop_jkt",
    "nonce",
    "prompt",
    "max_age",
    "resource",
    "authorization_details",
    "claims",
    "acr_values",
    "id_token_hint",
    "login_hint",
    "ui_locales",
];

type Check = fn(&mut Draft<'_>) -> Result<(), OAuthError>;

/// Every check after the client and its redirect URI, in the order they run.
const CHECKS: &[(&str, Check)] = &[
    ("state: one, at most 512 bytes, echoed in every answer from here on", check_state),
    (
        "response_mode: query or form_post, signed or not; signed where the client's profile says so",
        check_response_mode,
    ),
    ("no parameter is repeated", check_repetition),
    ("the request came in as the client's profile says", check_arrival),
    (
        "registration is not supported; a request or request_uri was read before, if it was one of ours",
        check_unsupported,
    ),
    ("response_type: code", check_response_type),
    ("scope: holds openid", check_scope),
    ("code_challenge: S256, required unless the client is held to the oldest profile", check_pkce),
    ("dpop_jkt: a SHA-256 thumbprint", check_dpop_jkt),
    ("nonce: at most 512 bytes", check_nonce),
    ("prompt: known values, none only alone", check_prompt),
    ("max_age: a whole number of seconds", check_max_age),
    ("resource: names a service this client may ask for", check_resource),
    ("authorization_details: one object of that service, with the fields that its document knows", check_details),
    ("claims: the JSON of OpenID Connect Core section 5.5", check_claims),
    ("acr_values: ours are kept, others ignored", check_acr_values),
    ("id_token_hint: an ID token of ours for this client", check_id_token_hint),
    ("login_hint: at most 256 bytes", check_login_hint),
    ("ui_locales: the first we speak", check_ui_locales),
];

/// Those that concern a request whose client comes for the answer itself.
const COLLECTED_CHECKS: [Check; 11] = [
    check_repetition,
    check_unsupported,
    check_scope,
    check_max_age,
    check_resource,
    check_details,
    check_claims,
    check_acr_values,
    check_id_token_hint,
    check_login_hint,
    check_ui_locales,
];

fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthCode::InvalidRequest, description)
}

fn bounded(value: Option<&str>, most: usize, error: &'static str) -> Result<Option<String>, OAuthError> {
    match value {
        Some(value) if value.len() > most => Err(invalid(error)),
        other => Ok(other.map(str::to_owned)),
    }
}

fn check_state(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let state = bounded(draft.params.one("state")?, MAX_STATE, "state is longer than 512 bytes")?;
    if let Some(reply) = &mut draft.reply {
        reply.state = state;
    }
    Ok(())
}

fn check_response_mode(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let mode = match draft.params.one("response_mode")? {
        None => ResponseMode::Query,
        Some(asked) => {
            let known = ResponseMode::NAMES.iter().find(|(name, _)| *name == asked);
            known.map(|(_, mode)| *mode).ok_or_else(|| invalid("response_mode is not one of ours"))?
        }
    };
    if draft.client.profile.requires_signed_messages() && !mode.is_signed() {
        return Err(invalid("this client's answers are signed: response_mode must be jwt"));
    }
    if let Some(reply) = &mut draft.reply {
        reply.mode = mode;
    }
    Ok(())
}

/// RFC 9126 section 4, FAPI 2.0 Security Profile section 5.3.2.2, FAPI 2.0 Message Signing section 5.3.1.
fn check_arrival(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let (profile, registered) = (draft.client.profile, &draft.client.requests);
    if (profile.requires_pushed() || registered.pushed) && !draft.arrival.pushed {
        return Err(invalid("this client has to push its requests"));
    }
    // OpenID Federation 1.0 section 12.1.1: who comes without having been registered shows by a key who it is.
    let joined = draft.client.id.entity().is_some();
    if joined && !draft.arrival.pushed && !draft.arrival.signed {
        return Err(invalid("this client has to push its requests, or sign them"));
    }
    if (profile.requires_signed_messages() || registered.signed) && !draft.arrival.signed {
        return Err(invalid("this client has to sign its requests"));
    }
    Ok(())
}

fn check_repetition(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    draft.params.repeated().map_or(Ok(()), |_| Err(invalid("a parameter is repeated")))
}

fn check_unsupported(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let refused = [
        ("request", OAuthCode::RequestNotSupported),
        ("request_uri", OAuthCode::RequestUriNotSupported),
        ("registration", OAuthCode::RegistrationNotSupported),
    ];
    for (name, code) in refused {
        if draft.params.one(name)?.is_some() {
            return Err(OAuthError::new(code, format!("{name} is not supported")));
        }
    }
    Ok(())
}

fn check_response_type(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    match draft.params.required("response_type")? {
        "code" => Ok(()),
        _ => Err(OAuthError::new(OAuthCode::UnsupportedResponseType, "response_type must be code")),
    }
}

fn check_scope(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let scopes: Vec<String> = draft.params.required("scope")?.split(' ').map(str::to_owned).collect();
    if !scopes.iter().any(|scope| scope == "openid") {
        return Err(OAuthError::new(OAuthCode::InvalidScope, "scope must hold openid"));
    }
    if scopes.len() > 32 || scopes.iter().any(|scope| scope.is_empty() || scope.len() > 64) {
        return Err(OAuthError::new(OAuthCode::InvalidScope, "scope has too many or empty or too long values"));
    }
    draft.request.claims.scopes = scopes;
    Ok(())
}

fn check_pkce(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let challenge = draft.params.one("code_challenge")?;
    let method = draft.params.one("code_challenge_method")?;
    draft.request.code_challenge = match (challenge, method) {
        (Some(challenge), Some("S256")) => {
            Some(CodeChallenge::parse(challenge).ok_or_else(|| invalid("code_challenge is not an S256 challenge"))?)
        }
        (Some(_), _) => return Err(invalid("code_challenge_method must be S256")),
        (None, Some(_)) => return Err(invalid("code_challenge is missing")),
        (None, None) if draft.client.profile.requires_pkce() => return Err(invalid("code_challenge is missing")),
        (None, None) => None,
    };
    Ok(())
}

fn check_dpop_jkt(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let Some(jkt) = draft.params.one("dpop_jkt")? else { return Ok(()) };
    let shaped = jkt.len() == 43 && jkt.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !shaped {
        return Err(invalid("dpop_jkt is not a thumbprint"));
    }
    draft.request.dpop_jkt = Some(jkt.to_owned());
    Ok(())
}

fn check_nonce(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    draft.request.nonce = bounded(draft.params.one("nonce")?, 512, "nonce is longer than 512 bytes")?;
    Ok(())
}

fn check_prompt(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let mut prompt = Prompt::default();
    for value in draft.params.one("prompt")?.unwrap_or_default().split(' ').filter(|value| !value.is_empty()) {
        match value {
            "none" => prompt.none = true,
            "login" => prompt.login = true,
            "consent" => prompt.consent = true,
            "select_account" => prompt.select_account = true,
            _ => return Err(invalid("prompt has an unknown value")),
        }
    }
    if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
        return Err(invalid("prompt none stands alone"));
    }
    draft.request.prompt = prompt;
    Ok(())
}

fn check_max_age(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    draft.request.max_age = draft.client.requests.default_max_age;
    let Some(text) = draft.params.one("max_age")? else { return Ok(()) };
    let digits = text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    let seconds = text.parse().ok().filter(|_| digits).ok_or_else(|| invalid("max_age is not a number of seconds"))?;
    draft.request.max_age = Some(seconds);
    Ok(())
}

fn check_resource(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let mut named = draft.params.all("resource");
    let (resource, another) = (named.next(), named.next());
    // Details say for which service they are (RFC 9396 section 2): where nothing else does, they name it.
    let kind = draft.params.one("authorization_details")?.map(details::read).transpose()?.map(|(kind, _)| kind);
    let service = match another {
        None => draft.registry.service(draft.client, resource.or(kind.as_deref())),
        Some(_) => None,
    };
    draft.request.service = Some(service.ok_or_else(|| {
        OAuthError::new(OAuthCode::InvalidTarget, "resource must name one service registered for this client")
    })?);
    Ok(())
}

fn check_details(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let Some(text) = draft.params.one("authorization_details")? else { return Ok(()) };
    let (kind, named) = details::read(text)?;
    let same = draft.registry.service(draft.client, Some(&kind));
    let service = draft.request.service.as_ref().filter(|service| same.as_ref() == Some(service));
    let service = service.ok_or_else(|| details::invalid("type is not the service of this request"))?;
    let fields = draft.registry.details(service, &named)?;
    draft.request.details = Some(Details { kind, fields });
    Ok(())
}

fn check_claims(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let Some(text) = draft.params.one("claims")? else { return Ok(()) };
    let registry = draft.registry;
    let asked = claims_parameter::read(text, &|name| registry.retiring_acr(name));
    let asked = asked.ok_or_else(|| invalid("claims is not the JSON object of OpenID Connect Core section 5.5"))?;
    let request = &mut draft.request;
    request.claims = ClaimsRequest { scopes: std::mem::take(&mut request.claims.scopes), ..asked.claims };
    (request.acr, request.subject) = (asked.acr, asked.subject);
    Ok(())
}

fn check_acr_values(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let asked = draft.params.one("acr_values")?.unwrap_or_default();
    if !draft.request.acr.essential {
        let (values, old) = claims_parameter::assurances(&asked.split(' ').collect::<Vec<_>>(), &|name| {
            draft.registry.retiring_acr(name)
        });
        draft.request.acr.values.extend(values);
        draft.request.acr.values.truncate(claims_parameter::MOST_ACR);
        draft.request.acr.old.extend(old);
        if draft.request.acr.values.is_empty() {
            draft.request.acr.values.clone_from(&draft.client.requests.default_acr_values);
        }
    }
    Ok(())
}

fn check_id_token_hint(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    let Some(token) = draft.params.one("id_token_hint")? else { return Ok(()) };
    let subject = draft.registry.hinted_subject(draft.client, token);
    let subject = subject.ok_or_else(|| invalid("id_token_hint is not an ID token issued to this client"))?;
    if draft.request.subject.as_ref().is_some_and(|asked| *asked != subject) {
        return Err(invalid("id_token_hint and claims ask for different people"));
    }
    draft.request.subject = Some(subject);
    Ok(())
}

fn check_login_hint(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    draft.request.login_hint = bounded(draft.params.one("login_hint")?, 256, "login_hint is longer than 256 bytes")?;
    Ok(())
}

fn check_ui_locales(draft: &mut Draft<'_>) -> Result<(), OAuthError> {
    // Mapped to our own set at once: an unknown tag must not become a cache key (CVE-2026-79651).
    draft.request.locale = Locale::negotiate(draft.params.one("ui_locales")?.unwrap_or_default().split(' '));
    Ok(())
}

#[cfg(test)]
#[path = "authorize_tests.rs"]
mod tests;
