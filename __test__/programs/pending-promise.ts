import { LoopExit, cooperative, run, waitFor } from 'greenstack';

const never = (): Promise<never> => new Promise<never>(() => {});

/** The line of the report that names what is waited for. */
function named(wait: () => unknown): void {
  try {
    wait();
  } catch (error) {
    if (!(error instanceof LoopExit)) throw error;
    console.log(/parked in (.*)>/.exec(error.message)?.[1]);
  }
}

void run(() => {
  named(() => waitFor(never()));
  named(() => waitFor(never));
  named(() => cooperative({ answer: never }).answer());
});
