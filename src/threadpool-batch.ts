/** Many jobs of one call: what is behind `map` and `imap` of a `ThreadPool`. */
import { type RawGreenlet, spawnRaw } from './greenlet.js';
import { requireGreenlet, type Wait } from './hub.js';
import { DummySemaphore, type Holdable, Semaphore } from './lock.js';
import { UnboundQueue } from './queue.js';
import { cancelAll, type Crew, Job, JobAborted, State, thrownIn } from './threadpool-crew.js';
import type { Task } from './threadpool-worker.js';
import type { DisposableIterator } from './wait.js';
import { Linkable } from './wait-queue.js';

/** A job for one item of several. */
class ItemJob extends Job {
  constructor(
    crew: Crew,
    private readonly batch: { note(job: ItemJob, successful: boolean, outcome: unknown): void },
    readonly index: number,
    call: string,
    task: Task,
    args: readonly unknown[],
    keep: boolean,
  ) {
    super(crew, call, task, args, keep);
  }

  protected override deliver(successful: boolean, outcome: unknown): void {
    this.batch.note(this, successful, outcome);
  }
}

/** What a call for many items was told. */
export interface Batch {
  readonly call: string;
  readonly task: Task;
  readonly maxSize: number;
  readonly keep: boolean;
}

/** `map`: at any time it has at most as many jobs in the pool as that runs at once, so that others get their turn. */
export class Mapping implements Wait {
  readonly values: unknown[] = [];
  /** The first of the items that failed. */
  failure: { readonly index: number; readonly error: unknown } | null = null;
  readonly #live = new Set<ItemJob>();
  #next = 0;
  #over = false;

  constructor(
    private readonly crew: Crew,
    private readonly batch: Batch,
    private readonly items: readonly unknown[],
    private readonly onEnd: () => void,
  ) {
    this.values.length = items.length;
  }

  begin(): void {
    this.#fill();
    this.#endIfOver();
  }

  #fill(): void {
    const { call, task, maxSize, keep } = this.batch;
    while (this.#next < this.items.length && this.#live.size < Math.min(maxSize, this.crew.maxSize)) {
      const index = this.#next++;
      const job = new ItemJob(this.crew, this, index, call, task, [this.items[index]], keep);
      this.#live.add(job);
      this.crew.submit(job);
    }
  }

  note(job: ItemJob, successful: boolean, outcome: unknown): void {
    this.#live.delete(job);
    if (this.#over) return;
    if (successful) this.values[job.index] = outcome;
    else if (this.failure === null || job.index < this.failure.index) this.#fail(job.index, outcome);
    if (this.failure === null) this.#fill();
    this.#endIfOver();
  }

  /** Only what was before it is waited for: that may have failed, too. */
  #fail(index: number, error: unknown): void {
    this.failure = { index, error };
    for (const job of this.#live) {
      if (job.index < index || job.state !== State.Waiting) continue;
      job.cancel();
      this.#live.delete(job);
    }
  }

  #endIfOver(): void {
    const { failure } = this;
    const over =
      failure === null ? this.#live.size === 0 : [...this.#live].every(({ index }) => index > failure.index);
    if (!over) return;
    this.#over = true;
    this.onEnd();
  }

  cancel(): void {
    this.#over = true;
    this.#next = this.items.length;
    cancelAll(this.#live);
    this.#live.clear();
  }

  describe(): string {
    return this.batch.call;
  }
}

interface Outcome {
  readonly successful: boolean;
  readonly content: unknown;
}

/** `imap` and `imapUnordered`. A greenlet of its own takes the items and makes jobs of them. */
export class JobIterator<T> extends Linkable implements DisposableIterator<T> {
  /** How many more items may be taken. */
  readonly #room: Holdable;
  /** In the order in which they are to be taken. */
  readonly #outcomes = new UnboundQueue<Outcome>();
  readonly #taken = this.#outcomes[Symbol.iterator]();
  readonly #live = new Set<ItemJob>();
  /** What has come before its turn; `null`: there are no turns. */
  readonly #early: Map<number, Outcome> | null;
  #turn = 0;
  #next = 0;
  /** `null` when no more items are taken. */
  #feeder: RawGreenlet | null;

