/** `greenstack/fibers/future`: the futures of the package `fibers`. */
import { awaitOutside, currentRunnable, park, plainWait, wake } from '../hub.js';
import Fiber = require('./index.js');

/** Called with how a future has ended. */
type Callback = (error: any, value?: any) => void;

/** What is told of the end of a future: a callback; or another future of an error, and a function of the value. */
type Listener = readonly [listener: Callback | Future<any>, onValue: ((value: any) => void) | undefined];

declare global {
  type FutureFunction<T> = (...args: any[]) => Future<T>;
  type FutureObject<T> = T & any;

  interface Function {
    /** A function that runs this one in a fiber, soon, and returns a future for what it returns. `detach`: see `Future.detach`. */
    future<T = any>(detach?: boolean): FutureFunction<T>;
  }
}

/** A value that is there later. A fiber waits for it by `wait()`, and so does a greenlet. */
interface Future<T> {
  /**
   * What it has ended with.
   *
   * @throws its error; or an `Error` if it has not ended
   */
  get(): T;
  /**
   * As {@link get}, once it has ended. Switches only if it must wait.
   *
   * @throws {Error} if it must wait outside fibers and greenlets
   */
  wait(): T;
  /**
   * Ends it with a value. Who waits goes on at once.
   *
   * @throws {Error} if it has ended
   */
  return(value?: T): void;
  /**
   * Ends it with an error, which must not be falsy.
   *
   * @throws {Error} if it has ended
   */
  throw(error: unknown): void;
  /** Lets its error, if there will be one, be thrown in the event loop. */
  detach(): void;
  /** Whether it has ended. */
  isResolved(): boolean;
  /** A callback that ends it. */
  resolver(): (error?: any, value?: T) => void;
  /** Calls back when it has ended: `callback(error, value)`. Or throws its error in another future, else calls back with the value. */
  resolve(callback: (error: any, value: T) => void): this;
  resolve(future: Future<any>, onValue: (value: T) => void): this;
  /** Calls back when it has ended with a value. */
  resolveSuccess(callback: (value: T) => void): this;
  /** Ends another future as this one ends. */
  proxy(future: Future<T>): void;
  /** Throws its error in one or several other futures. */
  proxyErrors(futures: Future<any> | Array<Future<any>>): this;
  /** A promise that is settled as it ends. */
  promise(): Promise<T>;
}

interface FutureConstructor {
  new <T = any>(): Future<T>;
  readonly prototype: Future<any>;
  /**
   * Makes a function that takes a callback last into one that returns a future; or an object whose functions have such
   * companions, with `suffix` ("Future") after their names.
   *
   * @param multi - whether the callback gets several values: the future's is an array of them
   */
  wrap<T = any>(fn: (...args: any[]) => any, multi?: boolean, suffix?: string): FutureFunction<T>;
  wrap<O extends object>(object: O, multi?: boolean, suffix?: string): FutureObject<O>;
  /** Runs functions in fibers, soon. Of one, a future for what it returns; of several, a future for an array. */
  task<T>(fn: () => T): Future<T>;
  task<T = any>(first: Function, second: Function, ...more: Function[]): Future<T[]>;
  /**
   * Waits until all of the futures, or arrays of them, have ended, be it by errors. Switches only if it must wait.
   *
   * @throws {Error} if something is not a future, or outside fibers and greenlets
   */
  wait(...futures: Array<Future<any> | Array<Future<any>>>): void;
  /** A future that ends as a promise is settled. */
  fromPromise<T>(promise: PromiseLike<T>): Future<T>;
}

/** The properties of a future. */
interface FutureState extends Future<any> {
  resolved?: boolean;
  value?: unknown;
  error?: any;
  callbacks?: Listener[];
  /** What the function of `wrap` has returned. */
  _?: unknown;
}

function FutureFunction(this: FutureState): void {}

/** Throws what a callback has thrown where nobody awaits it. */
function throwLater(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}

/** Tells who listens how a future has ended. */
function tell({ error, value }: FutureState, [listener, onValue]: Listener): void {
  if (!onValue) (listener as Callback)(error, value);
  else if (error) (listener as Future<any>).throw(error);
  else onValue(value);
}

function end(future: FutureState): void {
  future.resolved = true;
  const { callbacks } = future;
  if (callbacks === undefined) return;
  delete future.callbacks;
  for (const listener of callbacks) {
    try {
      tell(future, listener);
    } catch (error) {
      throwLater(error);
    }
  }
}

