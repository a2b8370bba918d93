//! Requests to people who are somewhere else (OpenID Connect Client-Initiated Backchannel Authentication): an official, or a
//! machine, asks; the person sees who asks on their own phone, where they are signed in, and answers there.
//!
//! A person is named by the code that their phone shows, for whoever stands before them; or by what the client knows them by already.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::authorize::{Answer, AuthorizationRequest, Collection, Terminal, parse_collected};
use gateway_core::ciba::{BackchannelRequest, Hint, read};
use gateway_core::client::{Client, GrantType};
use gateway_core::consent::ConsentRef;
use gateway_core::digest::keyed;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::{ClientId, PersonId, base64url};
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use gateway_core::token::{CibaRequest, invalid_grant};
use http::request::Parts;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Visit;
use super::client_auth::{self, authenticate};
use super::collected::{self, INTERVAL, Ping, lay_down_ping};
use super::device::{letters, shown, terminal, written};
use super::request_object::{self, Of};
use super::token::{Caller, internal, unless_replayed};
use crate::app::App;
use crate::http::{reply, request};
use crate::receipts::is_withdrawn;
use crate::seal::SealError;
use crate::store::{Batch, Class, Key, RETENTION, StoreError, Write};

/// Requests, by the digest of their `auth_req_id`.
const ASKED: &str = "ciba";
/// Those of one person, by a keyed name of the person and a place.
pub(super) const ASKED_OF: &str = "ciba-asked-of";
/// Requests that were taken.
const TAKEN: &str = "ciba-taken";
/// Persons by what clients know them by.
const KNOWN_AS: &str = "ciba-known-as";
/// Codes that people show, and those that were used.
const PRESENTED: &str = "ciba-presented";
const PRESENTED_USED: &str = "ciba-presented-used";
/// How many of all clients wait for one person at a time. What does not find a place is never seen, and ends by itself: that the list
/// is full is told to nobody, or two clients could find out that they ask for the same person.
const PLACES: usize = 16;
/// How many of one client wait for one person, by the name that it asks for: another one takes the place of its oldest.
const OWN: usize = 2;
/// How long a code that a person shows can be used, in seconds.
pub(super) const PRESENTED_FOR: u64 = 120;

/// What an `auth_req_id` leads to.
#[derive(Serialize, Deserialize)]
struct Asked {
    client: ClientId,
    collection: Collection,
}

/// A request that waits for its person.
pub(super) struct Waiting {
    /// The request.
    pub(super) request: AuthorizationRequest,
}

/// `POST /bc-authorize` (section 7.1).
pub async fn authorize(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async { ask(&app, &parts, &request::form(&parts, body).await?).await };
    match answer.await {
        Ok(asked) => reply::json(StatusCode::OK, &asked),
        Err(error) => reply::refused("back-channel authentication", &error),
    }
}

