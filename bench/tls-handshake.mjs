/** TLS 1.3 handshakes of a server, full ones and resumed ones: the processor time that it takes for each. */
import { run, spawn } from 'greenstack';
import { Event } from 'greenstack/event';
import { createServer } from 'greenstack/socket';
import { createSecureContext, wrapSocket } from 'greenstack/tls';
import { count, processorTime, report, tlsIdentity, tlsLoad } from './measure.mjs';

const secureContext = createSecureContext(tlsIdentity());

/** @param {'full' | 'resumed'} kind  @param {number} handshakes */
function measure(kind, handshakes) {
  const listener = createServer('127.0.0.1:0');
  const warm = Math.ceil(handshakes / 5);
  const finished = new Event();
  let done = 0;
  let start = 0;
  let end = 0;
  const acceptor = spawn(() => {
    for (;;) {
      const plain = listener.accept();
      spawn(() => {
        // Clients of Node's do not always say that they end.
        const socket = wrapSocket(plain, { secureContext, isServer: true, suppressRaggedEofs: true });
        socket.recv();
        socket.close();
        if (++done === warm) start = processorTime();
        if (done < warm + handshakes) return;
        end = processorTime();
        finished.set();
      });
    }
  });
  tlsLoad(listener.localAddress.port, kind, warm + handshakes);
  finished.wait();
  acceptor.kill();
  listener.close();
  return (end - start) / handshakes;
}

await run(() => {
  const repeat = (/** @type {'full' | 'resumed'} */ kind) =>
    Array.from({ length: 3 }, () => measure(kind, count(1_000)));
  report({ 'tls-handshake.full': repeat('full'), 'tls-handshake.resumed': repeat('resumed') });
});
