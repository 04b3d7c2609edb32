//! What time it is, as one number that only grows.

use std::time::{Duration, Instant};

/// A duration in nanoseconds, as far as 64 bits can tell it: 584 years.
pub fn as_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A source of monotonic time.
pub trait Clock {
    /// Returns the nanoseconds since the clock's origin. Never goes back.
    fn now(&self) -> u64;
}

/// The system's monotonic clock (`clock_gettime(2)`, `CLOCK_MONOTONIC`); its origin is its creation.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    origin: Instant,
}

impl MonotonicClock {
    /// Creates a clock that starts at zero now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> u64 {
        // 64 bits of nanoseconds last 584 years.
        self.origin.elapsed().as_nanos() as u64
    }
}

/// The system's clock, until it is stopped. Then it stands still and is moved by hand; it goes on from where it
/// stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoppableClock {
    system: MonotonicClock,
    /// What the time is ahead of the system's; wraps around where it is behind.
    offset: u64,
    stop: Option<Stop>,
}

/// Between which times a stopped clock was moved.
#[derive(Clone, Copy, Debug)]
struct Stop {
    began: u64,
    now: u64,
}

impl StoppableClock {
    /// Creates a clock that starts at zero now, and runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the nanoseconds since its creation, whether it was stopped or not.
    pub fn system_now(&self) -> u64 {
        self.system.now()
    }

    /// Returns whether it stands still.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_some()
    }

    /// Stops it. A clock that is stopped already stays as it is.
    pub fn stop(&mut self) {
        let now = self.now();
        self.stop.get_or_insert(Stop { began: now, now });
    }

    /// Returns the nanoseconds by which it was moved since it was stopped.
    pub fn moved(&self) -> u64 {
        self.stop.map_or(0, |stop| stop.now - stop.began)
    }

    /// Moves it so that it is `moved` nanoseconds from where it was stopped; never back. Nothing happens to a clock
    /// that runs.
    pub fn move_to(&mut self, moved: u64) {
        if let Some(stop) = &mut self.stop {
            stop.now = stop.now.max(stop.began.saturating_add(moved));
        }
    }

    /// Lets it run again.
    pub fn resume(&mut self) {
        if let Some(stop) = self.stop.take() {
            self.offset = stop.now.wrapping_sub(self.system.now());
        }
    }
}

impl Clock for StoppableClock {
    fn now(&self) -> u64 {
        match self.stop {
            None => self.system.now().wrapping_add(self.offset),
            Some(stop) => stop.now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_stopped_is_the_systems() {
        let clock = StoppableClock::new();
        let before = clock.system_now();
        let now = clock.now();
        assert!(before <= now && now <= clock.system_now());
        assert!(!clock.is_stopped());
        assert_eq!(clock.moved(), 0);
    }

    #[test]
    fn a_stopped_clock_stands_still_while_the_systems_goes_on() {
        let mut clock = StoppableClock::new();
        clock.stop();
        let (now, system) = (clock.now(), clock.system_now());
        while clock.system_now() == system {}
        assert_eq!(clock.now(), now);
        assert_eq!(clock.moved(), 0);
    }

    #[test]
    fn a_stopped_clock_is_moved_forward_only() {
        let mut clock = StoppableClock::new();
        clock.stop();
        let start = clock.now();
        clock.move_to(1_000);
        clock.move_to(999);
        assert_eq!(clock.now(), start + 1_000);
        clock.stop();
        assert_eq!(clock.moved(), 1_000);
        clock.move_to(u64::MAX);
        assert_eq!(clock.now(), u64::MAX);
    }

    #[test]
    fn a_running_clock_cannot_be_moved() {
        let mut clock = StoppableClock::new();
        clock.move_to(u64::MAX);
        assert!(clock.now() < u64::MAX / 2);
    }

    #[test]
    fn it_goes_on_from_where_it_stands_ahead_of_the_system_or_behind_it() {
        for moved in [0, 3_600_000_000_000] {
            let mut clock = StoppableClock::new();
            clock.stop();
            clock.move_to(moved);
            std::thread::sleep(std::time::Duration::from_millis(2));
            let stood = clock.now();
            clock.resume();
            let behind = clock.system_now().saturating_sub(clock.now());
            assert!(clock.now() >= stood);
            assert_eq!(behind >= 2_000_000, moved == 0);
            while clock.now() == stood {}
            clock.resume();
            assert!(clock.now() > stood);
        }
    }

    #[test]
    fn time_starts_near_zero_and_never_goes_back() {
        let clock = MonotonicClock::new();
        let mut last = clock.now();
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn time_passes() {
        let clock = MonotonicClock::new();
        let before = clock.now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(clock.now() - before >= 2_000_000);
    }
}
