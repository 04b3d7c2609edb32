import { Greenlet, type GreenletExit, getCurrent, idle, joinAll, sleep, spawn } from 'greenstack';

/** Parks until something else ends the wait: no test runs for an hour. After a failed test it keeps no process alive. */
export function parkForLong(): void {
  sleep(3_600_000, { ref: false });
}

/** A greenlet that has run up to `parkForLong()`; the test must end it. */
export function parked(): Greenlet<void> {
  const greenlet = spawn(parkForLong);
  idle();
  return greenlet;
}

/** The running greenlet, which in these tests is never a raw one. */
export function current(): Greenlet {
  const greenlet = getCurrent();
  if (greenlet instanceof Greenlet) return greenlet;
  throw new Error('no greenlet is running');
}

/** A one-way switch that greenlets can wait for: the end of a greenlet that was not started yet. */
export class Gate {
  readonly #end = new Greenlet(() => {});

  open(): void {
    this.#end.start();
  }

  pass(): void {
    this.#end.join();
  }
}

/** A greenlet that swallows every kill until `gate` is open. */
export function stubbornUntil(gate: Gate): Greenlet<void> {
  const greenlet = spawn({ name: 'the-stubborn-one' }, () => {
    for (;;) {
      try {
        return gate.pass();
      } catch {
        // Ignored: that is what makes it stubborn.
      }
    }
  });
  idle();
  return greenlet;
}

/** Runs `body` in three greenlets at once, so that every park in it leaves for another one in the middle of it. */
export function interleaved<T>(body: (id: number) => T): (T | GreenletExit | undefined)[] {
  const greenlets = [1, 2, 3].map((id) => spawn(body, id));
  joinAll(greenlets, { raiseError: true });
  return greenlets.map((greenlet) => greenlet.value);
}

/** Blocks the whole process, not only the greenlet. */
export function burn(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** Whatever `body` throws; fails where it returns. */
export function thrownBy(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
