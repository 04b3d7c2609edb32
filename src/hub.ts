/**
 * Park and wake: what every blocking call of the library is made of.
 *
 * Greenlets are run by *runners*. Each runner is a loop on a stack of its own that takes spawned greenlets from one
 * queue and runs them one after another; only when a greenlet parks, the next one is started on another stack. So a
 * function that never parks costs no switch and no stack. Native code keeps the order of everything that is ready.
 */
import { EventEmitter } from 'node:events';

import { Cause, native, nodeMajor, refuse, Rest, Shared, shared } from './binding.js';
import { checkFunction } from './checks.js';
import { config, configListeners } from './config.js';
import {
  captureContext,
  type Context,
  emptyContext,
  enterContext,
  followGreenlets,
  hubResource,
  isParkSafe,
  lendAsyncId,
  restoreContext,
  saveCallerContext,
  saveContext,
  takeAsyncIdBack,
} from './context.js';
import type { Resolver } from './dns.js';
import type { Greenlet, RawGreenlet } from './greenlet.js';
import type { Limits } from './limits.js';
import { printError } from './report.js';
import type { ThreadPool } from './threadpool.js';
import { armTimer, type Expirable, noteWork, now, takeExpired } from './timers.js';
import {
  BlockingSwitchOutError,
  GreenletExit,
  GreenstackError,
  HubDestroyed,
  KeyboardInterrupt,
} from './errors.js';

/** What a greenlet is parked on. Each kind of wait supplies its own undo; deadlines and kills are handled here. */
export interface Wait {
  /** Removes every trace of the wait. Called if it ends by anything but what it waits for; more than once does no harm. */
  cancel(): void;
  /** What is waited for, to follow "parked in": for reports. */
  describe(): string;
}

/** Makes a wait that needs no undo. */
export function plainWait(description: string): Wait {
  return { cancel() {}, describe: () => description };
}

/** An error on its way into a greenlet. */
interface Interruption {
  readonly error: unknown;
  /** Who sent it, and may withdraw it as long as it has not been delivered. */
  readonly sender: object | null;
  /** Whether it is a kill, to be reported if it is ignored. */
  readonly isKill: boolean;
  /** How many `shield` calls it goes through: those that the greenlet was in when the wait for the error began. */
  readonly shields: number;
}

/** How {@link interrupt} sends an error. */
export interface InterruptOptions {
  /** Before everything else that is ready. */
  next?: boolean;
  /** Who may {@link withdraw} it as long as it has not been delivered. */
  sender?: object;
  isKill?: boolean;
  shields?: number;
}

/** Told when a greenlet ends. */
export interface LinkEntry {
  /** What was passed by the user, to find it again; `null` for waiting greenlets. */
  readonly callback: unknown;
  notify(greenlet: Runnable): void;
}

/** What few greenlets have at any time, apart from the others so that each parks fast and stays small. */
class Trouble {
  /** The error that ends its current wait. */
  interruption: Interruption | null = null;
  /** Errors that came while it was not parked, or was shielded: for its next parks. */
  readonly pending: Interruption[] = [];
  /** How many `shield` calls it is in. */
  shields = 0;
  /** Why it must not park: one reason for each call it is in that cannot be left in the middle. */
  readonly unparkable: string[] = [];
  /** What every park throws. */
  refusal: Error | null = null;
  /** The kill that was thrown in it last, until it parks again. */
  survivedKill: Interruption | null = null;
}

/**
 * A field of objects that belong to the hub of their thread. To pass an object to another thread is to clone it, and that
 * fails at this function, with an error that shows it.
 */
export const ofThisThread = {
  'objects of greenstack belong to one thread; greenstack/shared has forms for several'() {},
}['objects of greenstack belong to one thread; greenstack/shared has forms for several'];

/** Whatever runs on a stack and can park there: greenlets and raw greenlets. */
export abstract class Runnable {
  /** First of all, so that it is what cloning fails at. @internal */
  readonly _thread = ofThisThread;
  /** The number of the stack it runs on; −1 while it has none. @internal */
  _stackId = -1;
  /** The async context it starts with. @internal */
  _context: Context = emptyContext;
  /** What it is parked on; `null` while it runs or is ready. @internal */
  _wait: Wait | null = null;
  /** Whatever is on its way to it. @internal */
  _trouble: Trouble | null = null;
  /** Who is told when it ends. @internal */
  _links: LinkEntry[] | null = null;

