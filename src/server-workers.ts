/**
 * Servers in several processes.
 *
 * The first process, the primary, binds and listens; it starts the running program anew, and hands the listening socket down to
 * each as a descriptor. In there the same server finds that it is a worker, and takes connections from the one queue that the
 * system keeps for all. So a port that the system has chosen and Unix-domain paths are what they are with one process, who is idle
 * takes the next connection, and when a worker dies, what waits in the queue is taken by the others.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { isMainThread } from 'node:worker_threads';

import { GreenstackError, named } from './errors.js';
import { checkCount } from './checks.js';
import { Event } from './event.js';
import { getHub } from './hub.js';
import type { Socket } from './socket.js';

/** Reported when a process of a server's has ended that was not told to; it is started anew. */
export class ServerWorkerDied extends GreenstackError {
  constructor(message: string) {
    super('ERR_GREENSTACK_SERVER_WORKER_DIED', message);
  }

  static {
    named(this, 'ServerWorkerDied');
  }
}

/** What a process is for a server. */
export const enum Role {
  /** It starts the workers. */
  Primary,
  Worker,
  /** A worker of another server of the program. */
  Bystander,
}

/** What a worker is told. */
type Message = { greenstack: 'accept' | 'pause' };

/** Tells a worker which of the program's servers it works for, counted in the order in which they are made. */
const VARIABLE = 'GREENSTACK_SERVER_WORKER';
/** Where a worker finds the listening socket, after standard streams and the channel to the primary. */
const DESCRIPTOR = 4;

/** How long a new start waits, in ms, and how long a worker must live for it to begin small again. */
const MIN_RESTART_DELAY = 100;
const MAX_RESTART_DELAY = 10_000;
const LONG_LIFE = 10_000;

const own = process.env[VARIABLE];
// What this process starts is no worker.
delete process.env[VARIABLE];

let servers = 0;

/** What workers are told to do. */
export interface Worked {
  startAccepting(): void;
  stopAccepting(): void;
}

/** The processes of one server. */
export class Workers {
  /** The listening socket, in a worker. */
  static readonly descriptor = DESCRIPTOR;

  readonly role: Role;
  readonly #ordinal: string;
  readonly #count: number;
  readonly #server: Worked;
  readonly #running = new Set<ChildProcess>();
  readonly #restarts = new Set<NodeJS.Timeout>();
  readonly #gone = new Event();
  #socket: Socket | null = null;
  #accepting = true;
  #delay = MIN_RESTART_DELAY;

  constructor(call: string, count: number, server: Worked) {
    this.#count = checkCount(`${call}: workers`, count, 1);
    if (!isMainThread) throw new TypeError(`${call}: workers are started by the main thread only`);
    this.#server = server;
    this.#ordinal = String(servers++);
    this.role = own === undefined ? Role.Primary : own === this.#ordinal ? Role.Worker : Role.Bystander;
    if (this.role === Role.Primary && process.argv[1] === undefined)
      throw new TypeError(`${call}: workers run the program anew, and this one is in no file`);
  }

  /** The numbers of those that run. */
  get pids(): number[] {
    return [...this.#running].flatMap(({ pid }) => pid ?? []);
  }

  /** Starts the workers; in one of them, begins to listen to the primary. */
  start(socket: Socket | null): void {
    if (this.role === Role.Worker) this.#obey();
    if (this.role !== Role.Primary) return;
    this.#socket = socket;
    this.#accepting = true;
    this.#delay = MIN_RESTART_DELAY;
    for (let left = this.#count; left > 0; left--) this.#fork();
  }

  #obey(): void {
    process.on('message', ({ greenstack }: Message) => {
      if (greenstack === 'accept') this.#server.startAccepting();
      if (greenstack === 'pause') this.#server.stopAccepting();
    });
    // Without a primary there is nobody to stop it.
    process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
    process.channel?.unref();
  }

  /** Lets workers take connections, or not. */
  setAccepting(accepting: boolean): void {
    this.#accepting = accepting;
    for (const worker of this.#running) this.#tell(worker);
  }

  #tell(worker: ChildProcess): void {
    const message: Message = { greenstack: this.#accepting ? 'accept' : 'pause' };
    // One that has just ended hears nothing.
    if (worker.connected) worker.send(message, () => {});
  }

  #fork(): void {
    const { fd } = this.#socket as Socket;
    const startedAt = performance.now();
    const worker = fork(process.argv[1] as string, process.argv.slice(2), {
      stdio: ['inherit', 'inherit', 'inherit', 'ipc', fd],
      env: { ...process.env, [VARIABLE]: this.#ordinal },
    });
    this.#running.add(worker);
    this.#gone.clear();
    if (!this.#accepting) this.#tell(worker);
    worker.on('error', (error) => this.#onEnd(worker, startedAt, `could not be started: ${error.message}`));
    worker.on('exit', (code, signal) =>
      this.#onEnd(worker, startedAt, `has ended ${signal === null ? `with code ${code}` : `by ${signal}`}`),
    );
  }

  #onEnd(worker: ChildProcess, startedAt: number, how: string): void {
    if (!this.#running.delete(worker)) return;
    if (this.#running.size === 0) this.#gone.set();
    if (this.#socket === null) return;
    if (performance.now() - startedAt >= LONG_LIFE) this.#delay = MIN_RESTART_DELAY;
    const delay = this.#delay;
    this.#delay = Math.min(MAX_RESTART_DELAY, delay * 2);
    const restart = setTimeout(() => {
      this.#restarts.delete(restart);
      // Not before: what has ended it may be about to end this process, too.
      const message = `worker ${worker.pid ?? ''} ${how}; another one is started after ${delay} ms`;
      getHub().report(this.#server, new ServerWorkerDied(message));
      this.#fork();
    }, delay);
    this.#restarts.add(restart);
  }

  /** Tells all workers to stop. */
  terminate(): void {
    this.#socket = null;
    for (const restart of this.#restarts) clearTimeout(restart);
    this.#restarts.clear();
    for (const worker of this.#running) worker.kill('SIGTERM');
  }

  /** Waits for the end of workers that were told to stop, and kills those that have not ended in time. */
  join(timeout: number): void {
    if (this.#running.size === 0) return;
    if (this.#gone.wait(timeout)) return;
    for (const worker of this.#running) worker.kill('SIGKILL');
    this.#gone.wait();
  }
}
