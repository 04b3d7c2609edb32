//! What time it is, as one number that only grows.

use std::time::Instant;

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

#[cfg(test)]
mod tests {
    use super::*;

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
