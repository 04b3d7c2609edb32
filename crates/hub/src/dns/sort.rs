//! The order in which addresses are to be tried: RFC 6724, as getaddrinfo(3) has it.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::names::Address;

/// In which order addresses are returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those first that will most likely work best (RFC 6724).
    #[default]
    Sorted,
    /// As [`Order::Sorted`], but all of IPv4 first.
    Ipv4First,
    /// As [`Order::Sorted`], but all of IPv6 first.
    Ipv6First,
    /// As the hosts file or the name server has them; of two answers, that for IPv4 first.
    Verbatim,
}

impl Order {
    pub(super) fn apply(self, addresses: &mut Vec<Address>) {
        if addresses.len() < 2 || self == Self::Verbatim {
            return;
        }
        let mut known = Vec::from_iter(addresses.drain(..).map(|address| {
            let source = source_of(address.ip);
            (address, source)
        }));
        known.sort_by(|(a, from_a), (b, from_b)| compare((a.ip, *from_a), (b.ip, *from_b)));
        match self {
            Self::Ipv4First => known.sort_by_key(|(address, _)| address.ip.is_ipv6()),
            Self::Ipv6First => known.sort_by_key(|(address, _)| address.ip.is_ipv4()),
            Self::Sorted | Self::Verbatim => {}
        }
        addresses.extend(known.into_iter().map(|(address, _)| address));
    }
}

