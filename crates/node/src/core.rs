//! What the binding keeps for one isolate.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use greenstack_hub::{Cause, Hub};
use greenstack_stack::{Guard, StackPool};
use greenstack_v8_stacks::{AsyncContext, NodeApi, ShutdownListProbe, StackBounds, V8Stacks};
use napi_sys::{napi_callback, napi_env, napi_handle_scope, napi_ref, napi_value};

use crate::call::{Arguments, Returned, UNDEFINED, check, dispatch};
use crate::error::Failure;
use crate::http::HttpWords;
use crate::park::Inspection;
use crate::runner::{Runner, Runners};
use crate::turn::Pace;
use crate::uv::Uv;
use crate::{dns, fiber, http, park, scheduling, shared, socket, tls, uncaught};

/// Everything native that belongs to one isolate. Leaked: parked stacks refer to it to the end.
pub(crate) struct Core {
    pub(crate) env: napi_env,
    pub(crate) v8: V8Stacks,
    pub(crate) shutdown_list_probe: ShutdownListProbe,
    /// Present where V8 can keep the async context.
    pub(crate) context: Option<AsyncContext>,
    /// Whether Node does keep it there, so that it has to follow the greenlet.
    pub(crate) context_in_use: Cell<bool>,
    /// `None` once the environment is being torn down.
    hub: RefCell<Option<Hub>>,
    pub(crate) stacks: RefCell<StackPool>,
    pub(crate) runners: RefCell<Runners>,
    /// Whose stack we are on; `None` on the main stack.
    pub(crate) current: RefCell<Option<Rc<Runner>>>,
    pub(crate) script: OnceCell<Script>,
    pub(crate) uv: OnceCell<Uv>,
    /// What the runner entered next finds in `rest`: 0, or the slot of a timer to call plus 1.
    pub(crate) handed_over: Cell<i32>,
    pub(crate) inspection: Inspection,
    /// Whose stack is entered next, before all that is ready: a fiber, or whoever has resumed one.
    pub(crate) fiber_switch: Cell<Option<Rc<Runner>>>,
    /// Whether something that libuv has to learn of may have happened on another stack than the main one.
    pub(crate) unnoted: Cell<bool>,
    pub(crate) pace: Pace,
    /// Whether it has been reported that there is no memory for another stack.
    pub(crate) stacks_missed: Cell<bool>,
    /// Whether this is the isolate of a worker thread, which can be terminated.
    pub(crate) is_worker: bool,
    /// The usable bytes of a stack that is made for any greenlet.
    pub(crate) stack_size: Cell<usize>,
    /// How long a turn may take before libuv gets its own.
    pub(crate) switch_interval: Cell<Duration>,
    /// Calls on sockets that succeeded at once since the last switch.
    pub(crate) immediate: Cell<u32>,
    pub(crate) slice_start: Cell<u64>,
    /// A runner's JavaScript was ended from outside: the worker is being terminated.
    pub(crate) terminating: Cell<bool>,
    /// The exception that has ended a runner, for the main stack to throw.
    pub(crate) runner_error: Cell<Option<napi_ref>>,
    pub(crate) switches: Cell<u64>,
    /// What keeps the process alive beside timers and sockets: counted by `keepAlive`.
    pub(crate) kept_alive: Cell<i32>,
    /// What is told of a request that is taken.
    pub(crate) http_words: HttpWords,
    /// Where bytes are received before JavaScript copies them into a buffer of their size.
    pub(crate) scratch: RefCell<Box<[u8]>>,
}

/// What the TypeScript side handed over in `start`.
pub(crate) struct Script {
    pub(crate) run: napi_ref,
    pub(crate) turn: napi_ref,
    pub(crate) inspect: napi_ref,
    /// The receiver of `turn`, and thereby its execution async resource: always the same object.
    pub(crate) resource: napi_ref,
    pub(crate) shared: SharedWords,
    pub(crate) idle_runners: Cell<usize>,
}

/// Bytes received at once at the most.
pub(crate) const SCRATCH_SIZE: usize = 64 * 1024;

/// Where in the scratch memory an address is written to, after the bytes received, and how long it may be.
pub(crate) const ADDRESS_SIZE: usize = 256;

/// The words of an `Int32Array` that both sides read and write without a call.
#[derive(Clone, Copy)]
pub(crate) struct SharedWords(*mut i32);

