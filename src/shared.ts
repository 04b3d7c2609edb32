/** `greenstack/shared`: events, results, semaphores and queues that several threads of a process use. */
export { SharedAsyncResult } from './shared/async-result.js';
export { SharedEvent } from './shared/event.js';
export type { SharedHandle, SharedKind, SharedOptions, SharedValueOptions } from './shared/memory.js';
export { SharedQueue } from './shared/queue.js';
export { SharedSemaphore } from './shared/semaphore.js';
