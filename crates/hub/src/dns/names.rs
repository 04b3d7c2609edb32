//! What a name is, what is an address instead, and under which names a short one is looked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_resolver::proto::rr::Name;

use super::error::DnsError;

/// An address as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    /// With its scope, if it has one.
    pub(super) text: Box<str>,
}

impl Address {
    /// Reads an IP address, of version 6 also with a scope (`fe80::1%eth0`).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let ip = match text.split_once('%') {
            None => text.parse().ok()?,
            Some((address, scope)) if !scope.is_empty() => IpAddr::V6(address.parse().ok()?),
            Some(_) => return None,
        };
        Some(Self { ip, text: text.into() })
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self { ip, text: ip.to_string().into() }
    }
}

/// Reads what getaddrinfo(3) takes for an address: an IP address, or an IPv4 address in one of the older forms of
/// inet_aton(3), such as `127.1` or `0x7f000001`.
pub(super) fn literal(host: &str) -> Option<Address> {
    let first = *host.as_bytes().first()?;
    if !first.is_ascii_hexdigit() && first != b':' {
        return None;
    }
    Address::parse(host).or_else(|| inet_aton(host).map(|ip| IpAddr::V4(ip).into()))
}

fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| {
        let hexadecimal = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
        let (digits, radix) = match hexadecimal {
            Some(digits) => (digits, 16),
            None if part.len() > 1 && part.starts_with('0') => (&part[1..], 8),
            None => (part, 10),
        };
        let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, radix).ok().filter(|_| is_number)
    };
    let mut parts = text.split('.');
    let last = number(parts.next_back()?)?;
    let (mut address, mut bits) = (0, 32);
    for part in parts {
        let byte = number(part).filter(|byte| *byte < 256)?;
        bits -= 8;
        if bits == 0 {
            return None;
        }
        address |= byte << bits;
    }
    let fits = u64::from(last) < 1 << bits;
    fits.then(|| Ipv4Addr::from(address | last))
}

/// Brings a name into the form in which names are compared: lower case, without the dot that marks a full name.
pub(super) fn fold(name: &[u8]) -> Vec<u8> {
    name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase()
}

/// Says what answers for names that are never asked for: `Ok` is loopback (RFC 6761).
pub(super) fn special(folded: &[u8]) -> Option<Result<[IpAddr; 2], DnsError>> {
    let is_below = |domain: &[u8]| {
        folded.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"."))
    };
    if is_below(b"localhost") {
        return Some(Ok([Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]));
    }
    (is_below(b"invalid") || is_below(b"onion")).then(|| Err(DnsError::not_found()))
}

/// The longest name in characters, without the dot at its end.
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;

/// Checks that a folded name can be asked for: `strictly` only what a host may be called.
pub(super) fn check(folded: &[u8], strictly: bool) -> Result<(), DnsError> {
    let may_occur = |byte: &u8| match byte {
        b'-' | b'_' => true,
        _ if strictly => byte.is_ascii_alphanumeric(),
        // A backslash would begin an escape, which is for zone files only.
        _ => byte.is_ascii_graphic() && *byte != b'\\',
    };
    let is_label = |label: &[u8]| (1..=LONGEST_LABEL).contains(&label.len()) && label.iter().all(may_occur);
    let is_name = folded.len() <= LONGEST && folded.split(|byte| *byte == b'.').all(is_label);
    is_name.then_some(()).ok_or_else(DnsError::bad_name)
}

/// Makes the name that is sent; `folded` has been checked.
pub(super) fn to_wire(folded: &[u8]) -> Result<Name, DnsError> {
    let labels = folded.split(|byte| *byte == b'.').filter(|label| !label.is_empty());
    Name::from_labels(labels).map_err(|_| DnsError::bad_name())
}

/// Shows a name without the dot at its end.
pub(super) fn shown(name: &Name) -> String {
    let mut text = name.to_ascii();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

/// The name under which DNS has the names of an address.
pub fn reversed(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let mut name = String::from_iter(
                nibbles.flat_map(|nibble| [char::from_digit(u32::from(nibble), 16).unwrap_or('0'), '.']),
            );
            name.push_str("ip6.arpa");
            name
        }
    }
}

