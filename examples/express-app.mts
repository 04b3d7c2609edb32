/**
 * An Express app whose handlers block, each in a greenlet of its own: a counter behind a lock, and pages of another server.
 *
 *     node examples/express-app.mts 127.0.0.1:8080 http://example.com &
 *     curl http://127.0.0.1:8080/count http://127.0.0.1:8080/remote/
 */
import express, { type ErrorHandler } from 'express5'; // Express 5, under the name that it has in this repository
import { run, sleep, Timeout } from 'greenstack';
import { fetch, HttpServer, nodeListener } from 'greenstack/http';
import { Lock } from 'greenstack/lock';

const [address = '127.0.0.1:8080', origin = 'http://example.com'] = process.argv.slice(2);
const lock = new Lock();
let count = 0;

const app = express();
app.use(express.json());

app.get('/count', (request, response) => {
  lock.acquire();
  try {
    const before = count;
    sleep(10); // a database, for instance
    count = before + 1;
    response.json({ count });
  } finally {
    lock.release();
  }
});

app.get('/remote/', (request, response) => {
  response.send(fetch(origin, { timeout: 5000 }).text());
});

// What a blocking handler throws goes to Express, as what any other throws.
app.use(((error, request, response, next) => {
  if (response.headersSent) next(error);
  else response.status(error instanceof Timeout ? 504 : 502).send(error.message);
}) satisfies ErrorHandler);

const server = new HttpServer(address, nodeListener(app));
await run(() => {
  server.start();
  console.log(`listening at ${server.address.address}:${server.address.port}`);
  server.serveForever();
});
