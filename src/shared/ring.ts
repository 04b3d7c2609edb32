/** Items as bytes in shared memory, first in, first out, in a ring that grows. */
/// <reference lib="es2024.sharedmemory" />
import { SharedRecord } from './record.js';

const enum Field {
  /** Where the first item begins. */
  Head,
  /** How many bytes are in use, from there on. */
  Used,
  /** How many items there are. */
  Count,
  /** Where the ring ends, and begins again: a power of two. */
  Capacity,
  IsShut,
  Length,
}

/** Each item begins with its length. Its end is rounded up, so that no length is in two pieces. */
const HEADER = 4;
const LEAST_CAPACITY = 4096;

function lengthInRing(bytes: number): number {
  return HEADER + ((bytes + HEADER - 1) & -HEADER);
}

/** How {@link Ring.put} has ended. */
export const enum Put {
  Done,
  NoRoom,
  IsShut,
}

/** The items of a queue. Every change is there as a whole or not at all. */
export class Ring {
  static readonly words = SharedRecord.lengthFor(Field.Length);

  readonly #record: SharedRecord;
  readonly #memory: SharedArrayBuffer;
  /** Grows with the memory. */
  readonly #bytes: Uint8Array;
  readonly #lengths: Int32Array;

  constructor(
    words: Int32Array,
    start: number,
    memory: SharedArrayBuffer,
    private readonly maxItems: number,
  ) {
    this.#record = new SharedRecord(words, start, Field.Length);
    this.#memory = memory;
    this.#bytes = new Uint8Array(memory);
    this.#lengths = new Int32Array(memory);
  }

  get count(): number {
    return this.#record.get(Field.Count);
  }

  get isShut(): boolean {
    return this.#record.get(Field.IsShut) !== 0;
  }

  /** How many more items there is room for, or a guess. */
  get room(): number {
    const record = this.#record;
    return record.get(Field.Used) < this.#memory.maxByteLength ? this.maxItems - record.get(Field.Count) : 0;
  }

  /** The most bytes of an item. */
  get maxItemBytes(): number {
    return this.#memory.maxByteLength - HEADER;
  }

  put(item: Uint8Array): Put {
    const record = this.#record;
    record.begin();
    try {
      if (record.get(Field.IsShut) !== 0) return Put.IsShut;
      const count = record.get(Field.Count);
      if (count >= this.maxItems || !this.#makeRoom(lengthInRing(item.length))) return Put.NoRoom;
      const used = record.draft(Field.Used);
      this.#write(record.draft(Field.Head) + used, item);
      record.set(Field.Used, used + lengthInRing(item.length));
      record.set(Field.Count, count + 1);
      record.commit();
      return Put.Done;
    } finally {
      record.end();
    }
  }

  /** Takes the first item out; `null` if there is none. */
  take(): Buffer | null {
    // Without being exact: who comes too early for an item is told of it.
    if (this.count === 0) return null;
    const record = this.#record;
    record.begin();
    try {
      const count = record.get(Field.Count);
      if (count === 0) return null;
      const head = record.get(Field.Head);
      const item = this.#read(head);
      const used = record.get(Field.Used) - lengthInRing(item.length);
      // An empty ring begins anew, so that little memory is used where few items are.
      record.set(
        Field.Head,
        used === 0 ? 0 : (head + lengthInRing(item.length)) & (record.get(Field.Capacity) - 1),
      );
      record.set(Field.Used, used);
      record.set(Field.Count, count - 1);
      record.commit();
      return item;
    } finally {
      record.end();
    }
  }

  /** Lets nothing be put any more. `isEmptied`: what there is is dropped. */
  shut(isEmptied: boolean): void {
    const record = this.#record;
    record.begin();
    try {
      record.set(Field.IsShut, 1);
      if (isEmptied) for (const field of [Field.Head, Field.Used, Field.Count]) record.set(field, 0);
      record.commit();
    } finally {
      record.end();
    }
  }

  /** Sees to it that `length` bytes are free; whether that is possible now. */
  #makeRoom(length: number): boolean {
    const record = this.#record;
    const used = record.get(Field.Used);
    const old = record.get(Field.Capacity);
    if (used + length <= old) return true;
    if (used + length > this.#memory.maxByteLength) return false;
    let capacity = Math.max(old, LEAST_CAPACITY);
    while (capacity < used + length) capacity *= 2;
    if (this.#memory.byteLength < capacity) this.#memory.grow(capacity);
    // What there is is copied behind itself, where there is at least as much room, and stays valid where it is.
    const head = record.get(Field.Head);
    const inOnePiece = Math.min(used, old - head);
    this.#bytes.copyWithin(old, head, head + inOnePiece);
    this.#bytes.copyWithin(old + inOnePiece, 0, used - inOnePiece);
    record.set(Field.Head, used === 0 ? 0 : old);
    record.set(Field.Capacity, capacity);
    return true;
  }

  #write(position: number, item: Uint8Array): void {
    const capacity = this.#record.draft(Field.Capacity);
    const mask = capacity - 1;
    this.#lengths[(position & mask) / HEADER] = item.length;
    const start = (position + HEADER) & mask;
    const inOnePiece = Math.min(item.length, capacity - start);
    this.#bytes.set(item.subarray(0, inOnePiece), start);
    this.#bytes.set(item.subarray(inOnePiece), 0);
  }

  #read(position: number): Buffer {
    const capacity = this.#record.get(Field.Capacity);
    const mask = capacity - 1;
    const item = Buffer.allocUnsafeSlow(this.#lengths[(position & mask) / HEADER] as number);
    const start = (position + HEADER) & mask;
    const inOnePiece = Math.min(item.length, capacity - start);
    item.set(this.#bytes.subarray(start, start + inOnePiece));
    item.set(this.#bytes.subarray(0, item.length - inOnePiece), inOnePiece);
    return item;
  }
}
