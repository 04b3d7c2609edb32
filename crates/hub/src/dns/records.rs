//! Kinds of records, and what is in one.

use std::net::IpAddr;

use hickory_resolver::proto::rr::{RData, RecordType};

use super::names::shown;

/// A kind of record that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Who may issue certificates: flags, tag, value.
    Caa,
    /// The name that this one is an alias of.
    Cname,
    /// Who takes mail: priority, exchange.
    Mx,
    /// How to rewrite the name: flags, service, regular expression, replacement, order, preference.
    Naptr,
    /// A name server.
    Ns,
    /// The name of an address.
    Ptr,
    /// The start of a zone: name server, who is responsible, serial, refresh, retry, expire, least TTL.
    Soa,
    /// Where a service is: priority, weight, port, name.
    Srv,
    /// Texts, in pieces of at most 255 bytes.
    Txt,
}

const KINDS: [RecordKind; 11] = [
    RecordKind::A,
    RecordKind::Aaaa,
    RecordKind::Caa,
    RecordKind::Cname,
    RecordKind::Mx,
    RecordKind::Naptr,
    RecordKind::Ns,
    RecordKind::Ptr,
    RecordKind::Soa,
    RecordKind::Srv,
    RecordKind::Txt,
];

impl RecordKind {
    /// The kind of this number, counted in the order in which they stand here.
    pub fn of_number(number: u8) -> Option<Self> {
        KINDS.get(usize::from(number)).copied()
    }

    /// This kind only.
    pub(super) fn alone(self) -> &'static [Self] {
        std::slice::from_ref(&KINDS[self as usize])
    }

    pub(super) fn to_wire(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Caa => RecordType::CAA,
            Self::Cname => RecordType::CNAME,
            Self::Mx => RecordType::MX,
            Self::Naptr => RecordType::NAPTR,
            Self::Ns => RecordType::NS,
            Self::Ptr => RecordType::PTR,
            Self::Soa => RecordType::SOA,
            Self::Srv => RecordType::SRV,
            Self::Txt => RecordType::TXT,
        }
    }
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// For how long it could be kept when it came, in seconds.
    pub ttl: u32,
    /// What it says.
    pub data: RecordData,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordData {
    /// An address.
    Address(IpAddr),
    /// Anything else: its fields, in the order in which [`RecordKind`] names them.
    Fields(Vec<Field>),
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A number.
    Number(u32),
    /// A name or text.
    Text(String),
}

/// Translates a record; `None` for kinds that nobody can ask for.
pub(super) fn translate(data: RData) -> Option<RecordData> {
    use Field::{Number, Text};
    // The timers of a zone are unsigned on the wire.
    let unsigned = |number: i32| Number(number.cast_unsigned());
    let fields = match data {
        RData::A(address) => return Some(RecordData::Address(IpAddr::V4(address.0))),
        RData::AAAA(address) => return Some(RecordData::Address(IpAddr::V6(address.0))),
        RData::CAA(caa) => vec![Number(caa.flags().into()), Text(caa.tag), Text(text(&caa.value))],
        RData::CNAME(name) => vec![Text(shown(&name.0))],
        RData::MX(mx) => vec![Number(mx.preference.into()), Text(shown(&mx.exchange))],
        RData::NAPTR(naptr) => vec![
            Text(text(&naptr.flags)),
            Text(text(&naptr.services)),
            Text(text(&naptr.regexp)),
            Text(shown(&naptr.replacement)),
            Number(naptr.order.into()),
            Number(naptr.preference.into()),
        ],
        RData::NS(name) => vec![Text(shown(&name.0))],
        RData::PTR(name) => vec![Text(shown(&name.0))],
        RData::SOA(soa) => vec![
            Text(shown(&soa.mname)),
            Text(shown(&soa.rname)),
            Number(soa.serial),
            unsigned(soa.refresh),
            unsigned(soa.retry),
            unsigned(soa.expire),
            Number(soa.minimum),
        ],
        RData::SRV(srv) => vec![
            Number(srv.priority.into()),
            Number(srv.weight.into()),
            Number(srv.port.into()),
            Text(shown(&srv.target)),
        ],
        RData::TXT(txt) => Vec::from_iter(txt.txt_data.iter().map(|piece| Text(text(piece)))),
        _ => return None,
    };
    Some(RecordData::Fields(fields))
}

/// UTF-8 if it is that, else Latin-1.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}
