import { GreenstackError, sleep, spawn } from 'greenstack';
import { FailedToSwitch, assertSwitches } from 'greenstack/testing';
import { burn, thrownBy } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';

hubTest('gevent.util.assert_switches: raises if nothing in the body has switched', (t) => {
  t.throws(() => assertSwitches(() => {}), { instanceOf: FailedToSwitch });
});

hubTest('gevent.util.assert_switches: a function that blocks for real is found', (t) => {
  t.throws(() => assertSwitches(() => burn(1)), { instanceOf: FailedToSwitch });
});

hubTest('gevent.util.assert_switches: a body that sleeps passes', (t) => {
  t.notThrows(() => assertSwitches(() => sleep(1)));
});

hubTest('gevent.util.assert_switches: gives a report with the duration', (t) => {
  const error = thrownBy(() => assertSwitches(() => burn(2))) as FailedToSwitch;
  t.true(error.duration >= 2);
  t.true(error.report.length > 0);
  t.true(error.message.includes(error.report));
});

hubTest('gevent.util.assert_switches: does not suppress the exception of its body', (t) => {
  const error = new RangeError('on purpose');
  const body = (): never => {
    throw error;
  };
  t.throws(() => assertSwitches(body), { is: error });
});

hubTest('gevent.util.assert_switches: can be nested', (t) => {
  t.notThrows(() => assertSwitches(() => assertSwitches(() => sleep(1))));
});

hubTest('gevent.util.assert_switches: the failure of a nested one goes through the outer one', (t) => {
  t.throws(
    () =>
      assertSwitches(() => {
        sleep(1);
        assertSwitches(() => {}, { maxBlocking: 60_000, hubOnly: true });
      }),
    { instanceOf: FailedToSwitch, message: /the hub/ },
  );
});

hubTest('gevent.util.assert_switches: max_blocking_time allows the body to block up to that', (t) => {
  t.notThrows(() => assertSwitches(() => {}, { maxBlocking: 60_000 }));
});

hubTest('gevent.util.assert_switches: raises if the body blocks for longer than max_blocking_time', (t) => {
  t.throws(() => assertSwitches(() => burn(20), { maxBlocking: 5 }), { instanceOf: FailedToSwitch });
});

hubTest('gevent.util.assert_switches: max_blocking_time is the longest time between any switches', (t) => {
  const other = spawn(() => {
    for (let turn = 0; turn < 5; turn++) sleep(0);
  });
  const body = (): void => {
    sleep(0);
    burn(30);
    sleep(0);
  };
  t.throws(() => assertSwitches(body, { maxBlocking: 10 }), { instanceOf: FailedToSwitch });
  other.join();
});

hubTest(
  'gevent.util.assert_switches: with hub_only, max_blocking_time is the time between switches to the hub',
  (t) => {
    const body = (): void => {
      const other = spawn(() => burn(30));
      sleep(0);
      other.join();
      sleep(1);
    };
    t.throws(() => assertSwitches(body, { maxBlocking: 20, hubOnly: true }), { instanceOf: FailedToSwitch });
  },
);

hubTest(
  'gevent.util.assert_switches: with hub_only, a body that never gets to the hub raises, however short',
  (t) => {
    t.throws(() => assertSwitches(() => {}, { maxBlocking: 60_000, hubOnly: true }), {
      instanceOf: FailedToSwitch,
    });
  },
);

hubTest('gevent.util.assert_switches: what it raises is an error of its own', (t) => {
  t.true(thrownBy(() => assertSwitches(() => {})) instanceof GreenstackError);
});
