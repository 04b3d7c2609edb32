/** What patching is: recorded, undone, told of; and what patched functions and listeners do while others go on. */
import { AsyncLocalStorage } from 'node:async_hooks';
import * as childProcess from 'node:child_process';
import * as crypto from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import * as fs from 'node:fs';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import { type AddressInfo, connect, createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as readline from 'node:readline';
import { PassThrough } from 'node:stream';
import * as timersModule from 'node:timers';
import { promisify } from 'node:util';
import { MessageChannel } from 'node:worker_threads';
import * as zlib from 'node:zlib';
import test from 'ava';
import express4, { type Express } from 'express4';
import express5 from 'express5';
import fastify from 'fastify';
import { getCurrent, GreenletExit, sleep, spawn, Timeout, waitFor, withTimeout } from 'greenstack';
import { Event } from 'greenstack/event';
import {
  DoNotPatch,
  getOriginal,
  isAnythingPatched,
  isModulePatched,
  isObjectPatched,
  patchAll,
  patchEvents,
  patchFs,
  patching,
  patchModule,
  patchZlib,
  unpatchAll,
  unpatchEvents,
  unpatchFs,
  unpatchModule,
} from 'greenstack/monkey';
import Koa from 'koa';
import { hubTest } from './support/hub-test.js';
import { runProgram } from './support/program.js';

const originalFs = { ...fs };

test.before(() => {
  process.removeAllListeners('warning');
});

test.afterEach.always(() => {
  unpatchAll();
});

/** As `hubTest`, with everything patched. */
function patchedTest(title: string, body: Parameters<typeof hubTest>[1]): void {
  hubTest(title, (t) => {
    patchAll();
    try {
      body(t);
    } finally {
      unpatchAll();
    }
  });
}

function makeFifo(): string {
  const path = join(originalFs.mkdtempSync(join(tmpdir(), 'greenstack-')), 'fifo');
  childProcess.execFileSync('mkfifo', [path]);
  return path;
}

function warnings(): { texts: string[]; stop(): void } {
  const texts: string[] = [];
  const note = (warning: Error): void => void texts.push(`${warning.name}: ${warning.message}`);
  process.on('warning', note);
  return { texts, stop: () => void process.off('warning', note) };
}

// ---- the record

test.serial('patching replaces, and unpatching puts back the very same', (t) => {
  const before = [
    fs.readFileSync,
    zlib.gzipSync,
    setTimeout,
    timersModule.setTimeout,
    Atomics.wait,
    childProcess.execSync,
  ];
  t.true(patchAll());
  const during = [
    fs.readFileSync,
    zlib.gzipSync,
    setTimeout,
    timersModule.setTimeout,
    Atomics.wait,
    childProcess.execSync,
  ];
  before.forEach((original, index) => t.not(during[index], original));
  t.true(Object.hasOwn(http.Server.prototype, 'emit'));
  t.true(unpatchAll());
  t.deepEqual(
    [
      fs.readFileSync,
      zlib.gzipSync,
      setTimeout,
      timersModule.setTimeout,
      Atomics.wait,
      childProcess.execSync,
    ].map((now, index) => now === before[index]),
    before.map(() => true),
  );
  t.false(Object.hasOwn(http.Server.prototype, 'emit'));
  t.false(Object.hasOwn(process, 'emit'));
  t.false(unpatchAll());
});

test.serial('patching twice changes nothing', (t) => {
  t.true(patchFs());
  const { readFileSync } = fs;
  t.false(patchFs());
  t.is(fs.readFileSync, readFileSync);
  t.is(getOriginal('fs', 'readFileSync'), originalFs.readFileSync);
  t.true(unpatchFs());
  t.false(unpatchFs());
  t.is(fs.readFileSync, originalFs.readFileSync);
});

test.serial(
  'a second patchAll() adds what was left out, and warns if it leaves out what is patched',
  async (t) => {
    const { texts, stop } = warnings();
    t.true(patchAll({ zlib: false }));
    t.false(isModulePatched('zlib'));
    t.true(patchAll());
    t.true(isModulePatched('zlib'));
    t.false(patchAll({ fs: false }));
    await new Promise(setImmediate);
    stop();
    t.true(texts.some((text) => text.includes('leaves out fs, which is patched already')));
  },
);

test.serial('what is patched is recorded', (t) => {
  t.false(isAnythingPatched());
  t.true(patchZlib());
  t.true(isAnythingPatched());
  t.true(isModulePatched('zlib'));
  t.true(isModulePatched('node:zlib'));
  t.false(isModulePatched('fs'));
  t.true(isObjectPatched('node:zlib', 'gzipSync'));
  t.false(isObjectPatched('zlib', 'createGzip'));
  const [gzipSync, createGzip] = getOriginal('node:zlib', ['gzipSync', 'createGzip']);
  t.not(gzipSync, zlib.gzipSync);
  t.is(createGzip, zlib.createGzip);
  t.is(getOriginal('fs', 'statSync'), fs.statSync);
});

test.serial('wrong arguments are refused, before anything is patched', (t) => {
  const wrong = (call: () => unknown, message: RegExp): void =>
    void t.throws(call, { instanceOf: TypeError, message });
  wrong(() => patchAll({ none: true } as never), /there is no option none/);
  wrong(() => patchAll({ fs: 1 } as never), /fs must be true or false, got 1/);
  wrong(() => patchAll('fs' as never), /expects an object of options, got string fs/);
  wrong(() => isModulePatched(1 as never), /expects the name of a module, got 1/);
  wrong(() => getOriginal('fs', 'none'), /fs has no none/);
  wrong(() => getOriginal('fs', [1 as never]), /name of a property, got 1/);
  wrong(() => patchEvents({} as never), /expects an event emitter, got object/);
  wrong(() => patchEvents(new EventEmitter(), 'data' as never), /expects a list of events/);
  wrong(() => patchModule('mine', null as never, {}), /expects a module, got null/);
  wrong(() => patchModule('mine', {}, { a: 1 as never }), /expects a function/);
  t.false(isAnythingPatched());
});

test.serial('patched functions look as the originals', (t) => {
  patchAll();
  t.is(fs.readFileSync.name, 'readFileSync');
  t.is(fs.readFileSync.length, originalFs.readFileSync.length);
  t.is(typeof fs.realpathSync.native, 'function');
  t.is(promisify(setTimeout), promisify(getOriginal('timers', 'setTimeout') as typeof setTimeout));
  t.true(Object.keys(fs).includes('readFileSync'));
});

test.serial('listeners are told, in order, and may keep a module from being patched', (t) => {
  const told: string[] = [];
  const onAll = (): void => void told.push('will all');
  const onModule = ({ module, items }: { module: string; items: readonly string[] }): void => {
    told.push(`will ${module}`);
    if (module === 'zlib') throw new DoNotPatch();
    if (module === 'fs') t.true(items.includes('readFileSync'));
  };
  const onDone = ({ module }: { module: string }): void => void told.push(`did ${module}`);
  const onAllDone = (): void => void told.push('did all');
  patching.on('willPatchAll', onAll).on('willPatchModule', onModule);
  patching.on('didPatchModule', onDone).on('didPatchAll', onAllDone);
  try {
    patchAll({
      timers: false,
      net: false,
      http: false,
      process: false,
      worker: false,
      readline: false,
      atomics: false,
    });
  } finally {
    patching.removeAllListeners();
  }
  const expected = ['will all', 'will fs', 'did fs', 'will child_process', 'did child_process'];
  t.deepEqual(told, [...expected, 'will crypto', 'did crypto', 'will zlib', 'did all']);
  t.false(isModulePatched('zlib'));
});

test.serial('another error of a listener goes to whoever patches', (t) => {
  patching.on('willPatchModule', () => {
    throw new Error('no');
  });
  t.throws(patchFs, { message: 'no' });
  patching.removeAllListeners();
  t.false(isModulePatched('fs'));
});

test.serial('modules of others are patched and unpatched alike', (t) => {
  const module = { twice: (n: number) => 2 * n };
  const { twice } = module;
  t.true(patchModule('mine', module, { twice: (n) => Number(n) * 3 }));
  t.false(patchModule('mine', module, { twice: (n) => Number(n) * 4 }));
  t.is(module.twice(2), 6);
  t.true(isObjectPatched('mine', 'twice'));
  t.true(unpatchModule('mine'));
  t.is(module.twice, twice);
  t.false(unpatchModule('mine'));
});

test.serial('what others have replaced meanwhile stays as they want it', (t) => {
  patchZlib();
  const theirs = (): Buffer => Buffer.from('theirs');
  const mutable = require('node:zlib') as { gzipSync: unknown };
  const original = getOriginal('zlib', 'gzipSync');
  mutable.gzipSync = theirs;
  unpatchAll();
  t.is(mutable.gzipSync, theirs);
  mutable.gzipSync = original;
});

// ---- while one greenlet is inside a patched call

/** Counts as long as it runs: others than the one that makes a call. */
function counting(): { count: number; stop(): void } {
  const state = { count: 0, stop: () => greenlet.kill() };
  const greenlet = spawn(() => {
    for (;;) {
      sleep(0);
      state.count++;
    }
  });
  return state;
}

/** Makes a call that ends only when another greenlet has run a hundred times since it began. */
function progressTest(
  title: string,
  begin: () => { call(): unknown; release(): void; result: unknown },
): void {
  patchedTest(`others go on during ${title}`, (t) => {
    const { call, release, result } = begin();
    const counter = counting();
    const caller = spawn(call);
    while (counter.count < 100) sleep(0);
    t.false(caller.ready);
    release();
    t.deepEqual(caller.get(), result);
    counter.stop();
  });
}

progressTest('readFileSync of a FIFO', () => {
  const path = makeFifo();
  return {
    call: () => fs.readFileSync(path, 'utf8'),
    release: () => fs.writeFileSync(path, 'through'),
    result: 'through',
  };
});

progressTest('readSync of a pipe', () => {
  const path = makeFifo();
  const descriptor = fs.openSync(path, 'r+');
  const buffer = Buffer.alloc(3);
  return {
    call: () => {
      const count = fs.readSync(descriptor, buffer);
      fs.closeSync(descriptor);
      return [count, buffer.toString()];
    },
    release: () => fs.writeFileSync(path, 'abc'),
    result: [3, 'abc'],
  };
});

progressTest('execSync', () => {
  const path = makeFifo();
  return {
    call: () => childProcess.execSync(`cat ${path}`, { encoding: 'utf8' }),
    release: () => fs.writeFileSync(path, 'of a child'),
    result: 'of a child',
  };
});

progressTest('Atomics.wait', () => {
  const shared = new Int32Array(new SharedArrayBuffer(4));
  return { call: () => Atomics.wait(shared, 0, 0), release: () => Atomics.notify(shared, 0), result: 'ok' };
});

patchedTest('others go on during pbkdf2Sync and gzipSync', (t) => {
  const counter = counting();
  const before = counter.count;
  crypto.pbkdf2Sync('secret', 'salt', 20_000, 32, 'sha256');
  const between = counter.count;
  zlib.gzipSync(Buffer.alloc(1_000_000));
  t.true(between > before);
  t.true(counter.count > between);
  counter.stop();
});

patchedTest('outside of greenlets the originals are called: nobody else runs', (t) => {
  const counter = counting();
  sleep(0);
  const counted = new Promise<[number, number]>((resolve) => {
    (getOriginal('timers', 'setImmediate') as typeof setImmediate)(() => {
      const before = counter.count;
      zlib.gzipSync(Buffer.alloc(100_000));
      fs.readFileSync(__filename);
      resolve([before, counter.count]);
    });
  });
  const [before, after] = waitFor(counted);
  t.is(after, before);
  counter.stop();
});

// ---- kills and timeouts

patchedTest('a kill during execSync ends the child', (t) => {
  const path = makeFifo();
  const caller = spawn(() => childProcess.execSync(`exec cat ${path}`));
  const reader = spawn(() => fs.openSync(path, 'w'));
  const descriptor = reader.get();
  caller.kill();
  t.true(caller.value instanceof GreenletExit);
  // Its end of the pipe closes: whoever writes is told.
  const error = t.throws(() => {
    for (;;) {
      fs.writeSync(descriptor, 'x');
      sleep(1);
    }
  });
  t.is((error as NodeJS.ErrnoException).code, 'EPIPE');
  fs.closeSync(descriptor);
});

patchedTest('a Timeout ends a call that would take longer', (t) => {
  const path = makeFifo();
  const descriptor = fs.openSync(path, 'r+');
  t.throws(() => withTimeout(5, () => fs.readSync(descriptor, Buffer.alloc(3))), { instanceOf: Timeout });
  // Nothing was taken by the call that was given up.
  fs.writeFileSync(path, 'abc');
  const buffer = Buffer.alloc(3);
  t.is(fs.readSync(descriptor, buffer), 3);
  t.is(buffer.toString(), 'abc');
  fs.closeSync(descriptor);
});

patchedTest('a descriptor that nobody waits for any more is closed', (t) => {
  const path = makeFifo();
  const descriptors = (): number => fs.readdirSync('/proc/self/fd').length;
  const before = descriptors();
  const opener = spawn(() => fs.openSync(path, 'r'));
  sleep(0);
  opener.kill();
  // The writer finds the reader that was given up, and then nobody.
  const writer = fs.openSync(path, 'w');
  fs.closeSync(writer);
  while (descriptors() > before) sleep(1);
  t.is(descriptors(), before);
});

patchedTest('a wake-up for a wait that was given up goes to the next who waits', (t) => {
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const first = spawn(() => Atomics.wait(shared, 0, 0));
  sleep(0);
  first.kill();
  const second = spawn(() => Atomics.wait(shared, 0, 0));
  sleep(0);
  Atomics.notify(shared, 0, 1);
  t.is(second.get(), 'ok');
});

// ---- listeners and callbacks

patchedTest('callbacks of timers may block, with their arguments and this', (t) => {
  const done = new Event();
  const seen: unknown[] = [];
  const timeout = setTimeout(
    function (this: unknown, ...args) {
      sleep(1);
      seen.push(this === timeout, ...args);
      done.set();
    },
    1,
    'a',
    'b',
  );
  done.wait();
  done.clear();
  setImmediate((value: string) => {
    sleep(1);
    seen.push(value);
    done.set();
  }, 'c');
  done.wait();
  clearTimeout(setTimeout(() => t.fail(), 1));
  clearImmediate(setImmediate(() => t.fail()));
  waitFor(promisify(setTimeout)(2));
  t.deepEqual(seen, [true, 'a', 'b', 'c']);
});

patchedTest('an interval is not called again while its callback waits', (t) => {
  let calls = 0;
  let running = 0;
  const enough = new Event();
  const interval = setInterval(() => {
    running++;
    t.is(running, 1);
    sleep(5);
    running--;
    if (++calls === 3) enough.set();
  }, 1);
  enough.wait();
  clearInterval(interval);
  while (running > 0) sleep(1);
});

patchedTest('microtasks and ticks come between two timers, as without greenlets', (t) => {
  const order: string[] = [];
  const done = new Event();
  waitFor(
    new Promise<void>((resolve) => {
      setImmediate(() => {
        for (const name of ['a', 'b']) {
          setImmediate(() => {
            order.push(name);
            process.nextTick(() => order.push(`${name} tick`));
            void Promise.resolve().then(() => order.push(`${name} reaction`));
          });
        }
        setImmediate(() => {
          done.set();
          resolve();
        });
      });
    }),
  );
  done.wait();
  t.deepEqual(order, ['a', 'a tick', 'a reaction', 'b', 'b tick', 'b reaction']);
});

hubTest('listeners of an emitter that is patched may block; emit() goes on meanwhile', (t) => {
  const emitter = new EventEmitter();
  const order: string[] = [];
  const gate = new Event();
  emitter.on('event', (value: string) => {
    order.push(`first ${value}`);
    gate.wait();
    order.push('first ends');
  });
  emitter.once('event', function (this: unknown) {
    order.push(`second ${this === emitter}`);
  });
  t.true(patchEvents(emitter));
  t.false(patchEvents(emitter));
  const emitted = waitFor(
    new Promise((resolve) => {
      setImmediate(() => {
        resolve(emitter.emit('event', 'x'));
        order.push('emitted');
      });
    }),
  );
  t.true(emitted);
  t.false(emitter.emit('none'));
  gate.set();
  sleep(0);
  t.deepEqual(order, ['first x', 'second true', 'emitted', 'first ends']);
  t.is(emitter.listenerCount('event'), 1);
  t.true(unpatchEvents(emitter));
  t.false(unpatchEvents(emitter));
  t.is(emitter.emit, EventEmitter.prototype.emit);
});

hubTest('a listener that does not wait throws to whoever emits', (t) => {
  const emitter = new EventEmitter();
  patchEvents(emitter, ['event']);
  emitter.on('event', () => {
    throw new Error('at once');
  });
  const error = waitFor(
    new Promise<Error>((resolve) => {
      setImmediate(() => {
        try {
          emitter.emit('event');
        } catch (thrown) {
          resolve(thrown as Error);
        }
      });
    }),
  );
  t.is(error.message, 'at once');
  unpatchEvents(emitter);
});

hubTest('the async context of who emits is that of the listener', (t) => {
  const storage = new AsyncLocalStorage<string>();
  const emitter = new EventEmitter();
  patchEvents(emitter);
  const seen: Array<string | undefined> = [];
  emitter.on('event', () => {
    seen.push(storage.getStore());
    sleep(1);
    seen.push(storage.getStore());
  });
  waitFor(
    new Promise<void>((resolve) => {
      setImmediate(() => {
        storage.run('inner', () => emitter.emit('event'));
        seen.push(storage.getStore());
        resolve();
      });
    }),
  );
  while (seen.length < 3) sleep(1);
  t.deepEqual(seen, ['inner', undefined, 'inner']);
  unpatchEvents(emitter);
});

patchedTest('questions and lines of readline may block', (t) => {
  const input = new PassThrough();
  const reader = readline.createInterface({ input });
  const lines: string[] = [];
  reader.question('', (answer) => {
    sleep(1);
    lines.push(`answer ${answer}`);
  });
  reader.on('line', (line) => {
    sleep(1);
    lines.push(line);
  });
  input.write('one\ntwo\n');
  while (lines.length < 2) sleep(1);
  t.deepEqual(lines.sort(), ['answer one', 'two']);
  reader.close();
});

patchedTest('listeners of signals may block', (t) => {
  const done = new Event();
  const listener = (): void => {
    sleep(1);
    done.set();
  };
  process.once('SIGUSR2', listener);
  process.kill(process.pid, 'SIGUSR2');
  // A signal alone does not keep the process alive.
  t.true(done.wait(60_000));
});

patchedTest('listeners of messages at ports may block, and can be removed', (t) => {
  const { port1, port2 } = new MessageChannel();
  const seen: unknown[] = [];
  const listener = (value: unknown): void => {
    sleep(1);
    seen.push(value);
  };
  port1.on('message', listener);
  port2.postMessage('one');
  while (seen.length < 1) sleep(1);
  port1.off('message', listener);
  port1.once('message', listener);
  port2.postMessage('two');
  while (seen.length < 2) sleep(1);
  port1.close();
  t.deepEqual(seen, ['one', 'two']);
});

// ---- servers

function listen(server: http.Server | ReturnType<typeof createNetServer>): number {
  server.listen(0, '127.0.0.1');
  waitFor(once(server, 'listening'));
  return (server.address() as AddressInfo).port;
}

function answers(port: number, paths: string[]): string[] {
  return waitFor(
    Promise.all(
      paths.map(async (path) => {
        const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } });
        return `${response.status} ${await response.text()}`;
      }),
    ),
  );
}

