/** `cooperative`: what stands for an object, what its calls wait for, and what stays as it was. */
import { exec } from 'node:child_process';
import { EventEmitter, on as eventsOn, once as eventsOnce } from 'node:events';
import * as files from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import * as timers from 'node:timers/promises';
import { inspect, promisify } from 'node:util';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import {
  cooperative,
  GreenletExit,
  idle,
  joinAll,
  run,
  sleep,
  spawn,
  Timeout,
  uncooperative,
  waitFor,
  withTimeout,
} from 'greenstack';
import * as undici from 'undici';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';

const { setTimeout: delay } = timers;

/** A connection to an account, with everything that makes objects hard to stand for. */
class Account {
  static opened = 0;
  #balance = 0;
  owner = 'nobody';

  static async open(owner: string): Promise<Account> {
    await delay(1);
    Account.opened++;
    return Object.assign(new this(), { owner });
  }

  get balance(): number {
    return this.#balance;
  }

  set balance(value: number) {
    this.#balance = value;
  }

  async deposit(amount: number): Promise<number> {
    await delay(1);
    this.#balance += amount;
    return this.#balance;
  }

  async depositTwice(amount: number): Promise<number> {
    await this.deposit(amount);
    return this.deposit(amount);
  }

  async transfer(to: Account, amount: number): Promise<void> {
    await this.deposit(-amount);
    await to.deposit(amount);
  }

  async transferBy({ from, to }: { from: Account; to: Account }, amounts: number[]): Promise<void> {
    for (const amount of amounts) await from.transfer(to, amount);
  }

  async partner(): Promise<Account> {
    return this;
  }

  self(): this {
    return this;
  }

  async data(): Promise<{ buffer: Buffer; date: Date; list: Account[]; map: Map<string, Account> }> {
    return { buffer: Buffer.from('x'), date: new Date(0), list: [this], map: new Map([['me', this]]) };
  }

  async fail(): Promise<never> {
    await delay(1);
    throw new RangeError('no money');
  }

  each(callback: (account: Account) => void): void {
    callback(this);
  }
}

// Calls

hubTest('a method returns what its promise is kept with', (t) => {
  const account = cooperative(new Account());
  t.is(account.deposit(5), 5);
  t.is(account.depositTwice(5), 15);
  t.is(account.balance, 15);
});

hubTest('others run while a method waits', (t) => {
  const account = cooperative(new Account());
  const greenlets = Array.from({ length: 100 }, () => spawn(() => account.deposit(1)));
  joinAll(greenlets, { raiseError: true });
  t.is(account.balance, 100);
});

hubTest('a method throws what its promise is rejected with', (t) => {
  const account = cooperative(new Account());
  t.throws(() => account.fail(), { instanceOf: RangeError, message: 'no money' });
});

hubTest('a function blocks, with its this and its arguments', (t) => {
  const add = cooperative(async function (this: { base: number }, a: number, b = 1) {
    await delay(1);
    return this.base + a + b;
  });
  t.is(add.call({ base: 1 }, 2), 4);
  t.is(add.length, 1);
});

hubTest('a class gives cooperative objects by new and by its static methods', (t) => {
  const CooperativeAccount = cooperative(Account);
  const made = new CooperativeAccount();
  t.is(made.deposit(5), 5);
  t.true(made instanceof Account);
  t.true(made instanceof CooperativeAccount);
  const before = CooperativeAccount.opened;
  const opened = CooperativeAccount.open('Anna');
  t.is(opened.owner, 'Anna');
  t.is(CooperativeAccount.opened, before + 1);
  t.is(opened.deposit(1), 1);
});

hubTest('a class that extends a cooperative one has methods that see promises', (t) => {
  class Saver extends (cooperative(Account) as unknown as typeof Account) {
    save(): boolean {
      return this.deposit(1) instanceof Promise;
    }
  }
  const saver = new Saver();
  t.true(saver instanceof Saver);
  t.true(saver.save());
  t.is(cooperative(saver).deposit(1), 2);
});