/// Under which names to look for `host`, one after another: as it is first if it has `ndots` dots.
pub(super) fn candidates(host: &[u8], search: &[Box<[u8]>], ndots: usize) -> Vec<Box<[u8]>> {
    let folded = fold(host);
    if host.ends_with(b".") || search.is_empty() {
        return vec![folded.into()];
    }
    let dots = folded.iter().filter(|byte| **byte == b'.').count();
    let mut names: Vec<Box<[u8]>> = Vec::with_capacity(search.len() + 1);
    let longer = search.iter().map(|domain| [&folded, &b"."[..], domain].concat().into());
    if dots >= ndots {
        names.push(folded.clone().into());
        names.extend(longer);
    } else {
        names.extend(longer);
        names.push(folded.clone().into());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_nonsense() {
        for name in ["a", "a.b", "my_host.example", "xn--mnchen-3ya.de", "1.2", "-a"] {
            assert_eq!(check(name.as_bytes(), true), Ok(()), "{name}");
        }
        let (label, long) = ("a".repeat(64), "abc.".repeat(64));
        for name in ["", ".", "a..b", ".a", "a b", "a\0", r"a\.b", "ä", &label, &long] {
            assert_eq!(check(name.as_bytes(), true), Err(DnsError::bad_name()), "{name:?}");
            assert_eq!(check(name.as_bytes(), false), Err(DnsError::bad_name()), "{name:?}");
        }
        for name in ["a%b", "0/25.2.0.192.in-addr.arpa", "*.a"] {
            assert!(check(name.as_bytes(), true).is_err(), "{name}");
            assert_eq!(check(name.as_bytes(), false), Ok(()), "{name}");
        }
    }

    #[test]
    fn addresses_are_told_from_names() {
        let forms = [
            ("192.0.2.1", "192.0.2.1"),
            ("::1", "::1"),
            ("2001:DB8::1", "2001:DB8::1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("127.1", "127.0.0.1"),
            ("127.0.1", "127.0.0.1"),
            ("1.2.772", "1.2.3.4"),
            ("2130706433", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0X7F000001", "127.0.0.1"),
            ("0177.0.0.01", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("255.255.255.255", "255.255.255.255"),
        ];
        for (text, expected) in forms {
            assert_eq!(literal(text).map(|address| address.text), Some(expected.into()), "{text}");
        }
        for text in [
            "",
            "a",
            "1.2.3.4.5",
            "256.1",
            "1.2.3.256",
            "4294967296",
            "0x",
            "08",
            "1..2",
            "1.",
            ".1",
            "+1",
            "1.+2",
            "fe80::1%",
            "127.0.0.1%lo",
            "a.b",
            "face",
            "0x1g",
        ] {
            assert_eq!(literal(text), None, "{text}");
        }
    }

    #[test]
    fn some_names_are_never_asked_for() {
        let loopback = [IpAddr::from(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()];
        for name in ["localhost", "a.b.localhost"] {
            assert_eq!(special(name.as_bytes()), Some(Ok(loopback)), "{name}");
        }
        for name in ["invalid", "a.onion"] {
            assert_eq!(special(name.as_bytes()), Some(Err(DnsError::not_found())), "{name}");
        }
        for name in ["notlocalhost", "localhost.example", ""] {
            assert_eq!(special(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn short_names_are_looked_for_in_the_search_domains_first() {
        let search: [Box<[u8]>; 2] = [b"x.test".as_slice().into(), b"y.test".as_slice().into()];
        let names = |host: &str, ndots| {
            let names = candidates(host.as_bytes(), &search, ndots);
            Vec::from_iter(names.into_iter().map(|name| String::from_utf8(name.into()).unwrap()))
        };
        assert_eq!(names("A", 1), ["a.x.test", "a.y.test", "a"]);
        assert_eq!(names("a.b", 1), ["a.b", "a.b.x.test", "a.b.y.test"]);
        assert_eq!(names("a.b", 2), ["a.b.x.test", "a.b.y.test", "a.b"]);
        assert_eq!(names("a.", 1), ["a"]);
        assert_eq!(names("a", 0), ["a", "a.x.test", "a.y.test"]);
    }

    #[test]
    fn addresses_are_reversed() {
        let reversed = |text: &str| reversed(text.parse().unwrap());
        assert_eq!(reversed("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(reversed("::ffff:192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            reversed("2001:db8::1"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
