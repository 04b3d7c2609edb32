/** `greenstack/testing`: time that jumps instead of passing, and a check that code lets others run. */
import { native, Outlook } from './binding.js';
import { checkFlag, checkFunction, checkOptions, describe } from './checks.js';
import { ConcurrentObjectUseError, GreenstackError, named } from './errors.js';
import {
  captureStack,
  type CapturedStack,
  interrupt,
  isAwaitingOutside,
  linesOf,
  observeSwitches,
  park,
  requireGreenlet,
  requireHub,
  type Runnable,
  type SwitchObserver,
  type Wait,
  wake,
} from './hub.js';
import { isTimeKept, keepTime, type TimeKeeper } from './timers.js';

/** Real time and Node's own loop, whatever a test replaces the global functions by. */
const { clearImmediate, clearTimeout, setImmediate, setTimeout } = globalThis;
const realNow = performance.now.bind(performance);

/** How often libuv's loop has gone round, and how many events it has met. */
function loopMetrics(): { loopCount: number; events: number } {
  return performance.nodeTiming.uvMetricsInfo;
}

// ---- VirtualClock

/** Options of {@link VirtualClock}. */
export interface VirtualClockOptions {
  /** Whether time jumps by itself (default: yes). Otherwise only {@link VirtualClock.advance} moves it. */
  autoJump?: boolean;
  /**
   * For how long, in real ms, nothing must have come from outside before time jumps in spite of open sockets, awaited
   * promises and the like (default: 100). `Infinity`: never; 0: at once.
   */
  patience?: number;
}

const DEFAULT_PATIENCE = 100;

/** Real ms between two looks at what is under way. */
const REQUEST_PAUSE = 1;
const LONGEST_PAUSE = 20;

/** Checks a time in ms that cannot be negative. */
function checkTime(call: string, name: string, value: unknown): number {
  if (typeof value !== 'number' || Number.isNaN(value))
    throw new TypeError(`${call}: ${name} must be a time in milliseconds, got ${describe(value)}`);
  if (value < 0) throw new RangeError(`${call}: ${name} must not be negative, got ${value}`);
  return value;
}

/** A greenlet in {@link VirtualClock.advance}. */
class Advance implements Wait {
  constructor(
    private readonly mover: Mover,
    readonly greenlet: Runnable,
    /** In ms since the time was stopped. */
    readonly goal: number,
  ) {}

  cancel(): void {
    if (this.mover.advance === this) this.mover.advance = null;
  }

  describe(): string {
    return 'VirtualClock.advance()';
  }
}

/** What keeps the process alive, beside immediates: how many of each kind. */
function countResources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (kind !== 'Immediate') counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/**
 * Moves the time of a hub whenever nobody can run.
 *
 * After greenlets have run it looks around, from immediates of Node's, so that all callbacks that are due have had their
 * turn before: until nobody is ready, no immediate is queued, and libuv has met no event since the look before.
 */
class Mover implements TimeKeeper {
  elapsed = 0;
  advance: Advance | null = null;
  #immediate: NodeJS.Immediate | null = null;
  #timer: NodeJS.Timeout | null = null;
  /** libuv's events at the last look; −1: somebody has run since. */
  #events = -1;
  /** Real ms in which nothing has come. */
  #silence = 0;
  /** What was open before is not taken for something on its way. */
  readonly #openBefore = countResources();

  constructor(
    private readonly autoJump: boolean,
    private readonly patience: number,
  ) {
    native.stopTime();
    keepTime(this);
    this.noteWork();
  }

  noteWork(): void {
    this.#events = -1;
    this.#silence = 0;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#immediate ??= setImmediate(this.#look);
  }

