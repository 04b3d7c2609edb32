//! Options of sockets by name: see socket(7), tcp(7), ip(7), ipv6(7).

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use socket2::{Domain, InterfaceIndexOrAddress, Socket as RawSocket, TcpKeepalive};

use super::{SocketKey, Sockets};

/// What an unknown option or a wrong value fails with.
fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// The system counts some times in whole seconds; none becomes 0 by that.
fn whole_seconds(milliseconds: f64) -> Duration {
    Duration::from_secs((milliseconds / 1000.0).ceil().max(1.0) as u64)
}

fn is_v6(raw: &RawSocket) -> io::Result<bool> {
    Ok(raw.domain()? == Domain::IPV6)
}

impl Sockets {
    /// Sets an option. Flags are 0 or 1, times in ms; a negative `linger` means none.
    ///
    /// # Errors
    /// `InvalidInput` if there is no such option, `EBADF` if the socket is closed, else what setsockopt(2) returned.
    pub fn set_option(&self, key: SocketKey, name: &str, value: f64) -> io::Result<()> {
        let raw = &self.get(key)?.raw;
        let (flag, number, size) = (value != 0.0, value as u32, value as usize);
        match name {
            "noDelay" => raw.set_tcp_nodelay(flag),
            "keepAlive" => raw.set_keepalive(flag),
            "keepAliveIdle" => raw.set_tcp_keepalive(&TcpKeepalive::new().with_time(whole_seconds(value))),
            "keepAliveInterval" => {
                raw.set_tcp_keepalive(&TcpKeepalive::new().with_interval(whole_seconds(value)))
            }
            "keepAliveCount" => raw.set_tcp_keepalive(&TcpKeepalive::new().with_retries(number)),
            "receiveBufferSize" => raw.set_recv_buffer_size(size),
            "sendBufferSize" => raw.set_send_buffer_size(size),
            "linger" if value < 0.0 => raw.set_linger(None),
            "linger" if value == 0.0 => raw.set_linger(Some(Duration::ZERO)),
            "linger" => raw.set_linger(Some(whole_seconds(value))),
            "reuseAddr" => raw.set_reuse_address(flag),
            "reusePort" => raw.set_reuse_port(flag),
            "broadcast" => raw.set_broadcast(flag),
            "ipv6Only" => raw.set_only_v6(flag),
            "ttl" if is_v6(raw)? => raw.set_unicast_hops_v6(number),
            "ttl" => raw.set_ttl_v4(number),
            "trafficClass" if is_v6(raw)? => raw.set_tclass_v6(number),
            "trafficClass" => raw.set_tos_v4(number),
            "multicastTtl" if is_v6(raw)? => raw.set_multicast_hops_v6(number),
            "multicastTtl" => raw.set_multicast_ttl_v4(number),
            "multicastLoop" if is_v6(raw)? => raw.set_multicast_loop_v6(flag),
            "multicastLoop" => raw.set_multicast_loop_v4(flag),
            _ => Err(invalid("no such option")),
        }
    }

    /// Returns an option, as [`set_option`](Self::set_option) takes it.
    ///
    /// # Errors
    /// `InvalidInput` if there is no such option, `EBADF` if the socket is closed, else what getsockopt(2) returned.
    pub fn option(&self, key: SocketKey, name: &str) -> io::Result<f64> {
        let raw = &self.get(key)?.raw;
        let flag = |flag: bool| f64::from(u8::from(flag));
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        match name {
            "noDelay" => raw.tcp_nodelay().map(flag),
            "keepAlive" => raw.keepalive().map(flag),
            "keepAliveIdle" => raw.tcp_keepalive_time().map(milliseconds),
            "keepAliveInterval" => raw.tcp_keepalive_interval().map(milliseconds),
            "keepAliveCount" => raw.tcp_keepalive_retries().map(f64::from),
            "receiveBufferSize" => raw.recv_buffer_size().map(|size| size as f64),
            "sendBufferSize" => raw.send_buffer_size().map(|size| size as f64),
            "linger" => raw.linger().map(|linger| linger.map_or(-1.0, milliseconds)),
            "reuseAddr" => raw.reuse_address().map(flag),
            "reusePort" => raw.reuse_port().map(flag),
            "broadcast" => raw.broadcast().map(flag),
            "ipv6Only" => raw.only_v6().map(flag),
            "ttl" if is_v6(raw)? => raw.unicast_hops_v6().map(f64::from),
            "ttl" => raw.ttl_v4().map(f64::from),
            "trafficClass" if is_v6(raw)? => raw.tclass_v6().map(f64::from),
            "trafficClass" => raw.tos_v4().map(f64::from),
            "multicastTtl" if is_v6(raw)? => raw.multicast_hops_v6().map(f64::from),
            "multicastTtl" => raw.multicast_ttl_v4().map(f64::from),
            "multicastLoop" if is_v6(raw)? => raw.multicast_loop_v6().map(flag),
            "multicastLoop" => raw.multicast_loop_v4().map(flag),
            _ => Err(invalid("no such option")),
        }
    }

    /// Joins or leaves a multicast group on an interface: its index, 0 for the system's choice.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what setsockopt(2) returned.
    pub fn set_membership(
        &self,
        key: SocketKey,
        group: IpAddr,
        interface: u32,
        join: bool,
    ) -> io::Result<()> {
        let raw = &self.get(key)?.raw;
        match group {
            IpAddr::V4(group) => {
                let interface = InterfaceIndexOrAddress::Index(interface);
                if join {
                    raw.join_multicast_v4_n(&group, &interface)
                } else {
                    raw.leave_multicast_v4_n(&group, &interface)
                }
            }
            IpAddr::V6(group) if join => raw.join_multicast_v6(&group, interface),
            IpAddr::V6(group) => raw.leave_multicast_v6(&group, interface),
        }
    }

    /// Sets by which interface multicast datagrams leave: for IPv4 its address, for IPv6 its index.
    ///
    /// # Errors
    /// `EBADF` if the socket is closed, else what setsockopt(2) returned.
    pub fn set_multicast_interface(&self, key: SocketKey, address: Ipv4Addr, index: u32) -> io::Result<()> {
        let raw = &self.get(key)?.raw;
        if is_v6(raw)? { raw.set_multicast_if_v6(index) } else { raw.set_multicast_if_v4(&address) }
    }
}
