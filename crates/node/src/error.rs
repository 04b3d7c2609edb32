//! How Rust's failures become JavaScript's.

use std::io;

use greenstack_v8_stacks::Refusal;
use napi_sys::{Status, napi_env, napi_status};

use crate::call::check;

/// Why a native call has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A JavaScript exception is pending already, or the worker is being terminated.
    Pending,
    /// An error to be thrown, with its `code`.
    Error { code: &'static str, message: String },
}

impl Failure {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self::Error { code, message: message.into() }
    }

    /// A mistake in greenstack itself: its TypeScript passes what the call does not take.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new("ERR_GREENSTACK_INTERNAL", message)
    }

    /// Makes the failure the pending exception of `env`.
    pub(crate) fn throw(self, env: napi_env) {
        let Self::Error { code, message } = self else { return };
        // SAFETY: (local) both texts are passed with their lengths. If throwing fails, an exception is pending
        // or the worker is being terminated, and the caller sees that instead.
        unsafe {
            let mut texts = [std::ptr::null_mut(); 2];
            let mut error = std::ptr::null_mut();
            let text = |text: &str, value| {
                check(napi_sys::napi_create_string_utf8(
                    env,
                    text.as_ptr().cast(),
                    text.len() as isize,
                    value,
                ))
            };
            let _ = text(code, &raw mut texts[0])
                .and_then(|()| text(&message, &raw mut texts[1]))
                .and_then(|()| check(napi_sys::napi_create_error(env, texts[0], texts[1], &raw mut error)))
                .and_then(|()| check(napi_sys::napi_throw(env, error)));
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new("ERR_GREENSTACK_UNSUPPORTED", refusal.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new("ERR_GREENSTACK_SYSTEM", error.to_string())
    }
}

/// For napi-rs, which throws it while the module is being loaded.
impl From<Failure> for napi::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Pending => Self::from_status(napi::Status::PendingException),
            Failure::Error { message, .. } => Self::from_reason(message),
        }
    }
}

/// The failure that a Node-API status stands for; `None` if it is success.
pub(crate) fn of_status(status: napi_status) -> Option<Failure> {
    match status {
        Status::napi_ok => None,
        Status::napi_pending_exception | Status::napi_cannot_run_js | Status::napi_closing => {
            Some(Failure::Pending)
        }
        other => Some(Failure::internal(format!("Node-API status {other}"))),
    }
}

/// The negative number by which calls that return a count report a system error.
pub(crate) fn negative_errno(error: &io::Error) -> f64 {
    -f64::from(error.raw_os_error().unwrap_or(libc::EIO))
}