async fn ask(app: &App, parts: &Parts, form: &Params) -> Result<Value, OAuthError> {
    client_auth::admit(app, parts, form).await;
    let visit = Visit::new(app, parts);
    let registered = authenticate(app, &visit.active, parts, form, "/bc-authorize").await?;
    let client = &registered.client;
    if client.is_public() || !client.grant_types.contains(&GrantType::Ciba) {
        return Err(OAuthError::new(OAuthCode::UnauthorizedClient, "this client is not registered for this"));
    }
    let params = match form.one("request")? {
        // Section 13 has one code for all that can be wrong with it.
        Some(object) => request_object::read(app, registered, object, Of::BackChannel).await.map_err(plain)?,
        // FAPI-CIBA section 5.2.2; and who registered how it signs does sign.
        None if client.profile.is_fapi() || client.requests.signed || client.ciba.alg.is_some() => {
            return Err(OAuthError::new(OAuthCode::InvalidRequest, "this client has to sign its requests"));
        }
        None => form.clone(),
    };
    let asks = read(&params, client.ciba.notify.is_some())?;
    let drawn = || app.entropy.token().map_err(|error| internal(&error));
    let random: [u8; 10] = app.entropy.bytes().map_err(|error| internal(&error))?;
    let (id, now) = (drawn()?, visit.now);
    let terminal = Terminal { message: asks.binding_message.clone(), ..terminal(&params, &random, client.place)? };
    let expires_at = now.plus(asks.lives_for);
    let collection = Collection { handle: drawn()?, expires_at, terminal, listed: String::new() };
    let mut named = params.clone();
    named.keep(&PARAMETERS);
    let mut request = parse_collected(&named, client, collection.clone(), &visit, now)?;
    visit.keep_releasable(&mut request);
    let (person, presented) = visit.hinted(client, &request, &asks).await?;
    // Nobody else answers, whoever opens it.
    request.subject = Some(visit.subject_at(client, &request.service, &person));
    let ping = client.ciba.notify.clone().zip(asks.notification_token);
    let ping = ping.map(|(uri, token)| Ping { uri, token, auth_req_id: id.clone() });
    let check = collection.terminal.check.clone();
    let asked = Asked { client: client.id.clone(), collection };
    // The code that the person showed is used up by what is put to them, and by nothing before.
    if let Some(code) = presented {
        visit.use_presented(&code).await?;
    }
    visit.replace_oldest(&person, &request).await.map_err(|error| internal(&*error))?;
    visit.put_to(&person, &id, &asked, request, ping.as_ref()).await.map_err(|error| internal(&*error))?;
    Ok(json!({
        "auth_req_id": id.expose(),
        "expires_in": asks.lives_for.as_secs(),
        "interval": INTERVAL,
        "check_code": check,
    }))
}

/// The parameters of a request that are read as those of an authorization request.
const PARAMETERS: [&str; 7] =
    ["scope", "resource", "authorization_details", "claims", "acr_values", "max_age", "ui_locales"];

fn plain(error: OAuthError) -> OAuthError {
    match error.code {
        OAuthCode::InvalidRequestObject | OAuthCode::RequestNotSupported => {
            OAuthError { code: OAuthCode::InvalidRequest, ..error }
        }
        _ => error,
    }
}

fn unknown() -> OAuthError {
    OAuthError::new(OAuthCode::UnknownUserId, "nobody is known by this, to this client, just now")
}

/// By which name the requests of a person are found.
fn place_of(app: &App, person: &PersonId, place: usize) -> Key {
    let name = keyed(app.pairwise.expose(), &[b"asked-of", person.as_str().as_bytes()]);
    Key::new(ASKED_OF, &format!("{}.{place}", base64url(&name)))
}

/// Whom a client knows by a name, since they agreed to something of it.
#[derive(Serialize, Deserialize)]
pub(super) struct KnownAs {
    pub(super) person: PersonId,
    /// The account that was proved: it may be another person's since.
    pub(super) account: String,
    /// What was agreed to: it may have been taken back since.
    pub(super) consent: Option<ConsentRef>,
}

impl KnownAs {
    fn key(client: &Client, subject: &str) -> Key {
        Key::of_secret(KNOWN_AS, &format!("{}\n{subject}", client.id))
    }

    /// The write that remembers it.
    pub(super) fn write(
        &self,
        app: &App,
        client: &Client,
        subject: &str,
        now: Timestamp,
    ) -> Result<Write, super::session::SessionError> {
        let key = Self::key(client, subject);
        let plain = serde_json::to_vec(self).map_err(SealError::from)?;
        let sealed = app.seals.at_rest(key.as_str(), &plain)?;
        Ok(Write::Put(key, sealed, Some(now.plus(RETENTION))))
    }
}