  /** Runs it on the stack of a runner. Never throws. @internal */
  abstract _begin(stackId: number): void;

  /** Whether it has ended. */
  abstract get dead(): boolean;

  /** Names it in reports, without what it is doing. @internal */
  abstract _describe(): string;

  /** Tells `link` when it has ended; at once if it has. @internal */
  _addLink(link: LinkEntry): void {
    if (this.dead) link.notify(this);
    else (this._links ??= []).push(link);
  }

  /** @internal */
  _removeLink(link: LinkEntry): void {
    const links = this._links;
    const index = links === null ? -1 : links.indexOf(link);
    if (links !== null && index >= 0) links.splice(index, 1);
  }

  /** @internal */
  _notifyLinks(): void {
    const links = this._links;
    if (links === null) return;
    this._links = null;
    for (const link of links) {
      try {
        link.notify(this);
      } catch (error) {
        hub.report(this, error);
      }
    }
  }
}

/** A callback of the hub's own: it may spawn and wake, never park. */
class HubCallback {
  constructor(
    private readonly callback: (...args: never[]) => unknown,
    private readonly args: unknown[],
  ) {}

  _begin(): void {
    runInHub(this.callback, this.args);
  }
}

interface Startable {
  _begin(stackId: number): void;
}

/** Who runs. `null` on the main stack and in callbacks of the hub. */
let current: Runnable | null = null;

/** Who has which stack. */
const running: Array<Runnable | undefined> = [];

/** What was spawned and not yet started, from `queueHead` on. */
let queue: Array<Startable | undefined> = [];
let queueHead = 0;

/** Greenlets with a stack of their own size, by the number of its runner. */
const dedicated = new Map<number, Startable>();

/** What is called often. V8 keeps the functions of an addon in a dictionary, where it looks each up at every call. */
const {
  park: parkNatively,
  parkFor: parkNativelyFor,
  yieldNow: yieldNatively,
  wake: wakeNatively,
  enterFiber: enterNatively,
  leaveFiber: leaveNatively,
  rest,
} = native;

/** Told when the current greenlet may leave its stack, and when it goes on. */
export interface SwitchObserver {
  leave(greenlet: Runnable, wait: Wait): void;
  /** `isYield`: others could have run, even if nobody wanted to. */
  goOn(greenlet: Runnable, isYield: boolean): void;
}

let observer: SwitchObserver | null = null;

/** Waits that only code outside of greenlets can end. */
let outsideWaits = 0;

let destroyed = false;
/** Whether the async context is being kept from being lost; only since the first greenlet. */
let following = false;

/** The greenlet that runs, or `null` in the hub. */
export function currentRunnable(): Runnable | null {
  return current;
}

function advice(): string {
  return (
    'Only a greenlet can wait here: this is the hub, where plain callbacks, promise reactions and module top levels ' +
    'run. Run the code in a greenlet: run(() => …) for a whole program, spawn(() => …) for a callback, or asyncify(fn) ' +
    'to get a function that returns a promise.'
  );
}

/** The current greenlet. Throws {@link BlockingSwitchOutError} in the hub; `call` is what wanted to park. */
export function requireGreenlet(call: string): Runnable {
  if (current === null) throw new BlockingSwitchOutError(`${call} would block the hub. ${advice()}`);
  return current;
}

// ---- running

function take(): Startable | undefined {
  const next = queue[queueHead];
  queue[queueHead++] = undefined;
  if (queueHead === queue.length) {
    queue.length = 0;
    queueHead = 0;
  } else if (queueHead === 16_384) {
    queue = queue.slice(queueHead);
    queueHead = 0;
  }
  return next;
}

/** In a frame of its own: what a runner keeps in its loop's frame while it is idle could not be collected. */
function beginNext(id: number): void {
  take()?._begin(id);
}

let serveRequest: (stackId: number) => void = () => {};

/** Sets what runs a request that native code has found, on the stack of a runner, in no greenlet. It must not throw. */
export function onRequest(serve: (stackId: number) => void): void {
  serveRequest = serve;
}

