//! What a service is given: the rows of its document that the client asked for, evaluated over what the provider said, as
//! far as the law lets them cross the border.

use std::fmt;
use std::sync::Arc;

use gateway_core::circumstances::DataClass;
use gateway_core::claims::ClaimName;
use gateway_core::claims::ClaimsRequest;
use gateway_core::consent::Cover;
use gateway_core::time::Date;
use serde_json::Value;

use crate::expression::Scope;
use crate::provider::Verification;
use crate::service::{OnMissing, Release, Service};

/// A claim that is ready to go out, with where it comes from: its row says from which claims it was made, why, and by what
/// ground.
#[derive(Clone, PartialEq)]
pub struct Released {
    /// The row that made it.
    pub row: Arc<Release>,
    /// Its value: personal data.
    pub value: Value,
    /// Whether that is the row's default, because its source was missing.
    pub defaulted: bool,
    /// What lets it cross the border, where it crosses one.
    pub cover: Option<Arc<Cover>>,
}

impl Released {
    /// Its name.
    #[must_use]
    pub fn claim(&self) -> &ClaimName {
        &self.row.claim
    }
}

impl fmt::Debug for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Released({}, {})", self.row.claim, self.row.id)
    }
}

/// Why a release cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// A claim the service cannot do without is missing.
    #[error("{0} is missing at the provider")]
    Missing(String),
    /// A claim the service cannot do without may not cross the border.
    #[error("no legal instrument lets {0} cross the border")]
    NotCovered(String),
    /// An expression went wrong. The text names no value.
    #[error("the mapping of {0} failed")]
    Failed(String),
    /// The bundle no longer has the service, the client or the provider.
    #[error("{0} is not in the bundle")]
    Unknown(&'static str),
}

/// What lets data of a class go out: nothing is needed where no border is crossed.
pub(crate) enum Gate<'a> {
    /// No border lies between.
    Open,
    /// One does; whether something covers the class.
    Border(&'a dyn Fn(DataClass) -> Option<Arc<Cover>>),
}

/// What a release is for.
#[derive(Clone, Copy)]
pub(crate) struct Requested<'a> {
    /// What the client asked for.
    pub(crate) claims: &'a ClaimsRequest,
    /// What the provider says that it checked.
    pub(crate) checked: Option<&'a Verification>,
    /// Whether the client is told yes or no and nothing else.
    pub(crate) yes_no: bool,
    /// The day.
    pub(crate) today: Date,
}

/// Puts together what a service is given.
pub(crate) fn release(
    service: &Service,
    scope: &Scope<'_>,
    ask: Requested<'_>,
    gate: &Gate<'_>,
) -> Result<Vec<Released>, ReleaseError> {
    let mut released: Vec<Released> = Vec::new();
    for row in wanted(service, ask) {
        let value = row.from.evaluate(scope).map_err(|_| ReleaseError::Failed(row.claim.to_string()))?;
        // What is called a yes or no and is anything else would say more than its name.
        if row.yes_no && value.as_ref().is_some_and(|value| !value.is_boolean()) {
            return Err(ReleaseError::Failed(row.claim.to_string()));
        }
        let defaulted = value.is_none();
        let value = match (value, &row.on_missing) {
            (Some(value), _) => value,
            (None, OnMissing::Set(default)) => default.clone(),
            (None, OnMissing::Keep) => continue,
            (None, OnMissing::Clear) => {
                released.retain(|earlier| earlier.row.claim != row.claim);
                continue;
            }
            (None, OnMissing::Fail) => return Err(ReleaseError::Missing(row.claim.to_string())),
        };
        released.retain(|earlier| earlier.row.claim != row.claim);
        let cover = match gate {
            Gate::Open => None,
            Gate::Border(covered) => match covered(row.class) {
                Some(cover) => Some(cover),
                // What the service cannot do without and may not have ends the sign-in; anything else stays here.
                None if row.on_missing == OnMissing::Fail => {
                    return Err(ReleaseError::NotCovered(row.claim.to_string()));
                }
                None => continue,
            },
        };
        released.push(Released { row: Arc::clone(row), value, defaulted, cover });
    }
    Ok(released)
}

/// The rows of a document that a request asks for, as far as they serve its client and are still in use. What is asked for as
/// verified alone, and was not checked by the provider in a way that serves, is not asked for at all.
pub(crate) fn wanted<'a>(service: &'a Service, ask: Requested<'a>) -> impl Iterator<Item = &'a Arc<Release>> {
    let Requested { claims, checked, .. } = ask;
    let as_verified = move |row: &Release| {
        checked.is_some_and(|checked| {
            claims.asks_as_verified_under(row.claim.as_str(), &checked.trust_framework) && checked.covers(row)
        })
    };
    let in_scope = |row: &Release| row.scope.as_ref().is_some_and(|scope| claims.scopes.contains(scope));
    let named = move |row: &Release| claims.asks_for(row.claim.as_str()) || in_scope(row) || as_verified(row);
    service.release.iter().filter(move |row| row.serves(ask.yes_no, ask.today) && named(row))
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
