//! Reuse of finished stacks, by size.

use std::collections::HashMap;
use std::io;

use crate::memory::{self, Guard, Mapping, StackMemory, page_size};

/// Finished stacks of one size that stay resident over a [`StackPool::trim`], ready for the next greenlets.
const WARM_STACKS: usize = 256;

/// Sizes of stacks are multiples of this.
const SIZE_STEP: usize = 16 * 1024;

/// Hands out guarded stacks and takes finished ones back.
#[derive(Debug)]
pub struct StackPool {
    guard: Guard,
    sizes: HashMap<usize, SizeClass>,
    in_use: usize,
}

#[derive(Debug, Default)]
struct SizeClass {
    /// Finished a short while ago: their pages are resident.
    warm: Vec<StackMemory>,
    /// Finished earlier: address space only.
    cold: Vec<StackMemory>,
    mappings: Vec<Mapping>,
}

impl StackPool {
    /// An empty pool that guards its stacks by `guard` or, where the system refuses, by what is weaker.
    pub fn new(guard: Guard) -> Self {
        Self { guard, sizes: HashMap::new(), in_use: 0 }
    }

    /// A stack with at least `usable` bytes above its guard page.
    ///
    /// # Errors
    /// What mmap(2) returned when no address space was left.
    pub fn take(&mut self, usable: usize) -> io::Result<StackMemory> {
        // Rounded, so that stacks of slightly different sizes serve one another.
        let size = usable
            .checked_add(page_size())
            .and_then(|bytes| bytes.checked_next_multiple_of(SIZE_STEP))
            .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let class = self.sizes.entry(size).or_default();
        let stack = match class.warm.pop().or_else(|| class.cold.pop()) {
            Some(stack) => stack,
            None => class.carve(size, &mut self.guard)?,
        };
        self.in_use += 1;
        Ok(stack)
    }

    /// Takes back the stack of a greenlet that has finished. Its pages stay resident until [`trim`](Self::trim).
    pub fn give_back(&mut self, stack: StackMemory) {
        self.in_use -= 1;
        self.sizes.entry(stack.size()).or_default().warm.push(stack);
    }

    /// Gives the pages of most finished stacks back to the system, and keeps their address ranges.
    ///
    /// To be called when nothing else is to do: a thousand stacks that lie side by side cost one system call, one at a
    /// time they would cost a third of all that waking and ending a greenlet does.
    pub fn trim(&mut self) {
        for class in self.sizes.values_mut().filter(|class| class.warm.len() > WARM_STACKS) {
            let mut excess = class.warm.split_off(WARM_STACKS);
            excess.sort_unstable_by_key(StackMemory::top);
            for neighbours in excess.chunk_by_mut(|lower, upper| lower.top() == upper.floor()) {
                memory::discard(neighbours);
            }
            class.cold.append(&mut excess);
        }
    }

    /// How many stacks are handed out.
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// How the stacks made last are guarded.
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// Returns all address space to the system.
    ///
    /// # Safety
    /// No stack of this pool may be used again, suspended ones included, and nothing may read them: for
    /// a hub, the isolate whose collector scans the stacks must be gone.
    pub unsafe fn unmap(self) {
        for class in self.sizes.into_values() {
            for mapping in class.mappings {
                // SAFETY: (protocol) the caller promises it for every stack of the pool.
                unsafe { mapping.unmap() };
            }
        }
    }
}

