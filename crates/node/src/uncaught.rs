//! Native functions for errors that nobody has caught.

use std::ptr;

use napi_sys::napi_value;

use crate::call::{Arguments, Returned, UNDEFINED, check};
use crate::core::Core;

/// `callReporting(fn, isReported)`: calls `fn`. What it throws is reported as Node reports an error that leaves a script, if
/// `isReported` returns true for it.
pub(crate) fn call_reporting(core: &'static Core, arguments: Arguments) -> Returned {
    let errors = core.v8.uncaught_errors()?;
    let mut receiver = ptr::null_mut();
    // SAFETY: (local) a call of Node's is running, so a handle scope is open.
    check(unsafe { napi_sys::napi_get_undefined(core.env, &mut receiver) })?;
    let is_reported = |error: napi_value| {
        let mut answer = ptr::null_mut();
        let mut reported = false;
        // SAFETY: (local) values of the running call; without an answer nothing is reported.
        let asked = unsafe {
            check(napi_sys::napi_call_function(
                core.env,
                receiver,
                arguments.value(1),
                1,
                &error,
                &mut answer,
            ))
            .and_then(|()| check(napi_sys::napi_get_value_bool(core.env, answer, &mut reported)))
        };
        asked.is_ok() && reported
    };
    // SAFETY: (protocol) arguments of the running call, whose handle scope is open on this stack.
    unsafe {
        errors.call(arguments.value(0).cast(), receiver.cast(), |error| is_reported(error.cast()));
    }
    Ok(UNDEFINED)
}
