/** Blocking queries on a real MariaDB, by mysql2. */
import test from 'ava';
import {
  type Cooperative,
  cooperative,
  GreenletExit,
  joinAll,
  shield,
  sleep,
  spawn,
  Timeout,
  waitFor,
  withTimeout,
} from 'greenstack';
import * as mysql from 'mysql2/promise';
import type { Connection, Pool, PoolConnection, QueryError, RowDataPacket } from 'mysql2/promise';
import { Gate, parkForLong, thrownBy } from './support/greenlets.js';
import { hubTestIf } from './support/hub-test.js';
import { hasMariadb, type RunningMariadb, startMariadb } from './support/services.js';

let server: RunningMariadb;

if (hasMariadb) {
  test.before(async () => {
    server = await startMariadb();
  });
  test.after.always(() => server?.stop());
}

const titled = (title: string): string => (hasMariadb ? title : `${title} (there is no MariaDB)`);

const mysqlTest = (title: string, body: Parameters<typeof hubTestIf>[2]): void =>
  hubTestIf(hasMariadb, titled(title), body);

type BlockingPool = Cooperative<Pool>;
type BlockingConnection = Cooperative<Connection>;

const account = () => ({ socketPath: server.socket, user: 'root', database: 'test' });

/** A pool that gives a connection back that comes when nobody waits for it any more. */
function makePool(connectionLimit: number): BlockingPool {
  return cooperative(mysql.createPool({ ...account(), connectionLimit }), {
    unclaimed: { getConnection: (connection: PoolConnection) => connection.release() },
  });
}

const connect = (): BlockingConnection => cooperative(mysql).createConnection(account());

function rowsOf(
  connection: Pick<BlockingConnection, 'query'>,
  sql: string,
  values: unknown[] = [],
): RowDataPacket[] {
  return connection.query(sql, values as number[])[0] as RowDataPacket[];
}

/** Runs `body` in a transaction. A connection that is left in the middle of something is closed. */
function transaction<T>(pool: BlockingPool, body: (connection: BlockingConnection) => T): T {
  const connection = pool.getConnection();
  let done = false;
  try {
    connection.beginTransaction();
    const result = body(connection);
    connection.commit();
    done = true;
    return result;
  } finally {
    if (done) connection.release();
    else connection.destroy();
  }
}

/** A connection whose lock makes `SELECT GET_LOCK('door', 3600)` wait until it is ended. */
function doorkeeper(): BlockingConnection {
  const connection = connect();
  rowsOf(connection, `SELECT GET_LOCK('door', 0)`);
  return connection;
}

const PASS_DOOR = `SELECT GET_LOCK('door', 3600) AS passed`;

/** Returns when MariaDB has rolled back what a connection was at. */
function untilGone(pool: BlockingPool, threadId: number): void {
  while (rowsOf(pool, 'SELECT 1 FROM information_schema.processlist WHERE id = ?', [threadId]).length > 0)
    sleep(1);
}

mysqlTest('a hundred greenlets share one connection', (t) => {
  const connection = connect();
  const greenlets = Array.from({ length: 100 }, (_, i) =>
    spawn(() => rowsOf(connection, 'SELECT ? AS number', [i])[0]!.number as number),
  );
  joinAll(greenlets, { raiseError: true });
  t.deepEqual(
    greenlets.map(({ value }) => value),
    greenlets.map((_, i) => i),
  );
  connection.end();
});

mysqlTest('a hundred greenlets share a pool of ten connections', (t) => {
  using pool = makePool(10);
  const allTaken = new Gate();
  let [inside, most] = [0, 0];
  const greenlets = Array.from({ length: 100 }, (_, i) =>
    spawn(() => {
      const connection = pool.getConnection();
      most = Math.max(most, ++inside);
      if (inside === 10) allTaken.open();
      else allTaken.pass();
      const [row] = rowsOf(connection, 'SELECT ? AS number, CONNECTION_ID() AS id', [i]);
      inside--;
      connection.release();
      t.is(row!.number, i);
      return row!.id as number;
    }),
  );
  joinAll(greenlets, { raiseError: true });
  t.is(most, 10);
  t.is(new Set(greenlets.map(({ value }) => value)).size, 10);
});

mysqlTest('a hundred queries of a pool get their own answers', (t) => {
  using pool = makePool(10);
  const greenlets = Array.from({ length: 100 }, (_, i) =>
    spawn(() => rowsOf(pool, 'SELECT ? AS number', [i])[0]!.number as number),
  );
  joinAll(greenlets, { raiseError: true });
  t.deepEqual(
    greenlets.map(({ value }) => value),
    greenlets.map((_, i) => i),
  );
});

