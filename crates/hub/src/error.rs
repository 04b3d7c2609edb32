//! The failures that are the hub's own. What the system reports stays an [`io::Error`].

use std::fmt;
use std::io;

/// Why a stack cannot park on a socket.
#[derive(Debug)]
pub enum ParkError {
    /// Somebody else waits for the same side of the socket already.
    Busy,
    /// The socket is closed.
    Closed,
    /// The system cannot tell when the descriptor is ready.
    System(io::Error),
}

impl fmt::Display for ParkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("another greenlet waits for this socket already"),
            Self::Closed => f.write_str("the socket is closed"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ParkError {}

/// `EBADF`, which has this number on every system supported.
const EBADF: i32 = 9;

/// Returns what every operation on a closed or unknown socket fails with.
pub(crate) fn bad_descriptor() -> io::Error {
    io::Error::from_raw_os_error(EBADF)
}
