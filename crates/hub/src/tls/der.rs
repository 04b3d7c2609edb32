//! The few fields of a certificate that are needed to tell why it is not trusted.

use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;

/// Of a certificate as in RFC 5280: who has issued it, to whom, and from when until when it is valid.
pub(super) struct Facts<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    pub(super) not_before: u64,
    pub(super) not_after: u64,
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, constructed: the version.
const VERSION: u8 = 0xa0;

impl<'a> Facts<'a> {
    /// Returns `None` if the bytes are not a certificate.
    pub(super) fn of(certificate: &'a [u8]) -> Option<Self> {
        let (mut signed, _) = expect(certificate, SEQUENCE)?;
        (signed, _) = expect(signed, SEQUENCE)?;
        if signed.first() == Some(&VERSION) {
            signed = element(signed)?.2;
        }
        let (_, _, after_serial) = element(signed)?;
        let (_, _, after_algorithm) = element(after_serial)?;
        let (issuer, rest) = expect(after_algorithm, SEQUENCE)?;
        let (validity, rest) = expect(rest, SEQUENCE)?;
        let (subject, _) = expect(rest, SEQUENCE)?;
        let (not_before, rest) = time(validity)?;
        let (not_after, _) = time(rest)?;
        Some(Self { issuer, subject, not_before, not_after })
    }

    /// Whether issuer and subject are the same, as they are in roots.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

/// The tag and the content of the first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// A time in seconds since 1970, and what follows it.
fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, text) = match (tag, text.len()) {
        // RFC 5280, 4.1.2.5.1: two digits are a year from 1950 to 2049.
        (UTC_TIME, 12) => {
            let year: u64 = text[..2].parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
        }
        (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let part = |at: usize| text[at..at + 2].parse::<u64>().ok();
    let days = days_before(year, part(0)?)? + part(2)?.checked_sub(1)?;
    Some((((days * 24 + part(4)?) * 60 + part(6)?) * 60 + part(8)?, rest))
}

/// The days from 1970 to the first of a month; times before 1970 count as 1970.
fn days_before(year: u64, month: u64) -> Option<u64> {
    const DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let index = usize::try_from(month.checked_sub(1)?).ok().filter(|&index| index < 12)?;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let Some(years) = year.checked_sub(1970) else { return Some(0) };
    let months = DAYS[..index].iter().sum::<u64>() + u64::from(index > 1 && is_leap);
    Some(years * 365 + leap_days(year - 1) - leap_days(1969) + months)
}

/// Seconds since 1970, for people.
pub(super) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(tag: u8, text: &str) -> Option<u64> {
        let mut bytes = vec![tag, text.len() as u8];
        bytes.extend(text.bytes());
        time(&bytes).map(|(seconds, _)| seconds)
    }

    #[test]
    fn times_are_seconds_since_1970() {
        assert_eq!(seconds(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, "240229123456Z"), Some(1_709_210_096));
        assert_eq!(seconds(GENERALIZED_TIME, "20500301000000Z"), Some(2_529_705_600));
        assert_eq!(seconds(UTC_TIME, "500101000000Z"), Some(0), "before 1970");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (tag, text) in [
            (UTC_TIME, "2402291234Z"),
            (UTC_TIME, "240229123456"),
            (UTC_TIME, "241329123456Z"),
            (UTC_TIME, "24022912345\u{e9}Z"),
            (GENERALIZED_TIME, "240229123456Z"),
            (SEQUENCE, "240229123456Z"),
        ] {
            assert_eq!(seconds(tag, text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        for bytes in [&b""[..], b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x30\x00"] {
            assert!(Facts::of(bytes).is_none());
        }
    }
}
