/** The app of bench/http-patched.mjs, on node:http as it is. */
import { createServer } from 'node:http';
import express5 from 'express5';

const app = express5().get('/:app', (request, response) => response.send('hello'));
const server = createServer(app);
server.keepAliveTimeout = 0;
server.listen({ port: 0, host: '0.0.0.0', backlog: 4096 }, () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(port);
});
process.stdin.resume().on('end', () => process.exit());
