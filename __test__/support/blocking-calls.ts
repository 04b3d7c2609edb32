/**
 * Every blocking call of the library, for `limits.spec.ts`: what is promised of all of them is tested for each.
 *
 * A part of the library that adds a blocking call adds an entry to one of the lists, or a list of its own to `blockingCalls`:
 *
 * - `name`: as the call is written; it begins the titles of the tests.
 * - `onTimeout`: how the call's own timeout shows.
 * - `situation`: sets up what the call waits for, such that it has to wait; it may switch. What it returns has `call`, which
 *   makes the call, `end`, which lets it end as it should, and `result`, which it returns then. `left` counts what a wait
 *   leaves in the object while it lasts. The tests make several calls, then let the last one end.
 * - `forms`: which limits the call takes, if not all.
 * - `where`: `'greenlets'` if the call has to be made in a greenlet even when it need not wait.
 */
import { EventEmitter } from 'node:events';
import { TLSSocket } from 'node:tls';
import {
  getHub,
  Greenlet,
  idle,
  iwait,
  joinAll,
  killAll,
  type LimitOptions,
  type Limits,
  on,
  once,
  sleep,
  spawn,
  TaskGroup,
  Timeout,
  wait,
  Waiter,
  waitFor,
} from 'greenstack';
import { getAddrInfo, getFqdn, getHostByAddr, getHostByName, getNameInfo, Resolver } from 'greenstack/dns';
import { AsyncResult, Event } from 'greenstack/event';
import { fetch, type HttpRequest, HttpServer } from 'greenstack/http';
import { BoundedSemaphore, Condition, Lock, RLock, Semaphore } from 'greenstack/lock';
import { Group, Pool, PoolFull } from 'greenstack/pool';
import {
  Channel,
  Empty,
  Full,
  LifoQueue,
  PriorityQueue,
  Queue,
  SimpleQueue,
  UnboundQueue,
} from 'greenstack/queue';
import { StreamServer } from 'greenstack/server';
import { poll, POLLIN, select, Selector } from 'greenstack/select';
import {
  createConnection,
  createServer,
  Socket,
  type SocketFile,
  socketPair,
  waitRead,
  waitReadWrite,
  waitWrite,
} from 'greenstack/socket';
import { ThreadPool } from 'greenstack/threadpool';
import { connect, type TlsSocket, wrapSocket } from 'greenstack/tls';
import { pki } from './certificates.js';
import { nameserver } from './dns-server.js';
import { Gate, stubbornUntil } from './greenlets.js';
import { hold, Latch } from './latch.js';
import { listen, silent, unreachable } from './servers.js';
import { freshName } from './transports.js';
import { listenNode, trusting } from './tls.js';

/** How a timeout shows: by a value that is returned, or by an error. A `Timeout` that was passed is thrown itself then. */
export type Shows = { readonly returns: unknown } | { readonly throws: (error: unknown) => boolean };

/**
 * A form in which limits are passed: a bare time or `Timeout`; in an object, which takes a `timeout`, `block: false` and a
 * `signal`.
 */
export type Form = 'bare' | 'timeout' | 'block' | 'signal';

export interface Situation {
  call(limits?: Limits): unknown;
  end?(): void;
  readonly result?: unknown;
  left?(): number;
  /** Takes down what was set up; may switch. */
  close?(): void;
}

export interface BlockingCall {
  readonly name: string;
  readonly onTimeout: Shows;
  readonly situation: () => Situation;
  readonly forms?: readonly Form[];
  readonly where?: 'greenlets';
}

/** Limits as calls have them that take them among their options. */
type Options = LimitOptions & { signal?: AbortSignal };

const returns = (value: unknown): Shows => ({ returns: value });
const throwsInstance = (errorClass: abstract new (...args: never[]) => unknown): Shows => ({
  throws: (error) => error instanceof errorClass,
});
const throwsCode = (code: string): Shows => ({
  throws: (error) => (error as NodeJS.ErrnoException).code === code,
});
const throwsTimeout = throwsInstance(Timeout);

