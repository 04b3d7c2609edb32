import { once } from 'node:events';
import { createServer } from 'node:tls';
import { count, processorTime, report, tlsIdentity, tlsLoad } from '../../measure.mjs';

/** @param {'full' | 'resumed'} kind  @param {number} handshakes */
async function measure(kind, handshakes) {
  const warm = Math.ceil(handshakes / 5);
  let done = 0;
  let start = 0;
  let end = 0;
  /** @type {Promise<void>} */
  const finished = new Promise((resolve) => {
    server = createServer(tlsIdentity(), (socket) => {
      socket.on('error', () => {});
      socket.on('close', () => {
        if (++done === warm) start = processorTime();
        if (done < warm + handshakes) return;
        end = processorTime();
        resolve();
      });
      socket.resume();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  tlsLoad(port, kind, warm + handshakes);
  await finished;
  server.close();
  return (end - start) / handshakes;
}

/** @type {import('node:tls').Server} */
let server;

/** @param {'full' | 'resumed'} kind */
async function repeat(kind) {
  const samples = [];
  for (let round = 0; round < 3; round++) samples.push(await measure(kind, count(1_000)));
  return samples;
}

report({ 'tls-handshake.full': await repeat('full'), 'tls-handshake.resumed': await repeat('resumed') });
