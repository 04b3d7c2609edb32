/**
 * What gevent documents of `Event`, `AsyncResult`, `Semaphore` and `Queue` that several threads use, one test for each
 * behaviour. One side is another thread in each of them.
 */
import { idle, InvalidThreadUseError, joinAll, spawn, Timeout, wait } from 'greenstack';
import { Event } from 'greenstack/event';
import { Empty, Full, ShutDown, StopIteration } from 'greenstack/queue';
import {
  SharedAsyncResult,
  SharedEvent,
  type SharedHandle,
  SharedQueue,
  SharedSemaphore,
} from 'greenstack/shared';
import { thrownBy } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';
import { OtherThread, type Tools } from '../support/other-thread.js';

type EventHandle = SharedHandle<'SharedEvent'>;
type ResultHandle = SharedHandle<'SharedAsyncResult'>;
type SemaphoreHandle = SharedHandle<'SharedSemaphore'>;
type QueueHandle = SharedHandle<'SharedQueue'>;

// Event

function waitForEvent({ SharedEvent, spawn, idle, say }: Tools, handle: EventHandle): boolean {
  const waiting = spawn(() => SharedEvent.from(handle).wait());
  idle();
  say('waiting');
  return waiting.get();
}

hubTest('gevent.event.Event.set: wakes those who wait in other threads, and their wait returns true', (t) => {
  const event = new SharedEvent();
  const others = [0, 1].map(() => new OtherThread(waitForEvent, event.handle));
  for (const other of others) other.hear();
  event.set();
  for (const other of others) t.true(other.result());
});

hubTest('gevent.event.Event.set: set(); clear() without yielding wakes all who wait nevertheless', (t) => {
  const event = new SharedEvent();
  const other = new OtherThread(waitForEvent, event.handle);
  const own = spawn(() => event.wait());
  other.hear();
  event.set();
  event.clear();
  t.true(other.result());
  t.true(own.get());
  t.false(event.isSet());
});

hubTest('gevent.event.Event.wait: returns at once if another thread has set it', (t) => {
  const event = new SharedEvent();
  const other = new OtherThread(({ SharedEvent }, handle: EventHandle) => {
    SharedEvent.from(handle).set();
  }, event.handle);
  other.result();
  t.true(event.wait(0));
  t.true(event.ready);
});

hubTest('gevent.event.Event.wait: returns false only if its own time has passed', (t) => {
  const event = new SharedEvent();
  t.false(event.wait(1));
  const outer = Timeout.startNew(1);
  t.is(
    thrownBy(() => event.wait(60_000)),
    outer,
  );
});

hubTest('gevent.event.Event.clear: is seen by other threads', (t) => {
  const event = new SharedEvent();
  event.set();
  event.clear();
  const other = new OtherThread(
    ({ SharedEvent }, handle: EventHandle) => SharedEvent.from(handle).isSet(),
    event.handle,
  );
  t.false(other.result());
});

hubTest('gevent.event.Event.rawlink: is called in the hub when another thread sets it', (t) => {
  const event = new SharedEvent();
  const called = new Event();
  event.rawlink((source) => {
    t.is(source, event);
    called.set();
  });
  const other = new OtherThread(({ SharedEvent }, handle: EventHandle) => {
    SharedEvent.from(handle).set();
  }, event.handle);
  t.true(called.wait());
  other.result();
});

// AsyncResult

hubTest('gevent.event.AsyncResult.get: returns the value that another thread sets', (t) => {
  const result = new SharedAsyncResult<{ answer: number }>();
  const getting = spawn(() => result.get());
  const other = new OtherThread(({ SharedAsyncResult }, handle: ResultHandle) => {
    SharedAsyncResult.from(handle).set({ answer: 42 });
  }, result.handle);
  t.deepEqual(getting.get(), { answer: 42 });
  other.result();
});

hubTest('gevent.event.AsyncResult.get: raises the exception that another thread sets', (t) => {
  const result = new SharedAsyncResult();
  const other = new OtherThread(({ SharedAsyncResult }, handle: ResultHandle) => {
    SharedAsyncResult.from(handle).setError(new RangeError('too far'));
  }, result.handle);
  t.throws(() => result.get(), { instanceOf: RangeError, message: 'too far' });
  t.false(result.successful);
  other.result();
});