/** The loop of a runner. Native code calls it on a new stack, when there is something to run. */
function runGreenlets(id: number, handedOver: number): void {
  const own = dedicated.get(id);
  if (own !== undefined) {
    dedicated.delete(id);
    own._begin(id);
    return;
  }
  let next = handedOver;
  for (;;) {
    if (next === Rest.StartsFiber) {
      // Nobody else is started here: who has run the fiber goes on first.
      startFiber(id);
    } else {
      if (next > 0) fireTimer(next - 1);
      else if (next === Rest.Serves) {
        // Whoever has parked last is not who runs.
        current = null;
        serveRequest(id);
      }
      while ((shared[Shared.Starting] as number) > 0) {
        (shared[Shared.Starting] as number)--;
        beginNext(id);
      }
    }
    next = rest();
    if (next === Rest.Ends) return;
  }
}

/** Makes `runnable` the current one, on the stack of a runner. */
export function enterStack(runnable: Runnable, stackId: number): void {
  takeStack(runnable, stackId);
  enterContext(runnable._context);
}

/** As {@link enterStack}, in the async context that there is. */
function takeStack(runnable: Runnable, stackId: number): void {
  runnable._stackId = stackId;
  running[stackId] = runnable;
  current = runnable;
}

/** The current greenlet has ended. */
export function leaveStack(runnable: Runnable): void {
  armTimer();
  running[runnable._stackId] = undefined;
  runnable._stackId = -1;
  if (runnable._trouble !== null) reportUndelivered(runnable, runnable._trouble);
  runnable._trouble = null;
  current = null;
}

/** An error that was meant to end the program must not vanish because the greenlet it was sent to ended first. */
function reportUndelivered(runnable: Runnable, { pending }: Trouble): void {
  for (const { error } of pending)
    if (isInstance(error, hub.systemError)) printError(() => nameOf(runnable), error);
}

/** Calls back in the hub: errors are reported, and parking is refused. */
export function runInHub(callback: (...args: never[]) => unknown, args: unknown[]): void {
  const interrupted = current;
  current = null;
  const context = captureContext();
  enterContext(emptyContext);
  try {
    Reflect.apply(callback, undefined, args);
  } catch (error) {
    hub.report(callback, error);
  }
  enterContext(context);
  current = interrupted;
}

/** What native code calls for each turn, on the main stack. */
function turn(): void {
  try {
    native.turn();
  } catch (error) {
    // Greenlets wait for a stack until others end; everybody else goes on.
    if ((error as NodeJS.ErrnoException).code !== 'ERR_GREENSTACK_OUT_OF_STACKS') throw error;
    hub.report('the hub', error);
  } finally {
    current = null;
    noteWork();
  }
}

let inspected = '';

/** Called on the stack of a parked greenlet, which must not be left from here: `Error.prepareStackTrace` is user code. */
function inspect(): void {
  const interrupted = current;
  current = null;
  try {
    inspected = stackBelow(inspect);
  } finally {
    current = interrupted;
  }
}

/** A stack trace that is formatted when it is read. */
export interface CapturedStack {
  stack?: string;
}

/** The stack of the running code below `caller`, of at most so many frames. */
export function captureStack(frames: number, caller: (...args: never[]) => unknown): CapturedStack {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = frames;
  const captured: CapturedStack = {};
  Error.captureStackTrace(captured, caller);
  Error.stackTraceLimit = limit;
  return captured;
}

/** The lines of a captured stack, without the error's own. */
export function linesOf({ stack }: CapturedStack): string {
  return typeof stack === 'string' ? stack.slice(stack.indexOf('\n') + 1) : '';
}

const SHOWN_FRAMES = 50;

function stackBelow(caller: (...args: never[]) => unknown): string {
  return linesOf(captureStack(SHOWN_FRAMES, caller));
}

/**
 * The JavaScript stack of a parked or running greenlet; empty if it has none, or if the caller is where no stack can be
 * left.
 */
export function stackOf(runnable: Runnable): string {
  if (runnable === current) return stackBelow(stackOf);
  if (runnable._stackId < 0 || (current !== null && reasonNotToPark(current) !== undefined)) return '';
  inspected = '';
  const self = current;
  native.inspectStack(runnable._stackId);
  current = self;
  return inspected;
}

/** All greenlets that have started and not ended. */
export function startedRunnables(): Runnable[] {
  return running.filter((runnable) => runnable !== undefined);
}

/** Ties the hub to Node's loop and verifies that greenlets work here. Called once, at load. */
function start(): void {
  // However slow the machine is, a turn must not end before the self-test has run in it.
  native.setSwitchInterval(Infinity);
  native.setStackSize(config.stackSize);
  native.start(runGreenlets, turn, inspect, hubResource, shared, config.idleStacks);
  try {
    findShutdownList();
    selfTest();
  } catch (error) {
    throw refuse(error);
  }
  native.setSwitchInterval(config.switchInterval);
}

