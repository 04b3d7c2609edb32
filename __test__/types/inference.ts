/** Compiled, never run: what the types of greenstack infer, and what they refuse. */
import * as files from 'node:fs/promises';
import {
  Greenlet,
  type GreenletExit,
  Timeout,
  asyncify,
  cooperative,
  getHub,
  iwait,
  joinAll,
  kill,
  killAll,
  on,
  once,
  run,
  shield,
  signal,
  sleep,
  spawn,
  spawnLater,
  spawnRaw,
  uncooperative,
  wait,
  waitFor,
  withTimeout,
} from 'greenstack';
import { Resolver, lookup } from 'greenstack/dns';
import { BaseServer, StreamServer } from 'greenstack/server';
import { select } from 'greenstack/select';
import {
  type Connection,
  type Socket,
  type SocketAddress,
  createConnection,
  waitReadWrite,
} from 'greenstack/socket';
import { Redis } from 'ioredis';
import { type FieldPacket, type QueryResult, createPool } from 'mysql2/promise';
import * as pg from 'pg';
import { Pool } from 'pg';
import { createClient } from 'redis';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles only if the type of `value` is exactly `Expected`. */
function expectType<Expected>() {
  return <Actual>(_value: Actual, _equal: Equal<Actual, Expected>): void => {};
}

export async function topLevel(): Promise<void> {
  expectType<number>()(await run(() => 5), true);
  expectType<string>()(await run(async () => 'value'), true);
  expectType<void>()(await run(() => sleep(1), { signals: false, stackSize: 1 << 20, name: 'main' }), true);
  // @ts-expect-error a main function takes no arguments
  await run((value: number) => value);
}

export function spawning(): void {
  const greenlet = spawn((a: number, b: string) => `${a}${b}`, 1, 'two');
  expectType<Greenlet<string>>()(greenlet, true);
  expectType<string>()(greenlet.get(), true);
  expectType<string | GreenletExit | undefined>()(greenlet.value, true);
  expectType<unknown>()(greenlet.error, true);
  expectType<boolean>()(greenlet.ready, true);
  expectType<string>()(greenlet.name, true);
  expectType<Greenlet<number>>()(
    spawn({ stackSize: 1 << 20, name: 'worker' }, (n: number) => n, 1),
    true,
  );
  expectType<Greenlet<boolean>>()(
    spawnLater(5, (flag: boolean) => flag, true),
    true,
  );
  spawnRaw((n: number) => n, 1);
  // @ts-expect-error a missing argument
  spawn((a: number) => a);
  // @ts-expect-error an argument of another type
  spawn((a: number) => a, 'one');
  // @ts-expect-error not a function
  spawn('function');
  // @ts-expect-error no time
  spawnLater(() => {});
}

export async function awaiting(): Promise<void> {
  expectType<number>()(await spawn(() => 5), true);
}

class Download extends Greenlet<number> {
  readonly url: string;
  constructor(url: string) {
    super();
    this.url = url;
  }
  protected override _run(): number {
    return this.url.length;
  }
}

export function subclassing(): void {
  const download = Download.spawn('https://example.org/');
  expectType<Download>()(download, true);
  expectType<number>()(download.get(), true);
  download.link((ended) => ended.url);
  // @ts-expect-error the constructor takes a string
  Download.spawn(5);
}

export function limits(greenlet: Greenlet<number>, abort: AbortSignal): void {
  greenlet.join(5);
  greenlet.join(new Timeout(5));
  greenlet.get({ timeout: null, block: true, signal: abort });
  greenlet.get({ timeout: new Timeout(5) });
  greenlet.kill(new Error('stop'), { block: false });
  greenlet.kill(RangeError);
  kill(greenlet);
  // @ts-expect-error a time is a number
  greenlet.join('5');
}

export function many(greenlets: Greenlet<number>[], other: Greenlet<string>): void {
  expectType<Greenlet<number>[]>()(joinAll(greenlets, { timeout: 5, raiseError: true, count: 1 }), true);
  killAll([...greenlets, other, spawnRaw(() => {})], { block: false });
  expectType<boolean>()(wait(), true);
  expectType<Greenlet<number>[]>()(wait(greenlets, { count: 1 }), true);
  for (const greenlet of iwait(greenlets)) expectType<Greenlet<number>>()(greenlet, true);
}

export function promises(): void {
  expectType<number>()(waitFor(Promise.resolve(5)), true);
  expectType<boolean>()(
    waitFor(async (abort) => abort.aborted, 5),
    true,
  );
  expectType<number>()(waitFor(5 as number), true);
  expectType<Promise<string>>()(asyncify((a: number) => String(a))(1), true);
  expectType<Promise<string>>()(asyncify(async (a: number) => String(a))(1), true);
  // @ts-expect-error an argument of another type
  void asyncify((a: number) => a)('one');
  expectType<unknown[]>()(once(process, 'exit', 5), true);
  for (const event of on(process, 'exit', { close: ['end'], timeout: 5 }))
    expectType<unknown[]>()(event, true);
}

