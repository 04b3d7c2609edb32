/** What happens in one run: steps that fast-check makes up. */
import fc from 'fast-check';

/** An argument: a value, or an item of some priority that there has not been before. */
export type Argument = number | boolean | { readonly priority: number };

/** A call of a method. */
export interface Call {
  readonly name: string;
  readonly args: readonly Argument[];
}

const PRIORITY = 1000;

/** The item that is made in a step. */
export function itemOf(priority: number, step: number): number {
  return priority * PRIORITY + step;
}

/** The part of an item that a `PriorityQueue` looks at. */
export function priorityOf(item: number): number {
  return Math.floor(item / PRIORITY);
}

/** How long a call may wait: `forever`; some ms; not at all, in two spellings; or until its own `Timeout` is made to expire. */
export type OwnLimit = 'forever' | 'zero' | 'noBlock' | 'timeout' | number;

/** The limits that a call is made with. */
export interface LimitsPlan {
  readonly own: OwnLimit;
  /** With a signal, which a later step may abort. */
  readonly signal: boolean;
  /** Inside a `Timeout`, which a later step may make expire. */
  readonly outer: boolean;
}

/** One step. Greenlets are numbered among those to which the step can happen, so that hardly a step is in vain. */
export type Step =
  | { readonly kind: 'call'; readonly who: number; readonly call: Call; readonly limits: LimitsPlan }
  /** A callback in the hub, in order with everything that is ready. */
  | { readonly kind: 'callback'; readonly call: Call; readonly own: OwnLimit }
  /** A callback in the hub after some ms. */
  | { readonly kind: 'later'; readonly call: Call; readonly own: OwnLimit; readonly ms: number }
  /** Here and now, by the greenlet that drives the run, and without waiting. */
  | { readonly kind: 'now'; readonly call: Call }
  | { readonly kind: 'link' | 'unlink'; readonly id: number }
  | { readonly kind: 'kill' | 'abort' | 'expire' | 'expireOuter'; readonly who: number }
  /** Lets those run who are ready. */
  | { readonly kind: 'pass' }
  /** Lets everybody run. */
  | { readonly kind: 'settle' }
  /** Lets time pass, and everybody run. */
  | { readonly kind: 'advance'; readonly ms: number };

/** A method to be called. */
export interface Operation {
  readonly name: string;
  /** Arguments before the limits. */
  readonly args?: fc.Arbitrary<readonly Argument[]>;
  /** Whether it takes limits (default: no). `'always'`: it may wait although it does not. */
  readonly waits?: boolean | 'always';
  /** How often compared to others (default: 1). */
  readonly weight?: number;
}

const who = fc.nat(11);
const linkId = fc.nat(2);
/** Few different times, so that many are the same. */
const someMs = fc.integer({ min: 1, max: 3 });

const limitsPlan: fc.Arbitrary<LimitsPlan> = fc.record({
  own: fc.oneof(
    { arbitrary: fc.constant<OwnLimit>('forever'), weight: 5 },
    { arbitrary: fc.constant<OwnLimit>('timeout'), weight: 3 },
    { arbitrary: someMs, weight: 2 },
    { arbitrary: fc.constantFrom<OwnLimit>('zero', 'noBlock'), weight: 1 },
  ),
  signal: fc.oneof({ arbitrary: fc.constant(false), weight: 2 }, { arbitrary: fc.constant(true), weight: 1 }),
  outer: fc.oneof({ arbitrary: fc.constant(false), weight: 2 }, { arbitrary: fc.constant(true), weight: 1 }),
});

const ownInHub = fc.constantFrom<OwnLimit>('forever', 'zero', 'noBlock');

function callsOf(operations: readonly Operation[]): fc.Arbitrary<Call> {
  const weighted = operations.map(({ name, args, weight = 1 }) => ({
    arbitrary: fc.record({ name: fc.constant(name), args: args ?? fc.constant<readonly Argument[]>([]) }),
    weight,
  }));
  return fc.oneof(...weighted);
}

/** Steps of a run of what has these operations. */
export function stepsOf(operations: readonly Operation[]): fc.Arbitrary<Step[]> {
  const call = callsOf(operations);
  const callNow = callsOf(operations.filter(({ waits }) => waits !== 'always'));
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      arbitrary: fc.record({ kind: fc.constant('call' as const), who, call, limits: limitsPlan }),
      weight: 8,
    },
    { arbitrary: fc.record({ kind: fc.constant('now' as const), call: callNow }), weight: 4 },
    {
      arbitrary: fc.record({ kind: fc.constant('callback' as const), call, own: ownInHub }),
      weight: 2,
    },
    {
      arbitrary: fc.record({ kind: fc.constant('later' as const), call, own: ownInHub, ms: someMs }),
      weight: 1,
    },
    {
      arbitrary: fc.record({ kind: fc.constantFrom('kill' as const, 'abort', 'expire', 'expireOuter'), who }),
      weight: 5,
    },
    {
      arbitrary: fc.record({ kind: fc.constantFrom('link' as const, 'link', 'unlink'), id: linkId }),
      weight: 1,
    },
    { arbitrary: fc.constantFrom<Step>({ kind: 'pass' }, { kind: 'settle' }), weight: 6 },
    { arbitrary: fc.record({ kind: fc.constant('advance' as const), ms: someMs }), weight: 2 },
  );
  return fc.array(step, { maxLength: 60, size: 'max' });
}
