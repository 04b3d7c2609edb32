import { Greenlet, run } from 'greenstack';

void run(() => {
  const startedLater = new Greenlet(() => {});
  setTimeout(() => startedLater.start(), 20);
  startedLater.join();
  console.log('woken');
});
