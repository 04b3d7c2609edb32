//! Timers by the million: a hierarchical timing wheel in front of a small heap.
//!
//! Time is cut into ticks of 2²⁰ ns (about a millisecond). What is due within the current tick, or was due
//! before, lies in the *near heap*, ordered to the nanosecond and, for equal deadlines, by insertion. All else
//! hangs in the wheel: eight levels of 64 buckets, where a bucket of level `n` spans 64ⁿ ticks, which covers the
//! whole of `u64`. A timer's level is the highest base-64 digit in which its tick differs from the current one,
//! its bucket that digit. So a bucket never mixes rotations, everything in a level is due before anything in the
//! next one, and when the current tick enters a bucket, its timers move to lower levels or the near heap. Each
//! timer moves at most once per level, and most are removed (a timeout that did not strike) before they move at
//! all: starting and cancelling cost a few writes, however many others there are.
//!
//! After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::slab::{Key, NOWHERE, Slab};

/// Names a timer. A key whose timer was removed or popped is stale: it names nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey(Key);

impl TimerKey {
    /// Returns the key as a number between 1 and 2⁵³, so that it can travel as a JavaScript number.
    pub const fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// Takes a number from [`TimerKey::to_bits`] back. Any other number makes a key that names nothing.
    pub const fn from_bits(bits: u64) -> Self {
        Self(Key::from_bits(bits))
    }
}

const TICK_BITS: u32 = 20;
const DIGIT_BITS: u32 = 6;
const BUCKETS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = (u64::BITS - TICK_BITS).div_ceil(DIGIT_BITS) as usize;

/// The `bucket` of a timer that lies in the near heap.
const NEAR: u32 = (LEVELS * BUCKETS) as u32;

/// A stale near entry is dropped with the others once there are this many, and they are the majority.
const MANY_STALE: usize = 64;

/// Timers that carry a `T` each. Deadlines are in nanoseconds of one [`Clock`](crate::Clock).
pub struct Timers<T> {
    slab: Slab<Timer<T>>,
    /// Orders the near timers by deadline, then sequence; the index says where they are. An entry whose
    /// timer is gone is skipped when it comes up. The top is never such a stale entry.
    near: BinaryHeap<Reverse<(u64, u64, u32)>>,
    stale: usize,
    buckets: Box<[Bucket]>,
    /// One bit for each bucket of a level that holds timers.
    occupied: [u64; LEVELS],
    /// The current tick: the wheel holds what is due in later ones.
    tick: u64,
    sequence: u64,
}

struct Timer<T> {
    deadline: u64,
    sequence: u64,
    previous: u32,
    next: u32,
    bucket: u32,
    payload: T,
}

#[derive(Clone, Copy)]
struct Bucket {
    first: u32,
    /// The earliest deadline put into the bucket since it was empty: a lower bound, as that timer may be gone.
    soonest: u64,
}

const EMPTY: Bucket = Bucket { first: NOWHERE, soonest: u64::MAX };

impl<T> Timers<T> {
    /// Creates an empty set of timers; the time is `now`.
    pub fn new(now: u64) -> Self {
        Self {
            slab: Slab::new(),
            near: BinaryHeap::new(),
            stale: 0,
            buckets: vec![EMPTY; LEVELS * BUCKETS].into_boxed_slice(),
            occupied: [0; LEVELS],
            tick: now >> TICK_BITS,
            sequence: 0,
        }
    }

    /// Returns how many timers there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Returns whether there are no timers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a timer. One whose `deadline` has passed is due at once. Constant time.
    pub fn insert(&mut self, deadline: u64, payload: T) -> TimerKey {
        let sequence = self.sequence;
        self.sequence += 1;
        let key = self.slab.insert(Timer {
            deadline,
            sequence,
            previous: NOWHERE,
            next: NOWHERE,
            bucket: NEAR,
            payload,
        });
        self.place(key.index(), deadline, sequence);
        TimerKey(key)
    }

