//! What was found, for as long as it holds: a bounded number of entries, of which those used last stay.

use std::collections::HashMap;

/// What was found in the cache, and between which times it holds, in nanoseconds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hit<'a, T> {
    pub(super) value: &'a T,
    pub(super) stored: u64,
    pub(super) expires: u64,
}

struct Slot<T> {
    key: Box<[u8]>,
    value: T,
    stored: u64,
    expires: u64,
    /// Whether it was used since the hand passed it last.
    used: bool,
}

/// A cache that makes room by the second-chance algorithm: a hand goes around and takes the first entry that was not used
/// since it came by last.
pub(super) struct Cache<T> {
    size: usize,
    slots: Vec<Slot<T>>,
    places: HashMap<Box<[u8]>, usize>,
    hand: usize,
}

impl<T> Cache<T> {
    /// A cache of at most `size` entries; of none, it keeps nothing.
    pub(super) fn new(size: usize) -> Self {
        Self { size, slots: Vec::new(), places: HashMap::new(), hand: 0 }
    }

    /// Returns what is kept under `key`.
    pub(super) fn get(&mut self, key: &[u8], now: u64) -> Option<Hit<'_, T>> {
        let slot = &mut self.slots[*self.places.get(key)?];
        if now >= slot.expires {
            return None;
        }
        slot.used = true;
        Some(Hit { value: &slot.value, stored: slot.stored, expires: slot.expires })
    }

    /// Keeps `value` for so many nanoseconds.
    pub(super) fn put(&mut self, key: &[u8], value: T, now: u64, lifetime: u64) {
        if self.size == 0 || lifetime == 0 {
            return;
        }
        let expires = now.saturating_add(lifetime);
        if let Some(&place) = self.places.get(key) {
            let slot = &mut self.slots[place];
            (slot.value, slot.stored, slot.expires) = (value, now, expires);
            return;
        }
        let slot = Slot { key: key.into(), value, stored: now, expires, used: false };
        if self.slots.len() < self.size {
            self.places.insert(key.into(), self.slots.len());
            self.slots.push(slot);
            return;
        }
        let place = self.make_room(now);
        let evicted = std::mem::replace(&mut self.slots[place], slot);
        self.places.remove(&evicted.key);
        self.places.insert(key.into(), place);
    }

    fn make_room(&mut self, now: u64) -> usize {
        loop {
            let place = self.hand;
            self.hand = (place + 1) % self.slots.len();
            let slot = &mut self.slots[place];
            if !std::mem::take(&mut slot.used) || now >= slot.expires {
                return place;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_hold_until_they_expire() {
        let mut cache = Cache::new(4);
        cache.put(b"a", 1, 10, 5);
        assert_eq!(cache.get(b"a", 14), Some(Hit { value: &1, stored: 10, expires: 15 }));
        assert_eq!(cache.get(b"a", 15), None);
        cache.put(b"a", 2, 20, 5);
        assert_eq!(cache.get(b"a", 20), Some(Hit { value: &2, stored: 20, expires: 25 }));
        cache.put(b"b", 3, 20, 0);
        assert_eq!(cache.get(b"b", 20), None);
    }

    #[test]
    fn those_used_last_stay() {
        let mut cache = Cache::new(3);
        for (key, value) in [(b"a", 1), (b"b", 2), (b"c", 3)] {
            cache.put(key, value, 0, 100);
        }
        assert!(cache.get(b"a", 1).is_some());
        cache.put(b"d", 4, 1, 100);
        assert_eq!(cache.get(b"b", 2), None);
        for key in [b"a", b"c", b"d"] {
            assert!(cache.get(key, 2).is_some());
        }
        cache.put(b"e", 5, 2, 100);
        assert_eq!(cache.slots.len(), 3);
        assert_eq!(cache.places.len(), 3);
        assert_eq!(cache.get(b"e", 3), Some(Hit { value: &5, stored: 2, expires: 102 }));
    }

    #[test]
    fn expired_ones_go_first_and_a_cache_of_none_keeps_nothing() {
        let mut cache = Cache::new(2);
        cache.put(b"a", 1, 0, 5);
        cache.put(b"b", 2, 0, 100);
        assert!(cache.get(b"a", 1).is_some() && cache.get(b"b", 1).is_some());
        cache.put(b"c", 3, 50, 100);
        assert!(cache.get(b"b", 51).is_some());
        let mut none = Cache::new(0);
        none.put(b"a", 1, 0, 100);
        assert_eq!(none.get(b"a", 1), None);
    }
}