impl SizeClass {
    fn carve(&mut self, size: usize, guard: &mut Guard) -> io::Result<StackMemory> {
        if let Some(stack) = self.mappings.last_mut().and_then(|mapping| mapping.carve(guard)) {
            return Ok(stack);
        }
        let mut mapping = Mapping::new(size)?;
        let stack = mapping.carve(guard);
        self.mappings.push(mapping);
        stack.ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_at_least_as_large_as_asked_for() {
        let mut pool = StackPool::new(Guard::Advice);
        for usable in [1, 4096, 65_537, 1 << 20] {
            let stack = pool.take(usable).unwrap();
            assert!(stack.usable() >= usable);
            assert_eq!(stack.top() % 4096, 0);
            pool.give_back(stack);
        }
    }

    #[test]
    fn a_finished_stack_is_handed_out_again_with_its_tag() {
        let mut pool = StackPool::new(Guard::Advice);
        let mut stack = pool.take(65_536).unwrap();
        stack.set_tag(7);
        let top = stack.top();
        pool.give_back(stack);
        let again = pool.take(65_536).unwrap();
        assert_eq!((again.top(), again.tag()), (top, 7));
        assert_eq!(pool.in_use(), 1);
    }

    #[test]
    fn stacks_of_one_mapping_do_not_overlap() {
        let mut pool = StackPool::new(Guard::Advice);
        let mut stacks: Vec<_> = (0..600).map(|_| pool.take(16_384).unwrap()).collect();
        stacks.sort_by_key(StackMemory::top);
        assert!(stacks.windows(2).all(|pair| pair[0].top() <= pair[1].limit() - page_size()));
    }

    fn last_word(stack: &StackMemory) -> *mut u64 {
        (stack.top() - 8) as *mut u64
    }

    #[test]
    fn trimming_gives_back_the_pages_of_all_but_some_stacks() {
        for guard in [Guard::Advice, Guard::Protection, Guard::Absent] {
            let mut pool = StackPool::new(guard);
            let stacks: Vec<_> = (0..2 * WARM_STACKS + 100).map(|_| pool.take(16_384).unwrap()).collect();
            let words: Vec<_> = stacks.iter().map(last_word).collect();
            for &word in &words {
                // SAFETY: (local) within a stack that nothing runs on.
                unsafe { word.write_volatile(42) };
            }
            stacks.into_iter().for_each(|stack| pool.give_back(stack));
            pool.trim();
            // SAFETY: (local) as above; the ranges stay mapped.
            let resident = words.iter().filter(|&&word| unsafe { word.read_volatile() } == 42).count();
            assert_eq!(resident, WARM_STACKS, "{guard:?}");
        }
    }

    #[test]
    fn a_trimmed_stack_is_usable_again_and_still_guarded() {
        let mut pool = StackPool::new(Guard::Advice);
        let stacks: Vec<_> = (0..3 * WARM_STACKS).map(|_| pool.take(16_384).unwrap()).collect();
        stacks.into_iter().for_each(|stack| pool.give_back(stack));
        pool.trim();
        let again: Vec<_> = (0..3 * WARM_STACKS).map(|_| pool.take(16_384).unwrap()).collect();
        for stack in &again {
            // SAFETY: (local) within the stack, which nothing runs on.
            unsafe { last_word(stack).write_volatile(43) };
            assert!(!is_writable(stack.floor()), "the guard page is gone");
        }
    }

    /// Asks the kernel, which fails with EFAULT instead of raising a signal.
    fn is_writable(address: usize) -> bool {
        let zero = std::fs::File::open("/dev/zero").unwrap();
        // SAFETY: (local) the kernel checks the address; one byte of an unused page is harmless.
        unsafe { libc::read(std::os::fd::AsRawFd::as_raw_fd(&zero), address as *mut libc::c_void, 1) == 1 }
    }

    #[test]
    fn an_absurd_size_is_refused() {
        let mut pool = StackPool::new(Guard::Advice);
        assert!(pool.take(usize::MAX).is_err());
        assert!(pool.take(1 << 47).is_err());
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn unmapping_returns_the_address_space() {
        let mut pool = StackPool::new(Guard::Advice);
        let stack = pool.take(65_536).unwrap();
        let address = stack.limit();
        // SAFETY: (local) the only stack is never used again.
        unsafe { pool.unmap() };
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.lines().any(|line| {
            let (range, _) = line.split_once(' ').unwrap();
            let (low, high) = range.split_once('-').unwrap();
            let low = usize::from_str_radix(low, 16).unwrap();
            (low..usize::from_str_radix(high, 16).unwrap()).contains(&address)
                && line.contains("rw-p 00000000 00:00 0")
                && low == address - page_size()
        });
        assert!(!mapped);
    }
}
