/** Greenlets yielding to one another with `sleep(0)`: one alone, two (a plain hand-over), and a thousand (cold stacks). */
import { joinAll, run, sleep, spawn } from 'greenstack';
import { count, report, sample } from './measure.mjs';

const yields = count(300_000);

/** @param {number} greenlets - how many share the yields */
function yieldAmong(greenlets) {
  const each = Math.ceil(yields / greenlets);
  return sample(each * greenlets, () => {
    const yielding = () => {
      for (let i = 0; i < each; i++) sleep(0);
    };
    joinAll(Array.from({ length: greenlets }, () => spawn(yielding)));
  });
}

await run(() => {
  report({
    'sleep0.alone': yieldAmong(1),
    'sleep0.two': yieldAmong(2),
    'sleep0.thousand': yieldAmong(1000),
  });
});
