import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pageDelay } from './delay.mts';

/** Starts an HTTP server on a free port of 127.0.0.1 that has a page for every host name, and returns its port. */
export async function startOrigin(): Promise<number> {
  const server = createServer((request, response) => {
    const host = (request.headers.host ?? '').replace(/:\d+$/, '');
    setTimeout(() => sendPage(host, request, response), pageDelay(host));
  });
  server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function sendPage(host: string, request: IncomingMessage, response: ServerResponse): void {
  if (request.method !== 'GET' || request.url !== '/') {
    response.writeHead(404).end();
    return;
  }
  const page = pageOf(host);
  response.writeHead(200, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': page.length,
    'content-digest': `sha-256=:${createHash('sha256').update(page).digest('base64')}:`, // RFC 9530
  });
  response.end(page);
}

/** A text of 8 to 24 KiB, longer for slower names. */
function pageOf(host: string): Buffer {
  const line = `This is the page of ${host}.\n`;
  return Buffer.from(line.repeat(Math.ceil((pageDelay(host) * 164) / line.length)));
}
