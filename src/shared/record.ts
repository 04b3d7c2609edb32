/** Numbers in shared memory that change together or not at all. */
import { native } from '../binding.js';
import { ownHub } from './hubs.js';

const { isHubAlive, giveWay } = native;

/**
 * A few numbers that change together, and what belongs to them. There are two versions of them, of which one is valid. A change
 * writes the other one, and then, by a single store, makes that the valid one. So a thread that is terminated in the middle has
 * changed nothing.
 *
 * One hub at a time may change it. Who finds it taken by a hub that has ended takes it over.
 */
export class SharedRecord {
  /** How many words a record takes. */
  static lengthFor(fields: number): number {
    return 2 + 2 * fields;
  }

  constructor(
    private readonly words: Int32Array,
    private readonly start: number,
    private readonly fields: number,
  ) {}

  /** Changes with every change. Its lowest bit tells which of two places is valid. */
  get version(): number {
    return Atomics.load(this.words, this.start + 1);
  }

  get(field: number): number {
    return Atomics.load(this.words, this.#at(this.version, field));
  }

  /** Begins a change, as soon as no other hub is at one. To be ended by {@link end}, with nothing in between that parks. */
  begin(): void {
    const { words, fields } = this;
    this.#lock();
    const { version } = this;
    for (let field = 0; field < fields; field++) {
      words[this.#at(version + 1, field)] = words[this.#at(version, field)] as number;
    }
  }

  /** What a field will be, as set so far. */
  draft(field: number): number {
    return this.words[this.#at(this.version + 1, field)] as number;
  }

  /** Sets what a field will be. */
  set(field: number, value: number): void {
    this.words[this.#at(this.version + 1, field)] = value;
  }

  /** Makes what was set valid. */
  commit(): void {
    Atomics.add(this.words, this.start + 1, 1);
  }

  /** Ends a change, of which only what was committed has happened. */
  end(): void {
    Atomics.store(this.words, this.start, 0);
  }

  #at(version: number, field: number): number {
    return this.start + 2 + (version & 1) * this.fields + field;
  }

  #lock(): void {
    for (let tries = 1; ; tries++) {
      const holder = Atomics.compareExchange(this.words, this.start, 0, ownHub);
      if (holder === 0) return;
      // Nobody changes it twice at once: an error has cut this hub's own change off.
      const isLeft = holder === ownHub || (tries % 16 === 0 && !isHubAlive(holder));
      if (isLeft && Atomics.compareExchange(this.words, this.start, holder, ownHub) === holder) return;
      if (tries % 64 === 0) giveWay();
    }
  }
}
