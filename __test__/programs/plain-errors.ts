import { run, sleep } from 'greenstack';

process.on('uncaughtException', (error) => console.log(`uncaughtException: ${error.message}`));
process.on('unhandledRejection', (error) => console.log(`unhandledRejection: ${(error as Error).message}`));

void run(() => {
  setImmediate(() => {
    throw new Error('thrown');
  });
  sleep(20);
  void Promise.reject(new Error('rejected'));
  sleep(20);
  console.log('unharmed');
});