function refuseSecondEnd(future: FutureState): void {
  if (future.resolved) throw new Error('Future resolved more than once');
}

/** Shows, in the stack of an error, who gets it; where it is from follows. */
function linkStacks(error: unknown): void {
  if (!(error instanceof Error)) return;
  if (!Object.hasOwn(error, 'futureStack'))
    Reflect.defineProperty(error, 'futureStack', { value: error.stack });
  const { futureStack } = error as Error & { futureStack?: unknown };
  if (typeof futureStack !== 'string') return;
  const here: { stack?: string } = {};
  Error.captureStackTrace(here, prototype.get);
  const property = { configurable: true, enumerable: false };
  Reflect.defineProperty(error, 'stack', {
    ...property,
    get() {
      const [first, ...from] = futureStack.split('\n');
      const frames = (here.stack ?? '').split('\n').slice(1);
      return [first, ...frames, '    - - - - -', ...from].join('\n');
    },
    set(stack: unknown) {
      Reflect.defineProperty(error, 'stack', { ...property, value: stack, writable: true });
    },
  });
}

const prototype = {
  get(this: FutureState): unknown {
    if (!this.resolved) throw new Error('Future must resolve before value is ready');
    if (!this.error) return this.value;
    linkStacks(this.error);
    throw this.error;
  },

  return(this: FutureState, value: unknown): void {
    refuseSecondEnd(this);
    this.value = value;
    end(this);
  },

  throw(this: FutureState, error: unknown): void {
    refuseSecondEnd(this);
    if (!error) throw new Error('Must throw non-empty error');
    this.error = error;
    end(this);
  },

  detach(this: FutureState): void {
    this.resolve((error) => {
      if (error) throw error;
    });
  },

  isResolved(this: FutureState): boolean {
    return this.resolved === true;
  },

  resolver(this: FutureState): Callback {
    return (error, value) => {
      if (error) this.throw(error);
      else this.return(value);
    };
  },

  resolve(
    this: FutureState,
    listener: Callback | Future<any>,
    onValue?: (value: unknown) => void,
  ): FutureState {
    if (this.resolved) tell(this, [listener, onValue]);
    else (this.callbacks ??= []).push([listener, onValue]);
    return this;
  },

  resolveSuccess(this: FutureState, callback: (value: unknown) => void): FutureState {
    return this.resolve((error, value) => {
      if (!error) callback(value);
    });
  },

  proxy(this: FutureState, future: Future<any>): void {
    this.resolve((error, value) => {
      if (error) future.throw(error);
      else future.return(value);
    });
  },

  proxyErrors(this: FutureState, futures: Future<any> | Array<Future<any>>): FutureState {
    return this.resolve((error) => {
      if (!error) return;
      for (const future of Array.isArray(futures) ? futures : [futures]) future.throw(error);
    });
  },

  promise(this: FutureState): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.resolve((error, value) => {
        if (error) reject(error);
        else resolve(value);
      });
    });
  },

  wait(this: FutureState): unknown {
    if (!this.isResolved()) Future.wait(this);
    return this.get();
  },
};

/** The future of a function that is run in a fiber: soon, or already now in one that waits for it. */
class Task extends (FutureFunction as unknown as new () => FutureState) {
  fn: Function;
  context: unknown;
  args: unknown[];
  started = false;

  constructor(fn: Function, context: unknown, args: unknown[]) {
    super();
    this.fn = fn;
    this.context = context;
    this.args = args;
    process.nextTick(startTask, this);
  }
}

function startTask(task: Task): void {
  if (task.started) return;
  Fiber(() => runTask(task)).run();
}

function runTask(task: Task): void {
  task.started = true;
  let value: unknown;
  try {
    value = Reflect.apply(task.fn, task.context, task.args);
  } catch (error) {
    task.throw(error);
    return;
  }
  task.return(value);
}

function requireFuture(value: unknown): FutureState {
  if (!(value instanceof Future)) throw new Error(`${String(value)} is not a future`);
  return value as FutureState;
}

/** The current greenlet, as what can wait: leaves its stack, and is called to go on. */
interface Pause {
  begin(): void;
  end(): void;
}

