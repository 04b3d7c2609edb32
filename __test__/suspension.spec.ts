import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createHook } from 'node:async_hooks';
import { Session } from 'node:inspector';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { deserialize, serialize } from 'node:v8';
import { compileFunction, runInNewContext } from 'node:vm';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { gunzipSync, gzipSync } from 'node:zlib';
import { Greenlet, GreenstackError, Timeout, idle, joinAll, sleep, spawn, waitFor } from 'greenstack';
import test from 'ava';
import { Gate, interleaved, parkForLong, parked, thrownBy } from './support/greenlets.js';
import { hubTest, hubTestIf } from './support/hub-test.js';
import { runProgram } from './support/program.js';
import { muted } from './support/stderr.js';
import { failingWasm, wasm, webAssembly } from './support/wasm.js';

/** Leaves for the other greenlets, through the hub or from one greenlet to the next, and comes back with its argument. */
function pass<T>(value: T): T {
  sleep(0);
  waitFor(new Promise((resolve) => setImmediate(resolve)));
  return value;
}

/** The same value from each of the three greenlets of `interleaved`. */
function thrice<T>(value: T): T[] {
  return [value, value, value];
}

// Built-in functions that call back

hubTest('a comparator of sort() may park', (t) => {
  const sorted = interleaved(() => [5, 3, 9, 1, 7, 2, 8].sort((a, b) => pass(a - b)));
  t.deepEqual(sorted, thrice([1, 2, 3, 5, 7, 8, 9]));
});

hubTest('a comparator of a typed array may park', (t) => {
  const sorted = interleaved(() => [...Float64Array.of(5, 3, 9, 1).sort((a, b) => pass(a - b))]);
  t.deepEqual(sorted, thrice([1, 3, 5, 9]));
});

hubTest('toJSON() may park', (t) => {
  const texts = interleaved((id) =>
    JSON.stringify({ a: { toJSON: () => pass(id) }, b: [{ toJSON: () => pass('x') }] }),
  );
  t.deepEqual(texts, ['{"a":1,"b":["x"]}', '{"a":2,"b":["x"]}', '{"a":3,"b":["x"]}']);
});

hubTest('a replacer of JSON.stringify() may park', (t) => {
  const texts = interleaved((id) =>
    JSON.stringify({ a: 1, b: 2 }, (key, value) => pass(key === 'a' ? id : value)),
  );
  t.deepEqual(texts, ['{"a":1,"b":2}', '{"a":2,"b":2}', '{"a":3,"b":2}']);
});

hubTest('a reviver of JSON.parse() may park', (t) => {
  const values = interleaved((id) =>
    JSON.parse('{"a":[1,2,{"b":3}]}', (_, value) => pass(typeof value === 'number' ? value * id : value)),
  );
  t.deepEqual(values, [{ a: [1, 2, { b: 3 }] }, { a: [2, 4, { b: 6 }] }, { a: [3, 6, { b: 9 }] }]);
});

hubTest('a replacer of a regular expression may park', (t) => {
  const texts = interleaved((id) =>
    'a1b22c333'.replace(/\d+/g, (digits) => pass(String(digits.length * id))),
  );
  t.deepEqual(texts, ['a1b2c3', 'a2b4c6', 'a3b6c9']);
});

hubTest('a park between two matches keeps the state of each regular expression', (t) => {
  const found = interleaved((id) => {
    const pattern = /\w+/g;
    const words: string[] = [];
    for (const [word] of `one${id} two${id} three${id}`.matchAll(pattern)) words.push(pass(word!));
    return words.join();
  });
  t.deepEqual(found, ['one1,two1,three1', 'one2,two2,three2', 'one3,two3,three3']);
});

hubTest('RegExp.$1 aside, exec() with a sticky pattern goes on where it was', (t) => {
  const found = interleaved(() => {
    const pattern = /\w/y;
    const letters: string[] = [];
    for (let match; (match = pattern.exec('abc'));) letters.push(pass(match[0]));
    return letters.join('');
  });
  t.deepEqual(found, thrice('abc'));
});

hubTest('the callback of map() may park', (t) => {
  t.deepEqual(
    interleaved((id) => [1, 2, 3].map((value) => pass(value * id))),
    [
      [1, 2, 3],
      [2, 4, 6],
      [3, 6, 9],
    ],
  );
});

