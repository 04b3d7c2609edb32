import type { ExecutionContext } from 'ava';
import { type Connection, createConnection } from 'greenstack/socket';
import { type HttpHandler, HttpServer, type HttpServerOptions } from 'greenstack/http';
import { connect as connectTls } from 'greenstack/tls';
import { pki } from './certificates.js';
import { hubTest } from './hub-test.js';

/** A response as it came over a raw connection. */
export interface Answer {
  status: number;
  reason: string;
  /** By names in lower case. */
  headers: Partial<Record<string, string>>;
  body: string;
}

/** Whether servers encrypt that are started now. */
let encrypts = false;

const encrypted = new WeakSet<HttpServer>();

/** As `hubTest`, twice: the second time, servers and clients encrypt. */
export function httpTest(title: string, body: (t: ExecutionContext) => void): void {
  hubTest(title, body);
  hubTest(`${title} (TLS)`, (t) => {
    encrypts = true;
    try {
      body(t);
    } finally {
      encrypts = false;
    }
  });
}

/** Starts a server on 127.0.0.1. It is stopped by `using`. */
export function serving(handler: HttpHandler, options?: HttpServerOptions): HttpServer {
  const { tls = encrypts ? pki.server() : undefined } = options ?? {};
  const server = new HttpServer({ host: '127.0.0.1', port: 0 }, handler, {
    ...options,
    ...(tls !== undefined && { tls }),
  });
  if (tls !== undefined) encrypted.add(server);
  server.start();
  return server;
}

/** The URL of a path on a server. */
export function urlOf(server: HttpServer, path = '/'): string {
  return `${encrypted.has(server) ? 'https' : 'http'}://127.0.0.1:${server.address.port}${path}`;
}

/** Connects, without a protocol but that of the encryption. */
export function connect(server: HttpServer): Connection {
  return encrypted.has(server)
    ? connectTls(server.address, { ca: pki.root().cert, servername: 'a.test' })
    : createConnection(server.address);
}

/** How a connection may end that the server cuts. */
const CUTS = ['ECONNRESET', 'ERR_GREENSTACK_TLS_TRUNCATED'];

/** Everything that comes until the end; a reset is one, too. */
export function readToEnd(socket: Connection): string {
  let text = '';
  try {
    for (let piece = socket.recv(); piece.length > 0; piece = socket.recv()) text += piece.toString('latin1');
  } catch (error) {
    if (!CUTS.includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  return text;
}

/** Sends pieces one by one and takes the answers apart that come until the server closes. */
export function exchange(server: HttpServer, ...pieces: Array<string | Buffer>): Answer[] {
  using socket = connect(server);
  for (const piece of pieces) {
    try {
      socket.sendAll(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece);
    } catch (error) {
      if (!['EPIPE', 'ECONNRESET'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  return answersIn(readToEnd(socket));
}

/** Takes one response apart that is the first in `text`; `undefined` if it is not complete. */
export function firstAnswer(text: string, isHead = false): { answer: Answer; rest: string } | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [line = '', ...fields] = text.slice(0, end).split('\r\n');
  const parts = /^HTTP\/1\.1 (\d{3}) (.*)$/.exec(line);
  if (parts === null) throw new Error(`no status line: ${JSON.stringify(line)}`);
  const headers: Answer['headers'] = {};
  for (const field of fields) {
    const colon = field.indexOf(':');
    const name = field.slice(0, colon).toLowerCase();
    headers[name] = [headers[name], field.slice(colon + 1).trim()]
      .filter((value) => value !== undefined)
      .join(', ');
  }
  const answer: Answer = { status: Number(parts[1]), reason: parts[2] ?? '', headers, body: '' };
  const start = end + 4;
  if (isHead || answer.status < 200 || answer.status === 204 || answer.status === 304)
    return { answer, rest: text.slice(start) };
  if (headers['transfer-encoding'] === 'chunked') return chunked(answer, text, start);
  const length = headers['content-length'];
  if (length === undefined) return { answer: { ...answer, body: text.slice(start) }, rest: '' };
  if (text.length < start + Number(length)) return undefined;
  const after = start + Number(length);
  return { answer: { ...answer, body: text.slice(start, after) }, rest: text.slice(after) };
}

function chunked(answer: Answer, text: string, start: number): { answer: Answer; rest: string } | undefined {
  let body = '';
  for (;;) {
    const end = text.indexOf('\r\n', start);
    if (end < 0) return undefined;
    const size = Number.parseInt(text.slice(start, end), 16);
    start = end + 2;
    if (size === 0) {
      // Trailer fields up to the empty line.
      const last = text.startsWith('\r\n', start) ? start : text.indexOf('\r\n\r\n', start) + 2;
      if (last < start) return undefined;
      for (const field of text.slice(start, last).split('\r\n').filter(Boolean)) {
        const colon = field.indexOf(':');
        answer.headers[`trailer ${field.slice(0, colon).toLowerCase()}`] = field.slice(colon + 1).trim();
      }
      return { answer: { ...answer, body }, rest: text.slice(last + 2) };
    }
    body += text.slice(start, start + size);
    start += size + 2;
  }
}

/** All complete responses in `text`; what is left over is an answer with status 0. */
export function answersIn(text: string): Answer[] {
  const answers: Answer[] = [];
  while (text !== '') {
    const first = firstAnswer(text);
    if (first === undefined) {
      answers.push({ status: 0, reason: '', headers: {}, body: text });
      break;
    }
    answers.push(first.answer);
    text = first.rest;
  }
  return answers;
}

/** A raw connection that takes one answer after another. */
export class RawClient implements Disposable {
  readonly socket: Connection;
  #text = '';

  constructor(server: HttpServer) {
    this.socket = connect(server);
  }

  send(text: string): void {
    this.socket.sendAll(Buffer.from(text, 'latin1'));
  }

  /** The next response; fails if the server closes before it is complete. */
  receive(isHead = false): Answer {
    for (;;) {
      const first = firstAnswer(this.#text, isHead);
      if (first !== undefined) {
        this.#text = first.rest;
        return first.answer;
      }
      const piece = this.socket.recv();
      if (piece.length === 0) throw new Error(`the server has closed after ${JSON.stringify(this.#text)}`);
      this.#text += piece.toString('latin1');
    }
  }

  request(text: string, isHead = false): Answer {
    this.send(text);
    return this.receive(isHead);
  }

  /** What comes until the server closes. */
  rest(): string {
    return this.#text + readToEnd(this.socket);
  }

  [Symbol.dispose](): void {
    this.socket.close();
  }
}

/** A GET of a path. */
export function get(path: string, lines = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: a\r\n${lines}\r\n`;
}

/** A POST of a body. */
export function post(path: string, body: string, lines = ''): string {
  return `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${Buffer.byteLength(body, 'latin1')}\r\n${lines}\r\n${body}`;
}
