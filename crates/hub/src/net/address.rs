//! Addresses of sockets, of the Internet and of files.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;

use rustix::net::{SocketAddrAny, SocketAddrUnix};
use socket2::SockAddr;

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// The path of a Unix-domain socket; after a NUL an abstract name; empty if it has none. See unix(7).
    Unix(Box<[u8]>),
}

impl Address {
    /// The address as system calls take it.
    ///
    /// # Errors
    /// `ENAMETOOLONG` if a path is too long for a socket.
    pub(super) fn to_raw(&self) -> io::Result<SockAddr> {
        const ENAMETOOLONG: i32 = 36;
        match self {
            Self::Inet(address) => Ok((*address).into()),
            Self::Unix(path) => SockAddr::unix(OsStr::from_bytes(path))
                .map_err(|_| io::Error::from_raw_os_error(ENAMETOOLONG)),
        }
    }

    pub(super) fn from_raw(address: &SockAddr) -> Option<Self> {
        if let Some(address) = address.as_socket() {
            return Some(Self::Inet(address));
        }
        if let Some(path) = address.as_pathname() {
            return Some(Self::Unix(path.as_os_str().as_bytes().into()));
        }
        if let Some(name) = address.as_abstract_namespace() {
            return Some(Self::Unix([b"\0", name].concat().into()));
        }
        address.is_unix().then(|| Self::Unix(Box::default()))
    }

    pub(super) fn from_any(address: SocketAddrAny) -> Option<Self> {
        if let Ok(address) = SocketAddr::try_from(address.clone()) {
            return Some(Self::Inet(address));
        }
        let address = SocketAddrUnix::try_from(address).ok()?;
        let path = address.path_bytes().map(Box::from);
        let name = address.abstract_name().filter(|name| !name.is_empty());
        let name = name.map(|name| [b"\0", name].concat().into());
        Some(Self::Unix(path.or(name).unwrap_or_default()))
    }
}