hubTest('results that can do something are cooperative, data is not', (t) => {
  const original = new Account();
  const account = cooperative(original);
  t.is(account.partner(), account);
  t.is(account.self() as unknown, account);
  const { buffer, date, list, map } = account.data();
  t.is(buffer.toString(), 'x');
  t.is(date.getTime(), 0);
  t.is(list[0], original);
  t.is(map.get('me'), original);
});

hubTest('data of other contexts is data', (t) => {
  const made = runInNewContext(
    '({ list: [1], plain: { a: 1 }, map: new Map(), error: new Error("x"), live: { f() {} } })',
  );
  const api = cooperative({ get: async (name: string): Promise<unknown> => made[name] });
  for (const name of ['list', 'plain', 'map', 'error']) t.is(api.get(name), made[name], name);
  t.is(uncooperative(api.get('live')), made.live);
  t.not(api.get('live'), made.live);
});

hubTest('arguments are originals, also in options and arrays', (t) => {
  const [from, to] = [cooperative(new Account()), cooperative(new Account())];
  from.transfer(uncooperative<Account>(to), 5);
  t.deepEqual([from.balance, to.balance], [-5, 5]);
  from.transfer(to as unknown as Account, 5);
  t.deepEqual([from.balance, to.balance], [-10, 10]);
  const pair = { from, to } as unknown as { from: Account; to: Account };
  from.transferBy(pair, [1, 1]);
  t.deepEqual([from.balance, to.balance], [-12, 12]);
  t.is(pair.to as unknown, to);
  const seen = cooperative(async (accounts: Account[]) => accounts.every((one) => one.balance !== 0));
  t.true(seen([from as unknown as Account, to as unknown as Account]));
});

hubTest('callbacks get what the original gives them', (t) => {
  const original = new Account();
  let seen: unknown;
  cooperative(original).each((account) => (seen = account));
  t.is(seen, original);
});

hubTest('other promises than those of Node are waited for, builders only if it is wanted', (t) => {
  class Own {
    static resolve = (): Own => new Own();
    static reject = (): Own => new Own();
    then(resolve: (value: string) => void): void {
      setImmediate(() => resolve('own'));
    }
  }
  class Query {
    asked = 0;
    where(): Query {
      return this;
    }
    then(resolve: (value: number) => void): void {
      resolve(++this.asked);
    }
  }
  const query = new Query();
  const table = { own: () => new Own(), select: () => query };
  t.is(cooperative(table).own() as unknown, 'own');
  const built = cooperative(table).select().where();
  t.is(query.asked, 0);
  t.is(waitFor(built) as unknown, 1);
  t.is(cooperative(table, { thenables: true }).select() as unknown, 2);
});

// Outside of greenlets

test.serial('outside of greenlets calls return promises, of the originals', async (t) => {
  const original = new Account();
  const account = cooperative(original) as unknown as Account;
  t.true(account.deposit(5) instanceof Promise);
  t.is(await account.deposit(5), 10);
  t.is(await account.partner(), original);
  t.is(account.self(), account);
  await t.throwsAsync(account.fail(), { instanceOf: RangeError });
});

test.serial('await works both in a greenlet and out of it', async (t) => {
  const account = cooperative(new Account());
  const twice = async (): Promise<number> => {
    await account.deposit(1);
    return await account.deposit(1);
  };
  t.is(await run(() => waitFor(twice())), 2);
  t.is(await twice(), 4);
});

// What stands for an object

hubTest('the same object gives the same cooperative one', (t) => {
  const original = new Account();
  const account = cooperative(original);
  t.is(cooperative(original), account);
  t.is(cooperative(account) as unknown, account);
  t.is(account.deposit, account.deposit);
  t.is(uncooperative(account) as unknown, original);
  t.is(uncooperative(original), original);
  t.is(uncooperative(5), 5);
  t.is(uncooperative(account.deposit) as unknown, Account.prototype.deposit);
});

