/** `makeFile`: connections as files with lines. */
import { randomBytes } from 'node:crypto';
import type { ExecutionContext } from 'ava';
import { ConcurrentObjectUseError, GreenletExit, idle, sleep, spawn, Timeout } from 'greenstack';
import {
  type Connection,
  type FileOptions,
  LineTooLong,
  Socket,
  SocketFile,
  type SocketTimeout,
  socketPair,
  UnexpectedEnd,
} from 'greenstack/socket';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { pattern, recvAll, recvExactly } from './support/streams.js';

type TextOptions = FileOptions & { encoding: 'utf8' };

/** A test with a file of one end of a connection, and the other end. */
function fileTest(
  title: string,
  body: (t: ExecutionContext, file: SocketFile, peer: Socket, socket: Socket) => void,
  options?: FileOptions & { encoding?: undefined },
): void {
  hubTest(title, (t) => {
    const [socket, peer] = socketPair();
    try {
      body(t, socket.makeFile(options), peer, socket);
    } finally {
      socket.close();
      peer.close();
    }
  });
}

function textTest(
  title: string,
  body: (t: ExecutionContext, file: SocketFile<string>, peer: Socket) => void,
  options: TextOptions = { encoding: 'utf8' },
): void {
  hubTest(title, (t) => {
    const [socket, peer] = socketPair();
    try {
      body(t, socket.makeFile(options), peer);
    } finally {
      socket.close();
      peer.close();
    }
  });
}

/** Sends, and ends the stream. */
function sendLast(peer: Connection, data: string | Uint8Array): void {
  peer.sendAll(data);
  peer.shutdown('w');
}

// Lines

fileTest('readLine() gives lines with their ends, and nothing at the end of the stream', (t, file, peer) => {
  sendLast(peer, 'one\ntwo\r\n\nlast');
  const lines = Array.from({ length: 6 }, () => file.readLine());
  t.deepEqual(
    lines.map((line) => line.toString()),
    ['one\n', 'two\r\n', '\n', 'last', '', ''],
  );
  t.true(lines.every((line) => Buffer.isBuffer(line)));
});

fileTest('readLine() waits for the end of a line that comes in pieces', (t, file, peer) => {
  const reader = spawn(() => file.readLine().toString());
  for (const piece of ['a', 'b', 'c', '\nnext']) {
    idle();
    t.false(reader.ready);
    peer.sendAll(piece);
  }
  t.is(reader.get(), 'abc\n');
  t.is(file.buffered, 4);
});

fileTest('a file can be iterated over by line', (t, file, peer) => {
  sendLast(peer, 'one\ntwo\nthree');
  t.deepEqual(
    [...file].map((line) => line.toString()),
    ['one\n', 'two\n', 'three'],
  );
});

textTest('lines of text are decoded, also where a character comes in pieces', (t, file, peer) => {
  const bytes = Buffer.from('größe\n€uro\n');
  const reader = spawn(() => [...file]);
  for (const byte of bytes) {
    peer.sendAll(Buffer.of(byte));
    idle();
  }
  peer.shutdown('w');
  t.deepEqual(reader.get(), ['größe\n', '€uro\n']);
});

hubTest('lines of latin1 are decoded as such', (t) => {
  const [socket, peer] = socketPair();
  using file = socket.makeFile({ encoding: 'latin1', closeSocket: true });
  peer.sendAll(Buffer.from([0xe9, 10]));
  t.is(file.readLine(), 'é\n');
  file.write('é');
  file.flush();
  t.deepEqual([...peer.recv()], [0xe9]);
  peer.close();
});

fileTest('each line has memory that nothing else is written to', (t, file, peer) => {
  peer.sendAll('first\nsec');
  const first = file.readLine();
  peer.sendAll('ond\nthird\n');
  const second = file.readLine();
  const third = file.readLine();
  first.fill('x');
  second.fill('y');
  t.is(third.toString(), 'third\n');
  t.is(Buffer.concat([first, second]).toString(), 'xxxxxxyyyyyyy');
});

fileTest('a line that is too long throws, and nothing is lost', (t, file, peer) => {
  peer.sendAll('12345678\nnext\n');
  const error = thrownBy(() => file.readLine(8)) as LineTooLong;
  t.true(error instanceof LineTooLong);
  t.deepEqual([error.code, error.maxLength], ['ERR_GREENSTACK_LINE_TOO_LONG', 8]);
  t.is(file.readLine(9).toString(), '12345678\n');
  t.is(file.readLine().toString(), 'next\n');
});

