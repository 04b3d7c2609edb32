/**
 * A BullMQ worker whose processors are functions that block, each job in a greenlet. Start it on as many machines as you like.
 *
 *     node examples/bullmq-worker.mts /run/redis/redis-server.sock &
 *
 * Jobs of the queue `pages` have a `url`; the result is how long the page is. A job of the name `cancel` kills the greenlet of
 * another one, which then counts as failed. At SIGTERM the worker finishes what it has begun.
 */
import { type Job, Worker } from 'bullmq';
import { asyncify, getCurrent, type Greenlet, once, run, Timeout, waitFor, withTimeout } from 'greenstack';
import { fetch } from 'greenstack/http';

const [path = '/run/redis/redis-server.sock'] = process.argv.slice(2);
const atWork = new Map<string, Greenlet>();

function work(job: Job): number | boolean {
  if (job.name === 'cancel') {
    const victim = atWork.get(job.data.id);
    victim?.kill(new Error('cancelled')); // killed without an error it would count as done
    return victim !== undefined;
  }
  return withTimeout(10_000, () => fetch(job.data.url).text().length);
}

const processor = asyncify((job: Job) => {
  atWork.set(job.id!, getCurrent() as Greenlet);
  try {
    return work(job);
  } finally {
    atWork.delete(job.id!);
  }
});

const worker = new Worker('pages', processor, { connection: { path }, concurrency: 100 });
worker.on('completed', (job, result) => console.log(`${job.name} ${job.id}: ${result}`));
worker.on('failed', (job, error) => {
  console.log(`${job?.name} ${job?.id}: ${error instanceof Timeout ? 'too slow' : error.message}`);
});

await run(() => {
  waitFor(worker.waitUntilReady());
  console.log(`listening at ${path}`);
  once(process, 'SIGTERM');
  console.log(`finishing ${atWork.size}`);
  waitFor(worker.close());
});
