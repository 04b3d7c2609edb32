/** Blocking commands on a real Redis, by ioredis and redis. */
import { once as promiseOfOnce } from 'node:events';
import test from 'ava';
import { type Cooperative, cooperative, GreenletExit, joinAll, once, sleep, spawn } from 'greenstack';
import { Queue } from 'greenstack/queue';
import { Redis } from 'ioredis';
import { createClient, RESP_TYPES } from 'redis';
import { Gate, thrownBy } from './support/greenlets.js';
import { hubTestIf } from './support/hub-test.js';
import { hasRedis, type RunningRedis, startRedis } from './support/services.js';

let server: RunningRedis;

if (hasRedis) {
  test.before(async () => {
    server = await startRedis();
  });
  test.after.always(() => server?.stop());
}

const redisTest = (title: string, body: Parameters<typeof hubTestIf>[2]): void =>
  hubTestIf(hasRedis, hasRedis ? title : `${title} (there is no Redis)`, body);

/** A connection by ioredis. */
function connect(): Cooperative<Redis> {
  return cooperative(new Redis({ path: server.socket }));
}

/** A connection by redis. */
function connectOfficial() {
  const client = cooperative(createClient({ socket: { path: server.socket, tls: false } }));
  client.connect();
  return client;
}

/** Returns when so many clients are blocked in a command. */
function untilBlocked(redis: Cooperative<Redis>, count: number): void {
  while (!redis.info('clients').includes(`blocked_clients:${count}\r\n`)) sleep(1);
}

// ioredis

redisTest('ioredis: a hundred greenlets share a connection', (t) => {
  const redis = connect();
  const greenlets = Array.from({ length: 100 }, (_, i) =>
    spawn(() => {
      redis.set(`key:${i}`, i);
      redis.incr('count');
      return redis.get(`key:${i}`);
    }),
  );
  joinAll(greenlets, { raiseError: true });
  t.deepEqual(
    greenlets.map(({ value }) => value),
    greenlets.map((_, i) => String(i)),
  );
  t.is(redis.get('count'), '100');
  redis.flushall();
  redis.quit();
});

redisTest('ioredis: an error has what Redis says', (t) => {
  const redis = connect();
  redis.set('word', 'text');
  t.regex((thrownBy(() => redis.incr('word')) as Error).message, /not an integer/);
  redis.flushall();
  redis.quit();
});

redisTest('ioredis: pipelines and transactions give their results at once', (t) => {
  const redis = connect();
  t.deepEqual(redis.pipeline().set('a', 1).incr('a').get('a').exec(), [
    [null, 'OK'],
    [null, 2],
    [null, '2'],
  ]);
  t.deepEqual(redis.multi().incr('a').incr('a').exec(), [
    [null, 3],
    [null, 4],
  ]);
  redis.flushall();
  redis.quit();
});

redisTest('ioredis: messages that are published are waited for', (t) => {
  const [redis, subscriber] = [connect(), connect()];
  subscriber.subscribe('news');
  const greenlet = spawn(() => once(subscriber, 'message'));
  sleep(0);
  redis.publish('news', 'hello');
  t.deepEqual(greenlet.get(), ['news', 'hello']);
  subscriber.quit();
  redis.quit();
});

redisTest('ioredis: a scan is iterated by for…of', (t) => {
  const redis = connect();
  redis.mset(Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`key:${i}`, i])));
  const keys = new Set<string>();
  for (const some of redis.scanStream({ match: 'key:*' })) for (const key of some as string[]) keys.add(key);
  t.is(keys.size, 250);
  redis.flushall();
  redis.quit();
});

