//! What rustls tells only to the callbacks of a config, on its way to the session that is at work.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::KeyLog;
use rustls::pki_types::CertificateDer;

use super::error::TlsError;

/// Filled by the callbacks of a config while it works for one session, and emptied by that session right after.
#[derive(Default)]
pub(super) struct Notes {
    pending: Mutex<Pending>,
    log_keys: bool,
}

#[derive(Default)]
pub(super) struct Pending {
    /// The name that the client has asked for.
    pub(super) server_name: Option<String>,
    /// Why the peer's certificate was refused.
    pub(super) refusal: Option<TlsError>,
    /// The chain that was refused.
    pub(super) refused_chain: Vec<CertificateDer<'static>>,
    /// Lines of the key log. They stay until somebody fetches them.
    pub(super) key_log: String,
}

impl Notes {
    pub(super) fn new(log_keys: bool) -> Self {
        Self { pending: Mutex::default(), log_keys }
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notes").field("log_keys", &self.log_keys).finish_non_exhaustive()
    }
}

/// In the format of NSS, which Wireshark reads.
impl KeyLog for Notes {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut pending = self.pending();
        let line = &mut pending.key_log;
        line.push_str(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                line.push_str(&format!("{byte:02x}"));
            }
        }
        line.push('\n');
    }

    fn will_log(&self, _label: &str) -> bool {
        self.log_keys
    }
}
