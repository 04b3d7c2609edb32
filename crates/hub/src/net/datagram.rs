//! Datagrams: UDP, see udp(7), and those of unix(7).

use std::io;

use rustix::net::{RecvFlags, recvfrom};
use socket2::Socket as RawSocket;

use super::{Address, Side, SocketKey, Sockets};

/// `MSG_NOSIGNAL`, which is 0 where a socket raises no `SIGPIPE`.
const NO_SIGNAL: i32 = if cfg!(target_os = "linux") { 0x4000 } else { 0 };

impl Sockets {
    /// Takes the next datagram and returns how long it is and where it is from. What does not fit into `buffer` is
    /// lost; the length tells of it all.
    ///
    /// # Errors
    /// `WouldBlock` if there is none, `EBADF` if the socket is closed, else what recvfrom(2) returned.
    pub fn try_recv_from(
        &mut self,
        key: SocketKey,
        buffer: &mut [u8],
    ) -> io::Result<(usize, Option<Address>)> {
        let (_, length, from) = self.get_mut(key)?.attempt(Side::Read, |raw: &RawSocket| {
            let (initialized, length, from) = recvfrom(raw, &mut *buffer, RecvFlags::TRUNC)?;
            Ok((initialized, length, from))
        })?;
        Ok((length, from.and_then(Address::from_any)))
    }

    /// Sends a datagram to `address`, or to where the socket is connected to.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room, `EBADF` if the socket is closed, else what sendto(2) returned.
    pub fn try_send_to(
        &mut self,
        key: SocketKey,
        data: &[u8],
        address: Option<&Address>,
    ) -> io::Result<usize> {
        let address = address.map(Address::to_raw).transpose()?;
        self.get_mut(key)?.attempt(Side::Write, |raw| match &address {
            Some(address) => raw.send_to_with_flags(data, address, NO_SIGNAL),
            None => raw.send_with_flags(data, NO_SIGNAL),
        })
    }
}
