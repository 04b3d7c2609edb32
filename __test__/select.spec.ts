/** `greenstack/select`, and `waitRead` and its relatives on descriptors of other kinds. */
import { execFileSync, spawn as spawnProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  ConcurrentObjectUseError,
  getHub,
  GreenletExit,
  idle,
  sleep,
  spawn,
  Timeout,
  waitFor,
} from 'greenstack';
import {
  poll,
  POLLERR,
  Poller,
  POLLHUP,
  POLLIN,
  POLLNVAL,
  POLLOUT,
  select,
  Selector,
} from 'greenstack/select';
import { createServer, Socket, socketPair, waitRead, waitReadWrite, waitWrite } from 'greenstack/socket';
import { openDescriptors } from './support/descriptors.js';
import { thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';
import { residue } from './support/residue.js';
import { runProgram } from './support/program.js';

type SystemError = NodeJS.ErrnoException;

/** A test with a pair of sockets, which leaves no descriptor open. */
function pairTest(title: string, body: (t: ExecutionContext, left: Socket, right: Socket) => void): void {
  hubTest(title, (t) => {
    const before = openDescriptors();
    const [left, right] = socketPair();
    try {
      body(t, left, right);
    } finally {
      left.close();
      right.close();
    }
    t.is(openDescriptors(), before);
  });
}

/** Both ends of a FIFO. */
interface Fifo extends Disposable {
  readonly reader: number;
  readonly writer: number;
}

let fifos = 0;

function makeFifo(): Fifo {
  const path = join(tmpdir(), `greenstack-${process.pid}-fifo-${++fifos}`);
  // At once, so that none of its pipes is counted among the descriptors of the test.
  execFileSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  rmSync(path);
  return {
    reader,
    writer,
    [Symbol.dispose]() {
      closeSync(reader);
      closeSync(writer);
    },
  };
}

/** Writes until nothing more fits. */
function fill({ writer }: Fifo): void {
  try {
    for (;;) writeSync(writer, Buffer.alloc(4096));
  } catch {
    // It is full.
  }
}

// waitRead() and its relatives

hubTest('waitRead() waits for a pipe, takes nothing, and leaves nothing behind', (t) => {
  using fifo = makeFifo();
  const before = openDescriptors();
  const waiting = spawn(() => waitRead(fifo.reader));
  idle();
  t.false(waiting.ready);
  writeSync(fifo.writer, 'x');
  waiting.get();
  waitRead(fifo.reader);
  t.is(readSync(fifo.reader, Buffer.alloc(10)), 1);
  t.throws(() => waitRead(fifo.reader, 0), { code: 'ETIMEDOUT' });
  t.is(openDescriptors(), before);
});

hubTest('a pipe can be waited for again and again, by several greenlets at once', (t) => {
  using fifo = makeFifo();
  for (let round = 0; round < 3; round++) {
    const waiting = Array.from({ length: 3 }, () => spawn(() => waitRead(fifo.reader)));
    idle();
    t.true(waiting.every(({ ready }) => !ready));
    writeSync(fifo.writer, 'x');
    for (const greenlet of waiting) greenlet.get();
    readSync(fifo.reader, Buffer.alloc(10));
  }
});

hubTest('waitWrite() waits for room in a pipe, and waitReadWrite() tells which it is', (t) => {
  using fifo = makeFifo();
  waitWrite(fifo.writer);
  t.is(waitReadWrite(fifo.writer), 'w');
  fill(fifo);
  const waiting = spawn(() => waitWrite(fifo.writer));
  idle();
  t.false(waiting.ready);
  t.is(waitReadWrite(fifo.reader), 'r');
  const buffer = Buffer.alloc(65_536);
  readSync(fifo.reader, buffer);
  waiting.get();
});

pairTest('waitReadWrite() tells whether it is one or both', (t, left, right) => {
  t.is(waitReadWrite(left), 'w');
  right.sendAll('x');
  t.is(waitReadWrite(left), 'rw');
});

hubTest('a file is always ready', (t) => {
  const file = openSync(__filename, 'r');
  waitRead(file);
  t.is(waitReadWrite(file), 'rw');
  t.deepEqual(select([file]), [[file], [], []]);
  closeSync(file);
});

hubTest('an object with fd is waited for by its descriptor', (t) => {
  const handle = waitFor(open(__filename));
  waitRead(handle);
  t.deepEqual(select([handle]), [[handle], [], []]);
  waitFor(handle.close());
  t.throws(() => waitRead(handle), { code: 'EBADF' });
  t.throws(() => select([handle]), { code: 'EBADF' });
});

pairTest('waitRead() obeys its time, that of the socket, kills and close()', (t, left) => {
  t.throws(() => waitRead(left, 1), { code: 'ETIMEDOUT' });
  const timeout = new Timeout(1);
  t.throws(() => waitRead(left, timeout), { is: timeout });
  left.timeout = 1;
  t.throws(() => waitRead(left), { code: 'ETIMEDOUT' });
  left.timeout = null;
  const victim = spawn(() => waitRead(left));
  idle();
  t.throws(() => left.recv(), { instanceOf: ConcurrentObjectUseError });
  t.throws(() => waitRead(left), { instanceOf: ConcurrentObjectUseError });
  victim.kill();
  t.true((victim.value as unknown) instanceof GreenletExit);
  const closed = spawn(() => thrownBy(() => waitRead(left)));
  idle();
  left.close();
  t.is((closed.get() as SystemError).code, 'ECANCELED');
  t.throws(() => waitRead(left), { code: 'EBADF' });
});

for (const wait of [waitRead, waitWrite, waitReadWrite]) {
  for (const [title, target, check] of [
    ['a descriptor that stands for nothing', 1_000_000, { code: 'EBADF' }],
    ['a negative number', -1, { instanceOf: RangeError }],
    ['a text', '0', { instanceOf: TypeError }],
    ['nothing', undefined, { instanceOf: TypeError }],
    ['an object without fd', {}, { instanceOf: TypeError }],
  ] as const) {
    hubTest(`${wait.name}() refuses ${title}`, (t) => {
      t.throws(() => wait(target as never), check);
    });
  }
}

hubTest('a pipe that a child process writes to can be waited for', (t) => {
  using fifo = makeFifo();
  const waiting = spawn(() => waitRead(fifo.reader));
  idle();
  const child = spawnProcess('echo', ['from the child'], { stdio: ['ignore', fifo.writer, 'inherit'] });
  const exit = once(child, 'exit');
  waiting.get();
  const buffer = Buffer.alloc(100);
  t.is(buffer.toString('utf8', 0, readSync(fifo.reader, buffer)), 'from the child\n');
  waitFor(exit);
});

// select()

pairTest('select() returns all that is ready, as given and in that order', (t, left, right) => {
  const [other, peer] = socketPair();
  peer.sendAll('x');
  right.sendAll('y');
  const objects = [other, left];
  t.deepEqual(select(objects, [peer, right]), [[other, left], [peer, right], []]);
  t.deepEqual(select(new Set(objects), new Set<Socket>()), [[other, left], [], []]);
  other.close();
  peer.close();
});

pairTest('select() waits until one is ready', (t, left, right) => {
  const selecting = spawn(() => select([left, right]));
  idle();
  t.false(selecting.ready);
  right.sendAll('x');
  t.deepEqual(selecting.get(), [[left], [], []]);
  t.is(left.recv().toString(), 'x');
});

pairTest('select() waits for what was ready before and is not any more', (t, left, right) => {
  right.sendAll('x');
  t.deepEqual(select([left]), [[left], [], []]);
  left.recv(1);
  // Nothing has told that there is no more; it must neither return nor spin.
  const { switches } = getHub().stats();
  t.deepEqual(select([left], [], [], 50), [[], [], []]);
  t.true(getHub().stats().switches - switches < 20);
});

pairTest('the same socket may be given several times', (t, left, right) => {
  right.sendAll('x');
  t.deepEqual(select([left, left], [left]), [[left, left], [left], []]);
  left.recv();
  const selecting = spawn(() => select([left, left]));
  idle();
  right.sendAll('x');
  t.deepEqual(selecting.get(), [[left, left], [], []]);
});

pairTest('select() may wait for a socket that somebody else reads', (t, left, right) => {
  const reader = spawn(() => left.recv().toString());
  idle();
  const selecting = [spawn(() => select([left])), spawn(() => select([left]))];
  idle();
  right.sendAll('x');
  t.is(reader.get(), 'x');
  right.sendAll('y');
  for (const greenlet of selecting) t.deepEqual(greenlet.get(), [[left], [], []]);
  t.is(left.recv().toString(), 'y');
});

pairTest('select() sees ends, and pipes whose other end has gone', (t, left, right) => {
  right.close();
  t.deepEqual(select([left], [left]), [[left], [left], []]);
  const fifo = makeFifo();
  closeSync(fifo.reader);
  t.deepEqual(select([], [fifo.writer]), [[], [fifo.writer], []]);
  closeSync(fifo.writer);
});

hubTest('select() sees out-of-band data, but does not wait for it', (t) => {
  using server = createServer({ host: '127.0.0.1', port: 0 });
  using client = new Socket();
  client.connect(server.localAddress);
  using accepted = server.accept();
  t.deepEqual(select([], [], [accepted], 1), [[], [], []]);
  client.sendAll('x');
  t.deepEqual(select([accepted], [], [accepted]), [[accepted], [], []]);
});

hubTest('select() takes sockets, descriptors and objects together', (t) => {
  using fifo = makeFifo();
  const [left, right] = socketPair();
  writeSync(fifo.writer, 'x');
  const targets = [left, fifo.reader, { fd: fifo.reader }];
  t.deepEqual(select(targets), [targets.slice(1), [], []]);
  left.close();
  right.close();
});

pairTest('select() of what is closed, before or meanwhile, is EBADF', (t, left, right) => {
  const selecting = spawn(() => thrownBy(() => select([left, right])));
  idle();
  left.close();
  const error = selecting.get() as SystemError;
  t.deepEqual([error.code, error.syscall], ['EBADF', 'select']);
  t.throws(() => select([right, left]), { code: 'EBADF' });
  t.throws(() => select([1_000_000]), { code: 'EBADF' });
});

for (const limit of [0, -1, 1]) {
  pairTest(`select() with a time of ${limit} returns nothing if nothing is ready`, (t, left) => {
    t.deepEqual(select([left], [], [], limit), [[], [], []]);
  });
}

virtualTest('select() of nothing sleeps', (t) => {
  const before = getHub().now();
  t.deepEqual(select([], [], [], 3_600_000), [[], [], []]);
  t.is(getHub().now() - before, 3_600_000);
});

pairTest('select() lets others run even if something is ready', (t, left) => {
  let ran = false;
  const other = spawn(() => (ran = true));
  t.deepEqual(select([], [left]), [[], [left], []]);
  t.true(ran);
  other.join();
});

pairTest('a Timeout, a kill and a signal end select(), which leaves nothing behind', (t, left, right) => {
  const before = residue();
  const timeout = Timeout.startNew(1);
  t.throws(() => select([left, right]), { is: timeout });
  t.deepEqual(select([left, right], [], [], new Timeout(1)), [[], [], []], 'its own is its time');
  const victim = spawn(() => select([left, 0]));
  idle();
  victim.kill();
  const reason = new Error('enough');
  t.throws(() => select([left], [], [], { signal: AbortSignal.abort(reason) }), { is: reason });
  t.deepEqual(residue(), before);
});

for (const [title, call] of [
  ['what is no iterable', () => select(5 as never)],
  ['a text', () => select('12' as never)],
  ['nothing', () => select(undefined as never)],
  ['a text in it', () => select(['1'] as never)],
  ['a negative descriptor', () => select([-1])],
  ['a time that is none', () => select([], [], [], NaN)],
] as const) {
  hubTest(`select() refuses ${title}`, (t) => {
    const error = thrownBy(call);
    t.true(error instanceof TypeError || error instanceof RangeError, String(error));
  });
}

pairTest('the own error of a Timeout without any time is thrown, if nothing is ready', (t, left, right) => {
  const error = new Error('too late');
  const limit = (): Timeout => new Timeout(0, error);
  t.throws(() => select([left], [], [], limit()), { is: error });
  t.throws(() => select([left], [], [], { timeout: new Timeout(60_000, error), block: false }), {
    is: error,
  });
  right.sendAll('x');
  t.deepEqual(select([left], [], [], limit()), [[left], [], []]);
});

hubTest('a thousand sockets can be selected at once', (t) => {
  const pairs = Array.from({ length: 1000 }, () => socketPair());
  const lefts = pairs.map(([left]) => left);
  const selecting = spawn(() => select(lefts));
  sleep(1);
  t.false(selecting.ready);
  pairs[777]![1].sendAll('x');
  t.deepEqual(selecting.get(), [[lefts[777]], [], []]);
  for (const pair of pairs) for (const socket of pair) socket.close();
});

// Poller

pairTest('a Poller tells what is ready for what', (t, left, right) => {
  const poller = poll();
  t.true(poller instanceof Poller);
  poller.register(left, POLLIN);
  poller.register(right);
  t.is(poller.size, 2);
  t.deepEqual(poller.poll(), [[right, POLLOUT]]);
  poller.modify(right, POLLIN);
  const polling = spawn(() => poller.poll());
  idle();
  t.false(polling.ready);
  right.sendAll('x');
  t.deepEqual(polling.get(), [[left, POLLIN]]);
  poller.register(left, POLLIN | POLLOUT);
  t.deepEqual(poller.poll(), [[left, POLLIN | POLLOUT]]);
  poller.unregister(left);
  t.deepEqual(poller.poll(0), []);
  t.deepEqual(poller.poll(1), []);
});

pairTest('a Poller tells of what is closed, or whose other end is', (t, left, right) => {
  const poller = poll();
  poller.register(left, POLLIN);
  poller.register(1_000_000, POLLIN);
  t.deepEqual(poller.poll(), [[1_000_000, POLLNVAL]]);
  poller.unregister(1_000_000);
  const polling = spawn(() => poller.poll());
  idle();
  left.close();
  t.deepEqual(polling.get(), [[left, POLLNVAL]]);
  poller.unregister(left);
  const fifo = makeFifo();
  closeSync(fifo.reader);
  poller.register(fifo.writer, POLLIN);
  t.deepEqual(poller.poll(), [[fifo.writer, POLLERR]]);
  closeSync(fifo.writer);
  poller.register(right, 0);
  t.true((poller.poll().find(([target]) => target === right)?.[1] ?? 0) >= POLLHUP);
});

pairTest('a Poller refuses what is not registered, and events that are none', (t, left) => {
  const poller = poll();
  for (const call of [() => poller.unregister(left), () => poller.modify(left, POLLIN)])
    t.throws(call, { code: 'ERR_GREENSTACK_NOT_REGISTERED' });
  t.throws(() => poller.register(left, 1.5), { instanceOf: TypeError });
  t.throws(() => poller.register(left, -1), { instanceOf: RangeError });
  t.throws(() => poller.register('x' as never), { instanceOf: TypeError });
  t.is(poller.size, 0);
});

// Selector

pairTest('a Selector keeps something with what it waits for', (t, left, right) => {
  using selector = new Selector<string>();
  const key = selector.register(left, 'r', 'the left one');
  selector.register(right, 'rw', 'the right one');
  t.deepEqual(key, { target: left, events: 'r', data: 'the left one' });
  t.is(selector.getKey(left), key);
  t.deepEqual(
    selector.select().map(([{ data }, events]) => [data, events]),
    [['the right one', 'w']],
  );
  left.sendAll('x');
  right.sendAll('y');
  t.deepEqual(
    selector.select().map(([{ data }, events]) => [data, events]),
    [
      ['the left one', 'r'],
      ['the right one', 'rw'],
    ],
  );
  selector.modify(right, 'r', 'modified');
  left.recv();
  right.recv();
  t.deepEqual(selector.select(1), []);
  t.is(selector.unregister(right).data, 'modified');
  t.is(selector.size, 1);
});

pairTest('a Selector refuses what is registered twice, or not at all', (t, left) => {
  using selector = new Selector();
  t.throws(() => selector.unregister(left), { code: 'ERR_GREENSTACK_NOT_REGISTERED' });
  t.throws(() => selector.modify(left, 'r', undefined), { code: 'ERR_GREENSTACK_NOT_REGISTERED' });
  selector.register(left, 'r', undefined);
  t.throws(() => selector.register(left, 'w', undefined), { code: 'ERR_GREENSTACK_REGISTERED_ALREADY' });
  t.throws(() => selector.modify(left, 'x' as never, undefined), { instanceOf: TypeError });
  selector.close();
  t.is(selector.size, 0);
});

pairTest('what is closed while a Selector waits for it is ready for all', (t, left, right) => {
  using selector = new Selector();
  selector.register(left, 'r', undefined);
  selector.register(right, 'r', undefined);
  const selecting = spawn(() => selector.select());
  idle();
  left.close();
  t.deepEqual(
    selecting.get().map(([{ target }, events]) => [target, events]),
    [
      [left, 'r'],
      [right, 'r'],
    ],
  );
  selector.modify(left, 'rw', undefined);
  t.deepEqual(selector.select()[0]?.[1], 'rw');
  selector.unregister(left);
  t.is(selector.size, 1);
});

test('signals that come while the system is asked do no harm', async (t) => {
  const profiles = join(tmpdir(), `greenstack-profiles-${process.pid}`);
  // The profiler of V8 sends a signal for each sample.
  const flags = ['--cpu-prof', '--cpu-prof-interval=50', `--cpu-prof-dir=${profiles}`];
  const { code, stdout, stderr } = await runProgram('polled.js', { flags });
  rmSync(profiles, { recursive: true, force: true });
  t.is(code, 0, stderr);
  t.is(stdout, '0 times ready\n');
});
