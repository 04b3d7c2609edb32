//! Native functions of name resolution.

use std::net::{IpAddr, SocketAddr};

use greenstack_hub::{Cause, Family, ResolverOptions};

use crate::call::{Arguments, Returned, UNDEFINED};
use crate::core::Core;
use crate::error::Failure;
use crate::scheduling::milliseconds;
use crate::socket::{INTERRUPTED, TIMED_OUT};

const DNS_PORT: u16 = 53;

/// `addResolver(nameservers, timeout, tries, hosts, search, searchGiven)`: the new resolver's number.
pub(crate) fn add_resolver(core: &'static Core, arguments: Arguments) -> Returned {
    let nameservers =
        arguments.texts(0)?.iter().map(|text| nameserver(text)).collect::<Result<Vec<_>, _>>()?;
    let options = ResolverOptions {
        nameservers,
        timeout: Some(milliseconds(arguments.double(1)?)),
        tries: Some(arguments.index(2)? as usize),
        hosts: arguments.bool(3)?,
        search: if arguments.bool(5)? { Some(arguments.texts(4)?) } else { None },
        ..ResolverOptions::default()
    };
    let id = core.hub().add_resolver(options)?;
    core.int_value(id.cast_signed())
}

/// `ip`, `ip:port` or `[ip]:port`.
fn nameserver(text: &str) -> Result<SocketAddr, Failure> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)))
        .map_err(|_| {
            Failure::new(
                "ERR_INVALID_IP_ADDRESS",
                format!("a nameserver is 'ip', 'ip:port' or '[ip]:port', got '{text}'"),
            )
        })
}

/// `removeResolver(id)`
pub(crate) fn remove_resolver(core: &'static Core, arguments: Arguments) -> Returned {
    core.hub().remove_resolver(arguments.index(0)?);
    core.note_work();
    Ok(UNDEFINED)
}

/// `lookup(resolver, host, family, timeout)`: an array of addresses; `'CODE message'`; or a negative code.
pub(crate) fn lookup(core: &'static Core, arguments: Arguments) -> Returned {
    let runner = core.current()?;
    let host = arguments.text(1)?;
    let family = match arguments.int(2)? {
        4 => Family::V4,
        6 => Family::V6,
        _ => Family::Any,
    };
    let timeout = arguments.double(3)?;
    let started = core.hub().start_lookup(runner.id, arguments.index(0)?, &host, family);
    let Some(request) = started else {
        return core.text_value("ECANCELLED the resolver is closed");
    };
    if timeout >= 0.0 {
        core.hub().set_deadline(runner.id, milliseconds(timeout), true);
    }
    let cause = core.park();
    let answer = {
        let mut hub = core.hub();
        hub.clear_deadline(runner.id);
        hub.finish_lookup(request)
    };
    match (cause?, answer) {
        (Cause::Interrupted, _) => core.double_value(INTERRUPTED),
        (_, Some(Ok(addresses))) => {
            core.array_value(addresses.iter().map(|address| core.text_value(&address.to_string())))
        }
        (_, Some(Err(error))) => core.text_value(&format!("{} {}", error.code, error.message)),
        (_, None) => core.double_value(TIMED_OUT),
    }
}
