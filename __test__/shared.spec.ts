import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { MessageChannel, Worker } from 'node:worker_threads';
import test from 'ava';
import {
  BlockingSwitchOutError,
  getHub,
  Greenlet,
  GreenletExit,
  idle,
  InvalidThreadUseError,
  iwait,
  joinAll,
  sleep,
  spawn,
  Timeout,
  wait,
  waitFor,
} from 'greenstack';
import { Event } from 'greenstack/event';
import { Semaphore } from 'greenstack/lock';
import { Empty, Full, Queue, ShutDown, StopIteration } from 'greenstack/queue';
import {
  SharedAsyncResult,
  SharedEvent,
  type SharedHandle,
  SharedQueue,
  SharedSemaphore,
} from 'greenstack/shared';
import { burn, Gate, parked, thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { OtherThread, type Tools } from './support/other-thread.js';
import { runProgram } from './support/program.js';

const BELONGS = /objects of greenstack belong to one thread; greenstack\/shared has forms for several/;

const KINDS = { SharedEvent, SharedAsyncResult, SharedSemaphore, SharedQueue };

function flag(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4));
}

function raise(raised: Int32Array): void {
  Atomics.store(raised, 0, 1);
}

/** A started greenlet that is parked in `body`, if that parks. */
function parkedIn<T>(body: () => T): Greenlet<T> {
  const greenlet = spawn(body);
  idle();
  return greenlet;
}

function inHub<T>(fn: () => T): T {
  const seen: { value?: T; error?: unknown } = {};
  const done = new Event();
  getHub().runCallback(() => {
    try {
      seen.value = fn();
    } catch (error) {
      seen.error = error;
    }
    done.set();
  });
  done.wait();
  if ('error' in seen) throw seen.error;
  return seen.value as T;
}

// ---- handles

for (const [kind, Class] of Object.entries(KINDS)) {
  hubTest(`${kind}.from() gives the same object for the same handle, also for a clone of it`, (t) => {
    const object = new Class();
    t.is(Class.from(object.handle as never), object as never);
    t.is(Class.from(structuredClone(object.handle) as never), object as never);
  });

  hubTest(`${kind}.from() refuses what is not the handle of one`, (t) => {
    const other = kind === 'SharedEvent' ? new SharedQueue() : new SharedEvent();
    const handle = new Class().handle as SharedHandle;
    const small = new SharedArrayBuffer(4);
    for (const wrong of [
      undefined,
      null,
      1,
      'handle',
      {},
      other.handle,
      { ...other.handle, kind },
      { ...handle, words: small, bytes: small },
      { ...handle, words: new ArrayBuffer(4096) },
      new Class(),
    ]) {
      const error = t.throws(() => Class.from(wrong as never), { instanceOf: TypeError });
      t.true(
        error?.message.startsWith(`${kind}.from() expects the handle of a ${kind}, got`),
        error?.message,
      );
    }
  });

  hubTest(`new ${kind}() checks maxHubs`, (t) => {
    const make = (maxHubs: unknown): unknown => {
      const options = { maxHubs } as { maxHubs: number };
      if (kind === 'SharedSemaphore') return new SharedSemaphore(1, options);
      return kind === 'SharedQueue'
        ? new SharedQueue(1, options)
        : new (Class as typeof SharedEvent)(options);
    };
    const message = new RegExp(`^new ${kind}\\(\\): maxHubs must be`);
    for (const wrong of ['4', null, NaN, {}]) t.throws(() => make(wrong), { instanceOf: TypeError, message });
    for (const wrong of [0, -1, 1.5, 5000, Infinity])
      t.throws(() => make(wrong), { instanceOf: RangeError, message });
    make(4096);
  });

  hubTest(`a ${kind} itself cannot be passed to another thread`, (t) => {
    const { port1 } = new MessageChannel();
    const error = thrownBy(() => port1.postMessage(new Class())) as Error;
    port1.close();
    t.is(error.name, 'DataCloneError');
    t.regex(error.message, BELONGS);
  });
}

hubTest('options have to be an object', (t) => {
  t.throws(() => new SharedEvent(4 as never), {
    instanceOf: TypeError,
    message: /expects an object of options/,
  });
});

hubTest('maxBytes is checked', (t) => {
  for (const wrong of ['4', NaN, {}])
    t.throws(() => new SharedQueue(1, { maxBytes: wrong as number }), {
      instanceOf: TypeError,
      message: /maxBytes/,
    });
  for (const wrong of [0, -1, 1.5, 2 ** 30 + 1])
    t.throws(() => new SharedAsyncResult({ maxBytes: wrong }), {
      instanceOf: RangeError,
      message: /maxBytes/,
    });
});

hubTest('objects that belong to one thread cannot be passed to another', (t) => {
  const greenlet = spawn(() => 1);
  greenlet.join();
  const victim = parked();
  for (const object of [
    new Event(),
    new Semaphore(),
    new Queue(),
    greenlet,
    victim,
    new Greenlet(() => {}),
  ]) {
    const error = thrownBy(() => structuredClone({ deep: [object] })) as Error;
    t.is(error.name, 'DataCloneError');
    t.regex(error.message, BELONGS);
  }
  victim.kill();
});

hubTest('an object that belongs to one thread is refused as a value', (t) => {
  const queue = new SharedQueue();
  const result = new SharedAsyncResult();
  t.throws(() => queue.put({ event: new Event() }), {
    instanceOf: InvalidThreadUseError,
    message: /SharedQueue\.put/,
  });
  t.throws(() => result.set([new SharedEvent()]), { instanceOf: InvalidThreadUseError });
  t.is(queue.size, 0);
  t.false(result.ready);
});