mysqlTest('prepared statements block, by execute() and by prepare()', (t) => {
  using pool = makePool(2);
  const greenlets = Array.from({ length: 20 }, (_, i) =>
    spawn(() => (pool.execute('SELECT ? AS word', [`word ${i}`])[0] as RowDataPacket[])[0]!.word as string),
  );
  joinAll(greenlets, { raiseError: true });
  t.deepEqual(
    greenlets.map(({ value }) => value),
    greenlets.map((_, i) => `word ${i}`),
  );
  using connection = pool.getConnection();
  const statement = connection.prepare('SELECT ? AS word');
  for (const word of ['one', 'two']) t.like(statement.execute([word])[0], [{ word }]);
  statement.close();
});

mysqlTest('rows are iterated as they come, and a loop that is left early gives the connection back', (t) => {
  using pool = makePool(1);
  // The pool that knows callbacks is the one that streams.
  const rows = (sql: string) => pool.pool.query(sql).stream();
  let sum = 0;
  for (const { seq } of rows('SELECT seq FROM seq_1_to_5000')) sum += seq;
  t.is(sum, 12_502_500);
  for (const { seq } of rows('SELECT seq FROM seq_1_to_5000')) if (seq === 3) break;
  const error = thrownBy(() => {
    for (const _ of rows('SELECT * FROM nothing')) t.fail();
  });
  t.is((error as QueryError).code, 'ER_NO_SUCH_TABLE');
  t.is(rowsOf(pool, 'SELECT 1 AS one')[0]!.one, 1);
});

mysqlTest('an error has what MariaDB says, and the connection goes on', (t) => {
  const connection = connect();
  const error = thrownBy(() => connection.query('SELECT * FROM nothing'));
  t.true(error instanceof Error);
  t.like(error, {
    code: 'ER_NO_SUCH_TABLE',
    errno: 1146,
    sqlState: '42S02',
    sqlMessage: `Table 'test.nothing' doesn't exist`,
  });
  t.is((thrownBy(() => connection.execute('SELEKT 1')) as QueryError).code, 'ER_PARSE_ERROR');
  t.is(rowsOf(connection, 'SELECT 1 AS one')[0]!.one, 1);
  connection.end();
  const refused = thrownBy(() => cooperative(mysql).createConnection({ ...account(), password: 'wrong' }));
  t.is((refused as QueryError).code, 'ER_ACCESS_DENIED_ERROR');
});

mysqlTest('transactions on one row lose no update', (t) => {
  using pool = makePool(10);
  pool.query('CREATE TABLE counter (id int PRIMARY KEY, n int)');
  pool.query('INSERT INTO counter VALUES (1, 0)');
  const greenlets = Array.from({ length: 100 }, () =>
    spawn(() =>
      transaction(pool, (connection) => {
        const { n } = rowsOf(connection, 'SELECT n FROM counter WHERE id = 1 FOR UPDATE')[0]!;
        sleep(0);
        connection.execute('UPDATE counter SET n = ? WHERE id = 1', [n + 1]);
      }),
    ),
  );
  joinAll(greenlets, { raiseError: true });
  t.is(rowsOf(pool, 'SELECT n FROM counter')[0]!.n, 100);
  pool.query('DROP TABLE counter');
});

mysqlTest('of two transactions in a deadlock one is repeated', (t) => {
  using pool = makePool(2);
  pool.query('CREATE TABLE counter (id int PRIMARY KEY, n int)');
  pool.query('INSERT INTO counter VALUES (1, 0), (2, 0)');
  const bothHaveOne = new Gate();
  let [having, deadlocks] = [0, 0];
  const increment = 'UPDATE counter SET n = n + 1 WHERE id = ?';
  const greenlets = [
    [1, 2],
    [2, 1],
  ].map(([first, second]) =>
    spawn(() => {
      for (;;) {
        try {
          return transaction(pool, (connection) => {
            connection.execute(increment, [first!]);
            if (++having === 2) bothHaveOne.open();
            else bothHaveOne.pass();
            connection.execute(increment, [second!]);
          });
        } catch (error) {
          if ((error as QueryError).code !== 'ER_LOCK_DEADLOCK') throw error;
          deadlocks++;
        }
      }
    }),
  );
  joinAll(greenlets, { raiseError: true });
  t.true(deadlocks >= 1);
  t.deepEqual(
    rowsOf(pool, 'SELECT n FROM counter').map(({ n }) => n),
    [2, 2],
  );
  pool.query('DROP TABLE counter');
});

// Kills and timeouts

mysqlTest('a connection whose query was given up answers the next one rightly', (t) => {
  const [keeper, connection] = [doorkeeper(), connect()];
  const greenlet = spawn(() => connection.query(PASS_DOOR));
  sleep(0);
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
  t.true(thrownBy(() => withTimeout(1, () => connection.query(PASS_DOOR))) instanceof Timeout);
  const next = spawn(() => rowsOf(connection, `SELECT 'next' AS word`));
  keeper.end();
  t.is(next.get()[0]!.word, 'next');
  connection.end();
});

