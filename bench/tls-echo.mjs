/**
 * A TLS server that sends 64-byte messages back over fifty connections, and one that receives or sends pieces of 64 KiB: the
 * processor time that it takes for each message or piece.
 */
import { run, spawn } from 'greenstack';
import { Event } from 'greenstack/event';
import { createServer } from 'greenstack/socket';
import { createSecureContext, wrapSocket } from 'greenstack/tls';
import { count, processorTime, report, tlsIdentity, tlsLoad } from './measure.mjs';

const secureContext = createSecureContext(tlsIdentity());
const MESSAGE = 64;
const PIECE = 65_536;

/**
 * @typedef {import('greenstack/tls').TlsSocket} TlsSocket
 * @typedef {(bytes: number) => void} Note called with how many bytes were dealt with
 */

/** @type {Record<string, (socket: TlsSocket, note: Note, pieces: number) => void>} */
const servers = {
  echo(socket, note) {
    for (;;) {
      const data = socket.recv();
      if (data.length === 0) return;
      socket.sendAll(data);
      note(data.length);
    }
  },
  send(socket, note) {
    const memory = Buffer.alloc(PIECE);
    for (;;) {
      const received = socket.recvInto(memory);
      if (received === 0) return;
      note(received);
    }
  },
  receive(socket, note, pieces) {
    const piece = Buffer.alloc(PIECE, 'x');
    for (let sent = 0; sent < pieces; sent++) {
      socket.sendAll(piece);
      note(PIECE);
    }
  },
};

/** @param {string} what  @param {number} size  @param {number} operations */
function measure(what, size, operations) {
  const listener = createServer('127.0.0.1:0');
  const warm = Math.ceil(operations / 5);
  const finished = new Event();
  let bytes = 0;
  let start = 0;
  let end = 0;
  /** @type {Note} */
  const note = (count) => {
    bytes += count;
    if (start === 0 && bytes >= warm * size) start = processorTime();
    if (end !== 0 || bytes < (warm + operations) * size) return;
    end = processorTime();
    finished.set();
  };
  const acceptor = spawn(() => {
    for (;;) {
      const plain = listener.accept();
      spawn(() => {
        const socket = wrapSocket(plain, { secureContext, isServer: true });
        /** @type {(socket: TlsSocket, note: Note, pieces: number) => void} */ (servers[what])(
          socket,
          note,
          warm + operations,
        );
        socket.close();
      });
    }
  });
  const load = tlsLoad(listener.localAddress.port, what, warm + operations);
  finished.wait();
  acceptor.kill();
  listener.close();
  load.unref();
  return (end - start) / operations;
}

await run(() => {
  const repeat = (/** @type {string} */ what, /** @type {number} */ size, /** @type {number} */ full) =>
    Array.from({ length: 3 }, () => measure(what, size, count(full)));
  report({
    'tls-echo.message': repeat('echo', MESSAGE, 50_000),
    'tls-echo.receive': repeat('send', PIECE, 5_000),
    'tls-echo.send': repeat('receive', PIECE, 5_000),
  });
});
