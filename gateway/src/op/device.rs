//! Device authorization (RFC 8628): a terminal without a browser of its own asks, and shows a code; the person opens it on
//! their own phone, sees which terminal asks, and signs in there with the provider they have.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::authorize::{AuthorizationRequest, Collection, Terminal, parse_collected};
use gateway_core::circumstances::Place;
use gateway_core::error::{Failure, OAuthCode, OAuthError};
use gateway_core::ids::{ClientId, TransactionId, base64url};
use gateway_core::locale::is_readable;
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use gateway_core::token::{DeviceRequest, invalid_grant};
use http::request::Parts;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Visit;
use super::client_auth::{self, authenticate};
use super::collected::{INTERVAL, collect as collect_answer};
use super::token::{Caller, internal, unless_replayed};
use crate::app::App;
use crate::http::{reply, request};
use crate::pages::{DeviceConfirm, DeviceEntry};
use crate::seal::SealError;
use crate::store::{Batch, Class, Key, StoreError, Write};

/// Requests, by the device code's digest.
const DEVICES: &str = "device";
/// The same, by the user code's.
const USER_CODES: &str = "user-code";
/// User codes that somebody opened.
const OPENED: &str = "user-code-opened";
/// Device codes that were taken.
const TAKEN: &str = "device-taken";

/// How long a person has from opening the code to their answer.
const LIFETIME: Duration = Duration::from_secs(600);
/// How long a code at a kiosk can be opened: the next person is in the queue.
const AT_KIOSK: Duration = Duration::from_secs(55);
/// How long a code can be opened elsewhere.
const ELSEWHERE: Duration = Duration::from_secs(300);

/// What a code that leads nowhere is answered with.
const UNKNOWN: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
/// How long somebody who types a code waits for a place.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a code that leads nowhere keeps its place.
const PAUSE: Duration = Duration::from_secs(1);

/// The letters of user codes: no vowels, so that no code is a word (RFC 8628 section 6.1). Twenty, to the eighth power.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// The letters of one code.
pub(super) const LENGTH: usize = 8;

/// What a device's code leads to.
#[derive(Serialize, Deserialize)]
struct Device {
    client: ClientId,
    collection: Collection,
    user_code: Secret<String>,
    opens_until: Timestamp,
}

/// `POST /device_authorization` (RFC 8628 section 3.1).
pub async fn authorization(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async { ask(&app, &parts, &request::form(&parts, body).await?).await };
    match answer.await {
        Ok(asked) => reply::json(StatusCode::OK, &asked),
        Err(error) => reply::refused("device authorization", &error),
    }
}

async fn ask(app: &App, parts: &Parts, form: &Params) -> Result<Value, OAuthError> {
    client_auth::admit(app, parts, form).await;
    let visit = Visit::new(app, parts);
    let client = &authenticate(app, &visit.active, parts, form, "/device_authorization").await?.client;
    // Whoever cannot prove who they are could fill the store, and pretend to be any terminal.
    if client.is_public() || !client.grant_types.contains(&gateway_core::client::GrantType::DeviceCode) {
        return Err(OAuthError::new(OAuthCode::UnauthorizedClient, "this client is not registered for devices"));
    }
    // There is no signed form of this request.
    if client.profile.requires_signed_messages() || client.requests.signed {
        return Err(OAuthError::new(OAuthCode::UnauthorizedClient, "this client has to sign its requests"));
    }
    let drawn = || app.entropy.token().map_err(|error| internal(&error));
    let random: [u8; 10] = app.entropy.bytes().map_err(|error| internal(&error))?;
    let user_code = Secret::new(letters(&random));
    let (handle, device_code, now) = (drawn()?, drawn()?, visit.now);
    let terminal = terminal(form, &random, client.place)?;
    let opens_for = if client.place == Place::Kiosk { AT_KIOSK } else { ELSEWHERE };
    let lives_for = opens_for + LIFETIME;
    let collection = Collection { handle, expires_at: now.plus(lives_for), terminal, listed: String::new() };
    let mut params = form.clone();
    params.keep(&PARAMETERS);
    let request = parse_collected(&params, client, collection.clone(), &visit, now)?;
    let check = collection.terminal.check.clone();
    let device = Device { client: client.id.clone(), collection, user_code, opens_until: now.plus(opens_for) };
    lay_down(app, &device_code, &device, &request).await.map_err(|error| internal(&*error))?;
    let shown = shown(device.user_code.expose());
    let proof = proof(app, device.user_code.expose()).map_err(|error| internal(&error))?;
    Ok(json!({
        "device_code": device_code.expose(),
        "user_code": shown,
        "verification_uri": format!("{}/device", app.issuer),
        "verification_uri_complete": format!("{}/device?user_code={shown}&proof={}", app.issuer, proof.expose()),
        "expires_in": lives_for.as_secs(),
        "user_code_expires_in": opens_for.as_secs(),
        "interval": INTERVAL,
        "check_code": check,
    }))
}

