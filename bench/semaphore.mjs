/**
 * Acquires a semaphore that is free and releases it; and two greenlets, each waiting for a permit that the other releases,
 * to and fro.
 */
import { joinAll, run, spawn } from 'greenstack';
import { Semaphore } from 'greenstack/lock';
import { count, report, sample, verify } from './measure.mjs';

const uses = count(200_000);
const trips = count(50_000);

function useFree() {
  const semaphore = new Semaphore();
  for (let i = 0; i < uses; i++) {
    semaphore.acquire();
    semaphore.release();
  }
  verify(semaphore.counter, 1);
}

function toAndFro() {
  const there = new Semaphore(0);
  const back = new Semaphore(0);
  let turns = 0;
  const one = () => {
    for (let i = 0; i < trips; i++) {
      there.release();
      back.acquire();
      verify(++turns, 2 * i + 2);
    }
  };
  const other = () => {
    for (let i = 0; i < trips; i++) {
      there.acquire();
      verify(++turns, 2 * i + 1);
      back.release();
    }
  };
  joinAll([spawn(one), spawn(other)]);
}

await run(() =>
  report({
    'semaphore.free': sample(uses, useFree),
    'semaphore.handOver': sample(trips * 2, toAndFro),
  }),
);
