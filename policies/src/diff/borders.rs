//! What may cross a border, before and after, on every day on which it could change.

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::circumstances::DataClass;
use gateway_core::ids::{ClientId, ProviderId};
use gateway_core::jurisdiction::{Crossing, Jurisdiction};
use gateway_core::time::Date;

use super::Diff;
use crate::limits::Cuts;
use crate::service::Service;
use crate::set::PolicySet;

/// A client, where the data comes from, and its class.
type Way = (ClientId, Jurisdiction, DataClass);

/// Which claims may cross a border to which client, before and after.
pub(super) fn compare(
    diff: &mut Diff,
    (old, new): (&PolicySet, &PolicySet),
    (before, after): (&Service, &Service),
    today: Date,
) {
    // Whether it opens, and which way: the first day on which that is so.
    let mut changes: BTreeMap<(bool, Way), Date> = BTreeMap::new();
    let days = Cuts::new(today, limits(old, before).chain(limits(new, after)));
    for day in days.firsts() {
        let (was, is) = (open(old, before, *day), open(new, after, *day));
        let (opens, closes) = (is.difference(&was).map(|way| (true, way)), was.difference(&is).map(|way| (false, way)));
        for (opens, way) in opens.chain(closes) {
            changes.entry((opens, way.clone())).or_insert(*day);
        }
    }
    for ((opens, (client, from, class)), day) in changes {
        let on = if day == today { String::new() } else { format!(" on {day}") };
        let may = if opens { "may now go" } else { "may no longer go" };
        diff.tell(opens, &after.id, format!("{class} data {may} from {from} to {client}{on}"), None);
    }
}

/// The days on which an instrument of a service comes into force, and those after a filing of its clients has run out.
fn limits<'a>(set: &'a PolicySet, service: &'a Service) -> impl Iterator<Item = Date> {
    let instruments = service.instruments.iter().filter_map(|id| set.instrument(id));
    let clients = service.clients.iter().filter_map(|id| set.client(id));
    let ends = clients.flat_map(|client| &client.filings).map(|filing| filing.valid_until.next());
    instruments.map(|instrument| instrument.in_force_from).chain(ends)
}

/// The ways that are open on a day. Where there is no border, everything may go.
fn open(set: &PolicySet, service: &Service, day: Date) -> BTreeSet<Way> {
    let classes: BTreeSet<DataClass> = service.release.iter().map(|row| row.class).collect();
    let mut open = BTreeSet::new();
    for client in service.clients.iter().filter_map(|id| set.client(id)) {
        for from in sources(set, service) {
            let crossing = Crossing::between(from, client.jurisdiction);
            let may_go = |class: &DataClass| {
                crossing.is_none_or(|crossing| set.cover(service, client, crossing, *class, day).is_some())
            };
            open.extend(classes.iter().filter(|class| may_go(class)).map(|class| (client.id.clone(), from, *class)));
        }
    }
    open
}

/// Where the providers stand that a service may trust: those of its rows, and with raw Cedar every one.
fn sources(set: &PolicySet, service: &Service) -> BTreeSet<Jurisdiction> {
    let trusted = service.trusted();
    let trusts = |id: &ProviderId| service.cedar.is_some() || trusted.contains(&id);
    set.providers().filter(|provider| trusts(&provider.id)).map(|provider| provider.jurisdiction).collect()
}

/// Instruments that are new, others, or gone.
pub(super) fn compare_instruments(diff: &mut Diff, old: &PolicySet, new: &PolicySet) {
    let ids: BTreeSet<&String> = old.instruments().chain(new.instruments()).map(|instrument| &instrument.id).collect();
    for id in ids.into_iter().filter(|id| old.instrument(id) != new.instrument(id)) {
        let gone = new.instrument(id).is_none();
        let what = if gone { "is an instrument no more" } else { "is another instrument than before, or a new one" };
        diff.tell(!gone, id, what.to_owned(), None);
    }
}
