//! The Node-API binding: converts arguments, tries, parks, retries, converts back. No policy.
//!
//! Functions that are called often are raw Node-API callbacks with the isolate's `Core` as
//! their data (13–47 ns a call); `#[napi]` costs two to three times that and serves what is called once.
//!
//! Code that calls back into JavaScript or parks may not hold a borrow of anything in the `Core`: another
//! greenlet can run in between.

mod call;
mod core;
mod dns;
mod error;
mod fiber;
mod http;
mod park;
mod runner;
mod scheduling;
mod shared;
mod socket;
mod tls;
mod turn;
mod uncaught;
mod uv;

use napi::bindgen_prelude::*;
use napi_derive::napi;

/// The version of the native module, which must be that of the package that loads it.
#[napi]
pub fn native_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Adds the functions that work on this isolate's hub, or throws what the load-time checks refused.
#[napi(module_exports)]
pub fn install(exports: Object<'_>, env: Env) -> Result<()> {
    core::install(env.raw(), exports.raw())
}
