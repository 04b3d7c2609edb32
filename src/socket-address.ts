/** Addresses of sockets: what users write, what native code takes, and what is read back from it. */
import { isIP } from 'node:net';

import { ADDRESS_OFFSET, native, SocketFamily } from './binding.js';
import { describe } from './checks.js';
import type { ErrorAddress } from './system-error.js';

/**
 * Where to connect to, to listen on, or to send to: a port of this host, `{ host, port }`, `'host:port'`, `'[ipv6]:port'`,
 * `':port'`; for Unix-domain sockets `{ path }` or `'unix:/path'`, where a path that begins with NUL is an abstract name of
 * Linux. What a socket tells of its own or the other end is one too.
 */
export type Address = number | string | { host?: string; port: number } | { path: string } | SocketAddress;

/** One end of a connection. */
export interface SocketAddress {
  /** An IP address, or the path of a Unix-domain socket: empty if it has none. */
  address: string;
  /** 0 for Unix-domain sockets. */
  port: number;
  family: 4 | 6 | 'unix';
}

/** An address in parts. */
export interface ParsedAddress {
  /** A name, an IP address, or a path; empty if only a port was given. */
  readonly host: string;
  /** {@link PATH} if the host is a path. */
  readonly port: number;
}

/** The port that says that an address is a path. */
export const PATH = -1;

const MAX_PORT = 65_535;

export function checkPort(call: string, port: unknown): number {
  if (typeof port !== 'number' || !Number.isInteger(port))
    throw new TypeError(`${call}: a port must be a whole number, got ${describe(port)}`);
  if (port < 0 || port > MAX_PORT)
    throw new RangeError(`${call}: a port must be from 0 to ${MAX_PORT}, got ${port}`);
  return port;
}

function checkPath(call: string, path: unknown): ParsedAddress {
  if (typeof path !== 'string' || path === '')
    throw new TypeError(
      `${call}: path must be the path of a socket, got ${path === '' ? 'an empty string' : describe(path)}`,
    );
  if (path.indexOf('\0', 1) >= 0) throw new TypeError(`${call}: path must not contain NUL but at its start`);
  return { host: path, port: PATH };
}

function checkHost(call: string, host: unknown): string {
  if (typeof host !== 'string' || host === '')
    throw new TypeError(
      `${call}: host must be a name or an IP address, got ${host === '' ? 'an empty string' : describe(host)}`,
    );
  return host.includes('%') ? withScopeNumber(call, host) : host;
}

/** An IPv6 address whose scope is a number, as native code takes it, where users may name the network interface. */
function withScopeNumber(call: string, host: string): string {
  const [ip = '', scope = '', ...more] = host.split('%');
  if (isIP(ip) !== 6 || scope === '' || more.length > 0)
    throw new TypeError(`${call}: only an IPv6 address has a scope, got '${host}'`);
  if (/^\d{1,9}$/.test(scope)) return host;
  const index = native.interfaceIndex(scope);
  if (index === 0)
    throw new TypeError(`${call}: this host has no network interface '${scope}', as in '${host}'`);
  return `${ip}%${index}`;
}

function parseText(call: string, text: string): ParsedAddress {
  if (text.startsWith('unix:')) return checkPath(call, text.slice('unix:'.length));
  const parts = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d+)$/.exec(text);
  if (parts === null) {
    throw new TypeError(
      `${call}: an address is 'host:port', '[ipv6]:port', ':port' or 'unix:/path', got '${text}'`,
    );
  }
  const host = parts[1] ?? parts[2] ?? '';
  const isAny = host === '' || host === '*';
  return { host: isAny ? '' : checkHost(call, host), port: checkPort(call, Number(parts[3])) };
}

/** Takes an address of a user's apart. */
export function parseAddress(call: string, address: unknown): ParsedAddress {
  if (typeof address === 'number') return { host: '', port: checkPort(call, address) };
  if (typeof address === 'string') return parseText(call, address);
  if (typeof address !== 'object' || address === null) {
    throw new TypeError(
      `${call} expects a port, { host, port }, { path } or 'host:port', got ${describe(address)}`,
    );
  }
  if ('path' in address) return checkPath(call, address.path);
  const { host, port, address: ip, family } = address as Record<string, unknown>;
  if (family === 'unix') return checkPath(call, ip);
  if (host === undefined && ip === undefined) return { host: '', port: checkPort(call, port) };
  return { host: checkHost(call, host ?? ip), port: checkPort(call, port) };
}

/** The family of a parsed address; 0 for a name. */
export function familyOf({ host, port }: ParsedAddress): SocketFamily | 0 {
  return port === PATH ? SocketFamily.Unix : (isIP(host) as SocketFamily | 0);
}

/** A parsed address as errors have it. */
export function whereOf({ host, port }: ParsedAddress): ErrorAddress {
  return port === PATH ? { address: host } : { address: host, port };
}

const scratch = Buffer.from(native.scratch);

/** The address that native code has put into the scratch memory; `undefined` if there is none. */
export function readAddress(): SocketAddress | undefined {
  const family = scratch[ADDRESS_OFFSET] as SocketFamily | 0;
  if (family === 0) return undefined;
  const start = ADDRESS_OFFSET + 8;
  const end = start + scratch.readUInt16LE(ADDRESS_OFFSET + 4);
  if (family === SocketFamily.Unix)
    return { address: scratch.toString('utf8', start, end), port: 0, family: 'unix' };
  return {
    address: scratch.toString('latin1', start, end),
    port: scratch.readUInt16LE(ADDRESS_OFFSET + 2),
    family,
  };
}

/** An address as errors and reports show it. */
export function show({ address, port, family }: SocketAddress): string {
  if (family === 'unix') return address === '' ? 'an unnamed socket' : address.replace('\0', '@');
  return family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}