/** V8 of Node 22 has a list of running `JSON.stringify` calls, of which each stack must have its own. */
function findShutdownList(): void {
  const lookInside = { toJSON: () => native.lookAtIsolate() };
  const lookTwice = {
    toJSON() {
      native.lookAtIsolate();
      JSON.stringify(lookInside);
    },
  };
  native.lookAtIsolate();
  JSON.stringify(lookTwice);
  native.lookAtIsolate();
  if (!native.followShutdownList() && nodeMajor === 22) {
    throw new Error("check 'shutdown-list' failed: the list of running JSON.stringify calls was not found");
  }
}

/** Enters a stack, leaves it, throws and collects garbage on it. Whatever is unexpected refuses to load. */
function selfTest(): void {
  const steps: string[] = [];
  const wait = plainWait('the self-test');
  const probe = new (class extends Runnable {
    readonly dead = false;

    _describe(): string {
      return 'the self-test';
    }

    _begin(stackId: number): void {
      enterStack(this, stackId);
      steps.push('entered');
      this._wait = wait;
      native.park();
      current = this;
      try {
        throw new Error('thrown on a stack of its own');
      } catch (error) {
        if (error instanceof Error) steps.push('caught');
      }
      // Enough young objects for a scavenge or two.
      const garbage: unknown[] = [];
      for (let index = 0; index < 20_000; index++) garbage[index % 100] = { index, list: [index] };
      if ((garbage[99] as { index: number }).index === 19_999) steps.push('collected');
      leaveStack(this);
    }
  })();
  queue.push(probe);
  shared[Shared.Spawned] = 1;
  turn();
  wake(probe, wait);
  turn();
  native.checkIntact();
  if (steps.join() !== 'entered,caught,collected') {
    throw new Error(`check 'self-test' failed: a greenlet only ${steps.join(', ') || 'did nothing'}`);
  }
}

// ---- scheduling

/** What has to be done before the first greenlet of this thread, and need not be if there is none. */
const beforeFirst: Array<() => void> = [() => followGreenlets(() => current !== null)];

/** Adds to what is done before the first greenlet of this thread. */
export function onFirstGreenlet(prepareThread: () => void): void {
  beforeFirst.push(prepareThread);
}

function follow(): void {
  following = true;
  for (const prepareThread of beforeFirst) prepareThread();
}

/** Puts a greenlet at the end of what is ready. */
export function enqueue(startable: Startable): void {
  if (!following) follow();
  queue.push(startable);
  const spawned = (shared[Shared.Spawned] as number) + 1;
  shared[Shared.Spawned] = spawned;
  if (current === null && spawned === 1) native.noteSpawned();
}

/** As {@link enqueue}, on a stack of `size` usable bytes. */
export function enqueueOn(startable: Startable, size: number): void {
  if (!following) follow();
  dedicated.set(native.startOn(size), startable);
}

/** Queues a callback of the hub, in order with everything else that is ready. Errors are reported. */
export function runCallback(callback: (...args: never[]) => unknown, ...args: unknown[]): void {
  enqueue(new HubCallback(callback, args));
}

function expireEntry(entry: Expirable): void {
  entry.expire();
}

/** The slot of what is called when another thread has woken the hub; `WOKEN_SLOT` in crates/hub. */
const WOKEN_SLOT = 0x7fff_fffe;

let foreignWake: Expirable | null = null;

/** Sets what is called in the hub when another thread has woken it. */
export function onForeignWake(entry: Expirable): void {
  foreignWake = entry;
}

function fireTimer(slot: number): void {
  const entry = slot === WOKEN_SLOT ? foreignWake : takeExpired(slot);
  if (entry !== null) runInHub(expireEntry, [entry]);
}

// ---- parking

const NONE: Interruption = { error: undefined, sender: null, isKill: false, shields: 0 };

/** Before a call that may park: refuses where that is impossible, and throws what is due. */
function prepare(greenlet: Runnable, wait: Wait): void {
  armTimer();
  if (destroyed || !isParkSafe() || greenlet._trouble !== null) faceTrouble(greenlet, wait);
}

/** Why the current greenlet cannot be left where it is. */
function reasonNotToPark(greenlet: Runnable): string | undefined {
  if (isParkSafe()) return greenlet._trouble?.unparkable.at(-1);
  return 'here: the greenlet is inside an async scope that was opened by native code, which cannot be left in the middle.';
}

