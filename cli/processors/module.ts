/** Users' processors: each is exported by a module, loaded from a path. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Config } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Processor } from '../../core/processor/define.ts';
import { processorOf, processors } from './built-in.ts';

export interface Loaded {
  readonly processor: Processor<unknown>;
  /** Whether heartbeats advance its log time. Always true for a user's processor: without a deadline or a timer they change nothing. */
  readonly heartbeats: boolean;
}

/** A built-in processor by its name, or a user's from its module. @throws MillraceError CONFIG_INVALID */
export async function loadProcessor(
  config: Config,
  name: string | undefined,
  module: string | undefined,
): Promise<Loaded> {
  if (module !== undefined) {
    const processor = await importProcessor(module);
    if (name !== undefined && name !== processor.name) {
      throw new MillraceError('CONFIG_INVALID', `${module} exports ${processor.name}, not ${name}`);
    }
    return { processor, heartbeats: true };
  }
  if (name === undefined) {
    throw new MillraceError('CONFIG_INVALID', 'no processor was named', {
      remedy: `name one of ${Object.keys(processors).join(', ')}, or give your own with --module`,
    });
  }
  return { processor: processorOf(config, name), heartbeats: processors[name]?.heartbeats ?? true };
}

/** The single processor that a module exports, under any name. @throws MillraceError CONFIG_INVALID */
export async function importProcessor(path: string): Promise<Processor<unknown>> {
  const file = resolve(path);
  if (!existsSync(file)) throw new MillraceError('CONFIG_INVALID', `there is no file ${file}`);
  let exported: Readonly<Record<string, unknown>>;
  try {
    exported = (await import(pathToFileURL(file).href)) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw new MillraceError('CONFIG_INVALID', `${path} cannot be loaded: ${(cause as Error).message}`, { cause });
  }
  const found = [...new Set(Object.values(exported).filter(isProcessor))];
  const [processor] = found;
  if (processor === undefined || found.length > 1) {
    const what = found.length === 0 ? 'no processor' : `several: ${found.map((each) => each.name).join(', ')}`;
    throw new MillraceError('CONFIG_INVALID', `${path} exports ${what}`, {
      remedy: 'export one constant made by defineProcessor; if it needs settings, call it with them in the module',
    });
  }
  return processor;
}

function isProcessor(value: unknown): value is Processor<unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const { name, version, inputs, outputs, stores, create } = value as Partial<Processor<unknown>>;
  return (
    typeof name === 'string' &&
    typeof version === 'string' &&
    Array.isArray(inputs) &&
    Array.isArray(outputs) &&
    Array.isArray(stores) &&
    typeof create === 'function'
  );
}
