//! How many may be at something at once that strangers can make us do.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// How many requests by reference are fetched together: a small part of the calls that one host may have in flight.
const BY_REFERENCE: usize = 32;
/// How many check lists are made together.
const CHECKLISTS: usize = 4;
/// How many chains of federations are looked for together.
const CLIMBS: usize = 16;
/// How many are asked about at once by anybody who wants to know.
const RESOLVING: usize = 8;
/// How many codes that lead nowhere may be typed in a moment.
pub const GUESSES: usize = 64;
/// How many deliveries are looked at together.
const DELIVERIES: usize = 256;

/// Places for what strangers can make us do, so that they keep nobody from anything else.
pub struct Places {
    /// Places for deliveries: strangers may post as well, and no more than so many are looked at together.
    pub deliveries: Semaphore,
    /// The same for what providers say of logouts.
    pub logouts: Semaphore,
    /// Places for requests that lie elsewhere: strangers can have them fetched.
    pub by_reference: Semaphore,
    /// Places for those who look for strangers in a federation.
    pub climbs: Semaphore,
    /// Places for those who look whether somebody is still in one.
    pub renewals: Semaphore,
    /// Places for those who want to know what a federation says of somebody.
    pub resolving: Semaphore,
    /// Places for check lists, each of which makes many calls.
    pub checklists: Semaphore,
    /// Places for codes that people type: whoever is wrong keeps one for a moment.
    pub guesses: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            deliveries: Semaphore::new(DELIVERIES),
            logouts: Semaphore::new(DELIVERIES),
            by_reference: Semaphore::new(BY_REFERENCE),
            climbs: Semaphore::new(CLIMBS),
            renewals: Semaphore::new(CLIMBS),
            resolving: Semaphore::new(RESOLVING),
            checklists: Semaphore::new(CHECKLISTS),
            guesses: Arc::new(Semaphore::new(GUESSES)),
        }
    }
}
