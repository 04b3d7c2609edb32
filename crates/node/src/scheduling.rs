//! Native functions about greenlets and time; `src/binding.ts` tells what each is for.

use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use greenstack_hub::{Cause, TimerKey, as_nanos};
use greenstack_v8_stacks::{ContextValue, StackBounds};
use napi_sys::napi_value;

use crate::call::{Arguments, Returned, UNDEFINED, check};
use crate::core::{Core, SharedWord};
use crate::uv::Uv;

/// Yields without company before the turn looks at libuv, a power of two.
const LONE_YIELDS_PER_CHECK: u32 = 16;

/// A time in milliseconds, as JavaScript has it. Negative ones count as 0.
pub(crate) fn milliseconds(number: f64) -> Duration {
    /// Some 292 years: what fits into 64 bits of nanoseconds.
    const FOREVER: f64 = 9.0e15;
    Duration::from_secs_f64((number.clamp(0.0, FOREVER) / 1000.0).min(9.0e9))
}

fn cause_value(core: &Core, cause: Cause) -> Returned {
    match cause {
        Cause::Woken => Ok(UNDEFINED),
        Cause::Deadline => core.int_value(1),
        Cause::Interrupted => core.int_value(2),
    }
}

pub(crate) fn use_native_context(core: &'static Core, _: Arguments) -> Returned {
    let mut undefined = ptr::null_mut();
    // SAFETY: (local) a call of Node's is running.
    check(unsafe { napi_sys::napi_get_undefined(core.env, &mut undefined) })?;
    if let Some(context) = &core.context {
        context.guard(undefined.cast())?;
        core.context_in_use.set(true);
    }
    Ok(UNDEFINED)
}

pub(crate) fn get_context(core: &'static Core, _: Arguments) -> Returned {
    // SAFETY: (protocol) a call of Node's is running on a stack that V8 has locked; a Node-API value is a V8
    // local handle.
    Ok(core.context.as_ref().map_or(UNDEFINED, |context| unsafe { context.get().0.cast::<_>() }))
}

pub(crate) fn set_context(core: &'static Core, arguments: Arguments) -> Returned {
    let value: napi_value = arguments.value(0);
    if let Some(context) = &core.context {
        // SAFETY: (protocol) as above; the argument is alive during the call.
        unsafe { context.set(ContextValue(value.cast())) };
    }
    Ok(UNDEFINED)
}

pub(crate) fn park(core: &'static Core, _: Arguments) -> Returned {
    let cause = core.park()?;
    cause_value(core, cause)
}

/// `parkFor(ms, referenced)`
pub(crate) fn park_for(core: &'static Core, arguments: Arguments) -> Returned {
    let runner = core.current()?;
    let delay = milliseconds(arguments.double(0)?);
    core.hub().set_deadline(runner.id, delay, arguments.bool(1)?);
    let cause = core.park_on_stack_of(&runner);
    core.hub().clear_deadline(runner.id);
    cause_value(core, cause)
}

pub(crate) fn yield_now(core: &'static Core, _: Arguments) -> Returned {
    let runner = core.current()?;
    let starting = core.script()?.shared.get(SharedWord::Starting) > 0;
    let mut hub = core.hub();
    if hub.is_idle() && !starting {
        let count = core.immediate.get().wrapping_add(1);
        core.immediate.set(count);
        if !count.is_multiple_of(LONE_YIELDS_PER_CHECK) {
            return Ok(UNDEFINED);
        }
        hub.run_due();
        if hub.awaits_events() {
            hub.poll(Some(Duration::ZERO))?;
        }
        let elapsed = hub.now() - core.slice_start.get();
        if hub.is_idle() && elapsed < as_nanos(core.switch_interval.get()) {
            return Ok(UNDEFINED);
        }
    }
    hub.wake(runner.id, Cause::Woken);
    drop(hub);
    core.park_on_stack_of(&runner);
    Ok(UNDEFINED)
}

/// What `rest` returns to a runner that has to end.
pub(crate) const REST_ENDS: i32 = -1;
/// What it returns when a request is to be taken by `httpTake`.
pub(crate) const SERVES: i32 = -2;
/// What it returns when a fiber is to be started.
pub(crate) const STARTS_FIBER: i32 = -3;

/// `rest()`: the runner has nothing to run. [`REST_ENDS`]; [`SERVES`]; [`STARTS_FIBER`]; 0: start greenlets; n: call the timer
/// of slot n − 1.
pub(crate) fn rest(core: &'static Core, _: Arguments) -> Returned {
    let runner = core.current()?;
    // Who has resumed a fiber goes on as soon as it has ended.
    if !runner.resumed.get() {
        if core.script()?.shared.get(SharedWord::Starting) > 0 {
            return core.int_value(0);
        }
        if let Some(next) = core.next_for_resting() {
            return core.int_value(next);
        }
    }
    if !runner.reusable {
        return core.int_value(REST_ENDS);
    }
    core.runners.borrow_mut().idle.push_back(Rc::clone(&runner));
    if core.has_surplus() {
        core.unnoted.set(true);
    }
    core.give_back(&runner);
    core.leave_until_entered(&runner);
    core.int_value(core.handed_over.replace(0))
}

pub(crate) fn wake(core: &'static Core, arguments: Arguments) -> Returned {
    core.wake(arguments.index(0)?, Cause::Woken, false);
    Ok(UNDEFINED)
}

/// `interrupt(id, next)`
pub(crate) fn interrupt(core: &'static Core, arguments: Arguments) -> Returned {
    core.wake(arguments.index(0)?, Cause::Interrupted, arguments.bool(1)?);
    Ok(UNDEFINED)
}

