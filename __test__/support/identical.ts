import type { ExecutionContext } from 'ava';

/**
 * Asserts that both lists hold the very same objects in the same order. `deepEqual` compares what objects look like, so it
 * takes one greenlet for another.
 */
export function identical(
  t: ExecutionContext,
  actual: readonly unknown[],
  expected: readonly unknown[],
): void {
  t.deepEqual(
    actual.map((object) => expected.indexOf(object)),
    expected.map((_, index) => index),
    'positions of what came in the list of what was expected',
  );
}
