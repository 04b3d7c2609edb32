/** Runs a script with the library and with the model at once, and compares after each step. */
import { deepStrictEqual } from 'node:assert';
import {
  getHub,
  type Greenlet,
  GreenletExit,
  GreenstackError,
  sleep,
  spawn,
  Timeout,
  Waiter,
} from 'greenstack';
import type { VirtualClock } from 'greenstack/testing';

import { ManualTimeout } from './manual-timeout.js';
import { type Call, itemOf, type LimitsPlan, type Operation, type OwnLimit, type Step } from './script.js';
import {
  type Caller,
  Failure,
  Kill,
  type Links,
  ModelGreenlet,
  ModelHub,
  type ModelLimits,
  type ModelSignal,
  Place,
  type Running,
  World,
} from './world.js';

/** What a model has beside the methods that are called by name. */
export interface Model {
  /** The same as {@link Subject.observe} tells of the real thing. */
  observe(): unknown;
  readonly isReady?: boolean;
  readonly links?: Links;
}

/** What can be linked, if it can. */
interface Real {
  readonly ready?: boolean;
  rawlink?(callback: () => void): void;
  unlink?(callback: () => void): void;
}

/** Something to be compared with its model. */
export interface Subject<R extends object> {
  readonly real: R;
  /** @param world - that of the run */
  model(world: World): Model;
  /** What can be seen of it from outside, those who wait included. */
  observe(real: R): unknown;
  /** Called by each greenlet as it ends, such that nobody else waits for it. */
  letGo?(real: R): void;
}

/** An error of the script's own. */
export class Thrown extends Error {}

/** What both sides write down of a value. */
function show(value: unknown): string {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
}

function showError(error: unknown): string {
  if (error instanceof Thrown) return error.message;
  if (error instanceof ManualTimeout) return error.label;
  if (error instanceof GreenstackError && error.name === 'GreenstackError') return error.code;
  return error instanceof Error ? error.name : String(error);
}

function showFailure(failure: unknown): string {
  if (failure instanceof Failure) return failure.shown;
  throw failure;
}

/** One call, on both sides. */
class Request {
  readonly text: string;
  readonly controller: AbortController | null;
  readonly ownTimeout: ManualTimeout | null;
  readonly outerTimeout: ManualTimeout | null;
  readonly signal: ModelSignal | null;
  readonly own: Failure | null;
  readonly outer: Failure | null;

  /** @param step - the number of the step, by which errors are told from one another */
  constructor(
    readonly name: string,
    readonly args: readonly (number | boolean)[],
    readonly plan: LimitsPlan,
    step: number,
    readonly takesLimits: boolean,
  ) {
    const has = (wanted: boolean, label: string) => (wanted && takesLimits ? `${label} ${step}` : null);
    const own = has(plan.own === 'timeout', 'own timeout');
    const outer = plan.outer ? `outer timeout ${step}` : null;
    const reason = has(plan.signal, 'abort');
    this.text = `${name}(${args.join(', ')})`;
    this.controller = reason === null ? null : new AbortController();
    this.signal = reason === null ? null : { reason: new Failure(reason), aborted: false, listener: null };
    this.ownTimeout = own === null ? null : new ManualTimeout(own);
    this.own = own === null ? null : new Failure(own);
    this.outerTimeout = outer === null ? null : new ManualTimeout(outer);
    this.outer = outer === null ? null : new Failure(outer);
  }

  get modelLimits(): ModelLimits {
    const { own } = this.plan;
    const isImmediate = own === 'zero' || own === 'noBlock';
    const timeout = typeof own === 'number' ? own : null;
    return { timeout: isImmediate ? 0 : timeout, own: this.own, signal: this.signal };
  }

  /** The arguments of the real call. */
  get realArguments(): unknown[] {
    if (!this.takesLimits) return [...this.args];
    const { own } = this.plan;
    const limits = {
      timeout: typeof own === 'number' ? own : own === 'zero' ? 0 : this.ownTimeout,
      block: own !== 'noBlock',
      signal: this.controller?.signal,
    };
    return [...this.args, limits];
  }

  abort(): void {
    if (this.signal === null) return;
    this.controller!.abort(new Thrown(this.signal.reason.shown));
    this.signal.aborted = true;
    this.signal.listener?.();
  }
}