hubTest('the callback of reduce() may park', (t) => {
  t.deepEqual(
    interleaved((id) => [1, 2, 3].reduce((sum, value) => pass(sum + value * id), 0)),
    [6, 12, 18],
  );
});

hubTest('the callback of Map.prototype.forEach() may park', (t) => {
  const seen = interleaved(() => {
    const entries: string[] = [];
    new Map([
      ['a', 1],
      ['b', 2],
    ]).forEach((value, key) => entries.push(pass(key + value)));
    return entries;
  });
  t.deepEqual(seen, thrice(['a1', 'b2']));
});

hubTest('Array.from() with a callback may park', (t) => {
  t.deepEqual(
    interleaved((id) => Array.from({ length: 3 }, (_, index) => pass(index * id))),
    [
      [0, 1, 2],
      [0, 2, 4],
      [0, 3, 6],
    ],
  );
});

hubTest('an iterator that Array.from() and spread read may park', (t) => {
  function* numbers(limit: number) {
    for (let number = 0; number < limit; number++) yield pass(number);
  }
  t.deepEqual(
    interleaved((id) => [...numbers(id), ...Array.from(numbers(id))]),
    [
      [0, 0],
      [0, 1, 0, 1],
      [0, 1, 2, 0, 1, 2],
    ].map((list) => list),
  );
});

hubTest('the compiler of Function() and eval run code that parks', (t) => {
  const values = interleaved((id) => {
    const compiled = compileFunction('return pass(id) + eval("pass(1)")', ['pass', 'id']) as (
      park: typeof pass,
      id: number,
    ) => number;
    return compiled(pass, id);
  });
  t.deepEqual(values, [2, 3, 4]);
});

hubTest('code in another vm context may park', (t) => {
  t.deepEqual(
    interleaved((id) =>
      runInNewContext('[3, 1, 2].sort((a, b) => pass(a - b)).concat(id)', { pass, id }).join(),
    ),
    ['1,2,3,1', '1,2,3,2', '1,2,3,3'],
  );
});

// Objects with behaviour

hubTest('a getter may park', (t) => {
  const object = {
    get answer() {
      return pass(42);
    },
  };
  t.deepEqual(
    interleaved(() => object.answer),
    thrice(42),
  );
});

hubTest('a setter may park', (t) => {
  const values = interleaved((id) => {
    let stored = 0;
    const object = {
      set value(value: number) {
        stored = pass(value);
      },
    };
    object.value = id;
    return stored;
  });
  t.deepEqual(values, [1, 2, 3]);
});

hubTest('proxy traps may park', (t) => {
  const proxy = new Proxy({} as Record<string, string>, {
    get: (_, key) => pass(`got ${String(key)}`),
    has: (_, key) => pass(key === 'there'),
    ownKeys: () => pass(['x', 'y']),
    getOwnPropertyDescriptor: () => pass({ value: 1, enumerable: true, configurable: true }),
  });
  t.deepEqual(
    interleaved(() => [proxy['a'], 'there' in proxy, 'away' in proxy, Object.keys(proxy)]),
    thrice(['got a', true, false, ['x', 'y']]),
  );
});

hubTest('apply and construct traps may park', (t) => {
  const proxy = new Proxy(class {}, {
    apply: () => pass('applied'),
    construct: () => pass({ constructed: true }),
  });
  t.deepEqual(
    interleaved(() => [(proxy as unknown as () => string)(), new proxy()] as unknown[]),
    thrice(['applied', { constructed: true }] as unknown[]),
  );
});

hubTest('Symbol.toPrimitive may park', (t) => {
  const values = interleaved((id) => {
    const number = { [Symbol.toPrimitive]: () => pass(id) };
    return `${number}` + (number as unknown as number) * 2;
  });
  t.deepEqual(values, ['12', '24', '36']);
});

hubTest('valueOf() in the middle of an addition may park', (t) => {
  const values = interleaved((id) => {
    const number = { valueOf: () => pass(id) };
    return id * 10 + (number as unknown as number);
  });
  t.deepEqual(values, [11, 22, 33]);
});