/** Serves two requests of which the first can only end when the second has come. */
function frameworkTest(name: string, listener: (block: () => string) => http.RequestListener): void {
  patchedTest(`handlers of ${name} on node:http may block`, (t) => {
    let present = 0;
    const both = new Event();
    const server = http.createServer(
      listener(() => {
        if (++present === 2) both.set();
        both.wait();
        const found = fs.readFileSync(__filename, 'utf8').includes('frameworkTest');
        return `${found} ${getCurrent() === null ? 'no greenlet' : 'greenlet'}`;
      }),
    );
    const port = listen(server);
    t.deepEqual(answers(port, ['/block', '/block']), ['200 true greenlet', '200 true greenlet']);
    t.deepEqual(
      answers(port, ['/none']).map((answer) => answer.slice(0, 3)),
      ['404'],
    );
    server.close();
    waitFor(once(server, 'close'));
  });
}

const expressApp =
  (express: () => Express) =>
  (block: () => string): http.RequestListener =>
    express().get('/block', (_, response) => response.send(block()));

frameworkTest('Express 4', expressApp(express4));
frameworkTest('Express 5', expressApp(express5));
frameworkTest('Koa', (block) =>
  new Koa()
    .use((context) => {
      if (context.path === '/block') context.body = block();
    })
    .callback(),
);
frameworkTest('Fastify', (block) => {
  const app = fastify();
  app.get('/block', (_, reply) => {
    void reply.send(block());
  });
  const ready = app.ready();
  return (request, response) => {
    waitFor(Promise.resolve(ready));
    app.routing(request, response);
  };
});

