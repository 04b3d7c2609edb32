/** Compiled, never run: an ES module that uses every entry of the package. */
import { type Greenlet, type Limits, Timeout, run, spawn } from 'greenstack';
import { type LookupAddress, Resolver, lookup } from 'greenstack/dns';
import { type HttpHandler, type HttpHeaders, HttpResponse, HttpServer, serve } from 'greenstack/http';
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

export const version: string = greenstack.version;

const handler: HttpHandler = (request) => {
  const headers: HttpHeaders = request.headers;
  const data: unknown = request.json({ maxSize: 10 });
  return headers.has('accept') ? HttpResponse.json(data) : [request.path, Buffer.alloc(1)].values();
};
export const server: HttpServer = new HttpServer(8080, handler, { spawn: 10, log: true });
export const serving: Promise<void> = run(() => serve('localhost:80', async () => new Response('hello')));
// @ts-expect-error an object is no response
new HttpServer(8080, () => ({ a: 1 }));
