//! One turn: from the main stack into one stack after the other, until nothing is ready or time is up.

use std::cell::Cell;
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use greenstack_hub::{Ready, as_nanos};
use greenstack_stack::{Status, prefetch};
use greenstack_v8_stacks::Departure;

use crate::call::check;
use crate::core::{Core, SharedWord};
use crate::error::Failure;
use crate::runner::Runner;
use crate::scheduling::{REST_ENDS, SERVES};

/// Greenlets started by one runner before it looks at the ready queue again, at the most.
const MAX_BATCH: u32 = 256;

/// Entries taken between two looks at the clock, at the most. A look costs a tenth of a switch.
const MAX_ENTRIES_PER_LOOK: u32 = 8;

/// Entries taken between two looks at what the system reports, at the most, while there are always more: whatever is
/// reported queues up behind them anyway.
const MAX_ENTRIES_PER_FETCH: u32 = 128;

/// Who is so far behind in the ready queue is looked up ahead of time, and who is nearer has its frames fetched.
const FAR_AHEAD: usize = 6;
const NEAR_AHEAD: usize = 3;

/// Bytes of frames that going on touches at once: those of native code, of Node, and the topmost of JavaScript.
pub(crate) const PREFETCHED_FRAMES: usize = 1024;

/// How often to look at the clock: often where greenlets compute, seldom where they hand over at once.
pub(crate) struct Pace {
    entries_per_look: Cell<u32>,
    batch: Cell<u32>,
    batch_began: Cell<u64>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { entries_per_look: Cell::new(1), batch: Cell::new(8), batch_began: Cell::new(0) }
    }
}

/// The time that one turn has used up.
struct Slice {
    /// Whether somebody has been entered: each turn gets somewhere, however short it is.
    begun: bool,
    start: u64,
    last_look: u64,
    entries: u32,
    /// Entries taken since what the system reports was fetched last.
    unfetched: u32,
}

impl Core {
    /// Runs greenlets until nothing is ready or the switch interval is over.
    ///
    /// # Errors
    /// If it is not called on the main stack, or no stack could be had for a greenlet to start.
    pub(crate) fn turn(&'static self) -> Result<(), Failure> {
        if !self.on_main_stack() {
            return Err(Failure::internal("a turn was begun inside a turn"));
        }
        self.v8.check_intact()?;
        self.terminating.set(false);
        {
            let mut hub = self.hub();
            hub.run_due();
            if hub.is_idle() && !self.has_surplus() {
                return Ok(());
            }
            self.slice_start.set(hub.now());
        }
        let start = self.slice_start.get();
        let mut slice = Slice { begun: false, start, last_look: start, entries: 0, unfetched: 0 };
        let result = self.away_from_main(|| {
            while let Some(runner) = self.next(&mut slice)? {
                self.enter(&runner);
                if self.terminating.get() {
                    self.fiber_switch.take();
                    break;
                }
            }
            Ok(())
        });
        self.take_runner_error().and(result)
    }

    /// Throws, on the main stack, the exception that has ended a runner.
    fn take_runner_error(&self) -> Result<(), Failure> {
        let Some(error) = self.runner_error.take() else { return Ok(()) };
        self.terminating.set(false);
        let value = self.referenced(error)?;
        // SAFETY: (local) the reference was made for this and is not used again.
        unsafe {
            check(napi_sys::napi_delete_reference(self.env, error))?;
            check(napi_sys::napi_throw(self.env, value))?;
        }
        Err(Failure::Pending)
    }

    /// Enters one stack from the main one, and those that it hands over to, and comes back when nobody is handed over to.
    ///
    /// # Errors
    /// As for [`turn`](Self::turn).
    pub(crate) fn visit(&self, runner: Rc<Runner>) -> Result<(), Failure> {
        self.terminating.set(false);
        self.away_from_main(|| {
            let mut next = Some(runner);
            while let Some(runner) = next {
                self.enter(&runner);
                next = self.take_handed_over().filter(|_| !self.terminating.get());
            }
        });
        // Unlike a turn, which goes back to libuv, this returns to JavaScript.
        if self.is_worker {
            self.renew_termination();
        }
        self.take_runner_error()
    }

    /// Whose stack is entered next, before all that is ready.
    fn take_handed_over(&self) -> Option<Rc<Runner>> {
        self.fiber_switch.take().or_else(|| self.inspection.take_next())
    }

