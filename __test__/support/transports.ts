/**
 * The ways in which a connection can be made, for `transport.spec.ts`: what is promised of every connection is tested over
 * each of them. A new transport is one more entry of `transports`.
 */
import { rmSync } from 'node:fs';
import type { Socket as NodeSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { select } from 'greenstack/select';
import { type Address, type Connection, createConnection, createServer, socketPair } from 'greenstack/socket';
import { connect, type TlsSocket, type TlsVersion } from 'greenstack/tls';
import { pki } from './certificates.js';
import { hasIpv6 } from './network.js';
import { keep, serve } from './servers.js';
import { listenNode, tlsPair, trusting } from './tls.js';

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

/** Takes in what a server sends a client behind the handshake, for later sessions. */
function waitForTickets(socket: TlsSocket): void {
  select([socket.fd]);
  select([socket], [], [], 0);
}

/** Encrypted connections, with one version of the protocol. */
function overTls(version: TlsVersion): Transport {
  const versions = { minVersion: version, maxVersion: version };
  return {
    name: version,
    listen(onConnection) {
      // A server of Node's that ends right after the handshake of TLS 1.3 does not say so.
      const deferred = (peer: NodeSocket): void => void setImmediate(onConnection, peer);
      const server = listenNode({ ...pki.server(), ...versions, noDelay: true }, deferred);
      return {
        connect() {
          const socket = connect(server.port, trusting());
          // What a server of TLS 1.3 sends to a client that has closed already breaks the connection.
          if (version === 'TLSv1.3') waitForTickets(socket);
          return socket;
        },
        [Symbol.dispose]: () => server[Symbol.dispose](),
      };
    },
    pair() {
      const { client, server } = tlsPair(versions);
      return [client, server];
    },
  };
}

export const transports: readonly Transport[] = [
  overAddresses('TCP', () => ({ host: '127.0.0.1', port: 0 })),
  ...(hasIpv6 ? [overAddresses('TCP over IPv6', () => ({ host: '::1', port: 0 }))] : []),
  overAddresses('Unix', () => ({ path: freshPath() })),
  overAddresses('Unix, abstract', () => ({ path: freshName() })),
  pairs,
  overTls('TLSv1.2'),
  overTls('TLSv1.3'),
];