/** What the description of an object says about how many wait. */
function waitingIn(object: object): number {
  return [...String(object).matchAll(/(\d+) (?:waiting|to put)/g)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
}

// Greenlets, and waiting for several things

const untilWaited: readonly Form[] = ['timeout', 'signal'];

/** A greenlet that ends, with a text, when the gate is open. */
function endsWith(gate: Gate): Greenlet<string> {
  return spawn(() => {
    gate.pass();
    return 'the end';
  });
}

/** A wait for the end of a greenlet. */
function forGreenlet(
  call: (greenlet: Greenlet<string>, limits: Limits) => unknown,
  result: (greenlet: Greenlet<string>) => unknown,
): () => Situation {
  return () => {
    const gate = new Gate();
    const greenlet = endsWith(gate);
    return {
      call: (limits) => call(greenlet, limits),
      end: () => gate.open(),
      result: result(greenlet),
      left: () => Number(greenlet.hasLinks()),
      close() {
        gate.open();
        greenlet.join();
      },
    };
  };
}

/** A wait for an event of an emitter, which emits it again for whoever comes too late. */
function forEvent(call: (emitter: EventEmitter, limits: Limits) => unknown): () => Situation {
  return () => {
    const emitter = new EventEmitter();
    const emit = (): unknown => emitter.emit('event', 'it');
    return {
      call: (limits) => call(emitter, limits),
      end() {
        emit();
        emitter.on('newListener', () => setImmediate(emit));
      },
      result: ['it'],
      left: () => emitter.listenerCount('event') + emitter.listenerCount('error'),
    };
  };
}

/** A wait for the end of a greenlet that was killed and does not care. */
function forStubborn(call: (greenlet: Greenlet<void>, limits: Limits) => unknown): () => Situation {
  return () => {
    const gate = new Gate();
    const stubborn = stubbornUntil(gate);
    return {
      call: (limits) => call(stubborn, limits),
      end: () => gate.open(),
      left: () => Number(stubborn.hasLinks()),
      close() {
        gate.open();
        stubborn.join();
      },
    };
  };
}

const greenlets: BlockingCall[] = [
  {
    name: 'Greenlet.join()',
    onTimeout: returns(undefined),
    situation: forGreenlet(
      (greenlet, limits) => greenlet.join(limits),
      () => undefined,
    ),
  },
  {
    name: 'Greenlet.get()',
    onTimeout: throwsTimeout,
    situation: forGreenlet(
      (greenlet, limits) => greenlet.get(limits),
      () => 'the end',
    ),
  },
  {
    name: 'Greenlet.kill()',
    onTimeout: returns(undefined),
    situation: forStubborn((greenlet, limits) => greenlet.kill(undefined, limits)),
  },
  {
    name: 'killAll()',
    onTimeout: throwsTimeout,
    forms: ['timeout'],
    situation: forStubborn((greenlet, limits) => killAll([greenlet], limits as object)),
  },
  {
    name: 'joinAll()',
    onTimeout: returns([]),
    forms: untilWaited,
    situation: forGreenlet(
      (greenlet, limits) => joinAll([greenlet], limits as Options),
      (greenlet) => [greenlet],
    ),
  },
  {
    name: 'wait() for objects',
    onTimeout: returns([]),
    forms: untilWaited,
    situation: forGreenlet(
      (greenlet, limits) => wait([greenlet], limits as Options),
      (greenlet) => [greenlet],
    ),
  },
  {
    name: 'iwait()',
    onTimeout: returns([]),
    forms: untilWaited,
    situation: forGreenlet(
      (greenlet, limits) => [...iwait([greenlet], limits as Options)],
      (greenlet) => [greenlet],
    ),
  },
];

// The hub, time and promises

const hub: BlockingCall[] = [
  {
    name: 'Hub.join()',
    onTimeout: returns(false),
    where: 'greenlets',
    situation: () => ({ call: (limits) => getHub().join(limits) }),
  },
  {
    name: 'wait() for nothing in particular',
    onTimeout: returns(false),
    forms: ['timeout', 'block', 'signal'],
    where: 'greenlets',
    situation: () => ({ call: (limits) => wait(null, limits as Options) }),
  },
  {
    name: 'sleep()',
    onTimeout: returns(undefined),
    forms: ['signal'],
    where: 'greenlets',
    situation: () => ({ call: (limits) => sleep(3_600_000, limits as Options) }),
  },
  {
    name: 'idle()',
    onTimeout: returns(undefined),
    forms: [],
    where: 'greenlets',
    situation() {
      let isBusy = true;
      const busy = spawn(() => {
        while (isBusy) sleep(0);
      });
      const end = () => {
        isBusy = false;
      };
      return {
        call: () => idle(),
        end,
        close() {
          end();
          busy.join();
        },
      };
    },
  },
  {
    name: 'waitFor()',
    onTimeout: throwsTimeout,
    where: 'greenlets',
    situation() {
      let resolve!: (value: string) => void;
      const promise = new Promise<string>((settle) => {
        resolve = settle;
      });
      return { call: (limits) => waitFor(promise, limits), end: () => resolve('kept'), result: 'kept' };
    },
  },
  {
    name: 'waitFor() of a function',
    onTimeout: throwsTimeout,
    where: 'greenlets',
    situation() {
      let resolve!: (value: string) => void;
      const promise = new Promise<string>((settle) => {
        resolve = settle;
      });
      return { call: (limits) => waitFor(() => promise, limits), end: () => resolve('kept'), result: 'kept' };
    },
  },
  {
    name: 'once()',
    onTimeout: throwsTimeout,
    where: 'greenlets',
    situation: forEvent((emitter, limits) => once(emitter, 'event', limits)),
  },
  {
    name: 'on().next()',
    onTimeout: throwsTimeout,
    forms: ['timeout', 'block', 'signal'],
    where: 'greenlets',
    situation: forEvent((emitter, limits) => on(emitter, 'event', limits as Options).next().value),
  },
  {
    name: 'Waiter.get()',
    onTimeout: throwsTimeout,
    forms: [],
    situation() {
      const waiter = new Waiter<string>();
      return { call: () => waiter.get(), end: () => waiter.switch('handed over'), result: 'handed over' };
    },
  },
];

// Events and locks

function forResult(call: (result: AsyncResult<string>, limits: Limits) => unknown): () => Situation {
  return () => {
    const result = new AsyncResult<string>();
    return {
      call: (limits) => call(result, limits),
      end: () => result.set('the result'),
      result: 'the result',
      left: () => result.linkCount,
    };
  };
}

/** A wait for a semaphore without a permit. */
function forSemaphore<S extends Semaphore>(
  make: () => S,
  call: (semaphore: S, limits: Limits) => unknown,
  result: unknown,
): () => Situation {
  return () => {
    const semaphore = make();
    while (!semaphore.locked) semaphore.acquire();
    return {
      call: (limits) => call(semaphore, limits),
      end: () => semaphore.release(),
      result,
      left: () => semaphore.linkCount,
    };
  };
}

/** A wait of whoever holds the lock of a condition. */
function forCondition(
  lock: RLock | Semaphore,
  call: (condition: Condition, limits: Limits, isOver: () => boolean) => unknown,
): () => Situation {
  return () => {
    const condition = new Condition(lock);
    let isOver = false;
    return {
      call: (limits) => condition.with(() => call(condition, limits, () => isOver)),
      end: () =>
        condition.with(() => {
          isOver = true;
          condition.notify();
        }),
      result: true,
      left: () => waitingIn(condition) + lock.linkCount + Number(lock.locked),
    };
  };
}

const acquire = (lock: Semaphore, limits: Limits) => lock.acquire(limits);

const eventsAndLocks: BlockingCall[] = [
  {
    name: 'Event.wait()',
    onTimeout: returns(false),
    situation() {
      const event = new Event();
      return {
        call: (limits) => event.wait(limits),
        end: () => event.set(),
        result: true,
        left: () => event.linkCount,
      };
    },
  },
  {
    name: 'AsyncResult.get()',
    onTimeout: throwsTimeout,
    situation: forResult((result, limits) => result.get(limits)),
  },
  {
    name: 'AsyncResult.result()',
    onTimeout: throwsTimeout,
    situation: forResult((result, limits) => result.result(limits)),
  },
  {
    name: 'AsyncResult.wait()',
    onTimeout: returns(undefined),
    situation: forResult((result, limits) => result.wait(limits)),
  },
  {
    name: 'Semaphore.acquire()',
    onTimeout: returns(false),
    situation: forSemaphore(() => new Semaphore(), acquire, true),
  },
  {
    name: 'Semaphore.wait()',
    onTimeout: returns(0),
    situation: forSemaphore(
      () => new Semaphore(),
      (semaphore, limits) => semaphore.wait(limits),
      1,
    ),
  },
  {
    name: 'Semaphore.hold()',
    onTimeout: throwsTimeout,
    situation: forSemaphore(
      () => new Semaphore(),
      (semaphore, limits) => {
        using _held = semaphore.hold(limits);
        return 'held';
      },
      'held',
    ),
  },
  {
    name: 'Semaphore.with()',
    onTimeout: throwsTimeout,
    situation: forSemaphore(
      () => new Semaphore(),
      (semaphore, limits) => semaphore.with(() => 'held', limits),
      'held',
    ),
  },
  {
    name: 'BoundedSemaphore.acquire()',
    onTimeout: returns(false),
    situation: forSemaphore(() => new BoundedSemaphore(2), acquire, true),
  },
  {
    name: 'Lock.acquire()',
    onTimeout: returns(false),
    situation: forSemaphore(() => new Lock(), acquire, true),
  },
  {
    name: 'RLock.acquire()',
    onTimeout: returns(false),
    situation() {
      const lock = new RLock();
      const gate = new Gate();
      const owner = spawn(() => lock.with(() => gate.pass()));
      sleep(0);
      return {
        call: (limits) => lock.acquire(limits),
        end: () => gate.open(),
        result: true,
        left: () => lock.linkCount,
        close() {
          gate.open();
          owner.join();
        },
      };
    },
  },
  {
    name: 'Condition.wait() with an RLock',
    onTimeout: returns(false),
    situation: forCondition(new RLock(), (condition, limits) => condition.wait(limits)),
  },
  {
    name: 'Condition.wait() with a Lock',
    onTimeout: returns(false),
    situation: forCondition(new Lock(), (condition, limits) => condition.wait(limits)),
  },
  {
    name: 'Condition.waitFor()',
    onTimeout: returns(false),
    situation: forCondition(new RLock(), (condition, limits, isOver) => condition.waitFor(isOver, limits)),
  },
];

// Queues

type AnyQueue = SimpleQueue<string> | Channel<string>;

function taking<Q extends AnyQueue>(
  queue: () => Q,
  call: (queue: Q, limits: Limits) => unknown,
): () => Situation {
  return () => {
    const source = queue();
    return {
      call: (limits) => call(source, limits),
      end: () => source.putNowait('an item'),
      result: 'an item',
      left: () => waitingIn(source),
    };
  };
}

/** A wait for room, or for somebody who takes the item. */
function putting(queue: () => AnyQueue): () => Situation {
  return () => {
    const target = queue();
    return {
      call: (limits) => target.put('another item', limits),
      end: () => void target.getNowait(),
      left: () => waitingIn(target),
    };
  };
}

const get = (queue: AnyQueue, limits: Limits) => queue.get(limits);
const next = (queue: AnyQueue) => queue[Symbol.iterator]().next().value;

const queues: BlockingCall[] = [
  {
    name: 'SimpleQueue.get()',
    onTimeout: throwsInstance(Empty),
    situation: taking(() => new SimpleQueue<string>(), get),
  },
  {
    name: 'SimpleQueue.put()',
    onTimeout: throwsInstance(Full),
    situation: putting(() => new SimpleQueue(1, ['an item'])),
  },
  {
    name: 'Queue.get()',
    onTimeout: throwsInstance(Empty),
    situation: taking(() => new Queue<string>(), get),
  },
  {
    name: 'Queue.peek()',
    onTimeout: throwsInstance(Empty),
    situation: taking(
      () => new Queue<string>(),
      (queue, limits) => queue.peek(limits),
    ),
  },
  {
    name: 'Queue.put()',
    onTimeout: throwsInstance(Full),
    situation: putting(() => new Queue(1, ['an item'])),
  },
  {
    name: 'Queue.join()',
    onTimeout: returns(false),
    situation() {
      const queue = new Queue(null, ['a task']);
      return { call: (limits) => queue.join(limits), end: () => queue.taskDone(), result: true };
    },
  },
  {
    name: 'a step of iterating a Queue',
    onTimeout: throwsInstance(Empty),
    forms: [],
    situation: taking(() => new Queue<string>(), next),
  },
  {
    name: 'UnboundQueue.get()',
    onTimeout: throwsInstance(Empty),
    situation: taking(() => new UnboundQueue<string>(), get),
  },
  {
    name: 'LifoQueue.get()',
    onTimeout: throwsInstance(Empty),
    situation: taking(() => new LifoQueue<string>(), get),
  },
  {
    name: 'PriorityQueue.get()',
    onTimeout: throwsInstance(Empty),
    situation: taking(() => new PriorityQueue<string>(), get),
  },
  {
    name: 'PriorityQueue.put()',
    onTimeout: throwsInstance(Full),
    situation: putting(() => new PriorityQueue(1, ['an item'])),
  },
  {
    name: 'Channel.get()',
    onTimeout: throwsInstance(Empty),
    situation: taking(() => new Channel<string>(), get),
  },
  {
    name: 'Channel.put()',
    onTimeout: throwsInstance(Full),
    situation: putting(() => new Channel()),
  },
  {
    name: 'a step of iterating a Channel',
    onTimeout: throwsInstance(Empty),
    forms: [],
    situation: taking(() => new Channel<string>(), next),
  },
];

// Pools and groups

/** A call of a group whose only greenlet ends when the gate is open. */
function ofGroup<G extends Group>(
  make: () => G,
  call: (group: G, limits: Limits, gate: Gate) => unknown,
  result?: unknown,
): () => Situation {
  return () => {
    const group = make();
    const gate = new Gate();
    group.spawn(() => gate.pass());
    return {
      call: (limits) => call(group, limits, gate),
      end: () => gate.open(),
      result,
      left: () => group.linkCount,
      close() {
        gate.open();
        group.kill();
      },
    };
  };
}

/** As {@link ofGroup}, for a group of greenlets that do not care for kills; each call is about another one. */
function ofStubborn(call: (group: Group, next: Greenlet<void>, limits: Limits) => unknown): () => Situation {
  return () => {
    const gate = new Gate();
    const stubborn = Array.from({ length: 20 }, () => stubbornUntil(gate));
    const group = new Group(...stubborn);
    let calls = 0;
    return {
      call: (limits) => call(group, stubborn[calls++]!, limits),
      end: () => gate.open(),
      left: () => group.linkCount,
      close() {
        gate.open();
        group.join();
      },
    };
  };
}

function untilOpen(gate: Gate): string {
  gate.pass();
  return 'done';
}

const inOptions: readonly Form[] = ['timeout', 'block', 'signal'];

const pools: BlockingCall[] = [
  {
    name: 'Pool.spawn()',
    onTimeout: throwsInstance(PoolFull),
    forms: [],
    situation: ofGroup(
      () => new Pool(1),
      (pool) => pool.spawn(() => {}) instanceof Greenlet,
      true,
    ),
  },
  {
    name: 'Pool.add()',
    onTimeout: throwsInstance(PoolFull),
    situation: ofGroup(
      () => new Pool(1),
      (pool, limits) => pool.add(new Greenlet(() => {}), limits),
    ),
  },
  {
    name: 'Pool.start()',
    onTimeout: throwsInstance(PoolFull),
    situation: ofGroup(
      () => new Pool(1),
      (pool, limits) => pool.start(new Greenlet(() => {}), limits),
    ),
  },
  {
    name: 'Pool.waitAvailable()',
    onTimeout: returns(0),
    situation: ofGroup(
      () => new Pool(1),
      (pool, limits) => pool.waitAvailable(limits),
      1,
    ),
  },
  {
    name: 'Pool.join()',
    onTimeout: returns(false),
    situation: ofGroup(
      () => new Pool(1),
      (pool, limits) => pool.join(limits),
      true,
    ),
  },
  {
    name: 'Group.join()',
    onTimeout: returns(false),
    situation: ofGroup(
      () => new Group(),
      (group, limits) => group.join(limits),
      true,
    ),
  },
  {
    name: 'Group.kill()',
    onTimeout: returns(undefined),
    situation: ofStubborn((group, _next, limits) => group.kill(undefined, limits)),
  },
  {
    name: 'Group.killOne()',
    onTimeout: returns(undefined),
    situation: ofStubborn((group, next, limits) => group.killOne(next, undefined, limits)),
  },
  {
    name: 'Group.apply()',
    onTimeout: throwsTimeout,
    situation: ofGroup(
      () => new Group(),
      (group, limits, gate) => group.apply(untilOpen, [gate], limits),
      'done',
    ),
  },
  {
    name: 'Pool.apply() without room',
    onTimeout: throwsTimeout,
    situation: ofGroup(
      () => new Pool(1),
      (pool, limits, gate) => pool.apply(untilOpen, [gate], limits),
      'done',
    ),
  },
  {
    name: 'Group.map()',
    onTimeout: throwsTimeout,
    forms: inOptions,
    where: 'greenlets',
    situation: ofGroup(
      () => new Group(),
      (group, limits, gate) => group.map(untilOpen, [gate], limits as Options),
      ['done'],
    ),
  },
  {
    name: 'a step of Group.imap()',
    onTimeout: throwsTimeout,
    forms: [],
    situation() {
      const gate = new Gate();
      const imap = new Group().imap(untilOpen, [gate]);
      // Without an end: whatever ends the wait ends the iteration.
      return {
        call: () => imap.next().value,
        left: () => imap.linkCount,
        close: () => void imap.return(),
      };
    },
  },
  {
    name: 'TaskGroup.run()',
    onTimeout: throwsTimeout,
    forms: untilWaited,
    where: 'greenlets',
    situation() {
      const gate = new Gate();
      return {
        call: (limits) =>
          TaskGroup.run((group) => {
            group.spawn(() => gate.pass());
            return 'left';
          }, limits as Options),
        end: () => gate.open(),
        result: 'left',
      };
    },
  },
];

// Threads

/** A call of a pool whose only thread is busy until the end. */
function ofThreadPool(
  call: (pool: ThreadPool, limits: Limits, flags: Int32Array) => unknown,
  result: unknown,
): () => Situation {
  return () => {
    const pool = new ThreadPool(1);
    const latch = new Latch();
    pool.submit(hold, latch.flags);
    return {
      call: (limits) => call(pool, limits, latch.flags),
      end: () => latch.open(),
      result,
      left: () => pool.count + pool.linkCount,
      close() {
        latch.open();
        pool.kill();
      },
    };
  };
}

const threads: BlockingCall[] = [
  {
    name: 'ThreadPool.join()',
    onTimeout: returns(false),
    situation: ofThreadPool((pool, limits) => pool.join(limits), true),
  },
  {
    name: 'ThreadPool.waitAvailable()',
    onTimeout: returns(0),
    situation: ofThreadPool((pool, limits) => pool.waitAvailable(limits), 1),
  },
  {
    name: 'ThreadPool.spawn()',
    onTimeout: throwsTimeout,
    forms: [],
    situation: ofThreadPool((pool, _limits, flags) => pool.spawn(hold, flags) instanceof AsyncResult, true),
  },
  {
    name: 'ThreadPool.apply()',
    onTimeout: throwsTimeout,
    situation: ofThreadPool((pool, limits, flags) => pool.apply(hold, [flags, 'done'], limits), 'done'),
  },
  {
    name: 'ThreadPool.map()',
    onTimeout: throwsTimeout,
    situation: ofThreadPool((pool, limits, flags) => pool.map(hold, [flags], limits), [undefined]),
  },
  {
    name: 'a step of ThreadPool.imap()',
    onTimeout: throwsTimeout,
    forms: [],
    situation() {
      const pool = new ThreadPool(1);
      const latch = new Latch();
      const imap = pool.imap((flags: Int32Array) => Atomics.wait(flags, 1, 0), [latch.flags]);
      // Without an end: whatever ends the wait ends the iteration.
      return {
        call: () => imap.next(),
        left: () => imap.linkCount,
        close() {
          latch.open();
          pool.kill();
        },
      };
    },
  },
];

// Sockets and names

/** A call of a socket whose peer does nothing before the end. */
function onSocket(
  call: (socket: Socket, limits: Limits) => unknown,
  result: unknown,
  prepare: (socket: Socket) => void = () => {},
): () => Situation {
  return () => {
    let peer: import('node:net').Socket | undefined;
    const server = listen((socket) => {
      silent(socket);
      peer = socket;
    });
    const socket = createConnection(server.address);
    while (peer === undefined) idle();
    prepare(socket);
    return {
      call: (limits) => call(socket, limits),
      end() {
        peer!.resume();
        peer!.write('hello');
      },
      result,
      close() {
        socket.close();
        server[Symbol.dispose]();
      },
    };
  };
}

/** Sends until nothing more fits into the buffers of the system, on either side. */
function fill(socket: Socket | TlsSocket): void {
  const bytes = Buffer.alloc(1 << 20);
  for (;;) {
    try {
      socket.sendAll(bytes, 20);
    } catch {
      return;
    }
  }
}

const socketTimeout = throwsCode('ETIMEDOUT');

/** A call that asks a name server which is silent. */
function onResolver(
  name: string,
  call: (resolver: Resolver, limits: Limits) => unknown,
  forms?: readonly Form[],
): BlockingCall {
  return {
    name,
    onTimeout: throwsCode('ETIMEOUT'),
    ...(forms && { forms }),
    where: 'greenlets',
    situation() {
      const names = nameserver(() => undefined);
      const resolver = new Resolver({ nameservers: [names.address], hosts: false });
      return {
        call: (limits) => call(resolver, limits),
        left: () => getHub().stats().lookups,
        close() {
          resolver.close();
          names[Symbol.dispose]();
        },
      };
    },
  };
}

/** A call of an encrypted socket whose peer does nothing before the end. */
function onTls(
  call: (socket: TlsSocket, limits: Limits) => unknown,
  result: unknown,
  options: { prepare?: (socket: TlsSocket) => void; end?: (peer: TLSSocket) => void } = {},
): () => Situation {
  const { prepare = () => {}, end = (peer) => peer.write('hello') } = options;
  return () => {
    let peer: TLSSocket | undefined;
    const server = listenNode(pki.server(), (socket) => (peer = socket.pause()));
    const socket = connect(server.port, trusting());
    while (peer === undefined) idle();
    prepare(socket);
    return {
      call: (limits) => call(socket, limits),
      end() {
        peer!.resume();
        end(peer!);
      },
      result,
      close() {
        socket.close();
        server[Symbol.dispose]();
      },
    };
  };
}

const encrypted: BlockingCall[] = [
  {
    name: 'connect() by TLS',
    onTimeout: socketTimeout,
    forms: inOptions,
    where: 'greenlets',
    situation() {
      const server = listen(silent);
      return {
        call: (limits) => connect(server.address, { ...trusting(), ...(limits as Options) }),
        left: () => getHub().stats().sockets,
        close: () => server[Symbol.dispose](),
      };
    },
  },
  {
    name: 'wrapSocket()',
    onTimeout: socketTimeout,
    forms: inOptions,
    where: 'greenlets',
    situation: () => ({
      call(limits) {
        const [end, silentEnd] = socketPair();
        try {
          return wrapSocket(end, { ...trusting(), ...(limits as Options) });
        } finally {
          silentEnd.close();
        }
      },
      left: () => getHub().stats().sockets,
      close() {},
    }),
  },
  {
    name: 'TlsSocket.handshake()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation() {
      let peer: import('node:net').Socket | undefined;
      const server = listen((socket) => {
        silent(socket);
        peer = socket;
      });
      const socket = wrapSocket(createConnection(server.address), { ...trusting(), handshake: false });
      while (peer === undefined) idle();
      return {
        call: (limits) => socket.handshake(limits),
        end: () => void new TLSSocket(peer!, { isServer: true, ...pki.server() }).on('error', () => {}),
        result: undefined,
        close() {
          socket.close();
          server[Symbol.dispose]();
        },
      };
    },
  },
  {
    name: 'TlsSocket.recv()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onTls((socket, limits) => socket.recv(1024, limits).toString(), 'hello'),
  },
  {
    name: 'TlsSocket.recvInto()',
    onTimeout: socketTimeout,
    forms: inOptions,
    where: 'greenlets',
    situation: onTls((socket, limits) => socket.recvInto(Buffer.alloc(1024), limits as Options), 5),
  },
  {
    name: 'TlsSocket.send()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onTls((socket, limits) => socket.send('x', limits), 1, { prepare: fill }),
  },
  {
    name: 'TlsSocket.sendAll()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onTls((socket, limits) => socket.sendAll('x', limits), undefined, { prepare: fill }),
  },
  {
    name: 'TlsSocket.shutdown()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onTls((socket, limits) => socket.shutdown('w', limits), undefined, { prepare: fill }),
  },
  {
    name: 'TlsSocket.unwrap()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onTls((socket, limits) => socket.unwrap(limits)[Symbol.dispose](), undefined, {
      end: (peer) => peer.end(),
    }),
  },
];

