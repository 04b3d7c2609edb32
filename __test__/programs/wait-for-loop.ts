import { run, sleep, spawn, wait } from 'greenstack';

void run(() => {
  spawn(() => {
    sleep(5);
    console.log('greenlet');
  });
  setTimeout(() => console.log('callback'), 30);
  console.log(wait());
});