/// Which word of [`SharedWords`] means what; `src/binding.ts` has the same list.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum SharedWord {
    /// Greenlets spawned since the ready queue was last looked at.
    Spawned = 0,
    /// Greenlets that the running batch still has to start.
    Starting = 1,
    /// Bytes sent by the call that failed: `SentHigh * 2^30 + SentLow`.
    SentLow = 2,
    SentHigh = 3,
}

/// The number of words in [`SharedWords`].
const SHARED_LENGTH: usize = 4;

impl SharedWords {
    pub(crate) fn get(self, word: SharedWord) -> i32 {
        // SAFETY: (protocol) `start` has checked the length, keeps a reference, and TypeScript never hands the
        // array out, so its memory stays where it is. Only this thread uses it.
        unsafe { self.0.add(word as usize).read() }
    }

    pub(crate) fn set(self, word: SharedWord, value: i32) {
        // SAFETY: (protocol) as above.
        unsafe { self.0.add(word as usize).write(value) }
    }
}

impl Core {
    fn new(env: napi_env) -> Result<Self, Failure> {
        let v8 = V8Stacks::discover(&mut LoadTimeApi { env, scopes: Vec::new() })?;
        let forced = std::env::var("GREENSTACK_FORCE_FALLBACK").unwrap_or_default();
        let guard = match () {
            () if forced.contains("guard-absent") => Guard::Absent,
            () if forced.contains("guard-protection") => Guard::Protection,
            () => Guard::Advice,
        };
        Ok(Self {
            env,
            context: v8.async_context()?,
            shutdown_list_probe: v8.shutdown_list_probe(),
            context_in_use: Cell::new(false),
            v8,
            hub: RefCell::new(Some(Hub::new()?)),
            stacks: RefCell::new(StackPool::new(guard)),
            runners: RefCell::default(),
            current: RefCell::default(),
            script: OnceCell::new(),
            uv: OnceCell::new(),
            handed_over: Cell::new(0),
            inspection: Inspection::default(),
            fiber_switch: Cell::new(None),
            unnoted: Cell::new(false),
            pace: Pace::default(),
            stacks_missed: Cell::new(false),
            // SAFETY: (local) both calls have no preconditions.
            is_worker: unsafe { libc::gettid() != libc::getpid() },
            stack_size: Cell::new(StackBounds::DEFAULT_SIZE),
            switch_interval: Cell::new(Duration::from_millis(1)),
            immediate: Cell::new(0),
            slice_start: Cell::new(0),
            terminating: Cell::new(false),
            runner_error: Cell::new(None),
            switches: Cell::new(0),
            kept_alive: Cell::new(0),
            http_words: HttpWords::default(),
            scratch: RefCell::new(vec![0; SCRATCH_SIZE + ADDRESS_SIZE].into_boxed_slice()),
        })
    }

