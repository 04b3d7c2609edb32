/** Blocking queries on a real PostgreSQL, by pg. */
import test from 'ava';
import {
  type Cooperative,
  cooperative,
  GreenletExit,
  joinAll,
  once,
  shield,
  sleep,
  spawn,
  Timeout,
  waitFor,
  withTimeout,
} from 'greenstack';
import { Client, type Notification, Pool, type PoolClient } from 'pg';
import { Gate, thrownBy } from './support/greenlets.js';
import { hubTestIf } from './support/hub-test.js';
import { hasPostgres, type RunningPostgres, startPostgres } from './support/services.js';

let server: RunningPostgres;

if (hasPostgres) {
  test.before(async () => {
    server = await startPostgres({ maxConnections: 130 });
  });
  test.after.always(() => server?.stop());
}

const postgresTest = (title: string, body: Parameters<typeof hubTestIf>[2]): void =>
  hubTestIf(hasPostgres, hasPostgres ? title : `${title} (there is no PostgreSQL)`, body);

type BlockingPool = Cooperative<Pool>;
type BlockingClient = Cooperative<PoolClient>;

const account = () => ({ host: server.host, user: 'postgres', database: 'postgres' });

/** A pool that gives a client back that comes when nobody waits for it any more. */
function makePool(max: number): BlockingPool & Disposable {
  const pool = cooperative(new Pool({ ...account(), max }), {
    unclaimed: { connect: (client: PoolClient) => client.release() },
  });
  return Object.assign(pool, { [Symbol.dispose]: () => void pool.end() });
}

/** Runs `body` in a transaction. A client that is left in the middle of something is closed. */
function transaction<T>(pool: BlockingPool, body: (client: BlockingClient) => T): T {
  const client = pool.connect();
  let broken = true;
  try {
    client.query('BEGIN');
    const result = body(client);
    client.query('COMMIT');
    broken = false;
    return result;
  } finally {
    client.release(broken);
  }
}

function connectClient(): Cooperative<Client> {
  const client = cooperative(new Client(account()));
  client.connect();
  return client;
}

/** Waits until the backends of `pool` have nothing under way. */
function untilQuiet(pool: BlockingPool): void {
  const busy = `SELECT count(*)::int AS busy FROM pg_stat_activity WHERE backend_type = 'client backend' AND state <> 'idle'`;
  while (pool.query(`${busy} AND pid <> pg_backend_pid()`).rows[0].busy > 0) sleep(5);
}

postgresTest('a hundred greenlets share one client', (t) => {
  const client = connectClient();
  const greenlets = Array.from({ length: 100 }, (_, i) =>
    spawn(() => client.query('SELECT $1::int AS number', [i]).rows[0].number as number),
  );
  joinAll(greenlets, { raiseError: true });
  t.deepEqual(
    greenlets.map(({ value }) => value),
    greenlets.map((_, i) => i),
  );
  client.end();
});

for (const size of [10, 100]) {
  postgresTest(`three hundred greenlets share a pool of ${size} clients`, (t) => {
    using pool = makePool(size);
    const allTaken = new Gate();
    let [inside, most] = [0, 0];
    const greenlets = Array.from({ length: 300 }, (_, i) =>
      spawn(() => {
        const client = pool.connect();
        most = Math.max(most, ++inside);
        if (inside === size) allTaken.open();
        else allTaken.pass();
        const { number, pid } = client.query('SELECT $1::int AS number, pg_backend_pid() AS pid', [i])
          .rows[0];
        inside--;
        client.release();
        t.is(number, i);
        return pid as number;
      }),
    );
    joinAll(greenlets, { raiseError: true });
    t.is(most, size);
    t.is(new Set(greenlets.map(({ value }) => value)).size, size);
    t.is(pool.totalCount, size);
    t.is(pool.idleCount, size);
  });
}

postgresTest('a client of a pool is cooperative, and always the same', (t) => {
  using pool = makePool(1);
  const first = pool.connect();
  first.release();
  const second = pool.connect();
  t.is(first, second);
  t.true(second instanceof Client);
  second.release();
});

postgresTest('an error has what PostgreSQL says, and the client goes on', (t) => {
  const client = connectClient();
  const error = thrownBy(() => client.query('SELEKT 1')) as Error & { code: string };
  t.is(error.code, '42601');
  t.is(client.query('SELECT 1 AS one').rows[0].one, 1);
  client.end();
});

postgresTest('transactions on one row lose no update', (t) => {
  using pool = makePool(10);
  pool.query('CREATE TABLE counter (id int PRIMARY KEY, n int)');
  pool.query('INSERT INTO counter VALUES (1, 0)');
  const greenlets = Array.from({ length: 100 }, () =>
    spawn(() =>
      transaction(pool, (client) => {
        const { n } = client.query('SELECT n FROM counter WHERE id = 1 FOR UPDATE').rows[0];
        sleep(0);
        client.query('UPDATE counter SET n = $1 WHERE id = 1', [n + 1]);
      }),
    ),
  );
  joinAll(greenlets, { raiseError: true });
  t.is(pool.query('SELECT n FROM counter').rows[0].n, 100);
  pool.query('DROP TABLE counter');
});