pub(crate) fn note_spawned(core: &'static Core, _: Arguments) -> Returned {
    core.note_work();
    Ok(UNDEFINED)
}

/// `startOn(size)`: a runner on a stack of its own size, ready to be entered; returns its number.
pub(crate) fn start_on(core: &'static Core, arguments: Arguments) -> Returned {
    let size = arguments.index(0)? as usize;
    let runner = core.new_runner(size.max(StackBounds::MIN_SIZE), false)?;
    core.wake(runner.id, Cause::Woken, false);
    core.int_value(runner.id.cast_signed())
}

/// `startTimer(ms, slot, referenced)`
pub(crate) fn start_timer(core: &'static Core, arguments: Arguments) -> Returned {
    let delay = milliseconds(arguments.double(0)?);
    let key = core.hub().start_timer(delay, arguments.index(1)?, arguments.bool(2)?);
    core.note_work();
    core.double_value(key.to_bits() as f64)
}

/// `cancelTimer(key)`: whether the timer had not expired.
pub(crate) fn cancel_timer(core: &'static Core, arguments: Arguments) -> Returned {
    let key = TimerKey::from_bits(arguments.double(0)? as u64);
    let cancelled = core.hub().cancel_timer(key);
    core.note_work();
    core.bool_value(cancelled)
}

pub(crate) fn stop_time(core: &'static Core, _: Arguments) -> Returned {
    core.hub().stop_time();
    core.note_work();
    Ok(UNDEFINED)
}

pub(crate) fn resume_time(core: &'static Core, _: Arguments) -> Returned {
    core.hub().resume_time();
    core.note_work();
    Ok(UNDEFINED)
}

/// `jump(limit)`: returns how far time was moved since it was stopped.
pub(crate) fn jump(core: &'static Core, arguments: Arguments) -> Returned {
    let limit = arguments.double(0)?;
    let moved = core.hub().jump(limit.is_finite().then(|| milliseconds(limit)));
    core.note_work();
    core.double_value(as_nanos(moved) as f64 / 1e6)
}

/// `outlook()`: what may happen next, as bits; `Outlook` in `src/binding.ts` has the same list.
pub(crate) fn outlook(core: &'static Core, _: Arguments) -> Returned {
    const READY: i32 = 1;
    const TIMERS: i32 = 2;
    const REFERENCED: i32 = 4;
    const AWAITED: i32 = 8;
    const REQUESTS: i32 = 16;
    core.hub().run_due();
    let is_ready = core.has_work();
    let hub = core.hub();
    let has_requests = hub.pending_lookups() > 0 || core.uv.get().is_some_and(Uv::has_requests);
    let is_awaited = hub.sockets.waiting() > 0 || core.kept_alive.get() > 0;
    let facts = [
        (is_ready, READY),
        (hub.pending_timers() > 0, TIMERS),
        (hub.referenced_timers() > 0, REFERENCED),
        (is_awaited, AWAITED),
        (has_requests, REQUESTS),
    ];
    drop(hub);
    core.note_work();
    core.int_value(facts.iter().filter(|(holds, _)| *holds).map(|(_, bit)| bit).sum())
}

pub(crate) fn turn(core: &'static Core, _: Arguments) -> Returned {
    core.turn()?;
    Ok(UNDEFINED)
}

/// `keepAlive(change)`
pub(crate) fn keep_alive(core: &'static Core, arguments: Arguments) -> Returned {
    core.kept_alive.set(core.kept_alive.get() + arguments.int(0)?);
    core.note_work();
    Ok(UNDEFINED)
}

/// `setStackSize(bytes)`: for stacks made from now on.
pub(crate) fn set_stack_size(core: &'static Core, arguments: Arguments) -> Returned {
    core.stack_size.set((arguments.index(0)? as usize).max(StackBounds::MIN_SIZE));
    Ok(UNDEFINED)
}

pub(crate) fn set_switch_interval(core: &'static Core, arguments: Arguments) -> Returned {
    core.switch_interval.set(milliseconds(arguments.double(0)?));
    Ok(UNDEFINED)
}

/// `lookAtIsolate()`: to be called outside of, inside, twice inside and outside of `JSON.stringify`.
pub(crate) fn look_at_isolate(core: &'static Core, _: Arguments) -> Returned {
    core.shutdown_list_probe.look();
    Ok(UNDEFINED)
}

/// `followShutdownList()`: whether V8 has the list that was looked for.
pub(crate) fn follow_shutdown_list(core: &'static Core, _: Arguments) -> Returned {
    core.bool_value(core.v8.follow_shutdown_list_of(&core.shutdown_list_probe)?)
}

pub(crate) fn check_intact(core: &'static Core, _: Arguments) -> Returned {
    greenstack_v8_stacks::Step::SelfTest.check_not_forced()?;
    core.v8.check_intact()?;
    Ok(UNDEFINED)
}

/// `statistics()`: counts, in the order that `src/binding.ts` names.
pub(crate) fn statistics(core: &'static Core, _: Arguments) -> Returned {
    let hub = core.hub();
    let runners = core.runners.borrow();
    let counts = [
        hub.ready_len() as f64,
        hub.pending_timers() as f64,
        hub.sockets.len() as f64,
        hub.pending_lookups() as f64,
        core.stacks.borrow().in_use() as f64,
        runners.len() as f64,
        runners.idle.len() as f64,
        core.switches.get() as f64,
    ];
    core.array_value(counts.map(|count| core.double_value(count)))
}
