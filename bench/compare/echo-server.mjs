/**
 * A TCP server that sends back what it receives, a millisecond later: so nobody gets a reply without waiting for it, even
 * where server and client share a processor. Prints its port, ends with its standard input.
 */
import { createServer } from 'node:net';

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.on('data', (data) => setTimeout(() => socket.write(data), 1));
  socket.on('end', () => socket.end());
});
server.listen(0, '127.0.0.1', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(port);
});
process.stdin.resume().on('end', () => process.exit());
