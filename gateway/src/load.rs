//! How far behind this process is, and what is turned away because of it.
//!
//! When more is asked than can be done, everything would get slower until nobody waits for an answer any more. So the delay is
//! measured that work meets, of the processor and of the store. While it is too long, the share of those who begin a sign-in that is
//! let in shrinks, and grows again when it is not: it settles where what is let in can be done, whatever is offered. Who is in
//! the middle of a sign-in is turned away only when that is not enough, and who finishes one last.

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
    /// Begins something on a connection that had to be let in itself.
    LetIn,
}

/// The delay that is aimed at when there is too much to do, in milliseconds.
pub const TURNS_AWAY: u32 = 100;

/// From which delay on some is turned away, and from which all of it: in multiples of the delay that is aimed at.
#[derive(Clone, Copy)]
struct Span(u32, u32);

/// Pages in the middle of a sign-in. Turning one away loses the work before it, so fewer new sign-ins are let in long before.
const GOES_ON: Span = Span(8, 24);
/// Requests that finish a sign-in.
const FINISHES: Span = Span(16, 48);

/// Shares are counted in these.
const WHOLE: u32 = 1 << 16;
/// The least share of those who begin that is let in: it finds out whether there is room again.
const LEAST: u32 = WHOLE / 256;
/// The share that is let in of those who begin on a connection that was let in: the rest of what is too much is turned away as
/// connections, which cost a tenth of a sign-in in handshakes. So when there is a little too much, people are told so on a page.
const OF_LET_IN: u32 = WHOLE / 4 * 3;

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
    /// What part of those who begin is let in.
    share: AtomicU32,
    turn: AtomicU32,
    refused: AtomicU64,
}

impl Default for Load {
    fn default() -> Self {
        let (processor, store, turn) = Default::default();
        let (began, turns_away, share) = (Instant::now(), AtomicU32::new(TURNS_AWAY), AtomicU32::new(WHOLE));
        Self {
            began,
            turns_away,
            processor,
            store,
            store_at: AtomicU64::new(0),
            share,
            turn,
            refused: AtomicU64::new(0),
        }
    }
}

