/**
 * Forwards connections to another address. Two greenlets for each connection, one for each direction. The first SIGINT or SIGTERM
 * stops accepting and waits for connections under way, the second one does not.
 *
 *     node examples/port-forwarder.mts 127.0.0.1:8080 www.example.com:80
 */
import { run, signal, spawn } from 'greenstack';
import { StreamServer } from 'greenstack/server';
import { type Socket, createConnection } from 'greenstack/socket';

const [listener = '127.0.0.1:8080', target = 'www.example.com:80'] = process.argv.slice(2);

/** Passes on what comes, and then the end. */
function forward(from: Socket, to: Socket): void {
  for (let data = from.recv(); data.length > 0; data = from.recv()) to.sendAll(data);
  to.shutdown('w');
}

const server = new StreamServer(
  listener,
  (client) => {
    using remote = createConnection(target, { timeout: 5000 });
    const answering = spawn(forward, remote, client);
    forward(client, remote);
    answering.join();
  },
  { spawn: 1000 },
);

await run(() => {
  server.start();
  console.log(`listening at ${server.host}:${server.port}`);
  let signals = 0;
  const stop = () => {
    if (++signals > 1) process.exit(1);
    console.log('finishing');
    server.close();
  };
  const watchers = [signal('SIGINT', stop), signal('SIGTERM', stop)];
  server.serveForever(60_000);
  for (const watcher of watchers) watcher.cancel();
});
