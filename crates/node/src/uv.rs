//! The only file that knows libuv.
//!
//! Three handles tie the hub to Node's loop: a poll handle on the hub's own poll descriptor, a timer for the
//! next deadline, and an idle handle that is active while somebody is ready, so that libuv does not block.
//! Each is referenced only while it can wake somebody, so the process ends by itself.

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::Duration;

use greenstack_hub::as_nanos;
use greenstack_stack::{Guard, StackPool};
use napi_sys::uv_loop_s;

use crate::call::{UNDEFINED, check};
use crate::core::Core;
use crate::error::Failure;

/// A libuv handle of any kind.
#[repr(C)]
pub(crate) struct Handle {
    _opaque: [u8; 0],
}

type HandleCallback = unsafe extern "C" fn(*mut Handle);

// Exported by the executable on every supported version; see docs.libuv.org.
unsafe extern "C" {
    fn uv_handle_size(kind: c_int) -> usize;
    fn uv_handle_set_data(handle: *mut Handle, data: *mut c_void);
    fn uv_handle_get_data(handle: *const Handle) -> *mut c_void;
    fn uv_idle_init(event_loop: *mut uv_loop_s, handle: *mut Handle) -> c_int;
    fn uv_idle_start(handle: *mut Handle, callback: HandleCallback) -> c_int;
    fn uv_idle_stop(handle: *mut Handle) -> c_int;
    fn uv_poll_init(event_loop: *mut uv_loop_s, handle: *mut Handle, descriptor: c_int) -> c_int;
    fn uv_poll_start(
        handle: *mut Handle,
        events: c_int,
        callback: unsafe extern "C" fn(*mut Handle, c_int, c_int),
    ) -> c_int;
    fn uv_timer_init(event_loop: *mut uv_loop_s, handle: *mut Handle) -> c_int;
    fn uv_timer_start(handle: *mut Handle, callback: HandleCallback, timeout: u64, repeat: u64) -> c_int;
    fn uv_timer_stop(handle: *mut Handle) -> c_int;
    fn uv_ref(handle: *mut Handle);
    fn uv_unref(handle: *mut Handle);
    fn uv_close(handle: *mut Handle, callback: Option<HandleCallback>);
}

/// `uv_handle_type`, from uv.h.
#[derive(Clone, Copy)]
#[repr(i32)]
enum HandleKind {
    Idle = 6,
    Poll = 8,
    Timer = 13,
}

const UV_READABLE: c_int = 1;

/// The first fields of `uv_loop_t`, which uv.h shows and libuv 1 does not change.
#[repr(C)]
struct LoopHead {
    data: *mut c_void,
    active_handles: c_uint,
    handle_queue: [*mut c_void; 2],
    active_requests: c_uint,
}

/// The handles of one hub, and what they are set to.
pub(crate) struct Uv {
    event_loop: *mut uv_loop_s,
    idle: *mut Handle,
    poll: *mut Handle,
    timer: *mut Handle,
    idle_active: Cell<bool>,
    /// The hub's time, in ns, at which the timer fires; 0 while it is stopped.
    timer_due: Cell<u64>,
    poll_referenced: Cell<bool>,
    timer_referenced: Cell<bool>,
    /// Whether `pump` is running and will look at everything itself.
    pumping: Cell<bool>,
}

impl Uv {
    /// Makes the handles and sees to it that they are closed with the environment.
    pub(crate) fn new(core: &'static Core) -> Result<Self, Failure> {
        let mut event_loop = ptr::null_mut();
        // SAFETY: (local) writes the loop of this environment.
        check(unsafe { napi_sys::napi_get_uv_event_loop(core.env, &mut event_loop) })?;
        let descriptor = core.hub().poller().as_raw_fd();
        // SAFETY: (protocol) each handle has the size that libuv tells and lives until its close callback. The
        // `Core` that they carry is never freed, and `clean_up` closes them before the loop ends.
        unsafe {
            let idle = new_handle(core, HandleKind::Idle);
            let poll = new_handle(core, HandleKind::Poll);
            let timer = new_handle(core, HandleKind::Timer);
            uv_check("uv_idle_init", uv_idle_init(event_loop, idle))?;
            uv_check("uv_timer_init", uv_timer_init(event_loop, timer))?;
            uv_check("uv_poll_init", uv_poll_init(event_loop, poll, descriptor))?;
            uv_check("uv_poll_start", uv_poll_start(poll, UV_READABLE, on_poll))?;
            uv_unref(poll);
            uv_unref(timer);
            let data = ptr::from_ref(core).cast_mut().cast();
            check(napi_sys::napi_add_env_cleanup_hook(core.env, Some(clean_up), data))?;
            Ok(Self {
                event_loop,
                idle,
                poll,
                timer,
                idle_active: Cell::new(false),
                timer_due: Cell::new(0),
                poll_referenced: Cell::new(false),
                timer_referenced: Cell::new(false),
                pumping: Cell::new(false),
            })
        }
    }

