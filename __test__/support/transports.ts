/**
 * The ways in which a connection can be made, for `transport.spec.ts`: what is promised of every connection is tested over
 * each of them. A new transport is one more entry of `transports`.
 */
import { rmSync } from 'node:fs';
import type { Socket as NodeSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Address, type Connection, createConnection, createServer, socketPair } from 'greenstack/socket';
import { hasIpv6 } from './network.js';
import { keep, serve } from './servers.js';

/** A server of Node's to connect to; disposing of it ends its connections as well. */
export interface TransportServer extends Disposable {
  connect(): Connection;
}

export interface Transport {
  readonly name: string;
  /** Starts a server of Node's that does `onConnection` with each connection. Switches. */
  listen(onConnection: (peer: NodeSocket) => void): TransportServer;
  /** Makes both ends of a connection. Switches. */
  pair(): [Connection, Connection];
}

/** Connections to an address. */
function overAddresses(name: string, freshAddress: () => Address): Transport {
  return {
    name,
    listen(onConnection) {
      const listener = createServer(freshAddress());
      const address = listener.localAddress;
      const serving = serve(onConnection, (options) => listener.toNodeServer(options));
      return {
        connect: () => createConnection(address),
        [Symbol.dispose]() {
          serving[Symbol.dispose]();
          if (address.family === 'unix') rmSync(address.address.replace('\0', '@'), { force: true });
        },
      };
    },
    pair() {
      using listener = createServer(freshAddress());
      const left = createConnection(listener.localAddress);
      return [left, listener.accept()];
    },
  };
}

let paths = 0;

/** A path that nobody else uses. */
export function freshPath(): string {
  const path = join(tmpdir(), `greenstack-${process.pid}-${++paths}.sock`);
  rmSync(path, { force: true });
  return path;
}

/** An abstract name of Linux that nobody else uses. */
export function freshName(): string {
  return `\0greenstack-${process.pid}-${++paths}`;
}

const pairs: Transport = {
  name: 'socketPair',
  listen(onConnection) {
    const peers = new Set<NodeSocket>();
    return {
      connect() {
        const [left, right] = socketPair();
        const peer = right.toNodeSocket({ allowHalfOpen: true });
        keep(peer, peers);
        onConnection(peer);
        return left;
      },
      [Symbol.dispose]() {
        for (const peer of peers) peer.destroy();
      },
    };
  },
  pair: () => socketPair(),
};

export const transports: readonly Transport[] = [
  overAddresses('TCP', () => ({ host: '127.0.0.1', port: 0 })),
  ...(hasIpv6 ? [overAddresses('TCP over IPv6', () => ({ host: '::1', port: 0 }))] : []),
  overAddresses('Unix', () => ({ path: freshPath() })),
  overAddresses('Unix, abstract', () => ({ path: freshName() })),
  pairs,
];
