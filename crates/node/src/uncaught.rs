//! Native functions for errors that nobody has caught.

use std::ptr;

use greenstack_v8_stacks::Reporting;
use napi_sys::napi_value;

use crate::call::{Arguments, Returned, UNDEFINED, check};
use crate::core::Core;

/// `callReporting(fn, reporting)`: calls `fn`. What it throws is reported as Node does it, as `reporting(error)` says: 0, not;
/// 1, as thrown by a script; 2, as thrown by an ES module.
pub(crate) fn call_reporting(core: &'static Core, arguments: Arguments) -> Returned {
    let errors = core.v8.uncaught_errors()?;
    let mut receiver = ptr::null_mut();
    // SAFETY: (local) a call of Node's is running, so a handle scope is open.
    check(unsafe { napi_sys::napi_get_undefined(core.env, &mut receiver) })?;
    let reporting = |error: napi_value| {
        let mut answer = ptr::null_mut();
        let mut kind = 0;
        // SAFETY: (local) values of the running call; without an answer nothing is reported.
        let _ = unsafe {
            check(napi_sys::napi_call_function(
                core.env,
                receiver,
                arguments.value(1),
                1,
                &error,
                &mut answer,
            ))
            .and_then(|()| check(napi_sys::napi_get_value_int32(core.env, answer, &mut kind)))
        };
        match kind {
            1 => Reporting::Thrown,
            2 => Reporting::Rejected,
            _ => Reporting::Nothing,
        }
    };
    // SAFETY: (protocol) arguments of the running call, whose handle scope is open on this stack.
    unsafe {
        errors.call(arguments.value(0).cast(), receiver.cast(), |error| reporting(error.cast()));
    }
    Ok(UNDEFINED)
}
