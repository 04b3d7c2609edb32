import { createHash } from 'node:crypto';
import { waitFor } from 'greenstack';
import type { Resolver } from 'greenstack/dns';
import { createConnection } from 'greenstack/socket';

/** What a server sent. */
export interface Page {
  status: number;
  headers: Map<string, string>;
  body: Buffer;
}

/**
 * Looks the host up, connects, asks, and reads to the end.
 *
 * Plain synchronous code: where it has to wait, this greenlet parks and others run. It is printed by the tour as it is.
 */
export function readPage(url: URL, resolver: Resolver): Page {
  const { address } = resolver.lookup(hostOf(url));
  const socket = createConnection({ host: address, port: Number(url.port) || 80 });
  try {
    socket.sendAll(`GET ${url.pathname}${url.search} HTTP/1.0\r\nHost: ${url.host}\r\n\r\n`);
    const chunks = [];
    let chunk;
    while ((chunk = socket.recv(65_536)).length > 0) chunks.push(chunk);
    return parsePage(Buffer.concat(chunks));
  } finally {
    socket.close();
  }
}

/** The same over TLS, which our sockets do not speak yet: Node's own `fetch`, waited for. */
export function fetchPage(url: URL): Page {
  return waitFor(async (signal) => {
    const response = await fetch(url, { signal });
    const body = Buffer.from(await response.arrayBuffer());
    // `fetch` has unpacked the body, so the headers no longer describe it.
    return { status: response.status, headers: new Map<string, string>(), body };
  });
}

/**
 * Compares a page with what its headers say of it.
 *
 * @returns whether there was a digest (RFC 9530) to compare it with
 * @throws {Error} if the page is not what the server meant to send, or is an error page
 */
export function checkPage({ status, headers, body }: Page): boolean {
  if (status >= 400) throw new Error(`the server answered ${status}`);
  const length = headers.get('content-length');
  if (length !== undefined && Number(length) !== body.length)
    throw new Error(`${length} bytes were announced, ${body.length} came`);
  const digest = /^sha-256=:(.+):$/.exec(headers.get('content-digest') ?? '')?.[1];
  if (digest === undefined) return false;
  if (digest !== createHash('sha256').update(body).digest('base64')) throw new Error('the digest differs');
  return true;
}

/** A URL has IPv6 addresses in brackets, which belong to its syntax. */
function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '');
}

/** Splits what came into status line, headers and body. */
function parsePage(bytes: Buffer): Page {
  const end = bytes.indexOf('\r\n\r\n');
  const [statusLine, ...lines] = bytes.toString('latin1', 0, Math.max(end, 0)).split('\r\n');
  const status = /^HTTP\/1\.[01] (\d{3})\b/.exec(statusLine)?.[1];
  if (status === undefined) throw new Error('the answer is not an HTTP response');
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return { status: Number(status), headers: new Map(headers), body: bytes.subarray(end + 4) };
}