hubTest('Symbol.hasInstance may park', (t) => {
  const even = { [Symbol.hasInstance]: (value: number) => pass(value % 2 === 0) };
  t.deepEqual(
    interleaved((id) => (id as unknown as object) instanceof (even as unknown as Function)),
    [false, true, false],
  );
});

hubTest('the tag of a template may park', (t) => {
  const tag = (parts: TemplateStringsArray, ...values: unknown[]) => pass(parts.join('|') + values.join());
  t.deepEqual(
    interleaved((id) => tag`a${pass(id)}b${pass(2)}c`),
    ['a|b|c1,2', 'a|b|c2,2', 'a|b|c3,2'],
  );
});

hubTest('Reflect.apply(), Reflect.construct() and bound functions may park', (t) => {
  class Point {
    readonly x: number;
    constructor(x: number) {
      this.x = pass(x);
    }
  }
  const add = function (this: { base: number }, term: number) {
    return pass(this.base + term);
  };
  t.deepEqual(
    interleaved((id) => [
      Reflect.apply(add, { base: id }, [1]),
      add.bind({ base: id }, 2)(),
      Reflect.construct(Point, [id]).x,
    ]),
    [
      [2, 3, 1],
      [3, 4, 2],
      [4, 5, 3],
    ],
  );
});

hubTest('a static block and field initialisers of a class may park', (t) => {
  const values = interleaved((id) => {
    class Registry {
      static entries: number[] = [pass(id)];
      field = pass(id * 10);
      static {
        Registry.entries.push(pass(id * 100));
      }
    }
    return [...Registry.entries, new Registry().field];
  });
  t.deepEqual(values, [
    [1, 100, 10],
    [2, 200, 20],
    [3, 300, 30],
  ]);
});

hubTest('a derived constructor may park before and after super()', (t) => {
  class Base {
    readonly base: number;
    constructor(id: number) {
      this.base = pass(id);
    }
  }
  class Derived extends Base {
    readonly derived: number;
    constructor(id: number) {
      super(pass(id));
      this.derived = pass(this.base + 1);
    }
  }
  t.deepEqual(
    interleaved((id) => new Derived(id).derived),
    [2, 3, 4],
  );
});

hubTest('Symbol.split, Symbol.species and an exec() of one’s own may park', (t) => {
  class List extends Array<number> {
    static override get [Symbol.species]() {
      return pass(Array);
    }
  }
  const pattern = /b/;
  pattern.exec = () => pass(null);
  t.deepEqual(
    interleaved((id) => [
      'a-b'.split({ [Symbol.split]: (text: string) => [pass(`${text}${id}`)] } as never),
      List.from([id]).map((value) => value * 10),
      'abc'.replace(pattern, 'x'),
    ]),
    [1, 2, 3].map((id) => [[`a-b${id}`], [id * 10], 'abc']),
  );
});

hubTest('getters of options that Intl and Date read may park', (t) => {
  t.deepEqual(
    interleaved((id) => {
      const options = {
        get style() {
          return pass('percent' as const);
        },
      };
      const time = { [Symbol.toPrimitive]: () => pass(id) };
      return [new Intl.NumberFormat('en', options).format(id), new Date(time as never).getTime()];
    }),
    [
      ['100%', 1],
      ['200%', 2],
      ['300%', 3],
    ],
  );
});

hubTest('getters that the structured clone algorithm reads may park', (t) => {
  const object = (id: number) => ({
    get first() {
      return pass(id);
    },
    inner: {
      get second() {
        return pass(id * 10);
      },
    },
  });
  const values = interleaved((id) => {
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(object(id));
    const received = receiveMessageOnPort(port2) as { message: { first: number } };
    port1.close();
    return [
      structuredClone(object(id)).first,
      deserialize(serialize(object(id))).inner.second,
      received.message.first,
    ];
  });
  t.deepEqual(
    values,
    [1, 2, 3].map((id) => [id, id * 10, id]),
  );
});

// Control flow

hubTest('a generator may park between two yields, and be resumed by another greenlet', (t) => {
  function* steps() {
    yield pass('one');
    yield pass('two');
  }
  const generator = steps();
  const first = spawn(() => generator.next().value).get();
  const second = spawn(() => generator.next().value).get();
  t.deepEqual([first, second], ['one', 'two']);
});