const network: BlockingCall[] = [
  {
    name: 'createConnection()',
    onTimeout: socketTimeout,
    forms: inOptions,
    where: 'greenlets',
    situation() {
      const server = unreachable();
      return {
        call: (limits) => createConnection(server.address, limits as Options),
        left: () => getHub().stats().sockets,
        close: () => server[Symbol.dispose](),
      };
    },
  },
  {
    name: 'createConnection() to a name',
    onTimeout: socketTimeout,
    forms: inOptions,
    where: 'greenlets',
    situation() {
      const names = nameserver(() => undefined);
      const resolver = new Resolver({ nameservers: [names.address], hosts: false });
      return {
        call: (limits) =>
          createConnection({ host: 'www.test', port: 80 }, { ...(limits as Options), resolver }),
        left: () => getHub().stats().lookups,
        close() {
          resolver.close();
          names[Symbol.dispose]();
        },
      };
    },
  },
  onResolver(
    'Resolver.lookup()',
    (resolver, limits) => resolver.lookup('www.test', limits as Options),
    inOptions,
  ),
  onResolver('Resolver.resolve()', (resolver, limits) => resolver.resolve('www.test', 'MX', limits)),
  onResolver('Resolver.resolve4()', (resolver, limits) => resolver.resolve4('www.test', limits)),
  onResolver('Resolver.reverse()', (resolver, limits) => resolver.reverse('192.0.2.1', limits)),
  onResolver(
    'getAddrInfo()',
    (resolver, limits) => getAddrInfo('www.test', 80, { ...(limits as Options), resolver }),
    inOptions,
  ),
  onResolver(
    'getNameInfo()',
    (resolver, limits) => getNameInfo('192.0.2.1', 80, { ...(limits as Options), resolver }),
    inOptions,
  ),
  onResolver(
    'getHostByName()',
    (resolver, limits) => getHostByName('www.test', { ...(limits as Options), resolver }),
    inOptions,
  ),
  onResolver(
    'getHostByAddr()',
    (resolver, limits) => getHostByAddr('192.0.2.1', { ...(limits as Options), resolver }),
    inOptions,
  ),
  onResolver(
    'getFqdn()',
    (resolver, limits) => getFqdn('192.0.2.1', { ...(limits as Options), resolver }),
    inOptions,
  ),
  {
    name: 'Socket.recv()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onSocket((socket, limits) => socket.recv(1024, limits).toString(), 'hello'),
  },
  {
    name: 'Socket.recvInto()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    forms: inOptions,
    situation: onSocket((socket, limits) => socket.recvInto(Buffer.alloc(1024), limits as Options), 5),
  },
  {
    name: 'Socket.send()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onSocket((socket, limits) => socket.send('x', limits), 1, fill),
  },
  {
    name: 'Socket.sendAll()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onSocket((socket, limits) => socket.sendAll('x', limits), undefined, fill),
  },
];

