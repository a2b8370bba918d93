//! Portals that nobody registered: a federation that we believe vouches for them (OpenID Federation 1.0 section 12.1).
//!
//! What their chain says of them becomes an entry on the roll, like that of a portal that registered itself, and ends with the
//! chain. Strangers make us write nothing: before a chain holds there is no entry, and only hosts of a federation are asked.

use std::time::Duration;

use adapters::federation::Resolved;
use adapters::shares::Shares;
use futures_util::stream::{self, StreamExt as _};
use gateway_core::audit::RegistrationChange;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::federation::{FederationError, RELYING_PARTY};
use gateway_core::ids::{ClientId, EntityId};
use gateway_core::registration::{Joining, is_within};
use gateway_core::time::Timestamp;
use gateway_core::token::ACCESS_TOKEN_LIFETIME;
use serde_json::{Map, Value};

use super::register::{check, enter};
use crate::admission::Admission;
use crate::app::{Active, App};
use crate::roll::{Record, Vouched};
use crate::server::TEND;

/// How long before a chain ends it is looked for again: so long its portal's tokens may live.
const IN_GOOD_TIME: Duration = ACCESS_TOKEN_LIFETIME;
/// How many are looked after at a time, so that federations of short words do not keep us busy.
const AT_A_TIME: usize = 16;
/// How many of them together.
const TOGETHER: usize = 4;
/// How many may have come and gone lately under a document, for each place that it has.
const COME_AND_GONE: usize = 10;
/// The shortest that a chain has to last: each is written down.
const SHORTEST: Duration = Duration::from_secs(60);

/// Sees to it that a client that names itself as an entity is known, where a federation vouches for it. Whoever is not known
/// afterwards is nobody, and is told so by whatever asks next; why, the log says.
pub(super) async fn admit(app: &App, id: &str) {
    let Ok(entity) = id.parse::<EntityId>() else { return };
    if is_served(app, &entity) {
        return;
    }
    // Each of these makes calls. Who was let in before does not wait behind strangers.
    let places = if app.bundle().knew(&entity) { &app.limits.renewals } else { &app.limits.climbs };
    look_up(app, &entity, places, false).await;
}

/// Enters an entity under the first document that takes it; `anew` says whether its federation is asked whatever is known.
async fn look_up(app: &App, entity: &EntityId, places: &Shares, anew: bool) {
    let active = app.bundle();
    for admission in candidates(app, &active, entity) {
        match join(app, admission, entity, (places, anew)).await {
            Ok(()) => return,
            Err(error) => tracing::info!(%entity, document = %admission.template.id, %error, "not joined"),
        }
    }
}

/// Looks after those who joined: in good time whether their federations still vouch for them, so that nothing of a portal's ends
/// that goes on; and those are forgotten for whom none has for long.
pub async fn look_after(app: &App) {
    let (active, now) = (app.bundle(), app.now());
    let mut ending = active.ending(now, now.plus(IN_GOOD_TIME));
    // Where there are many, those of whom nobody hears anything do not keep us from the others.
    let first =
        usize::try_from(now.0 / TEND.as_secs()).unwrap_or_default().wrapping_mul(AT_A_TIME) % ending.len().max(1);
    ending.rotate_left(first);
    let ending = ending.into_iter().take(AT_A_TIME).filter_map(|id| id.entity()?.parse().ok());
    let looking = ending.map(|entity: EntityId| async move { look_up(app, &entity, &app.limits.renewals, true).await });
    stream::iter(looking).for_each_concurrent(TOGETHER, |one| one).await;
    forget_long_ended(app).await;
}

/// Takes those off the roll for whom no federation has vouched for long, a few at a time.
async fn forget_long_ended(app: &App) {
    let ended: Vec<ClientId> = app.bundle().long_ended(app.now()).into_iter().take(AT_A_TIME).cloned().collect();
    for id in ended {
        // Another node may have done it, and the portal may have come back.
        let change = |active: &Active| {
            let still = active.long_ended(app.now()).contains(&&id);
            if still { Ok((id.clone(), None)) } else { Err(OAuthError::new(OAuthCode::NotFound, "it is not there")) }
        };
        match enter(app, (RegistrationChange::Removed, "gateway"), change).await {
            Ok(_) => tracing::info!(client = %id, "forgotten: no federation has vouched for it for long"),
            Err(error) => tracing::info!(client = %id, %error, "not forgotten"),
        }
    }
}

/// Whether an entity is served as a client now.
fn is_served(app: &App, entity: &EntityId) -> bool {
    let active = app.bundle();
    let known = entity.as_str().parse().ok().and_then(|id| active.client(&id));
    known.is_some_and(|known| active.serves(&known.client, app.now()))
}

/// The documents under which an entity could be a client today, in the order of their names.
fn candidates<'a>(app: &App, active: &'a Active, entity: &EntityId) -> Vec<&'a Admission> {
    let today = app.now().date();
    let fits = |admission: &&Admission| {
        admission.terms.federation.as_ref().is_some_and(|terms| {
            let in_time = admission.terms.until.is_none_or(|until| today <= until);
            in_time && is_within(entity.as_str(), &admission.terms.origins) && !terms.barred.contains(entity)
        })
    };
    let mut found: Vec<&Admission> = active.catalog.admissions().filter(fits).collect();
    found.sort_by(|a, b| a.template.id.cmp(&b.template.id));
    found
}

