/** As bench/http-apps.mjs, by node:http and Hono's own adapter. */
import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import express4 from 'express4';
import express5 from 'express5';
import { Hono } from 'hono';
import Koa from 'koa';

/** @typedef {import('node:http').RequestListener} RequestListener */

/**
 * @param {typeof express4} express
 * @returns {RequestListener}
 */
const expressApp = (express) => express().get('/:app', (request, response) => response.send('hello'));

/** @type {Map<string | undefined, RequestListener>} */
const listeners = new Map([
  ['/express4', expressApp(express4)],
  ['/express5', expressApp(express5)],
  ['/koa', new Koa().use((context) => (context.body = 'hello')).callback()],
  ['/hono', getRequestListener(new Hono().get('/:app', (context) => context.text('hello')).fetch)],
  ['/listener', (request, response) => response.end('hello')],
]);

const server = createServer((request, response) =>
  /** @type {RequestListener} */ (listeners.get(request.url))(request, response),
);
server.keepAliveTimeout = 0;
server.listen({ port: 0, host: '0.0.0.0', backlog: 4096 }, () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(port);
});
process.stdin.resume().on('end', () => process.exit());
