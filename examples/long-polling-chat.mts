/**
 * A chat by plain HTTP: who asks for messages waits until there are some, in a greenlet that costs some kilobytes.
 *
 *     node examples/long-polling-chat.mts 127.0.0.1:8080 &
 *     curl 'http://127.0.0.1:8080/messages?after=0' &
 *     curl --data hello http://127.0.0.1:8080/messages
 */
import { run } from 'greenstack';
import { HttpError, HttpResponse, HttpServer, type HttpRequest } from 'greenstack/http';
import { Condition } from 'greenstack/lock';

const [address = '127.0.0.1:8080'] = process.argv.slice(2);
const messages: string[] = [];
const changed = new Condition();

/** How long a request waits, in ms: less than proxies do. */
const PATIENCE = 25_000;

function post(request: HttpRequest): HttpResponse {
  messages.push(request.text({ maxSize: 10_000 }));
  using _ = changed.hold();
  changed.notifyAll();
  return HttpResponse.json({ number: messages.length }, { status: 201 });
}

function get(request: HttpRequest): HttpResponse {
  const after = Number(request.query.get('after') ?? messages.length);
  using _ = changed.hold();
  changed.waitFor(() => messages.length > after, PATIENCE);
  return HttpResponse.json({ messages: messages.slice(after), next: messages.length });
}

function chat(request: HttpRequest): HttpResponse {
  if (request.path !== '/messages') throw new HttpError(404);
  if (request.method === 'POST') return post(request);
  if (request.method === 'GET') return get(request);
  throw new HttpError(405, undefined, { headers: { Allow: 'GET, POST' } });
}

const server = new HttpServer(address, chat);
await run(() => {
  server.start();
  console.log(`listening at ${server.address.address}:${server.address.port}`);
  server.serveForever();
});
