/**
 * A proxy in front of a web server: what comes is passed on by the blocking `fetch`, and the answer as it comes. A client that goes
 * ends the request to the server, too.
 *
 *     node examples/web-proxy.mts 127.0.0.1:8080 http://example.com &
 *     curl http://127.0.0.1:8080/
 */
import { run } from 'greenstack';
import { fetch, HttpResponse, HttpServer, type HttpRequest } from 'greenstack/http';

const [address = '127.0.0.1:8080', origin = 'http://example.com'] = process.argv.slice(2);

/** Header fields that are of one connection, or that `fetch` writes or has undone. */
const OWN =
  /^(?:connection|keep-alive|te|trailer|transfer-encoding|upgrade|host|content-length|expect|content-encoding)$/;

function passedOn(headers: Iterable<readonly [string, string]>): [string, string][] {
  return [...headers].filter(([name]) => !OWN.test(name)).map(([name, value]) => [name, value]);
}

function proxy(request: HttpRequest): HttpResponse {
  const hasBody = request.method !== 'GET' && request.method !== 'HEAD';
  let answer;
  try {
    answer = fetch(new URL(request.url, origin), {
      method: request.method,
      headers: [...passedOn(request.headers), ['x-forwarded-for', request.remoteAddress.address]],
      body: hasBody ? request.bytes() : null,
      redirect: 'manual',
      timeout: 10_000,
    });
  } catch (error) {
    console.error(`${request.line}: ${String(error)}`);
    return new HttpResponse('the server does not answer\n', { status: 502 });
  }
  const { status, headers } = answer;
  return new HttpResponse(status === 204 || status === 304 ? null : answer, {
    status,
    headers: passedOn(headers),
  });
}

const server = new HttpServer(address, proxy);
await run(() => {
  server.start();
  console.log(`listening at ${server.address.address}:${server.address.port}`);
  server.serveForever();
});
