/**
 * Asks an HTTP server at a Unix-domain socket, and prints the answer.
 *
 *     node examples/unix-socket-client.mts /tmp/greenstack.sock
 */
import { run } from 'greenstack';
import { createConnection } from 'greenstack/socket';

const [path = '/tmp/greenstack.sock'] = process.argv.slice(2);

await run(() => {
  using socket = createConnection({ path }, { timeout: 5000 });
  socket.sendAll('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  for (let data = socket.recv(); data.length > 0; data = socket.recv()) process.stdout.write(data);
});