export function cooperating(): void {
  const fs = cooperative(files);
  expectType<string>()(fs.readFile('file', 'utf8'), true);
  const handle = fs.open('file');
  expectType<number>()(handle.fd, true);
  expectType<void>()(handle.close(), true);
  for (const line of handle.readLines()) expectType<string>()(line, true);

  const pool = cooperative(new Pool());
  const value: unknown = pool.query('SELECT $1', [5]).rows[0].value;
  const client = pool.connect();
  expectType<number | null>()(client.query({ text: 'SELECT 1' }).rowCount, true);
  client.release();
  expectType<void>()(new (cooperative(pg).Client)({ port: 5 }).connect().end(), true);

  using mysqlPool = cooperative(createPool({}));
  expectType<QueryResult>()(mysqlPool.query('SELECT ?', [5])[0], true);
  using connection = mysqlPool.getConnection();
  expectType<void>()(connection.beginTransaction(), true);
  expectType<FieldPacket[]>()(connection.execute({ sql: 'SELECT ?' }, [5])[1], true);
  expectType<void>()(connection.prepare('SELECT ?').close(), true);

  const redis = cooperative(new Redis());
  expectType<string | null>()(redis.get('key'), true);
  expectType<'OK'>()(redis.set('key', String(value)), true);
  expectType<string | null>()(cooperative(createClient()).get('key'), true);
  // @ts-expect-error an argument of another type
  redis.get(Symbol());

  expectType<string>()(cooperative(fetch)('http://localhost', { method: 'POST' }).text(), true);
  const steps = cooperative(async function* (to: number) {
    yield to;
    return 'end';
  });
  for (const step of steps(5)) expectType<number>()(step, true);
  expectType<number>()(cooperative(async (a: number, _b?: string) => a, { signal: 1 })(5), true);
  // @ts-expect-error an argument of another type
  cooperative(async (a: number) => a)('one');
  // @ts-expect-error there is no such method
  cooperative({ async ask() {} }, { signal: { answer: 1 } });
  // @ts-expect-error no object
  cooperative(5);
  expectType<Pool>()(uncooperative<Pool>(pool), true);
}

export function timing(): void {
  using timeout = Timeout.startNew(5, RangeError);
  expectType<boolean>()(timeout.pending, true);
  expectType<number | null>()(timeout.ms, true);
  expectType<number | undefined>()(
    timeout.run(() => 5),
    true,
  );
  expectType<number>()(
    withTimeout(5, () => 5),
    true,
  );
  expectType<number | string>()(
    withTimeout(5, () => 5, { timeoutValue: 'late' }),
    true,
  );
  expectType<number>()(
    shield(() => 5),
    true,
  );
  using watcher = signal('SIGUSR2', (text: string) => text, 'argument');
  watcher.cancel();
  expectType<number>()(getHub().stats().switches, true);
}

export function network(): void {
  using socket = createConnection(
    { host: '127.0.0.1', port: 80 },
    { timeout: 5, localAddress: { host: '127.0.0.1' } },
  );
  expectType<Socket>()(socket, true);
  expectType<Buffer>()(socket.recv(5, 10), true);
  expectType<number>()(socket.recvInto(new Uint8Array(5), { offset: 1, length: 2, timeout: 5 }), true);
  expectType<number>()(socket.send('text', { timeout: 5 }), true);
  expectType<void>()(socket.sendAll(new DataView(new ArrayBuffer(1))), true);
  socket.shutdown('rw');
  // @ts-expect-error no such direction
  socket.shutdown('both');
  // @ts-expect-error numbers are no bytes
  socket.send(5);
  createConnection('host:80');
  createConnection(80, { resolver: new Resolver({ nameservers: ['127.0.0.1:53'], hosts: false }) });

  expectType<string>()(lookup('localhost').address, true);
  expectType<string[]>()(
    lookup('localhost', { all: true, family: 4 }).map(({ address }) => address),
    true,
  );
  // @ts-expect-error no such family
  lookup('localhost', { family: 5 });
}

export function serving(): void {
  new StreamServer(0, (socket, address) => {
    expectType<Socket>()(socket, true);
    expectType<SocketAddress>()(address, true);
  });
  const any = new StreamServer(0, (socket: Connection) => socket.close());
  expectType<StreamServer<Connection>>()(any, true);
  expectType<boolean>()(any.closed.ready, true);
  new StreamServer('unix:/run/x', null, { spawn: spawn });
  new StreamServer(0, () => {}, { spawn: (fn, ...args) => spawnLater(5, fn, ...args) });
  // @ts-expect-error a handler is given a socket
  new StreamServer(0, (socket: string) => socket);
  // @ts-expect-error there is no such mode
  new StreamServer(0, () => {}, { spawn: 'other' });
  // @ts-expect-error abstract
  new BaseServer(0);
}

export function sockets(socket: Socket, other: Socket): void {
  expectType<boolean>()(socket.getOption('noDelay'), true);
  expectType<number | null>()(socket.getOption('linger'), true);
  expectType<number>()(socket.getOption(1, 9), true);
  expectType<Buffer>()(socket.getOption(1, 9, 4), true);
  expectType<Buffer>()(socket.makeFile().readLine(), true);
  expectType<string>()(socket.makeFile({ encoding: 'utf8' }).readLine(), true);
  expectType<Buffer>()(socket.makeFile({ encoding: 'utf8' }).readExactly(4), true);
  expectType<[Socket[], Socket[], never[]]>()(select([socket, other], [other]), true);
  expectType<'r' | 'w' | 'rw'>()(waitReadWrite(socket, 5), true);
  // @ts-expect-error there is no such option
  socket.setOption('nodelay', true);
  // @ts-expect-error a flag is no number
  socket.setOption('noDelay', 1);
  // @ts-expect-error the end of a line is not one byte
  socket.makeFile({ encoding: 'utf16le' });
  // @ts-expect-error a text is no descriptor
  select(['0']);
}
