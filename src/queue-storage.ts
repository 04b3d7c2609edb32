/** What queues keep their items in: a list for first in, first out, and a stable heap. */

const NO_ITEMS: readonly undefined[] = Array.from({ length: 64 });

class Chunk<T> {
  readonly slots: Array<T | undefined> = NO_ITEMS.slice();
  next: Chunk<T> | null = null;
}

/** First in, first out, at the same cost however long it is: a list of chunks. */
export class Fifo<T> {
  #head = new Chunk<T>();
  #tail = this.#head;
  /** Where the oldest item is in the first chunk. */
  #from = 0;
  /** Where the next item goes in the last chunk. */
  #to = 0;
  #size = 0;
  /** One that is empty, to be used again. */
  #spare: Chunk<T> | null = null;

  get size(): number {
    return this.#size;
  }

  push(item: T): void {
    if (this.#to === NO_ITEMS.length) this.#append();
    this.#tail.slots[this.#to++] = item;
    this.#size++;
  }

  /** The oldest item. There must be one. */
  peek(): T {
    return this.#head.slots[this.#from] as T;
  }

  /** Takes the oldest item out. There must be one. */
  take(): T {
    const { slots } = this.#head;
    const item = slots[this.#from] as T;
    slots[this.#from++] = undefined;
    if (--this.#size === 0) this.#from = this.#to = 0;
    else if (this.#from === NO_ITEMS.length) this.#dropHead();
    return item;
  }

  toArray(): T[] {
    const items: T[] = [];
    for (let chunk: Chunk<T> | null = this.#head; chunk !== null; chunk = chunk.next) {
      const from = chunk === this.#head ? this.#from : 0;
      const to = chunk === this.#tail ? this.#to : NO_ITEMS.length;
      items.push(...(chunk.slots.slice(from, to) as T[]));
    }
    return items;
  }

  #append(): void {
    const chunk = this.#spare ?? new Chunk<T>();
    this.#spare = null;
    this.#tail.next = chunk;
    this.#tail = chunk;
    this.#to = 0;
  }

  #dropHead(): void {
    const chunk = this.#head;
    this.#head = chunk.next as Chunk<T>;
    this.#from = 0;
    chunk.next = null;
    this.#spare = chunk;
  }
}

interface Ranked<T> {
  readonly item: T;
  /** Those that compare as equal keep the order in which they came. */
  readonly arrival: number;
}

/**
 * A binary heap, the first item by `compare` on top. Every comparison is made before anything is moved, so that one that
 * throws leaves all as it was.
 */
export class Heap<T> {
  readonly #heap: Array<Ranked<T>> = [];
  #arrivals = 0;

  /** @param compare - negative if `a` comes before `b`, positive if after it, 0 if neither */
  constructor(readonly compare: (a: T, b: T) => number) {}

  get size(): number {
    return this.#heap.length;
  }

  push(item: T): void {
    const heap = this.#heap;
    const ranked = { item, arrival: this.#arrivals };
    // An item that has no order must not get in as the first: then it would be all others that are refused.
    if (heap.length === 0) this.#isBefore(ranked, ranked);
    let place = heap.length;
    while (place > 0 && this.#isBefore(ranked, heap[parentOf(place)] as Ranked<T>)) place = parentOf(place);
    let hole = heap.length;
    while (hole > place) {
      heap[hole] = heap[parentOf(hole)] as Ranked<T>;
      hole = parentOf(hole);
    }
    heap[place] = ranked;
    this.#arrivals++;
  }

  /** The first item. There must be one. */
  peek(): T {
    return (this.#heap[0] as Ranked<T>).item;
  }

  /** Takes the first item out. There must be one. */
  take(): T {
    const heap = this.#heap;
    let moved = heap[heap.length - 1] as Ranked<T>;
    // The last one comes to this place; those on the way to it from the top each move one up.
    for (let place = this.#placeFromTop(moved); place > 0; place = parentOf(place)) {
      const above = heap[place] as Ranked<T>;
      heap[place] = moved;
      moved = above;
    }
    const top = heap[0] as Ranked<T>;
    heap[0] = moved;
    heap.pop();
    return top.item;
  }

  /** Drops one of the items, without comparing any. */
  discard(): void {
    this.#heap.pop();
  }

  /** What is in it, in the order of arrival. */
  toArray(): T[] {
    return [...this.#heap].sort((a, b) => a.arrival - b.arrival).map(({ item }) => item);
  }

  /** Where the last one, `ranked`, belongs when the first is gone. */
  #placeFromTop(ranked: Ranked<T>): number {
    const heap = this.#heap;
    const size = heap.length - 1;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= size) return place;
      if (child + 1 < size && this.#isBefore(heap[child + 1] as Ranked<T>, heap[child] as Ranked<T>)) child++;
      if (!this.#isBefore(heap[child] as Ranked<T>, ranked)) return place;
      place = child;
    }
  }

  #isBefore(a: Ranked<T>, b: Ranked<T>): boolean {
    const compared: unknown = this.compare(a.item, b.item);
    if (typeof compared !== 'number' || Number.isNaN(compared)) {
      throw new TypeError(`compare() has to return a number, got ${String(compared)}`);
    }
    return compared === 0 ? a.arrival < b.arrival : compared < 0;
  }
}

function parentOf(index: number): number {
  return (index - 1) >> 1;
}

/**
 * Numbers, texts and dates in ascending order; arrays such as `[priority, data]` by their elements, as far as those have an
 * order.
 */
export function naturalOrder(a: unknown, b: unknown): number {
  if (Array.isArray(a) && Array.isArray(b)) return orderOfArrays(a, b);
  const kind = kindOf(a);
  if (kind === null || kind !== kindOf(b)) {
    throw new TypeError(
      `a PriorityQueue needs compare() to order ${nameOf(a)} and ${nameOf(b)}: by itself it orders numbers, texts, dates, ` +
        'and arrays that begin with one of these',
    );
  }
  return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0;
}

function orderOfArrays(a: unknown[], b: unknown[]): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const kind = kindOf(a[index]);
    // The first element has to have an order. What follows may be data.
    if (index > 0 && (kind === null || kind !== kindOf(b[index]))) return 0;
    const compared = naturalOrder(a[index], b[index]);
    if (compared !== 0) return compared;
  }
  return a.length - b.length;
}

function kindOf(value: unknown): 'number' | 'text' | 'date' | null {
  switch (typeof value) {
    case 'number':
      return Number.isNaN(value) ? null : 'number';
    case 'bigint':
      return 'number';
    case 'string':
      return 'text';
    default:
      return value instanceof Date && !Number.isNaN(value.getTime()) ? 'date' : null;
  }
}

function nameOf(value: unknown): string {
  if (value === null || typeof value === 'number') return String(value);
  return Array.isArray(value) ? 'an array' : typeof value;
}
