//! Errors that nobody has caught, reported as Node reports those of its own callbacks.
//!
//! Node shows the line that has thrown. It takes that from the message that V8 makes at the throw, and that is lost as soon
//! as JavaScript or Node-API catches the error. So a call whose error is to be shown is made in a `v8::TryCatch`, which
//! keeps both.

use std::ffi::c_void;
use std::ptr;

use crate::Refusal;
use crate::symbols::{Isolate, UncaughtFunctions};

/// The storage of a `v8::TryCatch`: six words on all versions so far.
#[repr(C)]
struct TryCatchStorage([usize; 12]);

/// Whether and how an error is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporting {
    /// Not at all.
    Nothing,
    /// As what a script has thrown.
    Thrown,
    /// As what an ES module has thrown: for Node, the reason of a promise that is rejected.
    Rejected,
}

/// Calls functions and reports what they throw.
#[derive(Clone, Copy)]
pub struct UncaughtErrors {
    isolate: Isolate,
    functions: UncaughtFunctions,
}

impl UncaughtErrors {
    pub(crate) fn find(isolate: Isolate) -> Result<Self, Refusal> {
        Ok(Self { isolate, functions: UncaughtFunctions::resolve()? })
    }

    /// Calls `function` without arguments. What it throws is an uncaught exception, if `reporting` of the error says so: its
    /// listeners are called, or it is printed and the process exits.
    ///
    /// # Safety
    /// `function` and `receiver` must be values of an open handle scope, `function` a function, and the isolate locked by the
    /// current thread id. Nothing may unwind.
    pub unsafe fn call(
        &self,
        function: *mut c_void,
        receiver: *mut c_void,
        reporting: impl FnOnce(*mut c_void) -> Reporting,
    ) {
        let functions = &self.functions;
        let mut storage = TryCatchStorage([0; 12]);
        let block: *mut c_void = ptr::from_mut(&mut storage).cast();
        // SAFETY: (measured) constructor and destructor of one object in one frame, which the stack keeps where it is while
        // it is parked; V8 finds the blocks of each stack with what it archives of it. A value of Node-API is a `Local`.
        unsafe {
            (functions.open)(block, self.isolate);
            let context = (functions.context)(self.isolate);
            (functions.call)(function.cast(), context, receiver.cast(), 0, ptr::null_mut());
            if (functions.has_caught)(block) && !(functions.has_terminated)(block) {
                let error = (functions.exception)(block);
                match (reporting(error.cast()), functions.reject) {
                    (Reporting::Nothing, _) => (),
                    (Reporting::Rejected, Some(reject)) => {
                        reject(self.isolate, error, (functions.message)(self.isolate, error), true);
                    }
                    _ => (functions.report)(self.isolate, block),
                }
            }
            (functions.close)(block);
        }
    }
}