    /// Removes a timer and returns what it carried, or `None` if the key is stale. Constant time, amortised.
    pub fn remove(&mut self, key: TimerKey) -> Option<T> {
        let timer = self.slab.remove(key.0)?;
        if timer.bucket == NEAR {
            self.stale += 1;
            self.drop_stale();
        } else {
            self.unlink(&timer);
        }
        Some(timer.payload)
    }

    /// Takes the earliest timer that is due at `now`, or returns `None`. Equal deadlines come in order of
    /// insertion.
    ///
    /// A timer inserted between two calls with the same `now` may be due in the second: a caller that inserts
    /// while it drains bounds its loop itself.
    pub fn pop_due(&mut self, now: u64) -> Option<T> {
        self.advance(now);
        let &Reverse((deadline, _, index)) = self.near.peek()?;
        if deadline > now {
            return None;
        }
        self.near.pop();
        let timer = self.slab.remove_at(index);
        self.drop_stale();
        timer.map(|timer| timer.payload)
    }

    /// Returns a time until which nothing is due, or `None` if there are no timers.
    ///
    /// Nearly always that is the earliest deadline. It may be less if the timer with that deadline was removed;
    /// calling [`pop_due`](Self::pop_due) at the time returned finds nothing then, but the next answer is later.
    pub fn next_deadline(&self) -> Option<u64> {
        if let Some(&Reverse((deadline, _, _))) = self.near.peek() {
            return Some(deadline);
        }
        let level = self.occupied.iter().position(|&occupied| occupied != 0)?;
        let digit = self.occupied[level].trailing_zeros() as usize;
        Some(self.buckets[level * BUCKETS + digit].soonest)
    }

    /// Puts a timer where its deadline belongs, seen from the current tick.
    fn place(&mut self, index: u32, deadline: u64, sequence: u64) {
        let tick = deadline >> TICK_BITS;
        if tick <= self.tick {
            self.near.push(Reverse((deadline, sequence, index)));
            self.link(index, NEAR, NOWHERE);
            return;
        }
        let level = (tick ^ self.tick).ilog2() / DIGIT_BITS;
        let digit = (tick >> (level * DIGIT_BITS)) as usize % BUCKETS;
        let place = level as usize * BUCKETS + digit;
        let bucket = &mut self.buckets[place];
        let next = bucket.first;
        bucket.first = index;
        bucket.soonest = bucket.soonest.min(deadline);
        self.occupied[level as usize] |= 1 << digit;
        self.link(index, place as u32, next);
    }

    /// Makes a timer the first of a bucket's list, before `next`.
    fn link(&mut self, index: u32, bucket: u32, next: u32) {
        if let Some(timer) = self.slab.at_mut(index) {
            timer.bucket = bucket;
            timer.previous = NOWHERE;
            timer.next = next;
        }
        if let Some(follower) = self.slab.at_mut(next) {
            follower.previous = index;
        }
    }

    /// Takes a timer that left the slab out of its bucket's list.
    fn unlink(&mut self, timer: &Timer<T>) {
        if let Some(next) = self.slab.at_mut(timer.next) {
            next.previous = timer.previous;
        }
        if let Some(previous) = self.slab.at_mut(timer.previous) {
            previous.next = timer.next;
            return;
        }
        let place = timer.bucket as usize;
        self.buckets[place].first = timer.next;
        if timer.next == NOWHERE {
            self.buckets[place] = EMPTY;
            self.occupied[place / BUCKETS] &= !(1 << (place % BUCKETS));
        }
    }

