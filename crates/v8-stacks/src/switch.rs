//! The switch, step by step.
//!
//! From stack A to stack B, with M the main stack, whose loop enters one stack after the other:
//!
//! ```text
//!   on A   1  leave A for M
//!   on M   2  Unlocker's constructor   V8 archives A (lazily: the work is done when somebody else locks)
//!          3  note A's thread id; thread id := B's
//!          4  cached start := M's start
//!          5  Unlocker's destructor    V8 locks, really archives A and restores B
//!          6  cached start and collector words := B's top   (step 5 overwrites one of them), B's shutdown list
//!          7  enter B
//! ```
//!
//! So a hand-over costs one archive and one restore. V8 does both on M's stack, which is always at hand: on the stacks
//! themselves the restore would reach a page further than anything that JavaScript left there. A new stack
//! does `Locker` for steps 4–6 itself and sets its stack limit; M takes part like any other stack when the loop is
//! entered and left.

use std::cell::{Cell, OnceCell};

use crate::async_context::AsyncContext;
use crate::layout::{Layout, StartWord};
use crate::probe::{self, NodeApi};
use crate::shutdown_list::{ShutdownList, ShutdownListProbe, VectorWords};
use crate::symbols::{LockerStorage, UnlockerStorage};
use crate::uncaught::UncaughtErrors;
use crate::{Refusal, Step};

/// Bytes kept free below V8's stack limit for native code, which does not check it.
const NATIVE_RESERVE: usize = 64 * 1024;

/// V8's default stack size, which Node's main stack has.
const DEFAULT_V8_STACK: usize = 984 * 1024;

/// Where a stack lies.
#[derive(Clone, Copy, Debug)]
pub struct StackBounds {
    /// The address it grows down from.
    pub top: usize,
    /// The lowest address that may be written.
    pub limit: usize,
}

impl StackBounds {
    /// Usable bytes that let JavaScript recurse as deep as on Node's main stack.
    pub const DEFAULT_SIZE: usize = DEFAULT_V8_STACK + NATIVE_RESERVE;
    /// The smallest usable size: some room for JavaScript above the reserve for native code.
    pub const MIN_SIZE: usize = NATIVE_RESERVE + 64 * 1024;
}

/// What V8 needs to find a stack again that was left.
#[derive(Debug, Default)]
pub struct Departure {
    unlocker: UnlockerStorage,
    shutdown_list: VectorWords,
}

/// A word that follows the current stack, written only while it holds what was written last.
struct FollowedWord {
    word: Cell<Option<*mut usize>>,
    last: Cell<usize>,
    main_start: usize,
}

impl FollowedWord {
    fn new(found: StartWord) -> Self {
        Self {
            word: Cell::new(Some(found.word)),
            last: Cell::new(found.main_start),
            main_start: found.main_start,
        }
    }

    /// Writes `start`, unless the word was written meanwhile with something that is no start of the current
    /// stack: then it is not what it was taken for, and is left alone for good.
    ///
    /// `cached` is what V8 takes for the start of the current stack: locking writes that to one of the words.
    ///
    /// # Safety
    /// The word must still be mapped: its isolate alive.
    unsafe fn follow(&self, start: usize, cached: usize) {
        let Some(word) = self.word.get() else { return };
        // SAFETY: (measured) verified by the probe, reached by a path that held in every isolate.
        unsafe {
            if [self.last.get(), start, cached].contains(&word.read_volatile()) {
                word.write_volatile(start);
                self.last.set(start);
            } else {
                self.word.set(None);
            }
        }
    }
}

/// The bytes of this thread's own stack, unless it is the main thread.
///
/// V8 takes the size of all stacks from what [`V8Stacks::begin`] makes it store. JavaScript may use some 4 MB of a worker's
/// own stack, so that must not come out smaller; on the main thread it never uses more than the default.
fn worker_stack_size() -> usize {
    // SAFETY: (local) both calls have no preconditions.
    if unsafe { libc::gettid() == libc::getpid() } {
        return 0;
    }
    probe::current_stack().map_or(0, |stack| stack.end - stack.start)
}

/// Switches V8 between stacks of one isolate.
pub struct V8Stacks {
    layout: Layout,
    collector: [FollowedWord; 2],
    main_thread_id: i32,
    /// The bytes of the largest stack so far; see [`begin`](Self::begin).
    largest: Cell<usize>,
    /// Present where V8 keeps a list that has to follow the stack.
    shutdown_list: OnceCell<ShutdownList>,
}

