/**
 * WebSockets by the package ws, beside plain requests. Each client has a greenlet, which takes its messages from a queue and may
 * block; a message of so many milliseconds is sent back after that time.
 *
 *     node examples/websocket-echo.mts 127.0.0.1:8080 &
 *     node -e "s = new WebSocket('ws://127.0.0.1:8080'); s.onopen = () => s.send('250'); s.onmessage = (m) => console.log(m.data)"
 */
import { WebSocketServer, type WebSocket } from 'ws';
import { run, sleep, spawn } from 'greenstack';
import { HttpServer, nodeListener } from 'greenstack/http';
import { Queue } from 'greenstack/queue';

const [address = '127.0.0.1:8080'] = process.argv.slice(2);
const sockets = new WebSocketServer({ noServer: true });

/** What comes, until the client goes. */
function messages(socket: WebSocket): Iterable<string> {
  const queue = new Queue<string>();
  socket.on('message', (data) => queue.putNowait(String(data)));
  socket.on('close', () => queue.shutdown());
  return queue;
}

function echo(socket: WebSocket): void {
  for (const text of messages(socket)) {
    sleep(Number(text) || 0);
    socket.send(text);
  }
}

const handler = nodeListener((request, response) => response.end('this is for WebSockets\n'), {
  onUpgrade(request, socket, head) {
    sockets.handleUpgrade(request, socket, head, (client) => spawn(echo, client));
  },
});

const server = new HttpServer(address, handler);
await run(() => {
  server.start();
  console.log(`listening at ${server.address.address}:${server.address.port}`);
  server.serveForever();
});
