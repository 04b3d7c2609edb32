/** Fibers: a switch there and back, one that is started and ends, with few and many alive, and the memory of one. */
import Fiber from 'greenstack/fibers';
import { measureFibers } from './compare/fiber-work.mjs';
import { report } from './measure.mjs';

report(measureFibers(Fiber));