fileTest('a line without an end is too long as soon as it has too many bytes', (t, file, peer) => {
  peer.sendAll('123456789');
  t.throws(() => file.readLine(8), { instanceOf: LineTooLong });
  t.is(file.read(5).toString(), '12345');
  peer.shutdown('w');
  t.is(file.readLine(4).toString(), '6789', 'the last line may lack its end');
});

fileTest(
  'iteration has the limit of the file, and can be gone on with',
  (t, file, peer) => {
    sendLast(peer, 'ok\nmuch too long\nok\n');
    const lines: string[] = [];
    t.throws(
      () => {
        for (const line of file) lines.push(line.toString());
      },
      { code: 'ERR_GREENSTACK_LINE_TOO_LONG' },
    );
    t.is(file.readLine(100).toString(), 'much too long\n');
    for (const line of file) lines.push(line.toString());
    t.deepEqual(lines, ['ok\n', 'ok\n']);
  },
  { maxLineLength: 5 },
);

fileTest('a megabyte of a line in pieces of a few bytes takes no quadratic time', (t, file, peer) => {
  const line = Buffer.concat([Buffer.alloc(1_000_000, 'x'), Buffer.from('\n')]);
  const sender = spawn(() => {
    for (let sent = 0; sent < line.length; sent += 7) peer.sendAll(line.subarray(sent, sent + 7));
  });
  t.true(file.readLine().equals(line));
  sender.join();
});

// Bytes

fileTest('read() gives as many bytes as asked for, and fewer only at the end', (t, file, peer) => {
  const reader = spawn(() => file.read(6).toString());
  peer.sendAll('abc');
  idle();
  t.false(reader.ready);
  sendLast(peer, 'defgh');
  t.is(reader.get(), 'abcdef');
  t.is(file.read(10).toString(), 'gh');
  t.is(file.read(10).length, 0);
  t.is(file.read(0).length, 0);
});

fileTest('readSome() gives what has come, and waits only if that is nothing', (t, file, peer) => {
  peer.sendAll('abc');
  t.is(file.readSome().toString(), 'abc');
  const reader = spawn(() => file.readSome(2).toString());
  idle();
  t.false(reader.ready);
  sendLast(peer, 'def');
  t.is(reader.get(), 'de');
  t.is(file.readSome().toString(), 'f');
  t.is(file.readSome().length, 0);
});

fileTest('readExactly() at an early end throws, with what has come', (t, file, peer) => {
  peer.sendAll('abcdef');
  t.is(file.readExactly(4).toString(), 'abcd');
  peer.shutdown('w');
  const error = thrownBy(() => file.readExactly(3)) as UnexpectedEnd;
  t.true(error instanceof UnexpectedEnd);
  t.deepEqual(
    [error.code, error.expected, error.partial.toString()],
    ['ERR_GREENSTACK_UNEXPECTED_END', 3, 'ef'],
  );
  t.is(file.readExactly(2).toString(), 'ef');
  t.is(file.readExactly(0).length, 0);
});

fileTest('readExactly() of megabytes goes on where it was interrupted', (t, file, peer) => {
  const data = pattern(3 << 20);
  const sender = spawn(() => peer.sendAll(data));
  let times = 0;
  let received: Buffer | undefined;
  while (received === undefined) {
    try {
      received = file.readExactly(data.length, times % 2);
    } catch (error) {
      t.is((error as SocketTimeout).code, 'ETIMEDOUT');
      times++;
      sleep(0);
    }
  }
  t.true(received.equals(data));
  t.true(times > 0);
  sender.join();
});

fileTest('readAll() gives everything to the end, also what was buffered', (t, file, peer) => {
  const data = pattern(1 << 20);
  const sender = spawn(() => sendLast(peer, data));
  const start = file.readExactly(10);
  t.true(Buffer.concat([start, file.readAll()]).equals(data));
  t.is(file.readAll().length, 0);
  sender.join();
});

textTest('readAll() of text is decoded', (t, file, peer) => {
  sendLast(peer, 'größe\n€');
  t.is(file.readAll(), 'größe\n€');
});

fileTest('peek() takes nothing', (t, file, peer) => {
  sendLast(peer, 'GET / HTTP/1.1\r\n');
  t.is(file.peek(3).toString(), 'GET');
  t.is(file.peek(1000).toString(), 'GET / HTTP/1.1\r\n');
  t.is(file.readLine().toString(), 'GET / HTTP/1.1\r\n');
  t.is(file.peek(1).length, 0);
});