redisTest('ioredis: fifty greenlets that block in BRPOP get each item once', (t) => {
  const redis = connect();
  const taken: string[] = [];
  const greenlets = Array.from({ length: 50 }, () =>
    spawn(() => {
      const own = redis.duplicate();
      for (;;) {
        const [, item] = own.brpop('items', 0)!;
        if (item === 'end') break;
        taken.push(item);
      }
      own.disconnect();
    }),
  );
  untilBlocked(redis, 50);
  const items = Array.from({ length: 500 }, (_, i) => String(i));
  for (const item of items) redis.lpush('items', item);
  redis.lpush('items', ...greenlets.map(() => 'end'));
  joinAll(greenlets, { raiseError: true });
  t.deepEqual(taken.sort(), items.sort());
  redis.quit();
});

redisTest('ioredis: a killed greenlet that closes its connection takes no item', (t) => {
  const redis = connect();
  const greenlet = spawn(() => {
    const own = redis.duplicate();
    try {
      return own.brpop('items', 0);
    } finally {
      own.disconnect();
    }
  });
  untilBlocked(redis, 1);
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
  untilBlocked(redis, 0);
  redis.lpush('items', 'kept');
  t.deepEqual(redis.brpop('items', 0), ['items', 'kept']);
  redis.quit();
});

redisTest('ioredis: a command that was given up does not shift the answers of the others', (t) => {
  const redis = connect();
  redis.set('a', 'first');
  redis.set('b', 'second');
  const greenlet = spawn(() => redis.get('a'));
  sleep(0);
  greenlet.kill();
  t.is(redis.get('b'), 'second');
  redis.flushall();
  redis.quit();
});

// redis

/** What the test uses of a transaction, whose type grows with each command. */
interface Chain {
  set(key: string, value: string): Chain;
  incr(key: string): Chain;
  exec(): unknown[];
}

redisTest('redis: a hundred greenlets share a connection', (t) => {
  const client = connectOfficial();
  const greenlets = Array.from({ length: 100 }, (_, i) =>
    spawn(() => {
      client.set(`key:${i}`, i);
      return client.get(`key:${i}`) as unknown as string;
    }),
  );
  joinAll(greenlets, { raiseError: true });
  t.deepEqual(
    greenlets.map(({ value }) => value),
    greenlets.map((_, i) => String(i)),
  );
  client.flushAll();
  client.close();
});

redisTest('redis: transactions, scans and buffers', (t) => {
  const client = connectOfficial();
  const transaction = (client as unknown as { multi(): Chain }).multi();
  t.deepEqual(transaction.set('a', '1').incr('a').exec(), ['OK', 2]);
  const keys: string[] = [];
  for (const some of client.scanIterator()) keys.push(...(some as unknown as string[]));
  t.deepEqual(keys, ['a']);
  const { withTypeMapping } = client as unknown as { withTypeMapping(mapping: object): Cooperative<Redis> };
  const buffers = withTypeMapping.call(client, { [RESP_TYPES.BLOB_STRING]: Buffer });
  t.deepEqual(buffers.get('a') as unknown, Buffer.from('2'));
  client.flushAll();
  client.close();
});

redisTest('redis: a subscriber puts messages where greenlets wait', (t) => {
  const [client, subscriber] = [connectOfficial(), connectOfficial()];
  const messages = new Queue<string>();
  const subscribed = new Gate();
  const greenlet = spawn(() => {
    subscriber.subscribe('news', (message) => messages.put(String(message)));
    subscribed.open();
    return [messages.get(), messages.get()];
  });
  subscribed.pass();
  client.publish('news', 'one');
  client.publish('news', 'two');
  t.deepEqual(greenlet.get(), ['one', 'two']);
  subscriber.close();
  client.close();
});

// Outside of greenlets

(hasRedis ? test.serial : test.skip)('a cooperative client is used by async code beside it', async (t) => {
  const original = new Redis({ path: server.socket, lazyConnect: true });
  const redis = cooperative(original) as unknown as Redis;
  const ready = promiseOfOnce(original, 'ready');
  await redis.connect();
  await ready;
  await redis.set('a', 1);
  t.is(await redis.incr('a'), 2);
  const greenlet = spawn(() => cooperative(original).incr('a'));
  t.is(await greenlet, 3);
  await redis.flushall();
  await redis.quit();
});