impl V8Stacks {
    /// Finds and verifies what a switch needs in the isolate that is current on this thread.
    ///
    /// # Errors
    /// The [`Refusal`] of the first check that failed.
    pub fn discover(node: &mut dyn NodeApi) -> Result<Self, Refusal> {
        let layout = probe::probe(node)?;
        // SAFETY: (measured) the probe has verified the word on this thread.
        let main_thread_id = unsafe { layout.thread_id.read() };
        let collector = layout.collector_starts.map(FollowedWord::new);
        let largest = Cell::new(StackBounds::DEFAULT_SIZE.max(worker_stack_size()));
        Ok(Self { layout, collector, main_thread_id, largest, shutdown_list: OnceCell::new() })
    }

    /// The async context of this isolate; `None` where V8 does not keep it (Node 20).
    ///
    /// # Errors
    /// A [`Refusal`] if V8 keeps it but lacks what it takes to move it.
    pub fn async_context(&self) -> Result<Option<AsyncContext>, Refusal> {
        AsyncContext::find(self.layout.isolate)
    }

    /// Begins to look for the list of running `JSON.stringify` calls.
    pub fn shutdown_list_probe(&self) -> ShutdownListProbe {
        ShutdownListProbe::new(self.layout.isolate)
    }

    /// Calls whose errors are reported as Node does.
    ///
    /// # Errors
    /// A [`Refusal`] that names what Node does not export.
    pub fn uncaught_errors(&self) -> Result<UncaughtErrors, Refusal> {
        UncaughtErrors::find(self.layout.isolate)
    }

    /// From now on the list that `probe` has found, if there is one, follows the stack. Whether there is.
    ///
    /// # Errors
    /// A [`Refusal`] if the looks taken do not tell.
    pub fn follow_shutdown_list_of(&self, probe: &ShutdownListProbe) -> Result<bool, Refusal> {
        Step::ShutdownList.check_not_forced()?;
        let found = probe.find()?;
        Ok(found.is_some_and(|list| self.shutdown_list.set(list).is_ok()))
    }

    /// Ends the JavaScript that runs on the current stack by an exception that cannot be caught.
    ///
    /// # Safety
    /// The isolate must be locked by the current thread id.
    pub unsafe fn terminate(&self) {
        // SAFETY: (measured) a public function of V8's that only sets a flag.
        unsafe { (self.layout.functions.terminate)(self.layout.isolate) }
    }

    /// Whether both collector words are still followed; `false` means that a collection inside a greenlet
    /// is not safe any more.
    pub fn is_intact(&self) -> bool {
        self.collector.iter().all(|word| word.word.get().is_some())
    }

    /// Fails unless both collector words are followed.
    ///
    /// # Errors
    /// A [`Refusal`] of the self-test.
    pub fn check_intact(&self) -> Result<(), Refusal> {
        if self.is_intact() {
            Ok(())
        } else {
            Err(Refusal::new(Step::SelfTest, "a collector's stack start was changed by somebody else"))
        }
    }

    /// Steps 2 and 3: archives the stack that V8 takes for the current one. Returns its thread id, for
    /// [`select`](Self::select).
    ///
    /// # Safety
    /// The isolate must be locked by the current thread id. Until [`arrive`](Self::arrive) is called with
    /// the same `departure`, nothing on that stack may touch V8.
    pub unsafe fn depart(&self, departure: &mut Departure) -> i32 {
        // SAFETY: (measured) the storage has the size of an Unlocker, which does not know its own address.
        unsafe {
            if let Some(list) = self.shutdown_list.get() {
                departure.shutdown_list = list.get();
            }
            (self.layout.functions.unlocker_new)(&mut departure.unlocker, self.layout.isolate);
            self.layout.thread_id.read()
        }
    }

    /// The end of step 3: the stack entered next is `thread_id`'s; 0 makes V8 hand out a new id when a stack begins.
    ///
    /// # Safety
    /// The isolate must not be locked: after [`depart`](Self::depart), before the next stack is entered.
    pub unsafe fn select(&self, thread_id: i32) {
        // SAFETY: (measured) verified by the probe.
        unsafe { self.layout.thread_id.write(thread_id) }
    }

