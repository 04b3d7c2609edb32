/** Tests that block, for runners that load CommonJS and have `it`: Mocha and Jest. */
const assert = require('node:assert');
const { asyncify, cooperative, sleep, spawn, waitFor } = require('greenstack');
const files = cooperative(require('node:fs/promises'));
const timers = cooperative(require('node:timers/promises'));

const counted = { before: 0 };

beforeEach(
  asyncify(() => {
    sleep(1);
    counted.before++;
  }),
);

it(
  'blocks',
  asyncify(() => {
    sleep(1);
    assert.strictEqual(waitFor(Promise.resolve(5)), 5);
    assert.strictEqual(timers.setTimeout(1, 'later'), 'later');
    assert.ok(Array.isArray(files.readdir(__dirname)));
    assert.strictEqual(counted.before, 1);
  }),
);

it(
  'waits for greenlets',
  asyncify(() => {
    const greenlets = [3, 2, 1].map((ms) => spawn(() => (sleep(ms), ms)));
    assert.deepStrictEqual(
      greenlets.map((greenlet) => greenlet.get()),
      [3, 2, 1],
    );
  }),
);

it(
  'fails',
  asyncify(() => {
    sleep(1);
    throw new Error('as it should');
  }),
);
