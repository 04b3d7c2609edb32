//! Native functions of TLS: as those of sockets, with a session between the socket and the bytes.
//!
//! `EPROTO` says that the session has failed; `tlsFailure` tells why.

use std::io;
use std::time::Duration;

use greenstack_hub::tls::{
    ClientConfig, ClientOptions, CommonOptions, ConfigError, ConfigKey, Identity, ServerConfig,
    ServerOptions, TlsKey, TlsSockets, Version, Wants,
};
use greenstack_hub::{Side, SocketKey, Sockets};

use crate::call::{Arguments, Returned, UNDEFINED};
use crate::core::Core;
use crate::error::{Failure, negative_errno};
use crate::socket::{INTERRUPTED, TIMED_OUT, scratch_limit};

/// Bits of the options of a config; `src/binding.ts` has the same list.
mod flag {
    pub(super) const REJECT_UNAUTHORIZED: i32 = 1;
    pub(super) const CHECK_NAME: i32 = 2;
    pub(super) const RESUMPTION: i32 = 4;
    pub(super) const LOG_KEYS: i32 = 8;
    pub(super) const NOT_TLS12: i32 = 16;
    pub(super) const NOT_TLS13: i32 = 32;
    pub(super) const REQUEST_CERTIFICATE: i32 = 64;
    pub(super) const NAME_ROOTS: i32 = 128;
}

fn key(arguments: &Arguments) -> Result<TlsKey, Failure> {
    Ok(TlsKey::from_bits(arguments.double(0)? as u64))
}

fn config_key(arguments: &Arguments, index: usize) -> Result<ConfigKey, Failure> {
    Ok(ConfigKey::from_bits(arguments.double(index)? as u64))
}

impl Core {
    /// Runs `operation` on the session and the sockets.
    fn with_tls<R>(&self, operation: impl FnOnce(&mut TlsSockets, &mut Sockets) -> R) -> R {
        let hub = &mut *self.hub();
        operation(&mut hub.tls, &mut hub.sockets)
    }

    /// As [`attempt`](Self::attempt), for an operation on a session that reports `WouldBlock`.
    fn attempt_tls(
        &self,
        key: TlsKey,
        side: Side,
        timeout: f64,
        mut operation: impl FnMut(&mut TlsSockets, &mut Sockets) -> io::Result<usize>,
    ) -> Result<f64, Failure> {
        match self.socket_of(key) {
            Ok(socket) => self.attempt(socket, side, timeout != 0.0, || {
                Ok(self.with_tls(|tls, sockets| operation(tls, sockets)))
            }),
            Err(error) => Ok(negative_errno(&error)),
        }
    }

    fn socket_of(&self, key: TlsKey) -> io::Result<SocketKey> {
        self.hub().tls.socket(key)
    }

    fn texts_value<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Returned {
        self.array_value(texts.into_iter().map(|text| self.text_value(text)))
    }
}

/// `tlsConfig(server, identities, roots, alpnProtocols, ciphers, flags)`: the key of a config, or the argument that cannot
/// be used and why. Of each identity: name, certificate, key.
pub(crate) fn config(core: &'static Core, arguments: Arguments) -> Returned {
    let is_server = arguments.bool(0)?;
    let [identities, roots, alpn, ciphers] = [1, 2, 3, 4].map(|index| arguments.texts(index));
    let (identities, roots, alpn, ciphers) = (identities?, roots?, alpn?, ciphers?);
    let flags = arguments.int(5)?;
    let has = |bit: i32| flags & bit != 0;
    let identities: Vec<Identity<'_>> = identities
        .chunks_exact(3)
        .map(|parts| Identity { name: &parts[0], certificate: &parts[1], key: &parts[2] })
        .collect();
    let [roots, alpn, ciphers] =
        [&roots, &alpn, &ciphers].map(|texts| texts.iter().map(String::as_str).collect());
    let [roots, alpn, ciphers]: [Vec<&str>; 3] = [roots, alpn, ciphers];
    let common = CommonOptions {
        identities: &identities,
        roots: &roots,
        reject_unauthorized: has(flag::REJECT_UNAUTHORIZED),
        alpn_protocols: &alpn,
        ciphers: &ciphers,
        versions: (
            if has(flag::NOT_TLS12) { Version::Tls13 } else { Version::Tls12 },
            if has(flag::NOT_TLS13) { Version::Tls12 } else { Version::Tls13 },
        ),
        resumption: has(flag::RESUMPTION),
        log_keys: has(flag::LOG_KEYS),
    };
    let added = if is_server {
        let request_certificate = has(flag::REQUEST_CERTIFICATE);
        ServerConfig::new(&ServerOptions { common, request_certificate, name_roots: has(flag::NAME_ROOTS) })
            .map(|config| core.hub().tls.add_server_config(config))
    } else {
        ClientConfig::new(&ClientOptions { common, check_name: has(flag::CHECK_NAME) })
            .map(|config| core.hub().tls.add_client_config(config))
    };
    match added {
        Ok(key) => core.double_value(key.to_bits() as f64),
        Err(ConfigError { argument, problem }) => core.texts_value([argument, problem.as_str()]),
    }
}

