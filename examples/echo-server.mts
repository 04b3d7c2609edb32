/**
 * Sends every line back. Each client has a greenlet, which reads and writes as if it were alone. `quit` ends the conversation.
 *
 *     node examples/echo-server.mts 127.0.0.1:7000 &
 *     node examples/echo-client.mts 127.0.0.1:7000
 */
import { run } from 'greenstack';
import { StreamServer } from 'greenstack/server';
import type { Socket } from 'greenstack/socket';

const [address = '127.0.0.1:7000'] = process.argv.slice(2);

/** What the client sends, line by line. */
function* lines(socket: Socket): Generator<string> {
  let text = '';
  for (let data = socket.recv(); data.length > 0; data = socket.recv()) {
    const pieces = (text + data.toString('latin1')).split('\n');
    text = pieces.pop() ?? '';
    yield* pieces;
  }
}

const server = new StreamServer(address, (socket, { address: host, port }) => {
  console.log(`${host}:${port} is here`);
  for (const line of lines(socket)) {
    if (line.trim() === 'quit') break;
    socket.sendAll(Buffer.from(`${line}\n`, 'latin1'));
  }
  console.log(`${host}:${port} is gone`);
});

await run(() => {
  server.start();
  console.log(`listening at ${server.host}:${server.port}`);
  server.serveForever();
});
