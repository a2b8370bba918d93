//! How far behind this process is, and what is turned away because of it.
//!
//! When more is asked than can be done, everything would get slower until nobody waits for an answer any more. So the delay is
//! measured that work meets, of the processor and of the store, and new work is turned away at once while it is too long: first who
//! begins a sign-in, last who finishes one. The delay has a soft beginning, so that what can be done is done all the time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How important a request is when there is too much to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Costs next to nothing, and tells others how we are.
    Always,
    /// Finishes what somebody began: tokens, callbacks, answers of people.
    Finishes,
    /// A page in the middle of a sign-in.
    GoesOn,
    /// Begins something.
    Begins,
}

/// The delay from which on those are turned away who begin something, in milliseconds.
pub const TURNS_AWAY: u32 = 150;
/// A new connection: it may be anybody's, and its handshake is dear.
const CONNECTION: Span = Span(3, 10);

/// From which delay on some is turned away, and from which all of it: in multiples of the delay at which it begins.
#[derive(Clone, Copy)]
struct Span(u32, u32);

impl Urgency {
    fn span(self) -> Option<Span> {
        match self {
            Self::Always => None,
            Self::Finishes => Some(Span(13, 27)),
            Self::GoesOn => Some(Span(5, 13)),
            Self::Begins => Some(Span(1, 4)),
        }
    }
}

/// How often the processor's delay is measured.
const MEASURED: Duration = Duration::from_millis(20);
/// How many times longer the store may take than the processor before anything is turned away: a slow disk serves many at once.
const STORE_SHARE: u32 = 5;
/// How long the store's delay says anything after it was measured.
const STORE_SAYS: Duration = Duration::from_secs(2);

/// The delay that work meets.
#[derive(Debug)]
pub struct Load {
    began: Instant,
    turns_away: AtomicU32,
    processor: AtomicU32,
    store: AtomicU32,
    store_at: AtomicU64,
    turn: AtomicU32,
    refused: AtomicU64,
}

impl Default for Load {
    fn default() -> Self {
        let (processor, store, turn) = Default::default();
        let (began, turns_away) = (Instant::now(), AtomicU32::new(TURNS_AWAY));
        Self { began, turns_away, processor, store, store_at: AtomicU64::new(0), turn, refused: AtomicU64::new(0) }
    }
}

impl Load {
    /// Sets the delay from which on those are turned away who begin something, in milliseconds.
    pub fn turn_away_at(&self, millis: u32) {
        self.turns_away.store(millis, Ordering::Relaxed);
    }

    /// Measures the processor's delay until told to stop: how much later than asked a task is woken, and then gets its turn.
    pub async fn measure(&self, mut stop: watch::Receiver<bool>) {
        loop {
            let began = Instant::now();
            tokio::select! {
                () = tokio::time::sleep(MEASURED) => {}
                _ = stop.changed() => return,
            }
            // A task that yields goes to the end of the queue.
            tokio::task::yield_now().await;
            let late = millis(began.elapsed().saturating_sub(MEASURED));
            let before = self.processor.load(Ordering::Relaxed);
            // It rises at once and falls within a few tenths of a second.
            let next = if late > before { (before + late).div_ceil(2) } else { (before * 7 + late) / 8 };
            self.processor.store(next, Ordering::Relaxed);
        }
    }

    /// Notes how long a durable write took.
    pub fn store_took(&self, span: Duration) {
        let before = self.store.load(Ordering::Relaxed);
        self.store.store((before * 3 + millis(span)) / 4, Ordering::Relaxed);
        self.store_at.store(self.age(), Ordering::Relaxed);
    }

    /// Milliseconds since this was made.
    fn age(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The delay, in milliseconds.
    #[must_use]
    pub fn delay(&self) -> u32 {
        let noted = Duration::from_millis(self.age().saturating_sub(self.store_at.load(Ordering::Relaxed)));
        let store = match noted < STORE_SAYS {
            true => self.store.load(Ordering::Relaxed) / STORE_SHARE,
            false => 0,
        };
        self.processor.load(Ordering::Relaxed).max(store)
    }

    /// Whether a request of this urgency is taken now.
    #[must_use]
    pub fn takes(&self, urgency: Urgency) -> bool {
        urgency.span().is_none_or(|span| self.passes(span))
    }

    /// Whether a new connection is taken now.
    #[must_use]
    pub fn takes_connection(&self) -> bool {
        self.passes(CONNECTION)
    }

    /// How much was turned away.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Lets the part pass that the delay leaves, evenly spread: of a half, every other one.
    fn passes(&self, Span(from, to): Span) -> bool {
        let (delay, unit) = (self.delay(), self.turns_away.load(Ordering::Relaxed));
        let (from, to) = (from.saturating_mul(unit), to.saturating_mul(unit));
        if delay <= from {
            return true;
        }
        let refused = f64::from(delay.min(to) - from) / f64::from(to - from);
        // Steps of the golden ratio fall evenly between 0 and 1.
        let turn = self.turn.fetch_add(0x9E37_79B9, Ordering::Relaxed);
        let passes = f64::from(turn) / f64::from(u32::MAX) >= refused;
        if !passes {
            let count = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
            if count.is_power_of_two() || count.is_multiple_of(10_000) {
                tracing::warn!(delay, refused = count, "more is asked than can be done");
            }
        }
        passes
    }
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX / 8).min(u32::MAX / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(load: &Load, urgency: Urgency) -> usize {
        (0..1_000).filter(|_| load.takes(urgency)).count()
    }

    #[test]
    fn who_begins_makes_way_first_and_evenly() {
        let load = Load::default();
        let all = [Urgency::Always, Urgency::Finishes, Urgency::GoesOn, Urgency::Begins];
        for (delay, expected) in [
            (0, [1_000; 4]),
            (150, [1_000; 4]),
            (375, [1_000, 1_000, 1_000, 500]),
            (1_350, [1_000, 1_000, 500, 0]),
            (3_000, [1_000, 500, 0, 0]),
            (9_000, [1_000, 0, 0, 0]),
        ] {
            load.processor.store(delay, Ordering::Relaxed);
            let taken = all.map(|urgency| taken(&load, urgency));
            assert!(
                taken.iter().zip(expected).all(|(taken, expected)| taken.abs_diff(expected) <= 2),
                "{delay} {taken:?}"
            );
        }
    }

    #[test]
    fn a_slow_store_counts_less_than_a_slow_processor() {
        let load = Load::default();
        for _ in 0..20 {
            load.store_took(Duration::from_secs(1));
        }
        assert!((150..=200).contains(&load.delay()), "{load:?}");
    }

    #[tokio::test]
    async fn a_busy_processor_is_noticed_and_forgotten() {
        let load = std::sync::Arc::new(Load::default());
        let (_stop, stopped) = watch::channel(false);
        let measuring = std::sync::Arc::clone(&load);
        tokio::spawn(async move { measuring.measure(stopped).await });
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_millis(600));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(load.delay() > 150, "{load:?}");
        while load.delay() > 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
