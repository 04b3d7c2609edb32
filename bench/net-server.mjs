/**
 * The server of the network operations, named on the command line: echoes, or sends without end. Prints its port, and ends with
 * its standard input.
 */
import { run } from 'greenstack';
import { StreamServer } from 'greenstack/server';

const [operation] = process.argv.slice(2);
const piece = Buffer.alloc(64 * 1024, 'x');

/** @param {import('greenstack/socket').Socket} socket */
function echo(socket) {
  for (let data = socket.recv(); data.length > 0; data = socket.recv()) socket.sendAll(data);
}

/** @param {import('greenstack/socket').Socket} socket */
function sendForEver(socket) {
  try {
    for (;;) socket.sendAll(piece);
  } catch {
    // The client has had enough.
  }
}

const server = new StreamServer('0.0.0.0:0', operation === 'bulk' ? sendForEver : echo, {
  backlog: 4096,
  awaitData: operation === 'idle-without-greenlets',
});
process.stdin.resume().on('end', () => process.exit());
await run(() => {
  server.start();
  console.log(server.port);
  server.serveForever();
});
