//! `/logout` (OpenID Connect RP-Initiated Logout 1.0): the session ends here, and every portal that it served is told. What
//! could not be ended is said, in words.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::future::join_all;
use gateway_core::audit::Event;
use gateway_core::client::Client;
use gateway_core::digest::keyed;
use gateway_core::error::Failure;
use gateway_core::ids::{ClientId, ProviderId, base64url};
use gateway_core::locale::Locale;
use gateway_core::logout::{Hint, LogoutRequest, Registry, sid};
use gateway_core::params::Params;
use gateway_core::time::Timestamp;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use super::Visit;
use super::session::{Session, SessionError};
use crate::app::App;
use crate::http::{reply, request};
use crate::notices::{self, Notice, NoticeError};
use crate::pages::{Ended, Logout, Told};
use crate::store::{Batch, Class, Key, StoreError, Write};

/// The clients that a session served.
const PARTY: &str = "party";
/// The most that are looked at; a browser serves no more in half a day.
const PARTIES: usize = 500;

/// A client that a session served.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Party {
    client: ClientId,
    subject: String,
}

/// What the names of a session's clients begin with. Names are keyed: somebody who reads the store learns of no session and of no
/// client that it was one person's.
fn parties_of(key: &[u8], session: &str) -> Key {
    Key::new(PARTY, &format!("{}/", base64url(&keyed(key, &[b"parties", session.as_bytes()]))))
}

/// Whether the session that a code came from still serves its client.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn still_serves(app: &App, party: Option<&String>, now: Timestamp) -> Result<bool, StoreError> {
    let Some(party) = party else { return Ok(true) };
    Ok(app.store.get(Class::Durable, &Key::new(PARTY, party), now).await?.is_some())
}

/// `GET /logout`.
pub async fn get(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match request::query(&parts) {
        Ok(params) => visit.asked_to_log_out(&params).await,
        Err(_) => visit.failure_page(StatusCode::BAD_REQUEST, Failure::MalformedRequest, None),
    }
}

/// `POST /logout`. A portal's cross-site POST comes without our cookies, so the browser brings the same request again by GET.
pub async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match request::form(&parts, body).await {
        Ok(params) => reply::see_other(&format!("{}/logout?{}", app.issuer, params.encode())),
        Err(_) => visit.failure_page(StatusCode::BAD_REQUEST, Failure::MalformedRequest, None),
    }
}

/// `POST /logout/confirm`: the person said yes.
pub async fn confirm(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let form = request::form(&parts, body).await.ok().filter(|_| request::is_same_origin(&parts, &app.issuer));
    let Some(form) = form else { return visit.failure_page(StatusCode::FORBIDDEN, Failure::WrongStep, None) };
    match LogoutRequest::parse(&form, &visit) {
        Ok(asked) => visit.log_out(&asked).await,
        Err(failure) => visit.failure_page(StatusCode::BAD_REQUEST, failure, None),
    }
}

impl Registry for Visit<'_> {
    fn client(&self, id: &ClientId) -> Option<&Client> {
        self.active.client(id).map(|registered| &registered.client)
    }

    fn hint(&self, id_token: &str) -> Option<Hint> {
        // An old token still says which session it was: expiry is not looked at (RP-Initiated Logout section 4).
        let claims = self.own_id_token(id_token)?;
        let client = certs::claims::text(&claims, "aud").ok()?.parse().ok()?;
        let sid = certs::claims::text(&claims, "sid").ok().map(str::to_owned);
        Some(Hint { client, sid })
    }
}