hubTest('properties are those of the original, and can be set, defined and deleted', (t) => {
  const original = new Account();
  const account = cooperative(original);
  account.balance = 7;
  t.is(original.balance, 7);
  t.true('balance' in account);
  t.false('other' in account);
  Object.defineProperty(account, 'extra', { value: 1, configurable: true });
  t.is((original as unknown as { extra: number }).extra, 1);
  delete (account as { extra?: number }).extra;
  t.false('extra' in original);
  t.deepEqual(Object.keys(account), ['owner']);
  t.is(JSON.stringify(account), '{"owner":"nobody"}');
  t.deepEqual({ ...account }, { owner: 'nobody' } as never);
  t.is(account.constructor, Account as never);
  t.is(Object.getPrototypeOf(account), Account.prototype);
  const holder = cooperative({ other: null as unknown, method() {} });
  holder.other = account;
  t.is((uncooperative(holder) as unknown as { other: unknown }).other, original);
});

hubTest('it is shown as the original', (t) => {
  const original = Object.assign(new Account(), { owner: 'Anna' });
  t.is(inspect(cooperative(original)), inspect(original));
  t.is(inspect([cooperative(Account)]), inspect([Account]));
  t.is(String(cooperative(Object)), String(Object));
});

hubTest('an object that is frozen blocks too', (t) => {
  const frozen = cooperative(
    Object.freeze({
      async ask() {
        await delay(1);
        return 'answer';
      },
    }),
  );
  t.is(frozen.ask(), 'answer');
  t.deepEqual(Object.keys(frozen), ['ask']);
  t.false(Reflect.preventExtensions(frozen));
});

hubTest('accessors are accessors, and are not called to be looked at', (t) => {
  let calls = 0;
  const original = {
    get value() {
      calls++;
      return 5;
    },
    method() {},
  };
  const standIn = cooperative(original);
  const property = Object.getOwnPropertyDescriptor(standIn, 'value')!;
  t.deepEqual(Object.keys(standIn), ['value', 'method']);
  t.is(calls, 0);
  t.is(property.get!(), 5);
});

hubTest('what is no object is refused, and so are promises and wrong options', (t) => {
  t.throws(() => cooperative(5 as never), {
    message: 'cooperative() expects an object, a class or a function, got 5',
  });
  t.throws(() => cooperative(null as never), { instanceOf: TypeError });
  t.throws(() => cooperative(Promise.resolve()), { message: /got a promise: use waitFor\(\)/ });
  t.throws(() => cooperative({}, { thenables: 1 as never }), { message: /thenables must be true or false/ });
  t.throws(() => cooperative({}, { signal: 1 }), { message: /signal must be positions by name, got 1/ });
  t.throws(() => cooperative(async () => {}, { signal: -1 }), { instanceOf: RangeError });
  t.throws(() => cooperative({ a: 1 }, { signal: { a: 1 } }), { message: /there is no method a/ });
  t.throws(() => cooperative({ a() {} }, { unclaimed: { a: 5 as never } }), {
    message: /unclaimed\.a expects a function, got number/,
  });
});

// Iteration

async function* count(to: number, log: string[] = []): AsyncGenerator<number, string> {
  try {
    for (let i = 1; i <= to; i++) {
      await delay(1);
      yield i;
    }
    return 'end';
  } finally {
    await delay(1);
    log.push('finally');
  }
}

hubTest('an async generator is iterated by for…of', (t) => {
  t.deepEqual([...cooperative(count(3))], [1, 2, 3]);
  const generate = cooperative(count);
  t.deepEqual([...generate(2)], [1, 2]);
  const steps = generate(1);
  t.deepEqual(steps.next(), { done: false, value: 1 });
  t.deepEqual(steps.next(), { done: true, value: 'end' });
});