/// The parameters of a request that are read as those of an authorization request.
const PARAMETERS: [&str; 9] = [
    "scope",
    "resource",
    "authorization_details",
    "claims",
    "acr_values",
    "max_age",
    "ui_locales",
    "login_hint",
    "id_token_hint",
];

/// What the terminal says of itself. A kiosk has to say what it is called and where it stands: people are asked about that.
pub(super) fn terminal(form: &Params, random: &[u8], place: Place) -> Result<Terminal, OAuthError> {
    let text = |name| -> Result<String, OAuthError> {
        let text = form.one(name)?.unwrap_or_default();
        if !text.is_empty() && (text.chars().count() > 64 || !is_readable(text)) {
            let why = "terminal_name and terminal_place have at most 64 characters that can be read";
            return Err(OAuthError::new(OAuthCode::InvalidRequest, why));
        }
        Ok(text.to_owned())
    };
    let (name, at) = (text("terminal_name")?, text("terminal_place")?);
    if matches!(place, Place::Kiosk | Place::Counter) && (name.is_empty() || at.is_empty()) {
        let why = "terminal_name and terminal_place are needed: people are asked about them";
        return Err(OAuthError::new(OAuthCode::InvalidRequest, why));
    }
    let digits = random.iter().skip(LENGTH).fold(0_u32, |sum, byte| sum * 256 + u32::from(*byte)) % 10_000;
    Ok(Terminal { name, place: at, check: format!("{digits:04}"), message: String::new() })
}

pub(super) fn letters(random: &[u8]) -> String {
    let letter = |byte: &u8| LETTERS.get(usize::from(*byte) % LETTERS.len()).map(|letter| char::from(*letter));
    random.iter().take(LENGTH).filter_map(letter).collect()
}

/// What the terminal's picture says besides the code, so that it is no guess.
fn proof(app: &App, code: &str) -> Result<Secret<String>, SealError> {
    let digest = app.seals.derived("user-code", code)?;
    Ok(Secret::new(base64url(digest.get(..12).unwrap_or_default())))
}

/// A user code as people read it.
pub(super) fn shown(code: &str) -> String {
    let (first, second) = code.split_at_checked(LENGTH / 2).unwrap_or((code, ""));
    format!("{first}-{second}")
}

/// Looks a code up: at once with the proof of the terminal's picture; typed ones within a bound, of which one address has a share.
/// A code that leads nowhere keeps its place for a moment, so that nobody finds one by trying (RFC 8628 section 5.1).
async fn unless_guessing(
    visit: &Visit<'_>,
    (code, shown): (&str, &str),
    look: impl Future<Output = Response>,
) -> Response {
    // No code is like this: nothing is looked up for it.
    let impossible = code.len() != LENGTH || !code.bytes().all(|letter| LETTERS.contains(&letter));
    if impossible || proof(visit.app, code).is_ok_and(|own| own == Secret::new(shown.to_owned())) {
        return look.await;
    }
    let address = request::address(visit.parts);
    let Some(place) = visit.app.limits.guesses.take(&[&address], PATIENCE).await else {
        return visit.failure_page(StatusCode::SERVICE_UNAVAILABLE, Failure::Busy, None);
    };
    let answer = look.await;
    if answer.status() == UNKNOWN {
        tokio::spawn(async move {
            tokio::time::sleep(PAUSE).await;
            drop(place);
        });
    }
    answer
}

