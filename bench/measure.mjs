/**
 * What every measuring program here shares: how much to do, how to time it, how to read memory, how to answer.
 *
 * `compare/gevent/measure.py` and `compare/go/measure.go` are the same few functions for the peers: keep them equal.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const scale = Number(process.env.BENCH_SCALE ?? 1);

/** Port of the echo server that `run.mjs` starts for the programs that need one. */
export const echoPort = Number(process.env.BENCH_ECHO_PORT ?? 0);

/** Port of the name server that `run.mjs` starts likewise. */
export const dnsPort = Number(process.env.BENCH_DNS_PORT ?? 0);

/** @param {number} full - how many in a full run  @returns {number} how many in this one (`--quick` does a tenth) */
export function count(full) {
  return Math.max(1, Math.round(full * scale));
}

/** @returns {number} the monotonic clock, in nanoseconds */
export function now() {
  return Number(process.hrtime.bigint());
}

/**
 * Times `body`, which does `operations` operations, after one run of it that does not count.
 *
 * @param {number} operations
 * @param {() => void} body
 * @returns {number[]} nanoseconds for one operation, from each repetition
 */
export function sample(operations, body, repetitions = 3) {
  body();
  return Array.from({ length: repetitions }, () => {
    const start = now();
    body();
    return (now() - start) / operations;
  });
}

/**
 * Throws unless a program has done what it was to do: nobody measures a failure.
 *
 * @param {unknown} got
 * @param {unknown} expected
 */
export function verify(got, expected) {
  if (got !== expected) throw new Error(`got ${got} instead of ${expected}`);
}

/** Collects garbage, so that what was done before is not paid for by what is measured next. */
export function collect() {
  /** @type {() => void} */ (globalThis.gc)();
}

/**
 * Collects garbage, then reads what the process occupies. The kernel's page tables are not part of the resident set, so
 * they are given apart (0 where the system does not tell).
 *
 * @returns {{ resident: number, pageTables: number }} bytes
 */
export function memory() {
  collect();
  if (process.platform !== 'linux') return { resident: process.memoryUsage.rss(), pageTables: 0 };
  const status = readFileSync('/proc/self/status', 'latin1');
  const bytes = (/** @type {string} */ field) =>
    Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1]) * 1024;
  return { resident: bytes('VmRSS'), pageTables: bytes('VmPTE') };
}

/** @returns {number} the processor time that this process has used, in nanoseconds */
export function processorTime() {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

/** @returns {{ cert: string, key: string }} a certificate for nobody in particular, in PEM: `run.mjs` makes it */
export function tlsIdentity() {
  const folder = /** @type {string} */ (process.env.BENCH_TLS);
  return {
    cert: readFileSync(join(folder, 'cert.pem'), 'latin1'),
    key: readFileSync(join(folder, 'key.pem'), 'latin1'),
  };
}

/**
 * Starts the clients of a TLS measurement.
 *
 * @param {number} port
 * @param {string} what
 * @param {number} operations
 * @returns {import('node:child_process').ChildProcess}
 */
export function tlsLoad(port, what, operations) {
  const program = /** @type {string} */ (process.env.BENCH_TLS_LOAD);
  return spawn(process.execPath, [program, String(port), what, String(operations)], { stdio: 'inherit' });
}

/** @param {Record<string, number | number[]>} figures - the figure, or samples of it, of each metric in `operations.mjs` */
export function report(figures) {
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}
