/** As bench/http-pg.mjs, with async handlers on node:http. */
import { createServer } from 'node:http';
import express from 'express5';
import { Pool } from 'pg';

const pool = new Pool({ host: process.env.BENCH_POSTGRES, user: 'postgres', max: 20 });
const app = express().get('/:app', async (request, response) => {
  const { rows } = await pool.query('SELECT $1::int AS id, now() AS time', [5]);
  response.json(rows[0]);
});

const server = createServer(app);
server.keepAliveTimeout = 0;
server.listen({ port: 0, host: '0.0.0.0', backlog: 4096 }, () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(port);
});
process.stdin.resume().on('end', () => process.exit());
