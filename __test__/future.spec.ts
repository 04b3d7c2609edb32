import { readFile } from 'node:fs';
import test from 'ava';
import { idle, spawn, Timeout, withTimeout } from 'greenstack';
import Fiber from 'greenstack/fibers';
import Future from 'greenstack/fibers/future';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';

/** Runs `body` in a fiber; settles with what it returns or throws. */
function inFiber<T>(body: () => T): Promise<T> {
  return Future.task(body).promise();
}

const later = (callback: (error: unknown, value?: unknown) => void, error: unknown, value?: unknown): void =>
  void setImmediate(callback, error, value);

const noFiber = { instanceOf: Error, message: "Can't wait without a fiber" };

// ends

test('return() ends a future with a value', (t) => {
  const future = new Future<number>();
  t.false(future.isResolved());
  future.return(7);
  t.true(future.isResolved());
  t.is(future.get(), 7);
  t.is(future.wait(), 7);
});

test('throw() ends a future with an error, which get() throws', (t) => {
  const future = new Future();
  const error = new Error('failed');
  future.throw(error);
  t.is(
    thrownBy(() => future.get()),
    error,
  );
});

test('an error that get() throws shows who has got it', (t) => {
  const future = new Future();
  future.throw(new Error('failed'));
  function getIt(): unknown {
    return future.get();
  }
  const { stack } = thrownBy(getIt) as Error;
  t.regex(stack as string, /^Error: failed\n.*getIt.*\n[^]* {4}- - - - -\n[^]*future\.spec/);
});

test('errors that cannot be changed, and what is no error, are thrown as they are', (t) => {
  for (const error of [Object.freeze(new Error('frozen')), 'text', { code: 1 }]) {
    const future = new Future();
    future.throw(error);
    t.is(
      thrownBy(() => future.get()),
      error,
    );
  }
});

test('the messages of wrong use', (t) => {
  const future = new Future();
  t.throws(() => future.get(), { message: 'Future must resolve before value is ready' });
  t.throws(() => future.throw(undefined), { message: 'Must throw non-empty error' });
  t.false(future.isResolved());
  future.return();
  t.throws(() => future.return(), { message: 'Future resolved more than once' });
  t.throws(() => future.throw(new Error('late')), { message: 'Future resolved more than once' });
  t.throws(() => Future.wait(future), noFiber);
  t.throws(() => new Future().wait(), noFiber);
  t.throws(() => Future.wait(1 as never), { message: '1 is not a future' });
  t.throws(() => Future.wait([future, 'x' as never]), { message: 'x is not a future' });
});

test('resolver() makes a callback that ends the future', (t) => {
  const [good, bad] = [new Future(), new Future()];
  good.resolver()(null, 'value');
  bad.resolver()(new Error('failed'));
  t.is(good.get(), 'value');
  t.throws(() => bad.get(), { message: 'failed' });
});

// listeners

test('resolve() calls back at once or when the future ends', (t) => {
  const calls: unknown[] = [];
  const future = new Future<number>();
  t.is(
    future.resolve((error, value) => calls.push([error, value])),
    future,
  );
  future.return(1);
  future.resolve((error, value) => calls.push([error, value]));
  t.deepEqual(calls, [
    [undefined, 1],
    [undefined, 1],
  ]);
});

test('resolve() with another future throws errors there', (t) => {
  const values: unknown[] = [];
  const [good, bad, target] = [new Future(), new Future(), new Future()];
  good.resolve(target, (value) => values.push(value));
  bad.resolve(target, (value) => values.push(value));
  good.return('value');
  bad.throw(new Error('failed'));
  t.deepEqual(values, ['value']);
  t.throws(() => target.get(), { message: 'failed' });
});

test('resolveSuccess(), proxy() and proxyErrors()', (t) => {
  const values: unknown[] = [];
  const [good, bad] = [new Future(), new Future()];
  const targets = Array.from({ length: 5 }, () => new Future());
  good.resolveSuccess((value) => values.push(value));
  bad.resolveSuccess((value) => values.push(value));
  good.proxy(targets[0] as Future<unknown>);
  bad.proxy(targets[1] as Future<unknown>);
  good.proxyErrors(targets[2] as Future<unknown>);
  bad.proxyErrors(targets.slice(3));
  good.return('value');
  bad.throw(new Error('failed'));
  t.deepEqual(values, ['value']);
  t.is(targets[0]?.get(), 'value');
  t.throws(() => targets[1]?.get(), { message: 'failed' });
  t.false(targets[2]?.isResolved());
  t.throws(() => targets[3]?.get(), { message: 'failed' });
  t.throws(() => targets[4]?.get(), { message: 'failed' });
});

test('promise() and fromPromise()', async (t) => {
  const future = new Future<string>();
  const promise = future.promise();
  future.return('value');
  t.is(await promise, 'value');
  const failed = new Future();
  failed.throw(new Error('failed'));
  await t.throwsAsync(failed.promise(), { message: 'failed' });
  t.is(await inFiber(() => Future.fromPromise(Promise.resolve(8)).wait()), 8);
  const rejected = inFiber(() => Future.fromPromise(Promise.reject(new Error('no'))).wait());
  await t.throwsAsync(rejected, { message: 'no' });
});

// waiting

test('wait() returns or throws what the future ends with', async (t) => {
  const got = await inFiber(() => {
    const future = new Future();
    later(future.resolver(), null, 'value');
    return future.wait();
  });
  t.is(got, 'value');
  const failing = inFiber(() => {
    const future = new Future();
    later(future.resolver(), new Error('failed'));
    return future.wait();
  });
  await t.throwsAsync(failing, { message: 'failed' });
});

