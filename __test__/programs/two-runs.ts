import { run, sleep } from 'greenstack';

function untilInterrupted(name: string): void {
  try {
    sleep(60_000);
  } catch (error) {
    console.log(`${name}: ${(error as Error).name}`);
  }
}

void run(() => untilInterrupted('first'));
void run(() => {
  console.log('ready');
  untilInterrupted('second');
});
