/**
 * The primitives against plain models of them: fast-check makes up what greenlets, callbacks and others do with them, and
 * every result, the order of all that happens and what can be seen from outside must be as the model says, after each step.
 *
 * `GREENSTACK_MODEL_SEED` repeats a run of the tests with a seed that was logged, `GREENSTACK_MODEL_RUNS` says how many
 * scripts each test runs.
 */
import fc from 'fast-check';
import { Greenlet, type Limits } from 'greenstack';
import { AsyncResult, Event } from 'greenstack/event';
import { BoundedSemaphore, Condition, Lock, RLock, Semaphore } from 'greenstack/lock';
import { Pool } from 'greenstack/pool';
import { Channel, LifoQueue, PriorityQueue, Queue, SimpleQueue, UnboundQueue } from 'greenstack/queue';
import { VirtualClock } from 'greenstack/testing';
import { hubTest } from './support/hub-test.js';
import { drive, type Subject, Thrown } from './support/model/drive.js';
import { AsyncResultModel, EventModel } from './support/model/event.js';
import { ConditionModel, RLockModel, SemaphoreModel } from './support/model/lock.js';
import { PoolModel } from './support/model/pool.js';
import { ChannelModel, type Order, orders, QueueModel } from './support/model/queue.js';
import { type Argument, type Operation, priorityOf, stepsOf } from './support/model/script.js';