impl Load {
    /// Sets the delay that is aimed at when there is too much to do, in milliseconds.
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
            self.adapt(late.max(self.store_delay()));
        }
    }

    /// Lets in less of those who begin when the delay was too long just now, and more when it was not: slowly while there is work,
    /// because what is let in brings more of it for seconds, and fast when there is none.
    fn adapt(&self, delay: u32) {
        let aim = self.turns_away.load(Ordering::Relaxed);
        let share = self.share.load(Ordering::Relaxed);
        let next = match delay {
            // A wave that begins: what is let in before it is noticed takes long to be done.
            long if long > aim.saturating_mul(4) => share / 4,
            long if long > aim.saturating_mul(2) => share - share / 4,
            long if long > aim => share - share / 16,
            some if some > aim / 4 => share + share / 128 + 1,
            _ => share + share / 16 + 1,
        };
        self.share.store(next.clamp(LEAST, WHOLE), Ordering::Relaxed);
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
        self.processor.load(Ordering::Relaxed).max(self.store_delay())
    }

    fn store_delay(&self) -> u32 {
        let noted = Duration::from_millis(self.age().saturating_sub(self.store_at.load(Ordering::Relaxed)));
        match noted < STORE_SAYS {
            true => self.store.load(Ordering::Relaxed) / STORE_SHARE,
            false => 0,
        }
    }

    /// Whether there is so much to do that some who begin are turned away.
    #[must_use]
    pub fn is_too_much(&self) -> bool {
        self.share.load(Ordering::Relaxed) < WHOLE
    }

    /// Whether a request of this urgency is taken now.
    #[must_use]
    pub fn takes(&self, urgency: Urgency) -> bool {
        let share = self.share.load(Ordering::Relaxed);
        match urgency {
            Urgency::Always => true,
            Urgency::Finishes => self.passes(self.left_of(FINISHES)),
            Urgency::GoesOn => self.passes(self.left_of(GOES_ON)),
            Urgency::Begins => self.passes(share),
            Urgency::LetIn => self.passes(share.max(OF_LET_IN)),
        }
    }

    /// Whether a new connection is taken now. One that `resumes` a session of its browser's is most likely in the middle of a
    /// sign-in; any other most likely begins one.
    #[must_use]
    pub fn takes_connection(&self, resumes: bool) -> bool {
        let share = self.share.load(Ordering::Relaxed);
        self.passes(match resumes {
            true => self.left_of(GOES_ON),
            false => (share / 3 * 4).min(WHOLE),
        })
    }

    /// How much was turned away.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What part the delay leaves of what is turned away in this span.
    fn left_of(&self, Span(from, to): Span) -> u32 {
        let (delay, aim) = (self.delay(), self.turns_away.load(Ordering::Relaxed));
        let (from, to) = (from.saturating_mul(aim), to.saturating_mul(aim));
        let over = u64::from(delay.clamp(from, to) - from) * u64::from(WHOLE) / u64::from(to - from);
        WHOLE - u32::try_from(over).unwrap_or(WHOLE)
    }

    /// Lets a part pass, evenly spread: of a half, every other one.
    fn passes(&self, part: u32) -> bool {
        if part >= WHOLE {
            return true;
        }
        // Steps of the golden ratio fall evenly between 0 and 1.
        let turn = self.turn.fetch_add(0x9E37_79B9, Ordering::Relaxed);
        let passes = turn / (u32::MAX / WHOLE) < part;
        if !passes {
            let count = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
            if count.is_power_of_two() || count.is_multiple_of(10_000) {
                tracing::warn!(delay = self.delay(), refused = count, "more is asked than can be done");
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
        for (delay, share, expected) in [
            (0, WHOLE, [1_000; 4]),
            (800, WHOLE / 4, [1_000, 1_000, 1_000, 250]),
            (1_600, WHOLE / 2, [1_000, 1_000, 500, 500]),
            (3_200, LEAST, [1_000, 500, 0, 4]),
            (9_000, LEAST, [1_000, 0, 0, 4]),
        ] {
            load.processor.store(delay, Ordering::Relaxed);
            load.share.store(share, Ordering::Relaxed);
            let taken = all.map(|urgency| taken(&load, urgency));
            assert!(
                taken.iter().zip(expected).all(|(taken, expected)| taken.abs_diff(expected) <= 2),
                "{delay} {taken:?}"
            );
        }
    }

    /// What is let in as connections and then as requests is the share of those who begin, and no more.
    #[test]
    fn who_begins_is_turned_away_once() {
        let load = Load::default();
        for share in [LEAST, WHOLE / 10, WHOLE / 2, WHOLE / 4 * 3, WHOLE / 8 * 7, WHOLE] {
            load.share.store(share, Ordering::Relaxed);
            let connections = (0..20_000).filter(|_| load.takes_connection(false)).count();
            let begun = (0..connections).filter(|_| load.takes(Urgency::LetIn)).count();
            let expected = 20_000 * share as usize / WHOLE as usize;
            assert!(begun.abs_diff(expected) <= 20, "{share}: {begun} of {expected}");
            assert!(load.takes_connection(true), "who comes back is let in");
        }
    }

    #[test]
    fn the_share_settles_where_the_delay_does_and_is_whole_again_soon() {
        let load = Load::default();
        // A single pause of the machine costs half a second of some sign-ins.
        load.adapt(900);
        assert_eq!(load.share.load(Ordering::Relaxed), WHOLE / 4);
        // Ten times as much as can be done: the delay is long while more than a tenth is let in.
        for _ in 0..500 {
            load.adapt(if load.share.load(Ordering::Relaxed) > WHOLE / 10 { 150 } else { 50 });
        }
        let settled = load.share.load(Ordering::Relaxed);
        assert!((WHOLE / 13..WHOLE / 8).contains(&settled), "{settled}");
        let mut turns = 0;
        while load.is_too_much() {
            load.adapt(0);
            turns += 1;
        }
        assert!(turns * MEASURED.as_millis() < 2_000, "{turns}");
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
