/** Apps of frameworks on HttpServer, each at the path of its name. Prints its port, and ends with its standard input. */
import express4 from 'express4';
import express5 from 'express5';
import { run } from 'greenstack';
import { fetchHandler, HttpServer, nodeListener } from 'greenstack/http';
import { Hono } from 'hono';
import Koa from 'koa';

/** @typedef {import('greenstack/http').HttpHandler} HttpHandler */

/**
 * @param {typeof express4} express
 * @returns {HttpHandler}
 */
const expressHandler = (express) =>
  nodeListener(express().get('/:app', (request, response) => response.send('hello')));

/** @type {Map<string, HttpHandler>} */
const handlers = new Map([
  ['/express4', expressHandler(express4)],
  ['/express5', expressHandler(express5)],
  ['/koa', nodeListener(new Koa().use((context) => (context.body = 'hello')).callback())],
  [
    '/hono',
    fetchHandler(
      new Hono().get('/:app', (context) => context.text('hello')),
      { lightResponses: true },
    ),
  ],
  ['/listener', nodeListener((request, response) => response.end('hello'))],
]);

/** @type {HttpHandler} */
const answer = (request) => /** @type {HttpHandler} */ (handlers.get(request.url))(request);
const server = new HttpServer('0.0.0.0:0', answer, { backlog: 4096, idleTimeout: Infinity });
process.stdin.resume().on('end', () => process.exit());
await run(() => {
  server.start();
  console.log(server.address.port);
  server.serveForever();
});
