//! Runners: each is a stack on which JavaScript's runner loop runs greenlets one after another.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr;
use std::rc::Rc;

use greenstack_stack::{Coroutine, Suspender};
use greenstack_v8_stacks::{Departure, StackBounds};

use crate::call::{Returned, check};
use crate::core::Core;
use crate::error::Failure;

/// One stack in use, and how V8 and the switch find it.
pub(crate) struct Runner {
    pub(crate) id: u32,
    pub(crate) bounds: StackBounds,
    /// Whether it may wait for another greenlet when it has nothing to run.
    pub(crate) reusable: bool,
    /// V8's id of this "thread"; 0 before it first ran.
    pub(crate) thread_id: Cell<i32>,
    /// `None` while it is running. Boxed, because it is taken out and put back at every switch.
    pub(crate) coroutine: Cell<Option<Box<Coroutine>>>,
    pub(crate) suspender: Cell<Suspender>,
    /// Where the frames of whoever is parked begin.
    pub(crate) frames: Cell<usize>,
    /// What V8 needs to arrive here again, once it has been left.
    pub(crate) departure: RefCell<Departure>,
    /// Whether it has been entered: only then there is something to look at.
    pub(crate) has_begun: Cell<bool>,
    /// Set when it is entered only to tell where it is parked.
    pub(crate) inspected: Cell<bool>,
    /// Set while somebody who has entered it as a fiber waits for it to be left.
    pub(crate) resumed: Cell<bool>,
    /// Who that is; `None`: the main stack.
    pub(crate) resumer: Cell<Option<Rc<Runner>>>,
}

/// All runners, by number, and those that have nothing to run.
#[derive(Default)]
pub(crate) struct Runners {
    slots: Vec<Option<Rc<Runner>>>,
    free: Vec<u32>,
    /// Those that have nothing to run; who has rested shortest is last.
    pub(crate) idle: VecDeque<Rc<Runner>>,
}

impl Runners {
    pub(crate) fn get(&self, id: u32) -> Option<Rc<Runner>> {
        self.slots.get(id as usize)?.clone()
    }

    pub(crate) fn peek(&self, id: u32) -> Option<&Runner> {
        self.slots.get(id as usize)?.as_deref()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn reserve(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        })
    }

    fn release(&mut self, id: u32) {
        self.slots[id as usize] = None;
        self.free.push(id);
    }
}

impl Core {
    /// A runner with nothing to run: an idle one, or a new one on a stack of the default size.
    pub(crate) fn idle_runner(&'static self) -> Result<Rc<Runner>, Failure> {
        let idle = self.runners.borrow_mut().idle.pop_back();
        idle.map_or_else(|| self.new_runner(self.stack_size.get(), true), Ok)
    }

    /// A runner that has nothing to run and is one too many.
    pub(crate) fn surplus_runner(&self) -> Option<Rc<Runner>> {
        if self.has_surplus() { self.runners.borrow_mut().idle.pop_front() } else { None }
    }

    /// Whether more runners have nothing to run than are kept for the next greenlets.
    pub(crate) fn has_surplus(&self) -> bool {
        self.script.get().is_some_and(|script| self.runners.borrow().idle.len() > script.idle_runners.get())
    }

    /// A new runner on a stack with `size` usable bytes. It has to be entered once.
    ///
    /// `reusable` says whether it may run one greenlet after another.
    pub(crate) fn new_runner(&'static self, size: usize, reusable: bool) -> Result<Rc<Runner>, Failure> {
        let taken = self.stacks.borrow_mut().take(size);
        let stack = taken.map_err(|error| {
            let in_use = self.stacks.borrow().in_use();
            Failure::new(
                "ERR_GREENSTACK_OUT_OF_STACKS",
                format!("no memory for another stack of {size} bytes ({in_use} in use): {error}"),
            )
        })?;
        let bounds = StackBounds { top: stack.top(), limit: stack.limit() };
        let id = self.runners.borrow_mut().reserve();
        let runner = Rc::new(Runner {
            id,
            bounds,
            reusable,
            thread_id: Cell::new(stack.tag()),
            coroutine: Cell::new(None),
            suspender: Cell::new(Suspender::none()),
            frames: Cell::new(0),
            departure: RefCell::default(),
            has_begun: Cell::new(false),
            inspected: Cell::new(false),
            resumed: Cell::new(false),
            resumer: Cell::new(None),
        });
        let own = Rc::clone(&runner);
        let coroutine = Coroutine::new(stack, move |suspender| {
            own.suspender.set(suspender);
            own.has_begun.set(true);
            self.run_on(&own);
        });
        runner.coroutine.set(Some(Box::new(coroutine)));
        self.runners.borrow_mut().slots[id as usize] = Some(Rc::clone(&runner));
        Ok(runner)
    }

    /// The first frame of a runner's stack.
    fn run_on(&self, runner: &Runner) {
        // SAFETY: (protocol) the turn has unlocked the isolate and selected this runner's thread id; nothing in
        // `call_runner` unwinds.
        let thread_id = unsafe { self.v8.begin(runner.bounds, || self.call_runner(runner.id)) };
        runner.thread_id.set(thread_id);
    }

    fn call_runner(&self, id: u32) {
        if self.is_worker {
            self.renew_termination();
        }
        let called = self.script().and_then(|script| {
            let (run, receiver) = (self.referenced(script.run)?, self.referenced(script.resource)?);
            let arguments = [self.int_value(id.cast_signed())?, self.int_value(self.handed_over.replace(0))?];
            let mut result = ptr::null_mut();
            // SAFETY: (local) values of the handle scope that `begin` opened.
            check(unsafe {
                napi_sys::napi_call_function(
                    self.env,
                    receiver,
                    run,
                    arguments.len(),
                    arguments.as_ptr(),
                    &mut result,
                )
            })
        });
        if let Err(failure) = called {
            self.runner_failed(failure);
        }
    }

    /// The runner loop ends by an exception only if the worker is being terminated, or greenstack is wrong.
    ///
    /// No context is entered at the bottom of a stack, so the exception is left to the main one.
    fn runner_failed(&self, failure: Failure) {
        self.terminating.set(true);
        failure.throw(self.env);
        let mut error = ptr::null_mut();
        // SAFETY: (local) fails with a status if the worker is being terminated.
        let taken = check(unsafe { napi_sys::napi_get_and_clear_last_exception(self.env, &mut error) });
        if let Ok(reference) = taken.and_then(|()| self.reference(error)) {
            self.runner_error.set(Some(reference));
        }
    }

    /// Turns the pending exception, if there is one, into an uncaught one.
    pub(crate) fn report_pending(&self) -> Returned {
        let mut error = ptr::null_mut();
        // SAFETY: (local) fails with a status if the worker is being terminated.
        unsafe {
            let mut pending = false;
            check(napi_sys::napi_is_exception_pending(self.env, &mut pending))?;
            if pending {
                check(napi_sys::napi_get_and_clear_last_exception(self.env, &mut error))?;
                check(napi_sys::napi_fatal_exception(self.env, error))?;
            }
        }
        Ok(error)
    }

    /// Takes a finished runner apart.
    pub(crate) fn retire(&self, runner: &Runner, coroutine: Coroutine) {
        if let Ok(mut stack) = coroutine.into_stack() {
            stack.set_tag(runner.thread_id.get());
            self.stacks.borrow_mut().give_back(stack);
        }
        self.runners.borrow_mut().release(runner.id);
    }
}
