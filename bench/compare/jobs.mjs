/** Jobs for thread pools: what `thread-pool.mjs` and the same program of plain Node run in their worker threads. */

const cell = new Int32Array(new SharedArrayBuffer(4));

/** Blocks its thread for 1 ms. @param {number} item */
export function block(item) {
  Atomics.wait(cell, 0, 0, 1);
  return item;
}

/** @param {number} item */
export function same(item) {
  return item;
}
