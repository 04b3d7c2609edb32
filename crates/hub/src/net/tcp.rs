//! TCP connections: see tcp(7).

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::{Direction, Kind, Socket, SocketKey, Sockets};
use crate::poller::Poller;

/// What connect(2) says when it goes on in the background, as an error of Unix. On Windows it is `WouldBlock`.
const EINPROGRESS: i32 = if cfg!(target_os = "linux") { 115 } else { 36 };

impl Sockets {
    /// Starts to connect to `address`, from `local` if given. `TCP_NODELAY` is set.
    ///
    /// Returns the new socket and whether it is connected already. If not, it becomes writable when that is
    /// decided: park on [`set_writer`](Self::set_writer), then ask [`take_connect_error`](Self::take_connect_error).
    ///
    /// # Errors
    /// What socket(2), bind(2) or connect(2) returned; nothing is left open.
    pub fn connect(
        &mut self,
        poller: &Poller,
        address: SocketAddr,
        local: Option<SocketAddr>,
    ) -> io::Result<(SocketKey, bool)> {
        let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(local) = local {
            // A port whose last connection is in TIME_WAIT may be used again; on Windows this would mean more.
            #[cfg(unix)]
            socket.set_reuse_address(true)?;
            socket.bind(&local.into())?;
        }
        let connected = match socket.connect(&address.into()) {
            Ok(()) => true,
            Err(error) if is_in_progress(&error) => false,
            Err(error) => return Err(error),
        };
        let stream = TcpStream::from_std(socket.into());
        let key = self.insert(poller, Kind::Tcp(stream), connected)?;
        Ok((key, connected))
    }

    /// Returns whether a socket is connected, `false` if that is not decided yet.
    ///
    /// # Errors
    /// Why connecting failed, `ECONNREFUSED` for instance, told once; `EBADF` if the socket is closed.
    pub fn take_connect_error(&mut self, key: SocketKey) -> io::Result<bool> {
        let (stream, _, write) = tcp(self.get_mut(key)?);
        if !write.ready {
            return Ok(false);
        }
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected && !write.hung_up => {
                write.ready = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads what has arrived into `buffer` and returns how many bytes that were; 0 is the end of the stream (or
    /// an empty buffer).
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived, `EBADF` if the socket is closed, else what recv(2) returned.
    pub fn try_recv(&mut self, key: SocketKey, buffer: &mut [u8]) -> io::Result<usize> {
        let (stream, read, _) = tcp(self.get_mut(key)?);
        read.transfer(buffer.len(), || stream.read(buffer))
    }

    /// Hands over as much of `data` as the kernel takes and returns how many bytes that were. Raises no `SIGPIPE`.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room, `EBADF` if the socket is closed, else what send(2) returned.
    pub fn try_send(&mut self, key: SocketKey, data: &[u8]) -> io::Result<usize> {
        let (stream, _, write) = tcp(self.get_mut(key)?);
        write.transfer(data.len(), || stream.write(data))
    }

    /// Ends one direction of a connection, or both. A parked reader or writer is woken by the event that follows.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what shutdown(2) returned.
    pub fn shutdown(&self, key: SocketKey, how: Shutdown) -> io::Result<()> {
        let Kind::Tcp(stream) = &self.get(key)?.kind;
        stream.shutdown(how)
    }

    /// Returns the address the socket is bound to.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what getsockname(2) returned.
    pub fn local_addr(&self, key: SocketKey) -> io::Result<SocketAddr> {
        let Kind::Tcp(stream) = &self.get(key)?.kind;
        stream.local_addr()
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what getpeername(2) returned.
    pub fn peer_addr(&self, key: SocketKey) -> io::Result<SocketAddr> {
        let Kind::Tcp(stream) = &self.get(key)?.kind;
        stream.peer_addr()
    }
}

/// The parts of a TCP socket.
fn tcp(socket: &mut Socket) -> (&mut TcpStream, &mut Direction, &mut Direction) {
    let Kind::Tcp(stream) = &mut socket.kind;
    (stream, &mut socket.read, &mut socket.write)
}

fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(EINPROGRESS)
        || matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
