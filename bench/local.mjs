/** Reads and writes what each greenlet has of its own: a property of a `local`, and the value of a `GreenletLocal`. */
import { run, spawn } from 'greenstack';
import { GreenletLocal, local } from 'greenstack/local';
import { count, report, sample, verify } from './measure.mjs';

const rounds = count(200_000);

function byProperty() {
  const own = local(() => ({ count: 0 }));
  const body = () => {
    const before = own.count;
    for (let i = 0; i < rounds; i++) own.count += 1;
    verify(own.count, before + rounds);
  };
  const samples = sample(rounds * 2, body);
  verify(spawn(() => own.count).get(), 0);
  return samples;
}

function byValue() {
  const own = new GreenletLocal(() => 0);
  const body = () => {
    const before = own.get();
    for (let i = 0; i < rounds; i++) own.set(own.get() + 1);
    verify(own.get(), before + rounds);
  };
  const samples = sample(rounds * 2, body);
  verify(spawn(() => own.get()).get(), 0);
  return samples;
}

await run(() => report({ 'local.property': byProperty(), 'local.value': byValue() }));
