//! hosts(5), read again when it changes.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use super::names::{Address, fold};

const HOSTS_FILE: &str = if cfg!(windows) { r"C:\Windows\System32\drivers\etc\hosts" } else { "/etc/hosts" };

/// How long it is not looked whether the file has changed, in nanoseconds.
pub(super) const LOOK_AGAIN: u64 = 1_000_000_000;

/// What the file says of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) addresses: Vec<Address>,
    /// The first name on the line.
    pub(super) canonical: String,
}

/// The hosts file.
pub(super) struct Hosts {
    path: PathBuf,
    /// The time and size of what was read; `None` if there was no file.
    version: Option<(SystemTime, u64)>,
    /// When to look at the file again.
    due: u64,
    generation: u32,
    hosts: HashMap<Box<[u8]>, Host>,
    names: HashMap<IpAddr, Vec<String>>,
}

impl Hosts {
    pub(super) fn of_the_system() -> Self {
        Self::new(HOSTS_FILE.into())
    }

    fn new(path: PathBuf) -> Self {
        Self { path, version: None, due: 0, generation: 0, hosts: HashMap::new(), names: HashMap::new() }
    }

    /// Returns a number that changes with what the file says. `now` is in nanoseconds, of any clock.
    pub(super) fn generation(&mut self, now: u64) -> u32 {
        if now >= self.due {
            self.due = now.saturating_add(LOOK_AGAIN);
            self.refresh();
        }
        self.generation
    }

    /// Returns what the file said of the name, folded as by [`fold`], when its generation was last asked for.
    pub(super) fn find(&self, name: &[u8]) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// Returns the names of an address.
    pub(super) fn names(&self, address: IpAddr) -> Option<&[String]> {
        self.names.get(&address).map(Vec::as_slice)
    }

    fn refresh(&mut self) {
        let metadata = fs::metadata(&self.path);
        let version = metadata.and_then(|metadata| Ok((metadata.modified()?, metadata.len()))).ok();
        if self.version != version {
            self.version = version;
            self.generation = self.generation.wrapping_add(1);
            let bytes = fs::read(&self.path).unwrap_or_default();
            self.parse(&String::from_utf8_lossy(&bytes));
        }
    }

    fn parse(&mut self, text: &str) {
        self.hosts.clear();
        self.names.clear();
        for line in text.lines() {
            let line = line.split_once('#').map_or(line, |(before, _)| before);
            let mut words = line.split_whitespace();
            let Some(address) = words.next().and_then(Address::parse) else { continue };
            let mut canonical = None;
            for name in words {
                let canonical = canonical.get_or_insert(name);
                let host = self.hosts.entry(fold(name.as_bytes()).into()).or_default();
                if host.canonical.is_empty() {
                    host.canonical = (*canonical).to_owned();
                }
                if !host.addresses.contains(&address) {
                    host.addresses.push(address.clone());
                }
                let names = self.names.entry(address.ip).or_default();
                if !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(hosts: &Hosts, name: &str) -> Vec<String> {
        let host = hosts.find(&fold(name.as_bytes()));
        host.map_or(vec![], |host| host.addresses.iter().map(|address| address.text.to_string()).collect())
    }

    #[test]
    fn a_hosts_file_is_parsed() {
        let mut hosts = Hosts::new(PathBuf::new());
        hosts.parse(
            "# comment\n127.0.0.1 localhost a # b\n\n::1\tlocalhost\n\
             192.0.2.1 A A.example. my_host\nnonsense x\nfe80::1%lo scoped\n192.0.2.9\n",
        );
        assert_eq!(texts(&hosts, "localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(texts(&hosts, "A"), ["127.0.0.1", "192.0.2.1"]);
        assert_eq!(texts(&hosts, "a.example"), ["192.0.2.1"]);
        assert_eq!(texts(&hosts, "my_host"), ["192.0.2.1"]);
        assert_eq!(texts(&hosts, "scoped"), ["fe80::1%lo"]);
        assert_eq!(hosts.hosts.len(), 5);
        assert_eq!(hosts.find(b"my_host").unwrap().canonical, "A");
        assert_eq!(hosts.names("192.0.2.1".parse().unwrap()).unwrap(), ["A", "A.example.", "my_host"]);
        assert_eq!(hosts.names("192.0.2.9".parse().unwrap()), None);
    }

    #[test]
    fn a_hosts_file_is_read_again_when_it_changes() {
        let path = std::env::temp_dir().join(format!("greenstack-hosts-{}", std::process::id()));
        let mut hosts = Hosts::new(path.clone());
        let first = hosts.generation(0);
        assert!(texts(&hosts, "one").is_empty());
        fs::write(&path, "192.0.2.1 one").unwrap();
        assert_eq!(hosts.generation(LOOK_AGAIN - 1), first);
        let second = hosts.generation(LOOK_AGAIN);
        assert_ne!(second, first);
        assert_eq!(texts(&hosts, "ONE."), ["192.0.2.1"]);
        fs::write(&path, "192.0.2.22 one").unwrap();
        assert_ne!(hosts.generation(2 * LOOK_AGAIN), second);
        assert_eq!(texts(&hosts, "one"), ["192.0.2.22"]);
        assert_eq!(hosts.generation(3 * LOOK_AGAIN), hosts.generation(4 * LOOK_AGAIN));
        fs::remove_file(&path).unwrap();
        hosts.generation(5 * LOOK_AGAIN);
        assert!(texts(&hosts, "one").is_empty());
    }
}
