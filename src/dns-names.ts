/** Names and addresses as the calls of sockets have them: `getAddrInfo` and its relatives. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname } from 'node:os';

import { checkFlag, checkOptions, describe } from './checks.js';
import { type DnsError, dnsError } from './dns-error.js';
import { getDefaultResolver, Resolver } from './dns.js';
import { type CheckedLimits, checkLimits, type LimitOptions } from './limits.js';
import { checkPort } from './socket-address.js';

/** Kinds of sockets. */
export type SocketType = 'stream' | 'datagram' | 'raw';

/** Protocols of sockets. */
export type SocketProtocol = 'tcp' | 'udp' | 'ip';

/** Which questions {@link getAddrInfo} and {@link getNameInfo} do not ask, and which they ask besides. */
export interface AddressFlags {
  /** For listening: without a host, the addresses are those that take connections to any (`AI_PASSIVE`). */
  passive?: boolean;
  /** Also says what the host is really called (`AI_CANONNAME`). */
  canonicalName?: boolean;
  /** The host must be an address; nobody is asked (`AI_NUMERICHOST`). */
  numericHost?: boolean;
  /** The port must be a number (`AI_NUMERICSERV`). */
  numericService?: boolean;
}

/** What the calls of this kind take in common. */
export interface NameOptions extends LimitOptions {
  /** Who is asked (default: the default resolver). */
  resolver?: Resolver;
}

/** Options of {@link getAddrInfo}, limits included. */
export interface AddrInfoOptions extends NameOptions {
  /** Only addresses of this family; 0 (default): of both. */
  family?: 0 | 4 | 6;
  /** Only for sockets of this type. */
  type?: SocketType;
  /** Only for this protocol. */
  protocol?: SocketProtocol;
  flags?: AddressFlags;
}

/** Where a socket may be bound or connected to. */
export interface AddrInfo {
  family: 4 | 6;
  type: SocketType;
  protocol: SocketProtocol;
  /** What the host is really called, in the first entry and only if that was asked for; else empty. */
  canonicalName: string;
  address: string;
  port: number;
}

/** Options of {@link getNameInfo}, limits included. */
export interface NameInfoOptions extends NameOptions {
  /** Leaves the address as it is (`NI_NUMERICHOST`). */
  numericHost?: boolean;
  /** Leaves the port as it is (`NI_NUMERICSERV`). */
  numericService?: boolean;
  /** Throws if the address has no name, rather than to return the address (`NI_NAMEREQD`). */
  nameRequired?: boolean;
  /** The service is one of UDP (`NI_DGRAM`). */
  datagram?: boolean;
}

/** The names and addresses of a host. */
export interface HostEntry {
  name: string;
  aliases: string[];
  addresses: string[];
}

const kinds: ReadonlyArray<{ type: SocketType; protocol: SocketProtocol }> = [
  { type: 'stream', protocol: 'tcp' },
  { type: 'datagram', protocol: 'udp' },
  { type: 'raw', protocol: 'ip' },
];

/** Ports by `protocol/name`, and names by `protocol/port`: services(5). */
interface Services {
  readonly ports: Map<string, number>;
  readonly names: Map<string, string>;
}

let services: Services | null = null;

/** Read once: it hardly ever changes. */
function readServices(): Services {
  let text = '';
  try {
    text = readFileSync('/etc/services', 'utf8');
  } catch {
    // Then there are no names for services.
  }
  const ports = new Map<string, number>();
  const names = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [name, place, ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/);
    const [port, protocol] = place?.split('/') ?? [];
    if (name === undefined || port === undefined || protocol === undefined) continue;
    const key = `${protocol}/${port}`;
    if (!names.has(key)) names.set(key, name);
    for (const alias of [name, ...aliases]) {
      if (!ports.has(`${protocol}/${alias}`)) ports.set(`${protocol}/${alias}`, Number(port));
    }
  }
  return { ports, names };
}

/** The port for each protocol that has the service. */
function portOf(
  call: string,
  service: string | number | null | undefined,
  protocol: SocketProtocol,
  numeric: boolean,
): number | undefined {
  if (service === null || service === undefined) return 0;
  if (typeof service === 'number') return checkPort(call, service);
  if (typeof service !== 'string') {
    throw new TypeError(`${call} expects a port or the name of a service, got ${describe(service)}`);
  }
  if (/^\d+$/.test(service)) return checkPort(call, Number(service));
  if (numeric) return undefined;
  services ??= readServices();
  return services.ports.get(`${protocol}/${service}`);
}

interface CheckedNameOptions {
  readonly resolver: Resolver;
  readonly limits: CheckedLimits;
}