/// Why an entity does not become a client.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error(transparent)]
    Chain(#[from] FederationError),
    #[error("{} {}", .0.code.as_str(), .0.description)]
    Metadata(OAuthError),
    #[error("{0}")]
    Terms(&'static str),
}

async fn join(
    app: &App,
    admission: &Admission,
    entity: &EntityId,
    (places, anew): (&Shares, bool),
) -> Result<(), JoinError> {
    let (active, now) = (app.bundle(), app.now());
    let terms = admission.terms.federation.as_ref().ok_or(JoinError::Terms("the document names no federation"))?;
    let federation = active.catalog.federation(&terms.federation);
    let anchor = &federation.ok_or(JoinError::Terms("the federation is not in the bundle"))?.anchor;
    let found = match anew {
        true => app.federations.renew(entity, anchor, places, now).await?,
        false => app.federations.resolve(entity, anchor, places, now).await?,
    };
    // Of all who waited for it one enters it.
    if !anew && is_served(app, entity) {
        return Ok(());
    }
    let entered = enter_as(app, (admission, terms), (entity, &found), &anchor.version).await;
    if entered.is_err() {
        app.federations.forget(entity, anchor).await;
    }
    entered
}

/// Enters an entity on the roll as its chain says that it is.
async fn enter_as(
    app: &App,
    (admission, terms): (&Admission, &Joining),
    (entity, found): (&EntityId, &Resolved),
    anchor: &str,
) -> Result<(), JoinError> {
    let now = app.now();
    let marks: Vec<String> = found.marks.iter().map(|mark| mark.kind.clone()).collect();
    let vouched = Vouched { expires_at: found.expires_at, trust_marks: marks, anchor: anchor.to_owned() };
    // What would be over at once would be written down again and again.
    let retired = !app.bundle().catalog.policies().vocabulary().retiring.serves(admission.template.profile, now.date());
    if retired || vouched.expires_at.is_past(now.plus(SHORTEST)) {
        return Err(JoinError::Terms("it could be a client for a moment at most"));
    }
    if !terms.admits(entity, &vouched.trust_marks) {
        return Err(JoinError::Terms("it is barred here, or a mark that is needed is missing"));
    }
    let metadata = own_words(found.chain.metadata(RELYING_PARTY)?)?;
    let metadata = admission.normalized(&metadata).map_err(JoinError::Metadata)?;
    let id = ClientId::joining(&admission.template.id, entity).map_err(|_| JoinError::Terms("the name is too long"))?;
    let registered = admission.client(&metadata, &id, None).map_err(JoinError::Metadata)?;
    if is_full(&app.bundle(), admission, &id, now) {
        return Err(JoinError::Terms(FULL));
    }
    check(app, registered).await.map_err(JoinError::Metadata)?;
    let change = |active: &Active| {
        let before = active.joined(&id).map(|(before, _)| before);
        if is_full(active, admission, &id, now) {
            return Err(OAuthError::new(OAuthCode::AccessDenied, FULL));
        }
        let same = before.filter(|before| before.metadata == metadata);
        let record = Record {
            metadata: metadata.clone(),
            secret: None,
            registration_access_token: String::new(),
            issued_at: before.map_or(now, |before| before.issued_at),
            changed_at: same.map_or(now, |before| before.changed_at),
            // Who the federation lets in is as good as its marks say, and those were looked at.
            live: true,
            vouched: Some(vouched.clone()),
        };
        Ok((id.clone(), Some(record)))
    };
    let kind =
        if app.bundle().joined(&id).is_some() { RegistrationChange::Updated } else { RegistrationChange::Registered };
    enter(app, (kind, ""), change).await.map_err(JoinError::Metadata)?;
    tracing::info!(client = %id, "joined by its federation");
    Ok(())
}

const FULL: &str = "as many are registered as may be";

/// Whether there is no place for a client under its document.
fn is_full(active: &Active, admission: &Admission, id: &ClientId, now: Timestamp) -> bool {
    let most = admission.terms.most;
    let full = active.registered_under(admission, now) >= most
        || active.joined(id).is_none() && active.listed_under(admission) >= COME_AND_GONE.saturating_mul(most);
    full && !active.has_place(id, now)
}

/// What of resolved metadata makes a client here: one that wants to join like this, and proves who it is by a key.
fn own_words(mut metadata: Map<String, Value>) -> Result<Map<String, Value>, JoinError> {
    let kinds = metadata.get("client_registration_types").and_then(Value::as_array);
    if !kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "automatic")) {
        return Err(JoinError::Terms("it does not register automatically"));
    }
    let method = metadata.entry("token_endpoint_auth_method").or_insert_with(|| "private_key_jwt".into());
    if !matches!(method.as_str(), Some("private_key_jwt" | "self_signed_tls_client_auth")) {
        return Err(JoinError::Terms("it would need a secret, and nobody could hand it one"));
    }
    // Pictures have addresses of ours, which have no room for such a name.
    metadata.remove("logo_uri");
    Ok(metadata)
}
