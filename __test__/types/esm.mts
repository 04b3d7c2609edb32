/** Compiled, never run: an ES module that uses every entry of the package. */
import { type Greenlet, type Limits, Timeout, run, spawn } from 'greenstack';
import {
  type FetchResponse,
  type HttpHandler,
  type HttpHeaders,
  HttpResponse,
  HttpServer,
  NodeServer,
  fetch,
  fetchHandler,
  nodeListener,
  serve,
} from 'greenstack/http';
import { type AddrInfo, type LookupAddress, Resolver, getAddrInfo, lookup, resolve4 } from 'greenstack/dns';
import type {} from 'greenstack/main';
import {
  DoNotPatch,
  type PatchEvent,
  type PatchOptions,
  getOriginal,
  patchEvents,
  patching,
} from 'greenstack/monkey';
import { DatagramServer, type Listener, StreamServer } from 'greenstack/server';
import { POLLIN, type Poller, Selector, poll, select } from 'greenstack/select';
import {
  type Address,
  type ConnectOptions,
  type Datagram,
  type Descriptor,
  type FileOptions,
  type Socket,
  SocketFile,
  createConnection,
  createServer,
  getHostByName,
  socketPair,
  waitRead,
} from 'greenstack/socket';
import {
  type CertificateError,
  type SecureContext,
  type SecureContextOptions,
  type TlsSocket,
  connect,
  createSecureContext,
  wrapSocket,
} from 'greenstack/tls';
import greenstack from 'greenstack';

const limits: Limits = { timeout: new Timeout(5) };
const address: Address = { host: 'localhost', port: 80 };

export const result: Promise<Buffer> = run(() => {
  const resolver = new Resolver({ nameservers: ['127.0.0.1'] });
  const found: LookupAddress = resolver.lookup('localhost');
  const mail: string[] = resolver.resolve('test', 'MX', limits).map(({ exchange }) => exchange);
  const times: number[] = resolve4(mail[0]!, { ttl: true }).map(({ ttl }) => ttl);
  const info: AddrInfo[] = getAddrInfo('localhost', times[0]!, { resolver, type: 'stream', timeout: 5 });
  const socket: Socket = createConnection(address, { resolver });
  const greenlet: Greenlet<Buffer> = spawn((host: string) => {
    socket.sendAll(host);
    return socket.recv(10, limits);
  }, found.address);
  lookup(info[0]!.address, { all: true });
  return greenlet.get();
});

const connecting: ConnectOptions = { attemptDelay: 100, keepAlive: 5000, noDelay: true };
const buffered: FileOptions = { bufferSize: 1024, encoding: 'utf8' };

export const reading: Promise<string> = run(() => {
  using server: Socket = createServer({ path: '/run/reader' });
  using socket: Socket = createConnection({ host: getHostByName('localhost'), port: 80 }, connecting);
  const [left, right] = socketPair({ type: 'datagram' });
  const received: Datagram = right.recvFrom(10, limits);
  const file: SocketFile<string | Buffer> = socket.makeFile(buffered);
  file.write(received.data);
  const targets: Descriptor[] = [server, 0, { fd: 1 }];
  waitRead(targets[1]!, limits);
  const poller: Poller<Socket> = poll();
  poller.register(left, POLLIN);
  using selector = new Selector<string>();
  selector.register(socket, 'r', 'data');
  const [readable] = select(targets, [left], [], 5);
  return [...socket.makeFile({ encoding: 'utf8' })].join() + selector.select(readable.length)[0]![0].data;
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

const handler: HttpHandler = (request) => {
  const headers: HttpHeaders = request.headers;
  const data: unknown = request.json({ maxSize: 10 });
  return headers.has('accept') ? HttpResponse.json(data) : [request.path, Buffer.alloc(1)].values();
};
export const web: HttpServer = new HttpServer(8080, handler, { spawn: 10, log: true });
export const serving: Promise<void> = run(() => serve('localhost:80', async () => new Response('hello')));
// @ts-expect-error an object is no response
new HttpServer(8080, () => ({ a: 1 }));
const options: SecureContextOptions = { alpnProtocols: ['h2'], minVersion: 'TLSv1.3' };
const secureContext: SecureContext = createSecureContext(options);

export const encrypted: Promise<string | null> = run(() => {
  const client: TlsSocket = connect(address, { secureContext, timeout: 1000 });
  const server: TlsSocket = wrapSocket(createConnection(address), { isServer: true, cert: '', key: '' });
  client.sendAll(server.recv(10, limits));
  const error: Error | null = client.authorizationError;
  const certificate: CertificateError | null = error as CertificateError | null;
  const plain: Socket = server.unwrap();
  plain.close();
  return certificate?.code ?? client.cipher?.name ?? client.alpnProtocol;
});

export const listenerOf: HttpHandler = nodeListener((request, response) => response.end(request.url), {
  onUpgrade: (request, socket, head) => socket.end(head),
});
export const app: HttpHandler = fetchHandler({ fetch: (request: Request) => new Response(request.url) });
export const plainApp: HttpHandler = fetchHandler(async (request) => new Response(await request.text()));
export const nodeServer: NodeServer = new NodeServer((request, response) => response.end()).listen(8080);
export const pages = (): string[] => {
  const response: FetchResponse = fetch('http://localhost', { method: 'POST', timeout: 5 });
  return [response.text(limits), ...[...response].map(String)];
};

export const parts: PatchOptions = { fs: true, net: false };
patching.on('willPatchModule', ({ module }: PatchEvent) => {
  if (module === 'fs') throw new DoNotPatch();
});
export const original: unknown = getOriginal('fs', 'readFileSync');
export const isNew: boolean = patchEvents(process, ['SIGHUP']);
