//! Fibers: stacks that are entered by whoever resumes them, and give back to the same when they are left.
//!
//! A fiber leaves its stack by `leaveFiber`, by parking as any greenlet, or by its end. If it was resumed, its resumer is
//! entered next, before all that is ready; a stack that the hub has entered gives back to the hub. So resuming nests as
//! calls do.

use std::rc::Rc;

use greenstack_stack::prefetch;

use crate::call::{Arguments, Returned, UNDEFINED};
use crate::core::{Core, SharedWord};
use crate::error::Failure;
use crate::runner::Runner;
use crate::scheduling::STARTS_FIBER;
use crate::turn::PREFETCHED_FRAMES;

/// `enterFiber(id)`: enters the parked stack of that number, or with −1 an unused one on which a fiber is started. Returns
/// when it is left, and `true` if the stack was new.
pub(crate) fn enter_fiber(core: &'static Core, arguments: Arguments) -> Returned {
    let target = match u32::try_from(arguments.int(0)?) {
        Ok(id) => core.runners.borrow().get(id).ok_or_else(|| Failure::internal("no such fiber"))?,
        Err(_) => {
            let unused = core.idle_runner()?;
            core.handed_over.set(STARTS_FIBER);
            unused
        }
    };
    let is_new = !target.has_begun.get();
    // Most of the switch comes first: with very many fibers, this one's frames have left the caches.
    prefetch(target.frames.get(), PREFETCHED_FRAMES);
    target.resumed.set(true);
    if core.on_main_stack() {
        core.unnoted.set(false);
        core.visit(target)?;
        if core.unnoted.get() || core.script()?.shared.get(SharedWord::Spawned) > 0 {
            core.note_work();
        }
    } else {
        let own = core.current()?;
        target.resumer.set(Some(Rc::clone(&own)));
        core.fiber_switch.set(Some(target));
        core.leave_until_entered(&own);
    }
    if is_new { core.bool_value(true) } else { Ok(UNDEFINED) }
}

/// `setIdleRunners(count)`: how many runners with nothing to run are kept.
pub(crate) fn set_idle_runners(core: &'static Core, arguments: Arguments) -> Returned {
    core.script()?.idle_runners.set(arguments.index(0)? as usize);
    core.note_work();
    Ok(UNDEFINED)
}

/// `leaveFiber()`: returns when the stack is entered again.
pub(crate) fn leave_fiber(core: &'static Core, _: Arguments) -> Returned {
    let runner = core.current()?;
    core.give_back(&runner);
    core.leave_until_entered(&runner);
    Ok(UNDEFINED)
}

impl Core {
    /// A stack is left: whoever has resumed it is entered next.
    pub(crate) fn give_back(&self, runner: &Runner) {
        if runner.resumed.take() {
            self.fiber_switch.set(runner.resumer.take());
        }
    }
}