fileTest('any mixture of reads gives the stream in order', (t, file, peer) => {
  const data = Buffer.from(
    Array.from({ length: 60_000 }, (_, index) => (index % 37 === 0 ? 10 : 65 + (index % 26))),
  );
  const sender = spawn(() => {
    for (let sent = 0; sent < data.length;) {
      const size = Math.floor(Math.random() * 3000);
      peer.sendAll(data.subarray(sent, sent + size));
      sent += size;
      if (Math.random() < 0.3) sleep(0);
    }
    peer.shutdown('w');
  });
  const chunks: Buffer[] = [];
  const reads = [
    () => file.readLine(),
    () => file.read(Math.floor(Math.random() * 500)),
    () => file.readSome(Math.floor(Math.random() * 100)),
    () => file.read(Math.min(70_000, file.buffered + 1)),
    () => file.peek(Math.floor(Math.random() * 1000)).subarray(0, 0),
  ];
  const count = () => chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  while (count() < data.length) chunks.push(reads[Math.floor(Math.random() * reads.length)]!());
  t.true(Buffer.concat(chunks).equals(data));
  sender.join();
});

// Time

fileTest('reads obey the timeout of the socket, and keep what has come', (t, file, peer, socket) => {
  socket.timeout = 5;
  peer.sendAll('half a line');
  t.throws(() => file.readLine(), { code: 'ETIMEDOUT' });
  t.throws(() => file.read(100), { code: 'ETIMEDOUT' });
  t.throws(() => file.readAll(), { code: 'ETIMEDOUT' });
  t.is(file.buffered, 11);
  peer.sendAll(', and the rest\n');
  t.is(file.readLine().toString(), 'half a line, and the rest\n');
});

fileTest('the limit of a read is for all of it', (t, file, peer) => {
  const trickle = spawn(() => {
    for (;;) {
      peer.sendAll('x');
      sleep(1);
    }
  });
  file.peek(1);
  t.throws(() => file.readLine(undefined, 30), { code: 'ETIMEDOUT' });
  const timeout = new Timeout(10);
  t.throws(() => file.readLine(undefined, timeout), { is: timeout });
  trickle.kill();
  t.true(file.buffered > 0);
});

fileTest('a killed reader leaves what has come to the next', (t, file, peer) => {
  const reader = spawn(() => file.readLine());
  peer.sendAll('half');
  idle();
  reader.kill();
  t.true((reader.value as unknown) instanceof GreenletExit);
  peer.sendAll(' and half\n');
  t.is(file.readLine().toString(), 'half and half\n');
});

fileTest('a second reader is refused, and the first is not disturbed', (t, file, peer) => {
  peer.sendAll('some');
  const first = spawn(() => file.readExactly(100_000));
  sleep(1);
  for (const read of [() => file.read(1), () => file.readLine(), () => file.readSome(), () => file.peek(1)])
    t.throws(read, { instanceOf: ConcurrentObjectUseError });
  const rest = randomBytes(100_000 - 4);
  peer.sendAll(rest);
  t.true(first.get().equals(Buffer.concat([Buffer.from('some'), rest])));
});

// Writing

fileTest(
  'what is written is sent when there is enough of it',
  (t, file, peer) => {
    file.write('1234');
    file.write(Buffer.from('567'));
    t.is(file.unsent, 7);
    t.throws(() => peer.recv(1, 0), { code: 'ETIMEDOUT' });
    file.write('8');
    t.is(file.unsent, 0);
    t.is(recvExactly(peer, 8).toString(), '12345678');
    file.write('9');
    file.flush();
    t.is(peer.recv().toString(), '9');
    file.flush();
  },
  { bufferSize: 8 },
);

fileTest('what was written is what it was then, whatever becomes of its memory', (t, file, peer) => {
  const data = Buffer.from('data');
  file.write(data);
  data.fill('x');
  file.flush();
  t.is(peer.recv().toString(), 'data');
});

fileTest(
  'without a buffer each write is sent at once',
  (t, file, peer) => {
    file.write('x');
    t.is(peer.recv(1, 0).toString(), 'x');
    file.write('');
    t.is(file.unsent, 0);
  },
  { bufferSize: 0 },
);

fileTest('small and large writes keep their order', (t, file, peer) => {
  const pieces = Array.from({ length: 50 }, (_, index) => randomBytes(index % 5 === 0 ? 60_000 : index * 13));
  const expected = Buffer.concat(pieces);
  const receiver = spawn(() => recvExactly(peer, expected.length));
  for (const piece of pieces) file.write(piece);
  file.flush();
  t.true(receiver.get().equals(expected));
});

