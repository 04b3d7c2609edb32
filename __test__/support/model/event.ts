/** Models of `greenstack/event`. */
import {
  type Caller,
  Failure,
  isImmediate,
  Links,
  type ModelLimits,
  notifyAll,
  type Running,
  type Waiting,
  waitIn,
  type World,
} from './world.js';

export class EventModel {
  #isSet = false;
  readonly #waiting: Waiting[] = [];
  /** Who is in `wait` and has not gone on, woken or not. */
  #inside = 0;
  readonly links: Links;

  constructor(world: World) {
    this.links = new Links(world, this.#waiting);
  }

  set(): void {
    if (this.#isSet) return;
    this.#isSet = true;
    notifyAll(this.#waiting);
  }

  clear(): void {
    this.#isSet = false;
  }

  *wait(caller: Caller, limits: ModelLimits): Running<boolean> {
    if (this.#isSet) {
      if (this.#inside > 0 && !isImmediate(limits)) yield* this.#letWokenGoFirst(caller, limits);
      return true;
    }
    if (isImmediate(limits)) return false;
    caller.requireGreenlet();
    this.#inside++;
    try {
      return yield* waitIn(caller, limits, this.#waiting);
    } finally {
      this.#inside--;
    }
  }

  *#letWokenGoFirst(caller: Caller, limits: ModelLimits): Running<void> {
    try {
      yield* caller.yieldNow();
    } catch (failure) {
      if (failure !== limits.own) throw failure;
    }
  }

  get isReady(): boolean {
    return this.#isSet;
  }

  observe(): unknown {
    return { isSet: this.#isSet, waiting: this.#waiting.length };
  }
}

export class AsyncResultModel {
  #outcome: { readonly kind: 'value' | 'error' | 'cancelled'; readonly content: number } | null = null;
  readonly #waiting: Waiting[] = [];
  readonly links: Links;

  constructor(world: World) {
    this.links = new Links(world, this.#waiting);
  }

  #settle(kind: 'value' | 'error' | 'cancelled', content: number): void {
    if (this.#outcome?.kind === 'cancelled') return;
    this.#outcome = { kind, content };
    notifyAll(this.#waiting);
  }

  set(_caller: Caller, _limits: ModelLimits, value: number): void {
    this.#settle('value', value);
  }

  setError(_caller: Caller, _limits: ModelLimits, error: number): void {
    this.#settle('error', error);
  }

  cancel(): boolean {
    if (this.#outcome === null) this.#settle('cancelled', 0);
    return this.#outcome!.kind === 'cancelled';
  }

  *#isOver(caller: Caller, limits: ModelLimits): Running<boolean> {
    if (this.#outcome !== null) return true;
    if (isImmediate(limits)) return false;
    return yield* waitIn(caller, limits, this.#waiting);
  }

  *get(caller: Caller, limits: ModelLimits): Running<number> {
    if (!(yield* this.#isOver(caller, limits))) throw limits.own ?? new Failure('Timeout');
    const { kind, content } = this.#outcome!;
    if (kind === 'error') throw new Failure(`error ${content}`);
    if (kind === 'cancelled') throw new Failure('Cancelled');
    return content;
  }

  *getNowait(caller: Caller): Running<number> {
    return yield* this.get(caller, { timeout: 0, own: null, signal: null });
  }

  *wait(caller: Caller, limits: ModelLimits): Running<number | undefined> {
    yield* this.#isOver(caller, limits);
    return this.#outcome?.kind === 'value' ? this.#outcome.content : undefined;
  }

  get isReady(): boolean {
    return this.#outcome !== null;
  }

  observe(): unknown {
    return {
      ready: this.#outcome !== null,
      cancelled: this.#outcome?.kind === 'cancelled',
      value: this.#outcome?.kind === 'value' ? this.#outcome.content : null,
      waiting: this.#waiting.length,
    };
  }
}
