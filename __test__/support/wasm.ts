/** The little of WebAssembly that tests need; Node's types leave it to the library of browsers. */
interface WebAssemblyApi {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: { m: { park: unknown } }) => { exports: { f: () => number } };
  /** JSPI, which Node has from 24 on. */
  promising?: (fn: () => number) => () => Promise<number>;
  Suspending?: new (fn: () => Promise<number>) => object;
}

export const webAssembly = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

/** `(import "m" "park" (func (result i32)))`, exported as `f`, which adds one to what the import returns. */
const addsOne = new webAssembly.Module(
  Buffer.from(
    '0061736d01000000' + // magic number and version
      '0105016000017f' + // one type: () -> i32
      '020a01016d047061726b0000' + // the import
      '03020100' + // one function of that type
      '07050101660001' + // the export
      '0a09010700100041016a0b', // its code: call 0, i32.const 1, i32.add
    'hex',
  ),
);

/** An exported function that calls `park` and returns one more than that. */
export function wasm(park: unknown): () => number {
  return new webAssembly.Instance(addsOne, { m: { park } }).exports.f;
}
