import { ConcurrentObjectUseError, GreenletExit, Timeout, Waiter, idle, spawn } from 'greenstack';
import { parkForLong, thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';

hubTest('get() returns a value that came before', (t) => {
  const waiter = new Waiter<string>();
  waiter.switch('value');
  t.true(waiter.ready);
  t.true(waiter.successful);
  t.is(waiter.get(), 'value');
});

hubTest('get() waits for a value from a plain callback', (t) => {
  const waiter = new Waiter<string>();
  setImmediate(() => waiter.switch('value'));
  t.false(waiter.ready);
  t.is(waiter.get(), 'value');
});

hubTest('get() waits for a value from another greenlet', (t) => {
  const waiter = new Waiter<string>();
  const greenlet = spawn(() => waiter.get());
  idle();
  waiter.switch('value');
  t.is(greenlet.get(), 'value');
});

hubTest('get() throws an error that came', (t) => {
  const waiter = new Waiter();
  const error = new Error('on purpose');
  waiter.throw(error);
  t.true(waiter.ready);
  t.false(waiter.successful);
  t.throws(() => waiter.get(), { is: error });
});

hubTest('a second greenlet that waits is refused, and the first is not disturbed', (t) => {
  const waiter = new Waiter<string>();
  const first = spawn(() => waiter.get());
  idle();
  t.throws(() => waiter.get(), { instanceOf: ConcurrentObjectUseError });
  waiter.switch('value');
  t.is(first.get(), 'value');
});

hubTest('clear() makes a waiter new', (t) => {
  const waiter = new Waiter<string>();
  waiter.switch('old');
  waiter.clear();
  t.false(waiter.ready);
  setImmediate(() => waiter.switch('new'));
  t.is(waiter.get(), 'new');
});

hubTest('after a killed greenlet another one may wait', (t) => {
  const waiter = new Waiter<string>();
  const first = spawn(() => waiter.get());
  idle();
  first.kill();
  t.true((first.value as unknown) instanceof GreenletExit);
  setImmediate(() => waiter.switch('value'));
  t.is(waiter.get(), 'value');
});

virtualTest('after a timeout the same greenlet may wait again', (t) => {
  const waiter = new Waiter<string>();
  const timeout = Timeout.startNew(1);
  t.is(
    thrownBy(() => waiter.get()),
    timeout,
  );
  setImmediate(() => waiter.switch('value'));
  t.is(waiter.get(), 'value');
});

hubTest('a value that comes when nobody waits any more wakes nobody from another wait', (t) => {
  const waiter = new Waiter<string>();
  const greenlet = spawn(() => {
    thrownBy(() => waiter.get());
    parkForLong();
  });
  idle();
  greenlet.kill(undefined, { block: false });
  idle();
  waiter.switch('late');
  idle();
  t.false(greenlet.dead);
  greenlet.kill();
});
