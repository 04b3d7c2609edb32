/** What gevent documents and tests about `gevent.local`, in its form for JavaScript. */
import test from 'ava';
import { type Greenlet, getHub, idle, joinAll, run, spawn, spawnRaw, sleep } from 'greenstack';
import { local } from 'greenstack/local';
import { collectGarbage } from '../support/garbage.js';
import { Gate } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';

interface Numbers {
  number?: number;
}

hubTest('gevent.local.local: what one greenlet sets, another one does not see', (t) => {
  const data = local<Numbers>();
  data.number = 42;
  const other = spawn(() => {
    const before = data.number;
    data.number = 11;
    return [before, data.number];
  });
  t.deepEqual(other.get(), [undefined, 11]);
  t.is(data.number, 42);
});

hubTest('gevent.local.local: a greenlet keeps its content while others run', (t) => {
  const data = local<Numbers>();
  const greenlets = [1, 2, 3].map((id) =>
    spawn(() => {
      data.number = id;
      sleep(0);
      return data.number;
    }),
  );
  joinAll(greenlets);
  t.deepEqual(
    greenlets.map((greenlet) => greenlet.value),
    [1, 2, 3],
  );
});

hubTest('gevent.local.local: a greenlet does not inherit the content of its spawner', (t) => {
  const data = local<Numbers>();
  data.number = 42;
  t.false(spawn(() => 'number' in data).get());
});

hubTest('gevent.local.local: __init__ of a subclass runs for each greenlet with the same arguments', (t) => {
  const made: string[] = [];
  class MyLocal {
    number = 2;
    readonly initialized: string;

    constructor(name: string) {
      made.push(name);
      this.initialized = name;
    }

    squared(): number {
      return this.number ** 2;
    }
  }
  const mine = local(MyLocal, 'red');
  mine.number = 3;
  t.is(mine.squared(), 9);
  t.is(spawn(() => mine.squared()).get(), 4);
  t.deepEqual(made, ['red', 'red']);
});

hubTest('gevent.local.local: __init__ runs when a greenlet first uses it, and once', (t) => {
  let calls = 0;
  const data = local(() => ({ call: ++calls }));
  t.is(calls, 0);
  const seen = spawn(() => [data.call, data.call]).get();
  t.deepEqual(seen, [1, 1]);
});

hubTest('gevent.local.local: class attributes, properties and methods of a subclass are honoured', (t) => {
  class Descriptors {
    #celsius = 0;
    static readonly unit = 'K';

    get kelvin(): number {
      return this.#celsius + 273;
    }

    set kelvin(value: number) {
      this.#celsius = value - 273;
    }

    celsius(): number {
      return this.#celsius;
    }
  }
  const temperature = local(Descriptors);
  temperature.kelvin = 300;
  t.is(temperature.celsius(), 27);
  t.is(spawn(() => temperature.kelvin).get(), 273);
  t.is((temperature.constructor as typeof Descriptors).unit, 'K');
  t.true(temperature instanceof Descriptors);
});

hubTest('gevent.local.local: deleting an attribute removes that of the current greenlet only', (t) => {
  const data = local<Numbers>();
  data.number = 1;
  spawn(() => {
    data.number = 2;
    delete data.number;
    t.false('number' in data);
  }).join();
  t.is(data.number, 1);
});

hubTest('gevent.local.local: __dict__ is that of the current greenlet', (t) => {
  const data = local<Record<string, number>>();
  data.one = 1;
  spawn(() => {
    data.two = 2;
    t.deepEqual(Object.entries(data), [['two', 2]]);
  }).join();
  t.deepEqual(Object.entries(data), [['one', 1]]);
});

hubTest('gevent.local.local: a copy has the content of the current greenlet', (t) => {
  const data = local<Numbers>();
  data.number = 1;
  const copy = { ...data };
  data.number = 2;
  t.deepEqual(copy, { number: 1 });
  t.deepEqual(spawn(() => ({ ...data })).get(), {});
});

hubTest('gevent.local.local: raw greenlets have content of their own', (t) => {
  const data = local<Numbers>();
  const seen: unknown[] = [];
  data.number = 1;
  spawnRaw(() => {
    seen.push(data.number);
    data.number = 2;
    seen.push(data.number);
  });
  idle();
  t.deepEqual(seen, [undefined, 2]);
  t.is(data.number, 1);
});

hubTest('gevent.local.local: the hub has content of its own', (t) => {
  const data = local<Numbers>();
  const seen: unknown[] = [];
  data.number = 1;
  getHub().runCallback(() => {
    seen.push(data.number);
    data.number = 2;
  });
  getHub().runCallback(() => seen.push(data.number));
  idle();
  t.deepEqual(seen, [undefined, 2]);
});

hubTest('gevent.local.local: leaves no link in a running greenlet', (t) => {
  const gate = new Gate();
  const data = local<Numbers>();
  const greenlet = spawn(() => {
    data.number = 1;
    gate.pass();
  });
  idle();
  t.false(greenlet.hasLinks());
  gate.open();
  greenlet.join();
});

const COUNT = 20;

test.serial('gevent.local.local: content is freed with the greenlet', async (t) => {
  const contents: Array<WeakRef<object>> = [];
  const data = local(() => {
    const content = { number: 1 };
    contents.push(new WeakRef(content));
    return content;
  });
  await run(() => {
    for (let index = 0; index < COUNT; index++) spawn(() => data.number++);
    idle();
  });
  t.is(contents.length, COUNT);
  await collectGarbage();
  t.is(contents.filter((content) => content.deref() !== undefined).length, 0);
  t.is(data.number, 1, 'the local itself is still there');
});

test.serial('gevent.local.local: content is freed with the local, while the greenlet runs', async (t) => {
  const contents: Array<WeakRef<object>> = [];
  const gate = new Gate();
  const greenlets: Array<Greenlet<void>> = [];
  await run(() => {
    for (let index = 0; index < COUNT; index++) {
      greenlets.push(
        spawn(() => {
          useLocal(contents);
          gate.pass();
        }),
      );
    }
    idle();
  });
  await collectGarbage();
  const left = contents.filter((content) => content.deref() !== undefined).length;
  gate.open();
  await Promise.all(greenlets);
  t.is(contents.length, COUNT);
  t.is(left, 0);
});

/** A frame of its own, so that nothing on the stack of the greenlet leads to the local any more. */
function useLocal(contents: Array<WeakRef<object>>): void {
  const data = local(() => {
    const content = { number: 1 };
    contents.push(new WeakRef(content));
    return content;
  });
  data.number++;
}
