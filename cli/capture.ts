/** The capture as configuration describes it: definitions with their placeholders filled in, and the migrations' place. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Definition, readDefinition } from '../connectors/definition.ts';
import { captureSettings } from '../connectors/settings.ts';
import type { Config } from '../core/config.ts';
import { type MigrateOptions, migrate } from '../storage/migrate.ts';
import { projectDir } from './config.ts';

/** Every definition in connectors/, by file name. @throws MillraceError CONFIG_INVALID */
export async function definitions(config: Config): Promise<readonly Definition[]> {
  const { user, passwordReference, slot, prefix, postgresUrl, registryUrl } = config.capture;
  const settings = captureSettings({
    postgresUrl: postgresUrl || config.postgres.url,
    registryUrl: registryUrl || config.registry.url,
    password: passwordReference,
    user,
    slot,
    prefix,
  });
  const dir = join(projectDir, 'connectors');
  const files = (await readdir(dir)).filter((file) => file.endsWith('.json')).sort();
  return Promise.all(files.map((file) => readDefinition(join(dir, file), settings)));
}

/** Brings the configured database up to date; sets the capture role's password when there is one. See storage/migrate.ts. */
export function migrateDatabase(
  config: Config,
  options: Pick<MigrateOptions, 'log' | 'signal'> = {},
): Promise<readonly string[]> {
  const { password } = config.capture;
  return migrate({
    url: config.postgres.url,
    dir: join(projectDir, 'infra', 'sql'),
    ...(password === '' ? {} : { capturePassword: password }),
    ...options,
  });
}
