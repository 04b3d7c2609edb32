import { run } from 'greenstack';
import { Event } from 'greenstack/event';

const [thrown, rejected] = [new Event(), new Event()];
process.on('uncaughtException', (error) => {
  console.log(`uncaughtException: ${error.message}`);
  thrown.set();
});
process.on('unhandledRejection', (error) => {
  console.log(`unhandledRejection: ${(error as Error).message}`);
  rejected.set();
});

void run(() => {
  setImmediate(() => {
    throw new Error('thrown');
  });
  thrown.wait();
  void Promise.reject(new Error('rejected'));
  rejected.wait();
  console.log('unharmed');
});
