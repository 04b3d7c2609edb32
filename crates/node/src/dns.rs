//! Native functions of name resolution.
//!
//! What is found is an array or a text; what is not is a text that begins with `!`, the code, a space and a message; and a wait
//! ends early as one for a socket does.

use std::net::{IpAddr, SocketAddr};

use greenstack_hub::{
    Answer, CacheOptions, Cause, Field, Found, Nameserver, Record, RecordData, ResolverOptions, Transport,
    Wanted,
};

use crate::call::{Arguments, Returned, UNDEFINED};
use crate::core::Core;
use crate::error::Failure;
use crate::scheduling::milliseconds;
use crate::socket::{INTERRUPTED, TIMED_OUT};

/// `addResolver(nameservers, search, authorities, numbers, hosts, rotate, searchGiven)`: the new resolver's number. The
/// numbers are timeout, tries, ndots (negative: as the system), and of the cache the size, the longest and the shortest time.
pub(crate) fn add_resolver(core: &'static Core, arguments: Arguments) -> Returned {
    let nameservers =
        arguments.texts(0)?.iter().map(|text| nameserver(text)).collect::<Result<Vec<_>, _>>()?;
    let [timeout, tries, ndots, size, max_ttl, min_ttl] = arguments.doubles(3)?[..] else {
        return Err(Failure::internal("a resolver is made of six numbers"));
    };
    let options = ResolverOptions {
        nameservers,
        timeout: Some(milliseconds(timeout)),
        tries: Some(tries as usize),
        rotate: arguments.bool(5)?,
        hosts: arguments.bool(4)?,
        search: if arguments.bool(6)? { Some(arguments.texts(1)?) } else { None },
        ndots: (ndots >= 0.0).then_some(ndots as usize),
        cache: CacheOptions {
            size: size as usize,
            max_ttl: milliseconds(max_ttl),
            min_ttl: milliseconds(min_ttl),
        },
        authorities: arguments.texts(2)?,
    };
    let id = core.hub().add_resolver(&options)?;
    core.int_value(id.cast_signed())
}

/// `udp ip:port`, `tcp ip:port` or `tls ip:port name`.
fn nameserver(text: &str) -> Result<Nameserver, Failure> {
    let wrong = || Failure::new("ERR_INVALID_IP_ADDRESS", format!("'{text}' is no name server"));
    let mut words = text.split(' ');
    let (transport, address, name) = (words.next(), words.next(), words.next());
    let address: SocketAddr = address.and_then(|address| address.parse().ok()).ok_or_else(wrong)?;
    match (transport, name) {
        (Some("udp"), None) => Ok(address.into()),
        (Some("tcp"), None) => Ok(Nameserver { address, transport: Transport::Tcp }),
        (Some("tls"), Some(name)) => Ok(Nameserver::tls(address, name.to_owned())?),
        _ => Err(wrong()),
    }
}

/// `removeResolver(id)`
pub(crate) fn remove_resolver(core: &'static Core, arguments: Arguments) -> Returned {
    core.hub().remove_resolver(arguments.index(0)?);
    core.note_work();
    Ok(UNDEFINED)
}

/// `known(resolver, name, query)`: what can be said without asking anybody; else nothing.
pub(crate) fn known(core: &'static Core, arguments: Arguments) -> Returned {
    let query = Query::of(&arguments)?;
    let answer = core.hub().known(arguments.index(0)?, arguments.short_text(1, &mut [0; 256])?, query.wanted);
    answer.map_or(Ok(UNDEFINED), |answer| query.value(core, answer))
}

