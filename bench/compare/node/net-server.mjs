/** As bench/net-server.mjs, by node:net. */
import { createServer } from 'node:net';

const [operation] = process.argv.slice(2);
const piece = Buffer.alloc(64 * 1024, 'x');

/** @param {import('node:net').Socket} socket */
function echo(socket) {
  socket.on('data', (data) => socket.write(data));
}

/** @param {import('node:net').Socket} socket */
function sendForEver(socket) {
  const send = () => {
    while (!socket.destroyed && socket.write(piece));
  };
  socket.on('drain', send);
  send();
}

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  (operation === 'bulk' ? sendForEver : echo)(socket);
});
server.listen({ port: 0, host: '0.0.0.0', backlog: 4096 }, () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(port);
});
process.stdin.resume().on('end', () => process.exit());