impl Visit<'_> {
    /// Ends the session when its own portal asks; anybody else's request is put to the person first, so that no page elsewhere can
    /// sign people out.
    async fn asked_to_log_out(&self, params: &Params) -> Response {
        let asked = match LogoutRequest::parse(params, self) {
            Ok(asked) => asked,
            Err(failure) => return self.failure_page(StatusCode::BAD_REQUEST, failure, None),
        };
        let session = match self.session().await {
            Ok(session) => session,
            Err(error) => return self.internal(&error, None),
        };
        let own = session.as_ref().is_some_and(|session| {
            asked.client.as_ref().is_some_and(|client| asked.sid.as_ref() == Some(&self.sid(&session.id, client)))
        });
        // To end what does not exist is a success, and touches nothing else of this browser's.
        if session.is_none() {
            return self.signed_out(&asked, None, &[]).await;
        }
        if own {
            return self.log_out(&asked).await;
        }
        let locale = self.asked_locale().or(asked.locale).unwrap_or_else(|| self.locale(None));
        let client = asked.client.as_ref().and_then(|id| self.active.client(id));
        let client = client.map(|registered| registered.client.name.get(locale));
        let page = Logout::question(locale, client, params);
        reply::page(StatusCode::OK, page.html(), asked.redirect.as_ref())
    }

    /// Ends this browser's session, tells everybody it served, and leads on. To end what does not exist is a success.
    pub(super) async fn log_out(&self, asked: &LogoutRequest) -> Response {
        let session = match self.session().await {
            Ok(session) => session,
            Err(error) => return self.internal(&error, None),
        };
        let told = match &session {
            Some(session) => self.end(session).await,
            None => Ok(Vec::new()),
        };
        let told = match told {
            Ok(told) => told,
            Err(error) => return self.internal(&error, None),
        };
        if let Err(error) = self.give_up_all().await {
            return self.internal(&error, None);
        }
        let mut response = self.signed_out(asked, session.as_ref(), &told).await;
        // Whoever comes to this browser next continues nothing of this person's.
        self.forget_all(&mut response);
        Self::forget_session(&mut response);
        self.show_no_session(&mut response);
        response
    }

    /// Where the browser goes when all is done: on, where there is nothing more to say, or to the page that says it. Whoever asked
    /// knows already.
    async fn signed_out(
        &self,
        asked: &LogoutRequest,
        session: Option<&Session>,
        told: &[(ClientId, Ended)],
    ) -> Response {
        let target = asked.target();
        let (own, others): (Vec<_>, Vec<_>) =
            told.iter().partition(|(client, _)| target.is_some() && asked.client.as_ref() == Some(client));
        let upstream = match session {
            Some(session) => Some(self.upstream(&session.assertion.provider).await),
            None => None,
        };
        let all_ended = others.iter().all(|(_, ended)| *ended == Ended::Yes)
            && !upstream.as_ref().is_some_and(|(_, place)| place.is_some());
        let locale = self.asked_locale().or(asked.locale).unwrap_or_else(|| self.locale(None));
        // Whoever asked has a page of its own opened as well, and nothing said about it.
        let own: Vec<Told> = self.told(&own, session, locale).into_iter().filter(|own| own.frame.is_some()).collect();
        match target {
            Some(target) if all_ended && own.is_empty() => reply::see_other(&target),
            target => {
                let told = self.told(&others, session, locale);
                let page = Logout::done(&self.active, locale, (own, told), upstream, target, all_ended);
                match page.framed().as_slice() {
                    [] => reply::page(StatusCode::OK, page.html(), asked.redirect.as_ref()),
                    origins => reply::framing_page(page.html(), asked.redirect.as_ref(), origins),
                }
            }
        }
    }

    /// The provider of a session, and where the person can end their sign-in there, if that is known.
    async fn upstream(&self, provider: &ProviderId) -> (ProviderId, Option<String>) {
        let adapter = self.active.adapters.get(provider);
        let back = Url::parse(&format!("{}/account", self.app.issuer)).ok();
        let place = match adapter.zip(back) {
            Some((adapter, back)) => adapter.logout(&back, self.now).await,
            None => None,
        };
        (provider.clone(), place.map(String::from))
    }

    fn told(&self, told: &[&(ClientId, Ended)], session: Option<&Session>, locale: Locale) -> Vec<Told> {
        // Front-Channel Logout section 3: the page learns which session, by the name that its portal has for it.
        let frame = |id: &ClientId, ended: Ended| {
            let mut page = self.active.client(id)?.client.frontchannel_logout_uri.clone()?;
            let sid = self.sid(&session.filter(|_| ended == Ended::Asked)?.id, id);
            page.query_pairs_mut().append_pair("iss", &self.app.issuer).append_pair("sid", &sid);
            Some(page)
        };
        let name = |id: &ClientId| {
            let registered = self.active.client(id);
            registered.map_or_else(|| id.to_string(), |registered| registered.client.name.get(locale).to_owned())
        };
        told.iter()
            .map(|(client, ended)| Told { client: name(client), ended: *ended, frame: frame(client, *ended) })
            .collect()
    }

    /// Ends this browser's session: on record, with a notice laid down for each client that wants one. Each is told at once; those
    /// that do not hear are told again later.
    async fn end(&self, session: &Session) -> Result<Vec<(ClientId, Ended)>, SessionError> {
        let mut parties = self.end_session(session).await?;
        // Whoever got a code from another tab in between.
        parties.extend(self.lay_down_notices(&session.id, &|_| true, None).await?);
        let tell = async |(client, notice): (ClientId, Option<Notice>)| -> Result<(ClientId, Ended), SessionError> {
            let ended = match notice {
                None => self.without_notice(&client),
                Some(notice) if notices::send(self.app, &notice).await? => Ended::Yes,
                Some(_) => Ended::NotYet,
            };
            Ok((client, ended))
        };
        // All at once: one that does not answer makes nobody wait for the others.
        join_all(parties.into_iter().map(tell)).await.into_iter().collect()
    }

    /// Lays down, in one commit, whom to tell: of the clients that the session served those that are `meant`, each with its notice if
    /// it wants one. They are no longer served then. `mark` rides along, whoever is to be told.
    pub(super) async fn lay_down_notices(
        &self,
        session: &str,
        meant: &(dyn Fn(&ClientId) -> bool + Sync),
        mark: Option<Write>,
    ) -> Result<Vec<(ClientId, Option<Notice>)>, NoticeError> {
        let mut parties = self.parties(session).await?;
        parties.retain(|(_, party)| meant(&party.client));
        if parties.is_empty() && mark.is_none() {
            return Ok(Vec::new());
        }
        let clients: Vec<ClientId> = parties.iter().map(|(_, party)| party.client.clone()).collect();
        let mut batch = Batch { writes: mark.into_iter().collect(), ..Batch::default() };
        if !clients.is_empty() {
            batch = batch.recording(Event::SessionEnded { clients });
        }
        let mut told = Vec::new();
        for (key, party) in parties {
            batch = batch.and(Write::Delete(key));
            let client = self.active.client(&party.client).map(|registered| &registered.client);
            let wants = client.is_some_and(|client| client.backchannel_logout_uri.is_some());
            let notice = wants.then(|| self.notice(session, &party));
            if let Some(notice) = &notice {
                batch = batch.and(notice.laid_down(&self.app.seals)?);
            }
            told.push((party.client, notice));
        }
        self.app.store.commit(Class::Durable, batch, self.now).await?;
        Ok(told)
    }

    /// What becomes of a portal that is not told by its back end.
    fn without_notice(&self, client: &ClientId) -> Ended {
        let registered = self.active.client(client);
        let framed = registered.is_some_and(|registered| registered.client.frontchannel_logout_uri.is_some());
        if framed { Ended::Asked } else { Ended::CannotBeTold }
    }

    fn notice(&self, session: &str, party: &Party) -> Notice {
        let sid = self.sid(session, &party.client);
        Notice {
            id: sid.clone(),
            client: party.client.clone(),
            subject: party.subject.clone(),
            sid,
            made_at: self.now,
            attempts: 0,
            failure: String::new(),
            due: self.now,
        }
    }

    /// The session as one client knows it.
    pub(super) fn sid(&self, session: &str, client: &ClientId) -> String {
        sid(self.app.pairwise.expose(), session, client)
    }

    /// Where it is written that a session served a client; gone, once the client was told that it ended.
    pub(super) fn party_key(&self, session: &str, client: &ClientId) -> Key {
        let key = self.app.pairwise.expose();
        let own = keyed(key, &[b"party", session.as_bytes(), client.as_str().as_bytes()]);
        Key::new(PARTY, &format!("{}{}", parties_of(key, session).id(), base64url(&own)))
    }

    /// The write that remembers whom a session served, as long as the session lasts.
    pub(super) fn party(
        &self,
        session: &str,
        client: &ClientId,
        subject: &str,
        until: Timestamp,
    ) -> Result<Write, NoticeError> {
        let key = self.party_key(session, client);
        let party = Party { client: client.clone(), subject: subject.to_owned() };
        let sealed = self.app.seals.at_rest(key.as_str(), &serde_json::to_vec(&party)?)?;
        Ok(Write::Put(key, sealed, Some(until)))
    }

    async fn parties(&self, session: &str) -> Result<Vec<(Key, Party)>, NoticeError> {
        let first = parties_of(self.app.pairwise.expose(), session);
        let listed = self.app.store.list(PARTY, Some(&first), PARTIES, self.now).await?;
        let mut parties = Vec::new();
        for (key, sealed) in listed.into_iter().take_while(|(key, _)| key.as_str().starts_with(first.as_str())) {
            let plain = self.app.seals.open_at_rest(key.as_str(), &sealed).ok();
            match plain.and_then(|plain| serde_json::from_slice(&plain).ok()) {
                Some(party) => parties.push((key, party)),
                // It keeps nobody from signing out.
                None => tracing::error!(key = key.as_str(), "a stored client of a session cannot be read"),
            }
        }
        Ok(parties)
    }
}