hubTest('leaving a loop early ends the generator, and waits for that', (t) => {
  const log: string[] = [];
  for (const item of cooperative(count(3, log))) {
    t.is(item, 1);
    break;
  }
  t.deepEqual(log, ['finally']);
});

hubTest('an error of an async generator is thrown in the loop', (t) => {
  async function* failing(): AsyncGenerator<number> {
    yield 1;
    throw new RangeError('no more');
  }
  const items: number[] = [];
  t.throws(
    () => {
      for (const item of cooperative(failing())) items.push(item);
    },
    { instanceOf: RangeError },
  );
  t.deepEqual(items, [1]);
});

hubTest('a greenlet that is killed in a loop ends the generator, too', (t) => {
  const log: string[] = [];
  const greenlet = spawn(() => {
    for (const item of cooperative(count(1_000_000, log))) t.true(item > 0);
  });
  idle();
  greenlet.kill();
  while (log.length === 0) sleep(1);
  t.deepEqual(log, ['finally']);
});

hubTest('items that can do something are cooperative', (t) => {
  const original = new Account();
  async function* accounts(): AsyncGenerator<Account> {
    yield original;
  }
  for (const account of cooperative(accounts())) t.is(account.deposit(1), 1);
});

hubTest('a stream is iterated by for…of', (t) => {
  const pieces: string[] = [];
  for (const piece of cooperative(Readable.from(['one', 'two']))) pieces.push(piece as string);
  t.deepEqual(pieces, ['one', 'two']);
});

hubTest('a stream is destroyed by a break, and by a kill while it has no data', (t) => {
  const [left, killed] = [new PassThrough(), new PassThrough()];
  left.write('x');
  for (const piece of cooperative(left)) {
    t.is(String(piece), 'x');
    break;
  }
  t.true(left.destroyed);
  const greenlet = spawn(() => [...cooperative(killed)]);
  idle();
  t.false(killed.destroyed);
  greenlet.kill();
  t.true(killed.destroyed);
});

hubTest('a stream of the web is iterated, and cancelled by a break and a kill', (t) => {
  const cancelled: string[] = [];
  const stream = (name: string, items: string[]): ReadableStream<string> =>
    new ReadableStream<string>({
      start: (controller) => items.forEach((item) => controller.enqueue(item)),
      cancel: () => void cancelled.push(name),
    });
  for (const item of cooperative(stream('left', ['a', 'b']))) {
    t.is(item, 'a');
    break;
  }
  t.deepEqual(cancelled, ['left']);
  const greenlet = spawn(() => [...cooperative(stream('killed', []))]);
  idle();
  greenlet.kill();
  t.deepEqual(cancelled, ['left', 'killed']);
});

test.serial('a cooperative source can still be iterated by for await', async (t) => {
  const items: number[] = [];
  for await (const item of cooperative(count(3)) as unknown as AsyncIterable<number>) items.push(item);
  t.deepEqual(items, [1, 2, 3]);
});

hubTest('what has an async dispose can be used by using', (t) => {
  const log: string[] = [];
  class Resource {
    async work(): Promise<void> {
      await delay(1);
      log.push('work');
    }
    async [Symbol.asyncDispose](): Promise<void> {
      await delay(1);
      log.push('disposed');
    }
  }
  {
    using resource = cooperative(new Resource());
    resource.work();
  }
  t.deepEqual(log, ['work', 'disposed']);
});

// Signals

hubTest('a kill aborts what is known to take a signal', (t) => {
  let seen: AbortSignal | undefined;
  const wait = cooperative(
    (_ms: number, options?: { signal?: AbortSignal }) => {
      seen = options?.signal;
      return new Promise<never>(() => {});
    },
    { signal: 1 },
  );
  const greenlet = spawn(() => wait(5));
  idle();
  t.false(seen!.aborted);
  greenlet.kill();
  t.true(seen!.aborted);
  t.true(seen!.reason instanceof GreenletExit);
});

