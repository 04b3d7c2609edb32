import { Greenlet, run } from 'greenstack';

void run(() => new Greenlet(() => {}).join());
