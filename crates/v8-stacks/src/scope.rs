//! Handle scopes on a new stack.
//!
//! A function called by Node finds an open `v8::HandleScope`; the first frame of a new stack does not and
//! has to open one. Up to Node 24 its constructor and destructor are exported. Since then they are inlined,
//! and what they do is done here, on the data that the probe has found in the isolate.

use crate::symbols::{DeleteExtensions, Isolate, ScopeFunctions, ScopeStorage};

/// `v8::internal::HandleScopeData`.
#[repr(C)]
pub(crate) struct ScopeData {
    pub(crate) next: usize,
    pub(crate) limit: usize,
    pub(crate) level: i32,
    pub(crate) sealed_level: i32,
}

/// How a handle scope is opened and closed on the running version.
#[derive(Clone, Copy)]
pub(crate) enum ScopeAccess {
    Exported(ScopeFunctions),
    Data { data: *mut ScopeData, delete_extensions: DeleteExtensions },
}

impl ScopeAccess {
    /// Runs `body` inside a handle scope of its own.
    ///
    /// # Safety
    /// The isolate must be locked by the current thread id, and `body` must not unwind.
    pub(crate) unsafe fn with(self, isolate: Isolate, body: impl FnOnce()) {
        let mut storage: ScopeStorage = [0; 4];
        match self {
            Self::Exported(functions) => {
                // SAFETY: (measured) constructor and destructor of one object in one frame.
                unsafe {
                    (functions.open)(&mut storage, isolate);
                    body();
                    (functions.close)(&mut storage);
                }
            }
            Self::Data { data, delete_extensions } => {
                // SAFETY: (measured) `data` is the isolate's HandleScopeData, found as the only candidate under
                // five conditions; the steps are those of V8's inlined constructor and destructor.
                unsafe {
                    let (next, limit) = ((*data).next, (*data).limit);
                    (*data).level += 1;
                    body();
                    (*data).next = next;
                    (*data).level -= 1;
                    if (*data).limit != limit {
                        (*data).limit = limit;
                        delete_extensions(&mut storage, isolate);
                    }
                }
            }
        }
    }
}