    /// Steps 4 to 6: makes V8 take a stack for the current one again.
    ///
    /// # Safety
    /// On the main stack. The thread id of that stack must be selected, `departure` be the one it departed with, and
    /// `top` its top. Nothing may touch V8 before that stack is entered.
    pub unsafe fn arrive(&self, departure: &mut Departure, top: usize) {
        // SAFETY: (measured) the order told in the head of this file.
        unsafe {
            let cached = self.restore(departure);
            self.follow_cached_start(top);
            for word in &self.collector {
                word.follow(top, cached);
            }
        }
    }

    /// Steps 3 to 6 for the main stack.
    ///
    /// # Safety
    /// As for [`arrive`](Self::arrive).
    pub unsafe fn arrive_main(&self, departure: &mut Departure) {
        // SAFETY: (measured) the order told in the head of this file, with the main stack's own words.
        unsafe {
            self.select(self.main_thread_id);
            let cached = self.restore(departure);
            for word in &self.collector {
                word.follow(word.main_start, cached);
            }
        }
    }

    /// Steps 4 and 5, and the shutdown list. Returns what V8 has taken for the stack's start meanwhile.
    unsafe fn restore(&self, departure: &mut Departure) -> usize {
        let cached = self.layout.cached_start.map_or(0, |cached| cached.main_start);
        // SAFETY: (protocol) the caller's promise: we are on the main stack.
        unsafe {
            self.follow_cached_start(cached);
            (self.layout.functions.unlocker_drop)(&mut departure.unlocker);
            self.follow_shutdown_list(departure);
        }
        cached
    }

    /// Runs `body` in V8 on the current stack, which is new to V8. Returns the thread id it had.
    ///
    /// # Safety
    /// The isolate must not be locked, a thread id be selected (0 or one of an ended stack), and
    /// `bounds` be those of the stack that the call is made on. `body` must not unwind.
    pub unsafe fn begin(&self, bounds: StackBounds, body: impl FnOnce()) -> i32 {
        let mut locker: LockerStorage = [0; 4];
        let functions = &self.layout.functions;
        let isolate = self.layout.isolate;
        let stack_limit = bounds.limit + NATIVE_RESERVE;
        self.largest.set(self.largest.get().max(bounds.top - bounds.limit));
        // SAFETY: (measured) Locker's constructor and destructor frame the life of this stack in V8.
        unsafe {
            self.follow_cached_start(bounds.top);
            (functions.locker_new)(&mut locker, isolate);
            // SetStackLimit also stores `stack start - limit` in the isolate, as the size of all its stacks, and
            // from V8 14 on Isolate::Throw aborts if the stack pointer is farther than that from the start. So
            // the start is set such that the size of the largest stack comes out.
            self.follow_cached_start(stack_limit + self.largest.get());
            (functions.set_stack_limit)(isolate, stack_limit);
            self.follow_cached_start(bounds.top);
            self.follow_collector(bounds.top);
            if let Some(list) = self.shutdown_list.get() {
                list.set(list.take_empty());
            }
            self.layout.scopes.with(isolate, body);
            if let Some(list) = self.shutdown_list.get() {
                list.give_back(list.get());
            }
            let thread_id = self.layout.thread_id.read();
            (functions.locker_drop)(&mut locker);
            thread_id
        }
    }

    /// Runs `body` in a handle scope of V8's own.
    ///
    /// Not one of Node-API's: those are counted, and the count must be the same whenever a call of Node's that
    /// parked goes on.
    ///
    /// # Safety
    /// The isolate must be locked by the current thread id; `body` must not unwind and must end on this stack.
    pub unsafe fn in_scope(&self, body: impl FnOnce()) {
        // SAFETY: (protocol) the caller's promise.
        unsafe { self.layout.scopes.with(self.layout.isolate, body) }
    }

    unsafe fn follow_cached_start(&self, start: usize) {
        if let Some(cached) = self.layout.cached_start {
            // SAFETY: (measured) verified by the probe; this thread's own storage.
            unsafe { cached.word.write(start) }
        }
    }

    unsafe fn follow_shutdown_list(&self, departure: &Departure) {
        if let Some(list) = self.shutdown_list.get() {
            // SAFETY: (protocol) what `depart` has read on this stack.
            unsafe { list.set(departure.shutdown_list) }
        }
    }

    unsafe fn follow_collector(&self, start: usize) {
        for word in &self.collector {
            // SAFETY: (protocol) the caller is on a stack of the isolate, which is therefore alive.
            unsafe { word.follow(start, start) }
        }
    }
}
