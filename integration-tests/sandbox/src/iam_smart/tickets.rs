//! Requests for data or another authentication, from the call that opens one to the person's answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After this long a request is over and nothing about it is sent any more.
const LIFE: Duration = Duration::from_secs(18 * 60);

/// Requests that are over are forgotten each time this many have been opened.
const SWEEP: usize = 1024;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Personal data.
    Profile,
    /// Another authentication.
    StepUp,
}

impl Kind {
    /// The name of the app's page.
    pub(super) const fn app_page(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::StepUp => "re-auth",
        }
    }

    /// The code of a person's refusal.
    pub(super) const fn rejected(self) -> &'static str {
        match self {
            Self::Profile => "D50001",
            Self::StepUp => "D80001",
        }
    }
}

/// A request and, through its grant, the person it concerns.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) client_id: String,
    pub(super) person: String,
    pub(super) business_id: String,
    pub(super) state: String,
    pub(super) open_id: String,
    pub(super) redirect_uri: String,
    pub(super) fields: Vec<String>,
    pub(super) opened: Instant,
    pub(super) decided: bool,
}

impl Ticket {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) > LIFE
    }
}

/// All requests; those that are over are as good as gone.
#[derive(Default)]
pub(super) struct Tickets(Mutex<BTreeMap<String, Ticket>>);

impl Tickets {
    /// Opens a request.
    pub(super) fn open(&self, ticket: Ticket) {
        let mut tickets = self.lock();
        if tickets.len() % SWEEP == SWEEP - 1 {
            tickets.retain(|_, old| !old.is_over(ticket.opened));
        }
        tickets.insert(ticket.id.clone(), ticket);
    }

    /// The request with this identifier, decided or not.
    pub(super) fn get(&self, id: &str) -> Option<Ticket> {
        self.lock().get(id).filter(|ticket| !ticket.is_over(Instant::now())).cloned()
    }

    /// The request a client gave this identifier.
    pub(super) fn by_business_id(&self, business_id: &str) -> Option<Ticket> {
        self.lock().values().find(|ticket| ticket.business_id == business_id).cloned()
    }

    /// Requests nobody has answered yet.
    pub(super) fn waiting(&self) -> Vec<Ticket> {
        let now = Instant::now();
        self.lock().values().filter(|ticket| !ticket.decided && !ticket.is_over(now)).cloned().collect()
    }

    /// Marks a request as answered; only one caller ever gets it.
    pub(super) fn decide(&self, id: &str) -> Option<Ticket> {
        let mut tickets = self.lock();
        let ticket = tickets.get_mut(id).filter(|ticket| !ticket.decided && !ticket.is_over(Instant::now()))?;
        ticket.decided = true;
        Some(ticket.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(id: &str) -> Ticket {
        Ticket {
            id: id.to_owned(),
            kind: Kind::Profile,
            client_id: String::new(),
            person: String::new(),
            business_id: format!("b-{id}"),
            state: String::new(),
            open_id: String::new(),
            redirect_uri: String::new(),
            fields: Vec::new(),
            opened: Instant::now(),
            decided: false,
        }
    }

    #[test]
    fn a_request_is_decided_once() {
        let tickets = Tickets::default();
        tickets.open(ticket("t"));
        assert_eq!(tickets.waiting().len(), 1);
        assert!(tickets.decide("t").is_some());
        assert!(tickets.decide("t").is_none());
        assert!(tickets.waiting().is_empty());
        assert!(tickets.get("t").is_some_and(|ticket| ticket.decided));
    }

    #[test]
    fn a_request_is_over_after_eighteen_minutes() {
        let ticket = ticket("t");
        assert!(!ticket.is_over(ticket.opened + LIFE));
        assert!(ticket.is_over(ticket.opened + LIFE + Duration::from_secs(1)));
    }
}