const posting: Record<string, (block: () => string) => http.RequestListener> = {
  'Express 4': (block) =>
    express4()
      .use(express4.json())
      .post('/', (request, response) => response.send(`${block()} ${JSON.stringify(request.body)}`)),
  'Express 5': (block) =>
    express5()
      .use(express5.json())
      .post('/', (request, response) => response.send(`${block()} ${JSON.stringify(request.body)}`)),
  Fastify(block) {
    const app = fastify();
    app.post('/', (request, reply) => {
      void reply.send(`${block()} ${JSON.stringify(request.body)}`);
    });
    const ready = app.ready();
    return (request, response) => {
      waitFor(Promise.resolve(ready));
      app.routing(request, response);
    };
  },
};

for (const [name, listener] of Object.entries(posting)) {
  patchedTest(`handlers of ${name} may block after the body has been parsed`, (t) => {
    const server = http.createServer(
      listener(() => {
        sleep(1);
        return getCurrent() === null ? 'no greenlet' : 'greenlet';
      }),
    );
    const port = listen(server);
    const init = {
      method: 'POST',
      body: '{"a":[1,2]}',
      headers: { 'content-type': 'application/json', connection: 'close' },
    };
    const text = waitFor(fetch(`http://127.0.0.1:${port}/`, init).then((response) => response.text()));
    t.is(text, 'greenlet {"a":[1,2]}');
    server.close();
    waitFor(once(server, 'close'));
  });
}

