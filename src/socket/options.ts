/** Options of sockets by name: their types, what values they take, and how native code takes them. */
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

import { native } from '../binding.js';
import { checkFlag, describe } from '../checks.js';

/** The options of {@link Socket.setOption} and {@link Socket.getOption} that have names. Times are in ms. */
export interface SocketOptionValues {
  /** Sends small pieces at once instead of waiting for the acknowledgement of earlier ones: `TCP_NODELAY`. */
  noDelay: boolean;
  /** Asks a silent peer from time to time whether it is still there: `SO_KEEPALIVE`. */
  keepAlive: boolean;
  /** How long a peer is silent before it is asked, in whole seconds: `TCP_KEEPIDLE`. */
  keepAliveIdle: number;
  /** How long to wait before asking again, in whole seconds: `TCP_KEEPINTVL`. */
  keepAliveInterval: number;
  /** How often to ask in vain before the connection is given up: `TCP_KEEPCNT`. */
  keepAliveCount: number;
  /** In bytes; Linux doubles what is set, for its own use: `SO_RCVBUF`. */
  receiveBufferSize: number;
  /** In bytes; Linux doubles what is set, for its own use: `SO_SNDBUF`. */
  sendBufferSize: number;
  /** How long the system goes on sending after `close()`, in whole seconds; 0 resets; `null` is its default: `SO_LINGER`. */
  linger: number | null;
  /** Binds an address whose earlier connections have not all ended: `SO_REUSEADDR`. */
  reuseAddr: boolean;
  /** Shares an address with other sockets that have this set: `SO_REUSEPORT`. */
  reusePort: boolean;
  /** Allows datagrams to all of a network: `SO_BROADCAST`. */
  broadcast: boolean;
  /** Takes no IPv4 on a socket for IPv6: `IPV6_V6ONLY`. */
  ipv6Only: boolean;
  /** How many routers may pass a packet on: `IP_TTL`, `IPV6_UNICAST_HOPS`. */
  ttl: number;
  /** The class of service of packets: `IP_TOS`, `IPV6_TCLASS`. */
  trafficClass: number;
  /** As `ttl`, of multicast datagrams: `IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`. */
  multicastTtl: number;
  /** Whether multicast datagrams come to sockets of this host too: `IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`. */
  multicastLoop: boolean;
}

export type SocketOptionName = keyof SocketOptionValues;

/** The range of an option that is a number; whether it is a time. */
interface Range {
  readonly least: number;
  readonly most: number;
  readonly isTime?: boolean;
}

const SECOND = 1000;
const MAX_INT = 0x7fff_ffff;

/** `null`: true or false. */
const kinds: Record<SocketOptionName, Range | null> = {
  noDelay: null,
  keepAlive: null,
  keepAliveIdle: { least: 1, most: 32_767 * SECOND, isTime: true },
  keepAliveInterval: { least: 1, most: 32_767 * SECOND, isTime: true },
  keepAliveCount: { least: 1, most: 127 },
  receiveBufferSize: { least: 1, most: MAX_INT },
  sendBufferSize: { least: 1, most: MAX_INT },
  linger: { least: 0, most: 65_535 * SECOND, isTime: true },
  reuseAddr: null,
  reusePort: null,
  broadcast: null,
  ipv6Only: null,
  ttl: { least: 1, most: 255 },
  trafficClass: { least: 0, most: 255 },
  multicastTtl: { least: 0, most: 255 },
  multicastLoop: null,
};

/** What native code takes and gives for "does not linger". */
const NO_LINGER = -1;

function kindOf(call: string, name: unknown): Range | null {
  const kind =
    typeof name === 'string' && Object.hasOwn(kinds, name) ? kinds[name as SocketOptionName] : undefined;
  if (kind !== undefined) return kind;
  const known = Object.keys(kinds).join(', ');
  const got = typeof name === 'string' ? `'${name}'` : describe(name);
  throw new TypeError(`${call} expects a level and a name, or one of ${known}; got ${got}`);
}

/** Checks a value and returns it as native code takes it. */
export function toNative(call: string, name: unknown, value: unknown): number {
  const kind = kindOf(call, name);
  if (kind === null) return Number(checkFlag(call, name as string, value));
  if (name === 'linger' && value === null) return NO_LINGER;
  return checkNumber(call, name as string, value, kind);
}

function checkNumber(
  call: string,
  name: string,
  value: unknown,
  { least, most, isTime = false }: Range,
): number {
  const unit = isTime ? ' of milliseconds' : '';
  if (typeof value !== 'number' || (isTime ? Number.isNaN(value) : !Number.isInteger(value)))
    throw new TypeError(
      `${call}: ${name} must be a ${isTime ? '' : 'whole '}number${unit}, got ${describe(value)}`,
    );
  if (value < least || value > most)
    throw new RangeError(`${call}: ${name} must be from ${least} to ${most}, got ${value}`);
  return value;
}

/** Checks the name of an option that is to be read. */
export function checkOptionName(call: string, name: unknown): asserts name is SocketOptionName {
  kindOf(call, name);
}

/** What native code says of an option, as users have it. */
export function fromNative(name: SocketOptionName, value: number): boolean | number | null {
  if (kinds[name] === null) return value !== 0;
  return name === 'linger' && value < 0 ? null : value;
}

/** Checks the level or the name of an option by number, or its value. */
export function checkInt(call: string, what: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value))
    throw new TypeError(`${call}: ${what} must be a whole number, got ${describe(value)}`);
  if (value < -MAX_INT - 1 || value > MAX_INT)
    throw new RangeError(`${call}: ${what} must fit into 32 bits, got ${value}`);
  return value;
}

/** A network interface, as sockets of both families name it. */
export interface Interface {
  readonly index: number;
  /** Its first IPv4 address; empty if it has none. */
  readonly address: string;
}

/** Finds a network interface by its name or by an address of it. */
export function findInterface(call: string, nameOrAddress: unknown): Interface {
  if (typeof nameOrAddress !== 'string' || nameOrAddress === '')
    throw new TypeError(
      `${call}: an interface is named by its name or by an address of it, got ${describe(nameOrAddress)}`,
    );
  const all = networkInterfaces();
  const isAddress = isIP(nameOrAddress) !== 0;
  const name = isAddress
    ? Object.keys(all).find((key) => all[key]?.some(({ address }) => address === nameOrAddress))
    : nameOrAddress;
  const index = name === undefined ? 0 : native.interfaceIndex(name);
  if (name === undefined || index === 0)
    throw new TypeError(`${call}: this host has no network interface '${nameOrAddress}'`);
  const first = all[name]?.find(({ family }) => family === 'IPv4')?.address ?? '';
  return { index, address: isAddress && isIP(nameOrAddress) === 4 ? nameOrAddress : first };
}
