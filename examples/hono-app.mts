/**
 * A Hono app whose handlers block: jobs are put into a queue, and whoever asks for a result waits for it.
 *
 *     node examples/hono-app.mts 127.0.0.1:8080 &
 *     curl --data 'some text' http://127.0.0.1:8080/jobs
 *     curl http://127.0.0.1:8080/jobs/1
 */
import { Hono } from 'hono';
import { Greenlet, run, sleep, spawn, Timeout, waitFor } from 'greenstack';
import { fetchHandler, HttpServer } from 'greenstack/http';

const [address = '127.0.0.1:8080'] = process.argv.slice(2);
const jobs: Greenlet<string>[] = [];

function work(text: string): string {
  sleep(20);
  return text.toUpperCase();
}

const app = new Hono();

app.post('/jobs', (context) => {
  const text = waitFor(context.req.text());
  const id = jobs.push(spawn(work, text));
  return context.json({ id }, 202);
});

app.get('/jobs/:id', (context) => {
  const job = jobs[Number(context.req.param('id')) - 1];
  if (job === undefined) return context.text('no such job', 404);
  try {
    return context.text(job.get(5000));
  } catch (error) {
    if (error instanceof Timeout) return context.text('not yet', 503);
    throw error;
  }
});

const server = new HttpServer(address, fetchHandler(app, { lightResponses: true }));
await run(() => {
  server.start();
  console.log(`listening at ${server.address.address}:${server.address.port}`);
  server.serveForever();
});
