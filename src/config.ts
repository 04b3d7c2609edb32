/** Settings. Each can also be given by an environment variable, which is read once, at load. */
import { availableParallelism } from 'node:os';

import { describe } from './checks.js';

const KIB = 1024;
/** What native code needs below V8's own limit; `NATIVE_RESERVE` in crates/v8-stacks. */
const NATIVE_RESERVE = 64 * KIB;
const MIN_STACK_SIZE = 128 * KIB;
const MAX_STACK_SIZE = 1024 * KIB * KIB;

interface Setting<T> {
  readonly variable: string;
  readonly value: T;
  check(name: string, value: unknown): T;
}

/** Throws unless `value` is a number from `least` to `most`. */
function numberWithin(least: number, most: number, unit: string) {
  return (name: string, value: unknown): number => {
    if (typeof value !== 'number' || Number.isNaN(value)) {
      throw new TypeError(`${name} must be a number of ${unit}, got ${typeof value} ${String(value)}`);
    }
    if (value < least || value > most) {
      throw new RangeError(`${name} must be from ${least} to ${most} ${unit}, got ${value}`);
    }
    return value;
  };
}

/** As {@link numberWithin}, for whole numbers. */
function wholeWithin(least: number, most: number, unit: string) {
  const check = numberWithin(least, most, unit);
  return (name: string, value: unknown): number => {
    const number = check(name, value);
    if (!Number.isInteger(number)) {
      throw new RangeError(`${name} must be a whole number of ${unit}, got ${number}`);
    }
    return number;
  };
}

function flag(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') {
    throw new TypeError(`${name} must be true or false, got ${typeof value} ${String(value)}`);
  }
  return value;
}

function addresses(name: string, value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) {
    throw new TypeError(`${name} must be an array of strings such as '127.0.0.1:53'`);
  }
  return Object.freeze([...(value as string[])]);
}

/** Throws unless `value` is one of some words. */
function oneOf<Word extends string>(...words: Word[]) {
  return (name: string, value: unknown): Word => {
    const word = words.find((known) => known === value);
    if (word === undefined) {
      throw new TypeError(`${name} must be one of ${words.join(', ')}, got ${describe(value)}`);
    }
    return word;
  };
}

/** As {@link oneOf}, for a list of them. */
function someOf<Word extends string>(...words: Word[]) {
  const check = oneOf(...words);
  return (name: string, value: unknown): readonly Word[] => {
    if (!Array.isArray(value) || value.length === 0) {
      throw new TypeError(`${name} must be an array of ${words.join(' or ')}, got ${describe(value)}`);
    }
    return Object.freeze(value.map((word) => check(name, word)));
  };
}

/** Checks in which order addresses are returned. */
export const checkOrder = oneOf('sorted', 'ipv4first', 'ipv6first', 'verbatim');

/** Checks what resolves names. */
export const checkResolverKind = oneOf('hickory', 'system');

/** Checks a stack size in bytes. */
export const checkStackSize = wholeWithin(MIN_STACK_SIZE, MAX_STACK_SIZE, 'bytes');

/** Checks how many worker threads a pool may have. */
export const checkThreads = wholeWithin(1, 1024, 'threads');

/** Room for what V8 lets the main stack recurse: 984 KiB, or what `--stack-size` says. */
function defaultStackSize(): number {
  const option = process.execArgv
    .map((argument) => /^--stack[-_]size=(\d+)$/.exec(argument)?.[1])
    .find(Boolean);
  const kib = Math.max(984, Number(option ?? 0));
  return Math.min(kib * KIB + NATIVE_RESERVE, MAX_STACK_SIZE);
}