    /// Archives the main stack in V8 while `operation` enters others.
    fn away_from_main<R>(&self, operation: impl FnOnce() -> R) -> R {
        let mut departure = Departure::default();
        // SAFETY: (protocol) we are on the main stack, and `operation` touches V8 on other stacks only. The
        // context's handle lives in the handle scope of the native call that we are in.
        unsafe {
            let context = self.followed_context().map(|context| (context, context.get()));
            self.v8.depart(&mut departure);
            let result = operation();
            self.v8.arrive_main(&mut departure);
            if let Some((context, value)) = context {
                context.set(value);
            }
            result
        }
    }

    /// Whose turn it is. `None`: nothing is ready, or libuv's turn has come.
    fn next(&'static self, slice: &mut Slice) -> Result<Option<Rc<Runner>>, Failure> {
        if let Some(runner) = self.take_handed_over() {
            return Ok(Some(runner));
        }
        slice.entries += 1;
        slice.unfetched += 1;
        let begun = std::mem::replace(&mut slice.begun, true);
        if slice.entries >= self.pace.entries_per_look.get() && self.is_over(slice) && begun {
            self.put_starts_back()?;
            return Ok(None);
        }
        if self.script()?.shared.get(SharedWord::Starting) > 0 {
            // A greenlet parked in the middle of a batch: the rest of it starts on another stack.
            return self.idle_runner().map(Some).or_else(|failure| self.without_a_stack(failure));
        }
        loop {
            let entry = self.hub().pop();
            match entry {
                Some(Ready::Wake(id)) => {
                    let runner = self.runners.borrow().get(id);
                    if runner.is_some() {
                        self.prefetch_next();
                        return Ok(runner);
                    }
                }
                Some(entry @ (Ready::Connection(_) | Ready::Accept(_))) => {
                    if !self.hub().serve(entry) {
                        // Handshakes take their time.
                        slice.entries += 1;
                        if slice.entries >= self.pace.entries_per_look.get() && self.is_over(slice) {
                            return Ok(None);
                        }
                        continue;
                    }
                    return match self.idle_runner() {
                        Ok(runner) => {
                            self.handed_over.set(SERVES);
                            self.stacks_missed.set(false);
                            Ok(Some(runner))
                        }
                        Err(failure) => {
                            self.hub().http().put_back();
                            self.without_a_stack(failure)
                        }
                    };
                }
                Some(entry @ (Ready::Start(_) | Ready::Call(_))) => {
                    let runner = match self.idle_runner() {
                        Ok(runner) => runner,
                        Err(failure) => {
                            self.hub().push_front(entry);
                            return self.without_a_stack(failure);
                        }
                    };
                    match entry {
                        Ready::Call(slot) => self.handed_over.set(slot.cast_signed() + 1),
                        Ready::Start(count) => self.begin_batch(count),
                        Ready::Wake(_) | Ready::Connection(_) | Ready::Accept(_) => {}
                    }
                    self.stacks_missed.set(false);
                    return Ok(Some(runner));
                }
                None => {
                    self.look_again(slice);
                    if self.hub().is_idle() {
                        return Ok(self.surplus_runner().inspect(|_| self.handed_over.set(REST_ENDS)));
                    }
                }
            }
        }
    }

    /// Asks the processor for what entering those who come soon will touch: with very many, all of it has left the caches.
    fn prefetch_next(&self) {
        let hub = self.hub();
        let runners = self.runners.borrow();
        let woken = |index| match hub.nth(index) {
            Some(Ready::Wake(id)) => runners.peek(id),
            _ => None,
        };
        if let Some(runner) = woken(FAR_AHEAD) {
            prefetch(ptr::from_ref(runner) as usize, size_of::<Runner>());
        }
        if let Some(runner) = woken(NEAR_AHEAD) {
            prefetch(runner.frames.get(), PREFETCHED_FRAMES);
        }
    }

    /// There is no stack for whoever is first: those that have one go on, and may give theirs back.
    fn without_a_stack(&'static self, failure: Failure) -> Result<Option<Rc<Runner>>, Failure> {
        self.put_starts_back()?;
        let woken = self.hub().pop_first_wake();
        if let Some(id) = woken {
            return Ok(self.runners.borrow().get(id));
        }
        // Told once, not in each turn until there is a stack again.
        if self.stacks_missed.replace(true) { Ok(None) } else { Err(failure) }
    }

    /// Whether a turn would run or end anybody. What is first may lack a stack until somebody gives one back.
    pub(crate) fn has_work(&self) -> bool {
        let hub = self.hub();
        let lacks_stack = || {
            self.stacks_missed.get()
                && self.runners.borrow().idle.is_empty()
                && self.stacks.borrow().in_use() > 0
        };
        self.has_surplus() || !hub.is_idle() && (!lacks_stack() || hub.has_woken())
    }

