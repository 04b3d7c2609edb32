/** Header fields: names without case, values as they came. */
import { inspect } from 'node:util';

import { describe } from '../checks.js';

/** What header fields can be made of. */
export type HeadersInit =
  | HttpHeaders
  | Headers
  | Iterable<readonly [string, string]>
  | Readonly<Record<string, string | number | readonly string[]>>;

interface Field {
  /** As it was written first. */
  readonly name: string;
  readonly values: string[];
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Throws unless `name` can be that of a field. */
export function checkName(call: string, name: unknown): string {
  if (typeof name !== 'string')
    throw new TypeError(`${call}: a header's name must be a string, got ${describe(name)}`);
  if (!TOKEN.test(name))
    throw new TypeError(`${call}: ${JSON.stringify(name)} cannot be the name of a header`);
  return name;
}

/** Throws unless `value` can be that of a field: no control characters, so that nothing can follow it. */
export function checkValue(call: string, name: string, value: unknown): string {
  if (typeof value !== 'string' && typeof value !== 'number')
    throw new TypeError(`${call}: the value of ${name} must be a string or a number, got ${describe(value)}`);
  const text = String(value);
  if (!VALUE.test(text))
    throw new TypeError(`${call}: the value of ${name} has a character that is not allowed in headers`);
  return text.trim();
}

/**
 * Header fields in the order of their first coming, with the interface of `Headers`. Unlike that it does not copy, allows
 * every name, and gives the original case. Never switches.
 */
export class HttpHeaders implements Iterable<[name: string, value: string]> {
  readonly #fields = new Map<string, Field>();

  /**
   * @throws {TypeError} if a name is no token, or a value has control characters
   */
  constructor(init?: HeadersInit | null) {
    if (init === undefined || init === null) return;
    if (typeof init !== 'object')
      throw new TypeError(`new HttpHeaders() expects headers, an object or pairs, got ${describe(init)}`);
    if (Symbol.iterator in init) {
      for (const pair of init) {
        if (!Array.isArray(pair) || pair.length !== 2)
          throw new TypeError('new HttpHeaders() expects pairs of a name and a value');
        this.append(pair[0] as string, pair[1] as string);
      }
      return;
    }
    for (const [name, value] of Object.entries(init)) {
      if (typeof value === 'object') for (const one of value) this.append(name, one);
      else this.append(name, value as string);
    }
  }

  /** Takes the lines of a head, which have been checked. @internal */
  static _parse(lines: string, start: number): HttpHeaders {
    const headers = new HttpHeaders();
    for (let end = lines.indexOf('\r\n', start); end > start; end = lines.indexOf('\r\n', start)) {
      const colon = lines.indexOf(':', start);
      headers.#add(lines.slice(start, colon), lines.slice(colon + 1, end).replace(/^[\t ]+|[\t ]+$/g, ''));
      start = end + 2;
    }
    return headers;
  }

  #add(name: string, value: string): void {
    const key = name.toLowerCase();
    const field = this.#fields.get(key);
    if (field === undefined) this.#fields.set(key, { name, values: [value] });
    else field.values.push(value);
  }

  /** The value of a field, `null` if there is none; several are joined as RFC 9110 and 6265 have it. */
  get(name: string): string | null {
    const key = String(name).toLowerCase();
    const field = this.#fields.get(key);
    return field === undefined ? null : field.values.join(key === 'cookie' ? '; ' : ', ');
  }

  /** All values of a field, one by one. */
  getAll(name: string): string[] {
    return [...(this.#fields.get(String(name).toLowerCase())?.values ?? [])];
  }

  /** The values of `Set-Cookie`, which cannot be joined. */
  getSetCookie(): string[] {
    return this.getAll('set-cookie');
  }

  /** Whether there is such a field. */
  has(name: string): boolean {
    return this.#fields.has(String(name).toLowerCase());
  }

  /**
   * Sets a field, in place of those of its name.
   *
   * @throws {TypeError} if the name is no token, or the value has control characters
   */
  set(name: string, value: string | number): void {
    checkName('set()', name);
    const text = checkValue('set()', name, value);
    this.#fields.set(name.toLowerCase(), { name, values: [text] });
  }

  /** Adds a value to those of its name. Throws as {@link set}. */
  append(name: string, value: string | number): void {
    checkName('append()', name);
    this.#add(name, checkValue('append()', name, value));
  }

  /** Removes a field; one that is not there is no error. */
  delete(name: string): void {
    this.#fields.delete(String(name).toLowerCase());
  }

  /** Calls `callback` for each field, as `Headers` does. */
  forEach(callback: (value: string, name: string, headers: this) => void): void {
    for (const [name, value] of this) callback(value, name, this);
  }

  /** Names in lower case, with their values; `set-cookie` once for each. */
  *entries(): IterableIterator<[name: string, value: string]> {
    for (const [key, { values }] of this.#fields) {
      if (key === 'set-cookie') for (const value of values) yield [key, value];
      else yield [key, values.join(key === 'cookie' ? '; ' : ', ')];
    }
  }

  [Symbol.iterator](): IterableIterator<[name: string, value: string]> {
    return this.entries();
  }

  /** The names, in lower case. */
  *keys(): IterableIterator<string> {
    for (const [name] of this) yield name;
  }

  /** The values, as {@link entries} has them. */
  *values(): IterableIterator<string> {
    for (const [, value] of this) yield value;
  }

  /** Each field as it came: names in their own case, nothing joined. */
  *raw(): IterableIterator<[name: string, value: string]> {
    for (const { name, values } of this.#fields.values()) for (const value of values) yield [name, value];
  }

  /** The fields as lines of a message, without those that native code writes. @internal */
  _lines(): string {
    let lines = '';
    for (const [key, { name, values }] of this.#fields) {
      if (key === 'connection' || key === 'keep-alive' || key === 'content-length') continue;
      for (const value of values) lines += `${name}: ${value}\r\n`;
    }
    return lines;
  }

  [inspect.custom](): string {
    return `HttpHeaders ${inspect(Object.fromEntries(this))}`;
  }
}
