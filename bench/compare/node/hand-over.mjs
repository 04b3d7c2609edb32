/** Two async functions, each awaiting a promise that the other resolves, to and fro. */
import { count, now, report } from '../../measure.mjs';

const trips = count(50_000);

/** @returns {{ taken: Promise<void>, pass: () => void }} */
function baton() {
  let pass = () => {};
  const taken = /** @type {Promise<void>} */ (new Promise((resolve) => (pass = resolve)));
  return { taken, pass };
}

async function toAndFro() {
  let there = baton();
  let back = baton();
  const one = async () => {
    for (let i = 0; i < trips; i++) {
      there.pass();
      await back.taken;
      back = baton();
    }
  };
  const other = async () => {
    for (let i = 0; i < trips; i++) {
      await there.taken;
      there = baton();
      back.pass();
    }
  };
  const start = now();
  await Promise.all([one(), other()]);
  return (now() - start) / (trips * 2);
}

await toAndFro();
report({ 'hand-over.promise': [await toAndFro(), await toAndFro(), await toAndFro()] });
