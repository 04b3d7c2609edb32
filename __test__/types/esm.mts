/** Compiled, never run: an ES module that uses every entry of the package. */
import { type Greenlet, type Limits, Timeout, run, spawn } from 'greenstack';
import { type LookupAddress, Resolver, lookup } from 'greenstack/dns';
import { DatagramServer, type Listener, StreamServer } from 'greenstack/server';
import { type Address, type Socket, createConnection } from 'greenstack/socket';
import greenstack from 'greenstack';

const limits: Limits = { timeout: new Timeout(5) };
const address: Address = { host: 'localhost', port: 80 };

export const result: Promise<Buffer> = run(() => {
  const resolver = new Resolver({ nameservers: ['127.0.0.1'] });
  const found: LookupAddress = resolver.lookup('localhost');
  const socket: Socket = createConnection(address, { resolver });
  const greenlet: Greenlet<Buffer> = spawn((host: string) => {
    socket.sendAll(host);
    return socket.recv(10, limits);
  }, found.address);
  lookup('localhost', { all: true });
  return greenlet.get();
});

const listener: Listener = { path: '/run/greeter' };

export const streams: StreamServer = new StreamServer(listener, (socket) => socket.sendAll('hello'), {
  spawn: 100,
  awaitData: true,
  workers: 2,
});
export const datagrams: DatagramServer = new DatagramServer({ fd: 3 }, (data, from) => {
  if (from !== undefined) datagrams.sendTo(data, from);
});

export async function ending(): Promise<void> {
  await streams.closed;
  const joined: boolean = datagrams.closed.join(5);
  streams.stop(joined ? null : { timeout: 100 });
}

export const version: string = greenstack.version;
