//! TLS by rustls, without I/O: what goes in and out of a [`Session`] are bytes.
//!
//! A [`ClientConfig`] or [`ServerConfig`] is made once, from PEM texts; sessions share it. Buffers belong to whoever
//! drives the sessions, so that a session that waits has none.

mod config;
mod der;
mod error;
mod identity;
mod notes;
mod session;
mod sockets;
mod suites;
mod verify;

pub use config::{
    ClientConfig, ClientOptions, CommonOptions, ConfigError, ServerConfig, ServerOptions, Version,
};
pub use error::TlsError;
pub use identity::Identity;
pub use session::{Agreed, MAX_PLAINTEXT, Session, WIRE_SIZE};
pub use sockets::{ConfigKey, TlsKey, TlsSockets, Wants};
