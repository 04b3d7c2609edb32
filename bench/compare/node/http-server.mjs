/** As bench/http-server.mjs, by node:http. */
import { createServer } from 'node:http';

const large = 'x'.repeat(10_000);

/**
 * @param {import('node:http').ServerResponse} response
 * @param {string} body
 * @param {string} type
 */
function send(response, body, type = 'text/plain; charset=utf-8') {
  response.setHeader('Content-Type', type);
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.end(body);
}

const server = createServer((request, response) => {
  switch (request.url) {
    case '/json': {
      let body = '';
      request.setEncoding('utf8');
      request.on('data', (piece) => (body += piece));
      request.on('end', () => send(response, JSON.stringify(JSON.parse(body)), 'application/json'));
      break;
    }
    case '/large':
      send(response, large);
      break;
    case '/backend':
      setTimeout(send, 5, response, 'hello');
      break;
    default:
      send(response, 'hello');
  }
});
server.keepAliveTimeout = 0;
server.listen({ port: 0, host: '0.0.0.0', backlog: 4096 }, () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(port);
});
process.stdin.resume().on('end', () => process.exit());
