//! The async context (what `AsyncLocalStorage` reads) where Node keeps it in V8: from Node 24 on, and on
//! Node 22 with `--experimental-async-context-frame`.
//!
//! The isolate has one field for it, so a switch must swap it. V8's collector visits that field once *per
//! thread*, current and archived alike: a scavenge that meets a young object there a second time copies it
//! a second time, and the heap is corrupt. So while a young collection runs, the value is held by a global
//! handle instead and the field is `undefined`: [`AsyncContext::guard`].

use std::ffi::c_void;
use std::ptr;

use crate::probe::isolate_size;
use crate::symbols::{ContextFunctions, Isolate, Local};
use crate::{Refusal, Step};

/// `kGCTypeScavenge | kGCTypeMinorMarkSweep`
const YOUNG_COLLECTIONS: i32 = 1 | 2;

/// A handle of the current handle scope to a context; valid as long as that scope.
#[derive(Clone, Copy, Debug)]
pub struct ContextValue(pub *mut c_void);

/// Reads and writes the isolate's async context.
pub struct AsyncContext {
    isolate: Isolate,
    functions: ContextFunctions,
}

/// What the two collection callbacks share. Lives as long as the isolate.
struct Guard {
    functions: ContextFunctions,
    undefined: Local,
    /// The global handle that holds the context while a collection runs.
    held: Local,
}

impl AsyncContext {
    /// Access to the context of `isolate`; `None` where V8 has no such field (Node 20).
    pub(crate) fn find(isolate: Isolate) -> Result<Option<Self>, Refusal> {
        Step::AsyncContext.check_not_forced()?;
        Ok(ContextFunctions::resolve()?.map(|functions| Self { isolate, functions }))
    }

    /// Sees to it that V8's collector survives a context in the field while stacks are archived.
    ///
    /// `undefined` is a handle to JavaScript's `undefined`.
    ///
    /// # Errors
    /// A [`Refusal`] if that handle is not a root of the isolate's.
    pub fn guard(&self, undefined: *mut c_void) -> Result<(), Refusal> {
        let Self { isolate, functions } = *self;
        let roots = isolate as usize..isolate as usize + isolate_size(isolate);
        if !roots.contains(&(undefined as usize)) {
            return Err(Refusal::new(
                Step::AsyncContext,
                "the handle of undefined does not lie in the isolate's table of roots",
            ));
        }
        let guard =
            Box::into_raw(Box::new(Guard { functions, undefined: undefined.cast(), held: ptr::null_mut() }));
        // SAFETY: (measured) the signatures are those of the mangled names; `guard` is leaked, so it outlives
        // the isolate.
        unsafe {
            (functions.add_prologue)(isolate, before_collection, guard.cast(), YOUNG_COLLECTIONS);
            (functions.add_epilogue)(isolate, after_collection, guard.cast(), YOUNG_COLLECTIONS);
        }
        Ok(())
    }

    /// The current context.
    ///
    /// # Safety
    /// The isolate must be locked by the current thread id and a handle scope be open.
    pub unsafe fn get(&self) -> ContextValue {
        // SAFETY: (measured) returns a new local handle.
        ContextValue(unsafe { (self.functions.get)(self.isolate) }.cast())
    }

    /// Makes `value` the current context.
    ///
    /// # Safety
    /// As for [`get`](Self::get), and `value`'s handle scope must still be open.
    pub unsafe fn set(&self, value: ContextValue) {
        // SAFETY: (measured) stores what the handle refers to.
        unsafe { (self.functions.set)(self.isolate, value.0.cast()) }
    }
}

/// Moves the context into a global handle, which the collector visits once.
unsafe extern "C" fn before_collection(isolate: Isolate, _type: i32, _flags: i32, data: *mut c_void) {
    const SMALL_INTEGER_MASK: usize = 1;
    // SAFETY: (measured) V8 calls this on the isolate's thread with a handle scope open, and with the `Guard`
    // that was registered. A tagged value without the lowest bit is a small integer, not an object.
    unsafe {
        let guard = &mut *data.cast::<Guard>();
        if !guard.held.is_null() {
            return;
        }
        let value = *(guard.functions.get)(isolate);
        if value & SMALL_INTEGER_MASK == 0 || value == *guard.undefined {
            return;
        }
        guard.held = (guard.functions.globalize)(isolate, value);
        (guard.functions.set)(isolate, guard.undefined);
    }
}

/// Puts the context, moved or not, back.
unsafe extern "C" fn after_collection(isolate: Isolate, _type: i32, _flags: i32, data: *mut c_void) {
    // SAFETY: (measured) as above; a global handle is a slot like a local one's.
    unsafe {
        let guard = &mut *data.cast::<Guard>();
        if guard.held.is_null() {
            return;
        }
        (guard.functions.set)(isolate, guard.held);
        (guard.functions.dispose)(guard.held);
        guard.held = ptr::null_mut();
    }
}
