/**
 * Answers HTTP at a Unix-domain socket, whose file is removed at the end. Connections that have asked nothing yet take no stack.
 *
 *     node examples/unix-socket-server.mts /tmp/greenstack.sock &
 *     node examples/unix-socket-client.mts /tmp/greenstack.sock
 *     curl --unix-socket /tmp/greenstack.sock http://localhost/
 */
import { run } from 'greenstack';
import { StreamServer } from 'greenstack/server';

const [path = '/tmp/greenstack.sock'] = process.argv.slice(2);

const server = new StreamServer(
  { path },
  (socket) => {
    let head = '';
    while (!head.includes('\r\n\r\n')) {
      const data = socket.recv(65_536, 5000);
      if (data.length === 0) return;
      head += data.toString('latin1');
    }
    const body = `you have asked: ${head.slice(0, head.indexOf('\r\n'))}\n`;
    socket.sendAll(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  },
  { awaitData: true },
);

await run(() => {
  server.start();
  console.log(`listening at ${server.host}`);
  server.serveForever();
});