/// A user code as people write it: in small letters, with spaces, or with another stroke between (RFC 8628 section 6.1).
pub(super) fn written(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase()).take(LENGTH + 1).collect()
}

async fn lay_down(
    app: &App,
    device_code: &Secret<String>,
    device: &Device,
    request: &AuthorizationRequest,
) -> Result<(), super::access::Error> {
    let (code, user_code) = (device_code.expose(), device.user_code.expose());
    // Who comes late hears that it is over, and not that it never was.
    let until = device.collection.expires_at.plus(LIFETIME);
    let batch = Batch::of(Write::Put(Key::of_secret(DEVICES, code), app.seals.record(code, device)?, Some(until)));
    let asked = app.seals.record(user_code, request)?;
    let batch = batch.and(Write::Insert(Key::of_secret(USER_CODES, user_code), asked, Some(device.opens_until)));
    Ok(app.store.commit(Class::Ephemeral, batch, app.now()).await?)
}

/// The tokens for a device that comes for them (RFC 8628 section 3.4).
pub(super) async fn collect(caller: &Caller<'_>, request: &DeviceRequest) -> Result<Value, OAuthError> {
    let (app, code) = (caller.app, request.code.expose());
    let now = app.now();
    let stored = app.store.get(Class::Ephemeral, &Key::of_secret(DEVICES, code), now).await;
    let taken = Key::of_secret(TAKEN, code);
    let device = stored.map_err(|error| internal(&error))?;
    let device = device.and_then(|sealed| app.seals.open_record::<Device>(code, &sealed));
    let Some(device) = device.filter(|device| device.client == caller.client.id) else {
        return unless_replayed(app, &taken, &caller.client.id, Err(invalid_grant())).await;
    };
    let over = device.opens_until.is_past(now) && !was_opened(app, &device.user_code, now).await?;
    collect_answer(caller, &request.code, &device.collection, over, (taken, request.resource.as_deref())).await
}

async fn was_opened(app: &App, user_code: &Secret<String>, now: Timestamp) -> Result<bool, OAuthError> {
    let opened = app.store.get(Class::Ephemeral, &Key::of_secret(OPENED, user_code.expose()), now).await;
    opened.map(|opened| opened.is_some()).map_err(|error| internal(&error))
}

/// `GET /device` (RFC 8628 section 3.3): where a person writes the code, or comes with it from a picture.
pub async fn show(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let params = request::query(&parts).unwrap_or_default();
    let one = |name| params.one(name).ok().flatten();
    let Some(code) = one("user_code").map(written) else { return visit.device_entry(false) };
    let came = (code.as_str(), one("proof").unwrap_or_default());
    unless_guessing(&visit, came, visit.device_page(&code)).await
}

/// `POST /device`: the person stands before this terminal, or does not.
pub async fn answer(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    if !request::is_same_origin(&parts, &app.issuer) {
        return visit.failure_page(StatusCode::FORBIDDEN, Failure::WrongStep, None);
    }
    let Ok(form) = request::form(&parts, body).await else {
        return visit.failure_page(StatusCode::BAD_REQUEST, Failure::WrongStep, None);
    };
    let one = |name| form.one(name).ok().flatten().unwrap_or_default();
    let code = written(one("user_code"));
    let look = async {
        match one("decision") {
            "yes" => visit.open_device(&code).await,
            "no" => visit.refuse_device(&code).await,
            _ => visit.device_page(&code).await,
        }
    };
    unless_guessing(&visit, (&code, one("proof")), look).await
}

