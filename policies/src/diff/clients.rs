//! How two versions differ in their clients.

use std::collections::BTreeSet;

use gateway_core::client::Client;
use gateway_core::ids::ClientId;

use super::{Diff, Direction};
use crate::service::OnMissing;
use crate::set::PolicySet;

/// Clients that are new, others, or gone.
pub(super) fn compare(diff: &mut Diff, old: &PolicySet, new: &PolicySet) {
    let ids: BTreeSet<&ClientId> = old.clients().chain(new.clients()).map(|client| &client.id).collect();
    for id in ids {
        match (old.client(id), new.client(id)) {
            (None, Some(_)) => diff.tell(true, id, "is a new client".to_owned(), None),
            (Some(_), None) => diff.tell(false, id, "is a client no more".to_owned(), None),
            (Some(before), Some(after)) if before != after => compare_client(diff, new, before, after),
            _ => {}
        }
    }
}

fn compare_client(diff: &mut Diff, new: &PolicySet, before: &Client, after: &Client) {
    let id = &after.id;
    for uri in after.redirect_uris.iter().filter(|uri| !before.redirect_uris.contains(uri)) {
        diff.tell(true, id, format!("people may now be sent to {}", uri.as_str()), None);
    }
    for uri in before.redirect_uris.iter().filter(|uri| !after.redirect_uris.contains(uri)) {
        diff.tell(false, id, format!("people may no longer be sent to {}", uri.as_str()), None);
    }
    if before.verification_only != after.verification_only {
        diff.tell(before.verification_only, id, "is told more than yes or no, or no longer is".to_owned(), None);
    }
    if after.verification_only && !before.verification_only && requires_more(new, after) {
        diff.tell(true, id, "people without a claim that it is told no more may now sign in".to_owned(), None);
    }
    // Whether somebody could gain by it is not told here, so it is looked at as if they could.
    for what in unweighed(before, after) {
        diff.push(Direction::Widening, id, format!("{what} changed"), None);
    }
    if before.refresh_lifetime != after.refresh_lifetime {
        let longer = after.refresh_lifetime > before.refresh_lifetime;
        diff.tell(longer, id, "how long it may refresh changed".to_owned(), None);
    }
    if before.name != after.name {
        diff.push(Direction::Neutral, id, "has another name".to_owned(), None);
    }
}

/// What changed and is not weighed. A field that nobody thought of here is found all the same.
fn unweighed(before: &Client, after: &Client) -> Vec<&'static str> {
    let known = [
        ("its way to authenticate, or its keys", (&before.auth, &before.keys) != (&after.auth, &after.keys)),
        (
            "the sector that its `sub` belongs to",
            (&before.sector, &before.sector_identifier_uri) != (&after.sector, &after.sector_identifier_uri),
        ),
        (
            "where it stands in law",
            (before.jurisdiction, before.registered_in) != (after.jurisdiction, after.registered_in),
        ),
        ("the legal recipient", before.operator != after.operator),
        ("the profile that it is held to", before.profile != after.profile),
        (
            "whether its tokens are bound to a key",
            (before.dpop_bound, before.certificate_bound) != (after.dpop_bound, after.certificate_bound),
        ),
        ("its filings", before.filings != after.filings),
        (
            "where it is told, or people go, when they sign out",
            (&before.backchannel_logout_uri, &before.frontchannel_logout_uri, &before.post_logout_redirect_uris)
                != (&after.backchannel_logout_uri, &after.frontchannel_logout_uri, &after.post_logout_redirect_uris),
        ),
        ("the terms on which portals register under it", before.registration != after.registration),
        (
            "the class of the place, or whether staff help there",
            (before.place, before.staff_assisted) != (after.place, after.staff_assisted),
        ),
        ("the ways in which it gets tokens", before.grant_types != after.grant_types),
        (
            "how its requests and assertions have to come in",
            (&before.requests, before.auth_alg) != (&after.requests, after.auth_alg),
        ),
        ("how it asks people who are somewhere else", before.ciba != after.ciba),
        ("its picture and pages", before.pages != after.pages),
        ("whether its pages may ask if a session changed", before.session_management != after.session_management),
        ("where a sign-in begins", before.initiate_login_uri != after.initiate_login_uri),
        ("its usual service", before.default_service != after.default_service),
        (
            "how what it is sent is signed and encrypted",
            (before.signed, before.encrypted) != (after.signed, after.encrypted),
        ),
    ];
    let found: Vec<&str> = known.iter().filter(|(_, changed)| *changed).map(|(what, _)| *what).collect();
    let weighed = Client {
        name: after.name.clone(),
        redirect_uris: after.redirect_uris.clone(),
        verification_only: after.verification_only,
        refresh_lifetime: after.refresh_lifetime,
        ..before.clone()
    };
    if found.is_empty() && weighed != *after { vec!["something else in its document"] } else { found }
}

/// Whether a sign-in there ends for want of a claim that says more than yes or no.
fn requires_more(set: &PolicySet, client: &Client) -> bool {
    let mut rows = set.services_of(&client.id).flat_map(|service| &service.release);
    rows.any(|row| row.on_missing == OnMissing::Fail && !row.yes_no)
}