hubTest('an object of another copy of the package is refused', (t) => {
  const root = join(__dirname, '..');
  const copy = mkdtempSync(join(tmpdir(), 'greenstack-copy-'));
  for (const file of ['package.json', 'index.js', 'binding.js', 'greenstack.linux-x64-gnu.node', 'dist'])
    cpSync(join(root, file), join(copy, file), { recursive: true });
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { SharedEvent } = require(${JSON.stringify(join(copy, 'dist', 'shared.js'))});
    try {
      SharedEvent.from(workerData);
    } catch (error) {
      parentPort.postMessage(error.name + ': ' + error.message);
    }`;
  const worker = new Worker(program, { eval: true, workerData: new SharedEvent().handle });
  const [said] = waitFor(once(worker, 'message')) as [string];
  t.regex(said, /^InvalidThreadUseError: SharedEvent\.from\(\): .* another copy of greenstack/);
  waitFor(worker.terminate());
  rmSync(copy, { recursive: true });
});

// ---- places

hubTest('more threads than maxHubs cannot wait, and the object stays usable', (t) => {
  const event = new SharedEvent({ maxHubs: 1 });
  const other = new OtherThread(({ SharedEvent, spawn, idle, say }, handle: SharedHandle<'SharedEvent'>) => {
    const waiting = spawn(() => SharedEvent.from(handle).wait());
    idle();
    say('parked');
    return waiting.get();
  }, event.handle);
  other.hear();
  t.throws(() => event.wait(), { instanceOf: RangeError, message: /1 threads wait for this object already/ });
  t.throws(() => event.rawlink(() => {}), { instanceOf: RangeError });
  t.is(event.linkCount, 0);
  event.set();
  t.true(other.result());
  event.clear();
  t.false(event.wait(1));
});

hubTest('the place of a thread that was terminated is free again', (t) => {
  const event = new SharedEvent({ maxHubs: 1 });
  for (let round = 0; round < 3; round++) {
    const other = new OtherThread(
      ({ SharedEvent, spawn, idle, say }, handle: SharedHandle<'SharedEvent'>) => {
        const waiting = spawn(() => SharedEvent.from(handle).wait());
        idle();
        say('parked');
        waiting.join();
      },
      event.handle,
    );
    other.hear();
    other.terminate();
  }
  const waiting = parkedIn(() => event.wait());
  event.set();
  t.true(waiting.get());
});

/** Lets what a test expects to be thrown in a greenlet end it quietly. */
function quietly(body: () => unknown): () => void {
  return () => {
    try {
      body();
    } catch {
      // Expected.
    }
  };
}

const ENDS: Record<string, (victim: Greenlet<void>, abort: AbortController) => void> = {
  'that is killed': (victim) => victim.kill(),
  'whose signal is aborted': (_victim, abort) => abort.abort(new Error('given up')),
  'whose time is up': (victim) => victim.join(),
};

for (const [title, end] of Object.entries(ENDS)) {
  hubTest(`a wait ${title} leaves nothing behind, not even its place`, (t) => {
    const event = new SharedEvent({ maxHubs: 1 });
    const semaphore = new SharedSemaphore(0, { maxHubs: 1 });
    const result = new SharedAsyncResult({ maxHubs: 1 });
    const empty = new SharedQueue<number>(1, { maxHubs: 1 });
    const full = new SharedQueue<number>(1, { maxHubs: 1 });
    full.put(1);
    const abort = new AbortController();
    const limits = title.includes('time') ? 2 : { signal: abort.signal };
    const victims = [
      () => event.wait(limits),
      () => semaphore.acquire(limits),
      () => semaphore.wait(limits),
      () => result.get(limits),
      () => empty.get(limits),
      () => full.put(2, limits),
    ].map((body) => parkedIn(quietly(body)));
    for (const victim of victims) end(victim, abort);
    joinAll(victims);
    t.deepEqual(
      [event, semaphore, result].map(({ linkCount }) => linkCount),
      [0, 0, 0],
    );
    const other = new OtherThread(
      (tools, [event, semaphore, result, empty, full]: Handles) => {
        const { SharedEvent, SharedSemaphore, SharedAsyncResult, SharedQueue, spawn, idle, joinAll, say } =
          tools;
        const waiting = [
          spawn(() => SharedEvent.from(event).wait()),
          spawn(() => SharedSemaphore.from(semaphore).acquire()),
          spawn(() => SharedAsyncResult.from(result).get()),
          spawn(() => SharedQueue.from(empty).get()),
          spawn(() => SharedQueue.from(full).put(3)),
        ];
        idle();
        say('parked');
        joinAll(waiting, { raiseError: true });
        return waiting.map(({ value }) => value);
      },
      [event.handle, semaphore.handle, result.handle, empty.handle, full.handle] satisfies Handles,
    );
    other.hear();
    t.deepEqual([semaphore.counter, empty.size, full.getNowait()], [0, 0, 1]);
    event.set();
    semaphore.release();
    result.set('value');
    empty.put(7);
    t.deepEqual(other.result(), [true, true, 'value', 7, undefined]);
    t.deepEqual([full.get(), full.size, semaphore.counter, empty.size], [3, 0, 0, 0]);
  });
}

type Handles = [
  SharedHandle<'SharedEvent'>,
  SharedHandle<'SharedSemaphore'>,
  SharedHandle<'SharedAsyncResult'>,
  SharedHandle<'SharedQueue'>,
  SharedHandle<'SharedQueue'>,
];

test('a greenlet that waits keeps its process alive, and is no deadlock', async (t) => {
  const { code, stdout, stderr } = await runProgram('shared-alive.js');
  t.is(stderr, '');
  t.is(stdout, 'set by another thread\nlinked\n');
  t.is(code, 0);
});

// ---- outside greenlets, and limits

hubTest('whatever need not wait works outside greenlets', (t) => {
  const event = new SharedEvent();
  const semaphore = new SharedSemaphore(1);
  const result = new SharedAsyncResult<string>();
  const queue = new SharedQueue<string>();
  inHub(() => {
    event.set();
    t.true(event.wait());
    t.true(semaphore.acquire());
    t.is(semaphore.release(), 1);
    t.is(semaphore.wait(), 1);
    result.set('value');
    t.is(result.get(), 'value');
    queue.put('item');
    t.is(queue.get(), 'item');
    queue.shutdown();
  });
});

hubTest('what would have to wait is refused outside greenlets, and changes nothing', (t) => {
  const event = new SharedEvent();
  const semaphore = new SharedSemaphore(0);
  const result = new SharedAsyncResult<string>();
  const empty = new SharedQueue<string>();
  const full = new SharedQueue<string>(1);
  full.put('first');
  inHub(() => {
    for (const call of [
      () => event.wait(),
      () => semaphore.acquire(),
      () => semaphore.wait(),
      () => result.get(),
      () => empty.get(),
      () => full.put('second'),
    ]) {
      t.throws(call, { instanceOf: BlockingSwitchOutError });
    }
    t.false(event.wait(0));
    t.false(semaphore.acquire({ block: false }));
    t.is(semaphore.wait(0), 0);
    t.throws(() => result.get(0), { instanceOf: Timeout });
    t.is(result.wait(0), undefined);
    t.throws(() => empty.get(0), { instanceOf: Empty });
    t.throws(() => full.put('second', { block: false }), { instanceOf: Full });
  });
  t.deepEqual([event.linkCount, semaphore.linkCount, result.linkCount], [0, 0, 0]);
  t.deepEqual([full.get(), full.size], ['first', 0]);
});

hubTest('wrong limits are refused before anything happens', (t) => {
  const semaphore = new SharedSemaphore(1);
  const queue = new SharedQueue<number>();
  const event = new SharedEvent();
  event.set();
  const wrong = 'soon' as unknown as number;
  for (const call of [
    () => event.wait(wrong),
    () => semaphore.acquire(wrong),
    () => semaphore.wait(wrong),
    () => semaphore.hold(wrong),
    () => new SharedAsyncResult().get(wrong),
    () => queue.put(1, wrong),
    () => queue.get(wrong),
  ]) {
    t.throws(call, { instanceOf: TypeError, message: /expects a timeout in milliseconds/ });
  }
  t.deepEqual([semaphore.counter, queue.size], [1, 0]);
});

hubTest('a Timeout as the limit is what is thrown by those that throw', (t) => {
  const timeout = new Timeout(1);
  t.is(
    thrownBy(() => new SharedAsyncResult().get(timeout)),
    timeout,
  );
  t.is(
    thrownBy(() => new SharedQueue().get(timeout)),
    timeout,
  );
  t.is(
    thrownBy(() => new SharedSemaphore(0).hold(timeout)),
    timeout,
  );
  t.false(new SharedEvent().wait(timeout));
});

hubTest('an outer Timeout ends every wait', (t) => {
  const full = new SharedQueue<number>(1);
  full.put(1);
  for (const call of [
    () => new SharedEvent().wait(),
    () => new SharedAsyncResult().get(),
    () => new SharedSemaphore(0).acquire(),
    () => new SharedQueue().get(),
    () => full.put(2),
  ]) {
    const timeout = Timeout.startNew(1);
    t.is(thrownBy(call), timeout);
  }
  t.is(full.size, 1);
});

hubTest('wait() and iwait() take all kinds', (t) => {
  const event = new SharedEvent();
  const semaphore = new SharedSemaphore(0);
  const result = new SharedAsyncResult();
  const queue = new SharedQueue<number>();
  const all = [event, semaphore, result, queue];
  t.deepEqual(wait(all, { timeout: 1 }), []);
  const seen = spawn((): unknown[] => [...iwait(all)]);
  idle();
  queue.put(1);
  idle();
  event.set();
  idle();
  result.set(1);
  idle();
  semaphore.release();
  t.deepEqual(seen.get(), [queue, event, result, semaphore]);
  t.deepEqual([queue.size, semaphore.counter], [1, 1]);
});

hubTest('wait() is woken by another thread', (t) => {
  const event = new SharedEvent();
  const semaphore = new SharedSemaphore(0);
  const result = new SharedAsyncResult();
  const queue = new SharedQueue();
  const all = [event, semaphore, result, queue];
  const handles = all.map(({ handle }) => handle) as [...Handles];
  const other = new OtherThread(
    (
      { SharedEvent, SharedSemaphore, SharedAsyncResult, SharedQueue },
      [event, semaphore, result, queue]: Handles,
    ) => {
      SharedEvent.from(event).set();
      SharedSemaphore.from(semaphore).release();
      // The order of the handles is that of the test.
      SharedAsyncResult.from(result).set(1);
      SharedQueue.from(queue).put(1);
    },
    handles,
  );
  t.is(wait(all).length, 4);
  other.result();
});

hubTest('rawlink() calls back once, in the hub, and unlink() takes it back', (t) => {
  for (const [object, make] of [
    [new SharedEvent(), (event: SharedEvent) => event.set()],
    [new SharedSemaphore(0), (semaphore: SharedSemaphore) => semaphore.release()],
    [new SharedAsyncResult(), (result: SharedAsyncResult) => result.set(1)],
    [new SharedQueue(), (queue: SharedQueue) => queue.put(1)],
  ] as Array<[SharedEvent, (object: never) => void]>) {
    const calls: unknown[] = [];
    const linked = (source: unknown): void => void calls.push(source);
    const unlinked = (): void => void calls.push('unlinked');
    object.rawlink(linked);
    object.rawlink(linked);
    object.rawlink(unlinked);
    object.unlink(unlinked);
    make(object as never);
    t.deepEqual(calls, []);
    idle();
    t.is(calls.length, 1);
    t.is(calls[0], object);
    object.rawlink(linked);
    idle();
    t.is(calls.length, 2, 'it is ready already');
  }
});

// ---- SharedEvent

hubTest('a set event wakes all threads, each in its order', (t) => {
  const event = new SharedEvent();
  const others = Array.from(
    { length: 3 },
    () =>
      new OtherThread(({ SharedEvent, spawn, idle, joinAll, say }, handle: SharedHandle<'SharedEvent'>) => {
        const event = SharedEvent.from(handle);
        const order: number[] = [];
        const waiting = Array.from({ length: 20 }, (_, index) =>
          spawn(() => {
            event.wait();
            order.push(index);
          }),
        );
        idle();
        say('parked');
        joinAll(waiting, { raiseError: true });
        return order;
      }, event.handle),
  );
  const own = parkedIn(() => event.wait());
  for (const other of others) other.hear();
  event.set();
  const inOrder = Array.from({ length: 20 }, (_, index) => index);
  for (const other of others) t.deepEqual(other.result(), inOrder);
  t.true(own.get());
});

hubTest(
  'a waiter that comes between set and clear of another thread and its own turn is told apart from those before',
  (t) => {
    const event = new SharedEvent();
    const computing = flag();
    const other = new OtherThread(
      (
        { SharedEvent, spawn, idle, say, computeUntil },
        { handle, computing }: { handle: SharedHandle<'SharedEvent'>; computing: Int32Array },
      ) => {
        const event = SharedEvent.from(handle);
        const before = spawn(() => event.wait());
        idle();
        say('parked');
        computeUntil(computing);
        const after = spawn(() => event.wait(3));
        return [before.get(), after.get()];
      },
      { handle: event.handle, computing },
    );
    other.hear();
    event.set();
    event.clear();
    raise(computing);
    t.deepEqual(other.result(), [true, false]);
  },
);

hubTest('an event shows its state', (t) => {
  const event = new SharedEvent();
  const waiting = parkedIn(() => event.wait());
  t.is(inspect(event), '<SharedEvent clear, 1 waiting>');
  event.set();
  waiting.join();
  t.is(String(event), '<SharedEvent set>');
});

// ---- SharedAsyncResult

hubTest('a value reaches all threads, as one object in each', (t) => {
  const result = new SharedAsyncResult<{ list: number[] }>();
  const others = Array.from(
    { length: 3 },
    () =>
      new OtherThread(
        ({ SharedAsyncResult, spawn, idle, say }, handle: SharedHandle<'SharedAsyncResult'>) => {
          const result = SharedAsyncResult.from<{ list: number[] }>(handle);
          const [first, second] = [spawn(() => result.get()), spawn(() => result.get())];
          idle();
          say('parked');
          return [first.get(), first.get() === second.get(), result.successful, result.value === first.get()];
        },
        result.handle,
      ),
  );
  for (const other of others) other.hear();
  const value = { list: [1, 2, 3] };
  result.set(value);
  for (const other of others) t.deepEqual(other.result(), [value, true, true, true]);
  t.deepEqual(result.get(), value);
  t.not(result.get(), value, 'it is a clone in every thread');
  t.is(result.getNowait(), result.get());
});

hubTest('an error reaches other threads with its name, code, cause and stack', (t) => {
  class KeyError extends RangeError {
    override name = 'KeyError';
    code = 'E_KEY';
    callback = (): void => {};
  }
  const result = new SharedAsyncResult();
  const error = new KeyError('no such key', { cause: { key: 1 } });
  result.setError(error);
  const other = new OtherThread(({ SharedAsyncResult }, handle: SharedHandle<'SharedAsyncResult'>) => {
    const result = SharedAsyncResult.from(handle);
    try {
      result.get();
    } catch (error) {
      const { name, message, code, cause, stack } = error as NodeJS.ErrnoException;
      const again = result.error === error && !result.successful && result.value === undefined;
      return [
        error instanceof RangeError,
        name,
        message,
        code,
        cause,
        stack,
        'callback' in (error as object),
        again,
      ];
    }
    return [];
  }, result.handle);
  t.deepEqual(other.result(), [
    true,
    'KeyError',
    'no such key',
    'E_KEY',
    { key: 1 },
    error.stack,
    false,
    true,
  ] as unknown[]);
});

hubTest('whatever is set as an error is thrown', (t) => {
  const result = new SharedAsyncResult();
  for (const thrown of ['text', undefined, null, { code: 1 }]) {
    result.setError(thrown);
    t.deepEqual(
      thrownBy(() => result.get()),
      thrown,
    );
    t.is(result.wait(), undefined);
  }
  result.setError(new AggregateError([new Error('one')], 'several'));
  const error = thrownBy(() => result.get()) as AggregateError;
  t.deepEqual([error.name, error.message, error.errors[0].message], ['AggregateError', 'several', 'one']);
});

hubTest('what is set later replaces what was set before', (t) => {
  const result = new SharedAsyncResult<unknown>();
  result.set();
  t.true(result.ready && result.successful);
  t.is(result.get(), undefined);
  result.setError(new Error('failed'));
  t.false(result.successful);
  t.is((result.error as Error).message, 'failed');
  result.set(Buffer.from('bytes'));
  t.deepEqual(result.value, Buffer.from('bytes'));
  t.is(result.error, undefined);
});

hubTest('values that cannot be cloned, or are too large, are refused, and what was set stays', (t) => {
  const result = new SharedAsyncResult<unknown>({ maxBytes: 4096 });
  result.set('before');
  t.throws(() => result.set(() => {}), {
    instanceOf: TypeError,
    message: /SharedAsyncResult\.set\(\).*be cloned/,
  });
  t.throws(() => result.set(new SharedArrayBuffer(8)), { instanceOf: TypeError });
  t.throws(() => result.set('x'.repeat(4096)), {
    instanceOf: RangeError,
    message: /bytes, more than maxBytes, 4096/,
  });
  t.throws(() => result.setError('x'.repeat(4096)), { instanceOf: RangeError });
  t.is(result.value, 'before');
});

hubTest('large values cross', (t) => {
  const result = new SharedAsyncResult<Uint8Array>();
  const bytes = new Uint8Array(10_000_000).map((_, index) => index % 251);
  const other = new OtherThread(({ SharedAsyncResult }, handle: SharedHandle<'SharedAsyncResult'>) => {
    return SharedAsyncResult.from<Uint8Array>(handle)
      .get()
      .reduce((sum, byte) => sum + byte, 0);
  }, result.handle);
  result.set(bytes);
  t.is(
    other.result(),
    bytes.reduce((sum, byte) => sum + byte, 0),
  );
});

hubTest('values are whole, however often others set them meanwhile', (t) => {
  const result = new SharedAsyncResult<number[]>();
  const stop = new SharedEvent();
  const setters = [1, 2].map(
    (id) =>
      new OtherThread(
        ({ SharedAsyncResult, SharedEvent, sleep, say }, { result, stop, id }: Setter) => {
          const target = SharedAsyncResult.from(result);
          const stopped = SharedEvent.from(stop);
          say('begins');
          for (let rounds = 0; !stopped.isSet(); rounds++) {
            target.set(Array.from({ length: 1 + ((rounds * id) % 300) }, () => rounds));
            if (rounds % 50 === 0) sleep(0);
          }
        },
        { result: result.handle, stop: stop.handle, id },
      ),
  );
  for (const setter of setters) setter.hear();
  let changes = 0;
  for (let last: number[] | undefined; changes < 500;) {
    const value = result.wait() as number[];
    if (value === last) continue;
    last = value;
    changes++;
    if (value.some((number) => number !== value[0])) t.fail('parts of two values');
  }
  stop.set();
  for (const setter of setters) setter.result();
  t.is(changes, 500);
});

interface Setter {
  result: SharedHandle<'SharedAsyncResult'>;
  stop: SharedHandle<'SharedEvent'>;
  id: number;
}

hubTest('a result shows its state', (t) => {
  const result = new SharedAsyncResult();
  t.is(inspect(result), '<SharedAsyncResult unset>');
  result.set(1);
  t.is(String(result), '<SharedAsyncResult value>');
  result.setError(1);
  t.is(String(result), '<SharedAsyncResult error>');
});

// ---- SharedSemaphore

hubTest('a semaphore counts', (t) => {
  const semaphore = new SharedSemaphore(2);
  t.true(semaphore.acquire() && semaphore.acquire() && semaphore.locked && !semaphore.ready);
  t.false(semaphore.acquire(0));
  t.is(semaphore.release(), 1);
  t.is(semaphore.release(), 2);
  t.is(semaphore.release(), 3, 'more may be released than were acquired');
  t.is(inspect(semaphore), '<SharedSemaphore 3 free>');
});

hubTest('the number of permits is checked', (t) => {
  for (const wrong of ['1', null, NaN])
    t.throws(() => new SharedSemaphore(wrong as number), { instanceOf: TypeError });
  for (const wrong of [-1, 0.5, 2 ** 31])
    t.throws(() => new SharedSemaphore(wrong), { instanceOf: RangeError });
  const most = new SharedSemaphore(2 ** 31 - 1);
  t.throws(() => most.release(), { instanceOf: RangeError });
  t.is(most.counter, 2 ** 31 - 1);
});

hubTest('a semaphore excludes threads from one another', (t) => {
  const lock = new SharedSemaphore(1);
  const counter = flag();
  const others = [0, 1, 2, 3].map(
    () =>
      new OtherThread(
        ({ SharedSemaphore, spawn, joinAll, sleep }, { handle, counter }: Counting) => {
          const lock = SharedSemaphore.from(handle);
          const count = (): void => {
            for (let round = 0; round < 1000; round++) {
              lock.with(() => {
                const value = counter[0]!;
                if (round % 10 === 0) sleep(0);
                counter[0] = value + 1;
              });
            }
          };
          joinAll([spawn(count), spawn(count)], { raiseError: true });
        },
        { handle: lock.handle, counter },
      ),
  );
  for (const other of others) other.result();
  t.is(counter[0], 8000);
  t.is(lock.counter, 1);
});

interface Counting {
  handle: SharedHandle<'SharedSemaphore'>;
  counter: Int32Array;
}

hubTest('a thread that takes the permit again and again does not keep it from others', (t) => {
  const lock = new SharedSemaphore(1);
  const done = flag();
  const greedy = [0, 1].map(
    () =>
      new OtherThread(
        ({ SharedSemaphore, say }, { handle, counter }: Counting) => {
          const lock = SharedSemaphore.from(handle);
          say('begins');
          while (Atomics.load(counter, 0) === 0) lock.with(() => {});
        },
        { handle: lock.handle, counter: done },
      ),
  );
  for (const other of greedy) other.hear();
  for (let round = 0; round < 200; round++) lock.with(() => {});
  raise(done);
  for (const other of greedy) other.result();
  t.is(lock.counter, 1);
});

hubTest('a thread that was woken for nothing is served next', (t) => {
  const semaphore = new SharedSemaphore(0);
  const look = new SharedEvent();
  const other = new OtherThread(
    (
      { SharedSemaphore, SharedEvent, spawn, idle, say, sleep },
      [permits, event]: [Handles[1], Handles[0]],
    ) => {
      const semaphore = SharedSemaphore.from(permits);
      const look = SharedEvent.from(event);
      spawn(() => {
        for (;;) semaphore.acquire();
      });
      const lookAgain = (): void => {
        idle();
        say('waiting');
      };
      spawn(() => {
        for (;;) {
          spawn(lookAgain);
          look.wait();
          look.clear();
        }
      });
      sleep(3_600_000);
    },
    [semaphore.handle, look.handle],
  );
  other.hear();
  for (let round = 0; round < 10; round++) {
    semaphore.release();
    const wasFaster = semaphore.acquire(0);
    // When it has seen this, it has looked at the semaphore as well.
    look.set();
    other.hear();
    semaphore.release();
    t.false(wasFaster && semaphore.acquire(0));
    look.set();
    other.hear();
  }
  other.terminate();
});

hubTest('in one thread permits go to those who wait in the order in which they came', (t) => {
  const semaphore = new SharedSemaphore(0);
  const order: number[] = [];
  const waiting = [1, 2, 3, 4].map((id) =>
    parkedIn(() => {
      semaphore.acquire();
      order.push(id);
    }),
  );
  waiting[1]!.kill();
  for (let permits = 0; permits < 3; permits++) semaphore.release();
  t.is(semaphore.counter, 0, 'they are handed over');
  joinAll(waiting);
  t.deepEqual(order, [1, 3, 4]);
});

hubTest('permits that another thread releases go to those who wait in the order in which they came', (t) => {
  const semaphore = new SharedSemaphore(0);
  const order: number[] = [];
  const waiting = [1, 2, 3, 4, 5].map((id) =>
    parkedIn(() => {
      semaphore.acquire();
      order.push(id);
    }),
  );
  const other = new OtherThread(({ SharedSemaphore }, handle: SharedHandle<'SharedSemaphore'>) => {
    for (let permits = 0; permits < 5; permits++) SharedSemaphore.from(handle).release();
  }, semaphore.handle);
  joinAll(waiting);
  other.result();
  t.deepEqual(order, [1, 2, 3, 4, 5]);
  t.is(semaphore.counter, 0);
});

hubTest('a waiter that is killed after it was handed the permit has it', (t) => {
  const semaphore = new SharedSemaphore(0);
  const waiting = parkedIn(() => {
    const acquired = semaphore.acquire();
    try {
      sleep(0);
    } catch (error) {
      if (GreenletExit.is(error) && acquired) semaphore.release();
      throw error;
    }
  });
  semaphore.release();
  t.is(semaphore.counter, 0);
  waiting.kill();
  t.is(semaphore.counter, 1);
});

hubTest('a permit that is released when the time of its waiter is up is not lost', (t) => {
  const semaphore = new SharedSemaphore(0);
  let first: Greenlet<boolean>;
  // Until it is parked and its time is not up.
  do first = parkedIn(() => semaphore.acquire(20));
  while (first.ready);
  burn(25);
  semaphore.release();
  t.true(first.get(), 'it was handed over before the deadline was noticed');
  const second = parkedIn(() => semaphore.acquire(1));
  t.false(second.get());
  t.is(semaphore.release(), 1);
});

hubTest('those who wait for the sight of a permit do not take it', (t) => {
  const semaphore = new SharedSemaphore(0);
  const watching = parkedIn(() => semaphore.wait());
  const acquiring = parkedIn(() => semaphore.acquire());
  semaphore.release();
  joinAll([watching, acquiring]);
  t.true(acquiring.value);
  t.is(semaphore.counter, 0);
});

hubTest('a thread that computes keeps nobody from a permit for which it was woken', (t) => {
  const semaphore = new SharedSemaphore(0);
  const done = flag();
  // Turns begin behind the first place.
  const own = parkedIn(() => semaphore.acquire());
  const other = new OtherThread(
    ({ SharedSemaphore, spawn, idle, say, computeUntil }, { handle, counter }: Counting) => {
      const semaphore = SharedSemaphore.from(handle);
      const waiting = spawn(() => semaphore.acquire());
      idle();
      say('parked');
      computeUntil(counter);
      return waiting.get();
    },
    { handle: semaphore.handle, counter: done },
  );
  other.hear();
  semaphore.release();
  t.true(own.get(), 'else this would hang');
  raise(done);
  semaphore.release();
  t.true(other.result());
  t.is(semaphore.counter, 0);
});

hubTest('nor does one whose turn is before all others', (t) => {
  const semaphore = new SharedSemaphore(0);
  const done = flag();
  const other = new OtherThread(
    ({ SharedSemaphore, spawn, idle, say, sleep, computeUntil }, { handle, counter }: Counting) => {
      const semaphore = SharedSemaphore.from(handle);
      const waiting = spawn(() => semaphore.acquire());
      idle();
      say('parked');
      // It is woken, and finds that somebody was faster.
      sleep(10);
      say('computing');
      computeUntil(counter);
      return waiting.get();
    },
    { handle: semaphore.handle, counter: done },
  );
  other.hear();
  semaphore.release();
  // Who runs is faster than who has to be woken, unless this thread was held up just now.
  const isFirst = !semaphore.acquire(0);
  other.hear();
  const own = [0, 1].map(() => parkedIn(() => semaphore.acquire()));
  semaphore.release();
  semaphore.release();
  for (const greenlet of own) t.true(greenlet.get(), 'else this would hang');
  raise(done);
  semaphore.release();
  t.true(other.result());
  t.is(semaphore.counter, isFirst ? 1 : 0);
});

// ---- SharedQueue

hubTest('items of many threads reach many threads, each once, those of one in their order', (t) => {
  const items = new SharedQueue<[id: number, item: number]>(100);
  const ends = new SharedQueue<Array<[number, number]>>();
  const COUNT = 10_000;
  const producers = [0, 1].map(
    (id) =>
      new OtherThread(
        ({ SharedQueue }, { handle, id, COUNT }: Producing) => {
          const items = SharedQueue.from(handle);
          for (let item = 0; item < COUNT; item++) items.put([id, item]);
        },
        { handle: items.handle, id, COUNT },
      ),
  );
  const consumers = [0, 1].map(
    () =>
      new OtherThread(
        ({ SharedQueue, spawn, joinAll }, [items, ends]: Array<SharedHandle<'SharedQueue'>>) => {
          const queue = SharedQueue.from(items!);
          const consume = (): void => SharedQueue.from(ends!).put([...queue]);
          joinAll([spawn(consume), spawn(consume)], { raiseError: true });
        },
        [items.handle, ends.handle],
      ),
  );
  for (const producer of producers) producer.result();
  items.shutdown();
  for (const consumer of consumers) consumer.result();
  const seen = [new Uint8Array(COUNT), new Uint8Array(COUNT)];
  t.is(ends.size, 4);
  while (!ends.empty) {
    const last = [-1, -1];
    for (const [id, item] of ends.get()) {
      seen[id]![item]!++;
      if (item <= last[id]!) t.fail('items of one producer are out of order');
      last[id] = item;
    }
  }
  t.true(seen.every((counts) => counts.every((count) => count === 1)));
  t.is(items.size, 0);
});

interface Producing {
  handle: SharedHandle<'SharedQueue'>;
  id: number;
  COUNT: number;
}

hubTest('the size of a queue is checked', (t) => {
  for (const wrong of ['1', NaN, {}, []])
    t.throws(() => new SharedQueue(wrong as number), { instanceOf: TypeError });
  for (const wrong of [0, -1, 1.5]) t.throws(() => new SharedQueue(wrong), { instanceOf: RangeError });
  t.deepEqual(
    [undefined, null, Infinity, 3].map((size) => new SharedQueue(size).maxSize),
    [Infinity, Infinity, Infinity, 3],
  );
  t.is(SharedQueue.from(structuredClone(new SharedQueue(3).handle)).maxSize, 3);
});

hubTest(
  'a full queue lets those who put wait, first in, first out, and one that is killed takes its item back',
  (t) => {
    const queue = new SharedQueue<number>(2);
    queue.put(1);
    queue.put(2);
    t.true(queue.full);
    t.throws(() => queue.putNowait(3), { instanceOf: Full });
    t.throws(() => queue.put(3, 1), { instanceOf: Full });
    const putting = [3, 4, 5].map((item) => parkedIn(() => queue.put(item)));
    t.is(String(queue), '<SharedQueue: 2 of 2 items, 3 waiting to put>');
    putting[1]!.kill();
    t.deepEqual([queue.get(), queue.get(), queue.get(), queue.get()], [1, 2, 3, 5]);
    joinAll(putting);
    t.throws(() => queue.getNowait(), { instanceOf: Empty });
    t.throws(() => queue.get(1), { instanceOf: Empty });
  },
);

hubTest('a getter that is killed or whose time is up loses no item', (t) => {
  const queue = new SharedQueue<number>();
  const order: unknown[] = [];
  const getting = [1, 2, 3].map((id) => parkedIn(() => order.push([id, queue.get()])));
  t.is(inspect(queue), '<SharedQueue: 0 items, 3 waiting to get>');
  getting[0]!.kill();
  queue.put(1);
  getting[1]!.kill(undefined, { block: false });
  t.is(order.length, 0);
  queue.put(2);
  joinAll(getting);
  // The second was handed its item before it was killed, so its kill waits for its next park, which never comes.
  t.deepEqual(order, [
    [2, 1],
    [3, 2],
  ]);
  t.is(queue.size, 0);
});

hubTest('items of every kind cross', (t) => {
  const queue = new SharedQueue<unknown>();
  const items = [
    undefined,
    null,
    0,
    -0,
    1n,
    '',
    'text',
    [],
    { a: { b: [1] } },
    new Map([[1, new Set([2])]]),
    new Date(0),
    /x/g,
    Buffer.alloc(0),
    Buffer.from('bytes'),
    new Float64Array([1.5]),
    new ArrayBuffer(3),
  ];
  for (const item of items) queue.put(item);
  t.deepEqual(
    items.map(() => queue.get()),
    items,
  );
});

hubTest('items that cannot be cloned, or are too large, are refused, and nothing is put', (t) => {
  const queue = new SharedQueue<unknown>(2, { maxBytes: 4096 });
  t.throws(() => queue.put(() => {}), {
    instanceOf: TypeError,
    message: /SharedQueue\.put\(\) expects a value that can/,
  });
  t.throws(() => queue.putNowait(Symbol('x')), {
    instanceOf: TypeError,
    message: /SharedQueue\.putNowait\(\)/,
  });
  const failing = {
    get property(): never {
      throw new Error('of the getter');
    },
  };
  const error = t.throws(() => queue.put(failing), { instanceOf: TypeError, message: /of the getter/ });
  t.like(error?.cause, { message: 'of the getter' });
  t.throws(() => queue.put(Buffer.alloc(4096)), { instanceOf: RangeError, message: /more than maxBytes/ });
  t.true(queue.empty);
  queue.put(Buffer.alloc(4000));
  t.is((queue.get() as Buffer).length, 4000);
});

hubTest('an item waits until there is room for its bytes, and is not overtaken', (t) => {
  const queue = new SharedQueue<Buffer>(null, { maxBytes: 4096 });
  queue.put(Buffer.alloc(2000));
  queue.put(Buffer.alloc(1000));
  const order: number[] = [];
  const putting = [3000, 10].map((length) =>
    parkedIn(() => {
      queue.put(Buffer.alloc(length));
      order.push(length);
    }),
  );
  t.false(queue.full);
  t.throws(() => queue.putNowait(Buffer.alloc(10)), { instanceOf: Full });
  t.deepEqual([queue.get().length, order.length], [2000, 0]);
  t.deepEqual([queue.get().length, queue.get().length, queue.get().length], [1000, 3000, 10]);
  joinAll(putting);
  t.deepEqual(order, [3000, 10]);
});

hubTest('when a large item is taken back, smaller ones behind it go in', (t) => {
  const queue = new SharedQueue<Buffer>(null, { maxBytes: 4096 });
  queue.put(Buffer.alloc(2000));
  const large = parkedIn(() => queue.put(Buffer.alloc(3000)));
  const small = parkedIn(() => queue.put(Buffer.alloc(10)));
  large.kill();
  small.get();
  t.is(queue.size, 2);
});

hubTest('the memory grows and wraps around, and items stay as they are', (t) => {
  const queue = new SharedQueue<Buffer>(null, { maxBytes: 1 << 18 });
  let seed = 1;
  const random = (below: number): number => (seed = (seed * 48_271) % 0x7fff_ffff) % below;
  const model: Buffer[] = [];
  let most = 0;
  for (let step = 0; step < 20_000; step++) {
    if (random(100) < 52 - most / 40) {
      const item = Buffer.alloc(random(random(50) === 0 ? 9000 : 90), step);
      try {
        queue.putNowait(item);
        model.push(item);
      } catch (error) {
        if (!(error instanceof Full)) throw error;
      }
    } else if (model.length > 0) {
      if (Buffer.compare(queue.getNowait(), model.shift()!) !== 0) t.fail(`another item at step ${step}`);
    }
    most = model.length;
    if (queue.size !== model.length) t.fail('another size');
  }
  for (const item of model) if (Buffer.compare(queue.get(), item) !== 0) t.fail('another item at the end');
  t.true(queue.empty);
});

hubTest('a queue that was shut down gives out what is in it and then ends everybody, in all threads', (t) => {
  const queue = new SharedQueue<number>(2);
  const other = new OtherThread(({ SharedQueue, spawn, idle, say }, handle: SharedHandle<'SharedQueue'>) => {
    const queue = SharedQueue.from<number>(handle);
    const all = [...queue];
    say(all);
    const getting = spawn(() => {
      try {
        return queue.get();
      } catch (error) {
        return (error as Error).name;
      }
    });
    idle();
    return getting.get();
  }, queue.handle);
  queue.put(1);
  queue.put(2);
  queue.put(3);
  queue.shutdown();
  t.deepEqual(other.hear(), [1, 2, 3]);
  t.is(other.result(), 'ShutDown');
  t.throws(() => queue.put(4), { instanceOf: ShutDown });
  t.throws(() => queue.putNowait(4), { instanceOf: ShutDown });
  t.throws(() => queue.getNowait(), { instanceOf: ShutDown });
  t.true(queue.ready && queue.isShutDown);
  t.is(String(queue), '<SharedQueue: 0 of 2 items, shut down>');
});

hubTest('shutting down wakes all who wait, in all threads; those who put keep their items', (t) => {
  const full = new SharedQueue<number>(1);
  const empty = new SharedQueue<number>(1);
  full.put(1);
  const wait = (
    { SharedQueue, spawn, idle, say, joinAll }: Tools,
    [full, empty]: Array<SharedHandle<'SharedQueue'>>,
  ): unknown[] => {
    const name = (body: () => unknown): unknown => {
      try {
        return body();
      } catch (error) {
        return (error as Error).name;
      }
    };
    const waiting = [
      spawn(() => name(() => SharedQueue.from(full!).put(2))),
      spawn(() => name(() => SharedQueue.from(empty!).get())),
      spawn(() => name(() => SharedQueue.from(empty!).get())),
    ];
    idle();
    say('parked');
    joinAll(waiting);
    return waiting.map(({ value }) => value);
  };
  const others = [0, 1].map(() => new OtherThread(wait, [full.handle, empty.handle]));
  for (const other of others) other.hear();
  const own = parkedIn(() => thrownBy(() => empty.get()));
  full.shutdown();
  empty.shutdown();
  for (const other of others) t.deepEqual(other.result(), ['ShutDown', 'ShutDown', 'ShutDown']);
  t.true(own.get() instanceof ShutDown);
  t.deepEqual([full.get(), full.size], [1, 0]);
});

hubTest('shutting down immediately drops what is in the queue', (t) => {
  const queue = new SharedQueue<number>();
  queue.put(1);
  queue.shutdown(true);
  t.is(queue.size, 0);
  t.throws(() => queue.get(), { instanceOf: ShutDown });
  t.throws(() => queue.shutdown(1 as never), { instanceOf: TypeError });
});

hubTest('StopIteration ends the iteration of one who takes it', (t) => {
  const queue = new SharedQueue<number | typeof StopIteration>();
  const other = new OtherThread(({ SharedQueue }, handle: SharedHandle<'SharedQueue'>) => {
    return [...SharedQueue.from<number>(handle)];
  }, queue.handle);
  for (const item of [1, 2, StopIteration, 3] as const) queue.put(item);
  t.deepEqual(other.result(), [1, 2]);
  t.is(queue.get(), 3);
  queue.put(StopIteration);
  t.is(queue.get(), StopIteration);
});

hubTest('a thread that computes keeps no item for itself', (t) => {
  const queue = new SharedQueue<number>();
  const done = flag();
  const other = new OtherThread(
    (
      { SharedQueue, spawn, idle, say, computeUntil },
      [handle, done]: [SharedHandle<'SharedQueue'>, Int32Array],
    ) => {
      const queue = SharedQueue.from<number>(handle);
      const waiting = [spawn(() => queue.get()), spawn(() => queue.get())];
      idle();
      say('parked');
      computeUntil(done);
      return waiting.map((greenlet) => greenlet.get());
    },
    [queue.handle, done],
  );
  other.hear();
  const own = [0, 1, 2].map(() => parkedIn(() => queue.get()));
  for (const item of [1, 2, 3]) queue.put(item);
  t.deepEqual(
    own.map((greenlet) => greenlet.get()),
    [1, 2, 3],
  );
  raise(done);
  queue.put(4);
  queue.put(5);
  t.deepEqual(other.result(), [4, 5]);
});

// ---- waits that end early, in all threads at once

hubTest('no permit is lost, and none is made, by waits that are killed or whose time is up', (t) => {
  const semaphore = new SharedSemaphore(3);
  const holders = flag();
  const others = [1, 2, 3].map(
    () =>
      new OtherThread(
        ({ SharedSemaphore, spawn, joinAll, sleep }: Tools, { handle, counter }: Counting): number => {
          const semaphore = SharedSemaphore.from(handle);
          let most = 0;
          const hold = (): void => {
            most = Math.max(most, Atomics.add(counter, 0, 1) + 1);
            try {
              sleep(Math.random() < 0.5 ? 0 : 1);
            } finally {
              Atomics.sub(counter, 0, 1);
            }
          };
          const acquireInTime = (): void => {
            if (!semaphore.acquire(Math.random() * 3)) return;
            try {
              hold();
            } finally {
              semaphore.release();
            }
          };
          const work = (): void => {
            for (let round = 0; round < 60; round++) {
              const victim = spawn(() => semaphore.with(hold));
              sleep(Math.random() * 3);
              victim.kill();
              acquireInTime();
            }
          };
          joinAll([spawn(work), spawn(work), spawn(work), spawn(work)], { raiseError: true });
          return most;
        },
        { handle: semaphore.handle, counter: holders },
      ),
  );
  for (const other of others) t.true(other.result() <= 3);
  t.deepEqual([semaphore.counter, holders[0], semaphore.linkCount], [3, 0, 0]);
});

hubTest('no item is lost, and none is got twice, by waits that are killed or whose time is up', (t) => {
  const items = new SharedQueue<number>(2);
  const use = (
    { SharedQueue, spawn, joinAll, sleep }: Tools,
    { handle, id, COUNT }: Producing,
  ): [put: number[], got: number[]] => {
    const queue = SharedQueue.from<number>(handle);
    const [put, got]: [number[], number[]] = [[], []];
    let next = id * 1_000_000;
    const putOne = (limit?: number): void => {
      const item = next++;
      queue.put(item, limit);
      put.push(item);
    };
    const getOne = (limit?: number): void => void got.push(queue.get(limit));
    const work = (operation: (limit?: number) => void): void => {
      for (let round = 0; round < COUNT; round++) {
        const victim = spawn(operation);
        sleep(Math.random() * 2);
        victim.kill();
        try {
          operation(Math.random() * 2);
        } catch (error) {
          if (!['Full', 'Empty'].includes((error as Error).name)) throw error;
        }
      }
    };
    const workers = [putOne, getOne, putOne, getOne].map((operation) => spawn(work, operation));
    joinAll(workers, { raiseError: true });
    return [put, got];
  };
  const others = [1, 2, 3].map((id) => new OtherThread(use, { handle: items.handle, id, COUNT: 60 }));
  const [put, got] = [new Array<number>(), new Array<number>()];
  for (const other of others) {
    const [itsPut, itsGot] = other.result();
    put.push(...itsPut);
    got.push(...itsGot);
  }
  while (!items.empty) got.push(items.getNowait());
  t.true(put.length > 100);
  t.deepEqual(
    got.sort((a, b) => a - b),
    put.sort((a, b) => a - b),
  );
});

// ---- terminated threads

hubTest(
  'a thread that is terminated right after it was woken takes no permit, no item and no room with it',
  (t) => {
    const semaphore = new SharedSemaphore(0);
    const empty = new SharedQueue<number>();
    const full = new SharedQueue<number>(1);
    full.put(1);
    const other = new OtherThread(
      (
        { SharedSemaphore, SharedQueue, spawn, idle, say, computeUntil },
        [semaphore, empty, full, never]: [
          SharedHandle<'SharedSemaphore'>,
          SharedHandle<'SharedQueue'>,
          SharedHandle<'SharedQueue'>,
          Int32Array,
        ],
      ) => {
        for (let count = 0; count < 3; count++) {
          spawn(() => SharedSemaphore.from(semaphore).acquire());
          spawn(() => SharedQueue.from(empty).get());
          spawn(() => SharedQueue.from(full).put(9));
        }
        idle();
        say('parked');
        computeUntil(never);
      },
      [semaphore.handle, empty.handle, full.handle, flag()],
    );
    other.hear();
    semaphore.release();
    empty.put(1);
    t.is(full.get(), 1);
    // These are woken by the end of the other thread: what there is was meant for it.
    const gate = new Gate();
    const acquiring = spawn(() => (gate.pass(), semaphore.acquire()));
    const getting = spawn(() => (gate.pass(), empty.get()));
    const putting = spawn(() => (gate.pass(), full.put(2)));
    gate.open();
    other.terminate();
    t.true(acquiring.get());
    t.is(getting.get(), 1);
    putting.get();
    t.deepEqual([semaphore.counter, empty.size, full.get(), full.size], [0, 0, 2, 0]);
  },
);

hubTest('what a thread was woken for that is terminated goes to another', (t) => {
  const semaphore = new SharedSemaphore(0);
  const wait = ({ SharedSemaphore, spawn, idle, say }: Tools, { handle, counter }: Counting): boolean => {
    const waiting = spawn(() => SharedSemaphore.from(handle).acquire());
    idle();
    say('parked');
    // Outside greenlets the hub does not know of it, and those that wake it believe that it comes soon.
    if (counter[0] !== 0)
      setImmediate(() => {
        say('computing');
        for (;;);
      });
    return waiting.get();
  };
  const other = new OtherThread(wait, { handle: semaphore.handle, counter: flag() });
  t.is(other.hear(), 'parked');
  const doomed = new OtherThread(wait, { handle: semaphore.handle, counter: flag().fill(1) });
  t.is(doomed.hear(), 'parked');
  t.is(doomed.hear(), 'computing');
  // Turns begin behind the first place.
  semaphore.release();
  doomed.terminate();
  t.true(other.result());
  t.is(semaphore.counter, 0);
});

hubTest('a thread that waits and is terminated does not keep others from what comes later', (t) => {
  const semaphore = new SharedSemaphore(0);
  const others = [0, 1, 2].map(
    () =>
      new OtherThread(({ SharedSemaphore, spawn, idle, say }, handle: SharedHandle<'SharedSemaphore'>) => {
        const waiting = [0, 1, 2].map(() => spawn(() => SharedSemaphore.from(handle).acquire()));
        idle();
        say('parked');
        for (const greenlet of waiting) greenlet.join();
      }, semaphore.handle),
  );
  for (const other of others) other.hear();
  const own = parkedIn(() => semaphore.acquire());
  for (const other of others) other.terminate();
  semaphore.release();
  t.true(own.get());
  t.is(semaphore.counter, 0);
});

test('threads that are terminated at random moments leave everything usable', async (t) => {
  const { code, stdout, stderr } = await runProgram('shared-terminated.js', { args: ['45'] });
  t.is(stderr, '');
  t.regex(stdout, /^45 terminated, all items done\n$/);
  t.is(code, 0);
});