/** Whether the caller could wait here: it is a greenlet, and nothing is in the way. */
export function isParkable(): boolean {
  return current !== null && reasonNotToPark(current) === undefined;
}

/** The slow part of {@link prepare}. Whatever it throws, the wait is cancelled. */
function faceTrouble(greenlet: Runnable, wait: Wait): void {
  const refusal = destroyed ? new HubDestroyed() : refusalToPark(greenlet, wait);
  if (refusal !== null) {
    wait.cancel();
    throw refusal;
  }
  const trouble = troubleOf(greenlet);
  const due = trouble.pending.findIndex(({ shields }) => shields >= trouble.shields);
  const [interruption] = due < 0 ? [] : trouble.pending.splice(due, 1);
  if (interruption !== undefined) {
    wait.cancel();
    throw noteThrown(trouble, interruption);
  }
  if (trouble.survivedKill !== null) {
    const { error } = trouble.survivedKill;
    trouble.survivedKill = null;
    // Not at once: the wait may be in a queue already, and a listener could hand something to it.
    runCallback(emitKillIgnored, greenlet as Greenlet<unknown> | RawGreenlet, error);
  }
}

function refusalToPark(greenlet: Runnable, wait: Wait): Error | null {
  if (greenlet._trouble !== null && greenlet._trouble.refusal !== null) return greenlet._trouble.refusal;
  const reason = reasonNotToPark(greenlet);
  return reason === undefined
    ? null
    : new BlockingSwitchOutError(`parking in ${wait.describe()} is not possible ${reason}`);
}

function emitKillIgnored(greenlet: Greenlet<unknown> | RawGreenlet, error: unknown): void {
  hub.emit('killIgnored', greenlet, error);
}

function troubleOf(greenlet: Runnable): Trouble {
  return (greenlet._trouble ??= new Trouble());
}

function noteThrown(trouble: Trouble, interruption: Interruption): unknown {
  const { error } = interruption;
  if (interruption.isKill) trouble.survivedKill = interruption;
  // Made by whoever kills, or long ago: what helps is where the greenlet was parked.
  if (error instanceof GreenstackError && Object.isExtensible(error))
    Error.captureStackTrace(error, noteThrown);
  return error;
}

/**
 * Begins a call of native code that may park by itself. Follow it by {@link afterNative}, whatever it returned.
 * Throws what is due to the greenlet instead.
 */
export function beforeNative(call: string, wait: Wait): Context {
  const greenlet = requireGreenlet(call);
  prepare(greenlet, wait);
  greenlet._wait = wait;
  if (observer !== null) observer.leave(greenlet, wait);
  return saveContext();
}

/** Ends what {@link beforeNative} began. If the call was interrupted, `throwInterruption` has to follow. */
export function afterNative(greenlet: Runnable, saved: Context): void {
  current = greenlet;
  greenlet._wait = null;
  restoreContext(saved);
  if (observer !== null) observer.goOn(greenlet, false);
}

/** Throws the error that has ended the greenlet's call. */
export function throwInterruption(greenlet: Runnable): never {
  const trouble = troubleOf(greenlet);
  const interruption = trouble.interruption ?? NONE;
  trouble.interruption = null;
  throw noteThrown(trouble, interruption);
}

/**
 * Parks the current greenlet until {@link wake}.
 *
 * @param call - the call that waits, for errors
 * @param wait - what it waits for
 * @param timeoutMs - at the most this long, in ms; negative: for ever
 * @param referenced - whether the timeout keeps the process alive
 * @returns `false` if the timeout passed first; then the wait has been cancelled
 * @throws whatever interrupts the greenlet; then the wait has been cancelled too
 */
export function park(call: string, wait: Wait, timeoutMs = -1, referenced = true): boolean {
  const greenlet = requireGreenlet(call);
  prepare(greenlet, wait);
  greenlet._wait = wait;
  if (observer !== null) observer.leave(greenlet, wait);
  const saved = saveContext();
  const cause = timeoutMs < 0 ? parkNatively() : parkNativelyFor(timeoutMs, referenced);
  current = greenlet;
  restoreContext(saved);
  if (observer !== null) observer.goOn(greenlet, false);
  if (cause === undefined) return true;
  if (cause === Cause.Interrupted) throwInterruption(greenlet);
  greenlet._wait = null;
  wait.cancel();
  return false;
}