/** A request whose body has not come. */
function onRequest(
  call: (request: HttpRequest, limits: Limits) => unknown,
  result: unknown,
): () => Situation {
  return () => {
    const over = new Event();
    let taken: HttpRequest | undefined;
    const server = new HttpServer('127.0.0.1:0', (request) => {
      taken = request;
      over.wait();
      return 'done';
    });
    server.start();
    const client = createConnection(server.address);
    client.sendAll('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n');
    while (taken === undefined) idle();
    return {
      call: (limits) => call(taken!, limits),
      end: () => client.sendAll('"hello"'),
      result,
      close() {
        over.set();
        client.close();
        server.stop();
      },
    };
  };
}

// Sockets that need more than a connection

/** A pair of sockets; `end` gets the other one. */
function onPair(
  call: (socket: Socket, limits: Limits) => unknown,
  result: unknown,
  options: { prepare?: (socket: Socket) => void; end?: (peer: Socket) => void; datagrams?: boolean } = {},
): () => Situation {
  const { prepare = () => {}, end = (peer) => void peer.send('hello\n'), datagrams = false } = options;
  return () => {
    const [socket, peer] = socketPair({ type: datagrams ? 'datagram' : 'stream' });
    const before = getHub().stats().sockets;
    prepare(socket);
    return {
      call: (limits) => call(socket, limits),
      end: () => end(peer),
      result,
      left: () => getHub().stats().sockets - before,
      close() {
        socket.close();
        peer.close();
      },
    };
  };
}

