import { once } from 'node:events';
import { createServer } from 'node:tls';
import { count, processorTime, report, tlsIdentity, tlsLoad } from '../../measure.mjs';

const MESSAGE = 64;
const PIECE = 65_536;

/**
 * @typedef {import('node:tls').TLSSocket} TLSSocket
 * @typedef {(bytes: number) => void} Note called with how many bytes were dealt with
 */

/** @type {Record<string, (socket: TLSSocket, note: Note, pieces: number) => void>} */
const servers = {
  echo(socket, note) {
    socket.on('data', (data) => {
      socket.write(data);
      note(data.length);
    });
  },
  send(socket, note) {
    socket.on('data', (data) => note(data.length));
  },
  async receive(socket, note, pieces) {
    const piece = Buffer.alloc(PIECE, 'x');
    for (let sent = 0; sent < pieces; sent++) {
      if (!socket.write(piece)) await once(socket, 'drain');
      note(PIECE);
    }
    socket.end();
  },
};

/** @param {string} what  @param {number} size  @param {number} operations */
async function measure(what, size, operations) {
  const warm = Math.ceil(operations / 5);
  let bytes = 0;
  let start = 0;
  let end = 0;
  /** @type {Promise<void>} */
  const finished = new Promise((resolve) => {
    /** @type {Note} */
    const note = (count) => {
      bytes += count;
      if (start === 0 && bytes >= warm * size) start = processorTime();
      if (end !== 0 || bytes < (warm + operations) * size) return;
      end = processorTime();
      resolve();
    };
    server = createServer({ ...tlsIdentity(), noDelay: true }, (socket) => {
      socket.on('error', () => {});
      /** @type {(socket: TLSSocket, note: Note, pieces: number) => void} */ (servers[what])(
        socket,
        note,
        warm + operations,
      );
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  tlsLoad(port, what, warm + operations).unref();
  await finished;
  server.close();
  return (end - start) / operations;
}

/** @type {import('node:tls').Server} */
let server;

/** @param {string} what  @param {number} size  @param {number} full */
async function repeat(what, size, full) {
  const samples = [];
  for (let round = 0; round < 3; round++) samples.push(await measure(what, size, count(full)));
  return samples;
}

report({
  'tls-echo.message': await repeat('echo', MESSAGE, 50_000),
  'tls-echo.receive': await repeat('send', PIECE, 5_000),
  'tls-echo.send': await repeat('receive', PIECE, 5_000),
});