const yielding = plainWait('sleep(0)');

/**
 * Lets everybody else who is ready run first. The greenlet is not parked but ready meanwhile: an error that comes is
 * thrown when it goes on.
 */
export function yieldNow(call: string): void {
  const greenlet = requireGreenlet(call);
  prepare(greenlet, yielding);
  if (observer !== null) observer.leave(greenlet, yielding);
  const saved = saveContext();
  yieldNatively();
  current = greenlet;
  restoreContext(saved);
  if (observer !== null) observer.goOn(greenlet, true);
  if (greenlet._trouble !== null) faceTrouble(greenlet, yielding);
}

// ---- fibers

/** The fiber that is being started. */
let starting: Runnable | null = null;

/** In a frame of its own, as {@link beginNext}. */
function startFiber(stackId: number): void {
  const fiber = starting as Runnable;
  starting = null;
  takeStack(fiber, stackId);
  fiber._begin(stackId);
}

/** Why the current stack must not be left, not even for a fiber that gives back to it; `undefined`: it may. */
export function reasonNotToEnter(): string | undefined {
  const unparkable = current === null ? plainUnparkable : current._trouble?.unparkable;
  return unparkable?.at(-1);
}

/** Throws where the current stack must not be left. */
export function checkCanEnter(): void {
  const reason = reasonNotToEnter();
  if (reason !== undefined) throw new BlockingSwitchOutError(`running a fiber is not possible ${reason}`);
}

/**
 * Enters the stack of a fiber, or starts it or a greenlet that is scheduled; from anywhere, the hub included, unless there is
 * a {@link reasonNotToEnter}. Returns when it has left its stack by {@link leaveFiber}, by parking, or by its end. It starts in the
 * async context of the caller.
 *
 * @returns whether a new stack was made
 * @throws if it has no stack and none can be had
 */
export function enterFiber(fiber: Runnable): boolean {
  const resumer = current;
  if (fiber._stackId < 0) {
    requireHub();
    if (!following) follow();
    starting = fiber;
  }
  fiber._wait = null;
  armTimer();
  const saved = resumer === null ? saveCallerContext() : saveContext();
  const lent = lendAsyncId();
  try {
    return enterNatively(fiber._stackId) === true;
  } finally {
    starting = null;
    takeAsyncIdBack(lent);
    current = resumer;
    restoreContext(saved);
    if (resumer === null) noteWork();
  }
}

/** Refuses, as {@link park} does, where the current greenlet cannot be left. Else {@link leaveFiber} has to follow. */
export function beforeLeaving(fiber: Runnable, wait: Wait): void {
  prepare(fiber, wait);
}

/**
 * Leaves the stack of the current fiber for whoever has entered it, the hub if nobody has. Returns when it is entered again,
 * or when it was interrupted: then {@link throwInterruption} has to follow.
 */
export function leaveFiber(fiber: Runnable, wait: Wait): void {
  fiber._wait = wait;
  if (observer !== null) observer.leave(fiber, wait);
  const saved = saveContext();
  leaveNatively();
  current = fiber;
  restoreContext(saved);
  if (observer !== null) observer.goOn(fiber, false);
}

/** From now on every park of a greenlet throws `error`. */
export function refuseParks(greenlet: Runnable, error: Error): void {
  troubleOf(greenlet).refusal = error;
}

/** Lets `watching` observe all switches of greenlets; `null`: nobody. */
export function observeSwitches(watching: SwitchObserver | null): void {
  observer = watching;
}

/**
 * Counts a wait that greenlets cannot end, such as for a promise: 1 when it begins, −1 when it is over. While there are
 * some, a virtual clock takes its time.
 */
export function awaitOutside(change: 1 | -1): void {
  outsideWaits += change;
}

/** Whether somebody waits for what greenlets cannot bring. */
export function isAwaitingOutside(): boolean {
  return outsideWaits > 0;
}

/** Makes a greenlet ready that is parked on `wait`. `false` if it is not, or not any more. */
export function wake(greenlet: Runnable, wait: Wait): boolean {
  if (greenlet._wait !== wait) return false;
  greenlet._wait = null;
  wakeNatively(greenlet._stackId);
  return true;
}