function pauseOfFiber(fiber: Fiber): Pause {
  let isOver = false;
  return {
    begin() {
      try {
        Fiber.yield();
      } finally {
        isOver = true;
      }
    },
    end() {
      // Unless it was killed meanwhile, or its time was over.
      if (!isOver) fiber.run();
    },
  };
}

function pauseOfCurrent(): Pause {
  const fiber = Fiber.current;
  if (fiber !== undefined) return pauseOfFiber(fiber);
  const greenlet = currentRunnable();
  if (greenlet === null) throw new Error("Can't wait without a fiber");
  const wait = plainWait('Future.wait()');
  return {
    begin() {
      awaitOutside(1);
      try {
        park('Future.wait()', wait);
      } finally {
        awaitOutside(-1);
      }
    },
    end: () => void wake(greenlet, wait),
  };
}

const statics = {
  wrap(this: unknown, target: unknown, multi?: boolean, suffix = 'Future', isShallow = false): unknown {
    if (typeof target === 'function') return wrapFunction(target as Callable, multi, suffix, isShallow);
    if (typeof target !== 'object') return undefined;
    const wrapped = Object.create(target) as Record<string, unknown>;
    for (const name in target) {
      const member = wrapped[name];
      if (typeof member === 'function')
        wrapped[name + suffix] = statics.wrap(member, multi, suffix, isShallow);
    }
    return wrapped;
  },

  task(...fns: Function[]): Future<any> {
    if (fns.length === 1) return (fns[0] as Function).future()();
    const all = new Future<unknown[]>();
    const values: unknown[] = Array.from({ length: fns.length });
    let pending = fns.length;
    let failure: unknown;
    for (const [index, fn] of fns.entries()) {
      fn.future()().resolve((error, value) => {
        if (error) failure = error;
        values[index] = value;
        if (--pending > 0) return;
        if (failure) all.throw(failure);
        else all.return(values);
      });
    }
    return all;
  },

  wait(...args: unknown[]): void {
    // Arrays are not flattened further: what is in them must be futures.
    const all = args.flatMap((arg) => (Array.isArray(arg) ? arg.map(requireFuture) : [requireFuture(arg)]));
    const open = all.filter((future) => !future.isResolved());
    const pause = pauseOfCurrent();
    // One that has not begun needs no fiber of its own.
    const own = open.find((future) => future instanceof Task && !future.started) as Task | undefined;
    let pending = open.length;
    for (const future of open) {
      if (future === own) continue;
      future.resolve(() => {
        if (--pending === 0) pause.end();
      });
    }
    if (own !== undefined) {
      runTask(own);
      pending--;
    }
    if (pending > 0) pause.begin();
  },

  fromPromise<T>(promise: PromiseLike<T>): Future<T> {
    const future = new Future<T>();
    promise.then(
      (value) => future.return(value),
      (error: unknown) => future.throw(error),
    );
    return future;
  },
};

type Callable = ((...args: unknown[]) => unknown) & Record<string, unknown>;

function wrapFunction(fn: Callable, multi: boolean | undefined, suffix: string, isShallow: boolean): unknown {
  const wrapped = function (this: unknown, ...args: unknown[]): FutureState {
    const future = new Future() as FutureState;
    const done = future.resolver();
    future._ = Reflect.apply(fn, this, [
      ...args,
      multi ? (error: unknown, ...values: unknown[]) => done(error, values) : done,
    ]);
    return future;
  };
  if (isShallow) return wrapped;
  // Functions that are properties of the function are wrapped too.
  const members = Object.create(fn) as Record<string, unknown>;
  for (const name of Object.keys(fn)) if (typeof fn[name] === 'function') members[name] = fn[name];
  return Object.setPrototypeOf(wrapped, statics.wrap(members, multi, suffix, true) as object);
}

const Future = FutureFunction as unknown as FutureConstructor;
Object.defineProperty(FutureFunction, 'name', { value: 'Future' });
Object.assign(FutureFunction.prototype as object, prototype);
Object.assign(FutureFunction, statics);

Object.defineProperty(Function.prototype, 'future', {
  configurable: true,
  writable: true,
  value: function (this: Function, detach?: boolean) {
    const start = (context: unknown, args: unknown[]): Task => {
      const task = new Task(this, context, args);
      if (detach) task.detach();
      return task;
    };
    const started = function (this: unknown, ...args: unknown[]): Task {
      return start(this, args);
    };
    started.toString = () => `<<Future ${String(this)}.future()>>`;
    return started;
  },
});

export = Future;
