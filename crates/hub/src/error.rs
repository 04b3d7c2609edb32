//! The failures that are the hub's own. What the system reports stays an [`io::Error`].

use std::fmt;
use std::io;

/// Why a stack cannot park on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkError {
    /// Another stack is parked on the same direction of the socket already.
    Busy,
    /// The socket is closed.
    Closed,
}

impl fmt::Display for ParkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "another greenlet waits for this socket already",
            Self::Closed => "the socket is closed",
        })
    }
}

impl std::error::Error for ParkError {}

/// `EBADF`, which has this number on every system supported.
const EBADF: i32 = 9;

/// Returns what every operation on a closed or unknown socket fails with.
pub(crate) fn bad_descriptor() -> io::Error {
    io::Error::from_raw_os_error(EBADF)
}