    /// Puts what is left of a batch back in front of the ready queue.
    fn put_starts_back(&self) -> Result<(), Failure> {
        let shared = self.script()?.shared;
        let unstarted = shared.get(SharedWord::Starting);
        if unstarted > 0 {
            shared.set(SharedWord::Starting, 0);
            self.hub().push_front(Ready::Start(unstarted.unsigned_abs()));
        }
        Ok(())
    }

    /// What the runner that rests is to do next without leaving its stack; `None` if it has to leave.
    pub(crate) fn next_for_resting(&self) -> Option<i32> {
        if self.hub().now() - self.slice_start.get() > as_nanos(self.switch_interval.get()) {
            return None;
        }
        let mut hub = self.hub();
        loop {
            match hub.front()? {
                Ready::Wake(_) => return None,
                Ready::Start(count) => {
                    hub.pop();
                    drop(hub);
                    self.begin_batch(count);
                    return Some(0);
                }
                Ready::Call(slot) => {
                    hub.pop();
                    return Some(slot.cast_signed() + 1);
                }
                entry @ (Ready::Connection(_) | Ready::Accept(_)) => {
                    hub.pop();
                    if hub.serve(entry) {
                        return Some(SERVES);
                    }
                    // Handshakes take their time.
                    if hub.now() - self.slice_start.get() > as_nanos(self.switch_interval.get()) {
                        return None;
                    }
                }
            }
        }
    }

    /// Starts greenlets, few at a time if the last ones took long.
    fn begin_batch(&self, count: u32) {
        let now = self.hub().now();
        let pace = &self.pace;
        let is_slow = now - pace.batch_began.replace(now) > as_nanos(self.switch_interval.get()) / 4;
        let batch =
            if is_slow { (pace.batch.get() / 4).max(1) } else { (pace.batch.get() * 2).min(MAX_BATCH) };
        pace.batch.set(batch);
        if count > batch {
            self.hub().push_front(Ready::Start(count - batch));
        }
        self.handed_over.set(0);
        if let Some(script) = self.script.get() {
            script.shared.set(SharedWord::Starting, count.min(batch).cast_signed());
        }
    }

    /// Looks for more when nothing is ready. After a single entry nothing is likely to have come: libuv tells.
    fn look_again(&self, slice: &mut Slice) {
        if std::mem::take(&mut slice.unfetched) > 2 {
            self.look_around();
        } else {
            self.hub().run_due();
        }
    }

    /// Looks at the clock, timers and now and then descriptors, and tells whether the turn has used up its time.
    fn is_over(&self, slice: &mut Slice) -> bool {
        if slice.unfetched >= MAX_ENTRIES_PER_FETCH {
            slice.unfetched = 0;
            self.look_around();
        } else {
            self.hub().run_due();
        }
        let now = self.hub().now();
        let interval = as_nanos(self.switch_interval.get());
        let pace = &self.pace.entries_per_look;
        let is_slow = now - slice.last_look > interval / 4;
        pace.set(if is_slow { 1 } else { (pace.get() * 2).min(MAX_ENTRIES_PER_LOOK) });
        slice.last_look = now;
        slice.entries = 0;
        now - slice.start >= interval
    }

    /// Makes ready what is due and what the system reports.
    pub(crate) fn look_around(&self) {
        let mut hub = self.hub();
        hub.run_due();
        if hub.awaits_events() {
            drop(hub);
            self.fetch_events();
        }
    }

    /// Makes ready what the system reports. A failing descriptor leaves its sockets parked; all else goes on.
    pub(crate) fn fetch_events(&self) {
        let _ = self.hub().poll(Some(Duration::ZERO));
    }

    /// Enters a stack; returns when it is left or has ended.
    fn enter(&self, runner: &Rc<Runner>) {
        let Some(mut coroutine) = runner.coroutine.take() else { return };
        self.switches.set(self.switches.get() + 1);
        *self.current.borrow_mut() = Some(Rc::clone(runner));
        // SAFETY: (protocol) we are on the main stack, and the stack that was left has departed, so the isolate is
        // unlocked. A stack that has begun departed with this departure.
        unsafe {
            self.v8.select(runner.thread_id.get());
            if runner.has_begun.get() {
                self.v8.arrive(&mut runner.departure.borrow_mut(), runner.bounds.top);
            }
        }
        let status = coroutine.resume();
        *self.current.borrow_mut() = None;
        match status {
            Status::Suspended => {
                // SAFETY: (protocol) the stack is left by `leave` only, with the isolate locked by its thread id.
                runner.thread_id.set(unsafe { self.v8.depart(&mut runner.departure.borrow_mut()) });
                runner.coroutine.set(Some(coroutine));
            }
            Status::Finished => {
                self.unnoted.set(true);
                self.give_back(runner);
                self.retire(runner, *coroutine);
            }
        }
    }
}