/** Throws `error` in a greenlet that has started: at once if it is parked, else at its next park. */
export function interrupt(greenlet: Runnable, error: unknown, options: InterruptOptions = {}): void {
  const { next = false, sender = null, isKill = false, shields = 0 } = options;
  const wait = greenlet._wait;
  const trouble = troubleOf(greenlet);
  const interruption: Interruption = { error, sender, isKill, shields };
  if (wait !== null && shields >= trouble.shields && trouble.interruption === null) {
    greenlet._wait = null;
    trouble.interruption = interruption;
    wait.cancel();
    native.interrupt(greenlet._stackId, next);
  } else {
    trouble.pending.push(interruption);
  }
}

/** Whether a kill is on its way to the greenlet and has not been thrown yet. */
export function isBeingKilled(greenlet: Runnable): boolean {
  const trouble = greenlet._trouble;
  if (trouble === null) return false;
  return [trouble.interruption, ...trouble.pending].some(
    (interruption) => interruption?.isKill === true && GreenletExit.is(interruption.error),
  );
}

/** How many `shield` calls the greenlet is in. */
export function shieldsOf(greenlet: Runnable): number {
  return greenlet._trouble?.shields ?? 0;
}

/** Takes back what `sender` has sent and the greenlet has not got yet. */
export function withdraw(greenlet: Runnable, sender: object): void {
  if (greenlet._trouble === null) return;
  const { pending } = greenlet._trouble;
  const index = pending.findIndex((interruption) => interruption.sender === sender);
  if (index >= 0) pending.splice(index, 1);
}

/** As `unparkable` of a greenlet, of plain code: it cannot park anyway, but run fibers. */
const plainUnparkable: string[] = [];

/**
 * Calls `fn` such that the current greenlet, if there is one, cannot park before it returns, and no fiber can be run.
 *
 * @param reason - ends the sentence "parking in … is not possible"
 */
export function withoutParking<T>(reason: string, fn: () => T): T {
  const unparkable = current === null ? plainUnparkable : troubleOf(current).unparkable;
  unparkable.push(reason);
  try {
    return fn();
  } finally {
    unparkable.pop();
  }
}

/**
 * Runs `fn` such that kills, timeouts and aborted signals of this greenlet wait until it has ended: they are thrown
 * at the first park after it. For what must not be left half done, such as a commit. Switches only if `fn` does.
 *
 * @returns what `fn` returns
 */
export function shield<T>(fn: () => T): T {
  checkFunction('shield()', fn);
  const greenlet = requireGreenlet('shield()');
  const trouble = troubleOf(greenlet);
  trouble.shields++;
  try {
    return fn();
  } finally {
    trouble.shields--;
  }
}

// ---- the hub

/** Counts of what a hub has in hand. */
export interface HubStats {
  /** Greenlets that have started and not ended. */
  greenlets: number;
  /** Those of them that are parked. */
  parked: number;
  /** Entries in the ready queue. */
  ready: number;
  /** Pending timers and deadlines. */
  timers: number;
  /** Open sockets. */
  sockets: number;
  /** Name lookups under way. */
  lookups: number;
  /** Stacks in use, those of idle runners included. */
  stacks: number;
  /** Runners: stacks that run greenlets or wait for some. */
  runners: number;
  /** Runners that wait for a greenlet to run. */
  idleRunners: number;
  /** How often a stack was entered since the hub was made. */
  switches: number;
}

/** A class of errors, abstract ones included. */
type ErrorClass = abstract new (...args: never[]) => unknown;

interface HubEvents {
  /** A greenlet has parked again after a kill was thrown in it, be it to clean up or because it caught it. */
  killIgnored: [greenlet: Greenlet<unknown> | RawGreenlet, error: unknown];
}

/** The hub of one thread: Node's own main stack, seen from greenlets. gevent: `gevent.hub.Hub`. */
export class Hub extends EventEmitter<HubEvents> {
  /** Errors that end a greenlet without being reported. gevent: `Hub.NOT_ERROR`. */
  readonly notError: Set<ErrorClass> = new Set([GreenletExit]);
  /** Errors that are thrown in the main greenlet of `run` rather than reported. gevent: `Hub.SYSTEM_ERROR`. */
  readonly systemError: Set<ErrorClass> = new Set([KeyboardInterrupt]);
  /** @internal */
  systemErrorTarget: ((error: unknown) => boolean) | null = null;
  /** @internal */
  waitUntilIdle: ((limits: Limits) => boolean) | null = null;
  #threadpool: ThreadPool | null = null;

