/** The jobs of a `ThreadPool` and the threads that carry them out. */
import { join } from 'node:path';
import { inspect } from 'node:util';
import type { Worker } from 'node:worker_threads';

import { GreenstackError, named } from './errors.js';
import {
  captureStack,
  getHub,
  linesOf,
  park,
  requireGreenlet,
  type Runnable,
  type Wait,
  wake,
} from './hub.js';
import { loadPiscina, type Piscina, type Stoppable } from './piscina.js';
import { isFromWorker, separate, unpack } from './threadpool-message.js';
import type { Failure, JobMessage, Task } from './threadpool-worker.js';
import { Entry, type Linkable, WaitQueue } from './wait-queue.js';

/** The error of a job that was ended together with its pool. */
export class JobAborted extends GreenstackError {
  constructor() {
    super('ERR_GREENSTACK_JOB_ABORTED', 'the job was aborted: its pool was killed');
  }

  static {
    named(this, 'JobAborted');
  }
}

/** The error of a job whose worker thread has ended before it: by `process.exit()`, an uncaught error, or lack of memory. */
export class WorkerLost extends GreenstackError {
  /** @param cause - what piscina or Node tells about it */
  constructor(cause: unknown) {
    const reason = cause instanceof Error ? cause.message : inspect(cause);
    super('ERR_GREENSTACK_WORKER_LOST', `the job was lost with its worker thread: ${reason}`, {
      cause,
    });
  }

  static {
    named(this, 'WorkerLost');
  }
}

/**
 * An error as it is thrown in the greenlet that has waited for a job: the stack goes on with that of the greenlet, up to its
 * call of the pool.
 */
export function thrownIn(call: (...args: never[]) => unknown, error: unknown): unknown {
  if (error instanceof JobAborted || error instanceof WorkerLost) Error.captureStackTrace(error, call);
  else if (isFromWorker(error)) error.stack += `\n${linesOf(captureStack(Error.stackTraceLimit, call))}`;
  return error;
}

/** The error for what piscina has rejected a job with. */
function errorOf(reason: unknown): unknown {
  if (typeof reason === 'object' && reason !== null && 'failure' in reason)
    return unpack((reason as Failure).failure);
  const { name, code } = (reason ?? {}) as { name?: unknown; code?: unknown };
  const isUnsendable = name === 'DataCloneError' || code === 'ERR_INVALID_TRANSFER_OBJECT';
  return isUnsendable ? reason : new WorkerLost(reason);
}

/** How long a thread that was told to end is given before it is told again, in ms; each further time twice as long. */
const PATIENCE = 100;

/**
 * Tells a thread to end until it has ended.
 *
 * From Node 22 on once may not be enough: a request that the thread takes note of while Node is being told about a rejected
 * promise is dropped there. The thread goes on, waits for its next job, and keeps the process alive.
 */
function seeOut(thread: Worker, patience = PATIENCE): void {
  setTimeout(() => {
    const hasEnded = thread.threadId < 0;
    if (hasEnded) return;
    // Each call of `terminate` listens for the end: with a thread that is long in native code that is no leak.
    void thread.setMaxListeners(0).terminate();
    seeOut(thread, 2 * patience);
  }, patience).unref();
}

/** The worker threads of a pool. They are made when there are jobs for them, and do not keep the process alive without. */
class Threads {
  readonly #piscina: Piscina;
  readonly #jobs = new Set<Job>();
  #retired = false;
  /** An error of a thread without a job. */
  #trouble: unknown = undefined;

