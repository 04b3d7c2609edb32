//! The functions of V8 that are called, found by name in the running executable.
//!
//! They are exported by every `node` binary, so one build of greenstack serves all versions. The names
//! are Itanium-mangled C++; what differs between versions is an `Option`.

use std::ffi::{CStr, c_void};

use crate::{Refusal, Step};

/// A `v8::Isolate*`.
pub(crate) type Isolate = *mut c_void;
/// The storage of a `v8::Locker` (at most four words on any version).
pub(crate) type LockerStorage = [usize; 4];
/// The storage of a `v8::Unlocker`.
pub(crate) type UnlockerStorage = [usize; 2];
/// The storage of a `v8::HandleScope`.
pub(crate) type ScopeStorage = [usize; 4];
/// A `v8::Local<T>`: the address of a slot, or null.
pub(crate) type Local = *mut usize;
/// `void (*)(Isolate*, GCType, GCCallbackFlags, void* data)`
pub(crate) type CollectionCallback = unsafe extern "C" fn(Isolate, i32, i32, *mut c_void);

/// What every supported version exports.
#[derive(Clone, Copy)]
pub(crate) struct Functions {
    pub(crate) is_locked: unsafe extern "C" fn(Isolate) -> bool,
    pub(crate) set_stack_limit: unsafe extern "C" fn(Isolate, usize),
    pub(crate) stack_start: unsafe extern "C" fn() -> usize,
    pub(crate) terminate: unsafe extern "C" fn(Isolate),
    pub(crate) cpp_heap: unsafe extern "C" fn(Isolate) -> usize,
    pub(crate) locker_new: unsafe extern "C" fn(*mut LockerStorage, Isolate),
    pub(crate) locker_drop: unsafe extern "C" fn(*mut LockerStorage),
    pub(crate) unlocker_new: unsafe extern "C" fn(*mut UnlockerStorage, Isolate),
    pub(crate) unlocker_drop: unsafe extern "C" fn(*mut UnlockerStorage),
}

/// Constructor and destructor of `v8::HandleScope`: exported up to V8 13 (Node 24).
#[derive(Clone, Copy)]
pub(crate) struct ScopeFunctions {
    pub(crate) open: unsafe extern "C" fn(*mut ScopeStorage, Isolate),
    pub(crate) close: unsafe extern "C" fn(*mut ScopeStorage),
}

/// `HandleScope::DeleteExtensions`: exported since the destructor is inlined. A member function: its first
/// argument is `this`.
pub(crate) type DeleteExtensions = unsafe extern "C" fn(*mut ScopeStorage, Isolate);

/// Access to `Isolate`'s continuation-preserved embedder data, where Node keeps the async context.
#[derive(Clone, Copy)]
pub(crate) struct ContextFunctions {
    pub(crate) get: unsafe extern "C" fn(Isolate) -> Local,
    pub(crate) set: unsafe extern "C" fn(Isolate, Local),
    pub(crate) add_prologue: unsafe extern "C" fn(Isolate, CollectionCallback, *mut c_void, i32),
    pub(crate) add_epilogue: unsafe extern "C" fn(Isolate, CollectionCallback, *mut c_void, i32),
    pub(crate) globalize: unsafe extern "C" fn(Isolate, usize) -> Local,
    pub(crate) dispose: unsafe extern "C" fn(Local),
}

/// What it takes to call a function and report its error with the place of the throw. A `v8::TryCatch` is passed by its
/// address.
#[derive(Clone, Copy)]
pub(crate) struct UncaughtFunctions {
    pub(crate) open: unsafe extern "C" fn(*mut c_void, Isolate),
    pub(crate) close: unsafe extern "C" fn(*mut c_void),
    pub(crate) has_caught: unsafe extern "C" fn(*const c_void) -> bool,
    pub(crate) has_terminated: unsafe extern "C" fn(*const c_void) -> bool,
    pub(crate) exception: unsafe extern "C" fn(*const c_void) -> Local,
    pub(crate) context: unsafe extern "C" fn(Isolate) -> Local,
    /// `this`, context, receiver, arguments.
    pub(crate) call: unsafe extern "C" fn(Local, Local, Local, i32, *mut Local) -> Local,
    /// `node::FatalException`, which is part of Node's interface for addons.
    pub(crate) report: unsafe extern "C" fn(Isolate, *const c_void),
    pub(crate) message: unsafe extern "C" fn(Isolate, Local) -> Local,
    /// `node::errors::TriggerUncaughtException`, with whether the error comes from a promise. Not part of Node's interface.
    pub(crate) reject: Option<unsafe extern "C" fn(Isolate, Local, Local, bool)>,
}