impl Visit<'_> {
    fn device_entry(&self, unknown: bool) -> Response {
        let status = if unknown { UNKNOWN } else { StatusCode::OK };
        reply::page(status, DeviceEntry::new(self.chosen_locale(), unknown).html(), None)
    }

    /// The request that a user code leads to, while it can be opened.
    async fn asked(&self, code: &str) -> Result<Option<AuthorizationRequest>, super::access::Error> {
        let stored = self.app.store.get(Class::Ephemeral, &Key::of_secret(USER_CODES, code), self.now).await?;
        Ok(stored.and_then(|sealed| self.app.seals.open_record(code, &sealed)))
    }

    /// Shows which terminal asks, and changes nothing: pages are opened by whatever looks at a picture.
    async fn device_page(&self, code: &str) -> Response {
        let request = match self.asked(code).await {
            Ok(Some(request)) => request,
            Ok(None) => return self.device_entry(true),
            Err(error) => return self.internal(&*error, None),
        };
        let locale = self.chosen_locale();
        let proof = match proof(self.app, code) {
            Ok(proof) => proof,
            Err(error) => return self.internal(&error, None),
        };
        match DeviceConfirm::new(&self.active, locale, &request, (&shown(code), proof.expose())) {
            Some(page) => reply::page(StatusCode::OK, page.html(), None),
            None => self.device_entry(true),
        }
    }

    /// Opens a code, once, and begins the sign-in.
    async fn open_device(&self, code: &str) -> Response {
        let opened = async {
            let Some(mut request) = self.asked(code).await? else { return Ok(None) };
            request.received_at = self.now;
            self.keep_releasable(&mut request);
            let mut transaction = self.transaction_for(request).await?;
            transaction.locale = Some(self.chosen_locale());
            Ok::<_, super::access::Error>(
                self.use_code(code, &transaction.id, &transaction.request).await?.then_some(transaction),
            )
        };
        match opened.await {
            Ok(Some(transaction)) => self.begin(transaction).await,
            Ok(None) => self.opened_before(code).await,
            Err(error) => self.internal(&*error, None),
        }
    }

    /// Uses a code up for this sign-in. False when somebody did before.
    async fn use_code(
        &self,
        code: &str,
        transaction: &TransactionId,
        request: &AuthorizationRequest,
    ) -> Result<bool, StoreError> {
        let until = request.collection().map_or(self.now, |collection| collection.expires_at);
        let write = Write::Insert(Key::of_secret(OPENED, code), transaction.to_string().into_bytes(), Some(until));
        match self.app.store.commit(Class::Ephemeral, Batch::of(write), self.now).await {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whoever presses the button twice goes on where they are; to anybody else the code is over.
    async fn opened_before(&self, code: &str) -> Response {
        let opened = self.app.store.get(Class::Ephemeral, &Key::of_secret(OPENED, code), self.now).await;
        let by = opened.ok().flatten().and_then(|by| String::from_utf8(by).ok()?.parse::<TransactionId>().ok());
        let own = match by {
            Some(by) => self.transaction(&by).await,
            None => Ok(None),
        };
        match own {
            Ok(Some(own)) => reply::see_other(&format!("{}/login/{}", self.app.issuer, own.id)),
            Ok(None) => self.device_entry(true),
            Err(error) => self.internal(&error, None),
        }
    }

    /// This is not the terminal before the person: whoever asked hears no.
    async fn refuse_device(&self, code: &str) -> Response {
        let refused = async {
            let Some(request) = self.asked(code).await? else { return Ok(false) };
            // Nobody opens it after that; and who comes after it was opened has nothing to say.
            let nobody = TransactionId::from_random(self.app.entropy.bytes()?);
            if !self.use_code(code, &nobody, &request).await? {
                return Ok(false);
            }
            if let Some(collection) = request.collection() {
                self.deny(collection).await?;
            }
            Ok::<_, super::access::Error>(true)
        };
        match refused.await {
            Ok(true) => reply::page(StatusCode::OK, crate::pages::device_done(self.chosen_locale(), false), None),
            Ok(false) => self.device_entry(true),
            Err(error) => self.internal(&*error, None),
        }
    }
}
