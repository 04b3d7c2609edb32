import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';

/** What an import might change behind one's back: globals, prototypes, listeners. */
function surroundings(): Map<string, unknown> {
  const seen = new Map<string, unknown>();
  const note = (place: string, object: object) => {
    for (const key of Reflect.ownKeys(object)) {
      const descriptor = Reflect.getOwnPropertyDescriptor(object, key);
      seen.set(`${place}.${String(key)}`, descriptor?.value ?? descriptor?.get);
    }
  };
  note('AsyncLocalStorage', AsyncLocalStorage.prototype);
  note('AsyncResource', AsyncResource.prototype);
  note('Promise', Promise.prototype);
  note('Function', Function.prototype);
  for (const name of Reflect.ownKeys(globalThis)) seen.set(`globalThis.${String(name)}`, true);
  for (const name of process.eventNames())
    seen.set(`process.on ${String(name)}`, process.listenerCount(name));
  return seen;
}

const before = surroundings();
require('greenstack');
/** By which a second copy in the same thread notices the first. */
const MARKER = 'globalThis.Symbol(greenstack.copy)';
const changed = [...surroundings()]
  .filter(([name, value]) => name !== MARKER && before.get(name) !== value)
  .map(([name]) => name);
console.log(JSON.stringify(changed));
