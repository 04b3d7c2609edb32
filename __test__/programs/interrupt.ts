import { KeyboardInterrupt, run, sleep } from 'greenstack';

void run(
  () => {
    console.log('ready');
    try {
      sleep(3_600_000);
    } catch (error) {
      const { name, code, signal } = error as KeyboardInterrupt;
      console.log(name, code, signal);
    }
  },
  { signals: !process.argv.includes('ignored') },
);