/// Returns the address that the system would send from; `None` if it knows no way there. Sends nothing.
fn source_of(destination: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match destination {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    // Any port: the discard service's is as good as another.
    socket.connect(SocketAddr::new(destination, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The rules of RFC 6724, section 6, but for those that need to know more of the system than an address: 3, 4 and 7.
fn compare((a, from_a): (IpAddr, Option<IpAddr>), (b, from_b): (IpAddr, Option<IpAddr>)) -> Ordering {
    // Rule 1: avoid unusable destinations.
    let (Some(from_a), Some(from_b)) = (from_a, from_b) else {
        return from_a.is_none().cmp(&from_b.is_none());
    };
    let differs = |fits_a: bool, fits_b: bool| fits_b.cmp(&fits_a);
    // Rule 2: prefer matching scope.
    differs(scope(a) == scope(from_a), scope(b) == scope(from_b))
        // Rule 5: prefer matching label.
        .then_with(|| {
            differs(policy(a).label == policy(from_a).label, policy(b).label == policy(from_b).label)
        })
        // Rule 6: prefer higher precedence.
        .then_with(|| policy(b).precedence.cmp(&policy(a).precedence))
        // Rule 8: prefer smaller scope.
        .then_with(|| scope(a).cmp(&scope(b)))
        // Rule 9: use the longest matching prefix; for IPv4 that says nothing.
        .then_with(|| match (a, b) {
            (IpAddr::V6(_), IpAddr::V6(_)) => common_prefix(b, from_b).cmp(&common_prefix(a, from_a)),
            _ => Ordering::Equal,
        })
}

struct Policy {
    precedence: u8,
    label: u8,
}

/// The default policy table: section 2.1.
fn policy(ip: IpAddr) -> Policy {
    let bits = to_v6(ip).to_bits();
    let begins_with = |prefix: u128, length: u32| bits >> (128 - length) == prefix;
    let (precedence, label) = match () {
        () if bits == 1 => (50, 0),
        () if begins_with(0xffff, 96) => (35, 4),
        () if begins_with(0, 96) => (1, 3),
        () if begins_with(0x2001_0000, 32) => (5, 5),
        () if begins_with(0x2002, 16) => (30, 2),
        () if begins_with(0x3ffe, 16) => (1, 12),
        () if begins_with(0xfec0 >> 6, 10) => (1, 11),
        () if begins_with(0xfc >> 1, 7) => (3, 13),
        () => (40, 1),
    };
    Policy { precedence, label }
}

fn to_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

const LINK_LOCAL: u8 = 2;
const SITE_LOCAL: u8 = 5;
const GLOBAL: u8 = 14;

/// How far an address reaches: sections 3.1 and 3.2.
fn scope(ip: IpAddr) -> u8 {
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_link_local() => LINK_LOCAL,
        IpAddr::V4(_) => GLOBAL,
        IpAddr::V6(ip) if ip.is_multicast() => ip.octets()[1] & 15,
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unicast_link_local() => LINK_LOCAL,
        IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfec0 => SITE_LOCAL,
        IpAddr::V6(_) => GLOBAL,
    }
}

/// How many bits of their network parts are the same.
fn common_prefix(a: IpAddr, b: IpAddr) -> u32 {
    (to_v6(a).to_bits() ^ to_v6(b).to_bits()).leading_zeros().min(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorts destinations, each given with its source (none: empty).
    fn sorted<'a>(pairs: &[(&'a str, &str)]) -> Vec<&'a str> {
        let mut pairs = pairs.to_vec();
        let both = |(to, from): (&str, &str)| (to.parse().unwrap(), from.parse().ok());
        pairs.sort_by(|a, b| compare(both(*a), both(*b)));
        pairs.into_iter().map(|(to, _)| to).collect()
    }

    /// The examples of RFC 6724, section 10.2.
    #[test]
    fn the_examples_of_the_rfc_are_sorted_so() {
        let examples: [&[(&str, &str)]; 8] = [
            &[("2001:db8:1::1", "2001:db8:1::2"), ("198.51.100.121", "169.254.13.78")],
            &[("198.51.100.121", "198.51.100.117"), ("2001:db8:1::1", "fe80::1")],
            &[("2001:db8:1::1", "2001:db8:1::2"), ("10.1.2.3", "10.1.2.4")],
            &[("fe80::1", "fe80::2"), ("2001:db8:1::1", "2001:db8:1::2")],
            &[("2001:db8:1::1", "2001:db8:1::2"), ("fec0::1", "2001:db8:1::2")],
            &[("2001:db8:1::1", "2001:db8:1::2"), ("2001:db8:3ffe::1", "2001:db8:3f44::2")],
            &[("2002:c633:6401::1", "2002:c633:6401::2"), ("2001:db8:1::1", "fe80::2")],
            &[("2001:db8:1::1", "2001:db8:1::2"), ("2002:c633:6401::1", "2002:c633:6401::2")],
        ];
        for example in examples {
            let expected = Vec::from_iter(example.iter().map(|(to, _)| *to));
            let backwards = Vec::from_iter(example.iter().rev().copied());
            assert_eq!(sorted(example), expected);
            assert_eq!(sorted(&backwards), expected);
        }
    }

    #[test]
    fn what_cannot_be_reached_comes_last_and_equals_keep_their_order() {
        assert_eq!(sorted(&[("2001:db8::1", ""), ("192.0.2.1", "192.0.2.9")]), ["192.0.2.1", "2001:db8::1"]);
        let same = [("192.0.2.2", "192.0.2.9"), ("192.0.2.1", "192.0.2.9"), ("192.0.2.3", "192.0.2.9")];
        assert_eq!(sorted(&same), ["192.0.2.2", "192.0.2.1", "192.0.2.3"]);
        assert_eq!(sorted(&[("2001:db8::2", ""), ("2001:db8::1", "")]), ["2001:db8::2", "2001:db8::1"]);
    }

    #[test]
    fn families_can_come_first() {
        let addresses = ["192.0.2.1", "::1", "192.0.2.2", "127.0.0.1"];
        let order = |order: Order| {
            let mut list = Vec::from_iter(addresses.iter().map(|text| Address::parse(text).unwrap()));
            order.apply(&mut list);
            Vec::from_iter(list.into_iter().map(|address| String::from(address.text)))
        };
        assert_eq!(order(Order::Verbatim), addresses);
        assert_eq!(order(Order::Ipv4First).last().unwrap(), "::1");
        assert_eq!(order(Order::Ipv6First)[0], "::1");
        assert_eq!(order(Order::Sorted).len(), 4);
    }
}
