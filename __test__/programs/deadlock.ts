import { Greenlet, run, spawn } from 'greenstack';

const neverStarted = new Greenlet(() => {});

function waitsForNobody(): void {
  neverStarted.join();
}

void run(() => {
  const forgotten = spawn({ name: 'the-forgotten-one' }, waitsForNobody);
  try {
    forgotten.join();
  } catch (error) {
    const { name, code, message } = error as Error & { code: string };
    console.log(JSON.stringify({ name, code, message }));
  }
});