    /// Whether libuv works on something that ends by itself: files, names, connections, jobs of its thread pool.
    pub(crate) fn has_requests(&self) -> bool {
        // SAFETY: (protocol) the loop lives as long as the environment, and only this thread uses it.
        unsafe { (*self.event_loop.cast::<LoopHead>()).active_requests > 0 }
    }

    /// Sets the handles to what the hub waits for now.
    pub(crate) fn update(&self, core: &Core) {
        if self.pumping.get() {
            return;
        }
        let busy = core.has_work();
        let hub = core.hub();
        hub.set_resting(!busy);
        if busy != self.idle_active.replace(busy) {
            // SAFETY: (local) initialised by `new` and not closed: calls are refused after `clean_up`.
            unsafe {
                if busy {
                    uv_idle_start(self.idle, on_ready);
                } else {
                    uv_idle_stop(self.idle);
                }
            }
        }
        self.set_timer(hub.now(), hub.until_next_deadline());
        set_referenced(self.timer, &self.timer_referenced, hub.referenced_timers() > 0);
        set_referenced(self.poll, &self.poll_referenced, hub.awaits_events() || core.kept_alive.get() > 0);
    }

    fn set_timer(&self, now: u64, until: Option<Duration>) {
        let Some(until) = until else {
            if self.timer_due.replace(0) != 0 {
                // SAFETY: (local) as above.
                unsafe { uv_timer_stop(self.timer) };
            }
            return;
        };
        let due = now.saturating_add(as_nanos(until)).max(1);
        let armed = self.timer_due.get();
        // An earlier wake-up than needed does no harm, and saves setting the timer for each deadline.
        if armed == 0 || due < armed {
            self.timer_due.set(due);
            let milliseconds = as_nanos(until).div_ceil(1_000_000);
            // SAFETY: (local) as above.
            unsafe { uv_timer_start(self.timer, on_timer, milliseconds, 0) };
        }
    }

    /// Takes turns as long as somebody is ready and the switch interval lasts.
    fn pump(&self, core: &'static Core) {
        core.look_around();
        self.take_turns(core);
    }

    /// As [`pump`](Self::pump), when it is known what the system reports.
    fn take_turns(&self, core: &'static Core) {
        if self.pumping.replace(true) {
            // Somebody runs Node's loop inside a callback of it.
            return;
        }
        let start = core.hub().now();
        // A turn ends by looking around itself, so only promise reactions can have made somebody ready since.
        while core.has_work() && call_turn(core) && !core.is_closed() {
            if core.hub().now() - start >= as_nanos(core.switch_interval.get()) {
                break;
            }
        }
        self.pumping.set(false);
        if !core.is_closed() {
            self.update(core);
            if core.hub().is_idle() {
                core.stacks.borrow_mut().trim();
            }
        }
    }
}

/// Calls TypeScript's `turn` such that promise reactions and `nextTick` follow it. `false` if that failed.
fn call_turn(core: &'static Core) -> bool {
    let mut succeeded = false;
    // SAFETY: (protocol) libuv has called us on the main stack, and Node holds the isolate's lock; the stacks that
    // the turn enters are left again before it returns.
    unsafe {
        core.v8.in_scope(|| {
            succeeded = make_callback(core).is_ok();
            if !succeeded {
                let _ = core.report_pending();
            }
        });
    }
    succeeded
}

fn make_callback(core: &Core) -> Result<(), Failure> {
    let script = core.script()?;
    let (turn, resource) = (core.referenced(script.turn)?, core.referenced(script.resource)?);
    let mut result = UNDEFINED;
    // SAFETY: (local) values of the scope opened by `call_turn`; null stands for no async context.
    check(unsafe {
        napi_sys::napi_make_callback(core.env, ptr::null_mut(), resource, turn, 0, ptr::null(), &mut result)
    })
}