postgresTest('serializable transactions are repeated until all have got through', (t) => {
  using pool = makePool(5);
  pool.query('CREATE TABLE counter (n int)');
  pool.query('INSERT INTO counter VALUES (0)');
  const increment = (client: BlockingClient): void => {
    client.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
    const { n } = client.query('SELECT n FROM counter').rows[0];
    client.query('UPDATE counter SET n = $1', [n + 1]);
  };
  const greenlets = Array.from({ length: 20 }, () =>
    spawn(() => {
      for (;;) {
        try {
          return transaction(pool, increment);
        } catch (error) {
          if ((error as { code?: string }).code !== '40001') throw error;
        }
      }
    }),
  );
  joinAll(greenlets, { raiseError: true });
  t.is(pool.query('SELECT n FROM counter').rows[0].n, 20);
  pool.query('DROP TABLE counter');
});

// Kills and timeouts

postgresTest('a client whose query was given up answers the next one rightly', (t) => {
  const client = connectClient();
  const greenlet = spawn(() => client.query(`SELECT pg_sleep(0.05), 'first' AS word`));
  sleep(0);
  greenlet.kill();
  t.is(client.query(`SELECT 'second' AS word`).rows[0].word, 'second');
  t.true(thrownBy(() => withTimeout(1, () => client.query('SELECT pg_sleep(0.05)'))) instanceof Timeout);
  t.is(client.query(`SELECT 'third' AS word`).rows[0].word, 'third');
  client.end();
});

postgresTest('a kill in the middle of a transaction closes the client, and nothing is committed', (t) => {
  using pool = makePool(1);
  pool.query('CREATE TABLE note (word text)');
  let inserted = false;
  const greenlet = spawn(() =>
    transaction(pool, (client) => {
      client.query(`INSERT INTO note VALUES ('lost')`);
      inserted = true;
      client.query('SELECT pg_sleep(3600)');
    }),
  );
  while (!inserted) sleep(1);
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
  t.is(pool.totalCount, 0);
  t.is(pool.query('SELECT count(*)::int AS n FROM note').rows[0].n, 0);
  // PostgreSQL notices only when the query ends.
  pool.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)' AND pid <> pg_backend_pid()`,
  );
  untilQuiet(pool);
  t.is(pool.query('SELECT count(*)::int AS n FROM note').rows[0].n, 0);
  pool.query('DROP TABLE note');
});

postgresTest('a kill while it waits for a client takes none away', (t) => {
  using pool = makePool(1);
  const held = pool.connect();
  const waiting = spawn(() => pool.connect());
  sleep(0);
  t.is(pool.waitingCount, 1);
  waiting.kill();
  t.true((waiting.value as unknown) instanceof GreenletExit);
  held.release();
  t.is(pool.query('SELECT 1 AS one').rows[0].one, 1);
  t.deepEqual([pool.totalCount, pool.idleCount, pool.waitingCount], [1, 1, 0]);
});

postgresTest('a shield lets a commit end, and the kill comes after it', (t) => {
  using pool = makePool(2);
  pool.query('CREATE TABLE note (word text)');
  let begun = false;
  const greenlet = spawn(() => {
    shield(() =>
      transaction(pool, (client) => {
        client.query(`INSERT INTO note VALUES ('kept')`);
        begun = true;
        client.query('SELECT pg_sleep(0.02)');
      }),
    );
    sleep(3_600_000);
  });
  while (!begun) sleep(1);
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
  t.is(pool.query('SELECT word FROM note').rows[0].word, 'kept');
  pool.query('DROP TABLE note');
});

postgresTest('greenlets that are killed anywhere leave no money lost, and no client', (t) => {
  using pool = makePool(5);
  pool.query('CREATE TABLE purse (id int PRIMARY KEY, amount int)');
  pool.query('INSERT INTO purse SELECT id, 100 FROM generate_series(1, 4) AS id');
  let done = 0;
  const greenlets = Array.from({ length: 60 }, (_, i) =>
    spawn(() => {
      transaction(pool, (client) => {
        const [from, to] = [(i % 4) + 1, ((i + 1) % 4) + 1];
        client.query('SELECT 1 FROM purse ORDER BY id FOR UPDATE');
        client.query('UPDATE purse SET amount = amount - 1 WHERE id = $1', [from]);
        client.query('UPDATE purse SET amount = amount + 1 WHERE id = $1', [to]);
      });
      done++;
    }),
  );
  // Each kill comes at another step of the others.
  for (let i = 1; i < greenlets.length; i += 2) {
    waitFor(new Promise((resolve) => setImmediate(resolve)));
    greenlets[i]!.kill();
  }
  joinAll(greenlets);
  t.true(done >= 30);
  untilQuiet(pool);
  t.is(pool.query('SELECT sum(amount)::int AS sum FROM purse').rows[0].sum, 400);
  t.is(pool.idleCount, pool.totalCount);
  t.is(pool.waitingCount, 0);
  const clients = Array.from({ length: 5 }, () => pool.connect());
  for (const client of clients) t.is(client.query('SELECT 1 AS one').rows[0].one, 1);
  for (const client of clients) client.release();
  pool.query('DROP TABLE purse');
});

// Events

postgresTest('a notification is waited for by once()', (t) => {
  const [listener, sender] = [connectClient(), connectClient()];
  listener.query('LISTEN news');
  const greenlet = spawn(() => once(listener, 'notification')[0] as Notification);
  sleep(0);
  sender.query(`NOTIFY news, 'hello'`);
  t.is(greenlet.get().payload, 'hello');
  listener.end();
  sender.end();
});
