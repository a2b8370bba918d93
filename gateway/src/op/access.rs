//! What a token stands for now: one look-up for whoever brings it, asks about it, or gives it back.

use std::time::Duration;

use gateway_core::assurance::Assurance;
use gateway_core::client::Client;
use gateway_core::error::Failure;
use gateway_core::time::Timestamp;
use gateway_core::token::{About, AccessGrant, RefreshGrant};
use policies::decide::{BackEndPermit, Demand};
use policies::{Facts, Refusal};

use super::refresh::{USED, as_of_now, is_stopped};
use super::token::{decide, is_revoked, may_refresh};
use super::{mint, refresh};
use crate::app::{Active, App};
use crate::receipts::is_withdrawn;
use crate::store::{Class, Key};

/// Something inside failed.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// What an access token is good for.
pub(super) enum Standing {
    /// It lives, its consent stands, and policy permits the login behind it.
    Good(Box<AccessGrant>),
    /// It would, if the login behind it were surer or fresher: a new one would do (RFC 9470).
    FellShort(Box<AccessGrant>, Assurance, Option<Duration>),
    /// Nothing.
    Dead,
}

/// An access token's standing at this moment.
///
/// # Errors
/// The store.
pub(super) async fn access(app: &App, active: &Active, token: &str) -> Result<Standing, Error> {
    let now = app.now();
    let stored = app.store.get(Class::Ephemeral, &Key::of_secret(mint::ACCESS, token), now).await?;
    let grant = stored.and_then(|sealed| app.seals.open_record::<Box<AccessGrant>>(token, &sealed));
    let Some(grant) = grant else { return Ok(Standing::Dead) };
    let client = active.client(&grant.client).map(|registered| &registered.client);
    let served = client.is_some_and(|client| active.serves(client, now));
    // The token itself may have been given back, or its grant revoked: both are durable, and this record may have come back.
    let ended = is_revoked(app, &grant.grant, now).await? || is_revoked(app, &grant.id, now).await?;
    if !served || grant.expires_at.is_past(now) || ended {
        return Ok(Standing::Dead);
    }
    let Some(about) = &grant.about else {
        let permitted = active.decide_back_end(&grant.client, &grant.service);
        let has = |permit: BackEndPermit<'_>| grant.scopes.iter().all(|scope| permit.scopes().contains(scope));
        return Ok(if permitted.is_ok_and(has) { Standing::Good(grant) } else { Standing::Dead });
    };
    if is_withdrawn(&app.store, about.consent.as_ref(), now).await? {
        return Ok(Standing::Dead);
    }
    if !passes_still(app, active, &grant, about, now).await? {
        return Ok(Standing::Dead);
    }
    let facts = Facts { client: &grant.client, service: &grant.service, login: &about.login, demand: Demand::NONE };
    Ok(match active.decide(&facts) {
        Ok(_) => Standing::Good(grant),
        Err(Refusal {
            failure: Failure::AssuranceTooLow | Failure::NotFresh, needed: Some((acr, max_age)), ..
        }) => Standing::FellShort(grant, acr, max_age),
        Err(_) => Standing::Dead,
    })
}

/// Whether everything that an exchanged token rests on still stands: the tokens before it, that they may be exchanged, and how many
/// may help.
async fn passes_still(
    app: &App,
    active: &Active,
    grant: &AccessGrant,
    about: &About,
    now: Timestamp,
) -> Result<bool, Error> {
    let policies = active.catalog.policies();
    let next = grant.through.iter().skip(1).map(|passed| &passed.service).chain([&grant.service]);
    for (passed, next) in grant.through.iter().zip(next) {
        let takes = policies.service(next).is_some_and(|next| next.exchange_from.contains(&passed.service));
        let demand = Demand::NONE;
        let facts = Facts { client: &grant.client, service: &passed.service, login: &about.login, demand };
        if !takes || active.decide(&facts).is_err() || is_revoked(app, &passed.id, now).await? {
            return Ok(false);
        }
    }
    let most = policies.service(&grant.service).map(|service| service.delegation_depth);
    Ok(most.is_some_and(|most| grant.actors.len() <= most))
}

/// What a client's own refresh token stands for, if it could be used now.
///
/// # Errors
/// The store.
pub(super) async fn refresh_token(
    app: &App,
    active: &Active,
    client: &Client,
    token: &str,
) -> Result<Option<RefreshGrant>, Error> {
    let now = app.now();
    let Some(found) = refresh::find(app, token, now).await? else { return Ok(None) };
    let usable = found.grant.client == client.id
        && !found.expires_at.is_past(now)
        && may_refresh(active, client, &found.grant).is_some()
        && app.store.get(Class::Durable, &Key::of_secret(USED, token), now).await?.is_none()
        && !is_stopped(app, &found.grant, now).await?
        && decide(active, &as_of_now(&found.grant, now)).is_ok();
    Ok(usable.then_some(found))
}
