//! The only place where a stack is left in the middle.

use std::ptr;
use std::rc::Rc;

use greenstack_hub::Cause;
use greenstack_v8_stacks::Departure;

use crate::call::{Arguments, Returned, UNDEFINED, check};
use crate::core::Core;
use crate::error::Failure;
use crate::runner::Runner;

impl Core {
    /// Leaves the current stack until somebody wakes it, and tells why it was woken.
    ///
    /// # Errors
    /// On the main stack: TypeScript refuses that with a better error before it comes here.
    pub(crate) fn park(&self) -> Result<Cause, Failure> {
        let runner = self.current()?;
        Ok(self.park_on_stack_of(&runner))
    }

    /// As [`park`](Self::park), for whoever knows the current runner already.
    pub(crate) fn park_on_stack_of(&self, runner: &Runner) -> Cause {
        self.leave(runner);
        while runner.inspected.take() {
            self.inspect_here();
            self.leave(runner);
        }
        self.immediate.set(0);
        self.cause(runner.id)
    }

    fn leave(&self, runner: &Runner) {
        let mut departure = Departure::default();
        // SAFETY: (protocol) we run on this runner's stack: it is the current one. The context's handle lives in
        // the handle scope of the native call that parks. Between `depart` and `arrive` nothing here touches V8.
        unsafe {
            let context = self.followed_context().map(|context| (context, context.get()));
            runner.thread_id.set(self.v8.depart(&mut departure));
            runner.suspender.get().suspend();
            self.v8.arrive(&mut departure, runner.bounds.top);
            if let Some((context, value)) = context {
                context.set(value);
            }
        }
    }

    /// Lets TypeScript note the JavaScript stack that leads to this park.
    fn inspect_here(&self) {
        let inspected = self.in_scope(|| {
            let script = self.script()?;
            let (inspect, receiver) = (self.referenced(script.inspect)?, self.referenced(script.resource)?);
            let mut result = ptr::null_mut();
            // SAFETY: (local) values of the scope opened by `in_scope`.
            check(unsafe {
                napi_sys::napi_call_function(self.env, receiver, inspect, 0, ptr::null(), &mut result)
            })
        });
        if inspected.is_err() {
            // The stack stays unknown; the exception must not surface in the greenlet that is looked at.
            let _ = self.report_pending();
        }
    }
}

/// `inspectStack(id)`: enters a parked stack, calls the function given to `start`, and comes back.
pub(crate) fn inspect_stack(core: &'static Core, arguments: Arguments) -> Returned {
    let target = core.runners.borrow().get(arguments.index(0)?);
    let Some(target) = target.filter(|target| !core.is_current(target) && target.has_begun.get()) else {
        return Ok(UNDEFINED);
    };
    target.inspected.set(true);
    if core.on_main_stack() {
        core.visit(&target);
    } else {
        let own = core.current()?;
        *core.to_inspect.borrow_mut() = Some(target);
        core.hub().wake_next(own.id, Cause::Woken);
        core.park()?;
    }
    Ok(UNDEFINED)
}

impl Core {
    fn is_current(&self, runner: &Rc<Runner>) -> bool {
        self.current.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, runner))
    }
}