test('Future.wait() waits for all and throws nothing of theirs', async (t) => {
  await inFiber(() => {
    const futures = Array.from({ length: 4 }, () => new Future());
    for (const [index, future] of futures.entries())
      later(future.resolver(), index === 2 ? new Error('failed') : null, index);
    Future.wait(futures[0] as Future<unknown>, futures.slice(1));
    t.true(futures.every((future) => future.isResolved()));
    Future.wait(futures);
  });
});

test('one future is waited for by several fibers', async (t) => {
  const future = new Future<string>();
  const waiting = Array.from({ length: 3 }, () => inFiber(() => future.wait()));
  later(future.resolver() as () => void, null, 'for all');
  t.deepEqual(await Promise.all(waiting), ['for all', 'for all', 'for all']);
});

hubTest('greenlets wait for futures as fibers do', (t) => {
  const future = new Future<string>();
  const failing = new Future();
  const waiting = spawn(() => future.wait());
  idle();
  later(future.resolver() as () => void, null, 'value');
  t.is(waiting.get(), 'value');
  later(failing.resolver(), new Error('failed'));
  t.throws(() => failing.wait(), { message: 'failed' });
});

hubTest('a timeout ends a wait, and the future ends later all the same', (t) => {
  const future = new Future<string>();
  const thrown: unknown[] = [];
  const waitBriefly = (): void =>
    void thrown.push(thrownBy(() => withTimeout(1, () => future.wait())) instanceof Timeout);
  const fiber = Fiber(() => {
    waitBriefly();
    Fiber.yield();
  });
  fiber.run();
  spawn(waitBriefly).join();
  while (thrown.length < 2) idle();
  future.return('late');
  t.deepEqual(thrown, [true, true]);
  t.true(fiber.started);
  fiber.reset();
});

// functions

test('future() runs a function in a fiber, soon, with its this and arguments', async (t) => {
  const object = {
    base: 1,
    add(this: { base: number }, ...numbers: number[]) {
      Future.fromPromise(Promise.resolve()).wait();
      return numbers.reduce((sum, number) => sum + number, this.base);
    },
  };
  const started = object.add.future<number>();
  t.regex(String(started), /^<<Future add\([^]*\.future\(\)>>$/);
  t.is(await started.call(object, 2, 3).promise(), 6);
});

test('a task that is waited for runs in the fiber that waits', async (t) => {
  const [own, inTask] = await inFiber(() => [Fiber.current, (() => Fiber.current).future()().wait()]);
  t.truthy(own);
  t.is(inTask, own);
});

test('Future.task() of several functions gives an array, or an error', async (t) => {
  const values = Future.task(
    () => 1,
    () => Future.fromPromise(Promise.resolve(2)).wait(),
  );
  t.deepEqual(await values.promise(), [1, 2]);
  const failing = Future.task(
    () => 1,
    () => {
      throw new Error('failed');
    },
  );
  await t.throwsAsync(failing.promise(), { message: 'failed' });
});

test('wrap() makes a function with a callback return a future', async (t) => {
  const read = Future.wrap<string>(readFile);
  t.regex(await inFiber(() => read(__filename, 'utf8').wait()), /makes a function/);
  await t.throwsAsync(
    inFiber(() => read('/nowhere').wait()),
    { code: 'ENOENT' },
  );
});

test('wrap() keeps what the function returns, and its receiver', async (t) => {
  const object = {
    value: 'mine',
    get(callback: (error: unknown, value: string) => void) {
      later(callback as () => void, null, this.value);
      return 'a handle';
    },
  };
  const future = Future.wrap(object.get).call(object) as Future<string> & { _: string };
  t.is(future._, 'a handle');
  t.is(await future.promise(), 'mine');
});

test('wrap() of an object adds companions to its functions', async (t) => {
  const object = {
    double: (number: number, callback: (error: unknown, value: number) => void) => callback(null, number * 2),
    constant: 1,
  };
  const wrapped = Future.wrap(object);
  t.is(await wrapped.doubleFuture(4).promise(), 8);
  t.is(wrapped.constant, 1);
  t.is(await Future.wrap(object, false, 'Soon').doubleSoon(4).promise(), 8);
  t.deepEqual(Object.keys(object), ['double', 'constant']);
});

test('wrap() with multi gives all values of the callback', async (t) => {
  const split = (text: string, callback: (error: unknown, ...parts: string[]) => void): void =>
    callback(null, ...text.split(''));
  t.deepEqual(await Future.wrap(split, true)('abc').promise(), ['a', 'b', 'c']);
});

test('wrap() of a function wraps the functions that are its properties', async (t) => {
  const request = Object.assign(
    (callback: (error: unknown, value: string) => void) => callback(null, 'any'),
    {
      post: (callback: (error: unknown, value: string) => void) => callback(null, 'posted'),
    },
  );
  const wrapped = Future.wrap(request) as FutureFunction<string> & { postFuture: FutureFunction<string> };
  t.is(await wrapped().promise(), 'any');
  t.is(await wrapped.postFuture().promise(), 'posted');
});

test('futures can be inherited from, and are what instanceof says', (t) => {
  class Named extends Future<number> {
    name = 'own';
  }
  const future = new Named();
  future.return(1);
  t.true(future instanceof Future);
  t.is(future.get(), 1);
});

test('Function.prototype.future is not enumerable', (t) => {
  const seen: string[] = [];
  // oxlint-disable-next-line guard-for-in
  for (const key in () => {}) seen.push(key);
  t.deepEqual(seen, []);
});
