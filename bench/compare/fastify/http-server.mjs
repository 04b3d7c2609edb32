/** As bench/http-server.mjs, by Fastify. */
import { setTimeout } from 'node:timers/promises';
import fastify from 'fastify';

const large = 'x'.repeat(10_000);
const server = fastify({ keepAliveTimeout: 0 });

server.get('/hello', () => 'hello');
server.get('/large', () => large);
server.get('/backend', async () => {
  await setTimeout(5);
  return 'hello';
});
server.post('/json', ({ body }) => body);

await server.listen({ host: '0.0.0.0', port: 0, backlog: 4096 });
console.log(/** @type {import('node:net').AddressInfo} */ (server.server.address()).port);
process.stdin.resume().on('end', () => process.exit());
