//! The only place where a stack is left in the middle.

use std::cell::Cell;
use std::ptr;
use std::rc::Rc;

use greenstack_hub::Cause;

use crate::call::{Arguments, Returned, UNDEFINED, check};
use crate::core::Core;
use crate::error::Failure;
use crate::runner::Runner;
use crate::scheduling::STARTS_FIBER;

impl Core {
    /// Leaves the current stack until somebody wakes it, and tells why it was woken.
    ///
    /// # Errors
    /// On the main stack: TypeScript refuses that with a better error before it comes here.
    pub(crate) fn park(&self) -> Result<Cause, Failure> {
        if self.inspection.running.get() {
            return Err(Failure::internal("parking while a stack is looked at"));
        }
        let runner = self.current()?;
        Ok(self.park_on_stack_of(&runner))
    }

    /// As [`park`](Self::park), for whoever knows the current runner already.
    pub(crate) fn park_on_stack_of(&self, runner: &Runner) -> Cause {
        self.unnoted.set(true);
        self.give_back(runner);
        self.leave_until_entered(runner);
        self.cause(runner.id)
    }

    /// Leaves the stack of a runner until it is entered by whoever is meant to: somebody has been told of it.
    pub(crate) fn leave_until_entered(&self, runner: &Runner) {
        self.leave(runner);
        while runner.inspected.take() {
            self.inspect_here();
            self.leave(runner);
        }
        self.immediate.set(0);
    }

    fn leave(&self, runner: &Runner) {
        let frame = 0u8;
        runner.frames.set(&raw const frame as usize);
        // SAFETY: (protocol) we run on this runner's stack: it is the current one, and `enter` makes V8 depart from it
        // and arrive at it again. The context's handle lives in the handle scope of the native call that parks.
        unsafe {
            let context = self.followed_context().map(|context| (context, context.get()));
            runner.suspender.get().suspend();
            // A fiber starts in the context of whoever starts it, which nobody has changed meanwhile.
            if let Some((context, value)) = context
                && self.handed_over.get() != STARTS_FIBER
            {
                context.set(value);
            }
        }
        if self.is_worker {
            self.renew_termination();
        }
    }

    /// Sees to it that a worker that is being terminated ends on this stack too.
    ///
    /// V8 keeps the request in a flag that it archives with the stack that ran when the request came, so others would
    /// go on without it.
    pub(crate) fn renew_termination(&self) {
        let mut undefined = ptr::null_mut();
        let mut same = false;
        // SAFETY: (local) on a stack that V8 has locked. The comparison is refused once the environment is stopping,
        // which Node notes before it asks V8 to terminate.
        unsafe {
            let _ = napi_sys::napi_get_undefined(self.env, &mut undefined);
            let status = napi_sys::napi_strict_equals(self.env, undefined, undefined, &mut same);
            if status == napi_sys::Status::napi_cannot_run_js
                || status == napi_sys::Status::napi_pending_exception
            {
                self.v8.terminate();
            }
        }
    }

    /// Lets TypeScript note the JavaScript stack that leads to this park.
    fn inspect_here(&self) {
        self.inspection.running.set(true);
        let inspected = self.in_scope(|| {
            let script = self.script()?;
            let (inspect, receiver) = (self.referenced(script.inspect)?, self.referenced(script.resource)?);
            let mut result = ptr::null_mut();
            // SAFETY: (local) values of the scope opened by `in_scope`.
            check(unsafe {
                napi_sys::napi_call_function(self.env, receiver, inspect, 0, ptr::null(), &mut result)
            })
        });
        self.inspection.running.set(false);
        if inspected.is_err() {
            // The stack stays unknown; the exception must not surface in the greenlet that is looked at.
            let _ = self.report_pending();
        }
    }
}

/// A look at where a parked stack is: from the stack of whoever asks to that one and back, with nobody in between.
#[derive(Default)]
pub(crate) struct Inspection {
    target: Cell<Option<Rc<Runner>>>,
    asker: Cell<Option<Rc<Runner>>>,
    /// Whether TypeScript is being called on the stack that is looked at, which must not be left then.
    running: Cell<bool>,
}

impl Inspection {
    fn begin(&self, target: Rc<Runner>, asker: Rc<Runner>) {
        self.target.set(Some(target));
        self.asker.set(Some(asker));
    }

    /// Whose stack is to be entered next, before all that is ready.
    pub(crate) fn take_next(&self) -> Option<Rc<Runner>> {
        self.target.take().or_else(|| self.asker.take())
    }
}

/// `inspectStack(id)`: enters a parked stack, calls the function given to `start`, and comes back.
pub(crate) fn inspect_stack(core: &'static Core, arguments: Arguments) -> Returned {
    if core.inspection.running.get() {
        return Ok(UNDEFINED);
    }
    let target = core.runners.borrow().get(arguments.index(0)?);
    let Some(target) = target.filter(|target| !core.is_current(target) && target.has_begun.get()) else {
        return Ok(UNDEFINED);
    };
    target.inspected.set(true);
    if core.on_main_stack() {
        core.visit(target)?;
    } else {
        let own = core.current()?;
        core.inspection.begin(target, Rc::clone(&own));
        core.leave_until_entered(&own);
    }
    Ok(UNDEFINED)
}

impl Core {
    fn is_current(&self, runner: &Rc<Runner>) -> bool {
        self.current.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, runner))
    }
}
