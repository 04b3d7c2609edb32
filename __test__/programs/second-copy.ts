import type * as Greenstack from 'greenstack';

const first = require('greenstack') as typeof Greenstack;

function load(): typeof Greenstack {
  for (const path of Object.keys(require.cache)) delete require.cache[path];
  return require('greenstack') as typeof Greenstack;
}

function runWith({ run, sleep }: typeof Greenstack, value: number): Promise<number> {
  return run(() => {
    sleep(1);
    return value;
  });
}

void (async () => {
  console.log(`first: ${await runWith(first, 1)}`);
  try {
    console.log(`second: ${await runWith(load(), 2)}`);
  } catch (error) {
    console.log(`second: refused: ${(error as Error).message}`);
  }
  console.log(`first again: ${await runWith(first, 3)}`);
})();