  constructor(
    private readonly crew: Crew,
    maxThreads: number,
    options: object,
  ) {
    const Piscina = loadPiscina();
    this.#piscina = new Piscina({
      filename: join(__dirname, 'threadpool-worker.js'),
      minThreads: 0,
      maxThreads,
      recordTiming: false,
      ...options,
    });
    this.#piscina.on('error', (error) => {
      this.#trouble = error;
    });
    this.#piscina.on('workerDestroy', ({ id }) => {
      const thread = this.#piscina.threads.find(({ threadId }) => threadId === id);
      if (thread !== undefined) seeOut(thread);
      // Later: whose job it was may not be told yet, and the next job may need a new thread.
      setImmediate(() => this.#review());
    });
  }

  get size(): number {
    return this.#piscina.threads.length;
  }

  get jobs(): Job[] {
    return [...this.#jobs];
  }

  async run(job: Job): Promise<void> {
    this.#jobs.add(job);
    let successful = false;
    let outcome: unknown;
    try {
      outcome = await this.#perform(job);
      successful = true;
    } catch (error) {
      outcome = errorOf(error);
    }
    this.#jobs.delete(job);
    this.crew.settle(job, successful, outcome);
    if (this.#retired) this.retire();
  }

  #perform(job: Job): Promise<unknown> {
    const { message, transferList } = job;
    try {
      return this.#piscina.run(message, { signal: job, transferList });
    } catch (error) {
      // A thread cannot be made, for lack of permission.
      return Promise.reject(error as Error);
    }
  }

  /** Ends the threads as soon as no job is under way. */
  retire(): void {
    this.#retired = true;
    if (this.#jobs.size === 0) void this.end();
  }

  /** Ends the threads; the promise is fulfilled when they have ended. */
  end(): Promise<void> {
    this.crew.dismiss(this);
    return this.#piscina.destroy();
  }

  /** piscina gives up when threads do not even start. */
  #review(): void {
    const trouble = this.#trouble;
    this.#trouble = undefined;
    if (this.size === 0 && this.#jobs.size > 0) {
      for (const job of this.jobs)
        this.crew.fail(job, new WorkerLost(trouble ?? new Error('no thread can be started')));
    } else if (trouble !== undefined) {
      getHub().report(this.crew.pool, trouble);
    }
  }
}

// ---- jobs

export const enum State {
  New,
  /** Until a thread is free. */
  Waiting,
  Running,
  Done,
}

/** One call of a function in a worker thread. */
export abstract class Job extends Entry implements Wait, Stoppable {
  readonly message: JobMessage;
  readonly transferList: object[] | undefined;
  state = State.New;
  /** Who is parked until it begins. */
  #spawner: Runnable | null = null;
  /** Ends it where piscina has it. */
  #stop: (() => void) | null = null;
  /** Whether it goes on though nobody waits for it. */
  #abandoned = false;

  /**
   * @param call - the call that it is for, for errors and reports
   * @param keep - whether it goes on when nobody waits for it any more
   */
  constructor(
    protected readonly crew: Crew,
    readonly call: string,
    task: Task,
    args: readonly unknown[],
    private readonly keep: boolean,
  ) {
    super();
    const { values, transferList } = separate(args);
    this.message = { task, args: values };
    this.transferList = transferList;
  }

  /** Takes the outcome. Must neither throw nor park. */
  protected abstract deliver(successful: boolean, outcome: unknown): void;

  /** A thread is free. */
  notify(): void {
    this.crew.begin(this);
    this.#wakeSpawner();
  }

  #wakeSpawner(): void {
    const spawner = this.#spawner;
    this.#spawner = null;
    if (spawner !== null) wake(spawner, this);
  }

  /** Parks the current greenlet until it begins. */
  waitForBegin(spawner: Runnable): void {
    this.#spawner = spawner;
    park(this.call, this);
  }

  /** It has come to its end. */
  settle(successful: boolean, outcome: unknown): void {
    this.#wakeSpawner();
    if (!this.#abandoned) this.deliver(successful, outcome);
    else if (!successful && !(outcome instanceof JobAborted)) getHub().report(this.crew.pool, outcome);
  }

  /** Nobody waits for it any more. */
  override cancel(): void {
    if (this.state === State.Waiting) this.crew.withdraw(this);
    else if (this.state !== State.Running) return;
    else if (this.keep) this.#abandoned = true;
    else this.crew.abort(this);
  }

  /** Ends it where piscina has it: in its queue, or in a thread, which ends too. */
  stop(): void {
    this.#stop?.();
  }

  addEventListener(_name: 'abort', listener: () => void): void {
    this.#stop = listener;
  }

  removeEventListener(): void {
    this.#stop = null;
  }

  describe(): string {
    return this.call;
  }
}

