/**
 * Sends every line back. Each client has a greenlet, which reads and writes as if it were alone. `quit` ends the conversation.
 *
 *     node examples/echo-server.mts 127.0.0.1:7000 &
 *     node examples/echo-client.mts 127.0.0.1:7000
 */
import { run } from 'greenstack';
import { StreamServer } from 'greenstack/server';

const [address = '127.0.0.1:7000'] = process.argv.slice(2);

const server = new StreamServer(address, (socket, { address: host, port }) => {
  console.log(`${host}:${port} is here`);
  for (const line of socket.makeFile({ encoding: 'latin1' })) {
    if (line.trim() === 'quit') break;
    socket.sendAll(Buffer.from(line, 'latin1'));
  }
  console.log(`${host}:${port} is gone`);
});

await run(() => {
  server.start();
  console.log(`listening at ${server.host}:${server.port}`);
  server.serveForever();
});
