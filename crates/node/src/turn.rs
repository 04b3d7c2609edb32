//! One turn: from the main stack into one stack after the other, until nothing is ready or time is up.

use std::rc::Rc;
use std::time::Duration;

use greenstack_hub::Ready;
use greenstack_stack::Status;
use greenstack_v8_stacks::Departure;
use napi_sys::napi_ref;

use crate::call::check;
use crate::core::{Core, SharedWord};
use crate::error::Failure;
use crate::runner::Runner;

/// Greenlets started by one runner before it looks at the ready queue again.
const START_BATCH: u32 = 256;

/// Entries taken between two looks at the clock, a power of two.
const ENTRIES_PER_CHECK: u32 = 16;

/// The time that one turn, or one runner that never parks, has used up.
struct Slice {
    start: u64,
    entries: u32,
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
        {
            let mut hub = self.hub();
            hub.run_due();
            if hub.is_idle() {
                return Ok(());
            }
            self.slice_start.set(hub.now());
        }
        let mut slice = Slice { start: self.slice_start.get(), entries: 0 };
        let result = self.away_from_main(|| {
            while let Some(runner) = self.next(&mut slice)? {
                self.enter(&runner);
                if self.terminating.get() {
                    break;
                }
            }
            Ok(())
        });
        match self.runner_error.take() {
            Some(error) => self.throw_runner_error(error),
            None => result,
        }
    }

    /// Throws, on the main stack, the exception that has ended a runner.
    fn throw_runner_error(&self, error: napi_ref) -> Result<(), Failure> {
        self.terminating.set(false);
        let value = self.referenced(error)?;
        // SAFETY: (local) the reference was made for this and is not used again.
        unsafe {
            check(napi_sys::napi_delete_reference(self.env, error))?;
            check(napi_sys::napi_throw(self.env, value))?;
        }
        Err(Failure::Pending)
    }

    /// Enters one stack from the main one and comes back.
    pub(crate) fn visit(&self, runner: &Rc<Runner>) {
        self.away_from_main(|| self.enter(runner));
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
        if let Some(runner) = self.to_inspect.borrow_mut().take() {
            return Ok(Some(runner));
        }
        slice.entries += 1;
        let shared = self.script()?.shared;
        if slice.entries.is_multiple_of(ENTRIES_PER_CHECK) && self.is_over(slice)? {
            let unstarted = shared.get(SharedWord::Starting);
            if unstarted > 0 {
                shared.set(SharedWord::Starting, 0);
                self.hub().push_front(Ready::Start(unstarted.unsigned_abs()));
            }
            return Ok(None);
        }
        if shared.get(SharedWord::Starting) > 0 {
            // A greenlet parked in the middle of a batch: the rest of it starts on another stack.
            return self.idle_runner().map(Some);
        }
        loop {
            let entry = self.hub().pop();
            match entry {
                Some(Ready::Wake(id)) => {
                    let runner = self.runners.borrow().get(id);
                    if runner.is_some() {
                        return Ok(runner);
                    }
                }
                Some(Ready::Start(count)) => {
                    let runner = self.idle_runner().inspect_err(|_| {
                        self.hub().push_front(Ready::Start(count));
                    })?;
                    self.begin_batch(count);
                    return Ok(Some(runner));
                }
                Some(Ready::Call(slot)) => {
                    let runner = self.idle_runner().inspect_err(|_| {
                        self.hub().push_front(Ready::Call(slot));
                    })?;
                    self.handed_over.set(slot.cast_signed() + 1);
                    return Ok(Some(runner));
                }
                None => {
                    self.look_around()?;
                    if self.hub().is_idle() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// What the runner that rests is to do next without leaving its stack; `None` if it has to leave.
    pub(crate) fn next_for_resting(&self) -> Option<i32> {
        if self.hub().now() - self.slice_start.get() > as_nanos(self.switch_interval.get()) {
            return None;
        }
        let mut hub = self.hub();
        match hub.front()? {
            Ready::Wake(_) => None,
            Ready::Start(count) => {
                hub.pop();
                drop(hub);
                self.begin_batch(count);
                Some(0)
            }
            Ready::Call(slot) => {
                hub.pop();
                Some(slot.cast_signed() + 1)
            }
        }
    }

    fn begin_batch(&self, count: u32) {
        if count > START_BATCH {
            self.hub().push_front(Ready::Start(count - START_BATCH));
        }
        self.handed_over.set(0);
        if let Some(script) = self.script.get() {
            script.shared.set(SharedWord::Starting, count.min(START_BATCH).cast_signed());
        }
    }

    /// Looks at timers and descriptors, and tells whether the turn has used up its time.
    fn is_over(&self, slice: &Slice) -> Result<bool, Failure> {
        self.look_around()?;
        Ok(self.hub().now() - slice.start >= as_nanos(self.switch_interval.get()))
    }

    fn look_around(&self) -> Result<(), Failure> {
        let mut hub = self.hub();
        hub.run_due();
        if hub.awaits_events() {
            hub.poll(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// Enters a stack; returns when it is left or has ended.
    fn enter(&self, runner: &Rc<Runner>) {
        let Some(mut coroutine) = runner.coroutine.take() else { return };
        self.switches.set(self.switches.get() + 1);
        *self.current.borrow_mut() = Some(Rc::clone(runner));
        // SAFETY: (protocol) the stack that was left has departed, so the isolate is unlocked.
        unsafe { self.v8.select(runner.thread_id.get()) };
        let status = coroutine.resume();
        *self.current.borrow_mut() = None;
        match status {
            Status::Suspended => runner.coroutine.set(Some(coroutine)),
            Status::Finished => self.retire(runner, *coroutine),
        }
    }
}

pub(crate) fn as_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