    /// The hub, once the greenlets spawned meanwhile are in their place of its ready queue.
    pub(crate) fn hub(&self) -> RefMut<'_, Hub> {
        let mut hub = RefMut::map(self.hub.borrow_mut(), |hub| {
            hub.as_mut().expect("calls are refused once the hub is closed")
        });
        if let Some(script) = self.script.get() {
            let spawned = script.shared.get(SharedWord::Spawned);
            if spawned > 0 {
                script.shared.set(SharedWord::Spawned, 0);
                hub.push_starts(spawned.unsigned_abs());
            }
        }
        hub
    }

    /// Why the stack was woken.
    pub(crate) fn cause(&self, stack: u32) -> Cause {
        self.hub.borrow().as_ref().map_or(Cause::Interrupted, |hub| hub.cause(stack))
    }

    /// Whether the environment is being torn down.
    pub(crate) fn is_closed(&self) -> bool {
        // A borrow means that the hub is at work.
        self.hub.try_borrow().is_ok_and(|hub| hub.is_none())
    }

    /// Drops the hub: sockets and descriptors are closed.
    pub(crate) fn close_hub(&self) {
        let hub = self.hub.borrow_mut().take();
        drop(hub);
    }

    pub(crate) fn script(&self) -> Result<&Script, Failure> {
        self.script.get().ok_or_else(|| Failure::internal("start was not called"))
    }

    /// The runner whose stack we are on.
    pub(crate) fn current(&self) -> Result<Rc<Runner>, Failure> {
        self.current.borrow().clone().ok_or_else(|| Failure::internal("not on a greenlet's stack"))
    }

    /// Whether we are on Node's main stack.
    pub(crate) fn on_main_stack(&self) -> bool {
        self.current.borrow().is_none()
    }

    /// Makes a runner ready; on the main stack, also makes libuv come back to us.
    pub(crate) fn wake(&self, stack: u32, cause: Cause, next: bool) {
        let mut hub = self.hub();
        if next {
            hub.wake_next(stack, cause);
        } else {
            hub.wake(stack, cause);
        }
        drop(hub);
        self.note_work();
    }

    /// After something became ready or pending: outside a turn, libuv must learn of it.
    pub(crate) fn note_work(&self) {
        if !self.on_main_stack() {
            self.unnoted.set(true);
        } else if let Some(uv) = self.uv.get() {
            uv.update(self);
        }
    }

    /// Runs `operation`, which must not park or take a turn, in a Node-API handle scope.
    pub(crate) fn in_scope<R>(&self, operation: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
        let mut scope = ptr::null_mut();
        // SAFETY: (local) opened and closed in this frame, with nothing parked in between.
        unsafe {
            check(napi_sys::napi_open_handle_scope(self.env, &mut scope))?;
            let result = operation();
            check(napi_sys::napi_close_handle_scope(self.env, scope))?;
            result
        }
    }

    /// The value behind a reference made by `start`.
    pub(crate) fn referenced(&self, reference: napi_ref) -> Returned {
        let mut value = ptr::null_mut();
        // SAFETY: (local) the reference is never deleted.
        check(unsafe { napi_sys::napi_get_reference_value(self.env, reference, &mut value) })?;
        Ok(value)
    }

    /// The async context, if it has to follow the greenlet.
    pub(crate) fn followed_context(&self) -> Option<&AsyncContext> {
        self.context.as_ref().filter(|_| self.context_in_use.get())
    }

    pub(crate) fn reference(&self, value: napi_value) -> Result<napi_ref, Failure> {
        let mut reference = ptr::null_mut();
        // SAFETY: (local) a value of the running call.
        check(unsafe { napi_sys::napi_create_reference(self.env, value, 1, &mut reference) })?;
        Ok(reference)
    }
}

/// `start(run, turn, inspect, resource, shared, idleRunners)`: hands over what native code calls.
fn start(core: &'static Core, arguments: Arguments) -> Returned {
    let shared = shared_words(core, arguments.value(4))?;
    core.reference(arguments.value(4))?;
    let script = Script {
        run: core.reference(arguments.value(0))?,
        turn: core.reference(arguments.value(1))?,
        inspect: core.reference(arguments.value(2))?,
        resource: core.reference(arguments.value(3))?,
        shared,
        idle_runners: Cell::new(arguments.index(5)? as usize),
    };
    core.script.set(script).map_err(|_| Failure::internal("start was called twice"))?;
    let uv = Uv::new(core)?;
    core.uv.set(uv).map_err(|_| Failure::internal("start was called twice"))?;
    Ok(UNDEFINED)
}

