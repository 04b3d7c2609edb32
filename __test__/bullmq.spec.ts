/** Workers of BullMQ on a real Redis, whose processors block in greenlets. */
import test from 'ava';
import { type Job, Queue, QueueEvents, UnrecoverableError, Worker } from 'bullmq';
import {
  asyncify,
  type Cooperative,
  cooperative,
  type Greenlet,
  GreenletExit,
  joinAll,
  sleep,
  spawn,
  Timeout,
  withTimeout,
} from 'greenstack';
import { current, Gate, parkForLong, thrownBy } from './support/greenlets.js';
import { hubTestIf } from './support/hub-test.js';
import { hasRedis, type RunningRedis, startRedis } from './support/services.js';

let server: RunningRedis;

if (hasRedis) {
  test.before(async () => {
    server = await startRedis();
  });
  test.after.always(() => server?.stop());
}

let queues = 0;

/** A queue of the test's own, and what it needs to know when jobs have ended. */
interface Jobs extends Disposable {
  add(data: unknown, attempts?: number): Cooperative<Job>;
  /** What a job gives; throws if it has failed. */
  resultOf(job: Cooperative<Job>): unknown;
  work(processor: (job: Job) => unknown, concurrency?: number): void;
}

function makeJobs(): Jobs {
  const name = `jobs-${queues++}`;
  const connection = { path: server.socket };
  const queue = cooperative(new Queue(name, { connection }));
  const original = new QueueEvents(name, { connection });
  // Each job that is waited for listens for the end of both.
  queue.setMaxListeners(0);
  original.setMaxListeners(0);
  const events = cooperative(original);
  events.waitUntilReady();
  const workers: Array<Cooperative<Worker>> = [];
  return {
    add: (data, attempts = 1) => queue.add('job', data, { attempts }) as Cooperative<Job>,
    resultOf: (job) => job.waitUntilFinished(original as never),
    work(processor, concurrency = 10) {
      const worker = cooperative(new Worker(name, asyncify(processor), { connection, concurrency }));
      worker.waitUntilReady();
      workers.push(worker);
    },
    [Symbol.dispose]() {
      for (const worker of workers) worker.close();
      events.close();
      queue.close();
    },
  };
}

const bullTest = (title: string, body: Parameters<typeof hubTestIf>[2]): void =>
  hubTestIf(hasRedis, hasRedis ? title : `${title} (there is no Redis)`, body);

bullTest('three workers do a hundred blocking jobs, each once, several at a time', (t) => {
  using jobs = makeJobs();
  const done: number[] = [];
  let [inside, most] = [0, 0];
  for (let i = 0; i < 3; i++) {
    jobs.work(({ data }) => {
      most = Math.max(most, ++inside);
      sleep(1);
      inside--;
      done.push(data as number);
      return (data as number) * 2;
    });
  }
  const added = Array.from({ length: 100 }, (_, i) => jobs.add(i));
  const results = added.map((job) => spawn(() => jobs.resultOf(job)));
  joinAll(results, { raiseError: true });
  t.deepEqual(
    results.map(({ value }) => value),
    added.map((_, i) => i * 2),
  );
  t.is(new Set(done).size, 100);
  t.is(done.length, 100);
  t.true(most > 1);
});

bullTest('what a processor throws fails the job, and another attempt follows', (t) => {
  using jobs = makeJobs();
  let calls = 0;
  jobs.work((job) => {
    sleep(0);
    calls++;
    if (job.attemptsMade < 2) throw new Error(`attempt ${job.attemptsMade}`);
    return 'at last';
  });
  t.is(jobs.resultOf(jobs.add(null, 3)), 'at last');
  t.is(calls, 3);
  t.throws(() => jobs.resultOf(jobs.add(null)), { message: 'attempt 0' });
});

bullTest('a timeout in a processor fails the job', (t) => {
  using jobs = makeJobs();
  const seen: unknown[] = [];
  jobs.work(() => {
    seen.push(thrownBy(() => withTimeout(1, parkForLong)));
    throw seen[0];
  });
  t.true(thrownBy(() => jobs.resultOf(jobs.add(null))) instanceof Error);
  t.true(seen[0] instanceof Timeout);
});

bullTest('a job whose greenlet is killed with an error is tried again, unless the error says not to', (t) => {
  using jobs = makeJobs();
  const begun: Array<Greenlet> = [];
  let gate = new Gate();
  jobs.work((job) => {
    begun.push(current());
    gate.open();
    if (job.attemptsMade === 0) parkForLong();
    return 'second attempt';
  });
  const first = jobs.add(null, 2);
  gate.pass();
  begun[0]!.kill(new Error('cancelled'));
  t.is(jobs.resultOf(first), 'second attempt');
  gate = new Gate();
  const second = jobs.add(null, 2);
  gate.pass();
  begun.at(-1)!.kill(new UnrecoverableError('for good'));
  t.throws(() => jobs.resultOf(second), { message: 'for good' });
  t.is(begun.length, 3);
});

bullTest('a job whose greenlet is killed without an error counts as done', (t) => {
  using jobs = makeJobs();
  const begun: Array<Greenlet> = [];
  const gate = new Gate();
  jobs.work(() => {
    begun.push(current());
    gate.open();
    parkForLong();
  });
  const job = jobs.add(null);
  gate.pass();
  begun[0]!.kill();
  jobs.resultOf(job);
  t.true((begun[0]!.value as unknown) instanceof GreenletExit);
});

bullTest('closing a worker waits for the jobs that it has begun', (t) => {
  const jobs = makeJobs();
  const [begun, end] = [new Gate(), new Gate()];
  let finished = false;
  jobs.work(() => {
    begun.open();
    end.pass();
    finished = true;
  });
  jobs.add(null);
  begun.pass();
  const closing = spawn(() => jobs[Symbol.dispose]());
  sleep(0);
  t.false(finished);
  end.open();
  closing.join();
  t.true(finished);
});
