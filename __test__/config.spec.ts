import test from 'ava';
import { config, getSwitchInterval } from 'greenstack';

for (const [name, value, error] of [
  ['stackSize', 'large', TypeError],
  ['stackSize', NaN, TypeError],
  ['stackSize', -1, RangeError],
  ['stackSize', 1.5, RangeError],
  ['switchInterval', '5', TypeError],
  ['switchInterval', -1, RangeError],
  ['trackGreenletTree', 'yes', TypeError],
  ['spawningStackLimit', 1e9, RangeError],
  ['resolver', 'hickory', TypeError],
  ['resolver', [], TypeError],
  ['resolver', ['bind'], TypeError],
  ['resolverOrder', 'random', TypeError],
  ['resolverCacheSize', -1, RangeError],
  ['resolverNameservers', '127.0.0.1', TypeError],
  ['resolverTimeout', 0, RangeError],
  ['resolverTries', 0, RangeError],
  ['threadpoolSize', '4', TypeError],
  ['threadpoolSize', 0, RangeError],
  ['threadpoolSize', 1.5, RangeError],
  ['threadpoolIdleTimeout', NaN, TypeError],
  ['threadpoolIdleTimeout', -1, RangeError],
] as const) {
  test(`config.${name} refuses ${JSON.stringify(value)}`, (t) => {
    const before = config[name];
    t.throws(() => Object.assign(config, { [name]: value }), {
      instanceOf: error,
      message: new RegExp(name),
    });
    t.is(config[name], before);
  });
}

test('config refuses a setting that it does not have, and says which it has', (t) => {
  t.throws(() => Object.assign(config, { stacksize: 1 }), { instanceOf: TypeError, message: /stackSize/ });
});

test('a setting of config cannot be deleted', (t) => {
  t.throws(() => Reflect.deleteProperty(config, 'stackSize'), { instanceOf: TypeError });
});

test('a setting of config that is assigned holds', (t) => {
  const { switchInterval } = config;
  config.switchInterval = switchInterval + 1;
  t.is(config.switchInterval, switchInterval + 1);
  t.is(getSwitchInterval(), switchInterval + 1);
  config.switchInterval = switchInterval;
});

test('the default stack of a greenlet is as large as that of Node, or larger', (t) => {
  t.true(config.stackSize >= 984 * 1024);
});