patchedTest('an error of an Express handler that has blocked is answered', (t) => {
  const app = express5();
  app.get('/', () => {
    sleep(1);
    throw new Error('after waiting');
  });
  app.use(((
    error: Error,
    _: unknown,
    response: { status(code: number): { send(body: string): void } },
    __: unknown,
  ) => response.status(500).send(error.message)) as never);
  const server = http.createServer(app);
  t.deepEqual(answers(listen(server), ['/']), ['500 after waiting']);
  server.close();
});

patchedTest('connections of node:net, upgrades and streams of node:http2 may block', (t) => {
  const net = createNetServer((socket) => {
    sleep(1);
    socket.end('net');
  });
  const socket = connect(listen(net), '127.0.0.1');
  t.is(String(waitFor(once(socket, 'data'))[0]), 'net');
  net.close();

  const web = http.createServer();
  web.on('upgrade', (_, upgraded) => {
    sleep(1);
    upgraded.end('HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
  });
  const request = http.get({
    port: listen(web),
    host: '127.0.0.1',
    headers: { connection: 'upgrade', upgrade: 'x' },
  });
  t.is((waitFor(once(request, 'upgrade'))[0] as http.IncomingMessage).statusCode, 101);
  web.close();

  const streams = http2.createServer((_, response) => {
    sleep(1);
    response.end('http2');
  });
  streams.listen(0, '127.0.0.1');
  waitFor(once(streams, 'listening'));
  const session = http2.connect(`http://127.0.0.1:${(streams.address() as AddressInfo).port}`);
  const stream = session.request();
  t.is(String(waitFor(once(stream, 'data'))[0]), 'http2');
  session.close();
  streams.close();
  waitFor(once(streams, 'close'));
});

// ---- programs

for (const [how, flags] of [
  ['-r', ['-r', 'greenstack/monkey']],
  ['--import', ['--import', 'greenstack/monkey']],
] as const) {
  test.serial(`node ${how} greenstack/monkey patches before a program, and in its workers`, async (t) => {
    for (const file of ['monkey-program.js', 'monkey-program.mjs']) {
      const { code, stdout, stderr } = await runProgram(file, { flags: [...flags] });
      t.is(stderr, '');
      t.is(stdout, 'patched true\nothers ran true\nworker patched true\nworker others ran true\n', file);
      t.is(code, 0);
    }
  });
}

test.serial('require("greenstack/monkey") patches nothing', async (t) => {
  const { stdout } = await runProgram('monkey-program.js', { args: ['alone'] });
  t.is(stdout, 'patched false\n');
});

test.serial('NODE_OPTIONS preloads as flags do', async (t) => {
  const env = { NODE_OPTIONS: '--import greenstack/monkey' };
  const { stdout } = await runProgram('monkey-program.js', { args: ['alone'], env });
  t.is(stdout, 'patched true\n');
});

test.serial('a warning tells which modules have kept originals', async (t) => {
  const { stderr, code } = await runProgram('monkey-late.js');
  t.is(code, 0);
  t.regex(stderr, /GREENSTACK_PATCHED_LATE/);
  t.regex(stderr, /monkey-late\.js: fs\.readFileSync/);
  t.regex(stderr, /monkey-capture\.js: .*fs\.statSync/);
});

test.serial('an error after waiting is an uncaught exception, as that of any callback', async (t) => {
  const { stderr, stdout, code } = await runProgram('monkey-uncaught.js');
  t.is(stdout, 'caught at once\ncaught after waiting\n');
  t.is(stderr, '');
  t.is(code, 0);
});

test.serial('reading standard input waits for it', async (t) => {
  // A pipe of the shell's: those of Node's are sockets, which cannot be opened by a name.
  const program = join(__dirname, 'programs/monkey-input.js');
  const child = childProcess.spawn('sh', ['-c', 'cat | "$0" "$1"', process.execPath, program]);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (output === 'waiting\n') child.stdin.write('one');
    if (output === 'waiting\none\n') child.stdin.end('the rest');
  });
  await once(child, 'close');
  t.is(output, 'waiting\none\nthe rest\n');
});
