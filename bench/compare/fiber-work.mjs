/** What is done with fibers, by either library. */
import { count, memory, sample } from '../measure.mjs';

const FEW = 10;
const MANY = 10_000;
/** Many short ones: each is over before somebody else gets the processor. */
const REPETITIONS = 200;

/**
 * @param {import('greenstack/fibers')} Fiber
 * @returns {Record<string, number | number[]>} the figures of the operation `fiber`
 */
export function measureFibers(Fiber) {
  const endless = () => {
    for (;;) Fiber.yield();
  };
  const nothing = () => {};
  const suspended = () => {
    const fiber = Fiber(endless);
    fiber.run();
    return fiber;
  };
  const switches = (/** @type {import('greenstack/fibers')[]} */ fibers, /** @type {number} */ rounds) =>
    sample(
      rounds * fibers.length,
      () => {
        for (let round = 0; round < rounds; round++) for (const fiber of fibers) fiber.run();
      },
      REPETITIONS,
    );
  const starts = (/** @type {number} */ number) =>
    sample(
      number,
      () => {
        for (let index = 0; index < number; index++) Fiber(nothing).run();
      },
      REPETITIONS,
    );

  const few = Array.from({ length: FEW }, suspended);
  const fewSwitch = switches(few, count(100));
  const fewStart = starts(count(1000));
  const before = memory().resident;
  const many = few.concat(Array.from({ length: MANY - FEW }, suspended));
  const bytes = (memory().resident - before) / (MANY - FEW);
  return {
    'fiber.switch.10': fewSwitch,
    'fiber.start.10': fewStart,
    'fiber.switch.10000': switches(few, count(100)),
    'fiber.switch-all.10000': switches(many, 1),
    'fiber.start.10000': starts(count(1000)),
    'fiber.bytes': bytes,
  };
}