fileTest('what could not be sent in time is sent later, once and in order', (t, file, peer) => {
  const pieces = Array.from({ length: 40 }, () => randomBytes(Math.random() < 0.5 ? 100_000 : 500));
  let timeouts = 0;
  for (const piece of pieces) {
    try {
      file.write(piece, 0);
    } catch (error) {
      t.is((error as SocketTimeout).code, 'ETIMEDOUT');
      timeouts++;
    }
  }
  t.true(timeouts > 0 && file.unsent > 0);
  const expected = Buffer.concat(pieces);
  const receiver = spawn(() => recvExactly(peer, expected.length));
  file.flush();
  t.is(file.unsent, 0);
  t.true(receiver.get().equals(expected));
});

fileTest('a killed writer has sent each byte once', (t, file, peer) => {
  const data = randomBytes(8 << 20);
  const writer = spawn(() => file.write(data));
  sleep(1);
  writer.kill();
  t.true(file.unsent > 0);
  const receiver = spawn(() => recvExactly(peer, data.length));
  file.flush();
  t.true(receiver.get().equals(data));
});

fileTest('a write by another greenlet comes after a large one that was interrupted', (t, file, peer) => {
  const data = randomBytes(8 << 20);
  const writer = spawn(() => file.write(data));
  sleep(1);
  file.write('behind');
  writer.kill();
  const receiver = spawn(() => recvExactly(peer, data.length + 6));
  file.flush();
  t.true(receiver.get().equals(Buffer.concat([data, Buffer.from('behind')])));
});

fileTest('writing to a connection that is closed throws', (t, file, _peer, socket) => {
  socket.close();
  file.write('x');
  t.throws(() => file.flush(), { code: 'EBADF' });
  t.throws(() => file.close(), { code: 'EBADF' });
  t.true(file.closed);
});

// Closing

fileTest('close() sends what was written, and leaves the connection open', (t, file, peer, socket) => {
  file.write('last');
  file.close();
  file.close();
  t.is(peer.recv().toString(), 'last');
  t.false(socket.closed);
  for (const call of [
    () => file.readLine(),
    () => file.read(1),
    () => file.readAll(),
    () => file.write('x'),
    () => file.flush(),
  ])
    t.throws(call, { code: 'EBADF' });
});

hubTest('a file with closeSocket closes the connection', (t) => {
  const [socket, peer] = socketPair();
  {
    using file = socket.makeFile({ closeSocket: true });
    file.write('bye');
  }
  t.true(socket.closed);
  t.is(recvAll(peer).toString(), 'bye');
  peer.close();
});

fileTest('closing the connection ends a parked read', (t, file, _peer, socket) => {
  const reader = spawn(() => thrownBy(() => file.readLine()));
  idle();
  socket.close();
  t.is((reader.get() as SocketTimeout).code as string, 'ECANCELED');
});

// Bad input

for (const [title, options, type] of [
  ['an encoding whose lines do not end in one byte', { encoding: 'utf16le' }, TypeError],
  ['an encoding that there is not', { encoding: 'klingon' }, TypeError],
  ['a negative size', { bufferSize: -1 }, RangeError],
  ['a size of NaN', { bufferSize: NaN }, TypeError],
  ['a line of no length', { maxLineLength: 0 }, RangeError],
  ['a flag that is none', { closeSocket: 1 }, TypeError],
  ['options that are none', 'utf8', TypeError],
] as const) {
  hubTest(`makeFile() refuses ${title}`, (t) => {
    const [socket, peer] = socketPair();
    t.throws(() => socket.makeFile(options as never), { instanceOf: type, message: /^makeFile\(\)/ });
    socket.close();
    peer.close();
  });
}

hubTest('makeFile() refuses datagrams and closed sockets', (t) => {
  using datagrams = new Socket({ type: 'datagram' });
  t.throws(() => void datagrams.makeFile(), { instanceOf: TypeError });
  using closed = new Socket();
  closed.close();
  t.throws(() => void closed.makeFile(), { code: 'EBADF' });
});

for (const [title, call] of [
  ['a size that is no number', (file: SocketFile) => file.read('5' as never)],
  ['a negative size', (file: SocketFile) => file.readExactly(-1)],
  ['no size', (file: SocketFile) => file.read(undefined as never)],
  ['a line of no length', (file: SocketFile) => file.readLine(0)],
  ['data that is none', (file: SocketFile) => file.write(5 as never)],
] as const) {
  fileTest(`a file refuses ${title}`, (t, file, peer) => {
    const error = thrownBy(() => call(file));
    t.true(error instanceof TypeError || error instanceof RangeError, String(error));
    peer.sendAll('x');
    t.is(file.read(1).toString(), 'x');
  });
}
