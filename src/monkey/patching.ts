/** What is patched: the record, how it is undone, and who is told. */
import { EventEmitter } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';

import { checkFunction, checkOptions, describe } from '../checks.js';
import { GreenstackError, named } from '../errors.js';
import type { AnyFunction } from './callback.js';

/** Thrown by a listener of {@link patching} to keep something from being patched. gevent: `gevent.events.DoNotPatch`. */
export class DoNotPatch extends GreenstackError {
  constructor(message = 'not to be patched') {
    super('ERR_GREENSTACK_DO_NOT_PATCH', message);
  }

  static {
    named(this, 'DoNotPatch');
  }
}

/** One module, or object of the language, that is patched or going to be. */
export interface PatchEvent {
  /** Such as `'fs'`. */
  readonly module: string;
  /** What is replaced in it. */
  readonly items: readonly string[];
}

interface PatchingEvents {
  /** Before `patchAll` begins, with its options. `DoNotPatch` keeps it from patching anything. */
  willPatchAll: [options: Readonly<Record<string, boolean>>];
  /** Before a module is patched. `DoNotPatch` leaves it as it is. */
  willPatchModule: [event: PatchEvent];
  didPatchModule: [event: PatchEvent];
  didPatchAll: [options: Readonly<Record<string, boolean>>];
}

/**
 * Tells what is about to be patched and has been. An error that a listener throws goes to whoever patches, and nothing more
 * is patched; `DoNotPatch` only keeps off what it was told of. gevent: the events of `gevent.events`.
 */
export const patching: EventEmitter<PatchingEvents> = new EventEmitter();

/** One property to be replaced. */
export interface Replacement {
  readonly owner: object;
  readonly key: string;
  readonly value: unknown;
}

/** One property that is replaced. */
interface Item extends Replacement {
  /** What was there, if it was the owner's own. */
  readonly before: PropertyDescriptor | undefined;
}

const patched = new Map<string, Item[]>();

/** The name of a module without `node:`. */
function plainName(call: string, module: unknown): string {
  if (typeof module !== 'string')
    throw new TypeError(`${call} expects the name of a module, got ${describe(module)}`);
  return module.startsWith('node:') ? module.slice(5) : module;
}

/** Gives `value` the name, length and own properties of what it replaces. */
export function imitate(original: AnyFunction, value: AnyFunction): AnyFunction {
  const { prototype: _, ...own } = Object.getOwnPropertyDescriptors(original) as Record<
    string,
    PropertyDescriptor
  >;
  return Object.defineProperties(value, own);
}

/** Calls `emit`; `false` if a listener throws `DoNotPatch`. */
export function isAllowed(emit: () => void): boolean {
  try {
    emit();
    return true;
  } catch (error) {
    if (error instanceof DoNotPatch) return false;
    throw error;
  }
}

/**
 * Replaces properties, and notes what was there. `false` if the module is patched already, or a listener does not want it.
 */
export function install(module: string, make: () => Replacement[]): boolean {
  if (patched.has(module)) return false;
  const replacements = make();
  const event: PatchEvent = { module, items: replacements.map(({ key }) => key) };
  if (!isAllowed(() => patching.emit('willPatchModule', event))) return false;
  const items = replacements.map((replacement): Item => {
    const { owner, key, value } = replacement;
    const before = Object.getOwnPropertyDescriptor(owner, key);
    const enumerable = before?.enumerable ?? false;
    Object.defineProperty(owner, key, { value, enumerable, configurable: true, writable: true });
    return { ...replacement, before };
  });
  patched.set(module, items);
  syncBuiltinESMExports();
  patching.emit('didPatchModule', event);
  return true;
}

/**
 * Puts back what `install` has replaced. What others have replaced since then stays as they want it. `false` if it was not
 * patched.
 */
export function uninstall(module: string): boolean {
  const items = patched.get(module);
  if (items === undefined) return false;
  patched.delete(module);
  for (const { owner, key, value, before } of items) {
    if (Object.getOwnPropertyDescriptor(owner, key)?.value !== value) continue;
    if (before === undefined) Reflect.deleteProperty(owner, key);
    else Object.defineProperty(owner, key, before);
  }
  syncBuiltinESMExports();
  return true;
}

/** All that is patched. */
export function patchedModules(): string[] {
  return [...patched.keys()];
}

/** The originals of what is patched, with their names. */
export function originals(): Map<unknown, string> {
  const found = new Map<unknown, string>();
  for (const [module, items] of patched) {
    for (const { key, before } of items) {
      if (typeof before?.value === 'function') found.set(before.value, `${module}.${key}`);
    }
  }
  return found;
}

/** Whether a module is patched. Never switches. gevent: `gevent.monkey.is_module_patched`. */
export function isModulePatched(module: string): boolean {
  return patched.has(plainName('isModulePatched()', module));
}

/** Whether one property of a module is patched. Never switches. gevent: `gevent.monkey.is_object_patched`. */
export function isObjectPatched(module: string, item: string): boolean {
  const items = patched.get(plainName('isObjectPatched()', module));
  return items !== undefined && items.some(({ key }) => key === item);
}

/** Whether anything is patched. Never switches. gevent: `gevent.monkey.is_anything_patched`. */
export function isAnythingPatched(): boolean {
  return patched.size > 0;
}

/** What a name of a module stands for. */
function objectOf(module: string): Record<string, unknown> {
  if (module === 'atomics') return Atomics as unknown as Record<string, unknown>;
  return require(module) as Record<string, unknown>;
}

/**
 * What a property of a module was before it was patched; what it is, if it is not patched. Given several names, all of
 * them in that order. Never switches. gevent: `gevent.monkey.get_original`.
 *
 * @example
 * const readFileSync = getOriginal('fs', 'readFileSync');
 */
export function getOriginal(module: string, item: string): unknown;
export function getOriginal(module: string, items: readonly string[]): unknown[];
export function getOriginal(module: string, items: string | readonly string[]): unknown {
  const name = plainName('getOriginal()', module);
  const object = objectOf(name);
  const find = (item: string): unknown => {
    if (typeof item !== 'string')
      throw new TypeError(`getOriginal() expects the name of a property, got ${describe(item)}`);
    const own = patched.get(name)?.find(({ owner, key }) => owner === object && key === item);
    if (own !== undefined) return own.before?.value;
    if (!(item in object)) throw new TypeError(`getOriginal(): ${name} has no ${item}`);
    return object[item];
  };
  return typeof items === 'string' ? find(items) : [...items].map(find);
}

/**
 * Replaces functions of any module, recorded and undone as those of greenstack: for plugins. Never switches. gevent:
 * `gevent.monkey.patch_module`.
 *
 * @param name - under which it is recorded
 * @param module - whose properties are replaced
 * @param items - the new values, by name
 * @returns `false` if a module of that name is patched already, or a listener of {@link patching} does not want it
 */
export function patchModule(
  name: string,
  module: object,
  items: Readonly<Record<string, AnyFunction>>,
): boolean {
  const plain = plainName('patchModule()', name);
  if ((typeof module !== 'object' && typeof module !== 'function') || module === null)
    throw new TypeError(`patchModule() expects a module, got ${describe(module)}`);
  const entries = Object.entries(checkOptions('patchModule()', items));
  for (const [key, value] of entries) checkFunction(`patchModule(): ${key}`, value);
  return install(plain, () => entries.map(([key, value]) => ({ owner: module, key, value })));
}

/** Undoes a patch of any module, by its name. `false` if there is none. Never switches. */
export function unpatchModule(name: string): boolean {
  return uninstall(plainName('unpatchModule()', name));
}