hubTest('a signal among the options is obeyed beside that of the greenlet', (t) => {
  const sleepFor = cooperative(timers).setTimeout;
  const controller = new AbortController();
  const greenlet = spawn(() => thrownBy(() => sleepFor(3_600_000, null, { signal: controller.signal })));
  idle();
  controller.abort();
  t.is((greenlet.get() as Error).name, 'AbortError');
  const other = spawn(() => sleepFor(3_600_000, null, { signal: new AbortController().signal }));
  idle();
  other.kill();
  t.true((other.value as unknown) instanceof GreenletExit);
});

hubTest('a signal can be known of methods by their names', (t) => {
  const signals: unknown[] = [];
  const api = cooperative(
    {
      async first(options?: { signal?: AbortSignal }) {
        signals.push(options?.signal);
      },
      async second(options?: object) {
        signals.push(options);
      },
    },
    { signal: { first: 0 } },
  );
  api.first();
  api.second();
  t.true(signals[0] instanceof AbortSignal);
  t.is(signals[1], undefined);
});

hubTest('a result that comes after a kill is given to whom it may concern', (t) => {
  const [left, right] = [new Account(), new Account()];
  const opened: Array<{ resolve(account: Account): void; reject(error: Error): void }> = [];
  const bank = { open: () => new Promise<Account>((resolve, reject) => opened.push({ resolve, reject })) };
  const unclaimed: unknown[] = [];
  const api = cooperative(bank, { unclaimed: { open: (account: Account) => unclaimed.push(account) } });
  const [killed, served, failed] = [1, 2, 3].map(() => spawn(() => api.open()));
  idle();
  killed!.kill();
  failed!.kill();
  opened[0]!.resolve(left);
  opened[1]!.resolve(right);
  opened[2]!.reject(new Error('never mind'));
  t.is(served!.get(), cooperative(right));
  idle();
  t.deepEqual(unclaimed, [left]);
});

hubTest('timers/promises blocks, and a timeout ends its timers', (t) => {
  const blocking = cooperative(timers);
  t.is(blocking.setTimeout(1, 'value'), 'value');
  t.is(blocking.setImmediate('now'), 'now');
  const count = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = count();
  t.true(thrownBy(() => withTimeout(1, () => blocking.setTimeout(3_600_000))) instanceof Timeout);
  t.is(count(), before);
  let ticks = 0;
  for (const tick of blocking.setInterval(1, 'tick')) {
    t.is(tick, 'tick');
    if (++ticks === 3) break;
  }
  const greenlet = spawn(() => [...blocking.setInterval(3_600_000)]);
  idle();
  greenlet.kill();
  idle();
  waitFor(new Promise((resolve) => setImmediate(resolve)));
  t.is(count(), before);
});

hubTest('fs/promises blocks, handles too', (t) => {
  const fs = cooperative(files);
  const folder = fs.mkdtemp(join(tmpdir(), 'greenstack-'));
  const file = join(folder, 'file');
  fs.writeFile(file, 'one\ntwo\n');
  t.is(fs.readFile(file, 'utf8'), 'one\ntwo\n');
  t.is(fs.readFile(file).length, 8);
  t.true(fs.stat(file).isFile());
  const handle = fs.open(file, 'r+');
  t.deepEqual([...handle.readLines()], ['one', 'two']);
  const second = fs.open(file);
  t.is(second.read(Buffer.alloc(3), 0, 3, 0).bytesRead, 3);
  second.close();
  t.deepEqual(
    [...fs.opendir(folder)].map(({ name }) => name),
    ['file'],
  );
  t.is((thrownBy(() => fs.readFile(join(folder, 'none'))) as NodeJS.ErrnoException).code, 'ENOENT');
  fs.rm(folder, { recursive: true });
});