/** A response that has not come, or whose body has not; in place of Node's `fetch`, whose sockets know no virtual time. */
function onResponse(
  respond: (arrival: Promise<void>) => Promise<Response>,
  prepare: () => (limits: Limits) => unknown,
  result: unknown,
): () => Situation {
  return () => {
    const original = globalThis.fetch;
    let arrive!: () => void;
    const arrival = new Promise<void>((resolve) => (arrive = resolve));
    globalThis.fetch = () => respond(arrival);
    return {
      call: prepare(),
      end: () => arrive(),
      result,
      close() {
        arrive();
        globalThis.fetch = original;
      },
    };
  };
}

async function late(arrival: Promise<void>): Promise<Response> {
  await arrival;
  return new Response('one');
}

function lateBody(arrival: Promise<void>): Promise<Response> {
  const body = new ReadableStream({
    async pull(controller) {
      await arrival;
      controller.enqueue(Buffer.from('one'));
      controller.close();
    },
  });
  return Promise.resolve(new Response(body));
}

const http: BlockingCall[] = [
  {
    name: 'fetch()',
    onTimeout: throwsTimeout,
    where: 'greenlets',
    forms: ['timeout', 'block', 'signal'],
    situation: onResponse(late, () => (limits) => fetch('http://a', limits as Options).status, 200),
  },
  {
    name: 'FetchResponse.text()',
    onTimeout: throwsTimeout,
    where: 'greenlets',
    situation: onResponse(
      lateBody,
      () => {
        // For as many calls as a test makes.
        const responses = Array.from({ length: 20 }, () => fetch('http://a'));
        return (limits) => responses.pop()!.text(limits);
      },
      'one',
    ),
  },
  {
    name: 'HttpRequest.text()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onRequest((request, limits) => request.text(limits), '"hello"'),
  },
  {
    name: 'HttpRequest.json()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onRequest((request, limits) => request.json(limits), 'hello'),
  },
  {
    name: 'HttpRequest.bytes()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onRequest((request, limits) => request.bytes(limits).toString(), '"hello"'),
  },
  {
    name: 'HttpRequest.read()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onRequest((request, limits) => request.read(1024, limits).toString(), '"hello"'),
  },
  {
    name: 'HttpRequest.readLine()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation: onRequest((request, limits) => request.readLine(1024, limits), '"hello"'),
  },
];