/** Calls back in the hub after some time, in order with the deadlines of greenlets. */
class Alarm extends Timeout {
  constructor(
    ms: number,
    private readonly callback: () => void,
  ) {
    super(ms);
  }

  protected override onExpiration(): void {
    this.callback();
  }
}

/** Those that never wait return their result at once. */
type ModelMethod = (caller: Caller, limits: ModelLimits, ...args: readonly unknown[]) => unknown;

/** The two forms of a greenlet that makes the calls it is given, one after another, and survives whatever is thrown in it. */
class Actor {
  readonly greenlet: Greenlet<void>;
  readonly #mailbox = new Waiter<Request>();
  readonly model: ModelGreenlet;
  readonly #modelMailbox: Place;
  /** The call that the model's greenlet has been given and has not ended. */
  request: Request | null = null;
  /** Whether the model's greenlet is in that call. */
  isCalling = false;

  constructor(
    private readonly run: Run,
    readonly name: string,
  ) {
    this.greenlet = spawn(() => this.#act());
    this.model = new ModelGreenlet(run.world, name);
    this.#modelMailbox = new Place(this.model, []);
    this.model.start(this.#actInModel());
  }

  /** Whether it can be given a call. */
  get isAtRest(): boolean {
    return this.model.place === this.#modelMailbox;
  }

  give(request: Request): void {
    this.request = request;
    this.#modelMailbox.notify();
    this.#mailbox.switch(request);
  }

  #act(): void {
    while (!this.run.isStopping) {
      let request: Request;
      try {
        request = this.#mailbox.get();
      } catch (error) {
        if (!(error instanceof Thrown || error instanceof GreenletExit)) throw error;
        this.run.note(`${this.name} at rest: ${showError(error)}`);
        continue;
      }
      this.#mailbox.clear();
      this.run.note(`${this.name} ${request.text}: ${this.run.outcomeOf(request)}`);
    }
    this.run.letGo();
  }

  *#actInModel(): Running<void> {
    const { world } = this.run;
    for (;;) {
      try {
        yield* this.model.park(this.#modelMailbox, null);
      } catch (failure) {
        world.log.push(`${this.name} at rest: ${showFailure(failure)}`);
        continue;
      }
      const request = this.request!;
      this.isCalling = true;
      const outcome = yield* this.run.modelOutcomeOf(request, this.model);
      this.isCalling = false;
      this.request = null;
      world.log.push(`${this.name} ${request.text}: ${outcome}`);
    }
  }
}

const ACTORS = 4;

/** One run of a script. */
class Run {
  readonly world = new World();
  isStopping = false;
  readonly #log: string[] = [];
  readonly #model: Model;
  readonly #actors: Actor[];
  readonly #hub = new ModelHub(this.world, 'hub');
  readonly #driver = new ModelGreenlet(this.world, 'driver');
  readonly #callbacks: Array<() => void>;
  readonly #alarms: Alarm[] = [];
  /** What greenlets were given so far. */
  readonly #requests: Request[] = [];
  #step = 0;
  /** How much of the logs has been compared. */
  #compared = 0;

  constructor(
    private readonly subject: Subject<object>,
    private readonly waiting: ReadonlySet<string>,
    private readonly clock: VirtualClock,
  ) {
    this.#model = subject.model(this.world);
    this.#actors = Array.from({ length: ACTORS }, (_, index) => new Actor(this, `greenlet ${index}`));
    this.#callbacks = [0, 1, 2].map((id) => () => this.note(`link ${id}`));
    getHub().on('killIgnored', this.#onKillIgnored);
  }

  readonly #onKillIgnored = (_greenlet: unknown, error: unknown): void => {
    this.note(`kill ignored: ${showError(error)}`);
  };

  note(event: string): void {
    this.#log.push(event);
  }

  letGo(): void {
    this.subject.letGo?.(this.subject.real);
  }

  /** Makes the real call, in a greenlet or in the hub. */
  outcomeOf(request: Request): string {
    const { ownTimeout, outerTimeout } = request;
    const real = this.subject.real as Record<string, (...args: unknown[]) => unknown>;
    const call = () => real[request.name]!(...request.realArguments);
    ownTimeout?.start();
    try {
      return show(outerTimeout === null ? call() : outerTimeout.run(call));
    } catch (error) {
      return showError(error);
    } finally {
      ownTimeout?.cancel();
    }
  }