fn address(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: (local) a NUL-terminated name; dlsym(3) searches the objects that are loaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// The function exported as `name`, as a pointer of type `F`.
///
/// # Safety
/// `F` must be a function pointer type with the signature that the mangled name spells out.
unsafe fn function<F: Copy>(name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: (local) same size; the caller vouches for the signature.
    address(name).map(|found| unsafe { std::mem::transmute_copy(&found) })
}

/// As [`function`], with a refusal that names what is missing.
///
/// # Safety
/// As for [`function`].
unsafe fn required<F: Copy>(name: &CStr) -> Result<F, Refusal> {
    // SAFETY: (protocol) the caller vouches for the signature.
    unsafe { function(name) }.ok_or_else(|| {
        Refusal::new(Step::Symbols, format!("the executable does not export {}", name.to_string_lossy()))
    })
}

/// The isolate that is current on this thread, or null.
pub(crate) fn current_isolate() -> Result<Isolate, Refusal> {
    // SAFETY: (measured) the mangled name spells the signature `v8::Isolate* v8::Isolate::GetCurrent()`.
    let get: unsafe extern "C" fn() -> Isolate = unsafe { required(c"_ZN2v87Isolate10GetCurrentEv")? };
    // SAFETY: (measured) reads a thread-local variable.
    Ok(unsafe { get() })
}

impl Functions {
    pub(crate) fn resolve() -> Result<Self, Refusal> {
        // SAFETY: (measured) each mangled name spells the signature of its field. `this` is a first argument; a
        // `StackSlot` is one word, returned in a register by the System V ABI.
        unsafe {
            Ok(Self {
                is_locked: required(c"_ZN2v86Locker8IsLockedEPNS_7IsolateE")?,
                set_stack_limit: required(c"_ZN2v87Isolate13SetStackLimitEm")?,
                stack_start: required(c"_ZN2v84base5Stack13GetStackStartEv")?,
                terminate: required(c"_ZN2v87Isolate18TerminateExecutionEv")?,
                cpp_heap: required(c"_ZNK2v87Isolate10GetCppHeapEv")?,
                locker_new: required(c"_ZN2v86Locker10InitializeEPNS_7IsolateE")?,
                locker_drop: required(c"_ZN2v86LockerD1Ev")?,
                unlocker_new: required(c"_ZN2v88Unlocker10InitializeEPNS_7IsolateE")?,
                unlocker_drop: required(c"_ZN2v88UnlockerD1Ev")?,
            })
        }
    }
}

impl ScopeFunctions {
    pub(crate) fn resolve() -> Option<Self> {
        // SAFETY: (measured) as in `Functions::resolve`.
        unsafe {
            Some(Self {
                open: function(c"_ZN2v811HandleScopeC1EPNS_7IsolateE")?,
                close: function(c"_ZN2v811HandleScopeD1Ev")?,
            })
        }
    }
}

pub(crate) fn delete_extensions() -> Option<DeleteExtensions> {
    // SAFETY: (measured) a non-static member: `this` first, then the isolate.
    unsafe { function(c"_ZN2v811HandleScope16DeleteExtensionsEPNS_7IsolateE") }
}

impl UncaughtFunctions {
    pub(crate) fn resolve() -> Result<Self, Refusal> {
        // SAFETY: (measured) as in `Functions::resolve`; a `Local` and a `MaybeLocal` are one word, passed and returned in a
        // register.
        unsafe {
            Ok(Self {
                open: required(c"_ZN2v88TryCatchC1EPNS_7IsolateE")?,
                close: required(c"_ZN2v88TryCatchD1Ev")?,
                has_caught: required(c"_ZNK2v88TryCatch9HasCaughtEv")?,
                has_terminated: required(c"_ZNK2v88TryCatch13HasTerminatedEv")?,
                exception: required(c"_ZNK2v88TryCatch9ExceptionEv")?,
                context: required(c"_ZN2v87Isolate17GetCurrentContextEv")?,
                call: required(c"_ZN2v88Function4CallENS_5LocalINS_7ContextEEENS1_INS_5ValueEEEiPS5_")?,
                report: required(c"_ZN4node14FatalExceptionEPN2v87IsolateERKNS0_8TryCatchE")?,
                message: required(c"_ZN2v89Exception13CreateMessageEPNS_7IsolateENS_5LocalINS_5ValueEEE")?,
                reject: function(
                    c"_ZN4node6errors24TriggerUncaughtExceptionEPN2v87IsolateENS1_5LocalINS1_5ValueEEENS4_INS1_7MessageEEEb",
                ),
            })
        }
    }
}

impl ContextFunctions {
    /// `None` where V8 has no such field on the isolate (Node 20).
    pub(crate) fn resolve() -> Result<Option<Self>, Refusal> {
        // SAFETY: (measured) as in `Functions::resolve`; a `Local` is one word, passed in a register. The
        // newer pair ("V2") is preferred: the older one is deprecated where both exist.
        unsafe {
            let newer = (
                function(c"_ZN2v87Isolate38GetContinuationPreservedEmbedderDataV2Ev"),
                function(c"_ZN2v87Isolate38SetContinuationPreservedEmbedderDataV2ENS_5LocalINS_4DataEEE"),
            );
            let older = (
                function(c"_ZN2v87Isolate36GetContinuationPreservedEmbedderDataEv"),
                function(c"_ZN2v87Isolate36SetContinuationPreservedEmbedderDataENS_5LocalINS_5ValueEEE"),
            );
            let (get, set) = match (newer, older) {
                ((Some(get), Some(set)), _) | (_, (Some(get), Some(set))) => (get, set),
                _ => return Ok(None),
            };
            let needed = |refusal: Refusal| Refusal { step: Step::AsyncContext, ..refusal };
            Ok(Some(Self {
                get,
                set,
                add_prologue: required(
                    c"_ZN2v87Isolate21AddGCPrologueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_S2_",
                )
                .map_err(needed)?,
                add_epilogue: required(
                    c"_ZN2v87Isolate21AddGCEpilogueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_S2_",
                )
                .map_err(needed)?,
                globalize: required(c"_ZN2v812api_internal18GlobalizeReferenceEPNS_8internal7IsolateEm")
                    .map_err(needed)?,
                dispose: required(c"_ZN2v812api_internal13DisposeGlobalEPm").map_err(needed)?,
            }))
        }
    }
}
