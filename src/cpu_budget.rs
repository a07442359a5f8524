//! Limits on the CPU time of the threads that talk to Plex, whatever it sends.
//!
//! Each of them has a budget of its own, so that a flood at one endpoint delays no other. It is
//! charged with the CPU time of the thread and with what the event loop spends on the thread's events.
//! Beyond it the thread pauses before it reads on; TCP then makes Plex wait, and nothing is queued
//! here. After a quiet time a burst is free. All shares together stay below 2 % of a core.
//!
//! Where the kernel does not tell the CPU time of a thread there is no limit.

use std::{
    cell::RefCell,
    fs::File,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What a thread may use.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// In the long run: of a core, in hundredths of a percent.
    pub share: u32,
    /// At once, after a quiet time.
    pub burst: Duration,
    /// Beyond that, before it pauses in the middle of a response, which may then time out.
    pub response: Duration,
}

/// The same work takes a build without optimization this many times as long.
const SLOWNESS: u32 = if cfg!(debug_assertions) { 20 } else { 1 };
/// The clock is read at most this often: within this time, no thread can use more.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_mins(2);
/// The most that an event is charged: its time is taken from a clock that runs on while the whole
/// process is stopped.
const MAX_CHARGE: Duration = Duration::from_millis(250);

/// CPU time that others spent for a thread, in nanoseconds.
#[derive(Debug, Clone, Default)]
pub struct Account(Arc<AtomicU64>);