hubTest('finally runs after a park in try, and may park itself', (t) => {
  const logs = interleaved((id) => {
    const log: string[] = [];
    try {
      try {
        log.push(pass('try'));
        throw new Error(`from ${id}`);
      } catch (error) {
        log.push(pass((error as Error).message));
        throw pass(error);
      } finally {
        log.push(pass('finally'));
      }
    } catch {
      log.push(pass('outer'));
    }
    return log;
  });
  t.deepEqual(
    logs,
    [1, 2, 3].map((id) => ['try', `from ${id}`, 'finally', 'outer']),
  );
});

hubTest('return in finally overrides a kill that was thrown in try', (t) => {
  const greenlet = spawn(() => {
    try {
      parkForLong();
    } finally {
      // eslint-disable-next-line no-unsafe-finally
      return 'overridden';
    }
  });
  idle();
  muted(() => greenlet.kill());
  t.is(greenlet.value as unknown, 'overridden');
});

hubTest('labelled loops, switch and destructuring go on after a park', (t) => {
  const logs = interleaved((id) => {
    const log: number[] = [];
    rows: for (const row of [1, 2, 3]) {
      for (const column of [1, 2, 3]) {
        switch (pass(column)) {
          case 2:
            if (pass(row) === 2) continue rows;
            break;
          case 3:
            continue;
        }
        const { sum = pass(row * column * id) } = {} as { sum?: number };
        log.push(sum);
      }
    }
    return log;
  });
  t.deepEqual(
    logs,
    [1, 2, 3].map((id) => [1, 2, 2, 3, 6].map((value) => value * id)),
  );
});

hubTest('an async function called from a greenlet may park in its synchronous part', (t) => {
  const values = interleaved((id) => {
    const ask = async () => {
      const before = pass(id);
      await Promise.resolve();
      return before * 10;
    };
    return waitFor(ask());
  });
  t.deepEqual(values, [10, 20, 30]);
});

hubTest('an executor of a promise may park', (t) => {
  t.deepEqual(
    interleaved((id) => waitFor(new Promise<number>((resolve) => resolve(pass(id))))),
    [1, 2, 3],
  );
});

hubTest('a listener of an EventEmitter and of an EventTarget may park', (t) => {
  const values = interleaved((id) => {
    const seen: number[] = [];
    const target = new EventTarget();
    target.addEventListener('ask', () => seen.push(pass(id)));
    target.dispatchEvent(new Event('ask'));
    return seen;
  });
  t.deepEqual(values, [[1], [2], [3]]);
});

hubTest('a callback that native code of Node calls at once may park', (t) => {
  const values = interleaved((id) => {
    const session = new Session();
    session.connect();
    let value: unknown;
    session.post('Runtime.evaluate', { expression: `${id} * 7` }, (_, { result }) => {
      value = pass(result.value);
    });
    session.disconnect();
    return [value, performance.timerify(() => pass(id))()];
  });
  t.deepEqual(values, [
    [7, 1],
    [14, 2],
    [21, 3],
  ]);
});

hubTest('Error.prepareStackTrace may park', (t) => {
  const { prepareStackTrace } = Error;
  Error.prepareStackTrace = () => pass('prepared');
  let stack: unknown;
  try {
    stack = spawn(() => new Error('here').stack).get();
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
  }
  t.is(stack, 'prepared');
});

hubTest('async hooks may be enabled while greenlets park', (t) => {
  let before = 0;
  const hook = createHook({ init() {}, before: () => void before++, after() {}, destroy() {} }).enable();
  try {
    t.deepEqual(
      interleaved((id) => waitFor(new Promise<number>((resolve) => setTimeout(() => resolve(id), pass(1))))),
      [1, 2, 3],
    );
  } finally {
    hook.disable();
  }
  t.true(before > 0);
});

hubTest('the stack trace of an error thrown after a park names its callers', (t) => {
  function theOuterFunction() {
    theInnerFunction();
  }
  function theInnerFunction() {
    pass(0);
    throw new Error('here');
  }
  const { stack } = thrownBy(() => theOuterFunction()) as Error;
  t.regex(String(stack), /theInnerFunction[^]*theOuterFunction/);
});

// Modules