hubTest('a kill ends watching a folder', (t) => {
  const fs = cooperative(files);
  const folder = fs.mkdtemp(join(tmpdir(), 'greenstack-'));
  const watchers = () => process.getActiveResourcesInfo().filter((name) => /^FSEVENT/i.test(name)).length;
  const before = watchers();
  const greenlet = spawn(() => {
    for (const { filename } of fs.watch(folder)) if (filename === 'seen') sleep(0);
  });
  while (watchers() === before) sleep(1);
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
  while (watchers() > before) sleep(1);
  fs.rm(folder, { recursive: true });
});

hubTest('commands block, and a kill ends them', (t) => {
  const run = cooperative(promisify(exec));
  t.is(run('echo hello').stdout, 'hello\n');
  t.is((thrownBy(() => run('exit 3')) as { code?: number }).code, 3);
  const greenlet = spawn(() => run('sleep 3600'));
  idle();
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
});

hubTest('once and on of node:events block', (t) => {
  const emitter = new EventEmitter();
  setImmediate(() => emitter.emit('ready', 5));
  t.deepEqual(cooperative(eventsOnce)(emitter, 'ready') as unknown, [5]);
  setImmediate(() => emitter.emit('ready', 6));
  for (const event of cooperative(eventsOn)(emitter, 'ready')) {
    t.deepEqual(event, [6]);
    break;
  }
  const greenlet = spawn(() => cooperative(eventsOnce)(emitter, 'ready'));
  idle();
  t.is(emitter.listenerCount('ready'), 1);
  greenlet.kill();
  t.is(emitter.listenerCount('ready'), 0);
});

// fetch and undici

/** An HTTP server of Node's, on 127.0.0.1. */
function serving(handler: RequestListener): Disposable & { url: string } {
  const server = createServer(handler).listen(0, '127.0.0.1');
  waitFor(eventsOnce(server, 'listening'));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    [Symbol.dispose]() {
      server.closeAllConnections();
      waitFor(new Promise((resolve) => server.close(resolve)));
    },
  };
}

hubTest('fetch blocks, and so does reading the body', (t) => {
  using server = serving((request, response) => void request.pipe(response));
  const blocking = cooperative(fetch);
  const answer = blocking(server.url, { method: 'POST', body: '{"a":1}' });
  t.is(answer.status, 200);
  t.deepEqual(answer.json(), { a: 1 });
  let length = 0;
  for (const piece of blocking(server.url, { method: 'POST', body: 'x'.repeat(100_000) }).body!)
    length += piece.length;
  t.is(length, 100_000);
});

hubTest('a kill closes the connection of a fetch, before the head and in the body', (t) => {
  for (const head of [false, true]) {
    let [waiting, closed] = [false, false];
    using server = serving((_, response) => {
      waiting = !head;
      if (head) response.write('piece');
      response.on('close', () => (closed = true));
    });
    const greenlet = spawn(() => {
      const response = cooperative(fetch)(server.url);
      waiting = true;
      return response.text();
    });
    while (!waiting) sleep(1);
    greenlet.kill();
    while (!closed) sleep(1);
    t.true((greenlet.value as unknown) instanceof GreenletExit);
  }
});

hubTest('undici blocks', (t) => {
  using server = serving((request, response) => void response.end(`you ask for ${request.url}`));
  const http = cooperative(undici, { signal: { request: 1, fetch: 1 } });
  t.is(http.fetch(`${server.url}a`).text(), 'you ask for /a');
  const { statusCode, body } = http.request(`${server.url}b`);
  t.is(statusCode, 200);
  t.is(cooperative(body).text(), 'you ask for /b');
  const client = new http.Client(new URL(server.url).origin);
  const answer = client.request({ path: '/c', method: 'GET' });
  t.is([...cooperative(answer.body)].map(String).join(''), 'you ask for /c');
  client.close();
  waitFor(undici.getGlobalDispatcher().close());
});