/** Gives up several jobs: at first those that have not begun, so that they do not take the places of the others. */
export function cancelAll(jobs: Iterable<Job>): void {
  for (const job of jobs) if (job.state === State.Waiting) job.cancel();
  for (const job of jobs) job.cancel();
}

/** All jobs and threads of one pool: who runs, who waits. */
export class Crew {
  /** Jobs, and greenlets in `waitAvailable`. */
  readonly waiting = new WaitQueue();
  /** Jobs that wait or run. */
  unfinished = 0;
  running = 0;
  #maxSize: number;
  /** Those for the next job. */
  #threads: Threads | null = null;
  /** Those, and others that end after the jobs they have. */
  readonly #all = new Set<Threads>();

  constructor(
    readonly pool: Linkable,
    maxSize: number,
    private readonly options: object,
  ) {
    this.#maxSize = maxSize;
  }

  get maxSize(): number {
    return this.#maxSize;
  }

  set maxSize(maxSize: number) {
    if (maxSize === this.#maxSize) return;
    this.#maxSize = maxSize;
    // piscina cannot change it. Jobs that run go on where they are.
    this.#threads?.retire();
    this.#threads = null;
    this.#admit();
  }

  /** How many threads there are. */
  get size(): number {
    let size = 0;
    for (const threads of this.#all) size += threads.size;
    return size;
  }

  get full(): boolean {
    return this.running >= this.#maxSize;
  }

  /** Begins a job, or puts it at the end of those who wait. */
  submit(job: Job): void {
    this.unfinished++;
    if (this.full) {
      job.state = State.Waiting;
      this.waiting.push(job);
    } else {
      this.begin(job);
    }
  }

  /** Begins a job; parks as long as no thread is free. */
  submitAndWait(job: Job): void {
    const spawner = this.full ? requireGreenlet(job.call) : null;
    this.submit(job);
    if (spawner !== null) job.waitForBegin(spawner);
  }

  begin(job: Job): void {
    job.state = State.Running;
    this.running++;
    if (this.#threads === null) {
      this.#threads = new Threads(this, this.#maxSize, this.options);
      this.#all.add(this.#threads);
    }
    void this.#threads.run(job);
  }

  /** A job that runs has come to its end. */
  settle(job: Job, successful: boolean, outcome: unknown): void {
    if (job.state !== State.Running) return;
    this.#leave(job);
    job.settle(successful, outcome);
    this.#notifyIdle();
  }

  /** A job that runs cannot go on. */
  fail(job: Job, error: unknown): void {
    job.stop();
    this.settle(job, false, error);
  }

  /** Ends a job that runs, and its thread. */
  abort(job: Job): void {
    job.stop();
    this.#leave(job);
    this.#notifyIdle();
  }

  /** Takes out a job that has not begun. */
  withdraw(job: Job): void {
    this.waiting.remove(job);
    job.state = State.Done;
    this.unfinished--;
    this.#notifyIdle();
  }

  /** Ends everything; the promise is fulfilled when the threads have ended. */
  kill(): Promise<unknown> {
    const all = [...this.#all];
    const jobs = all.flatMap((threads) => threads.jobs).filter(({ state }) => state === State.Running);
    for (let entry = this.waiting.shift(); entry !== null; entry = this.waiting.shift()) {
      if (entry instanceof Job) jobs.push(entry);
      else entry.notify();
    }
    this.#threads = null;
    const ends = all.map((threads) => threads.end());
    this.running = this.unfinished = 0;
    // First all of them: who is told about one may give up others.
    for (const job of jobs) job.state = State.Done;
    for (const job of jobs) job.settle(false, new JobAborted());
    this.#notifyIdle();
    return Promise.all(ends);
  }

  /** Forgets threads that end. */
  dismiss(threads: Threads): void {
    this.#all.delete(threads);
  }

  /** A job has ended: before anything else, its place is taken by who has waited longest. */
  #leave(job: Job): void {
    job.state = State.Done;
    this.running--;
    this.unfinished--;
    this.#admit();
  }

  #admit(): void {
    while (!this.full && this.waiting.occupied) this.waiting.shift()?.notify();
  }

  #notifyIdle(): void {
    if (this.unfinished === 0) this.pool._waiting.notifyAll();
  }
}