  *modelOutcomeOf(request: Request, caller: Caller): Running<string> {
    const { name, args, own, outer } = request;
    const method = (this.#model as unknown as Record<string, ModelMethod>)[name]!;
    try {
      const result = method.call(this.#model, caller, request.modelLimits, ...args);
      return show(isRunning(result) ? yield* result : result);
    } catch (failure) {
      return showFailure(failure);
    } finally {
      for (const failure of [own, outer]) if (failure !== null) caller.withdraw(failure);
    }
  }

  /** Does one step on both sides. */
  take(step: Step): void {
    this.#step++;
    switch (step.kind) {
      case 'call':
        this.#call(step.who, step.call, step.limits);
        break;
      case 'callback':
        this.#callBack(step.call, step.own);
        break;
      case 'later':
        this.#callLater(step.call, step.own, step.ms);
        break;
      case 'now':
        this.#callNow(step.call);
        break;
      case 'link':
        this.#link(step.id);
        break;
      case 'unlink':
        this.#unlink(step.id);
        break;
      case 'pass':
        this.world.pass();
        sleep(0);
        break;
      case 'settle':
        this.settle();
        break;
      case 'advance':
        this.clock.advance(step.ms);
        this.world.advance(step.ms);
        break;
      default:
        this.#interrupt(step.kind, step.who);
    }
    this.#compare();
  }

  #request(call: Call, limits: LimitsPlan): Request {
    const args = call.args.map((arg) => (typeof arg === 'object' ? itemOf(arg.priority, this.#step) : arg));
    return new Request(call.name, args, limits, this.#step, this.waiting.has(call.name));
  }

  #call(who: number, call: Call, limits: LimitsPlan): void {
    const resting = this.#actors.filter(({ isAtRest }) => isAtRest);
    const request = this.#request(call, limits);
    this.#requests.push(request);
    resting[who % resting.length]?.give(request);
  }

  #callBack(call: Call, own: OwnLimit): void {
    const [callback, modelCallback] = this.#callInHub(call, own);
    getHub().runCallback(callback);
    this.world.enqueue(modelCallback);
  }

  #callLater(call: Call, own: OwnLimit, ms: number): void {
    const [callback, modelCallback] = this.#callInHub(call, own);
    const alarm = new Alarm(ms, callback);
    alarm.start();
    this.#alarms.push(alarm);
    this.world.after(ms, () => this.world.enqueue(modelCallback));
  }

  /** A call in the hub, and the same in the model. */
  #callInHub(call: Call, own: OwnLimit): [() => void, () => void] {
    const request = this.#request(call, { own, signal: false, outer: false });
    const note = (outcome: string) => `hub ${request.text}: ${outcome}`;
    return [
      () => this.note(note(this.outcomeOf(request))),
      () => this.world.log.push(note(atOnce(this.modelOutcomeOf(request, this.#hub)))),
    ];
  }

  #callNow(call: Call): void {
    const request = this.#request(call, { own: 'zero', signal: false, outer: false });
    this.note(`driver ${request.text}: ${this.outcomeOf(request)}`);
    this.world.log.push(`driver ${request.text}: ${atOnce(this.modelOutcomeOf(request, this.#driver))}`);
  }

  #link(id: number): void {
    if (this.#model.links === undefined) return;
    (this.subject.real as Real).rawlink!(this.#callbacks[id]!);
    this.#model.links.add(id, this.#model.isReady!);
  }

  #unlink(id: number): void {
    if (this.#model.links === undefined) return;
    (this.subject.real as Real).unlink!(this.#callbacks[id]!);
    this.#model.links.remove(id);
  }

  #interrupt(kind: 'kill' | 'abort' | 'expire' | 'expireOuter', who: number): void {
    if (kind === 'kill') {
      this.#kill(this.#actors[who % ACTORS]!);
      return;
    }
    if (kind === 'abort') {
      this.#abort(who);
      return;
    }
    const able = this.#actors.filter(
      ({ request, isCalling }) => isCalling && (kind === 'expire' ? request!.own : request!.outer) !== null,
    );
    const actor = able[who % able.length];
    if (actor === undefined) return;
    const { own, ownTimeout, outer, outerTimeout } = actor.request!;
    if (kind === 'expire') expire(actor, ownTimeout!, own!);
    else expire(actor, outerTimeout!, outer!);
  }

  /** Aborts the signal of a call that has not ended; if there is none, of one that has. */
  #abort(who: number): void {
    const abortable = this.#requests.filter(({ signal }) => signal !== null && !signal.aborted);
    const underWay = abortable.filter((request) => this.#actors.some((actor) => actor.request === request));
    const requests = underWay.length > 0 ? underWay : abortable;
    requests[who % requests.length]?.abort();
  }

  #kill(actor: Actor): void {
    const label = `kill ${this.#step}`;
    actor.greenlet.kill(new Thrown(label), { block: false });
    actor.model.interrupt(new Kill(label));
  }

  /** Lets everybody run. Then nobody may be ready. */
  settle(): void {
    for (let passes = this.world.settle(); passes > 0; passes--) sleep(0);
    deepStrictEqual(getHub().stats().ready, 0, 'somebody is ready who should not be');
  }

  #compare(): void {
    const { log } = this.world;
    deepStrictEqual(this.#log.slice(this.#compared), log.slice(this.#compared), 'what happened');
    this.#compared = log.length;
    deepStrictEqual(this.subject.observe(this.subject.real), this.#model.observe(), 'its state');
    deepStrictEqual((this.subject.real as Real).ready, this.#model.isReady, 'ready');
  }

  /** Kills who waits, and compares: nobody is left. */
  killWaiting(): void {
    this.#step++;
    this.settle();
    for (const actor of this.#actors) if (!actor.isAtRest) this.#kill(actor);
    this.settle();
    for (const id of this.#callbacks.keys()) this.#unlink(id);
    this.#compare();
  }

  /** Ends all greenlets, whatever state they are in. */
  stop(): void {
    this.isStopping = true;
    for (const alarm of this.#alarms) alarm.close();
    this.letGo();
    getHub().runCallback(() => this.letGo());
    for (let round = 0; round < 20 && this.#alive.length > 0; round++) {
      for (const { greenlet } of this.#alive) greenlet.kill(undefined, { block: false });
      sleep(0);
    }
    for (const id of this.#callbacks.keys()) this.#unlink(id);
    sleep(0);
    getHub().off('killIgnored', this.#onKillIgnored);
  }

  get #alive(): Actor[] {
    return this.#actors.filter(({ greenlet }) => !greenlet.dead);
  }

  /** What happened on both sides, for errors. */
  get history(): string {
    const listed = (log: string[]) => log.map((event) => `\n  ${event}`).join('');
    return `What happened:${listed(this.#log)}\nand in the model:${listed(this.world.log)}`;
  }
}

function expire(actor: Actor, timeout: ManualTimeout, failure: Failure): void {
  if (timeout.hasExpired) return;
  timeout.fire();
  actor.model.interrupt(failure);
}

function isRunning(result: unknown): result is Running<unknown> {
  return typeof result === 'object' && result !== null && 'next' in result;
}

/** Runs what cannot wait. */
function atOnce<T>(running: Running<T>): T {
  const { done, value } = running.next();
  if (done !== true) throw new Error('the model waits where nobody can');
  return value;
}

/** What a run may not leave behind. */
function leftovers(): object {
  const { greenlets, parked, timers, ready } = getHub().stats();
  return { greenlets, parked, timers, ready };
}

/** Runs a script, and throws at the first difference between the library and the model. Only the script moves `clock`. */
export function drive<R extends object>(
  subject: Subject<R>,
  operations: readonly Operation[],
  steps: readonly Step[],
  clock: VirtualClock,
): void {
  const before = leftovers();
  const waiting = new Set(operations.filter(({ waits }) => waits === true).map(({ name }) => name));
  const run = new Run(subject as unknown as Subject<object>, waiting, clock);
  try {
    run.settle();
    for (const step of steps) run.take(step);
    run.killWaiting();
  } catch (error) {
    const { history } = run;
    run.stop();
    throw new Error(`${(error as Error).message}\n${history}`, { cause: error });
  }
  run.stop();
  deepStrictEqual(leftovers(), before, 'the run left something behind');
}