  constructor(
    private readonly crew: Crew,
    private readonly batch: Batch,
    ordered: boolean,
    rows: Iterable<unknown[]>,
  ) {
    super();
    this.#early = ordered ? new Map() : null;
    this.#room = batch.maxSize === Infinity ? new DummySemaphore() : new Semaphore(batch.maxSize);
    this.#feeder = spawnRaw(() => this.#feed(rows[Symbol.iterator]()));
  }

  #feed(rows: Iterator<unknown[]>): void {
    const { call, task, keep } = this.batch;
    try {
      while (this.#feeder !== null) {
        this.#room.acquire();
        const { done, value: row } = rows.next();
        if (done === true) break;
        this.#begin(new ItemJob(this.crew, this, this.#next, call, task, row, keep));
      }
    } catch (error) {
      // Of an iterable, or a kill; by `return`, then nobody wants to know.
      if (this.#feeder !== null) this.#put(this.#next, { successful: false, content: error });
    } finally {
      this.#feeder = null;
      this.#endIfOver();
      rows.return?.();
    }
  }

  /** Parks until there is a thread for it. */
  #begin(job: ItemJob): void {
    this.#live.add(job);
    try {
      this.crew.submitAndWait(job);
    } catch (error) {
      this.#live.delete(job);
      throw error;
    }
    this.#next++;
  }

  note(job: ItemJob, successful: boolean, outcome: unknown): void {
    this.#live.delete(job);
    this.#put(job.index, { successful, content: outcome });
    if (outcome instanceof JobAborted) this.#stopFeeding();
    this.#endIfOver();
  }

  #put(index: number, outcome: Outcome): void {
    if (this.#outcomes.isShutDown) return;
    if (this.#early === null) {
      this.#outcomes.put(outcome);
    } else {
      this.#early.set(index, outcome);
      for (let due = this.#early.get(this.#turn); due !== undefined; due = this.#early.get(this.#turn)) {
        this.#early.delete(this.#turn++);
        this.#outcomes.put(due);
      }
    }
    if (this.ready) this._waiting.notifyAll();
  }

  #stopFeeding(): void {
    const feeder = this.#feeder;
    this.#feeder = null;
    feeder?.kill();
  }

  #endIfOver(): void {
    if (this.#feeder !== null || this.#live.size > 0) return;
    this.#outcomes.shutdown();
    this._waiting.notifyAll();
  }

  /** Whether {@link next} would not wait. */
  get ready(): boolean {
    return this.#outcomes.ready;
  }

  /**
   * The next result. If something else ends the wait, such as a kill or a timeout, that ends the whole as by {@link return},
   * unless somebody else waits for it at that moment. Switches only if it must wait.
   */
  next(): IteratorResult<T, undefined> {
    if (!this.ready) requireGreenlet(`next() of ${this.batch.call}`);
    const { done, value: outcome } = this.#take();
    if (done === true) return { done, value: undefined };
    this.#room.release();
    if (!outcome.successful) throw thrownIn(this.next, outcome.content);
    return { done: false, value: outcome.content as T };
  }

  #take(): IteratorResult<Outcome, unknown> {
    try {
      return this.#taken.next();
    } catch (error) {
      // A loop does not call return() when it is next() that throws.
      if (!this.#outcomes._getters.occupied && !this._waiting.occupied) this.return();
      throw error;
    }
  }

  return(): IteratorResult<T, undefined> {
    this.#stopFeeding();
    cancelAll(this.#live);
    this.#live.clear();
    this.#outcomes.shutdown(true);
    this._waiting.notifyAll();
    return { done: true, value: undefined };
  }

  [Symbol.iterator](): this {
    return this;
  }

  [Symbol.dispose](): void {
    this.return();
  }
}