  /** The thread pool for whoever has none of its own: made at its first use, and ended with the hub. gevent: `Hub.threadpool`. */
  get threadpool(): ThreadPool {
    if (destroyed) throw new HubDestroyed();
    if (this.#threadpool === null) {
      // Loaded when it is wanted: few programs do, and it knows the hub.
      const module = require('./threadpool.js') as typeof import('./threadpool.js');
      this.#threadpool = new module.ThreadPool();
    }
    return this.#threadpool;
  }

  /** What resolves names where no resolver is given: that of `getDefaultResolver()` of `greenstack/dns`. gevent: `Hub.resolver`. */
  get resolver(): Resolver {
    // Loaded when it is wanted, as it knows the hub.
    const module = require('./dns.js') as typeof import('./dns.js');
    return module.getDefaultResolver();
  }

  /**
   * The time of this hub, in ms: what `sleep` and all timeouts count in. That of `performance.now()`, unless a `VirtualClock`
   * of `greenstack/testing` has moved it. gevent: `loop.now`.
   */
  now(): number {
    return now();
  }

  /**
   * Reports an error that nobody has caught: of a greenlet, or of a callback of the hub. Prints it with the time and who
   * failed to stderr. Assign another function to report elsewhere; what that one throws is printed too.
   *
   * gevent: `Hub.handle_error`.
   */
  handleError(context: unknown, error: unknown): void {
    printError(() => nameOf(context), error);
  }

  /** @internal */
  report(context: unknown, error: unknown): void {
    const interrupted = current;
    current = null;
    try {
      if (isInstance(error, this.notError)) return;
      if (isInstance(error, this.systemError) && this.systemErrorTarget?.(error)) return;
      this.handleError(context, error);
    } catch (failure) {
      printError(() => nameOf(context), error);
      printError(() => nameOf(this.handleError), failure);
    } finally {
      current = interrupted;
    }
  }

  /**
   * Queues `callback` to be called in the hub, in order with everything else that is ready. It must not block. Never
   * switches. gevent: `loop.run_callback`.
   */
  runCallback<Args extends unknown[]>(callback: (...args: Args) => unknown, ...args: Args): void {
    checkFunction('runCallback()', callback);
    runCallback(callback, ...args);
  }

  /**
   * Waits until nothing is left that could wake anybody: no ready greenlet, timer, socket, promise or handle of Node's.
   * Switches. gevent: `Hub.join`.
   *
   * @param limits - how long, in ms, and what else may end the wait
   * @returns `false` if the timeout passed first
   */
  join(limits?: Limits): boolean {
    if (this.waitUntilIdle === null) throw new HubDestroyed();
    return this.waitUntilIdle(limits);
  }

  /**
   * Ends this hub: from now on every call that would park or spawn throws `HubDestroyed`. Greenlets that are parked get it
   * at their next park. For the end of a thread; calling it again does nothing. Never switches. gevent: `Hub.destroy`.
   */
  destroy(): void {
    destroyed = true;
    this.#threadpool?.kill({ block: false });
    this.removeAllListeners();
  }

  /** Counts of what the hub has in hand, for tests and monitoring. */
  stats(): HubStats {
    armTimer();
    const [ready, timers, sockets, lookups, stacks, runners, idleRunners, switches] = native.statistics();
    const greenlets = startedRunnables();
    return {
      greenlets: greenlets.length,
      parked: greenlets.filter((greenlet) => greenlet._wait !== null).length,
      ready,
      timers,
      sockets,
      lookups,
      stacks,
      runners,
      idleRunners,
      switches,
    };
  }
}

function isInstance(error: unknown, classes: Iterable<ErrorClass>): boolean {
  for (const errorClass of classes) if (error instanceof errorClass) return true;
  return false;
}

function nameOf(context: unknown): string {
  if (context instanceof Runnable) return context._describe();
  return typeof context === 'function' ? `callback ${context.name || '(anonymous)'}` : String(context);
}

const hub = new Hub();

/** The hub of this thread. gevent: `gevent.get_hub`. */
export function getHub(): Hub {
  return hub;
}

/** Throws if the hub of this thread has been destroyed. */
export function requireHub(): void {
  if (destroyed) throw new HubDestroyed();
}

configListeners.push((name) => {
  if (name === 'switchInterval') native.setSwitchInterval(config.switchInterval);
  if (name === 'stackSize') native.setStackSize(config.stackSize);
});

/** Keeps the process alive until it is called with −1 as often as with 1. */
export function keepAlive(change: 1 | -1): void {
  native.keepAlive(change);
}

start();
