/** Connections that wait for their first bytes: with neither a stack nor a socket object, so that very many can. */
import { native, Sides } from './binding.js';
import { Watch } from './watch.js';

/** Told when there is something to read, or the connection has ended or failed. */
export interface Attendant {
  /** @internal */
  _onFirstBytes(connection: IdleConnection): void;
}

function tell(this: IdleConnection): void {
  this.attendant._onFirstBytes(this);
}

/** A connection that was accepted and has sent nothing yet. */
export class IdleConnection extends Watch {
  declare readonly attendant: Attendant;
  declare readonly socketKey: number;

  /** @param key - native code's name for the socket, which is this object's until it is handed on */
  constructor(key: number, attendant: Attendant) {
    // One function for all: a closure for each would take more memory than the rest.
    super(key, Sides.Read, tell as () => void);
    this.attendant = attendant;
    this.socketKey = key;
  }

  /** Waits no more, and closes the connection. */
  close(): void {
    this.stop();
    native.close(this.socketKey);
  }
}
