/**
 * An Express app on PostgreSQL: handlers block in queries, and a transfer is a transaction.
 *
 *     PGUSER=postgres node examples/express-pg.mts 127.0.0.1:8080 localhost &
 *     curl -X POST http://127.0.0.1:8080/transfer/1/2/30 http://127.0.0.1:8080/accounts/2
 */
import express, { type ErrorHandler } from 'express5'; // Express 5, under the name that it has in this repository
import { type Cooperative, cooperative, run } from 'greenstack';
import { HttpServer, nodeListener } from 'greenstack/http';
import { Pool, type PoolClient } from 'pg';

const [address = '127.0.0.1:8080', host = 'localhost'] = process.argv.slice(2);

const pool = cooperative(new Pool({ host }), {
  // Comes when a greenlet that waits for a client is killed.
  unclaimed: { connect: (client: PoolClient) => client.release() },
});

/** Runs `body` in a transaction. A client that is left in the middle of it, by an error or a kill, is closed. */
function transaction<T>(body: (client: Cooperative<PoolClient>) => T): T {
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

const app = express();

app.get('/accounts/:id', (request, response) => {
  response.json(pool.query('SELECT amount FROM account WHERE id = $1', [request.params.id]).rows[0]);
});

app.post('/transfer/:from/:to/:amount', (request, response) => {
  const { from, to, amount } = request.params;
  transaction((client) => {
    client.query('UPDATE account SET amount = amount - $2 WHERE id = $1', [from, amount]);
    client.query('UPDATE account SET amount = amount + $2 WHERE id = $1', [to, amount]);
  });
  response.json({ transferred: Number(amount) });
});

app.use(
  ((error, _, response, _next) => void response.status(400).send(error.message)) satisfies ErrorHandler,
);

const server = new HttpServer(address, nodeListener(app));
await run(() => {
  pool.query('CREATE TABLE IF NOT EXISTS account (id int PRIMARY KEY, amount int CHECK (amount >= 0))');
  pool.query('INSERT INTO account VALUES (1, 100), (2, 100) ON CONFLICT DO NOTHING');
  server.start();
  console.log(`listening at ${server.address.address}:${server.address.port}`);
  server.serveForever();
});