hubTest('gevent.event.AsyncResult.get: raises Timeout when its time has passed', (t) => {
  t.throws(() => new SharedAsyncResult().get(1), { instanceOf: Timeout });
  t.throws(() => new SharedAsyncResult().getNowait(), { instanceOf: Timeout });
});

hubTest('gevent.event.AsyncResult.wait: returns None for an error and when its time has passed', (t) => {
  const result = new SharedAsyncResult();
  t.is(result.wait(1), undefined);
  result.setError(new Error('failed'));
  t.is(result.wait(), undefined);
});

hubTest('gevent.event.AsyncResult.set: a second one overwrites the first, in all threads', (t) => {
  const result = new SharedAsyncResult<number>();
  result.set(1);
  t.is(result.get(), 1);
  const other = new OtherThread(({ SharedAsyncResult }, handle: ResultHandle) => {
    SharedAsyncResult.from(handle).set(2);
  }, result.handle);
  other.result();
  t.is(result.get(), 2);
});

// Semaphore

function acquireOnce({ SharedSemaphore, spawn, idle, say }: Tools, handle: SemaphoreHandle): boolean {
  const acquiring = spawn(() => SharedSemaphore.from(handle).acquire());
  idle();
  say('waiting');
  return acquiring.get();
}

hubTest('gevent.lock.Semaphore.acquire: another hub may wait without blocking its loop', (t) => {
  const semaphore = new SharedSemaphore(0);
  const other = new OtherThread(({ SharedSemaphore, spawn, idle, say, sleep }, handle: SemaphoreHandle) => {
    const acquiring = spawn(() => SharedSemaphore.from(handle).acquire());
    idle();
    say('waiting');
    let rounds = 0;
    for (; rounds < 3; rounds++) sleep(1);
    say(acquiring.ready);
    return acquiring.get();
  }, semaphore.handle);
  t.is(other.hear(), 'waiting');
  t.false(other.hear());
  semaphore.release();
  t.true(other.result());
});

hubTest('gevent.lock.Semaphore.release: lets one go on for each permit, whichever thread it is in', (t) => {
  const semaphore = new SharedSemaphore(0);
  const others = [0, 1].map(() => new OtherThread(acquireOnce, semaphore.handle));
  for (const other of others) other.hear();
  const own = spawn(() => semaphore.acquire());
  idle();
  for (let permits = 0; permits < 3; permits++) semaphore.release();
  for (const other of others) t.true(other.result());
  t.true(own.get());
  t.is(semaphore.counter, 0);
});

hubTest('gevent.lock.Semaphore.acquire: returns false, not an exception, when its time has passed', (t) => {
  const semaphore = new SharedSemaphore(1);
  const other = new OtherThread(({ SharedSemaphore }, handle: SemaphoreHandle) => {
    SharedSemaphore.from(handle).acquire();
  }, semaphore.handle);
  other.result();
  t.false(semaphore.acquire(1));
  t.false(semaphore.acquire({ block: false }));
  t.true(semaphore.locked);
});

hubTest('gevent.lock.Semaphore.wait: returns the counter, which may be 0', (t) => {
  const semaphore = new SharedSemaphore(2);
  t.is(semaphore.wait(), 2);
  t.is(new SharedSemaphore(0).wait(1), 0);
});

hubTest('gevent.lock.Semaphore: is fair: one that loops does not starve another', (t) => {
  const semaphore = new SharedSemaphore(1);
  const stop = new SharedEvent();
  const other = new OtherThread(
    ({ SharedSemaphore, SharedEvent, say, sleep }, [lock, stop]: [SemaphoreHandle, EventHandle]) => {
      const semaphore = SharedSemaphore.from(lock);
      const stopped = SharedEvent.from(stop);
      say('begins');
      while (!stopped.isSet()) semaphore.with(() => sleep(0));
    },
    [semaphore.handle, stop.handle],
  );
  other.hear();
  for (let round = 0; round < 20; round++) semaphore.with(() => {});
  stop.set();
  other.result();
  t.is(semaphore.counter, 1);
});

// Queue

hubTest('gevent.queue.Queue: items come out in the order in which another thread put them', (t) => {
  const queue = new SharedQueue<number>(5);
  const other = new OtherThread(({ SharedQueue }, handle: QueueHandle) => {
    for (let item = 0; item < 50; item++) SharedQueue.from(handle).put(item);
  }, queue.handle);
  const items = Array.from({ length: 50 }, () => queue.get());
  t.deepEqual(
    items,
    Array.from({ length: 50 }, (_, index) => index),
  );
  other.result();
});

