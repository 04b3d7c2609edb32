import { AsyncLocalStorage } from 'node:async_hooks';
import { inspect } from 'node:util';
import test from 'ava';
import { GreenstackError, getHub, idle, run, sleep, spawn, spawnRaw } from 'greenstack';
import { GreenletLocal, local } from 'greenstack/local';
import { collectGarbage } from './support/garbage.js';
import { interleaved, thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';

// local: what it is

hubTest('the content of a local is what its init function returns', (t) => {
  const point = local(() => ({ x: 1, y: 2 }));
  t.deepEqual({ ...point }, { x: 1, y: 2 });
});

hubTest('init gets the arguments that local() was given', (t) => {
  const pair = local((left: number, right: string) => ({ left, right }), 1, 'two');
  t.is(pair.left, 1);
  t.is(spawn(() => pair.right).get(), 'two');
});

hubTest('init runs in the greenlet whose content it makes, and may park', (t) => {
  const data = local((suffix: string) => {
    sleep(0);
    return { text: `content ${suffix}` };
  }, 'x');
  t.deepEqual(
    interleaved(() => data.text),
    ['content x', 'content x', 'content x'],
  );
});

hubTest('an init function that throws is called again the next time', (t) => {
  let calls = 0;
  const data = local(() => {
    if (++calls === 1) throw new Error('not yet');
    return { calls };
  });
  t.throws(() => data.calls, { message: 'not yet' });
  t.is(data.calls, 2);
});

hubTest('an init function that uses its own local is told so', (t) => {
  const data: { value: number } = local(() => ({ value: data.value }));
  const error = thrownBy(() => data.value);
  t.true(error instanceof GreenstackError);
  t.is((error as GreenstackError).code, 'ERR_GREENSTACK_LOCAL_RECURSION');
});

for (const [kind, content] of [
  ['a number', 1],
  ['nothing', undefined],
  ['null', null],
  ['a function', () => 1],
] as const) {
  hubTest(`an init function that returns ${kind} is refused`, (t) => {
    const data = local(() => content as unknown as { value: number });
    t.throws(() => data.value, { instanceOf: TypeError, message: /must return an object/ });
  });
}

for (const [kind, init] of [
  ['null', null],
  ['an object', {}],
  ['a string', 'init'],
] as const) {
  hubTest(`local() refuses ${kind}`, (t) => {
    t.throws(() => local(init as never), { instanceOf: TypeError, message: /local\(\) expects a function/ });
  });
}

// local: operations

hubTest('a local is used like the object that is its content', (t) => {
  const data = local<Record<string, number>>();
  data.one = 1;
  t.true('one' in data);
  t.false('two' in data);
  t.deepEqual(Object.keys(data), ['one']);
  t.is(JSON.stringify(data), '{"one":1}');
  t.true(delete data.one);
  t.deepEqual(Object.keys(data), []);
});

hubTest('a property of a local can be defined, and read as a descriptor', (t) => {
  const data = local<{ hidden?: number }>();
  Object.defineProperty(data, 'hidden', { value: 1, enumerable: false, writable: true });
  t.is(data.hidden, 1);
  t.deepEqual(Object.keys(data), []);
  t.like(Object.getOwnPropertyDescriptor(data, 'hidden'), { value: 1, enumerable: false });
  t.is(Object.getOwnPropertyDescriptor(data, 'other'), undefined);
});

hubTest('a local cannot be frozen, nor get permanent properties', (t) => {
  const data = local<{ value?: number }>();
  t.throws(() => Object.freeze(data), { instanceOf: TypeError });
  t.throws(() => Object.defineProperty(data, 'value', { value: 1, configurable: false }), {
    instanceOf: TypeError,
  });
  data.value = 2;
  t.is(data.value, 2);
});

hubTest('assigning what the content refuses throws', (t) => {
  const data = local(() => Object.freeze({ value: 1 }) as { value: number });
  t.throws(() => (data.value = 2), { instanceOf: TypeError });
  t.is(data.value, 1);
});

hubTest('the prototype of a local is that of its content', (t) => {
  const data = local(() => Object.create(null) as Record<string, number>);
  t.is(Object.getPrototypeOf(data), null);
  Object.setPrototypeOf(data, Array.prototype);
  t.true((data as unknown) instanceof Array);
  t.is(spawn(() => Object.getPrototypeOf(data) as unknown).get(), null);
});

hubTest('a local is shown as its content', (t) => {
  const data = local(() => ({ name: 'Ada' }));
  t.is(inspect(data), "{ name: 'Ada' }");
});

// local: classes

hubTest('methods of a class with private fields and of built-in classes work on the content', (t) => {
  const counts = local<Map<string, number>, []>(Map);
  counts.set('a', 1).set('b', 2);
  t.is(counts.size, 2);
  t.deepEqual([...counts.keys()], ['a', 'b']);
  t.is(spawn(() => counts.size).get(), 0);
});

hubTest('a method that returns its object returns the local', (t) => {
  const counts = local<Map<string, number>, []>(Map);
  const returned = counts.set('a', 1);
  t.is(returned, counts);
  t.is(spawn(() => returned.size).get(), 0);
});

hubTest('a method of a local is the same each time it is read, in every greenlet', (t) => {
  const counts = local<Map<string, number>, []>(Map);
  const { set } = counts;
  t.is(counts.set, set);
  t.is(spawn(() => counts.set).get(), set);
});

hubTest('a method of a local can be called on something else', (t) => {
  const counts = local<Map<string, number>, []>(Map);
  const other = new Map<string, number>();
  counts.set.call(other, 'a', 1);
  t.is(other.size, 1);
  t.is(counts.size, 0);
});

hubTest('functions that are stored in a local are returned as they are', (t) => {
  const callback = (): number => 1;
  const data = local<{ callback?: () => number }>();
  data.callback = callback;
  t.is(data.callback, callback);
});

hubTest('a class that was compiled to a function is an init function', (t) => {
  function Legacy(this: unknown): object {
    return { receiver: this };
  }
  t.is(local(Legacy as unknown as () => { receiver: unknown }).receiver, undefined);
});

// local: who has which

test.serial('module top levels, callbacks and promise reactions share one content', async (t) => {
  const data = local<{ value?: number }>();
  data.value = 1;
  await Promise.resolve();
  t.is(data.value, 1);
  await new Promise<void>((resolve) => setImmediate(resolve));
  t.is(data.value, 1);
  await run(() => t.is(data.value, undefined));
});

hubTest('a local is not inherited, an AsyncLocalStorage is', (t) => {
  const data = local<{ user?: string }>();
  const storage = new AsyncLocalStorage<string>();
  data.user = 'Ada';
  const seen = storage.run('Ada', () => spawn(() => [data.user, storage.getStore()])).get();
  t.deepEqual(seen, [undefined, 'Ada']);
});

hubTest('two locals have nothing to do with one another', (t) => {
  const [one, two] = [local<{ value?: number }>(), local<{ value?: number }>()];
  one.value = 1;
  t.is(two.value, undefined);
});

// GreenletLocal

hubTest('a GreenletLocal has a value for each greenlet', (t) => {
  const depth = new GreenletLocal(() => 0);
  const body = (id: number): number => {
    depth.set(depth.get() + id);
    sleep(0);
    return depth.get();
  };
  t.deepEqual(interleaved(body), [1, 2, 3]);
  t.is(depth.get(), 0);
});

hubTest('a GreenletLocal without init begins with undefined', (t) => {
  const name = new GreenletLocal<string | undefined>();
  t.is(name.get(), undefined);
  t.false(name.has());
  name.set('Ada');
  t.is(name.get(), 'Ada');
  t.is(spawn(() => name.get()).get(), undefined);
});

hubTest('has() tells whether there is a value, and does not make one', (t) => {
  let calls = 0;
  const value = new GreenletLocal(() => ++calls);
  t.false(value.has());
  t.is(calls, 0);
  value.get();
  t.true(value.has());
});

hubTest('delete() forgets the value, so that init makes a new one', (t) => {
  let calls = 0;
  const value = new GreenletLocal(() => ++calls);
  t.false(value.delete());
  t.is(value.get(), 1);
  t.true(value.delete());
  t.is(value.get(), 2);
});

hubTest('undefined is a value like any other', (t) => {
  let calls = 0;
  const value = new GreenletLocal<number | undefined>(() => ++calls);
  value.set(undefined);
  t.true(value.has());
  t.is(value.get(), undefined);
  t.is(calls, 0);
});

hubTest('init of a GreenletLocal that returns undefined is called once', (t) => {
  let calls = 0;
  const value = new GreenletLocal<undefined>(() => {
    calls++;
    return undefined;
  });
  value.get();
  value.get();
  t.is(calls, 1);
});

hubTest('init of a GreenletLocal that throws is called again', (t) => {
  let calls = 0;
  const value = new GreenletLocal(() => {
    if (++calls === 1) throw new Error('not yet');
    return calls;
  });
  t.throws(() => value.get(), { message: 'not yet' });
  t.false(value.has());
  t.is(value.get(), 2);
});

hubTest('init of a GreenletLocal that is killed leaves no value', (t) => {
  let calls = 0;
  const value = new GreenletLocal(() => {
    if (++calls === 1) sleep(3_600_000, { ref: false });
    return calls;
  });
  const victim = spawn(() => {
    try {
      value.get();
    } finally {
      t.false(value.has());
      t.is(value.get(), 2);
    }
  });
  idle();
  victim.kill();
  t.is(calls, 2);
});

hubTest('init of a GreenletLocal that asks for its value is told so', (t) => {
  const value: GreenletLocal<number> = new GreenletLocal(() => value.get());
  t.throws(() => value.get(), { code: 'ERR_GREENSTACK_LOCAL_RECURSION' });
});

hubTest('init of a GreenletLocal may set the value; what it returns counts', (t) => {
  const value: GreenletLocal<number> = new GreenletLocal(() => {
    value.set(1);
    return value.get() + 1;
  });
  t.is(value.get(), 2);
});

hubTest('new GreenletLocal() refuses what is no function', (t) => {
  t.throws(() => new GreenletLocal(5 as never), {
    instanceOf: TypeError,
    message: /new GreenletLocal\(\) expects a function, got number/,
  });
});

hubTest('a GreenletLocal serves raw greenlets and the hub', (t) => {
  const value = new GreenletLocal<string | undefined>();
  const seen: unknown[] = [];
  value.set('main');
  spawnRaw(() => {
    seen.push(value.get());
    value.set('raw');
  });
  getHub().runCallback(() => {
    seen.push(value.get());
    value.set('hub');
  });
  getHub().runCallback(() => seen.push(value.get()));
  idle();
  t.deepEqual(seen, [undefined, undefined, 'hub']);
  t.is(value.get(), 'main');
});

test.serial('values of a GreenletLocal are freed with their greenlets', async (t) => {
  const values: Array<WeakRef<object>> = [];
  const value = new GreenletLocal<object | undefined>();
  await run(() => {
    for (let index = 0; index < 20; index++) {
      spawn(() => {
        const object = {};
        values.push(new WeakRef(object));
        value.set(object);
      });
    }
    idle();
  });
  await collectGarbage();
  t.is(values.length, 20);
  t.is(values.filter((each) => each.deref() !== undefined).length, 0);
  t.is(value.get(), undefined);
});
