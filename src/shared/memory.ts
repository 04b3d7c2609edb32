/// <reference lib="es2024.sharedmemory" />
/** The memory of what threads share, and the handles that it is passed to other threads by. */
import { types } from 'node:util';

import { checkCount, checkOptions, describe } from '../checks.js';
import { InvalidThreadUseError } from '../errors.js';
import { hubList, ownHub, WaitingHubs } from './hubs.js';

/** The kinds of what threads share; their places are their numbers in memory. */
const KINDS = ['SharedEvent', 'SharedAsyncResult', 'SharedSemaphore', 'SharedQueue'] as const;

/** The name of a class of what threads share. */
export type SharedKind = (typeof KINDS)[number];

/**
 * What an object of `greenstack/shared` is passed to another thread by: it can be cloned, so it can be in `workerData` or in a
 * message. There, `from(handle)` of the class makes an object of it that stands for the same thing.
 */
export interface SharedHandle<Kind extends SharedKind = SharedKind> {
  readonly kind: Kind;
  /** The state. Not to be touched. */
  readonly words: SharedArrayBuffer;
  /** The values. Not to be touched. */
  readonly bytes?: SharedArrayBuffer;
}

/** Options of everything that threads share. */
export interface SharedOptions {
  /** How many threads can wait for it at the same time (default: 64). */
  maxHubs?: number | undefined;
}

/** Options of what values pass through. */
export interface SharedValueOptions extends SharedOptions {
  /** How many bytes there may be at the same time (default: 64 MiB). A power of two; others are rounded up. */
  maxBytes?: number | undefined;
}

/** Words at the beginning of each memory. */
const enum Word {
  Kind,
  /** What tells the hubs that know one another from others. */
  ListLow,
  ListHigh,
  /** With the hub that made it: what tells it from all others. */
  Creator,
  Serial,
  MaxHubs,
  Length,
}

const MOST_HUBS = 4096;
const DEFAULT_HUBS = 64;
const LEAST_BYTES = 4096;
const MOST_BYTES = 2 ** 30;
const DEFAULT_BYTES = 64 * 1024 * 1024;
const WORD = Int32Array.BYTES_PER_ELEMENT;
const LIST_LOW = hubList % 2 ** 31;
const LIST_HIGH = Math.floor(hubList / 2 ** 31);

/** How the memory of a class is laid out. */
export interface Layout<Kind extends SharedKind> {
  readonly kind: Kind;
  /** How many words its state takes. */
  readonly words: number;
  /** How many things hubs can wait for. */
  readonly waits: number;
  /** How many times `maxBytes` of values there can be; 0: it has none. */
  readonly values: number;
}

/** Objects of this thread by what they stand for, so that there is one for each: hubs serve in order by object. */
const opened = new Map<string, WeakRef<object>>();

const collected = new FinalizationRegistry<string>((key) => {
  if (opened.get(key)?.deref() === undefined) opened.delete(key);
});

let serial = 0;

/** The memory of one object, as this thread sees it. */
export class Memory<Kind extends SharedKind = SharedKind> {
  /** The state of the class begins at word {@link start}. */
  readonly words: Int32Array;
  readonly start = Word.Length;

  constructor(
    private readonly layout: Layout<Kind>,
    readonly handle: SharedHandle<Kind>,
  ) {
    this.words = new Int32Array(handle.words);
  }

  /** Makes new memory, for `object`. */
  static create<Kind extends SharedKind>(
    object: object,
    layout: Layout<Kind>,
    options: SharedValueOptions | null | undefined,
  ): Memory<Kind> {
    const call = `new ${layout.kind}()`;
    const { maxHubs = DEFAULT_HUBS, maxBytes = DEFAULT_BYTES } = checkOptions(call, options);
    checkCount(`${call}: maxHubs`, maxHubs, 1, MOST_HUBS);
    const length = Word.Length + layout.words + layout.waits * WaitingHubs.lengthFor(maxHubs);
    const words = new SharedArrayBuffer(length * WORD);
    let handle: SharedHandle<Kind> = { kind: layout.kind, words };
    if (layout.values > 0) {
      checkCount(`${call}: maxBytes`, maxBytes, 1, MOST_BYTES);
      const most = layout.values * roundUp(Math.max(LEAST_BYTES, maxBytes));
      handle = { ...handle, bytes: new SharedArrayBuffer(0, { maxByteLength: most }) };
    }
    const memory = new Memory(layout, Object.freeze(handle));
    memory.words[Word.Kind] = KINDS.indexOf(layout.kind) + 1;
    memory.words[Word.ListLow] = LIST_LOW;
    memory.words[Word.ListHigh] = LIST_HIGH;
    memory.words[Word.Creator] = ownHub;
    memory.words[Word.Serial] = serial++;
    memory.words[Word.MaxHubs] = maxHubs;
    memory.#remember(object);
    return memory;
  }

  /** The object of this thread for what `handle` stands for. */
  static open<Kind extends SharedKind, T extends object>(
    layout: Layout<Kind>,
    handle: SharedHandle<Kind>,
    make: (memory: Memory<Kind>) => T,
  ): T {
    const { kind } = layout;
    checkHandle(kind, handle);
    const memory = new Memory(layout, Object.freeze({ ...handle }));
    if (memory.words[Word.Kind] !== KINDS.indexOf(kind) + 1) throw notHandle(kind, handle);
    if (memory.words[Word.ListLow] !== LIST_LOW || memory.words[Word.ListHigh] !== LIST_HIGH) {
      throw new InvalidThreadUseError(
        `${kind}.from(): the object is of another copy of greenstack, whose hubs this one does not know. Let all threads ` +
          'load the same copy (npm ls greenstack).',
      );
    }
    const known = opened.get(memory.#key)?.deref();
    if (known !== undefined) return known as T;
    const object = make(memory);
    memory.#remember(object);
    return object;
  }

  get #key(): string {
    return `${this.words[Word.Creator]}:${this.words[Word.Serial]}`;
  }

  #remember(object: object): void {
    opened.set(this.#key, new WeakRef(object));
    collected.register(object, this.#key);
  }

  /** The hubs that wait for the thing of this number. */
  hubs(number: number): WaitingHubs {
    const maxHubs = this.words[Word.MaxHubs] as number;
    const start = this.start + this.layout.words + number * WaitingHubs.lengthFor(maxHubs);
    return new WaitingHubs(this.words, start, maxHubs);
  }

  /** The memory of values. */
  get bytes(): SharedArrayBuffer {
    return this.handle.bytes as SharedArrayBuffer;
  }

  /** How many bytes of values there may be. */
  get maxBytes(): number {
    return this.bytes.maxByteLength / this.layout.values;
  }
}

function roundUp(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(bytes));
}

function checkHandle(kind: SharedKind, handle: unknown): void {
  const { kind: given, words, bytes } = (handle ?? {}) as Partial<SharedHandle>;
  if (given !== kind || !types.isSharedArrayBuffer(words) || words.byteLength < Word.Length * WORD)
    throw notHandle(kind, handle);
  const needsBytes = kind === 'SharedAsyncResult' || kind === 'SharedQueue';
  if (needsBytes && !types.isSharedArrayBuffer(bytes)) throw notHandle(kind, handle);
}

function notHandle(kind: SharedKind, handle: unknown): TypeError {
  const { kind: given } = (handle ?? {}) as Partial<SharedHandle>;
  const got = typeof given === 'string' ? `that of a ${given}` : describe(handle);
  return new TypeError(`${kind}.from() expects the handle of a ${kind}, got ${got}`);
}