unsafe fn new_handle(core: &'static Core, kind: HandleKind) -> *mut Handle {
    // SAFETY: (protocol) zeroed memory of the handle's size, freed by `free_handle`.
    unsafe {
        let handle = libc::calloc(1, uv_handle_size(kind as c_int)).cast::<Handle>();
        assert!(!handle.is_null(), "no memory for a libuv handle");
        uv_handle_set_data(handle, ptr::from_ref(core).cast_mut().cast());
        handle
    }
}

fn uv_check(call: &'static str, status: c_int) -> Result<(), Failure> {
    if status == 0 {
        return Ok(());
    }
    Err(Failure::new("ERR_GREENSTACK_SYSTEM", format!("{call} failed with {status}")))
}

fn set_referenced(handle: *mut Handle, state: &Cell<bool>, referenced: bool) {
    if state.replace(referenced) != referenced {
        // SAFETY: (local) initialised and not closed, as in `Uv::update`.
        unsafe {
            if referenced {
                uv_ref(handle);
            } else {
                uv_unref(handle);
            }
        }
    }
}

/// The `Core` that a handle carries.
unsafe fn core_of(handle: *mut Handle) -> &'static Core {
    // SAFETY: (protocol) set by `new_handle`; a `Core` is never freed.
    unsafe { &*uv_handle_get_data(handle).cast::<Core>() }
}

unsafe extern "C" fn on_ready(handle: *mut Handle) {
    // SAFETY: (protocol) one of our handles.
    let core = unsafe { core_of(handle) };
    if let Some(uv) = core.uv.get() {
        uv.pump(core);
    }
}

unsafe extern "C" fn on_timer(handle: *mut Handle) {
    // SAFETY: (protocol) one of our handles.
    let core = unsafe { core_of(handle) };
    if let Some(uv) = core.uv.get() {
        uv.timer_due.set(0);
        uv.pump(core);
    }
}

unsafe extern "C" fn on_poll(handle: *mut Handle, _status: c_int, _events: c_int) {
    // SAFETY: (protocol) one of our handles.
    let core = unsafe { core_of(handle) };
    if let Some(uv) = core.uv.get() {
        // Also when nobody waits: libuv tells of the descriptor for ever, until what it has is fetched.
        core.fetch_events();
        core.hub().run_due();
        uv.take_turns(core);
    }
}

unsafe extern "C" fn free_handle(handle: *mut Handle) {
    // SAFETY: (protocol) libuv is done with the handle, which `new_handle` allocated.
    unsafe { libc::free(handle.cast()) }
}

/// Runs when the environment is torn down: at the end of the process or of a worker.
unsafe extern "C" fn clean_up(data: *mut c_void) {
    // SAFETY: (protocol) the `Core` that `Uv::new` passed.
    let core: &'static Core = unsafe { &*data.cast::<Core>() };
    core.close_hub();
    if let Some(uv) = core.uv.get() {
        for handle in [uv.idle, uv.poll, uv.timer] {
            // SAFETY: (protocol) initialised, and closed only here; Node runs the loop until it is done.
            unsafe { uv_close(handle, Some(free_handle)) };
        }
    }
    bury_stacks(core);
}

/// Stacks of an isolate that is about to be disposed of; unmapped when its thread ends.
struct Graveyard(Option<StackPool>);

impl Drop for Graveyard {
    fn drop(&mut self) {
        if let Some(stacks) = self.0.take() {
            // SAFETY: (protocol) a worker's thread disposes of its isolate before it ends, and thread-local
            // values are dropped after that. Nobody enters or scans the stacks any more.
            unsafe { stacks.unmap() };
        }
    }
}

thread_local! {
    static GRAVEYARD: Cell<Graveyard> = const { Cell::new(Graveyard(None)) };
}

/// Until the isolate is gone its collector may still scan parked stacks, so they are unmapped with the
/// thread. Not on the main thread: `process.exit()` in a greenlet ends it on one of these stacks.
fn bury_stacks(core: &Core) {
    if !core.is_worker || !core.on_main_stack() {
        return;
    }
    let stacks = core.stacks.replace(StackPool::new(Guard::Absent));
    GRAVEYARD.with(|graveyard| graveyard.set(Graveyard(Some(stacks))));
}
