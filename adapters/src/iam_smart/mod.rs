//! Hong Kong's iAM Smart in its own protocol.
//!
//! A login is a page with a code to scan (or the app on the same phone), a code, and a token call. It proves an opaque
//! identifier and nothing else. A person's data, and a stronger check of the person, are requests of their own: the
//! person approves each in the app, and the answer is delivered server to server up to eighteen minutes later.
//!
//! | module | what it owns |
//! | --- | --- |
//! | `call` | one signed POST |
//! | `cek` | the content key |
//! | `code` | return codes |
//! | `device` | what a browser is to the provider |
//! | `profile` | the fields of a profile, as claims |
//! | `wire` | signature and frame |
//!
//! **Why a delivery is believed.** Whoever has our certificate can seal a content key to it, so a sealed key proves
//! nothing. A delivery counts only when its content opens under a content key that *we* fetched, or when its connection
//! shows the provider's client certificate; and then only for a request that is open. The key-encryption key is not used
//! on anything that a stranger sent: its padding would be an oracle.

mod call;
mod cek;
mod code;
mod device;
mod profile;
mod settings;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use certs::envelope::{EnvelopeError, KeyEncryptionKey};
use gateway_core::assertion::UpstreamSubject;
use gateway_core::claims::Claims;
use gateway_core::digest::sha256;
use gateway_core::ids::base64url;
use gateway_core::locale::Locale;
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;

pub(crate) use settings::with_final_slash;
pub use settings::{DeliveryTrust, Settings, StepUp};

use crate::error::UpstreamError;
use crate::http::Http;
use crate::shared::Shared;
use crate::{Adapter, Answer, Approval, Deliveries, Delivery, Departure, Progress, Received, Step, Waiting, Wish};
use call::{Api, Attempt};
use cek::ContentKeys;
use code::{Code, SUCCESS};

/// How long a request stays open at the provider.
const OPEN_FOR: Duration = Duration::from_secs(18 * 60);

/// The longest ticket, in bytes.
const LONGEST_TICKET: usize = 512;

/// What has to survive the visit to the login page.
#[derive(Clone, Serialize, Deserialize)]
struct Plan {
    source: String,
    /// Profile fields to ask for.
    fields: Vec<String>,
    /// The claims that the service could be released.
    asked: Vec<String>,
    /// A method to demand on top.
    method: Option<String>,
}

/// What a login proved.
#[derive(Clone, Serialize, Deserialize)]
struct Login {
    access_token: Secret<String>,
    open_id: Secret<String>,
    user_type: String,
    last_modified: Option<u64>,
    /// Methods demanded and done since.
    done: Vec<String>,
}

/// What a request that is open is about.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Awaited {
    StepUp,
    Profile,
}

/// What has to survive until the delivery.
#[derive(Serialize, Deserialize)]
struct Memo {
    plan: Plan,
    login: Login,
    awaited: Awaited,
}

/// The content of a token answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    access_token: Secret<String>,
    #[serde(rename = "openID")]
    open_id: Secret<String>,
    user_type: String,
    last_modified_date: Option<u64>,
}

/// The immediate answer to a request that the person has to approve.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initiated {
    #[serde(rename = "authByQR", default)]
    auth_by_qr: bool,
    #[serde(rename = "ticketID")]
    ticket_id: Option<String>,
}

/// The body of a delivery.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    code: String,
    secret_key: Option<String>,
    content: Option<String>,
}

/// What an accepted delivery comes down to.
#[derive(Serialize, Deserialize)]
struct Content {
    code: String,
    members: Map<String, Value>,
}

/// iAM Smart.
pub struct IamSmart {
    settings: Settings,
    callback: Url,
    api: Api,
    keys: ContentKeys,
}

impl IamSmart {
    /// An adapter; speaks to nobody yet.
    ///
    /// # Errors
    /// [`EnvelopeError`] when `kek` is no private key.
    pub fn new(
        settings: Settings,
        callback: Url,
        (secret, kek): (Secret<String>, &Secret<String>),
        http: Arc<dyn Http>,
        shared: Arc<dyn Shared>,
    ) -> Result<Self, EnvelopeError> {
        let key = KeyEncryptionKey::from_pem(kek.expose())?;
        let keys = ContentKeys::new(key, base64url(&sha256(kek.expose().as_bytes())));
        let api = Api::new(settings.api.clone(), settings.client_id.clone(), secret, http, shared);
        Ok(Self { settings, callback, api, keys })
    }