/// `resolve(resolver, name, query, timeout)`
pub(crate) fn resolve(core: &'static Core, arguments: Arguments) -> Returned {
    let runner = core.current()?;
    let query = Query::of(&arguments)?;
    let timeout = arguments.double(3)?;
    let started = {
        let mut room = [0; 256];
        let name = arguments.short_text(1, &mut room)?;
        core.hub().start_lookup(runner.id, arguments.index(0)?, name, query.wanted)
    };
    let Some(lookup) = started else {
        return core.text_value("!ECANCELLED the resolver is closed");
    };
    let is_answered = core.hub().is_answered(lookup);
    let cause = if is_answered {
        Ok(Cause::Woken)
    } else {
        if timeout >= 0.0 {
            core.hub().set_deadline(runner.id, milliseconds(timeout), true);
        }
        core.park()
    };
    let answer = {
        let mut hub = core.hub();
        hub.clear_deadline(runner.id);
        hub.finish_lookup(lookup)
    };
    match (cause?, answer) {
        (Cause::Interrupted, _) => core.double_value(INTERRUPTED),
        (_, Some(answer)) => query.value(core, answer),
        (_, None) => core.double_value(TIMED_OUT),
    }
}

/// `namesOf(resolver, ip)`: the names of an address in the hosts file; else nothing.
pub(crate) fn names_of(core: &'static Core, arguments: Arguments) -> Returned {
    let names = core.hub().names_of(arguments.index(0)?, ip(&arguments, 1)?);
    names.map_or(Ok(UNDEFINED), |names| core.array_value(names.iter().map(|name| core.text_value(name))))
}

/// `reversed(ip)`: the name under which DNS has the names of an address.
pub(crate) fn reversed(core: &'static Core, arguments: Arguments) -> Returned {
    core.text_value(&greenstack_hub::reversed(ip(&arguments, 0)?))
}

fn ip(arguments: &Arguments, index: usize) -> Result<IpAddr, Failure> {
    let text = arguments.text(index)?;
    text.parse().map_err(|_| Failure::internal(format!("'{text}' is no IP address")))
}

/// What is asked for, and in which form: `Query` in `src/binding.ts` has the same numbers.
#[derive(Clone, Copy)]
struct Query {
    wanted: Wanted,
    /// All addresses, rather than the first.
    all: bool,
    /// Before the addresses, the name at the end of all aliases.
    canonical: bool,
}

const ALL: i32 = 0x100;
const CANONICAL: i32 = 0x200;

impl Query {
    fn of(arguments: &Arguments) -> Result<Self, Failure> {
        let bits = arguments.int(2)?;
        let wanted = Wanted::of_tag((bits & 0xff) as u8)
            .ok_or_else(|| Failure::internal(format!("{bits} is no query")))?;
        Ok(Self { wanted, all: bits & ALL != 0, canonical: bits & CANONICAL != 0 })
    }

    fn value(self, core: &Core, answer: Answer) -> Returned {
        match answer {
            Ok(Found::Addresses(host)) if self.all => {
                let canonical = self.canonical.then_some(host.canonical.as_str());
                let addresses = host.addresses.iter().map(|address| &**address);
                core.array_value(canonical.into_iter().chain(addresses).map(|text| core.text_value(text)))
            }
            Ok(Found::Addresses(host)) => core.text_value(host.addresses.first().map_or("", |first| first)),
            Ok(Found::Records { records, age }) => {
                core.array_value(records.iter().flat_map(|record| record_values(core, record, age)))
            }
            Err(error) => core.text_value(&format!("!{} {}", error.code, error.message)),
        }
    }
}

/// An address and its time to live, one after the other; or an array of the time to live and the fields.
fn record_values(core: &Core, record: &Record, age: u32) -> impl Iterator<Item = Returned> {
    let number = |number: u32| core.double_value(f64::from(number));
    let ttl = number(record.ttl.saturating_sub(age));
    let (first, second) = match &record.data {
        RecordData::Address(ip) => (core.text_value(&ip.to_string()), Some(ttl)),
        RecordData::Fields(fields) => {
            let fields = fields.iter().map(|field| match field {
                Field::Number(value) => number(*value),
                Field::Text(text) => core.text_value(text),
            });
            (core.array_value(std::iter::once(ttl).chain(fields)), None)
        }
    };
    std::iter::once(first).chain(second)
}
