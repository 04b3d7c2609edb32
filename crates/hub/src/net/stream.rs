//! Connections, and sockets that listen for them: TCP, see tcp(7), and streams of unix(7).

use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::os::fd::AsRawFd;

use rustix::net::{SendAncillaryBuffer, SendFlags, SocketFlags, acceptfrom_with, send, sendmsg};
use socket2::{Domain, Socket as RawSocket, Type};

use super::{Address, Side, SocketFamily, SocketKey, Sockets};

/// What connect(2) says when it goes on in the background.
const EINPROGRESS: i32 = if cfg!(target_os = "linux") { 115 } else { 36 };

impl Sockets {
    /// Makes a socket that is neither bound nor connected.
    ///
    /// # Errors
    /// What socket(2) returned.
    pub fn open(&mut self, family: SocketFamily, datagram: bool) -> io::Result<SocketKey> {
        let domain = match family {
            SocketFamily::V4 => Domain::IPV4,
            SocketFamily::V6 => Domain::IPV6,
            SocketFamily::Unix => Domain::UNIX,
        };
        let kind = if datagram { Type::DGRAM } else { Type::STREAM };
        let raw = RawSocket::new(domain, kind.nonblocking(), None)?;
        Ok(self.insert(raw, None))
    }

    /// Makes two connected Unix-domain sockets.
    ///
    /// # Errors
    /// What socketpair(2) returned.
    pub fn pair(&mut self, datagram: bool) -> io::Result<[SocketKey; 2]> {
        let kind = if datagram { Type::DGRAM } else { Type::STREAM };
        let (left, right) = RawSocket::pair(Domain::UNIX, kind.nonblocking(), None)?;
        Ok([left, right].map(|raw| self.insert(raw, None)))
    }

    /// Gives a socket its own address.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what bind(2) returned.
    pub fn bind(&self, key: SocketKey, address: &Address) -> io::Result<()> {
        self.get(key)?.raw.bind(&address.to_raw()?)
    }

    /// Lets a socket accept connections.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what listen(2) returned.
    pub fn listen(&self, key: SocketKey, backlog: i32) -> io::Result<()> {
        self.get(key)?.raw.listen(backlog)
    }

    /// Starts to connect a socket and returns whether it is connected already. If not, it becomes writable when that
    /// is decided: wait for [`Side::Write`], then ask [`take_connect_error`](Self::take_connect_error).
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what connect(2) returned; `EAGAIN` if the queue of a Unix-domain
    /// socket is full, which no event ends.
    pub fn connect(&mut self, key: SocketKey, address: Address) -> io::Result<bool> {
        let socket = self.get_mut(key)?;
        match socket.raw.connect(&address.to_raw()?) {
            Ok(()) => {}
            Err(error) if is_in_progress(&error) => {
                socket.write.ready = false;
                socket.peer = Some(address);
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        socket.peer = Some(address);
        Ok(true)
    }

    /// Returns whether a socket is connected, `false` if that is not decided yet.
    ///
    /// # Errors
    /// Why connecting failed, `ECONNREFUSED` for instance, told once; `EBADF` if the socket is closed.
    pub fn take_connect_error(&mut self, key: SocketKey) -> io::Result<bool> {
        let socket = self.get_mut(key)?;
        if !socket.write.ready {
            return Ok(false);
        }
        if let Some(error) = socket.raw.take_error()? {
            return Err(error);
        }
        match socket.raw.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected && !socket.write.hung_up => {
                socket.write.ready = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the next connection.
    ///
    /// # Errors
    /// `WouldBlock` if there is none, `EBADF` if the socket is closed, else what accept(2) returned. `EMFILE` and
    /// `ENFILE` leave the connection where it is.
    pub fn try_accept(&mut self, key: SocketKey) -> io::Result<SocketKey> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accepted = |raw: &RawSocket| Ok(acceptfrom_with(raw, flags)?);
        let (descriptor, peer) = self.get_mut(key)?.attempt(Side::Read, accepted)?;
        Ok(self.insert(RawSocket::from(descriptor), peer.and_then(Address::from_any)))
    }

    /// Reads what has arrived into `buffer` and returns how many bytes that were; 0 is the end of the stream (or
    /// an empty buffer).
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived, `EBADF` if the socket is closed, else what recv(2) returned.
    pub fn try_recv(&mut self, key: SocketKey, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = self.get_mut(key)?;
        if !socket.unread.is_empty() {
            let count = socket.unread.len().min(buffer.len());
            buffer[..count].copy_from_slice(&socket.unread[..count]);
            socket.unread.drain(..count);
            return Ok(count);
        }
        socket.transfer(Side::Read, buffer.len(), |mut raw| raw.read(buffer))
    }

    /// Hands over as much of `data` as the kernel takes and returns how many bytes that were. Raises no `SIGPIPE`.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room, `EBADF` if the socket is closed, else what send(2) returned.
    pub fn try_send(&mut self, key: SocketKey, data: &[u8]) -> io::Result<usize> {
        let sent = |raw: &RawSocket| Ok(send(raw, data, SendFlags::NOSIGNAL)?);
        self.get_mut(key)?.transfer(Side::Write, data.len(), sent)
    }

    /// As [`try_send`](Self::try_send), for two pieces by one system call.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_both(&mut self, key: SocketKey, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let pieces = [IoSlice::new(first), IoSlice::new(second)];
        let sent = |raw: &RawSocket| {
            Ok(sendmsg(raw, &pieces, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
        };
        self.get_mut(key)?.transfer(Side::Write, first.len() + second.len(), sent)
    }

    /// Hands over up to `count` bytes of a file from `offset` on, without copying them, and returns how many bytes
    /// that were: 0 at the end of the file. Reading the file may block.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room, `EBADF` if the socket is closed, else what sendfile(2) returned.
    pub fn try_send_file(
        &mut self,
        key: SocketKey,
        file: &impl AsRawFd,
        offset: usize,
        count: usize,
    ) -> io::Result<usize> {
        let Some(length) = std::num::NonZeroUsize::new(count) else { return Ok(0) };
        self.get_mut(key)?.attempt(Side::Write, |raw| raw.sendfile(file, offset, Some(length)))
    }

    /// Ends one direction of a connection, or both. Who waits is told by the event that follows.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what shutdown(2) returned.
    pub fn shutdown(&self, key: SocketKey, how: Shutdown) -> io::Result<()> {
        self.get(key)?.raw.shutdown(how)
    }

    /// Returns the address the socket is bound to.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what getsockname(2) returned.
    pub fn local_address(&self, key: SocketKey) -> io::Result<Option<Address>> {
        Ok(Address::from_raw(&self.get(key)?.raw.local_addr()?))
    }

    /// Returns the address of the peer, also after it has gone where it was told when the connection was made.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what getpeername(2) returned.
    pub fn peer_address(&self, key: SocketKey) -> io::Result<Option<Address>> {
        let socket = self.get(key)?;
        match &socket.peer {
            Some(address) => Ok(Some(address.clone())),
            None => Ok(Address::from_raw(&socket.raw.peer_addr()?)),
        }
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(EINPROGRESS) || error.kind() == io::ErrorKind::Interrupted
}