    /// A call whose content travels sealed, both ways. A key that the provider does not take is renewed once; the code or
    /// request inside was then not looked at, so it is sent again.
    async fn call(&self, path: &str, content: &Value, label: &str, step: Step<'_>) -> Result<Value, UpstreamError> {
        let key = self.keys.current(&self.api, step, label).await?;
        let (key, attempt) = match self.attempt(path, content, &key, label, step).await? {
            Attempt::Refused(code) if code.is_key_problem() => {
                tracing::warn!(client = self.api.client_id(), path, %code, "content key refused");
                let key = self.keys.renewed(&self.api, &key, step, &format!("{label}/renewed")).await?;
                let attempt = self.attempt(path, content, &key, &format!("{label}/renewed"), step).await?;
                (key, attempt)
            }
            attempt => (key, attempt),
        };
        let Value::String(sealed) = attempt.accepted()? else { return Ok(Value::Null) };
        let plain = wire::unframe(&key, &sealed)
            .ok_or_else(|| UpstreamError::misbehaved("the content of an answer is not sealed under our key"))?;
        serde_json::from_slice(&plain).map_err(|_| UpstreamError::misbehaved("the content of an answer cannot be read"))
    }

    async fn attempt(
        &self,
        path: &str,
        content: &Value,
        key: &certs::envelope::ContentKey,
        label: &str,
        step: Step<'_>,
    ) -> Result<Attempt, UpstreamError> {
        let plain = content.to_string();
        let sealed = wire::frame(key, step.fresh.bytes(&format!("iv/{label}")), plain.as_bytes());
        let sealed = sealed.ok_or_else(|| UpstreamError::Refused("the content cannot be sealed".to_owned()))?;
        // These are the bytes that are signed and the bytes that are sent.
        let body = json!({"content": sealed}).to_string().into_bytes();
        self.api.post(path, body, step.fresh, label).await
    }

    async fn exchange(&self, code: &str, step: Step<'_>) -> Result<Login, UpstreamError> {
        let request = json!({"code": code, "grantType": "authorization_code"});
        let content = self.call("auth/getToken", &request, "token", step).await?;
        let token: Token = serde_json::from_value(content)
            .map_err(|_| UpstreamError::misbehaved("the token answer lacks something"))?;
        // Before anything is asked in that name.
        if UpstreamSubject::parse(token.open_id.expose()).is_none() {
            return Err(UpstreamError::misbehaved("the token answer names nobody"));
        }
        Ok(Login {
            access_token: token.access_token,
            open_id: token.open_id,
            user_type: token.user_type,
            last_modified: token.last_modified_date,
            done: Vec::new(),
        })
    }

    /// What is left to do: a stronger method, then the data, then the answer.
    async fn onward(&self, plan: Plan, login: Login, step: Step<'_>) -> Result<Progress, UpstreamError> {
        let missing = plan.method.clone().filter(|method| !login.done.contains(method));
        if let Some(method) = missing {
            let row = self.settings.step_up.iter().find(|row| row.method == method);
            let members = row.map(|row| row.members.clone()).ok_or(UpstreamError::Unmet)?;
            return self.initiate(&STEP_UP, members, Memo { plan, login, awaited: Awaited::StepUp }, step).await;
        }
        if plan.fields.is_empty() {
            return Ok(Progress::Done(Box::new(answer(&plan, &login, Claims::default())?)));
        }
        let members = Map::from_iter([("profileFields".to_owned(), json!(plan.fields))]);
        self.initiate(&PROFILE, members, Memo { plan, login, awaited: Awaited::Profile }, step).await
    }

    /// Puts a request to the person, by the provider's app.
    async fn initiate(
        &self,
        errand: &Errand,
        mut members: Map<String, Value>,
        memo: Memo,
        step: Step<'_>,
    ) -> Result<Progress, UpstreamError> {
        // 27 random bytes are 36 characters, the most that a request may be named with.
        let request = base64url(&step.fresh.bytes::<27>(errand.label));
        for (name, value) in [
            ("businessID", request.as_str()),
            ("accessToken", memo.login.access_token.expose()),
            ("openID", memo.login.open_id.expose()),
            ("source", &memo.plan.source),
            ("redirectURI", self.callback.as_str()),
            ("state", step.state),
        ] {
            members.insert(name.to_owned(), value.into());
        }
        let content = self.call(errand.path, &Value::Object(members), errand.label, step).await?;
        let initiated: Initiated = serde_json::from_value(content)
            .map_err(|_| UpstreamError::misbehaved("the answer to a request cannot be read"))?;
        // It travels in a cookie.
        if initiated.ticket_id.as_ref().is_some_and(|ticket| ticket.len() > LONGEST_TICKET) {
            return Err(UpstreamError::misbehaved("the ticket is too long"));
        }
        let ticket = initiated.ticket_id.filter(|_| !initiated.auth_by_qr);
        let approval = match ticket.map(|ticket| self.app_link(errand, &ticket)) {
            Some(Some(link)) => Approval::ThisDevice(link),
            Some(None) => return Err(UpstreamError::misbehaved("the ticket fits into no link")),
            None => Approval::OtherDevice,
        };
        let memo = serde_json::to_string(&memo).map_err(|_| UpstreamError::misbehaved("the memo cannot be written"))?;
        Ok(Progress::Waiting(Waiting {
            request: Secret::new(request),
            memo: Secret::new(memo),
            approval,
            until: step.now.plus(OPEN_FOR),
        }))
    }

