'use strict';

/** Each test file is a process of its own; within it tests run one after another, since they share one hub. */
module.exports = {
  files: ['build/*.spec.js', 'build/conformance/*.spec.js'],
  workerThreads: false,
  serial: true,
  // Without any test that ends: the slowest take seconds, and machines are slow at times.
  timeout: '10m',
};