hubTest('the top level of a required module may park', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'greenstack-'));
  try {
    const file = join(folder, 'blocking.js');
    writeFileSync(file, 'exports.before = 1; globalThis.passForTest(0); exports.after = 2;');
    Object.assign(globalThis, { passForTest: pass });
    const required = createRequire(__filename)(file) as unknown;
    t.deepEqual({ ...(required as object) }, { before: 1, after: 2 });
  } finally {
    Reflect.deleteProperty(globalThis, 'passForTest');
    rmSync(folder, { recursive: true });
  }
});

/** Whether this Node can require ES modules. */
const requiresEsm = (process.features as { require_module?: boolean }).require_module === true;

hubTestIf(requiresEsm, 'the top level of an ES module that is required may park', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'greenstack-'));
  try {
    const file = join(folder, 'blocking.mjs');
    writeFileSync(file, 'export const value = globalThis.passForTest(5);');
    Object.assign(globalThis, { passForTest: pass });
    const required = createRequire(__filename)(file) as { value: number };
    t.is(required.value, 5);
  } finally {
    Reflect.deleteProperty(globalThis, 'passForTest');
    rmSync(folder, { recursive: true });
  }
});

hubTest('import() can be waited for', (t) => {
  const module = waitFor(import('node:path'));
  t.is(module.join('a', 'b'), 'a/b');
});

hubTest('Node functions that stop the whole process still work in a greenlet', (t) => {
  const text = 'x'.repeat(100_000);
  t.is(gunzipSync(gzipSync(text)).toString(), text);
  t.is(execFileSync(process.execPath, ['-p', '6 * 7'], { encoding: 'utf8' }), '42\n');
});

// Optimised code

/** Makes a function hot with numbers, parks within it, and goes on with other types: V8 has to take the code back. */
function hot(a: any, b: any, park: boolean): any {
  let sum = a + b;
  if (park) pass(0);
  for (let index = 0; index < 10; index++) sum = sum + b;
  return sum;
}

hubTest('a hot function goes on after a park, and after its code was taken back', (t) => {
  for (let round = 0; round < 100_000; round++) hot(round, 1, false);
  const results = interleaved((id) => {
    const numbers = hot(id, 1, true);
    const texts = hot('a', 'b', true);
    const mixed = hot(id, 'c', true);
    return [numbers, texts, mixed, hot(id, 1.5, true)];
  });
  t.deepEqual(
    results,
    [1, 2, 3].map((id) => [id + 11, 'a' + 'b'.repeat(11), id + 'c'.repeat(11), id + 16.5]),
  );
});

hubTest('code that is taken back while its frame is parked goes on rightly', (t) => {
  const read = (object: { x: number }) => object.x;
  const sum = (object: { x: number }, gate: Gate | undefined) => {
    const before = read(object);
    gate?.pass();
    return before + read(object);
  };
  for (let round = 0; round < 100_000; round++) sum({ x: round }, undefined);
  const gate = new Gate();
  const object = { x: 1 };
  const greenlet = spawn(() => sum(object, gate));
  idle();
  // The map that the parked frame was compiled for is deprecated, and its field holds a double from now on.
  object.x = 0.5;
  Object.defineProperty(Object.prototype, 'unexpected', { value: 1, configurable: true });
  Reflect.deleteProperty(Object.prototype, 'unexpected');
  gate.open();
  t.is(greenlet.get(), 1.5);
});

hubTest('a loop that is replaced by optimised code while it parks goes on', (t) => {
  const sums = interleaved((id) => {
    let sum = 0;
    for (let index = 0; index < 200_000; index++) {
      sum += index % 7;
      if (index % 20_000 === 0) sum += pass(id);
    }
    return sum;
  });
  const base = Array.from({ length: 200_000 }, (_, index) => index % 7).reduce(
    (sum, value) => sum + value,
    0,
  );
  t.deepEqual(
    sums,
    [1, 2, 3].map((id) => base + 10 * id),
  );
});

// Deep stacks

function depth(levels: number): number {
  return levels === 0 ? 0 : 1 + depth(levels - 1);
}

function endless(): number {
  return 1 + endless();
}

