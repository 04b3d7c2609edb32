/**
 * Takes encrypted connections, and forwards what is in them to a plain server.
 *
 *     node examples/tls-proxy.mts 127.0.0.1:8443 127.0.0.1:8080 cert.pem key.pem
 */
import { readFileSync } from 'node:fs';
import { run, spawn } from 'greenstack';
import { StreamServer } from 'greenstack/server';
import { type Connection, createConnection } from 'greenstack/socket';
import type { TlsSocket } from 'greenstack/tls';

const [listener = '127.0.0.1:8443', target = '127.0.0.1:8080', cert = 'cert.pem', key = 'key.pem'] =
  process.argv.slice(2);

/** Passes on what comes, and then the end. */
function forward(from: Connection, to: Connection): void {
  for (let data = from.recv(); data.length > 0; data = from.recv()) to.sendAll(data);
  to.shutdown('w');
}

const server = new StreamServer(
  listener,
  (client: TlsSocket) => {
    using remote = createConnection(target, { timeout: 5000 });
    const answering = spawn(forward, remote, client);
    forward(client, remote);
    answering.join();
  },
  { tls: { cert: readFileSync(cert), key: readFileSync(key), handshakeTimeout: 10_000 } },
);

await run(() => {
  server.start();
  console.log(`listening at ${server.host}:${server.port}`);
  server.serveForever();
});
