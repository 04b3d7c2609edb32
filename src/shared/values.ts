/** Values as bytes, on their way from one thread to another. */
import { deserialize, serialize } from 'node:v8';

import { InvalidThreadUseError } from '../errors.js';
import { ofThisThread } from '../hub.js';

/**
 * A value as bytes.
 *
 * @throws {TypeError} if it cannot be cloned
 * @throws {InvalidThreadUseError} if something is in it that belongs to this thread
 * @throws {RangeError} if it takes more than `most` bytes
 */
export function encode(call: string, value: unknown, most: number): Buffer {
  let bytes: Buffer;
  try {
    bytes = serialize(value);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (reason.includes(ofThisThread.name)) throw new InvalidThreadUseError(`${call}: ${ofThisThread.name}`);
    throw new TypeError(`${call} expects a value that can be cloned: ${reason}`, { cause: error });
  }
  if (bytes.length > most)
    throw new RangeError(`${call}: the value takes ${bytes.length} bytes, more than maxBytes, ${most}`);
  return bytes;
}

/** The value that {@link encode} was given, as a clone of it. The memory of `bytes` may become part of it. */
export function decode(bytes: Buffer): unknown {
  return deserialize(bytes);
}

/** An error as what can be cloned in every version of Node, without loss of what it consists of. */
interface ErrorParts {
  /** The class of JavaScript's own that it is of. */
  readonly base: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** Further properties, by name. */
  readonly shown: Array<[name: string, value: unknown]>;
  readonly hidden: Array<[name: string, value: unknown]>;
}

const BASES = [EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, Error];

/** Own properties of errors that are not enumerable. */
const HIDDEN = ['name', 'cause', 'errors'];

/** As {@link encode}, for what is thrown. Properties of errors that cannot be cloned stay behind. */
export function encodeError(call: string, error: unknown, most: number): Buffer {
  if (!(error instanceof Error)) return encode(call, { thrown: error }, most);
  const property = (name: string): [string, unknown] => [name, Reflect.get(error, name)];
  const parts: ErrorParts = {
    base: BASES.find((base) => error instanceof base)?.name ?? 'Error',
    message: String(error.message),
    stack: error.stack === undefined ? undefined : String(error.stack),
    shown: Object.keys(error).map(property).filter(isClonable),
    hidden: HIDDEN.filter((name) => Object.hasOwn(error, name) || name === 'name')
      .map(property)
      .filter(isClonable),
  };
  return encode(call, { parts }, most);
}

function isClonable([, value]: [name: string, value: unknown]): boolean {
  try {
    serialize(value);
    return true;
  } catch {
    return false;
  }
}

/** What {@link encodeError} was given. */
export function decodeError(bytes: Buffer): unknown {
  const { thrown, parts } = decode(bytes) as { thrown?: unknown; parts?: ErrorParts };
  if (parts === undefined) return thrown;
  const { base, message, stack, shown, hidden } = parts;
  const error = new (BASES.find(({ name }) => name === base) ?? Error)(message);
  define(error, 'stack', stack, false);
  for (const [name, value] of hidden) define(error, name, value, false);
  for (const [name, value] of shown) define(error, name, value, true);
  return error;
}

function define(error: Error, name: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(error, name, { value, enumerable, configurable: true, writable: true });
}
