import { type GreenstackError, getHub, run, sleep, spawn } from 'greenstack';

async function codeOf(body: () => unknown): Promise<string> {
  try {
    await body();
    return 'no error';
  } catch (error) {
    return (error as GreenstackError).code;
  }
}

void run(() => sleep(1)).then(async () => {
  getHub().destroy();
  getHub().destroy();
  console.log(`spawn: ${await codeOf(() => spawn(() => {}))}`);
  console.log(`run: ${await codeOf(() => run(() => {}))}`);
});