const settings = {
  /** Usable bytes of a greenlet's stack. Takes effect for stacks made later; native code adds a guard page. */
  stackSize: { variable: 'STACK_SIZE', value: defaultStackSize(), check: checkStackSize },
  /** Finished stacks that are kept ready for the next greenlets. Read once, at load. */
  idleStacks: { variable: 'IDLE_STACKS', value: 256, check: wholeWithin(0, 1_000_000, 'stacks') },
  /** How long greenlets may run, in ms, before Node's own callbacks get their turn. */
  switchInterval: { variable: 'SWITCH_INTERVAL', value: 1, check: numberWithin(0, 1000, 'ms') },
  /** Whether each greenlet knows who spawned it. */
  trackGreenletTree: { variable: 'TRACK_GREENLET_TREE', value: true, check: flag },
  /** Frames kept of where a greenlet was spawned. 0 keeps none; capturing them costs some microseconds each. */
  spawningStackLimit: { variable: 'SPAWNING_STACK_LIMIT', value: 0, check: wholeWithin(0, 200, 'frames') },
  /** How long greenlets may take, in ms, to unwind after a signal has ended `run`. */
  shutdownTimeout: { variable: 'SHUTDOWN_TIMEOUT', value: 5000, check: numberWithin(0, 3_600_000, 'ms') },
  /** What the default resolver is: the first of these that can be made. */
  resolver: {
    variable: 'RESOLVER',
    value: ['hickory'] as ReadonlyArray<'hickory' | 'system'>,
    check: someOf('hickory', 'system'),
  },
  /** Nameservers of the default resolver; none means what the system is configured for. */
  resolverNameservers: { variable: 'RESOLVER_NAMESERVERS', value: [] as readonly string[], check: addresses },
  /** How long the default resolver waits for one answer, in ms. */
  resolverTimeout: { variable: 'RESOLVER_TIMEOUT', value: 5000, check: numberWithin(1, 3_600_000, 'ms') },
  /** How often the default resolver asks. */
  resolverTries: { variable: 'RESOLVER_TRIES', value: 2, check: wholeWithin(1, 100, 'tries') },
  /** In which order the default resolver returns addresses. */
  resolverOrder: {
    variable: 'RESOLVER_ORDER',
    value: 'sorted' as ReturnType<typeof checkOrder>,
    check: checkOrder,
  },
  /** How many answers the default resolver keeps; 0: none. */
  resolverCacheSize: {
    variable: 'RESOLVER_CACHE_SIZE',
    value: 4096,
    check: wholeWithin(0, 10_000_000, 'entries'),
  },
  /** The most worker threads of a thread pool that is not told. */
  threadpoolSize: {
    variable: 'THREADPOOL_SIZE',
    value: Math.max(4, availableParallelism()),
    check: checkThreads,
  },
  /** How long, in ms, worker threads of a thread pool stay without work. */
  threadpoolIdleTimeout: {
    variable: 'THREADPOOL_IDLE_TIMEOUT',
    value: 5000,
    check: numberWithin(0, 3_600_000, 'ms'),
  },
} satisfies Record<
  string,
  Setting<number> | Setting<boolean> | Setting<ReturnType<typeof checkOrder>> | Setting<readonly string[]>
>;

/** All settings by name. */
export type Config = {
  -readonly [Name in keyof typeof settings]: ReturnType<(typeof settings)[Name]['check']>;
};

function fromEnvironment(text: string, value: unknown): unknown {
  if (typeof value === 'number') return text.trim() === '' ? Number.NaN : Number(text);
  if (typeof value === 'boolean') return { true: true, '1': true, false: false, '0': false }[text] ?? text;
  if (typeof value === 'string') return text.trim();
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function readSettings(): Config {
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(settings)) {
    const variable = `GREENSTACK_${setting.variable}`;
    const text = process.env[variable];
    values[name] =
      text === undefined
        ? setting.value
        : setting.check(`the environment variable ${variable}`, fromEnvironment(text, setting.value));
  }
  return values as Config;
}

/** The settings themselves: {@link config} without its checks, for reading. */
export const current: Readonly<Config> = readSettings();

/** Called after a setting has changed. */
export const configListeners: Array<(name: keyof Config) => void> = [];

/**
 * The settings of this thread. Assigning checks the value and throws a `TypeError` or `RangeError` that says what
 * is expected. Every setting can be given as an environment variable too, e.g. `GREENSTACK_STACK_SIZE`.
 *
 * gevent: `gevent.config`.
 */
export const config: Config = new Proxy(current, {
  set(target, name, value) {
    if (typeof name !== 'string' || !Object.hasOwn(settings, name)) {
      throw new TypeError(
        `config has no setting ${String(name)}; it has ${Object.keys(settings).join(', ')}`,
      );
    }
    const key = name as keyof Config;
    Reflect.set(target, key, settings[key].check(`config.${key}`, value));
    for (const listener of configListeners) listener(key);
    return true;
  },
  deleteProperty(_, name) {
    throw new TypeError(`config.${String(name)} cannot be deleted`);
  },
});
