//! Why a name was not resolved: Node's codes.

use std::fmt;

use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::ResponseCode;

/// Why a name was not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsError {
    /// What Node calls it: `ENOTFOUND` (no such name), `ENODATA` (no such records), `ETIMEOUT`, `ESERVFAIL`,
    /// `EREFUSED`, `EFORMERR`, `ENOTIMP`, `EBADRESP`, `EBADNAME`, `ECONNREFUSED` (no name server can be reached) or
    /// `ECANCELLED`.
    pub code: &'static str,
    /// The same in words.
    pub message: String,
}

impl DnsError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Creates the error of a lookup that was given up.
    pub fn cancelled() -> Self {
        Self::new("ECANCELLED", "the lookup was given up")
    }

    pub(super) fn not_found() -> Self {
        Self::new("ENOTFOUND", "the name does not exist")
    }

    pub(super) fn no_data() -> Self {
        Self::new("ENODATA", "the name has no such records")
    }

    pub(super) fn bad_name() -> Self {
        Self::new("EBADNAME", "this is no domain name")
    }

    pub(super) fn timeout() -> Self {
        Self::new("ETIMEOUT", "no name server answered in time")
    }

    pub(super) fn unreachable(reason: impl fmt::Display) -> Self {
        Self::new("ECONNREFUSED", format!("no name server can be reached: {reason}"))
    }

    pub(super) fn nonsense(reason: impl fmt::Display) -> Self {
        Self::new("EBADRESP", format!("a name server answered nonsense: {reason}"))
    }

    /// How much it tells of the name: what is kept where several name servers have failed.
    pub(super) fn weight(&self) -> u8 {
        match self.code {
            "ECONNREFUSED" => 0,
            "ETIMEOUT" => 1,
            "EBADRESP" => 2,
            _ => 3,
        }
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for DnsError {}

impl From<NetError> for DnsError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Timeout | NetError::Busy => Self::timeout(),
            NetError::Proto(error) => Self::nonsense(error),
            error => Self::unreachable(error),
        }
    }
}

impl From<ResponseCode> for DnsError {
    fn from(code: ResponseCode) -> Self {
        let (name, message) = match code {
            ResponseCode::NXDomain => return Self::not_found(),
            ResponseCode::NoError => return Self::no_data(),
            ResponseCode::ServFail => ("ESERVFAIL", "a name server failed"),
            ResponseCode::Refused => ("EREFUSED", "a name server refused to answer"),
            ResponseCode::FormErr => ("EFORMERR", "a name server did not understand the question"),
            ResponseCode::NotImp => ("ENOTIMP", "a name server cannot answer such a question"),
            other => return Self::nonsense(other),
        };
        Self::new(name, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_codes_have_names() {
        let codes = [
            (ResponseCode::NXDomain, "ENOTFOUND"),
            (ResponseCode::NoError, "ENODATA"),
            (ResponseCode::ServFail, "ESERVFAIL"),
            (ResponseCode::Refused, "EREFUSED"),
            (ResponseCode::FormErr, "EFORMERR"),
            (ResponseCode::NotImp, "ENOTIMP"),
            (ResponseCode::NotAuth, "EBADRESP"),
        ];
        for (response, code) in codes {
            assert_eq!(DnsError::from(response).code, code);
        }
        assert_eq!(DnsError::from(NetError::Timeout).code, "ETIMEOUT");
        assert_eq!(DnsError::from(NetError::NoConnections).code, "ECONNREFUSED");
    }
}