const SEED = Number(process.env['GREENSTACK_MODEL_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = Number(process.env['GREENSTACK_MODEL_RUNS'] ?? 600);

/** Runs scripts of these operations; each begins with a subject made from one of the variants. */
function modelTest<V, R extends object>(
  name: string,
  variants: fc.Arbitrary<V>,
  operations: readonly Operation[],
  subjectOf: (variant: V) => Subject<R>,
): void {
  hubTest(`${name} does as its model does, whatever happens to whom and when`, (t) => {
    t.log(`GREENSTACK_MODEL_SEED=${SEED}, ${RUNS} runs`);
    using clock = new VirtualClock({ autoJump: false, patience: 0 });
    const property = fc.property(variants, stepsOf(operations), (variant, steps) => {
      drive(subjectOf(variant), operations, steps, clock);
    });
    fc.assert(property, { seed: SEED, numRuns: RUNS, includeErrorInReport: true });
    t.pass();
  });
}

/** How many wait, as the text that describes an object tells it. */
function countIn(object: object, whatFor = 'waiting'): number {
  return Number(new RegExp(`(\\d+) ${whatFor}`).exec(String(object))?.[1] ?? 0);
}

/** How often an `RLock` is held, as its description tells it. */
function holdsOf(lock: RLock): number {
  const [, often] = /held (once|\d+)/.exec(String(lock)) ?? [];
  return often === undefined ? 0 : often === 'once' ? 1 : Number(often);
}

function observeRLock(lock: RLock): object {
  return { holds: holdsOf(lock), waiting: lock.linkCount };
}

/** Releases whatever whoever runs holds. */
function releaseAll(lock: { release(): unknown }): void {
  try {
    for (;;) lock.release();
  } catch {
    // It holds nothing any more.
  }
}

// Events

modelTest(
  'Event',
  fc.constant(null),
  [{ name: 'set' }, { name: 'clear' }, { name: 'wait', waits: true, weight: 3 }],
  () => ({
    real: new Event(),
    model: (world) => new EventModel(world),
    observe: (event) => ({ isSet: event.isSet(), waiting: event.linkCount }),
  }),
);

const anyNumber = fc.tuple(fc.nat(99));

/** An `AsyncResult` that makes errors of numbers. */
function resultOfNumbers(): AsyncResult<number> {
  const result = new AsyncResult<number>();
  return Object.assign(result, {
    setError: (number: number) => AsyncResult.prototype.setError.call(result, new Thrown(`error ${number}`)),
  });
}

modelTest(
  'AsyncResult',
  fc.constant(null),
  [
    { name: 'set', args: anyNumber },
    { name: 'setError', args: anyNumber },
    { name: 'cancel' },
    { name: 'get', waits: true, weight: 5 },
    { name: 'getNowait' },
    { name: 'wait', waits: true, weight: 3 },
  ],
  () => ({
    real: resultOfNumbers(),
    model: (world) => new AsyncResultModel(world),
    observe: ({ ready, cancelled, value, linkCount }) => ({
      ready,
      cancelled,
      value: value ?? null,
      waiting: linkCount,
    }),
  }),
);

// Locks

const semaphoreOperations: Operation[] = [
  { name: 'acquire', waits: true, weight: 4 },
  { name: 'release', weight: 2 },
  { name: 'wait', waits: true },
];

function observeSemaphore({ counter, linkCount }: Semaphore): object {
  return { free: counter, waiting: linkCount };
}

modelTest('Semaphore', fc.nat(3), semaphoreOperations, (permits) => ({
  real: new Semaphore(permits),
  model: (world) => new SemaphoreModel(world, permits),
  observe: observeSemaphore,
}));

modelTest('BoundedSemaphore', fc.nat(3), semaphoreOperations, (permits) => ({
  real: new BoundedSemaphore(permits),
  model: (world) => new SemaphoreModel(world, permits, permits),
  observe: observeSemaphore,
}));

modelTest('RLock', fc.constant(null), semaphoreOperations.slice(0, 2), () => ({
  real: new RLock(),
  model: (world) => new RLockModel(world),
  observe: observeRLock,
  letGo: (lock) => releaseAll(lock),
}));

const conditionOperations: Operation[] = [
  { name: 'acquire', waits: true, weight: 3 },
  { name: 'release', weight: 2 },
  { name: 'wait', waits: true, weight: 4 },
  { name: 'notify' },
  { name: 'notify', args: fc.tuple(fc.nat(2)) },
  { name: 'notifyAll' },
];

modelTest('Condition of an RLock', fc.constant(null), conditionOperations, () => {
  const lock = new RLock();
  return {
    real: new Condition(lock),
    model: (world) => new ConditionModel(new RLockModel(world)),
    observe: (condition) => ({
      lock: observeRLock(lock),
      waiting: countIn(condition, 'waiting>$'),
    }),
    letGo: releaseAll,
  };
});

modelTest('Condition of a Lock', fc.constant(null), conditionOperations, () => {
  const lock = new Lock();
  return {
    real: new Condition(lock),
    model: (world) => new ConditionModel(new SemaphoreModel(world, 1, 1)),
    observe: (condition) => ({ lock: observeSemaphore(lock), waiting: countIn(condition, 'waiting>$') }),
    letGo: releaseAll,
  };
});

// Queues

const item = fc.tuple(fc.record({ priority: fc.nat(2) }));

const simpleOperations: Operation[] = [
  { name: 'put', args: item, waits: true, weight: 5 },
  { name: 'putNowait', args: item },
  { name: 'get', waits: true, weight: 5 },
  { name: 'getNowait' },
  { name: 'peek', waits: true },
  { name: 'peekNowait' },
  { name: 'next', waits: 'always' },
];
const resize: Operation = { name: 'resize', args: fc.tuple(fc.integer({ min: 1, max: 3 })) };
const joinOperations: Operation[] = [
  { name: 'taskDone', weight: 2 },
  { name: 'join', waits: true, weight: 2 },
];
const shutdown: Operation = { name: 'shutdown', args: fc.tuple(fc.boolean()) as fc.Arbitrary<Argument[]> };

/** Adds one step of an iteration, and a method to change the size, to be called as the others are. */
function withSteps<Q extends SimpleQueue<number>>(queue: Q): Q {
  return Object.assign(queue, {
    next: () => queue[Symbol.iterator]().next().value,
    resize(maxSize: number) {
      queue.maxSize = maxSize;
    },
  });
}

function queueSubject<Q extends SimpleQueue<number>>(
  queue: Q,
  order: Order,
  maxSize: number | null,
): Subject<Q> {
  return {
    real: withSteps(queue),
    model: (world) => new QueueModel(world, order, maxSize ?? Infinity, queue instanceof Queue),
    observe: (queue) => ({
      items: [...itemsOf(queue.copy())],
      full: queue.full,
      unfinished: queue instanceof Queue ? queue.unfinishedTasks : null,
      gettersWaiting: countIn(queue, 'waiting to get'),
      puttersWaiting: countIn(queue, 'waiting to put'),
      linkCount: queue.linkCount,
    }),
  };
}

/** Takes everything out of a queue. */
function* itemsOf(queue: SimpleQueue<number>): Generator<number> {
  while (!queue.empty) yield queue.getNowait();
}

const maxSizes = fc.option(fc.integer({ min: 1, max: 3 }));
const byPriority = (a: number, b: number) => priorityOf(a) - priorityOf(b);

modelTest('SimpleQueue', maxSizes, [...simpleOperations, resize], (maxSize) =>
  queueSubject(new SimpleQueue<number>(maxSize), orders.fifo, maxSize),
);

modelTest('Queue', maxSizes, [...simpleOperations, resize, shutdown], (maxSize) =>
  queueSubject(new Queue<number>(maxSize), orders.fifo, maxSize),
);

modelTest(
  'Queue with tasks',
  maxSizes,
  [...simpleOperations.slice(0, 4), ...joinOperations, shutdown],
  (maxSize) => queueSubject(new Queue<number>(maxSize), orders.fifo, maxSize),
);

modelTest('UnboundQueue', fc.constant(null), [...simpleOperations, ...joinOperations, shutdown], (maxSize) =>
  queueSubject(new UnboundQueue<number>(), orders.fifo, maxSize),
);

modelTest('LifoQueue', maxSizes, [...simpleOperations, resize, shutdown], (maxSize) =>
  queueSubject(new LifoQueue<number>(maxSize), orders.lifo, maxSize),
);

modelTest('PriorityQueue', maxSizes, [...simpleOperations, resize, shutdown], (maxSize) =>
  queueSubject(new PriorityQueue<number>({ maxSize, compare: byPriority }), orders.priority, maxSize),
);

modelTest(
  'Channel',
  fc.constant(null),
  simpleOperations.filter(({ name }) => !name.startsWith('peek')),
  () => {
    const channel = new Channel<number>();
    return {
      real: Object.assign(channel, { next: () => channel[Symbol.iterator]().next().value }),
      model: (world) => new ChannelModel(world),
      observe: ({ balance, linkCount }) => ({
        balance,
        gettersWaiting: countIn(channel, 'waiting to get'),
        linkCount,
      }),
    };
  },
);

// Pools

/** Methods that concern greenlets which end when they are told to, or as soon as they run. */
function withMembers(pool: Pool): Pool {
  const unstarted = (index: number): Greenlet | undefined => {
    const greenlets = [...pool.greenlets].filter(
      (member): member is Greenlet => member instanceof Greenlet && !member.started,
    );
    return greenlets[index % greenlets.length];
  };
  return Object.assign(pool, {
    addUnstarted: (limits: Limits) => pool.add(new Greenlet(() => {}), limits),
    spawnShort: () => void pool.spawn(() => {}),
    endUnstarted: (index: number) => unstarted(index)?.kill(),
    discardUnstarted(index: number) {
      const greenlet = unstarted(index);
      if (greenlet !== undefined) pool.discard(greenlet);
    },
    killWithoutWaiting: () => pool.kill(undefined, { block: false }),
  });
}

const anyIndex = fc.tuple(fc.nat(5));

modelTest(
  'Pool',
  maxSizes,
  [
    { name: 'addUnstarted', waits: true, weight: 5 },
    { name: 'spawnShort', waits: 'always', weight: 2 },
    { name: 'endUnstarted', args: anyIndex, weight: 3 },
    { name: 'discardUnstarted', args: anyIndex },
    { name: 'killWithoutWaiting' },
    { name: 'waitAvailable', waits: true, weight: 2 },
    { name: 'join', waits: true, weight: 2 },
  ],
  (size) => ({
    real: withMembers(new Pool(size)),
    model: (world) => new PoolModel(world, size ?? Infinity),
    observe: ({ count, freeCount, linkCount }: Pool) => ({ count, free: freeCount, linkCount }),
  }),
);