/** The deepest `depth(levels)` that does not overflow here. */
function deepest(): number {
  let low = 0;
  let high = 1;
  const fits = (levels: number) => {
    try {
      return depth(levels) === levels;
    } catch {
      return false;
    }
  };
  while (fits(high)) high *= 2;
  while (high - low > 100) {
    const middle = (low + high) >> 1;
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}

test.serial('a greenlet recurses as deep as the main stack', async (t) => {
  // Without the compilers, so that frames have the same size in both measurements.
  const flags = ['--no-opt', '--no-sparkplug', '--no-maglev'];
  const { code, stdout } = await runProgram('recursion.js', { flags });
  t.is(code, 0);
  const { main, greenlet } = JSON.parse(stdout) as { main: number; greenlet: number };
  t.true(greenlet >= main, `main: ${main}, greenlet: ${greenlet}`);
});

hubTest('a park in the depth of a recursion comes back to it', (t) => {
  const descend = (levels: number): number => (levels === 0 ? pass(0) : 1 + descend(levels - 1));
  t.deepEqual(
    interleaved(() => descend(5_000)),
    thrice(5_000),
  );
});

hubTest('a stack overflow is a RangeError that can be caught, and the greenlet lives on', (t) => {
  const greenlet = spawn(() => {
    const error = thrownBy(endless);
    return [error instanceof RangeError, pass('lives on')];
  });
  t.deepEqual(greenlet.get(), [true, 'lives on']);
});

hubTest('a stack overflow that nobody catches is the error of the greenlet', (t) => {
  const greenlet = spawn(endless);
  muted(() => greenlet.join());
  t.true(greenlet.error instanceof RangeError);
});

hubTest('a greenlet can overflow its stack again and again', (t) => {
  const overflows = spawn(() => {
    let count = 0;
    for (let round = 0; round < 20; round++) {
      if (thrownBy(endless) instanceof RangeError) count++;
      pass(0);
    }
    return count;
  });
  t.is(overflows.get(), 20);
});

hubTest('overflows of several greenlets do not disturb each other', (t) => {
  t.deepEqual(
    interleaved(() => [1, 2, 3].map(() => pass(thrownBy(endless) instanceof RangeError))),
    thrice([true, true, true]),
  );
});

hubTest('a stack overflow in a native callback can be caught', (t) => {
  const overflow = (): number[] => [2, 1].sort(() => overflow().length);
  t.deepEqual(
    interleaved(() => thrownBy(overflow) instanceof RangeError),
    thrice(true),
  );
});

hubTest('a call with too many arguments overflows as it does on the main stack', (t) => {
  const numbers = Array.from({ length: 5_000_000 }, (_, index) => index);
  t.deepEqual(
    interleaved(() => [
      Math.max(...numbers.slice(0, 50_000)),
      thrownBy(() => Math.max(...numbers)) instanceof RangeError,
    ]),
    thrice([49_999, true]),
  );
});

test.serial(
  'native code at the very end of a stack overflows as a RangeError or works, but does not crash',
  async (t) => {
    const { code, signal, stdout, stderr } = await runProgram('end-of-stack.js');
    t.is(code, 0, `signal ${signal}\n${stderr}`);
    const unexpected = JSON.parse(stdout) as Record<string, string>;
    t.deepEqual(unexpected, {});
  },
);

test.serial('arrays may be joined by many greenlets that park within, whoever ends first', async (t) => {
  const { code, signal, stdout, stderr } = await runProgram('joined-arrays.js');
  t.is(code, 0, `signal ${signal}\n${stderr}`);
  t.is(stdout, 'right: 20\nafter: a-b\n');
});

test.serial(
  'a time limit of vm that passes while its code is parked does not stop other greenlets',
  async (t) => {
    const { code, signal, stdout, stderr } = await runProgram('vm-timeout.js');
    t.is(code, 0, `signal ${signal}\n${stderr}`);
    t.is(stdout, 'others: true\nendless: ERR_SCRIPT_EXECUTION_TIMEOUT\n');
  },
);

hubTest('plain code still has its own stack after an overflow in a greenlet', (t) => {
  spawn(() => thrownBy(endless)).join();
  const value = waitFor(new Promise((resolve) => setImmediate(() => resolve(depth(5_000)))));
  t.is(value, 5_000);
});

hubTest('a larger stackSize lets a greenlet recurse deeper', (t) => {
  const usual = spawn(deepest).get();
  const large = spawn({ stackSize: 8 * 1024 * 1024 }, deepest).get();
  t.true(large > 3 * usual, `usual: ${usual}, large: ${large}`);
});

hubTest('a smaller stackSize makes a greenlet overflow earlier', (t) => {
  const usual = spawn(deepest).get();
  const small = spawn({ stackSize: 256 * 1024 }, deepest).get();
  t.true(small < usual && small > 0, `usual: ${usual}, small: ${small}`);
});

hubTest('the stackSize of one greenlet is not that of the next', (t) => {
  spawn({ stackSize: 8 * 1024 * 1024 }, deepest).join();
  const first = spawn(deepest).get();
  spawn({ stackSize: 256 * 1024 }, deepest).join();
  const second = spawn(deepest).get();
  t.true(second * 2 > first && first * 2 > second, `${first}, ${second}`);
});

// WebAssembly

const hasWasm = webAssembly !== undefined;

hubTestIf(hasWasm, 'a WebAssembly import may park', (t) => {
  t.deepEqual(
    interleaved((id) => wasm(() => pass(id))()),
    [2, 3, 4],
  );
});

hubTestIf(
  hasWasm,
  'an error that is thrown at a park in a WebAssembly import goes through the module',
  (t) => {
    const timeout = Timeout.startNew(1);
    t.throws(wasm(parkForLong), { is: timeout });
  },
);

hubTestIf(hasWasm, 'a trap of WebAssembly in a greenlet can be caught', (t) => {
  const { trap } = failingWasm();
  t.deepEqual(
    interleaved(() => [1, 2].map(() => pass(String(thrownBy(() => trap(0x7fff_ffff)))))),
    thrice(['RuntimeError: memory access out of bounds', 'RuntimeError: memory access out of bounds']),
  );
});

hubTestIf(hasWasm, 'a stack overflow within WebAssembly can be caught', (t) => {
  const { recurse } = failingWasm();
  t.deepEqual(
    interleaved(() => [1, 2].map(() => pass(thrownBy(recurse) instanceof RangeError))),
    thrice([true, true]),
  );
});

const { promising, Suspending } = webAssembly ?? {};
const hasJspi = promising !== undefined;

hubTestIf(hasJspi, 'parking in the synchronous part of WebAssembly.promising is refused', (t) => {
  const call = promising!(wasm(() => pass(1)));
  t.throws(() => waitFor(call()), { instanceOf: GreenstackError });
});

hubTestIf(hasJspi, 'after a refused park in WebAssembly.promising the greenlet may park', (t) => {
  const results = interleaved((id) => {
    const refused = thrownBy(() => waitFor(promising!(wasm(() => pass(1)))()));
    return [refused instanceof GreenstackError, pass(id)];
  });
  t.deepEqual(results, [
    [true, 1],
    [true, 2],
    [true, 3],
  ]);
});

hubTestIf(hasJspi, 'the promise of WebAssembly.promising can be waited for', (t) => {
  const others = [parked(), parked()];
  const results = interleaved((id) => {
    const suspending = new Suspending!(() => new Promise((resolve) => setImmediate(resolve, id)));
    return waitFor(promising!(wasm(suspending))());
  });
  t.deepEqual(results, [2, 3, 4]);
  for (const other of others) other.kill();
});

// Many at once

hubTest('a thousand greenlets parked in different native frames all come back', (t) => {
  const ways: ((id: number) => number)[] = [
    (id) => pass(id),
    (id) => [2, 1].map((value) => pass(value * id))[1]!,
    (id) => Number('x'.replace(/x/, () => String(pass(id)))),
    (id) => JSON.parse('1', () => pass(id)) as number,
    (id) => (hasWasm ? wasm(() => pass(id - 1))() : pass(id)),
    (id) => Reflect.apply(pass, undefined, [id]) as number,
    (id) => Number({ [Symbol.toPrimitive]: () => pass(id) }),
  ];
  const greenlets = Array.from({ length: 1000 }, (_, id): Greenlet<number> =>
    spawn(ways[id % ways.length]!, id),
  );
  joinAll(greenlets, { raiseError: true });
  t.true(greenlets.every((greenlet, id) => Number(greenlet.value) === id));
});