  end(): void {
    keepTime(null);
    native.resumeTime();
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.advance === null) return;
    const closed = new GreenstackError(
      'ERR_GREENSTACK_CLOCK_CLOSED',
      'VirtualClock.advance(): the clock was closed meanwhile',
    );
    interrupt(this.advance.greenlet, closed, { shields: Infinity });
  }

  readonly #look = (): void => {
    this.#immediate = null;
    const outlook = native.outlook();
    // Whoever is ready has a turn, after which there is another look.
    if (outlook & Outlook.Ready) return;
    if (!this.#isCalm()) {
      this.#silence = 0;
      this.#immediate = setImmediate(this.#look);
      return;
    }
    if (this.advance === null && !this.#mayJump(outlook)) return;
    const pause = this.#pauseFor(outlook);
    if (pause === 0) this.#jump();
    else this.#timer = setTimeout(this.#afterPause, pause, pause);
  };

  /** Whether Node's loop has gone round without anything to do. */
  #isCalm(): boolean {
    const { events } = loopMetrics();
    const wasCalm = events === this.#events;
    this.#events = events;
    return wasCalm && !process.getActiveResourcesInfo().includes('Immediate');
  }

  /** Whether there is a timer to jump to, and something keeps the process alive until then. */
  #mayJump(outlook: number): boolean {
    if (!this.autoJump || !(outlook & Outlook.Timers)) return false;
    return (outlook & ~Outlook.Timers) !== 0 || countResources().size > 0;
  }

  /** How many real ms to wait for what may come from outside. */
  #pauseFor(outlook: number): number {
    if (outlook & Outlook.Requests) {
      this.#silence = 0;
      return REQUEST_PAUSE;
    }
    const left = this.patience - this.#silence;
    const mayCome = (outlook & Outlook.Awaited) !== 0 || isAwaitingOutside() || this.#hasOpened();
    return mayCome && left > 0 ? Math.min(Math.ceil(left), LONGEST_PAUSE) : 0;
  }

  readonly #afterPause = (pause: number): void => {
    this.#timer = null;
    this.#silence += pause;
    this.#immediate = setImmediate(this.#look);
  };

  #hasOpened(): boolean {
    for (const [kind, count] of countResources()) {
      if (count > (this.#openBefore.get(kind) ?? 0)) return true;
    }
    return false;
  }

  #jump(): void {
    const { advance } = this;
    this.elapsed = native.jump(advance === null ? Infinity : advance.goal);
    if (advance === null || native.outlook() & Outlook.Ready) return;
    this.advance = null;
    wake(advance.greenlet, advance);
  }
}

/**
 * A clock that governs the time of this thread's hub from its making until {@link close}: `sleep`, timeouts, limits,
 * `spawnLater`, `getHub().now()`. Its time stands still while anybody runs, and jumps to the next timer when all greenlets
 * are parked and nothing else is under way. So a test of an hour takes no time, and its order is always the same: timers are
 * due in the order of their time, those of the same time in the order in which they were set.
 *
 * Time does not jump
 * - before Node's own callbacks, immediates and promise reactions have had their turn;
 * - while libuv or a resolver works on something that ends by itself: files, lookups, connecting, compression;
 * - while something real may come: a greenlet is parked on a socket or a promise, or handles or timers of Node's were opened
 *   since the clock began. That may be a peer that never answers, so after `patience` real ms in which nothing came, it jumps;
 * - if nothing keeps the process alive: timers with `ref: false` alone do not.
 *
 * Real remain Node's timers (`setTimeout`, `AbortSignal.timeout`), `Date` and `performance`.
 *
 * @example
 * using clock = new VirtualClock();
 * sleep(3_600_000);
 * clock.now(); // 3600000
 */
export class VirtualClock {
  readonly #mover: Mover;
  #closed = false;

  /**
   * Begins at once. Never switches.
   *
   * @throws {GreenstackError} if this thread has a virtual clock already
   */
  constructor(options?: VirtualClockOptions) {
    const call = 'new VirtualClock()';
    const { autoJump = true, patience = DEFAULT_PATIENCE } = checkOptions(call, options);
    checkFlag(call, 'autoJump', autoJump);
    checkTime(call, 'patience', patience);
    requireHub();
    if (isTimeKept()) {
      throw new GreenstackError(
        'ERR_GREENSTACK_CLOCK_IN_USE',
        `${call}: another VirtualClock governs the time of this thread; close it first`,
      );
    }
    this.#mover = new Mover(autoJump, patience);
  }

  /**
   * Runs `fn` under a new clock, which is closed when it returns or throws. Switches only if `fn` does.
   *
   * @returns what `fn` returns
   */
  static run<T>(fn: (clock: VirtualClock) => T, options?: VirtualClockOptions): T {
    checkFunction('VirtualClock.run()', fn);
    const clock = new VirtualClock(options);
    try {
      return fn(clock);
    } finally {
      clock.close();
    }
  }