    /// What opens the app on the same phone at this request.
    fn app_link(&self, errand: &Errand, ticket: &str) -> Option<Url> {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("ticketID", ticket).finish();
        Url::parse(&format!("{}{}?{query}", self.settings.app, errand.screen)).ok()
    }

    /// The plain content of a delivery that is to be believed.
    async fn believed(
        &self,
        envelope: &Envelope,
        delivery: Delivery<'_>,
        step: Step<'_>,
    ) -> Result<Map<String, Value>, UpstreamError> {
        let doubt = || UpstreamError::misbehaved("a delivery that is not to be believed");
        let sealed = envelope.content.as_deref().ok_or_else(doubt)?;
        let plain = match &self.settings.deliveries {
            DeliveryTrust::ContentKey => {
                if !wire::is_frame(sealed) {
                    return Err(doubt());
                }
                let opened =
                    |keys: &[Arc<certs::envelope::ContentKey>]| keys.iter().find_map(|key| wire::unframe(key, sealed));
                let mut plain = opened(&self.keys.at_hand(step.now));
                if plain.is_none() {
                    plain = opened(&self.keys.known(&self.api, step.now).await?);
                }
                if plain.is_none() {
                    plain = self.keys.of_now(&self.api, step).await.and_then(|key| wire::unframe(&key, sealed));
                }
                plain
            }
            DeliveryTrust::MutualTls(name) => {
                let certificate = delivery.certificate.ok_or_else(doubt)?;
                if !certs::tls::is_for(certificate, name) {
                    return Err(doubt());
                }
                let key = envelope.secret_key.as_deref().and_then(|sealed| self.keys.open(sealed));
                key.and_then(|key| wire::unframe(&key, sealed))
            }
        };
        serde_json::from_slice(&plain.ok_or_else(doubt)?).map_err(|_| doubt())
    }
}

/// A kind of request that the person approves in the app.
struct Errand {
    path: &'static str,
    /// The app's screen for it.
    screen: &'static str,
    /// Keeps its randomness apart.
    label: &'static str,
}

const STEP_UP: Errand = Errand { path: "account/stepup/initiateRequest", screen: "re-auth", label: "step-up" };
const PROFILE: Errand = Errand { path: "account/auth/profile/initiateRequest", screen: "profile", label: "profile" };

fn answer(plan: &Plan, login: &Login, claims: Claims) -> Result<Answer, UpstreamError> {
    let subject = UpstreamSubject::parse(login.open_id.expose());
    let updated = Claims::from_object(profile::updated_at(login.last_modified).into_iter().collect());
    Ok(Answer {
        subject: subject.ok_or_else(|| UpstreamError::misbehaved("the token answer names nobody"))?,
        session: None,
        // What the account can do. What was done at this login is in the methods alone.
        acr: Some(login.user_type.clone()),
        amr: login.done.clone(),
        auth_time: None,
        claims: claims.merged_with(updated),
        asked: Some(plan.asked.clone()),
    })
}

fn language(locale: Locale) -> &'static str {
    match locale {
        Locale::ZhHans => "zh-CN",
        Locale::ZhHantHk => "zh-HK",
        // It has no Portuguese.
        Locale::Pt | Locale::En => "en-US",
    }
}

/// The code in a callback. A refusal comes with an error code, or with neither code nor error.
fn code_in(callback: &Params) -> Result<String, UpstreamError> {
    let one =
        |name| callback.one(name).map_err(|_| UpstreamError::misbehaved("a parameter of the callback is repeated"));
    match (one("code")?, one("error_code")?) {
        (Some(code), None) => Ok(code.to_owned()),
        (None, Some(error)) => Err(Code::parse(error).map_or_else(
            || UpstreamError::misbehaved("the callback has no known form of error code"),
            Code::callback_error,
        )),
        (None, None) => Err(UpstreamError::Denied),
        (Some(_), Some(_)) => Err(UpstreamError::misbehaved("the callback has both a code and an error")),
    }
}

