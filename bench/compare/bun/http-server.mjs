/** As bench/http-server.mjs, by Bun.serve. */
const large = 'x'.repeat(10_000);
const text = { headers: { 'Content-Type': 'text/plain; charset=utf-8' } };

const server = Bun.serve({
  hostname: '0.0.0.0',
  port: 0,
  idleTimeout: 0,
  routes: {
    '/hello': () => new Response('hello', text),
    '/large': () => new Response(large, text),
    '/backend': async () => {
      await Bun.sleep(5);
      return new Response('hello', text);
    },
    '/json': async (request) => Response.json(await request.json()),
  },
});
console.log(server.port);
process.stdin.resume().on('end', () => process.exit());
