/** What tests run in worker threads by module and name. */

export default function double(value: number): number {
  return value * 2;
}

export function add(left: number, right: number): number {
  return left + right;
}

export function fail(message: string): never {
  throw new RangeError(message);
}

export const notAFunction = 1;
