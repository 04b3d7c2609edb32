//! Where stack memory comes from: large anonymous mappings, carved into equal stacks.
//!
//! A mapping of its own for every stack (two with a guard page) would meet `vm.max_map_count` at about
//! 32,000 stacks, so up to [`MAX_STACKS_PER_MAPPING`] of them share one. `MADV_GUARD_INSTALL` guards a page
//! without splitting the mapping; where the kernel lacks it (before Linux 6.13) `mprotect` does it.
//!
//! ```text
//!   one mapping:  | guard | stack 0 …… top | guard | stack 1 …… top | …
//!                 ^ floor ^ limit          ^ top, where the stack starts and grows down from
//! ```

use std::io;
use std::num::NonZeroUsize;
use std::ptr;

/// Stacks carved out of one mapping, at the most.
const MAX_STACKS_PER_MAPPING: usize = 256;

/// Bytes of one mapping, unless a single stack is larger.
const MAPPING_SIZE: usize = 512 * 1024 * 1024;

/// `MADV_GUARD_INSTALL` of Linux 6.13; not in every libc's headers yet. See madvise(2).
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// How the lowest page of a stack is kept from being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// `madvise(MADV_GUARD_INSTALL)`: does not split the mapping.
    Advice,
    /// `mprotect(PROT_NONE)`: splits the mapping, so it may meet `vm.max_map_count`.
    Protection,
    /// None could be installed. V8's own stack limit, checked on every call, is then the only guard.
    Absent,
}

/// The size of a page of this system, in bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: (local) sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// One stack: a range of memory whose lowest page is guarded.
///
/// Owned like memory: whoever holds the value may run on it, and only a finished stack can be handed
/// back to its [`StackPool`](crate::StackPool).
#[derive(Debug)]
pub struct StackMemory {
    top: NonZeroUsize,
    floor: NonZeroUsize,
    guard_size: usize,
    tag: i32,
}

impl StackMemory {
    /// The address that the stack grows down from; one past its highest byte.
    pub fn top(&self) -> usize {
        self.top.get()
    }

    /// The lowest address that may be written: just above the guard page.
    pub fn limit(&self) -> usize {
        self.floor.get() + self.guard_size
    }

    /// The bytes between [`limit`](Self::limit) and [`top`](Self::top).
    pub fn usable(&self) -> usize {
        self.top() - self.limit()
    }

    /// A number that stays with the memory over all its uses; 0 until it is set.
    ///
    /// The layer above keeps V8's thread id here, so that a reused stack reuses its id too.
    pub fn tag(&self) -> i32 {
        self.tag
    }

    /// Sets the [`tag`](Self::tag).
    pub fn set_tag(&mut self, tag: i32) {
        self.tag = tag;
    }

    /// The whole size, guard page included.
    pub(crate) fn size(&self) -> usize {
        self.top() - self.floor.get()
    }

    /// The lowest address, that of the guard page.
    pub(crate) fn floor(&self) -> usize {
        self.floor.get()
    }
}

/// Gives the physical pages of `stacks` back to the system and keeps their address ranges and guards.
///
/// Each stack must lie directly above the one before it.
pub(crate) fn discard(stacks: &mut [StackMemory]) {
    let (Some(lowest), Some(highest)) = (stacks.first(), stacks.last()) else { return };
    let length = highest.top() - lowest.limit();
    debug_assert_eq!(length + lowest.guard_size, stacks.iter().map(StackMemory::size).sum::<usize>());
    // SAFETY: (local) the range consists of these stacks and the guards between them. Nothing runs on them: the
    // caller holds the only `StackMemory` of each. Guards survive MADV_DONTNEED, by advice as by protection.
    unsafe {
        libc::madvise(lowest.limit() as *mut libc::c_void, length, libc::MADV_DONTNEED);
    }
}

// SAFETY: (local) `top` and `floor` are ends of one writable mapping, page aligned and hence aligned
// for any stack. The lowest page is guarded where the system can do it; where it cannot
// (`Guard::Absent`), V8's stack limit lies at least 64 KiB above it and is checked by every call.
unsafe impl corosensei::stack::Stack for StackMemory {
    fn base(&self) -> NonZeroUsize {
        self.top
    }

    fn limit(&self) -> NonZeroUsize {
        self.floor
    }
}

/// A mapping being carved into stacks of one size.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: usize,
    length: usize,
    carved: usize,
    stack_size: usize,
}

impl Mapping {
    /// Maps room for stacks of `stack_size` bytes (a multiple of the page size).
    pub(crate) fn new(stack_size: usize) -> io::Result<Self> {
        let length = stack_size * (MAPPING_SIZE / stack_size).clamp(1, MAX_STACKS_PER_MAPPING);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
        // SAFETY: (local) a new anonymous mapping at an address of the kernel's choice touches nothing
        // that exists.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: (local) advice for the mapping made just above. Huge pages would make every stack
        // resident at its first use; failing is harmless.
        unsafe {
            libc::madvise(start, length, libc::MADV_NOHUGEPAGE);
        }
        Ok(Self { start: start as usize, length, carved: 0, stack_size })
    }

    /// Cuts the next stack off, or `None` when the mapping is used up. May weaken `guard` for good.
    pub(crate) fn carve(&mut self, guard: &mut Guard) -> Option<StackMemory> {
        let floor = self.start + self.carved * self.stack_size;
        if floor == self.start + self.length {
            return None;
        }
        self.carved += 1;
        let guard_size = page_size();
        install_guard(floor, guard_size, guard);
        Some(StackMemory {
            top: NonZeroUsize::new(floor + self.stack_size)?,
            floor: NonZeroUsize::new(floor)?,
            guard_size,
            tag: 0,
        })
    }

    /// Returns the address space to the system.
    ///
    /// # Safety
    /// No stack carved from this mapping may be used again, suspended ones included.
    pub(crate) unsafe fn unmap(self) {
        // SAFETY: (local) exactly the range that `new` mapped; unused from now on, as the caller says.
        unsafe {
            libc::munmap(self.start as *mut libc::c_void, self.length);
        }
    }
}

fn install_guard(floor: usize, size: usize, guard: &mut Guard) {
    let page = floor as *mut libc::c_void;
    // SAFETY: (local) the page is the lowest of a stack carved a moment ago, not yet handed out.
    if *guard == Guard::Advice && unsafe { libc::madvise(page, size, MADV_GUARD_INSTALL) } != 0 {
        *guard = Guard::Protection;
    }
    // SAFETY: (local) as above.
    if *guard == Guard::Protection && unsafe { libc::mprotect(page, size, libc::PROT_NONE) } != 0 {
        *guard = Guard::Absent;
    }
}
