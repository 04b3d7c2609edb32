/** `createServer`: sockets that listen. */
import { native, SocketFamily } from '../binding.js';
import { checkFlag, checkOptions } from '../checks.js';
import { getDefaultResolver } from '../dns.js';
import { type Address, familyOf, parseAddress, type ParsedAddress, whereOf } from '../socket-address.js';
import { type SystemError, systemError } from '../system-error.js';
import { checkBacklog, DEFAULT_BACKLOG, openSocket, type Socket } from './socket.js';

/** Options of {@link createServer}. */
export interface ListenOptions {
  /** How many connections may wait to be accepted (default: 511, as Node). */
  backlog?: number;
  /** Listen on an address whose earlier connections have not all ended yet (default: yes, as Node). */
  reuseAddr?: boolean;
  /** Share the address with other sockets that have this set: the system spreads connections over them (default: no). */
  reusePort?: boolean;
  /** For IPv6: take no IPv4 connections (default: take both). */
  ipv6Only?: boolean;
}

/**
 * Makes a socket that listens. Without a host it takes IPv6 and IPv4 connections to all addresses of this host. The file of a
 * Unix-domain socket is removed when the socket is closed. Switches only if the host is a name. gevent:
 * `socket.create_server`.
 *
 * @param address - `{ host, port }`, `'host:port'`, a port, `{ path }`; port 0: one that is free
 * @throws {SystemError} `EADDRINUSE`, also for a file that is left of a socket; `EADDRNOTAVAIL`, `EACCES`, …
 */
export function createServer(address: Address, options?: ListenOptions): Socket {
  const call = 'createServer()';
  const parsed = parseAddress(call, address);
  const given = checkOptions(call, options);
  const { backlog = DEFAULT_BACKLOG, reuseAddr = true, reusePort = false, ipv6Only = false } = given;
  checkBacklog(call, backlog);
  for (const [name, value] of Object.entries({ reuseAddr, reusePort, ipv6Only }))
    checkFlag(call, name, value);
  const bound = addressToBind(parsed);
  try {
    return listenOn(bound, { backlog, reuseAddr, reusePort, ipv6Only });
  } catch (error) {
    // No IPv6 here.
    if (parsed.host !== '' || (error as SystemError).code !== 'EAFNOSUPPORT') throw error;
    return listenOn({ host: '0.0.0.0', port: parsed.port }, { backlog, reuseAddr, reusePort, ipv6Only });
  }
}

function addressToBind({ host, port }: ParsedAddress): ParsedAddress {
  if (host === '') return { host: '::', port };
  if (familyOf({ host, port }) !== 0) return { host, port };
  return { host: getDefaultResolver().lookup(host).address, port };
}

function listenOn(address: ParsedAddress, options: Required<ListenOptions>): Socket {
  const family = familyOf(address) as SocketFamily;
  const socket = openSocket(family);
  const set = (name: string, value: boolean): void => {
    const result = native.setOption(socket._key, name, Number(value));
    if (result < 0) throw systemError(result, 'setsockopt', whereOf(address));
  };
  try {
    if (family !== SocketFamily.Unix && options.reuseAddr) set('reuseAddr', true);
    if (options.reusePort) set('reusePort', true);
    if (family === SocketFamily.V6) set('ipv6Only', options.ipv6Only);
    const bound = native.bind(socket._key, address.host, address.port);
    if (bound < 0) throw systemError(bound, 'bind', whereOf(address));
    if (family === SocketFamily.Unix) socket._ownFile(address.host);
    const listening = native.listen(socket._key, options.backlog);
    if (listening < 0) throw systemError(listening, 'listen', whereOf(address));
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}
