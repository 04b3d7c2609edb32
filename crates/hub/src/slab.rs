//! Storage with stable places: what timers and sockets are kept in.

/// Names one value of a [`Slab`]: the generation of its slot in the upper bits, the index in the lower 32.
///
/// A generation has 20 bits, so that a key stays below 2⁵³ and survives as a JavaScript number. It is never 0,
/// so neither is a key. A stale key could be mistaken for a live one only after its slot was reused a million
/// times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

impl Key {
    fn new(generation: u32, index: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(index))
    }

    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The place in the slab, for links between values.
    pub(crate) const fn index(self) -> u32 {
        self.0 as u32
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// No index: the end of a list. A slab holds fewer values than this.
pub(crate) const NOWHERE: u32 = u32::MAX;

const LAST_GENERATION: u32 = (1 << 20) - 1;

/// A vector with holes, reused last freed first; it never shrinks.
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    len: usize,
}

struct Slot<T> {
    generation: u32,
    next_free: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: NOWHERE, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many slots there are, used or not: indices are below it.
    pub(crate) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The key of what lies at `index` now.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slots.get(index as usize)?;
        slot.value.is_some().then(|| Key::new(slot.generation, index))
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.len += 1;
        if let Some(slot) = self.slots.get_mut(self.free as usize) {
            let key = Key::new(slot.generation, self.free);
            slot.value = Some(value);
            self.free = slot.next_free;
            return key;
        }
        let index = self.slots.len() as u32;
        assert!(index < NOWHERE, "a slab is full");
        self.slots.push(Slot { generation: 1, next_free: NOWHERE, value: Some(value) });
        Key::new(1, index)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.remove_at(key.index())
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index() as usize)?;
        slot.value.as_ref().filter(|_| slot.generation == key.generation())
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index() as usize)?;
        slot.value.as_mut().filter(|_| slot.generation == key.generation())
    }

    /// Returns what lies at `index` now, whatever its generation.
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.value.as_ref()
    }

    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.value.as_mut()
    }

    pub(crate) fn remove_at(&mut self, index: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation % LAST_GENERATION + 1;
        slot.next_free = self.free;
        self.free = index;
        self.len -= 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(second.index(), first.index(), "the slot is reused");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&'b'));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn keys_stay_below_two_to_the_53_and_above_zero() {
        let mut slab = Slab::new();
        for _ in 0..=LAST_GENERATION {
            let key = slab.insert(());
            assert!(key.to_bits() > 0 && key.to_bits() < 1 << 53);
            assert_eq!(Key::from_bits(key.to_bits()), key);
            slab.remove(key);
        }
        assert_eq!(slab.insert(()).generation(), 2, "generations go round");
    }

    #[test]
    fn arbitrary_bits_are_no_key() {
        let mut slab = Slab::new();
        slab.insert('a');
        for bits in [0, 1, 2 << 32, 1 << 32 | 1, 1 << 53, u64::MAX] {
            assert_eq!(slab.get_mut(Key::from_bits(bits)), None);
        }
    }
}