mysqlTest('a kill in the middle of a transaction closes the connection, and nothing is committed', (t) => {
  using pool = makePool(1);
  pool.query('CREATE TABLE note (word text)');
  const keeper = doorkeeper();
  const inserted = new Gate();
  let threadId = 0;
  const greenlet = spawn(() =>
    transaction(pool, (connection) => {
      connection.query(`INSERT INTO note VALUES ('lost')`);
      threadId = connection.threadId;
      inserted.open();
      connection.query(PASS_DOOR);
    }),
  );
  inserted.pass();
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
  // By another connection: the only one is closed.
  t.not(rowsOf(pool, 'SELECT CONNECTION_ID() AS id')[0]!.id, threadId);
  // MariaDB notices only when the query ends.
  keeper.end();
  untilGone(pool, threadId);
  t.is(rowsOf(pool, 'SELECT count(*) AS n FROM note')[0]!.n, 0);
  pool.query('DROP TABLE note');
});

mysqlTest('a kill while it waits for a connection takes none away', (t) => {
  using pool = makePool(1);
  const opening = spawn(() => pool.getConnection());
  sleep(0);
  opening.kill();
  t.true((opening.value as unknown) instanceof GreenletExit);
  const held = pool.getConnection();
  const waiting = spawn(() => pool.getConnection());
  sleep(0);
  waiting.kill();
  t.true((waiting.value as unknown) instanceof GreenletExit);
  held.release();
  t.is(rowsOf(pool, 'SELECT 1 AS one')[0]!.one, 1);
});

mysqlTest('a connection that is opened for a killed greenlet is closed', (t) => {
  using pool = makePool(1);
  const came = new Gate();
  let threadId = 0;
  const { createConnection } = cooperative(mysql, {
    unclaimed: {
      createConnection(connection: Connection) {
        threadId = connection.threadId;
        connection.destroy();
        came.open();
      },
    },
  });
  const greenlet = spawn(() => createConnection(account()));
  sleep(0);
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
  came.pass();
  untilGone(pool, threadId);
  t.true(threadId > 0);
});

mysqlTest('a shield lets a commit end, and the kill comes after it', (t) => {
  using pool = makePool(2);
  pool.query('CREATE TABLE note (word text)');
  const keeper = doorkeeper();
  const inserted = new Gate();
  const greenlet = spawn(() => {
    shield(() =>
      transaction(pool, (connection) => {
        connection.query(`INSERT INTO note VALUES ('kept')`);
        inserted.open();
        connection.query(PASS_DOOR);
        connection.query(`SELECT RELEASE_LOCK('door')`);
      }),
    );
    parkForLong();
  });
  inserted.pass();
  greenlet.kill(undefined, { block: false });
  keeper.end();
  greenlet.join();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
  t.is(rowsOf(pool, 'SELECT word FROM note')[0]!.word, 'kept');
  pool.query('DROP TABLE note');
});

mysqlTest('greenlets that are killed anywhere leave no money lost, and no connection', (t) => {
  using pool = makePool(5);
  pool.query('CREATE TABLE purse (id int PRIMARY KEY, amount int)');
  pool.query('INSERT INTO purse VALUES (1, 100), (2, 100), (3, 100), (4, 100)');
  let done = 0;
  const greenlets = Array.from({ length: 60 }, (_, i) =>
    spawn(() => {
      transaction(pool, (connection) => {
        const [from, to] = [(i % 4) + 1, ((i + 1) % 4) + 1];
        connection.query('SELECT 1 FROM purse ORDER BY id FOR UPDATE');
        connection.execute('UPDATE purse SET amount = amount - 1 WHERE id = ?', [from]);
        connection.execute('UPDATE purse SET amount = amount + 1 WHERE id = ?', [to]);
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
  const connections = Array.from({ length: 5 }, () => pool.getConnection());
  // Waits for the transactions whose connections are closed.
  const [{ sum }] = rowsOf(connections[0]!, 'SELECT sum(amount) AS sum FROM purse FOR UPDATE') as [
    RowDataPacket,
  ];
  t.is(Number(sum), 400);
  for (const connection of connections) t.is(rowsOf(connection, 'SELECT 1 AS one')[0]!.one, 1);
  for (const connection of connections) connection.release();
  pool.query('DROP TABLE purse');
});

// Outside of greenlets

(hasMariadb ? test.serial : test.skip)(
  titled('a cooperative pool is used by async code beside greenlets'),
  async (t) => {
    const original = mysql.createPool({ ...account(), connectionLimit: 2 });
    const pool = cooperative(original);
    const awaited = pool as unknown as Pool;
    const greenlet = spawn(() => rowsOf(pool, 'SELECT 1 AS number')[0]!.number as number);
    const [rows] = await awaited.query<RowDataPacket[]>('SELECT 2 AS number');
    t.is(rows[0]!.number, 2);
    t.is(await greenlet, 1);
    const connection = await awaited.getConnection();
    t.like((await connection.execute('SELECT ? AS word', ['three']))[0], [{ word: 'three' }]);
    connection.release();
    t.is(await spawn(() => rowsOf(pool, 'SELECT 4 AS number')[0]!.number as number), 4);
    await awaited.end();
  },
);