#[async_trait]
impl Adapter for IamSmart {
    async fn begin(&self, wish: &Wish, step: Step<'_>) -> Result<Departure, UpstreamError> {
        let source = device::source(wish.user_agent.as_deref().unwrap_or_default());
        let fields = profile::fields_for(&wish.data);
        let declared = |method: &&String| self.settings.step_up.iter().any(|row| row.method == **method);
        let method = wish.methods.iter().find(declared).cloned();
        if method.is_none() && !wish.methods.is_empty() {
            return Err(UpstreamError::Unmet);
        }
        let mut url = self.settings.api.join(&self.settings.qr_path).map_err(|_| UpstreamError::Unsupported)?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("clientID", &self.settings.client_id).append_pair("responseType", "code");
            query.append_pair("source", source).append_pair("redirectURI", self.callback.as_str());
            query.append_pair("scope", &self.settings.scopes.join(" ")).append_pair("state", step.state);
            query.append_pair("lang", language(wish.locale.unwrap_or(Locale::ZhHantHk)));
            if source != device::DESKTOP {
                query.append_pair("brokerPage", "true");
            }
        }
        // What it has no field for was asked for as well: it is missing there, not here.
        let plan = Plan { source: source.to_owned(), fields, asked: wish.data.clone(), method };
        let memo = serde_json::to_string(&plan).map_err(|_| UpstreamError::misbehaved("the memo cannot be written"))?;
        Ok(Departure { url, memo: Secret::new(memo) })
    }

    async fn finish(&self, memo: &str, callback: &Params, step: Step<'_>) -> Result<Progress, UpstreamError> {
        let plan: Plan =
            serde_json::from_str(memo).map_err(|_| UpstreamError::misbehaved("the memo cannot be read"))?;
        let login = self.exchange(&code_in(callback)?, step).await?;
        self.onward(plan, login, step).await
    }

    async fn direct(&self, callback: &Params, step: Step<'_>) -> Result<Answer, UpstreamError> {
        let login = self.exchange(&code_in(callback)?, step).await?;
        let plan = Plan { source: String::new(), fields: Vec::new(), asked: Vec::new(), method: None };
        answer(&plan, &login, Claims::default())
    }

    fn deliveries(&self) -> Deliveries {
        match self.settings.deliveries {
            DeliveryTrust::ContentKey => Deliveries::Open,
            DeliveryTrust::MutualTls(_) => Deliveries::Certified,
        }
    }

    async fn receive(&self, delivery: Delivery<'_>, step: Step<'_>) -> Result<Received, UpstreamError> {
        let envelope: Envelope = serde_json::from_slice(delivery.body)
            .map_err(|_| UpstreamError::misbehaved("a delivery that is not to be believed"))?;
        let mut members = self.believed(&envelope, delivery, step).await?;
        let mut named = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Ok(Secret::new(text)),
            _ => Err(UpstreamError::misbehaved("a delivery that names no request")),
        };
        let (request, state) = (named("businessID")?, named("state")?);
        // Our own requests are sealed under the same key and name the same things: one that is sent back is no answer.
        // No answer has an access token, and no request lacks one.
        if members.contains_key("accessToken") {
            return Err(UpstreamError::misbehaved("a delivery that is a request of ours"));
        }
        let content = serde_json::to_string(&Content { code: envelope.code, members })
            .map_err(|_| UpstreamError::misbehaved("a delivery cannot be kept"))?;
        Ok(Received { request, state, content: Secret::new(content) })
    }

    async fn resume(&self, memo: &str, content: &str, step: Step<'_>) -> Result<Progress, UpstreamError> {
        let unreadable = |_| UpstreamError::misbehaved("what was kept cannot be read");
        let Memo { plan, mut login, awaited } = serde_json::from_str(memo).map_err(unreadable)?;
        let content: Content = serde_json::from_str(content).map_err(unreadable)?;
        if content.code != SUCCESS {
            let code = Code::parse(&content.code);
            return Err(
                code.map_or_else(|| UpstreamError::misbehaved("the delivery has no known form of code"), Code::error)
            );
        }
        // A delivery about somebody else is nobody's.
        let named = content.members.get("openID");
        if named.is_some_and(|named| named.as_str() != Some(login.open_id.expose())) {
            return Err(UpstreamError::misbehaved("the delivery is about somebody else"));
        }
        match awaited {
            Awaited::StepUp => {
                login.done.extend(plan.method.clone());
                self.onward(plan, login, step).await
            }
            Awaited::Profile => {
                let claims = profile::claims(&content.members, &plan.fields)?;
                Ok(Progress::Done(Box::new(answer(&plan, &login, claims)?)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