function checkNameOptions(call: string, options: NameOptions): CheckedNameOptions {
  const { resolver = getDefaultResolver() } = options;
  if (!(resolver instanceof Resolver)) {
    throw new TypeError(`${call}: resolver must be a Resolver, got ${describe(resolver)}`);
  }
  return { resolver, limits: checkLimits(call, options) };
}

function checkHost(call: string, host: unknown): string {
  if (typeof host !== 'string') throw new TypeError(`${call} expects a host name, got ${describe(host)}`);
  return host;
}

function isOneOf<T extends string>(
  call: string,
  name: string,
  value: unknown,
  known: readonly T[],
): T | undefined {
  if (value === undefined || known.includes(value as T)) return value as T | undefined;
  throw new TypeError(`${call}: ${name} must be ${known.join(', ')}, got ${describe(value)}`);
}

const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4);

/**
 * Where sockets may be bound or connected to for a host and a service. Without a host: on this machine. Switches only if it
 * must wait. gevent: `socket.getaddrinfo`.
 *
 * @param host - a name or address; `null` or `''`: this machine
 * @param port - a number, the name of a service (services(5)), or `null` for 0
 * @returns one entry for each address and kind of socket, in the order in which they are to be tried
 * @throws {DnsError} as {@link Resolver.lookup}; `EAI_SERVICE` if there is no such service
 */
export function getAddrInfo(
  host: string | null,
  port?: string | number | null,
  options?: AddrInfoOptions,
): AddrInfo[] {
  const call = 'getAddrInfo()';
  const given = checkOptions(call, options);
  const { family = 0, flags } = given;
  if (family !== 0 && family !== 4 && family !== 6) {
    throw new TypeError(`${call}: family must be 0, 4 or 6, got ${describe(family)}`);
  }
  const type = isOneOf(call, 'type', given.type, ['stream', 'datagram', 'raw']);
  const protocol = isOneOf(call, 'protocol', given.protocol, ['tcp', 'udp', 'ip']);
  const { passive, canonicalName, numericHost, numericService } = checkFlags(call, flags);
  const { resolver, limits } = checkNameOptions(call, given);
  const wanted = host === null ? '' : checkHost(call, host);
  const places = kinds.flatMap((kind) => {
    if ((type ?? kind.type) !== kind.type || (protocol ?? kind.protocol) !== kind.protocol) return [];
    const number = portOf(call, port, kind.protocol, numericService);
    return number === undefined ? [] : [{ ...kind, port: number }];
  });
  if (places.length === 0) throw dnsError('EAI_SERVICE', 'getaddrinfo', wanted, 'there is no such service');
  const [canonical, ...addresses] = ((): [string, ...string[]] => {
    if (wanted === '') return ['', ...local(family, passive)];
    const literal = isIP(wanted);
    if (numericHost && literal === 0) throw notNumeric(wanted);
    if (literal !== 0 && family !== 0 && literal !== family) {
      throw dnsError('EAI_ADDRFAMILY', 'getaddrinfo', wanted, 'the address is of the other family');
    }
    return resolver._lookupCanonical(wanted, family, limits);
  })();
  const found = addresses.flatMap((address) =>
    places.map((place): AddrInfo => ({
      family: familyOf(address),
      type: place.type,
      protocol: place.protocol,
      canonicalName: '',
      address,
      port: place.port,
    })),
  );
  if (canonicalName && found[0] !== undefined) found[0].canonicalName = canonical;
  return found;
}

function checkFlags(call: string, flags: AddressFlags | undefined): Required<AddressFlags> {
  const { passive, canonicalName, numericHost, numericService } = checkOptions(`${call}: flags`, flags);
  return {
    passive: checkFlag(call, 'passive', passive ?? false),
    canonicalName: checkFlag(call, 'canonicalName', canonicalName ?? false),
    numericHost: checkFlag(call, 'numericHost', numericHost ?? false),
    numericService: checkFlag(call, 'numericService', numericService ?? false),
  };
}

function notNumeric(host: string): DnsError {
  return dnsError('ENOTFOUND', 'getaddrinfo', host, 'this is no address');
}

function local(family: 0 | 4 | 6, passive: boolean): string[] {
  const addresses = passive ? ['0.0.0.0', '::'] : ['::1', '127.0.0.1'];
  return addresses.filter((address) => family === 0 || familyOf(address) === family);
}

/**
 * What an address and a port are called. Without a name, the address is its own, and the port too. Switches only if it must
 * wait. gevent: `socket.getnameinfo`; Node: `dns.lookupService`.
 *
 * @throws {DnsError} `ENOTFOUND` if a name is required and there is none, …
 */
