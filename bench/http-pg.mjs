/** An Express app whose handlers block in queries of pg, on HttpServer. Prints its port, and ends with its standard input. */
import express from 'express5';
import { cooperative, run } from 'greenstack';
import { HttpServer, nodeListener } from 'greenstack/http';
import { Pool } from 'pg';

const pool = cooperative(new Pool({ host: process.env.BENCH_POSTGRES, user: 'postgres', max: 20 }));
const app = express().get('/:app', (request, response) => {
  const { rows } = pool.query('SELECT $1::int AS id, now() AS time', [5]);
  response.json(rows[0]);
});

const server = new HttpServer('0.0.0.0:0', nodeListener(app), { backlog: 4096, idleTimeout: Infinity });
process.stdin.resume().on('end', () => process.exit());
await run(() => {
  server.start();
  console.log(server.address.port);
  server.serveForever();
});