    /// Moves the current tick to `now` and places anew what hangs in the buckets it enters or passes.
    ///
    /// Levels are emptied from the lowest up, so that what comes down finds only buckets of the new rotation.
    fn advance(&mut self, now: u64) {
        let to = now >> TICK_BITS;
        if to <= self.tick {
            return;
        }
        let from = std::mem::replace(&mut self.tick, to);
        for level in 0..LEVELS {
            let shift = level as u32 * DIGIT_BITS;
            if from >> shift == to >> shift {
                break;
            }
            let same_rotation = from >> shift >> DIGIT_BITS == to >> shift >> DIGIT_BITS;
            let entered = if same_rotation {
                u64::MAX >> (BUCKETS as u64 - 1 - (to >> shift) % BUCKETS as u64)
            } else {
                u64::MAX
            };
            let mut left = self.occupied[level] & entered;
            self.occupied[level] &= !entered;
            while left != 0 {
                self.empty(level * BUCKETS + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }

    fn empty(&mut self, place: usize) {
        let mut index = std::mem::replace(&mut self.buckets[place], EMPTY).first;
        while let Some(timer) = self.slab.at(index) {
            let (deadline, sequence, next) = (timer.deadline, timer.sequence, timer.next);
            self.place(index, deadline, sequence);
            index = next;
        }
    }

    /// Keeps the promise that the top of the near heap is alive, and the heap from filling with dead entries.
    fn drop_stale(&mut self) {
        let Self { slab, near, stale, .. } = self;
        let alive = |&Reverse((_, sequence, index)): &Reverse<(u64, u64, u32)>| {
            slab.at(index).is_some_and(|timer| timer.sequence == sequence)
        };
        if *stale >= MANY_STALE && *stale * 2 > near.len() {
            near.retain(alive);
            *stale = 0;
        }
        while *stale > 0 && near.peek().is_some_and(|top| !alive(top)) {
            near.pop();
            *stale -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const TICK: u64 = 1 << TICK_BITS;

    fn drain<T>(timers: &mut Timers<T>, now: u64) -> Vec<T> {
        std::iter::from_fn(|| timers.pop_due(now)).collect()
    }

    /// xorshift64*: small, and the same everywhere.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
        }

        fn below(&mut self, bound: u64) -> u64 {
            self.next() % bound
        }

        /// Spreads over the magnitudes, so that every level is visited.
        fn span(&mut self, bits: u64) -> u64 {
            let bits = self.below(bits) + 1;
            self.next() >> (64 - bits)
        }
    }

    #[test]
    fn no_timers_no_deadline() {
        let mut timers = Timers::<()>::new(5);
        assert!(timers.is_empty());
        assert_eq!(timers.next_deadline(), None);
        assert_eq!(timers.pop_due(u64::MAX), None);
    }

    #[test]
    fn a_timer_is_due_at_its_deadline_to_the_nanosecond() {
        for deadline in [1, TICK - 1, TICK, TICK + 1, 1_000_000_000, 1 << 40] {
            let mut timers = Timers::new(0);
            timers.insert(deadline, 'a');
            assert_eq!(timers.next_deadline(), Some(deadline));
            assert_eq!(timers.pop_due(deadline - 1), None);
            assert_eq!(timers.next_deadline(), Some(deadline));
            assert_eq!(timers.pop_due(deadline), Some('a'));
            assert!(timers.is_empty());
        }
    }

    #[test]
    fn a_deadline_in_the_past_is_due_at_once() {
        let mut timers = Timers::new(10 * TICK);
        timers.insert(0, 'b');
        timers.insert(10 * TICK, 'c');
        assert_eq!(timers.next_deadline(), Some(0));
        assert_eq!(drain(&mut timers, 10 * TICK), ['b', 'c']);
    }

    #[test]
    fn a_clock_that_goes_back_makes_nothing_due() {
        let mut timers = Timers::new(10 * TICK);
        timers.insert(9 * TICK, 'a');
        assert_eq!(timers.pop_due(8 * TICK), None);
        assert_eq!(timers.pop_due(9 * TICK), Some('a'));
    }

    #[test]
    fn equal_deadlines_come_in_order_of_insertion() {
        for deadline in [0, 1, 5 * TICK + 3, 100 * TICK, 5_000 * TICK, 1 << 50] {
            let mut timers = Timers::new(0);
            for number in 0..200 {
                timers.insert(deadline, number);
            }
            assert_eq!(drain(&mut timers, deadline), Vec::from_iter(0..200));
        }
    }

    #[test]
    fn equal_deadlines_inserted_at_different_times_come_in_order_of_insertion() {
        let deadline = 70 * TICK + 9;
        let mut timers = Timers::new(0);
        timers.insert(deadline, 'a'); // level 1
        assert_eq!(timers.pop_due(65 * TICK), None);
        timers.insert(deadline, 'b'); // level 0
        assert_eq!(timers.pop_due(70 * TICK), None);
        timers.insert(deadline, 'c'); // near
        assert_eq!(drain(&mut timers, deadline), ['a', 'b', 'c']);
    }

    #[test]
    fn timers_within_one_tick_come_by_deadline() {
        let mut timers = Timers::new(0);
        for offset in [5, 1, 4, 2, 3] {
            timers.insert(3 * TICK + offset, offset);
        }
        assert_eq!(timers.next_deadline(), Some(3 * TICK + 1));
        assert_eq!(drain(&mut timers, 3 * TICK + 3), [1, 2, 3]);
        assert_eq!(timers.next_deadline(), Some(3 * TICK + 4));
        assert_eq!(drain(&mut timers, 3 * TICK + 5), [4, 5]);
    }

    #[test]
    fn the_clock_may_jump_over_many_levels() {
        let deadlines = (0..64).map(|bit| 1_u64 << bit).collect::<Vec<_>>();
        let mut timers = Timers::new(0);
        for &deadline in deadlines.iter().rev() {
            timers.insert(deadline, deadline);
        }
        assert_eq!(drain(&mut timers, u64::MAX), deadlines);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn the_farthest_deadline_is_kept() {
        let mut timers = Timers::new(0);
        timers.insert(u64::MAX, ());
        assert_eq!(timers.pop_due(u64::MAX - 1), None);
        assert_eq!(timers.next_deadline(), Some(u64::MAX));
        assert_eq!(timers.pop_due(u64::MAX), Some(()));
    }

    #[test]
    fn a_timer_can_be_removed_in_every_state() {
        let mut timers = Timers::new(0);
        let near = timers.insert(1, "near");
        let low = timers.insert(2 * TICK, "low");
        let high = timers.insert(500 * TICK, "high");
        let moved = timers.insert(70 * TICK, "moved");
        assert_eq!(timers.remove(near), Some("near"));
        assert_eq!(timers.remove(high), Some("high"));
        assert_eq!(timers.pop_due(2 * TICK - 1), None);
        assert_eq!(timers.remove(low), Some("low"));
        assert_eq!(timers.pop_due(66 * TICK), None);
        assert_eq!(timers.remove(moved), Some("moved"));
        let popped = timers.insert(0, "popped");
        assert_eq!(timers.pop_due(0), Some("popped"));
        for key in [near, low, high, moved, popped] {
            assert_eq!(timers.remove(key), None);
        }
        assert_eq!((timers.len(), timers.next_deadline()), (0, None));
    }

    #[test]
    fn the_first_middle_and_last_of_a_bucket_can_be_removed() {
        for removed in [vec![0], vec![1], vec![2], vec![2, 0], vec![1, 2], vec![0, 1]] {
            let mut timers = Timers::new(0);
            let keys = [0, 1, 2].map(|number| timers.insert(5 * TICK + number, number));
            for &number in &removed {
                assert_eq!(timers.remove(keys[number as usize]), Some(number));
            }
            let left = (0..3).filter(|number| !removed.contains(number));
            assert_eq!(drain(&mut timers, 6 * TICK), Vec::from_iter(left));
        }
    }

    #[test]
    fn keys_travel_as_numbers_and_stale_ones_name_nothing() {
        let mut timers = Timers::new(0);
        let old = timers.insert(1, 'a');
        assert_eq!(TimerKey::from_bits(old.to_bits()), old);
        timers.remove(old);
        let new = timers.insert(1, 'b');
        assert_eq!(timers.remove(old), None);
        assert_eq!(timers.remove(TimerKey::from_bits(u64::MAX)), None);
        assert_eq!(timers.remove(TimerKey::from_bits(0)), None);
        assert_eq!(timers.remove(new), Some('b'));
    }

    #[test]
    fn a_bound_left_by_a_removed_timer_is_passed_once() {
        let mut timers = Timers::new(0);
        let early = timers.insert(200 * TICK, 'a');
        timers.insert(250 * TICK, 'b');
        timers.remove(early);
        assert_eq!(timers.next_deadline(), Some(200 * TICK));
        assert_eq!(timers.pop_due(200 * TICK), None);
        assert_eq!(timers.next_deadline(), Some(250 * TICK));
    }

    #[test]
    fn starting_and_cancelling_for_ever_takes_no_memory() {
        let mut timers = Timers::new(0);
        timers.insert(0, 0);
        for number in 1..10_000 {
            let near = timers.insert(number, number);
            let far = timers.insert(number * TICK, number);
            timers.remove(near);
            timers.remove(far);
        }
        assert!(timers.near.len() <= 2 * MANY_STALE);
        assert!(timers.slab.at(3).is_none());
        assert_eq!(drain(&mut timers, u64::MAX), [0]);
        assert_eq!(timers.stale, 0);
    }

    #[test]
    fn it_behaves_like_a_sorted_list() {
        let steps = if cfg!(miri) { 300 } else { 40_000 };
        for seed in [1, 0xDEAD_BEEF, 0x1234_5678_9ABC_DEF0, 42] {
            eprintln!("seed {seed:#x}");
            compare_with_model(Random(seed), steps);
        }
    }

    /// Random inserts, removals and jumps, compared with a map ordered by deadline and sequence.
    fn compare_with_model(mut random: Random, steps: u64) {
        let mut now = random.span(50);
        let mut timers = Timers::new(now);
        let mut model = BTreeMap::new();
        let mut keys = Vec::new();
        for sequence in 0..steps {
            match random.below(10) {
                0..=4 => {
                    let deadline = match random.below(8) {
                        0 => now.saturating_sub(random.span(30)),
                        1 => now / TICK * TICK + random.below(3) * TICK,
                        _ => now.saturating_add(random.span(48)),
                    };
                    let key = timers.insert(deadline, sequence);
                    model.insert((deadline, sequence), ());
                    keys.push((key, deadline, sequence));
                }
                5..=7 if !keys.is_empty() => {
                    let chosen = random.below(keys.len() as u64) as usize;
                    let (key, deadline, sequence) = keys.swap_remove(chosen);
                    let expected = model.remove(&(deadline, sequence)).map(|()| sequence);
                    assert_eq!(timers.remove(key), expected);
                }
                8 => {
                    // As a hub sleeps: never past a deadline, and always forward.
                    if let Some(bound) = timers.next_deadline() {
                        let (&(earliest, _), ()) = model.first_key_value().unwrap();
                        assert!(bound <= earliest);
                        now = now.max(bound);
                        assert_due(&mut timers, &mut model, now);
                        assert!(timers.next_deadline().is_none_or(|next| next > now));
                    }
                }
                _ => {
                    now += random.span(46);
                    assert_due(&mut timers, &mut model, now);
                }
            }
            assert_eq!(timers.len(), model.len());
            assert_eq!(timers.next_deadline().is_none(), model.is_empty());
        }
        assert_due(&mut timers, &mut model, u64::MAX);
        assert!(timers.is_empty() && model.is_empty());
    }

    fn assert_due(timers: &mut Timers<u64>, model: &mut BTreeMap<(u64, u64), ()>, now: u64) {
        let later = model.split_off(&(now, u64::MAX));
        let due = std::mem::replace(model, later);
        let due = due.into_keys().map(|(_, sequence)| sequence);
        assert_eq!(drain(timers, now), Vec::from_iter(due));
    }
}
