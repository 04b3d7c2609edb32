/** What `waitFor` makes of things that are nearly promises, what it leaves behind, and waiting for events. */
import { EventEmitter, getEventListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { type Greenlet, idle, on, once, sleep, spawn, Timeout, waitFor } from 'greenstack';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { runProgram } from './support/program.js';

type Callbacks = [resolve: (value?: unknown) => void, reject: (reason?: unknown) => void];

/** A thenable whose `then` is `body`. */
function thenable(body: (...callbacks: Callbacks) => unknown): PromiseLike<unknown> {
  return { then: body } as unknown as PromiseLike<unknown>;
}

// Thenables

hubTest('waitFor() takes what a thenable calls back with first', (t) => {
  const late: Array<() => void> = [];
  t.is(
    waitFor(
      thenable((resolve, reject) => {
        setImmediate(() => resolve('first'));
        late.push(
          () => resolve('second'),
          () => reject(new Error('third')),
        );
        setImmediate(() => late.forEach((call) => call()));
      }),
    ),
    'first',
  );
  idle();
});

hubTest('waitFor() takes what a thenable calls back with at once, and not what follows', (t) => {
  t.is(
    waitFor(
      thenable((resolve, reject) => {
        resolve('first');
        resolve('second');
        reject(new Error('third'));
        throw new Error('fourth');
      }),
    ),
    'first',
  );
});

hubTest('waitFor() throws what a thenable rejects with at once', (t) => {
  const error = new Error('at once');
  t.is(
    thrownBy(() => waitFor(thenable((_, reject) => reject(error)))),
    error,
  );
});

hubTest('waitFor() goes on with a thenable that resolves with another one, as await does', async (t) => {
  const inner = thenable((resolve) => resolve(Promise.resolve('inner')));
  t.is(waitFor(thenable((resolve) => resolve(inner))), 'inner');
  t.is(waitFor(delay(1, inner)), 'inner');
});

hubTest('waitFor() throws what the getter of then throws', (t) => {
  const error = new Error('getter');
  const value = {
    get then(): never {
      throw error;
    },
  };
  t.is(
    thrownBy(() => waitFor(value)),
    error,
  );
  t.is(
    thrownBy(() => waitFor(async () => value)),
    error,
  );
});

hubTest('waitFor() reads then once', (t) => {
  let reads = 0;
  const value = {
    get then() {
      reads++;
      return (resolve: (value: string) => void) => resolve('value');
    },
  };
  t.is(waitFor(value as unknown as PromiseLike<string>), 'value');
  t.is(reads, 1);
});

hubTest('waitFor() takes a function that has a then for a promise', (t) => {
  const fn = Object.assign(() => 'called', { then: (resolve: (value: string) => void) => resolve('kept') });
  t.is(waitFor(fn as unknown as PromiseLike<string>), 'kept');
});

hubTest('waitFor() takes promises of other contexts and of classes that extend Promise', (t) => {
  class Own<T> extends Promise<T> {}
  t.is(waitFor(runInNewContext('Promise.resolve(5)') as Promise<number>), 5);
  t.is(waitFor(Own.resolve(5)), 5);
});

hubTest('waitFor() hands a function through that is no promise only after calling it', (t) => {
  t.is(
    waitFor(() => 'plain'),
    'plain',
  );
  const object = { then: 'not a function' };
  t.is(waitFor(object), object);
});

// A wait that ends early

hubTest('kill and timeout abort the signal with what they throw', (t) => {
  const signals: AbortSignal[] = [];
  const forever = (signal: AbortSignal): Promise<never> => {
    signals.push(signal);
    return new Promise<never>(() => {});
  };
  const greenlet = spawn(() => waitFor(forever));
  idle();
  greenlet.kill();
  t.is(signals[0]!.reason, greenlet.value as unknown);
  const timeout = thrownBy(() => waitFor(forever, 1));
  t.true(timeout instanceof Timeout);
  t.is(signals[1]!.reason, timeout);
});

hubTest('an operation of Node that is given up ends', (t) => {
  const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  t.true(thrownBy(() => waitFor((signal) => delay(3_600_000, null, { signal }), 1)) instanceof Timeout);
  t.is(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length, before);
});

test('a promise that nobody keeps is named when nothing else lives', async (t) => {
  const { code, stdout } = await runProgram('pending-promise.js');
  t.is(code, 0);
  t.deepEqual(stdout.split('\n').slice(0, -1), [
    'waitFor of a promise',
    'waitFor of the promise that never() has returned',
    'waitFor of the promise that never() has returned',
  ]);
});

// once()

hubTest('once() returns what the event has', (t) => {
  const emitter = new EventEmitter();
  setImmediate(() => emitter.emit('done', 1, 'two'));
  t.deepEqual(once(emitter, 'done'), [1, 'two']);
  t.is(emitter.listenerCount('done') + emitter.listenerCount('error'), 0);
});

hubTest('once() throws the error that comes first', (t) => {
  const emitter = new EventEmitter();
  const error = new Error('boom');
  setImmediate(() => emitter.emit('error', error));
  t.is(
    thrownBy(() => once(emitter, 'done')),
    error,
  );
  t.is(emitter.listenerCount('done') + emitter.listenerCount('error'), 0);
});

hubTest('once() waits for the event error itself', (t) => {
  const emitter = new EventEmitter();
  setImmediate(() => emitter.emit('error', 'text'));
  t.deepEqual(once(emitter, 'error'), ['text']);
});

hubTest('once() listens to event targets', (t) => {
  const target = new EventTarget();
  const event = new Event('ping');
  setImmediate(() => target.dispatchEvent(event));
  t.deepEqual(once(target, 'ping'), [event]);
  t.is(getEventListeners(target, 'ping').length, 0);
});

hubTest('once() listens no more after a timeout and a kill', (t) => {
  const emitter = new EventEmitter();
  t.true(thrownBy(() => once(emitter, 'done', 1)) instanceof Timeout);
  t.true(thrownBy(() => once(emitter, 'done', 0)) instanceof Timeout);
  const greenlet = spawn(() => once(emitter, 'done'));
  idle();
  t.is(emitter.listenerCount('done'), 1);
  greenlet.kill();
  t.is(emitter.listenerCount('done') + emitter.listenerCount('error'), 0);
});

hubTest('once() and on() refuse what is no emitter and what is no name', (t) => {
  const emitter = new EventEmitter();
  for (const call of [once, on]) {
    t.throws(() => call(null as never, 'done'), {
      message: /expects an EventEmitter or an EventTarget, got null/,
    });
    t.throws(() => call({} as never, 'done'), { instanceOf: TypeError });
    t.throws(() => call(emitter, 5 as never), { message: /expects the name of an event, got 5/ });
  }
  t.throws(() => on(emitter, 'done', { close: 'end' as never }), {
    message: /close must be an array of names/,
  });
  t.is(emitter.listenerCount('done'), 0);
});

// on()

/** A greenlet that collects events until there are no more. */
function collecting(emitter: EventEmitter, options?: Parameters<typeof on>[2]): Greenlet<unknown[]> {
  const events = on(emitter, 'item', options);
  return spawn(() => [...events].map(([item]) => item));
}

hubTest('on() keeps what comes between two steps, and ends at an event of close', (t) => {
  const emitter = new EventEmitter();
  const greenlet = collecting(emitter, { close: ['end'] });
  emitter.emit('item', 1);
  emitter.emit('item', 2);
  sleep(1);
  emitter.emit('item', 3);
  emitter.emit('end');
  t.deepEqual(greenlet.get(), [1, 2, 3]);
  t.is(emitter.listenerCount('item') + emitter.listenerCount('end') + emitter.listenerCount('error'), 0);
});

hubTest('on() throws what the event error has', (t) => {
  const emitter = new EventEmitter();
  const events = on(emitter, 'item');
  const greenlet = spawn(() => thrownBy(() => [...events]));
  const error = new Error('boom');
  emitter.emit('error', error);
  t.is(greenlet.get(), error);
  t.is(emitter.listenerCount('item'), 0);
});

hubTest('on() listens no more after break, dispose, timeout and kill', (t) => {
  const emitter = new EventEmitter();
  const listeners = () => emitter.listenerCount('item') + emitter.listenerCount('error');
  setImmediate(() => emitter.emit('item'));
  for (const _ of on(emitter, 'item')) break;
  t.is(listeners(), 0);
  on(emitter, 'item')[Symbol.dispose]();
  t.is(listeners(), 0);
  t.true(thrownBy(() => on(emitter, 'item', { timeout: 1 }).next()) instanceof Timeout);
  t.is(listeners(), 0);
  const greenlet = collecting(emitter);
  idle();
  t.is(listeners(), 2);
  greenlet.kill();
  t.is(listeners(), 0);
});
