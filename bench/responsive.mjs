/**
 * How far plain Node callbacks, promises and TCP come in a second, beside an idle hub and beside a thousand greenlets
 * that yield in a loop.
 */
import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { joinAll, run, sleep, spawn, waitFor } from 'greenstack';
import { createConnection } from 'greenstack/socket';
import { count, echoPort, now, report } from './measure.mjs';

const period = count(1_000);
const message = Buffer.alloc(64, 'x');

/**
 * What is looked at: each takes steps until `expired()`, and returns how many.
 *
 * @type {Record<string, (expired: () => boolean) => number>}
 */
const probes = {
  setImmediate(expired) {
    return waitFor(
      new Promise((resolve) => {
        let turns = 0;
        const turn = () => {
          turns++;
          if (expired()) resolve(turns);
          else setImmediate(turn);
        };
        setImmediate(turn);
      }),
    );
  },

  // A chain of nothing but promise reactions would never let go of the thread: each step waits for the system once.
  promise(expired) {
    const chain = async () => {
      let steps = 0;
      for (; !expired(); steps++) await stat('.');
      return steps;
    };
    return waitFor(chain());
  },

  echo(expired) {
    const socket = createConnection({ host: '127.0.0.1', port: echoPort });
    let trips = 0;
    for (; !expired(); trips++) {
      socket.sendAll(message);
      for (let received = 0; received < message.length;) received += socket.recv(message.length).length;
    }
    socket.close();
    return trips;
  },

  nodeEcho(expired) {
    return waitFor(
      new Promise((resolve, reject) => {
        let trips = 0;
        let received = 0;
        const socket = connect(echoPort, '127.0.0.1', () => socket.write(message));
        socket.setNoDelay().on('error', reject);
        socket.on('data', (data) => {
          received += data.length;
          if (received < message.length) return;
          received = 0;
          trips++;
          if (!expired()) return socket.write(message);
          socket.destroy();
          resolve(trips);
        });
      }),
    );
  },
};

/** @param {(expired: () => boolean) => number} probe  @returns {number} steps a second */
function perSecond(probe) {
  const start = now();
  const steps = probe(() => now() - start >= period * 1e6);
  return steps / ((now() - start) / 1e9);
}

await run(() => {
  /** @type {Record<string, number>} */
  const figures = {};
  for (const [name, probe] of Object.entries(probes)) figures[`responsive.${name}.idle`] = perSecond(probe);

  let loaded = true;
  let yields = 0;
  const start = now();
  const yielders = Array.from({ length: 1_000 }, () =>
    spawn(() => {
      for (; loaded; yields++) sleep(0);
    }),
  );
  for (const [name, probe] of Object.entries(probes)) figures[`responsive.${name}.loaded`] = perSecond(probe);
  figures['responsive.yields'] = yields / ((now() - start) / 1e9);
  loaded = false;
  joinAll(yielders);
  report(figures);
});