fn shared_words(core: &Core, value: napi_value) -> Result<SharedWords, Failure> {
    let (mut kind, mut length, mut start) = (0, 0, ptr::null_mut());
    // SAFETY: (local) a value of the running call.
    check(unsafe {
        napi_sys::napi_get_typedarray_info(
            core.env,
            value,
            &mut kind,
            &mut length,
            &mut start,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    })?;
    if kind != napi_sys::TypedarrayType::int32_array || length != SHARED_LENGTH {
        return Err(Failure::internal("the shared words must be an Int32Array of four"));
    }
    Ok(SharedWords(start.cast()))
}

/// Node-API as the load-time checks need it.
struct LoadTimeApi {
    env: napi_env,
    scopes: Vec<napi_handle_scope>,
}

impl NodeApi for LoadTimeApi {
    fn fresh_local(&mut self) -> usize {
        let mut object = ptr::null_mut();
        // SAFETY: (local) the module is being loaded, so a handle scope is open. A failure leaves null, which no
        // candidate matches.
        unsafe { napi_sys::napi_create_object(self.env, &mut object) };
        object as usize
    }

    fn open_scope(&mut self) {
        let mut scope = ptr::null_mut();
        // SAFETY: (local) closed by `close_scope`, in reverse order.
        unsafe { napi_sys::napi_open_handle_scope(self.env, &mut scope) };
        self.scopes.push(scope);
    }

    fn close_scope(&mut self) {
        if let Some(scope) = self.scopes.pop() {
            // SAFETY: (local) opened last.
            unsafe { napi_sys::napi_close_handle_scope(self.env, scope) };
        }
    }
}

macro_rules! natives {
    ($($name:literal($arity:literal) => $native:path),* $(,)?) => {
        &[$(($name, {
            unsafe extern "C" fn callback(
                env: napi_env,
                info: napi_sys::napi_callback_info,
            ) -> napi_value {
                // SAFETY: (protocol) created below with the `Core` as its data.
                unsafe { dispatch(env, info, $arity, $native) }
            }
            Some(callback)
        })),*]
    };
}

/// The functions of the binding, each with how many arguments it takes; `src/binding.ts` has their types.
const NATIVES: &[(&str, napi_callback)] = natives![
    "start"(6) => start,
    "useNativeContext"(0) => scheduling::use_native_context,
    "getContext"(0) => scheduling::get_context,
    "setContext"(1) => scheduling::set_context,
    "park"(0) => scheduling::park,
    "parkFor"(2) => scheduling::park_for,
    "yieldNow"(0) => scheduling::yield_now,
    "enterFiber"(1) => fiber::enter_fiber,
    "leaveFiber"(0) => fiber::leave_fiber,
    "setIdleRunners"(1) => fiber::set_idle_runners,
    "rest"(0) => scheduling::rest,
    "wake"(1) => scheduling::wake,
    "interrupt"(2) => scheduling::interrupt,
    "noteSpawned"(0) => scheduling::note_spawned,
    "startOn"(1) => scheduling::start_on,
    "startTimer"(3) => scheduling::start_timer,
    "cancelTimer"(1) => scheduling::cancel_timer,
    "stopTime"(0) => scheduling::stop_time,
    "resumeTime"(0) => scheduling::resume_time,
    "jump"(1) => scheduling::jump,
    "outlook"(0) => scheduling::outlook,
    "turn"(0) => scheduling::turn,
    "inspectStack"(1) => park::inspect_stack,
    "keepAlive"(1) => scheduling::keep_alive,
    "setStackSize"(1) => scheduling::set_stack_size,
    "setSwitchInterval"(1) => scheduling::set_switch_interval,
    "lookAtIsolate"(0) => scheduling::look_at_isolate,
    "followShutdownList"(0) => scheduling::follow_shutdown_list,
    "checkIntact"(0) => scheduling::check_intact,
    "statistics"(0) => scheduling::statistics,
    "open"(2) => socket::open,
    "openPair"(1) => socket::open_pair,
    "adopt"(1) => socket::adopt,
    "watchCopy"(1) => socket::watch_copy,
    "duplicate"(1) => socket::duplicate,
    "detach"(1) => socket::detach,
    "rename"(1) => socket::rename,
    "descriptor"(1) => socket::descriptor,
    "kind"(1) => socket::kind,
    "bind"(3) => socket::bind,
    "listen"(2) => socket::listen,
    "startConnect"(3) => socket::start_connect,
    "finishConnect"(2) => socket::finish_connect,
    "accept"(2) => socket::accept,
    "acceptNow"(1) => socket::accept_now,
    "receive"(3) => socket::receive,
    "receiveInto"(5) => socket::receive_into,
    "receiveFrom"(3) => socket::receive_from,
    "receiveFromInto"(5) => socket::receive_from_into,
    "send"(6) => socket::send,
    "sendTo"(7) => socket::send_to,
    "sendFile"(5) => socket::send_file,
    "unread"(2) => socket::unread,
    "takeUnread"(1) => socket::take_unread,
    "unreadLength"(1) => socket::unread_length,
    "shutdown"(2) => socket::shutdown,
    "close"(1) => socket::close,
    "address"(2) => socket::address,
    "setOption"(3) => socket::set_option,
    "getOption"(2) => socket::get_option,
    "setRawOption"(4) => socket::set_raw_option,
    "getRawOption"(4) => socket::get_raw_option,
    "setMembership"(4) => socket::set_membership,
    "setMulticastInterface"(3) => socket::set_multicast_interface,
    "interfaceIndex"(1) => socket::interface_index,
    "waitReady"(3) => socket::wait_ready,
    "watch"(4) => socket::watch,
    "unwatch"(2) => socket::unwatch,
    "pollDescriptors"(1) => socket::poll_descriptors,
    "httpListen"(2) => http::listen,
    "httpAccepting"(2) => http::accepting,
    "httpRoom"(2) => http::room,
    "httpRetire"(1) => http::retire,
    "httpPending"(1) => http::pending,
    "httpClose"(1) => http::close,
    "httpTake"(0) => http::take,
    "httpRead"(3) => http::read,
    "httpReadAll"(4) => http::read_all,
    "httpBody"(2) => http::body,
    "httpTrailers"(1) => http::trailers,
    "httpRespond"(7) => http::respond,
    "httpBegin"(6) => http::begin,
    "httpWrite"(2) => http::write,
    "httpEnd"(2) => http::end,
    "httpFlush"(2) => http::flush,
    "httpInterim"(4) => http::interim,
    "httpAbort"(1) => http::abort,
    "httpTls"(1) => http::tls,
    "httpDetach"(1) => http::detach,
    "httpWatch"(2) => http::watch,
    "httpUnwatch"(1) => http::unwatch,
    "tlsConfig"(6) => tls::config,
    "tlsRemoveConfig"(1) => tls::remove_config,
    "tlsKeyLog"(1) => tls::key_log,
    "tlsOpen"(3) => tls::open,
    "tlsHandshake"(2) => tls::handshake,
    "tlsReceive"(3) => tls::receive,
    "tlsHasInput"(1) => tls::has_input,
    "tlsReceiveInto"(5) => tls::receive_into,
    "tlsSend"(6) => tls::send,
    "tlsShutdown"(2) => tls::shutdown,
    "tlsUnwrap"(2) => tls::unwrap,
    "tlsClose"(1) => tls::close,
    "tlsFailure"(1) => tls::failure,
    "tlsAgreed"(1) => tls::agreed,
    "tlsPeerCertificates"(1) => tls::peer_certificates,
    "addResolver"(7) => dns::add_resolver,
    "removeResolver"(1) => dns::remove_resolver,
    "known"(3) => dns::known,
    "resolve"(4) => dns::resolve,
    "namesOf"(2) => dns::names_of,
    "reversed"(1) => dns::reversed,
    "joinHubs"(0) => shared::join_hubs,
    "wakeHub"(1) => shared::wake_hub,
    "isHubAlive"(1) => shared::is_hub_alive,
    "answerWake"(0) => shared::answer_wake,
    "giveWay"(0) => shared::give_way,
    "callReporting"(2) => uncaught::call_reporting,
];

/// Makes the `Core` of the current isolate and exports its functions.
pub(crate) fn install(env: napi_env, exports: napi_value) -> napi::Result<()> {
    let installed = Core::new(env).and_then(|core| {
        let core: &'static Core = Box::leak(Box::new(core));
        for &(name, callback) in NATIVES {
            export(core, exports, name, callback)?;
        }
        let (buffer, length) = {
            let mut scratch = core.scratch.borrow_mut();
            (scratch.as_mut_ptr(), scratch.len())
        };
        export_memory(core, exports, c"scratch", buffer, length)?;
        let (words, length) = core.http_words.place();
        export_memory(core, exports, c"httpWords", words, length)
    });
    installed.map_err(napi::Error::from)
}

fn export(
    core: &'static Core,
    exports: napi_value,
    name: &str,
    callback: napi_callback,
) -> Result<(), Failure> {
    let c_name = CString::new(name).map_err(|_| Failure::internal("a name holds NUL"))?;
    let data: *mut c_void = ptr::from_ref(core).cast_mut().cast();
    let mut function = ptr::null_mut();
    // SAFETY: (local) the name ends with NUL, and the `Core` is never freed.
    unsafe {
        check(napi_sys::napi_create_function(core.env, c_name.as_ptr(), -1, callback, data, &mut function))?;
        check(napi_sys::napi_set_named_property(core.env, exports, c_name.as_ptr(), function))
    }
}

/// Exports memory of the `Core` as an `ArrayBuffer`.
fn export_memory(
    core: &'static Core,
    exports: napi_value,
    name: &CStr,
    start: *mut u8,
    length: usize,
) -> Result<(), Failure> {
    let mut buffer = ptr::null_mut();
    // SAFETY: (local) the memory belongs to the leaked `Core` and is never moved, so it outlives the buffer,
    // and no finaliser is needed.
    unsafe {
        check(napi_sys::napi_create_external_arraybuffer(
            core.env,
            start.cast(),
            length,
            None,
            ptr::null_mut(),
            &mut buffer,
        ))?;
        check(napi_sys::napi_set_named_property(core.env, exports, name.as_ptr(), buffer))
    }
}
