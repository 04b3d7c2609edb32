import { run, sleep, spawn } from 'greenstack';

function worker(id: number): void {
  try {
    sleep(3_600_000);
  } finally {
    sleep(1);
    console.log(`worker ${id} finally`);
  }
}

void run(() => {
  spawn(worker, 1);
  spawn(worker, 2);
  sleep(1);
  console.log('ready');
  try {
    sleep(3_600_000);
  } finally {
    console.log('main finally');
  }
});