/** A file of a socket whose peer does nothing before the end. */
function onFile(
  call: (file: SocketFile, limits: Limits) => unknown,
  result: unknown,
  end?: (peer: Socket) => void,
): () => Situation {
  let file: SocketFile;
  return onPair((_socket, limits) => call(file, limits), result, {
    prepare: (socket) => (file = socket.makeFile()),
    ...(end && { end }),
  });
}

/** As {@link onFile}, where nothing more can be sent. */
function onFullFile(call: (file: SocketFile, limits: Limits) => unknown): () => Situation {
  let file: SocketFile;
  return onPair((_socket, limits) => call(file, limits), undefined, {
    prepare(socket) {
      file = socket.makeFile();
      file.write('x');
      fill(socket);
    },
    end: drain,
  });
}

/** Takes all that was sent. */
function drain(peer: Socket): void {
  for (;;) {
    try {
      peer.recv(65_536, 0);
    } catch {
      return;
    }
  }
}

const sendLast = (peer: Socket): void => {
  peer.send('hello\n');
  peer.shutdown('w');
};

const descriptors: BlockingCall[] = [
  {
    name: 'createConnection() to several addresses',
    onTimeout: socketTimeout,
    forms: inOptions,
    where: 'greenlets',
    situation() {
      const server = unreachable();
      const address = { type: 'A', data: '127.0.0.1', ttl: 60 } as const;
      const names = nameserver(({ type }) => (type === 'A' ? { records: [address, address] } : {}));
      const resolver = new Resolver({ nameservers: [names.address], hosts: false });
      // From now on it is known.
      resolver.lookup('www.test');
      const { port } = server.address;
      return {
        call: (limits) =>
          createConnection(
            { host: 'www.test', port },
            { ...(limits as Options), resolver, attemptDelay: 10 },
          ),
        left: () => getHub().stats().sockets,
        close() {
          resolver.close();
          names[Symbol.dispose]();
          server[Symbol.dispose]();
        },
      };
    },
  },
  {
    name: 'createConnection() to a path whose queue is full',
    onTimeout: socketTimeout,
    forms: inOptions,
    where: 'greenlets',
    situation() {
      const server = createServer({ path: freshName() }, { backlog: 0 });
      const first = createConnection(server.localAddress);
      const before = getHub().stats().sockets;
      return {
        call(limits) {
          using socket = createConnection(server.localAddress, limits as Options);
          return socket.family;
        },
        end: () => server.accept().close(),
        result: 'unix',
        left: () => getHub().stats().sockets - before,
        close() {
          first.close();
          server.close();
        },
      };
    },
  },
  {
    name: 'Socket.connect()',
    onTimeout: socketTimeout,
    where: 'greenlets',
    situation() {
      const server = unreachable();
      return {
        call(limits) {
          using socket = new Socket();
          socket.connect(server.address, limits);
        },
        left: () => getHub().stats().sockets,
        close: () => server[Symbol.dispose](),
      };
    },
  },
  {
    name: 'Socket.accept()',
    onTimeout: socketTimeout,
    situation() {
      const listener = createServer({ host: '127.0.0.1', port: 0 });
      const address = listener.localAddress;
      const clients: Socket[] = [];
      return {
        call(limits) {
          using socket = listener.accept(limits);
          return socket.type;
        },
        end: () => void clients.push(createConnection(address)),
        result: 'stream',
        close() {
          for (const client of clients) client.close();
          listener.close();
        },
      };
    },
  },
  {
    name: 'Socket.recvFrom()',
    onTimeout: socketTimeout,
    situation: onPair((socket, limits) => socket.recvFrom(100, limits).data.toString(), 'hello\n', {
      datagrams: true,
    }),
  },
  {
    name: 'Socket.sendTo() to a path',
    onTimeout: socketTimeout,
    situation() {
      const path = freshName();
      const receiver = new Socket({ family: 'unix', type: 'datagram' });
      receiver.bind({ path });
      const sender = new Socket({ family: 'unix', type: 'datagram' });
      try {
        for (;;) sender.sendTo('x', { path }, 0);
      } catch {
        // There is no room.
      }
      return {
        call: (limits) => sender.sendTo('x', { path }, limits),
        end: () => drain(receiver),
        result: 1,
        close() {
          sender.close();
          receiver.close();
        },
      };
    },
  },
  {
    name: 'Socket.sendFile()',
    onTimeout: socketTimeout,
    forms: inOptions,
    where: 'greenlets',
    situation: onPair(
      (socket, limits) => socket.sendFile(__filename, { ...(limits as Options), count: 10 }),
      10,
      { prepare: fill, end: drain },
    ),
  },
  {
    name: 'waitRead()',
    onTimeout: socketTimeout,
    situation: onPair((socket, limits) => waitRead(socket, limits), undefined),
  },
  {
    name: 'waitRead() of a descriptor',
    onTimeout: socketTimeout,
    situation: onPair((socket, limits) => waitRead(socket.fd, limits), undefined),
  },
  {
    name: 'waitWrite()',
    onTimeout: socketTimeout,
    situation: onPair((socket, limits) => waitWrite(socket, limits), undefined, {
      prepare: fill,
      end: drain,
    }),
  },
  {
    name: 'waitReadWrite()',
    onTimeout: socketTimeout,
    situation: onPair((socket, limits) => waitReadWrite(socket, limits), 'r', { prepare: fill }),
  },
  {
    name: 'select()',
    onTimeout: returns(0),
    situation: onPair((socket, limits) => select([socket], [], [], limits).flat().length, 1),
  },
  {
    name: 'Poller.poll()',
    onTimeout: returns([]),
    situation: onPair(
      (socket, limits) => {
        const poller = poll();
        poller.register(socket.fd, POLLIN);
        return poller.poll(limits).map(([, events]) => events);
      },
      [POLLIN],
    ),
  },
  {
    name: 'Selector.select()',
    onTimeout: returns([]),
    situation: onPair(
      (socket, limits) => {
        using selector = new Selector<string>();
        selector.register(socket, 'r', 'data');
        return selector.select(limits).map(([{ data }]) => data);
      },
      ['data'],
    ),
  },
  {
    name: 'SocketFile.readLine()',
    onTimeout: socketTimeout,
    situation: onFile((file, limits) => file.readLine(undefined, limits).toString(), 'hello\n'),
  },
  {
    name: 'SocketFile.read()',
    onTimeout: socketTimeout,
    situation: onFile((file, limits) => file.read(6, limits).toString(), 'hello\n'),
  },
  {
    name: 'SocketFile.readSome()',
    onTimeout: socketTimeout,
    situation: onFile((file, limits) => file.readSome(undefined, limits).toString(), 'hello\n'),
  },
  {
    name: 'SocketFile.readExactly()',
    onTimeout: socketTimeout,
    situation: onFile((file, limits) => file.readExactly(6, limits).toString(), 'hello\n'),
  },
  {
    name: 'SocketFile.readAll()',
    onTimeout: socketTimeout,
    situation: onFile((file, limits) => file.readAll(limits).toString(), 'hello\n', sendLast),
  },
  {
    name: 'SocketFile.peek()',
    onTimeout: socketTimeout,
    situation: onFile((file, limits) => file.peek(6, limits).toString(), 'hello\n'),
  },
  {
    name: 'SocketFile.flush()',
    onTimeout: socketTimeout,
    situation: onFullFile((file, limits) => file.flush(limits)),
  },
];

// Servers: `stop` and `serveForever` end what they wait for when they are interrupted, so they have tests of their own.

const servers: BlockingCall[] = [
  {
    name: 'closed.join() of a server',
    onTimeout: returns(false),
    situation() {
      const server = new StreamServer('127.0.0.1:0', () => {});
      server.start();
      return {
        call: (limits) => server.closed.join(limits),
        end: () => server.close(),
        result: true,
        left: () => waitingIn(server.closed),
        close: () => server.stop(),
      };
    },
  },
];

export const blockingCalls: readonly BlockingCall[] = [
  ...greenlets,
  ...hub,
  ...eventsAndLocks,
  ...queues,
  ...pools,
  ...threads,
  ...network,
  ...http,
  ...descriptors,
  ...encrypted,
  ...servers,
];