impl Visit<'_> {
    /// The person that a hint names to this client, and the code that they showed, if it was that.
    async fn hinted(
        &self,
        client: &Client,
        request: &AuthorizationRequest,
        asks: &BackchannelRequest,
    ) -> Result<(PersonId, Option<String>), OAuthError> {
        let subject = match &asks.hint {
            Hint::IdToken(token) => {
                let claims = self.own_id_token(token).ok_or_else(unknown)?;
                let theirs = certs::claims::has_audience(&claims, client.id.on_the_wire()) == Ok(true);
                let subject = certs::claims::text(&claims, "sub").ok().filter(|_| theirs);
                subject.ok_or_else(unknown)?.to_owned()
            }
            Hint::Login(hint) => {
                let code = written(hint);
                match self.presented(&code).await.map_err(|error| internal(&*error))? {
                    Some(person) => return Ok((person, Some(code))),
                    None => hint.clone(),
                }
            }
        };
        let known = self.known_as(client, &subject).await.map_err(|error| internal(&*error))?.ok_or_else(unknown)?;
        // A name of this person elsewhere names nobody here.
        let same = self.subject_at(client, &request.service, &known.person) == subject;
        if !same {
            return Err(unknown());
        }
        let code = self.user_code(client, asks, &known.person).await?;
        Ok((known.person, code))
    }

    /// The code that a person showed besides their name, where the client has to give it, or gives it.
    async fn user_code(
        &self,
        client: &Client,
        asks: &BackchannelRequest,
        person: &PersonId,
    ) -> Result<Option<String>, OAuthError> {
        let Some(code) = &asks.user_code else {
            let missing = OAuthError::new(OAuthCode::MissingUserCode, "the person has to show a code first");
            return if client.ciba.user_code { Err(missing) } else { Ok(None) };
        };
        let code = written(code.expose());
        let shows = self.presented(&code).await.map_err(|error| internal(&*error))?;
        let theirs = shows.as_ref() == Some(person);
        let invalid = || OAuthError::new(OAuthCode::InvalidUserCode, "this person does not show this code just now");
        theirs.then_some(Some(code)).ok_or_else(invalid)
    }

    /// Whom a client knows by a name, if that is still so: the account is still theirs, and nothing was taken back.
    async fn known_as(&self, client: &Client, subject: &str) -> Result<Option<KnownAs>, super::access::Error> {
        let key = KnownAs::key(client, subject);
        let Some(sealed) = self.app.store.get(Class::Durable, &key, self.now).await? else { return Ok(None) };
        let known: KnownAs = serde_json::from_slice(&self.app.seals.open_at_rest(key.as_str(), &sealed)?)?;
        let theirs = self.links().person(&known.account, self.now).await?.as_ref() == Some(&known.person);
        let withdrawn = is_withdrawn(&self.app.store, known.consent.as_ref(), self.now).await?;
        Ok(Some(known).filter(|_| theirs && !withdrawn))
    }

    /// The person who shows a code, if it was not used yet.
    async fn presented(&self, code: &str) -> Result<Option<PersonId>, super::access::Error> {
        let stored = self.app.store.get(Class::Ephemeral, &Key::of_secret(PRESENTED, code), self.now).await?;
        let used = self.app.store.get(Class::Ephemeral, &Key::of_secret(PRESENTED_USED, code), self.now).await?;
        Ok(stored.filter(|_| used.is_none()).and_then(|sealed| self.app.seals.open_record(code, &sealed)))
    }

    /// Uses a code up that somebody showed: it serves once.
    async fn use_presented(&self, code: &str) -> Result<(), OAuthError> {
        let until = Some(self.now.plus(std::time::Duration::from_secs(PRESENTED_FOR)));
        let used = Write::Insert(Key::of_secret(PRESENTED_USED, code), Vec::new(), until);
        match self.app.store.commit(Class::Ephemeral, Batch::of(used), self.now).await {
            Ok(()) => Ok(()),
            Err(StoreError::Conflict) => Err(unknown()),
            Err(error) => Err(internal(&error)),
        }
    }

    /// A code by which whoever stands before this person may ask for them.
    pub(super) async fn present_code(&self, person: &PersonId) -> Result<String, super::access::Error> {
        let code = letters(&self.app.entropy.bytes::<10>()?);
        let until = Some(self.now.plus(std::time::Duration::from_secs(PRESENTED_FOR)));
        let write = Write::Insert(Key::of_secret(PRESENTED, &code), self.app.seals.record(&code, person)?, until);
        self.app.store.commit(Class::Ephemeral, Batch::of(write), self.now).await?;
        Ok(shown(&code))
    }

    /// Ends what a client asked a person before, where that is more than may wait: it learns nothing of what others ask.
    async fn replace_oldest(
        &self,
        person: &PersonId,
        request: &AuthorizationRequest,
    ) -> Result<(), super::access::Error> {
        let mut own = self.waiting_for(person).await?;
        own.retain(|waiting| waiting.request.client == request.client && waiting.request.subject == request.subject);
        own.sort_by_key(|waiting| waiting.request.received_at);
        let over = (own.len() + 1).saturating_sub(OWN);
        for collection in own.iter().take(over).filter_map(|waiting| waiting.request.collection()) {
            self.deny(collection).await?;
        }
        Ok(())
    }

    /// Puts a request to its person.
    async fn put_to(
        &self,
        person: &PersonId,
        id: &Secret<String>,
        asked: &Asked,
        mut request: AuthorizationRequest,
        ping: Option<&Ping>,
    ) -> Result<(), super::access::Error> {
        let afterwards = asked.collection.expires_at.plus(gateway_core::ciba::LONGEST);
        let record = self.app.seals.record(id.expose(), asked)?;
        let mut batch = Batch::of(Write::Put(Key::of_secret(ASKED, id.expose()), record, Some(afterwards)));
        if let Some(ping) = ping {
            batch = batch.and(lay_down_ping(self.app, &asked.collection, ping)?);
        }
        self.app.store.commit(Class::Ephemeral, batch, self.now).await?;
        for place in 0..PLACES {
            let key = place_of(self.app, person, place);
            let listed = Collection { listed: key.id().to_owned(), ..asked.collection.clone() };
            request.answer = Answer::Collected(listed);
            let sealed = self.app.seals.at_rest(key.as_str(), &serde_json::to_vec(&request)?)?;
            let listed = Batch::of(Write::Insert(key, sealed, Some(asked.collection.expires_at)));
            match self.app.store.commit(Class::Ephemeral, listed, self.now).await {
                Err(StoreError::Conflict) => {}
                done => return Ok(done?),
            }
        }
        Ok(())
    }

    /// The requests that wait for a person.
    pub(super) async fn waiting_for(&self, person: &PersonId) -> Result<Vec<Waiting>, super::access::Error> {
        let mut waiting = Vec::new();
        for place in 0..PLACES {
            let key = place_of(self.app, person, place);
            let Some(sealed) = self.app.store.get(Class::Ephemeral, &key, self.now).await? else { continue };
            let plain = self.app.seals.open_at_rest(key.as_str(), &sealed).ok();
            let request = plain.and_then(|plain| serde_json::from_slice::<AuthorizationRequest>(&plain).ok());
            // One that cannot be read hides no other.
            let Some(request) = request else { continue };
            let Some(collection) = request.collection() else { continue };
            if collected::answer(self.app, &collection.handle, self.now).await?.is_none() {
                waiting.push(Waiting { request });
            }
        }
        Ok(waiting)
    }
}

/// The tokens for whoever comes for an answer (section 10.1).
pub(super) async fn collect(caller: &Caller<'_>, request: &CibaRequest) -> Result<Value, OAuthError> {
    let (app, id, now) = (caller.app, request.id.expose(), caller.app.now());
    let stored = app.store.get(Class::Ephemeral, &Key::of_secret(ASKED, id), now).await;
    let taken = Key::of_secret(TAKEN, id);
    let asked = stored.map_err(|error| internal(&error))?;
    let asked = asked.and_then(|sealed| app.seals.open_record::<Asked>(id, &sealed));
    let Some(asked) = asked.filter(|asked| asked.client == caller.client.id) else {
        return unless_replayed(app, &taken, &caller.client.id, Err(invalid_grant())).await;
    };
    collected::collect(caller, &request.id, &asked.collection, false, (taken, request.resource.as_deref())).await
}