  /** How much time has passed by this clock, in ms from 0. Never switches. */
  now(): number {
    return this.#mover.elapsed;
  }

  /**
   * Moves the time by `ms`, from timer to timer: whatever is due on the way, or at the end of it, runs at its own time until all
   * are parked again, under the same conditions as when time jumps by itself. 0 only lets everybody run. Switches.
   *
   * @throws {TypeError} if `ms` is not a number
   * @throws {RangeError} if it is negative or infinite
   * @throws {ConcurrentObjectUseError} if another greenlet is in this call
   * @throws {GreenstackError} if the clock is closed, or is being closed meanwhile
   */
  advance(ms: number): void {
    const call = 'VirtualClock.advance()';
    if (checkTime(call, 'ms', ms) === Infinity) throw new RangeError(`${call}: ms must be finite`);
    const mover = this.#mover;
    if (this.#closed)
      throw new GreenstackError('ERR_GREENSTACK_CLOCK_CLOSED', `${call}: the clock is closed`);
    const greenlet = requireGreenlet(call);
    if (mover.advance !== null)
      throw new ConcurrentObjectUseError(`${call}: another greenlet advances this clock already`);
    mover.advance = new Advance(mover, greenlet, mover.elapsed + ms);
    park(call, mover.advance);
  }

  /**
   * Gives the time back to the system's clock. What is pending keeps the time that it had left. Closing it again does nothing.
   * Never switches.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#mover.end();
  }

  /** As {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

// ---- assertSwitches

/** Options of {@link assertSwitches}. */
export interface AssertSwitchesOptions {
  /** For how long at the most, in ms, the function may keep others from running. */
  maxBlocking?: number | null;
  /**
   * Whether only switches count in which Node's loop has gone round, not those from greenlet to greenlet. One is needed, with
   * `maxBlocking` too.
   */
  hubOnly?: boolean;
}

/** Thrown by {@link assertSwitches}. gevent: an `AssertionError`. */
export class FailedToSwitch extends GreenstackError {
  /** For how long others were kept from running, in ms. */
  readonly duration: number;
  /** Who ran from where to where; part of the message. */
  readonly report: string;

  constructor(message: string, duration: number, report: string) {
    super('ERR_GREENSTACK_FAILED_TO_SWITCH', `${message}\n${report}`);
    this.duration = duration;
    this.report = report;
  }

  static {
    named(this, 'FailedToSwitch');
  }
}

/** A time during which others could not run. */
interface Stretch {
  readonly duration: number;
  /** The wait after which it began; `null`: it is the first. */
  readonly after: Wait | null;
  /** The wait that has ended it; `null`: the function has ended. */
  readonly before: Wait | null;
  /** Where that wait is, if it has to be told. */
  readonly where: CapturedStack | null;
}

const SHOWN_FRAMES = 10;

/** Finds out when Node's loop goes round next. */
class HubTurn {
  readonly #loopCount = loopMetrics().loopCount;
  #ran: number | null = null;
  readonly #immediate = setImmediate(() => {
    this.#ran = realNow();
  });