/// `tlsRemoveConfig(config)`
pub(crate) fn remove_config(core: &'static Core, arguments: Arguments) -> Returned {
    core.hub().tls.remove_config(config_key(&arguments, 0)?);
    Ok(UNDEFINED)
}

/// `tlsKeyLog(config)`: the lines that were noted since the last time.
pub(crate) fn key_log(core: &'static Core, arguments: Arguments) -> Returned {
    let lines = core.hub().tls.take_key_log(config_key(&arguments, 0)?);
    core.text_value(&lines)
}

/// `tlsOpen(socket, config, serverName)`: the key of the session, and the socket's new one; or the argument that cannot be
/// used and why.
pub(crate) fn open(core: &'static Core, arguments: Arguments) -> Returned {
    let socket = SocketKey::from_bits(arguments.double(0)? as u64);
    let opened = core.hub().open_tls(socket, config_key(&arguments, 1)?, &arguments.text(2)?);
    core.note_work();
    match opened {
        Ok((key, socket)) => {
            let keys = [key.to_bits(), socket.to_bits()];
            core.array_value(keys.map(|key| core.double_value(key as f64)))
        }
        Err(ConfigError { argument, problem }) => core.texts_value([argument, problem.as_str()]),
    }
}

/// `tlsHandshake(key, timeout)`: 0 once it is done.
pub(crate) fn handshake(core: &'static Core, arguments: Arguments) -> Returned {
    const DONE: usize = 0;
    const WANTS_WRITE: usize = 1;
    let key = key(&arguments)?;
    let timeout = arguments.double(1)?;
    let result = core.with_deadline(timeout, || {
        loop {
            let code = core.attempt_tls(key, Side::Read, timeout, |tls, sockets| {
                match tls.try_handshake(sockets, key)? {
                    Wants::Nothing => Ok(DONE),
                    Wants::Write => Ok(WANTS_WRITE),
                    Wants::Read => Err(io::ErrorKind::WouldBlock.into()),
                }
            })?;
            if code != WANTS_WRITE as f64 {
                return Ok(code);
            }
            let flush = |tls: &mut TlsSockets, sockets: &mut Sockets| tls.try_flush(sockets, key).map(|()| 0);
            let code = core.attempt_tls(key, Side::Write, timeout, flush)?;
            if code < 0.0 {
                return Ok(code);
            }
        }
    })?;
    core.double_value(result)
}

/// `tlsReceive(key, limit, timeout)`: bytes put into the scratch memory.
pub(crate) fn receive(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let limit = scratch_limit(&arguments)?;
    let timeout = arguments.double(2)?;
    core.spending(timeout, || {
        core.attempt_tls(key, Side::Read, timeout, |tls, sockets| {
            tls.try_recv(sockets, key, &mut core.scratch.borrow_mut()[..limit])
        })
    })
}

/// `tlsHasInput(key)`: whether receiving would not wait.
pub(crate) fn has_input(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let has_input = || core.with_tls(|tls, sockets| tls.has_input(sockets, key));
    if has_input() {
        return core.bool_value(true);
    }
    // What has come since the hub last asked the system counts as being there.
    core.hub().poll(Some(Duration::ZERO))?;
    core.note_work();
    core.bool_value(has_input())
}

/// `tlsReceiveInto(key, view, offset, length, timeout)`
pub(crate) fn receive_into(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let (offset, length) = (arguments.double(2)? as usize, arguments.double(3)? as usize);
    let timeout = arguments.double(4)?;
    core.spending(timeout, || match core.socket_of(key) {
        Ok(socket) => core.attempt(socket, Side::Read, timeout != 0.0, || {
            let bytes = arguments.bytes(1, offset, length)?;
            Ok(bytes.with(|bytes| core.with_tls(|tls, sockets| tls.try_recv(sockets, key, bytes))))
        }),
        Err(error) => Ok(negative_errno(&error)),
    })
}

