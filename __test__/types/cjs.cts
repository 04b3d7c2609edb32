/** Compiled, never run: a CommonJS module that uses every entry of the package, both ways of importing. */
import greenstack = require('greenstack');
import type {} from 'greenstack/main';
import dns = require('greenstack/dns');
import http = require('greenstack/http');
import monkey = require('greenstack/monkey');
import select = require('greenstack/select');
import server = require('greenstack/server');
import socket = require('greenstack/socket');
import tls = require('greenstack/tls');
import { type Greenlet, type Limits, run } from 'greenstack';

const limits: Limits = 5;
const address: socket.Address = 'localhost:80';

export const listening: server.StreamServer = new server.StreamServer(0, (connection, from) => {
  connection.sendAll(`${from.address} ${from.port}`);
});

export const result: Promise<Buffer> = run(() => {
  const resolver = new dns.Resolver({ nameservers: ['127.0.0.1'] });
  const found: dns.LookupAddress[] = resolver.lookup('localhost', { all: true });
  const texts: string[][] = dns.resolve('test', 'TXT');
  const connection: socket.Socket = socket.createConnection(address, { resolver });
  const greenlet: Greenlet<Buffer> = greenstack.spawn(
    (count: number) => connection.recv(count, limits),
    found.length + texts.length,
  );
  return greenlet.get();
});

export const web: http.HttpServer = new http.HttpServer(8080, (request) => request.text(5));
export const ready = (target: socket.Socket): number => select.select([target], [], [], limits)[0].length;

export const encrypted = (): tls.TlsSocket =>
  tls.connect('localhost:443', {
    secureContext: tls.createSecureContext({ ca: '' }),
    servername: 'localhost',
  });

export const patched: boolean = monkey.patchAll({ timers: false }) && monkey.isModulePatched('fs');