impl Account {
    /// Adds `spent`.
    pub fn charge(&self, spent: Duration) {
        let spent = spent.min(MAX_CHARGE).as_nanos();
        // Always fits.
        let nanoseconds = u64::try_from(spent).unwrap_or(0);
        self.0.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn spent(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// What is left of a limit: a bucket that leaks at the rate of the limit.
#[derive(Debug)]
struct Budget {
    limit: Limit,
    /// CPU time used that the share does not cover yet.
    level: Duration,
    used: Duration,
    updated: Instant,
    /// Pauses since it was last within half of the burst.
    paused: Duration,
}

impl Budget {
    fn new(limit: Limit, used: Duration, now: Instant) -> Self {
        Self {
            limit,
            level: Duration::ZERO,
            used,
            updated: now,
            paused: Duration::ZERO,
        }
    }

    /// `used` is the CPU time at `now`, since the beginning of the thread.
    fn update(&mut self, used: Duration, now: Instant) {
        let elapsed = now.saturating_duration_since(self.updated);
        let covered = elapsed * (self.limit.share * SLOWNESS) / 10_000;
        let spent = used.saturating_sub(self.used);
        self.level = (self.level + spent).saturating_sub(covered);
        (self.used, self.updated) = (used, now);
        if self.level <= self.limit.burst * SLOWNESS / 2 {
            self.paused = Duration::ZERO;
        }
    }

    /// How long to pause until no more than the burst and `beyond` are used.
    fn pause(&self, beyond: Duration) -> Duration {
        let allowed = (self.limit.burst + beyond) * SLOWNESS;
        let pause = self.level.saturating_sub(allowed) * 10_000 / (self.limit.share * SLOWNESS);
        pause.min(MAX_PAUSE)
    }
}

/// The budget of a thread, and how it is measured.
#[derive(Debug)]
struct Meter {
    /// Stays open: `/proc/thread-self/schedstat`.
    clock: File,
    account: Account,
    budget: Budget,
}

impl Meter {
    fn update(&mut self, now: Instant) {
        if let Some(used) = cpu_time(&self.clock) {
            self.budget.update(used + self.account.spent(), now);
        }
    }
}

/// The CPU time of the thread that `schedstat` is about: its first number, in nanoseconds.
fn cpu_time(schedstat: &File) -> Option<Duration> {
    let mut buffer = [0; 64];
    let read = schedstat.read_at(&mut buffer, 0).ok()?;
    let text = str::from_utf8(&buffer[..read]).ok()?;
    let nanoseconds = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

thread_local! {
    static METER: RefCell<Option<Meter>> = const { RefCell::new(None) };
}

/// Limits the thread that calls this, and returns the account to charge with what is done for it.
pub fn limit(limit: Limit) -> Account {
    let account = Account::default();
    let clock = File::open("/proc/thread-self/schedstat");
    METER.set(clock.ok().map(|clock| Meter {
        budget: Budget::new(limit, Duration::ZERO, Instant::now()),
        account: account.clone(),
        clock,
    }));
    account
}

/// How long this thread has to pause before it reads on within a response.
#[must_use]
pub fn pause_within(now: Instant) -> Duration {
    METER.with_borrow_mut(|meter| match meter {
        Some(meter) if now.saturating_duration_since(meter.budget.updated) >= CHECK_INTERVAL => {
            meter.update(now);
            meter.budget.pause(meter.budget.limit.response)
        }
        _ => Duration::ZERO,
    })
}

/// How long this thread has to pause before it begins something new.
#[must_use]
pub fn pause_between() -> Duration {
    METER.with_borrow_mut(|meter| {
        meter.as_mut().map_or(Duration::ZERO, |meter| {
            meter.update(Instant::now());
            meter.budget.pause(Duration::ZERO)
        })
    })
}

/// Pauses as [`pause_within`] said, or for a shorter time.
pub fn sleep(pause: Duration) {
    thread::sleep(pause);
    METER.with_borrow_mut(|meter| {
        if let Some(meter) = meter {
            meter.budget.paused += pause;
        }
    });
}

/// How long this thread has slept since [`reset_pauses`], or since half of its burst was free.
#[must_use]
pub fn pauses() -> Duration {
    METER.with_borrow(|meter| {
        let meter = meter.as_ref();
        meter.map_or(Duration::ZERO, |meter| meter.budget.paused)
    })
}

/// Sets [`pauses`] to zero.
pub fn reset_pauses() {
    METER.with_borrow_mut(|meter| {
        if let Some(meter) = meter {
            meter.budget.paused = Duration::ZERO;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        share: 50,
        burst: Duration::from_millis(100),
        response: Duration::from_millis(40),
    };
    const SECOND: Duration = Duration::from_secs(1);

    fn milliseconds(count: u32) -> Duration {
        Duration::from_millis(count.into()) * SLOWNESS
    }

    #[test]
    fn a_burst_is_free_and_what_is_used_beyond_it_costs_a_pause_in_proportion() {
        let start = Instant::now();
        let mut budget = Budget::new(LIMIT, milliseconds(7), start);
        budget.update(milliseconds(107), start);
        assert_eq!(budget.pause(Duration::ZERO), Duration::ZERO);
        budget.update(milliseconds(117), start);
        // 10 ms at 0.5 % of a core.
        assert_eq!(budget.pause(Duration::ZERO), 2 * SECOND);
        assert_eq!(budget.pause(LIMIT.response), Duration::ZERO);
        budget.update(milliseconds(157), start);
        assert_eq!(budget.pause(LIMIT.response), 2 * SECOND);
        let later = start + budget.pause(Duration::ZERO);
        budget.update(milliseconds(157), later);
        assert_eq!(budget.pause(Duration::ZERO), Duration::ZERO);
        // The whole burst is free again after 20 s.
        let later = later + 20 * SECOND;
        budget.update(milliseconds(257), later);
        assert_eq!(budget.pause(Duration::ZERO), Duration::ZERO);
        budget.update(milliseconds(258), later);
        assert_eq!(budget.pause(Duration::ZERO), SECOND / 5);
    }

    #[test]
    fn whoever_pauses_as_told_keeps_the_share() {
        let start = Instant::now();
        let (mut now, mut used) = (start, Duration::ZERO);
        let mut budget = Budget::new(LIMIT, used, start);
        while now < start + 600 * SECOND {
            used += milliseconds(3);
            now += milliseconds(3);
            budget.update(used, now);
            now += budget.pause(Duration::ZERO);
        }
        let earned = (now - start) * (LIMIT.share * SLOWNESS) / 10_000;
        assert!(used <= earned + milliseconds(101), "{used:?} {earned:?}");
        assert!(used + milliseconds(10) >= earned, "{used:?} {earned:?}");
    }

    #[test]
    fn pauses_add_up_until_half_of_the_burst_is_free_again() {
        let start = Instant::now();
        let mut budget = Budget::new(LIMIT, Duration::ZERO, start);
        budget.update(milliseconds(101), start);
        budget.paused = 3 * SECOND;
        budget.update(milliseconds(101), start + 10 * SECOND);
        assert_eq!(budget.paused, 3 * SECOND);
        budget.update(milliseconds(101), start + 11 * SECOND);
        assert_eq!(budget.paused, Duration::ZERO);
    }

    #[test]
    fn a_thread_is_charged_with_its_own_time_and_with_that_of_others() {
        assert_eq!(pause_between(), Duration::ZERO, "no limit");
        let account = limit(Limit {
            response: Duration::ZERO,
            ..LIMIT
        });
        assert_eq!(pause_between(), Duration::ZERO);
        for _ in 0..11 {
            account.charge(milliseconds(10));
        }
        let pause = pause_between();
        assert!(pause > SECOND && pause < 3 * SECOND, "{pause:?}");
        let begun = Instant::now();
        while pause_within(Instant::now()) < pause {
            assert!(begun.elapsed() < 60 * SECOND);
        }
        sleep(Duration::from_millis(5));
        assert_eq!(pauses(), Duration::from_millis(5));
        reset_pauses();
        assert_eq!(pauses(), Duration::ZERO);
    }
}