  /** When it did; `null`: it has not. */
  end(): number | null {
    clearImmediate(this.#immediate);
    if (this.#ran !== null) return this.#ran;
    // Back from within the loop's first round, before immediates had their turn.
    return loopMetrics().loopCount === this.#loopCount ? null : realNow();
  }
}

/** How often a stack was entered. */
function countSwitches(): number {
  return native.statistics()[7];
}

/** Watches one greenlet during one call of {@link assertSwitches}. */
class SwitchWatch {
  readonly began = realNow();
  switches = 0;
  longest: Stretch = { duration: 0, after: null, before: null, where: null };
  #stretchBegan = this.began;
  #after: Wait | null = null;
  #wait: Wait | null = null;
  #left = 0;
  #switchesBefore = 0;
  #hubTurn: HubTurn | null = null;

  constructor(
    private readonly maxBlocking: number | null,
    readonly hubOnly: boolean,
    readonly outer: SwitchWatch | undefined,
  ) {}

  leave(wait: Wait): void {
    this.#wait = wait;
    this.#switchesBefore = countSwitches();
    if (this.hubOnly) this.#hubTurn = new HubTurn();
    this.#left = realNow();
  }

  goOn(isYield: boolean): void {
    let ended = isYield || countSwitches() !== this.#switchesBefore ? this.#left : null;
    if (this.#hubTurn !== null) ended = this.#hubTurn.end();
    if (ended === null) return;
    this.switches++;
    this.#endStretch(ended, this.#wait);
    this.#stretchBegan = realNow();
    this.#after = this.#wait;
  }

  /** The function has ended. */
  end(): void {
    this.#endStretch(realNow(), null);
  }

  #endStretch(at: number, before: Wait | null): void {
    const duration = at - this.#stretchBegan;
    if (duration <= this.longest.duration) return;
    const isTooLong = this.maxBlocking !== null && duration > this.maxBlocking;
    const where = isTooLong && before !== null ? captureStack(SHOWN_FRAMES, observer.goOn) : null;
    this.longest = { duration, after: this.#after, before, where };
  }
}

/** Who is watched; of several calls of one greenlet, the innermost, which knows the next. */
const watched = new Map<Runnable, SwitchWatch>();

/** Tells those who are concerned. The hub has it only while somebody is watched. */
const observer: SwitchObserver = {
  leave(greenlet, wait) {
    for (let watch = watched.get(greenlet); watch !== undefined; watch = watch.outer) watch.leave(wait);
  },
  goOn(greenlet, isYield) {
    for (let watch = watched.get(greenlet); watch !== undefined; watch = watch.outer) watch.goOn(isYield);
  },
};

function inMs(duration: number): string {
  return `${duration.toFixed(1)} ms`;
}

function reportOf(greenlet: Runnable, { began, switches, longest, hubOnly }: SwitchWatch): string {
  const { duration, after, before, where } = longest;
  const whom = hubOnly ? 'the hub' : 'others';
  const from = after === null ? 'the beginning' : `the end of ${after.describe()}`;
  const to = before === null ? 'the end' : before.describe();
  const lines = [
    `  in ${greenlet._describe()}, which let ${whom} run ${switches} times in ${inMs(realNow() - began)}`,
    `  the longest time in which it did not: ${inMs(duration)}, from ${from} to ${to}`,
  ];
  if (where !== null) lines.push(linesOf(where));
  return lines.join('\n');
}

/**
 * Runs `fn` and throws unless it lets others run: the greenlet parks in it, or yields by `sleep(0)`, at least once. With
 * `maxBlocking` instead: if it keeps others from running for longer than that. Only switches of this greenlet count, and
 * the time is real also under a {@link VirtualClock}. Calls may be nested. Switches only if `fn` does. gevent:
 * `gevent.util.assert_switches`.
 *
 * While a call is running, all switches of this thread are slower.
 *
 * @returns what `fn` returns
 * @throws {FailedToSwitch} if it kept others from running
 * @throws what `fn` throws, whether it has switched or not
 * @throws {BlockingSwitchOutError} outside greenlets: nothing can switch there
 */
export function assertSwitches<T>(fn: () => T, options?: AssertSwitchesOptions): T {
  const call = 'assertSwitches()';
  checkFunction(call, fn);
  const { maxBlocking, hubOnly = false } = checkOptions(call, options);
  const limit = maxBlocking ?? null;
  if (limit !== null) checkTime(call, 'maxBlocking', limit);
  checkFlag(call, 'hubOnly', hubOnly);
  const greenlet = requireGreenlet(call);
  const outer = watched.get(greenlet);
  const own = new SwitchWatch(limit, hubOnly, outer);
  watched.set(greenlet, own);
  observeSwitches(observer);
  let result: T;
  try {
    result = fn();
  } finally {
    own.end();
    if (outer !== undefined) watched.set(greenlet, outer);
    else watched.delete(greenlet);
    if (watched.size === 0) observeSwitches(null);
  }
  const { duration } = own.longest;
  const isMissed = own.switches === 0 && (limit === null || hubOnly);
  if (!isMissed && (limit === null || duration <= limit)) return result;
  const name = fn.name === '' ? 'the function' : `${fn.name}()`;
  const whom = hubOnly ? 'the hub' : 'others';
  const message =
    isMissed || limit === null
      ? `${call}: ${name} did not let ${whom} run`
      : `${call}: ${name} kept ${whom} from running for ${inMs(duration)}, more than ${inMs(limit)}`;
  const error = new FailedToSwitch(message, duration, reportOf(greenlet, own));
  Error.captureStackTrace(error, assertSwitches);
  throw error;
}
