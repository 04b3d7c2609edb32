/**
 * Sends what you type to an echo server, line by line, and prints what comes back.
 *
 *     node -e "net.createServer((peer) => peer.pipe(peer)).listen(7000, '127.0.0.1')" &
 *     node examples/echo-client.mts 127.0.0.1:7000
 */
import { createInterface } from 'node:readline';
import { run, waitFor } from 'greenstack';
import { type Socket, createConnection } from 'greenstack/socket';

const [address = '127.0.0.1:7000'] = process.argv.slice(2);

/** The lines of standard input. An async iterator becomes an ordinary one by waiting for each of its promises. */
function* inputLines(): Generator<string> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  for (;;) {
    const { done, value } = waitFor(lines.next());
    if (done) return;
    yield value;
  }
}

/** Reads `length` bytes, however many pieces they come in. */
function receiveExactly(socket: Socket, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let offset = 0; offset < length;) {
    const count = socket.recvInto(bytes, { offset });
    if (count === 0) throw new Error('the server has closed the connection');
    offset += count;
  }
  return bytes;
}

await run(() => {
  const socket = createConnection(address, { timeout: 5000 });
  try {
    for (const line of inputLines()) {
      const sent = Buffer.from(`${line}\n`);
      socket.sendAll(sent);
      process.stdout.write(receiveExactly(socket, sent.length));
    }
  } finally {
    socket.close();
  }
});
