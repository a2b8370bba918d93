//! How many connections are open: well below the limit of descriptors, and a share for each address.
//!
//! A connection is *quiet* while no request is answered on it: in its handshake, before its first request, while a body comes, and
//! between two. When there is no room, the one that has been quiet longest makes way, so that silence keeps nobody out.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Connections of one listener at most, whatever the limit of descriptors allows.
const MOST: usize = 65_536;
/// Descriptors that are kept for the store, for calls to others and for files.
const RESERVE: usize = 128;

/// How many connections a process may have that may open so many descriptors: half of them where there are few.
#[must_use]
pub fn budget(descriptors: u64) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let reserve = RESERVE.max(descriptors / 4).min(4 * RESERVE);
    descriptors.saturating_sub(reserve).min(MOST)
}

/// The open connections of one listener.
pub struct Connections {
    most: usize,
    each: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    count: usize,
    by_address: HashMap<IpAddr, Address>,
    /// The quiet ones, by when they became so.
    quiet: BTreeMap<u64, IpAddr>,
    turn: u64,
    refused: u64,
}

#[derive(Default)]
struct Address {
    count: usize,
    quiet: BTreeMap<u64, Arc<Notify>>,
}

/// The place of one connection; it is free again when this is dropped.
pub struct Seat {
    connections: Arc<Connections>,
    address: IpAddr,
    makes_way: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No request runs, since this turn.
    Quiet(u64),
    /// So many requests run.
    Running(usize),
}

impl Connections {
    /// At most `most`, of which one address has half.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        let most = most.max(2);
        Arc::new(Self { most, each: most.div_ceil(2), open: Mutex::default() })
    }

    /// A place for a connection from this address; none where every connection that could make way runs a request.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let address = counted(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.by_address.get(&address).map_or(0, |own| own.count);
        let made_room = if own >= self.each {
            let first = open.by_address.get(&address).and_then(|own| own.quiet.keys().next().copied());
            first.is_some_and(|turn| open.make_way(turn))
        } else if open.count >= self.most {
            let first = open.quiet.keys().next().copied();
            first.is_some_and(|turn| open.make_way(turn))
        } else {
            true
        };
        if !made_room {
            open.refused += 1;
            if open.refused.is_power_of_two() || open.refused.is_multiple_of(1_000) {
                tracing::warn!(limit = "connections", %address, refused = open.refused, "limit reached");
            }
            return None;
        }
        let makes_way = Arc::new(Notify::new());
        open.count += 1;
        open.by_address.entry(address).or_default().count += 1;
        let turn = open.enter_quiet(address, &makes_way);
        let state = Mutex::new(State::Quiet(turn));
        Some(Seat { connections: Arc::clone(self), address, makes_way, state })
    }

    /// Returns once no connection is left.
    pub async fn drained(&self) {
        while self.open.lock().unwrap_or_else(PoisonError::into_inner).count > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Open {
    fn enter_quiet(&mut self, address: IpAddr, makes_way: &Arc<Notify>) -> u64 {
        self.turn += 1;
        self.quiet.insert(self.turn, address);
        self.by_address.entry(address).or_default().quiet.insert(self.turn, Arc::clone(makes_way));
        self.turn
    }

    fn leave_quiet(&mut self, turn: u64) -> Option<Arc<Notify>> {
        let address = self.quiet.remove(&turn)?;
        self.by_address.get_mut(&address)?.quiet.remove(&turn)
    }

    /// Tells a quiet connection to end; its place is free from here on.
    fn make_way(&mut self, turn: u64) -> bool {
        let Some(address) = self.quiet.get(&turn).copied() else { return false };
        if let Some(makes_way) = self.leave_quiet(turn) {
            makes_way.notify_one();
        }
        self.leave(address);
        true
    }

    fn leave(&mut self, address: IpAddr) {
        self.count = self.count.saturating_sub(1);
        if let Some(own) = self.by_address.get_mut(&address) {
            own.count = own.count.saturating_sub(1);
            if own.count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Seat {
    /// The address, as it is counted.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns when this connection has to make way for another.
    pub async fn makes_way(&self) {
        self.makes_way.notified().await;
    }

    /// A request begins.
    pub fn begin(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = match *state {
            State::Running(running) => State::Running(running + 1),
            State::Quiet(turn) => {
                let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
                // One that was told to make way already does, whatever comes now.
                if open.leave_quiet(turn).is_some() { State::Running(1) } else { State::Quiet(turn) }
            }
        };
    }

    /// A request is answered.
    pub fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = match *state {
            State::Running(1) => {
                let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
                State::Quiet(open.enter_quiet(self.address, &self.makes_way))
            }
            State::Running(running) => State::Running(running.saturating_sub(1)),
            quiet => quiet,
        };
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        let held = match state {
            State::Quiet(turn) => open.leave_quiet(turn).is_some(),
            State::Running(_) => true,
        };
        if held {
            open.leave(self.address);
        }
    }
}

/// An address as limits count it: IPv6 by its network of 64 bits, which one host may fill.
#[must_use]
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    async fn was_told(seat: &Seat) -> bool {
        tokio::time::timeout(std::time::Duration::from_millis(10), seat.makes_way()).await.is_ok()
    }

    #[tokio::test]
    async fn the_one_that_has_been_quiet_longest_makes_way() {
        let connections = Connections::new(4);
        let seats: Vec<Seat> = (1..=4).map(|last| connections.admit(ip(last)).unwrap()).collect();
        seats[0].begin();
        let next = connections.admit(ip(5)).unwrap();
        assert!(!was_told(&seats[0]).await && was_told(&seats[1]).await && !was_told(&seats[2]).await);
        // What runs makes no way.
        for seat in [&seats[2], &seats[3], &next] {
            seat.begin();
        }
        assert!(connections.admit(ip(6)).is_none());
        seats[0].end();
        assert!(connections.admit(ip(6)).is_some());
        assert!(was_told(&seats[0]).await);
        drop((seats, next));
        let open = connections.open.lock().unwrap();
        assert!(open.count == 0 && open.by_address.is_empty() && open.quiet.is_empty());
    }

    #[tokio::test]
    async fn one_address_has_half_and_pushes_out_its_own_only() {
        let connections = Connections::new(4);
        let other = connections.admit(ip(1)).unwrap();
        let own: Vec<Seat> = (0..3).map(|_| connections.admit(ip(2)).unwrap()).collect();
        assert!(was_told(&own[0]).await && !was_told(&own[1]).await && !was_told(&other).await);
        own[1].begin();
        own[2].begin();
        assert!(connections.admit(ip(2)).is_none() && connections.admit(ip(3)).is_some());
    }

    #[test]
    fn an_address_is_a_network_of_64_bits_and_v4_is_v4_in_any_clothing() {
        let counted = |text: &str| counted(text.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("::ffff:192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn there_is_always_room_for_what_is_no_connection() {
        for (descriptors, most) in [(64, 0), (256, 128), (1_024, 768), (4_096, 3_584), (1_048_576, MOST)] {
            assert_eq!(budget(descriptors), most, "{descriptors}");
        }
    }
}
