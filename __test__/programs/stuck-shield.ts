import { Greenlet, run, shield } from 'greenstack';

void run(() => shield(() => new Greenlet(() => undefined).join()));