hubTest('gevent.queue.Queue.put: blocks while the queue is full, until another thread gets', (t) => {
  const queue = new SharedQueue<number>(1);
  queue.put(1);
  const putting = spawn(() => queue.put(2));
  idle();
  t.false(putting.ready);
  const other = new OtherThread(
    ({ SharedQueue }, handle: QueueHandle) => SharedQueue.from(handle).get(),
    queue.handle,
  );
  putting.get();
  t.is(other.result(), 1);
  t.is(queue.get(), 2);
});

hubTest('gevent.queue.Queue.put: raises Full when its time has passed, and puts nothing', (t) => {
  const queue = new SharedQueue<number>(1);
  queue.put(1);
  t.throws(() => queue.put(2, 1), { instanceOf: Full });
  t.throws(() => queue.putNowait(2), { instanceOf: Full });
  t.deepEqual([queue.get(), queue.empty], [1, true]);
});

hubTest('gevent.queue.Queue.get: raises Empty when its time has passed', (t) => {
  const queue = new SharedQueue<number>();
  t.throws(() => queue.get(1), { instanceOf: Empty });
  t.throws(() => queue.getNowait(), { instanceOf: Empty });
});

hubTest('gevent.queue.Queue.get: the getters of a thread are served first in, first out', (t) => {
  const queue = new SharedQueue<number>();
  const order: Array<[getter: number, item: number]> = [];
  const getters = [1, 2, 3].map((id) => spawn(() => order.push([id, queue.get()])));
  idle();
  const other = new OtherThread(({ SharedQueue }, handle: QueueHandle) => {
    for (const item of [10, 20, 30]) SharedQueue.from(handle).put(item);
  }, queue.handle);
  joinAll(getters, { raiseError: true });
  other.result();
  t.deepEqual(order, [
    [1, 10],
    [2, 20],
    [3, 30],
  ]);
});

hubTest('gevent.queue.Queue: iterating ends with StopIteration', (t) => {
  const queue = new SharedQueue<number | StopIteration>();
  const other = new OtherThread(
    ({ SharedQueue }, handle: QueueHandle) => [...SharedQueue.from<number>(handle)],
    queue.handle,
  );
  for (const item of [1, 2, StopIteration] as const) queue.put(item);
  t.deepEqual(other.result(), [1, 2]);
});

hubTest('gevent.queue.Queue.shutdown: later puts raise, gets drain the queue first', (t) => {
  const queue = new SharedQueue<number>();
  queue.put(1);
  queue.shutdown();
  const other = new OtherThread(({ SharedQueue }, handle: QueueHandle) => {
    const queue = SharedQueue.from<number>(handle);
    const names: unknown[] = [];
    for (const call of [() => queue.put(2), () => names.push(queue.get()), () => queue.get()]) {
      try {
        call();
      } catch (error) {
        names.push((error as Error).name);
      }
    }
    return names;
  }, queue.handle);
  t.deepEqual(other.result(), ['ShutDown', 1, 'ShutDown']);
});

hubTest('gevent.queue.Queue.shutdown: wakes who is blocked in another thread', (t) => {
  const queue = new SharedQueue<number>();
  const getting = spawn(() => thrownBy(() => queue.get()));
  idle();
  const other = new OtherThread(({ SharedQueue }, handle: QueueHandle) => {
    SharedQueue.from(handle).shutdown();
  }, queue.handle);
  t.true(getting.get() instanceof ShutDown);
  other.result();
});

// All of them

hubTest('gevent.wait: returns what other threads have made ready', (t) => {
  const [first, second] = [new SharedEvent(), new SharedEvent()];
  const other = new OtherThread(({ SharedEvent }, handle: EventHandle) => {
    SharedEvent.from(handle).set();
  }, second.handle);
  t.deepEqual(wait([first, second], { count: 1 }), [second]);
  other.result();
});

hubTest('gevent.exceptions.InvalidThreadUseError: what belongs to one thread is refused in another', (t) => {
  const error = thrownBy(() => structuredClone(new Event())) as Error;
  t.regex(error.message, /objects of greenstack belong to one thread/);
  t.throws(() => new SharedQueue().put(new Event()), { instanceOf: InvalidThreadUseError });
});
