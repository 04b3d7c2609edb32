/** `assert.throws(fn, text)` as it was when the tests of sync were written: the text is that of a failure. */
const assert = require('node:assert');

const { throws } = assert;
assert.throws = (fn, expected) => (typeof expected === 'string' ? throws(fn) : throws(fn, expected));