/// `tlsSend(key, view, offset, length, timeout, all)`: on failure the shared words tell how much the session has taken.
///
/// Bytes that were taken go out before all that is sent later, also if the time is up before they have gone.
pub(crate) fn send(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let (offset, length) = (arguments.double(2)? as usize, arguments.double(3)? as usize);
    let timeout = arguments.double(4)?;
    let all = arguments.bool(5)?;
    core.note_sent(0)?;
    if !core.spend_immediate(timeout)? {
        return core.double_value(INTERRUPTED);
    }
    let socket = match core.socket_of(key) {
        Ok(socket) => socket,
        Err(error) => return core.double_value(negative_errno(&error)),
    };
    let mut sent = 0;
    let result = core.with_deadline(timeout, || {
        loop {
            let before = sent;
            let code = core.attempt(socket, Side::Write, timeout != 0.0, || {
                if let Err(error) = core.with_tls(|tls, sockets| tls.try_flush(sockets, key)) {
                    return Ok(Err(error));
                }
                if sent > before {
                    return Ok(Ok(sent));
                }
                let bytes = arguments.bytes(1, offset + sent, length - sent)?;
                let taken =
                    bytes.with(|bytes| core.with_tls(|tls, sockets| tls.encrypt(sockets, key, bytes)));
                Ok(taken.and_then(|count| {
                    sent += count;
                    core.with_tls(|tls, sockets| tls.try_flush(sockets, key)).map(|()| sent)
                }))
            })?;
            if code < 0.0 || sent == length || !all {
                return Ok(code);
            }
            // Encrypting takes time, also if the peer takes everything at once.
            if let Some(code) = core.spend_within(socket, Side::Write, timeout)? {
                return Ok(code);
            }
        }
    })?;
    core.note_sent(sent)?;
    core.double_value(if result == TIMED_OUT && sent > 0 && !all { sent as f64 } else { result })
}

/// `tlsShutdown(key, timeout)`: says that nothing follows. 0 or a negative code.
pub(crate) fn shutdown(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let timeout = arguments.double(1)?;
    let result = core.with_deadline(timeout, || {
        core.attempt_tls(key, Side::Write, timeout, |tls, sockets| tls.try_shutdown(sockets, key).map(|()| 0))
    })?;
    core.double_value(result)
}

/// `tlsUnwrap(key, timeout)`: 0 once both ends have said that nothing follows, and the session is no more; 1 if there is
/// plaintext that was not received.
pub(crate) fn unwrap(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let timeout = arguments.double(1)?;
    let result = core.with_deadline(timeout, || {
        let said = core.attempt_tls(key, Side::Write, timeout, |tls, sockets| {
            tls.try_close_notify(sockets, key).map(|()| 0)
        })?;
        if said < 0.0 {
            return Ok(said);
        }
        core.attempt_tls(key, Side::Read, timeout, |tls, sockets| {
            tls.try_unwrap(sockets, key).map(|unwrapped| usize::from(!unwrapped))
        })
    })?;
    core.double_value(result)
}

/// `tlsClose(key)`: says that nothing follows, if that is possible without waiting. The socket stays open.
pub(crate) fn close(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    core.with_tls(|tls, sockets| tls.close(sockets, key));
    Ok(UNDEFINED)
}

/// `tlsFailure(key)`: code and message, or nothing.
pub(crate) fn failure(core: &'static Core, arguments: Arguments) -> Returned {
    let failure = core.hub().tls.failure(key(&arguments)?);
    match failure {
        Some(failure) => core.texts_value([failure.code, &failure.message]),
        None => Ok(UNDEFINED),
    }
}

/// `tlsAgreed(key)`: protocol, cipher in OpenSSL and in the standard, ALPN protocol, server name, whether resumed, and the
/// code and message of what speaks against the peer; each empty if there is none. Nothing before the end of the handshake.
pub(crate) fn agreed(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let agreed = core.hub().tls.session(key).and_then(|session| session.agreed());
    let Some(agreed) = agreed else { return Ok(UNDEFINED) };
    let (code, message) =
        agreed.objection.as_ref().map_or(("", ""), |objection| (objection.code, &objection.message));
    core.texts_value([
        agreed.protocol,
        agreed.cipher,
        agreed.standard_cipher,
        &agreed.alpn_protocol,
        &agreed.server_name,
        if agreed.resumed { "resumed" } else { "" },
        code,
        message,
    ])
}

/// `tlsPeerCertificates(key)`: the chain that the peer has sent, in DER.
pub(crate) fn peer_certificates(core: &'static Core, arguments: Arguments) -> Returned {
    let key = key(&arguments)?;
    let hub = core.hub();
    let chain = hub.tls.session(key).map_or(&[][..], |session| session.peer_certificates());
    core.array_value(chain.iter().map(|certificate| core.bytes_value(certificate)))
}