export function getNameInfo(
  address: string,
  port: number,
  options?: NameInfoOptions,
): { hostname: string; service: string } {
  const call = 'getNameInfo()';
  if (typeof address !== 'string' || isIP(address) === 0) {
    throw new TypeError(`${call} expects an IP address, got ${describe(address)}`);
  }
  checkPort(call, port);
  const given = checkOptions(call, options);
  const [numericHost, numericService, nameRequired, datagram] = (
    ['numericHost', 'numericService', 'nameRequired', 'datagram'] as const
  ).map((name) => checkFlag(call, name, given[name] ?? false));
  const { resolver, limits } = checkNameOptions(call, given);
  const service = numericService === true ? String(port) : serviceOf(port, datagram === true ? 'udp' : 'tcp');
  if (numericHost === true) return { hostname: address, service };
  const ip = address.replace(/%.*/, '');
  const system = resolver._systemNameInfo(ip, port, limits);
  if (system !== undefined && nameRequired === false) return { hostname: system.hostname, service };
  try {
    return { hostname: resolver.reverse(ip, given)[0] as string, service };
  } catch (error) {
    if (nameRequired === true || !isUnknown(error)) throw error;
    return { hostname: address, service };
  }
}

function serviceOf(port: number, protocol: SocketProtocol): string {
  services ??= readServices();
  return services.names.get(`${protocol}/${port}`) ?? String(port);
}

/** Whether there is nothing to find, rather than something wrong. */
function isUnknown(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOTFOUND' || code === 'ENODATA';
}

/** Names that stand for addresses in these calls. */
function wildcard(host: string): string {
  return { '': '0.0.0.0', '<broadcast>': '255.255.255.255' }[host] ?? host;
}

/**
 * The first IPv4 address of a host; `'0.0.0.0'` for `''`, `'255.255.255.255'` for `'<broadcast>'`. Switches only if it must
 * wait. gevent: `socket.gethostbyname`.
 *
 * @throws {DnsError} as {@link Resolver.lookup}
 */
export function getHostByName(host: string, options?: NameOptions): string {
  return getHostByNameEx(host, options).addresses[0] as string;
}

/**
 * The names and IPv4 addresses of a host. Switches only if it must wait. gevent: `socket.gethostbyname_ex`.
 *
 * @throws {DnsError} as {@link Resolver.lookup}
 */
export function getHostByNameEx(host: string, options?: NameOptions): HostEntry {
  const call = 'getHostByName()';
  const wanted = wildcard(checkHost(call, host));
  const { resolver, limits } = checkNameOptions(call, checkOptions(call, options));
  if (isIP(wanted) === 6) {
    throw dnsError('EAI_ADDRFAMILY', 'getaddrinfo', host, 'the address is of the other family');
  }
  const [name, ...addresses] = resolver._lookupCanonical(wanted, 4, limits);
  const isAlias = name.toLowerCase() !== wanted.toLowerCase().replace(/\.$/, '');
  return { name, aliases: isAlias ? [wanted] : [], addresses };
}

/**
 * The names of an address. A name is looked up first. Switches only if it must wait. gevent: `socket.gethostbyaddr`.
 *
 * @throws {DnsError} `ENOTFOUND` if it has none, …
 */
export function getHostByAddr(address: string, options?: NameOptions): HostEntry {
  const call = 'getHostByAddr()';
  const wanted = checkHost(call, address);
  const given = checkOptions(call, options);
  const { resolver, limits } = checkNameOptions(call, given);
  const [ip = wanted] =
    isIP(wanted) === 0 ? resolver._lookupCanonical(wildcard(wanted), 0, limits).slice(1) : [wanted];
  const [name, ...aliases] = resolver.reverse(ip.replace(/%.*/, ''), given);
  return { name: name as string, aliases, addresses: [ip] };
}

/**
 * The full name of a host: the first with a dot of those that its address has. If it has none: the name as it was given.
 * Switches only if it must wait. gevent: `socket.getfqdn`.
 *
 * @param host - a name or address; `''`: this machine
 * @throws {DnsError} `ETIMEOUT` if the limit passed
 */
export function getFqdn(host = '', options?: NameOptions): string {
  const wanted = checkHost('getFqdn()', host).trim();
  const known = wanted === '' || wanted === '0.0.0.0' || wanted === '::' ? hostname() : wanted;
  try {
    const { name, aliases } = getHostByAddr(known, options);
    return [name, ...aliases].find((one) => one.includes('.')) ?? name;
  } catch (error) {
    if (isUnknown(error)) return known;
    throw error;
  }
}
