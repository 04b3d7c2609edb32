/** What the modules below export, one this, the other that. */
interface Exports {
  f: () => number;
  trap: (address: number) => number;
  recurse: () => number;
}

/** The little of WebAssembly that tests need; Node's types leave it to the library of browsers. */
interface WebAssemblyApi {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports?: { m: { park: unknown } }) => { exports: Exports };
  /** JSPI, which Node has from 24 on. */
  promising?: (fn: () => number) => () => Promise<number>;
  Suspending?: new (fn: () => Promise<number>) => object;
}

/** Missing with `--jitless`. */
export const { WebAssembly: webAssembly } = globalThis as unknown as { WebAssembly?: WebAssemblyApi };

function instantiate(hex: string, imports?: { m: { park: unknown } }): Exports {
  const { Module, Instance } = webAssembly!;
  return new Instance(new Module(Buffer.from(hex, 'hex')), imports).exports;
}

/** `(import "m" "park" (func (result i32)))`, exported as `f`, which adds one to what the import returns. */
const callsImport =
  '0061736d01000000' + // magic number and version
  '0105016000017f' + // one type: () -> i32
  '020a01016d047061726b0000' + // the import
  '03020100' + // one function of that type
  '07050101660001' + // the export
  '0a09010700100041016a0b'; // its code: call 0, i32.const 1, i32.add

/** `trap` loads from an address in a memory of 64 KiB, `recurse` calls itself for ever. */
const fails =
  '0061736d01000000' +
  '010a0260017f017f6000017f' + // two types: (i32) -> i32, () -> i32
  '0303020001' + // a function of each
  '0503010001' + // one page of memory
  '071202047472617000000772656375727365' +
  '0001' + // the exports
  '0a0e0207002000280200' +
  '0b040010010b'; // local.get 0, i32.load; call 1

/** An exported function that calls `park` and returns one more than that. */
export function wasm(park: unknown): () => number {
  return instantiate(callsImport, { m: { park } }).f;
}

/** Functions that fail in the ways of WebAssembly: by a trap, and by a stack overflow. */
export function failingWasm(): Pick<Exports, 'trap' | 'recurse'> {
  return instantiate(fails);
}
