/** Installs all parts of the stack that npm does not provide, in parallel. */
import { join } from 'node:path';
import { minimumJava } from '../parts.ts';
import { type Host, runCommand } from './command.ts';
import { findJava, type Java } from './java.ts';
import { ensurePom, isPomInstalled, type PomFolder, type PomPlace } from './maven.ts';
import { ensureMinio } from './minio.ts';

export type { Host } from './command.ts';

export interface Installed {
  readonly java: Java;
  /** Folder of jars. */
  readonly kafka: string;
  /** A plugin.path of Kafka Connect. */
  readonly debezium: string;
  /** The unpacked server. */
  readonly registry: string;
  /** The command. */
  readonly minio: string;
}

export interface InstallOptions {
  readonly host: Host;
  /** Receives one line of progress for one part. */
  readonly note?: (thing: string, text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Artifacts from Maven. */
const places = {
  kafka: {},
  debezium: { inside: 'debezium', lastStep: 'sync-manifests' },
  registry: { unpack: true },
} as const satisfies Record<string, Pick<PomPlace, 'unpack' | 'inside' | 'lastStep'>>;

function placeOf(name: keyof typeof places, host: Pick<Host, 'cacheDir'>): PomPlace {
  return { ...places[name], host, name, pom: join(import.meta.dirname, '..', 'poms', `${name}.xml`) };
}

/** Whether all parts from Maven are in the cache. */
export async function areJarsInstalled(host: Pick<Host, 'cacheDir'>): Promise<boolean> {
  const names = Object.keys(places) as (keyof typeof places)[];
  return (await Promise.all(names.map((name) => isPomInstalled(placeOf(name, host))))).every(Boolean);
}

/**
 * Fast when everything is cached. The first failure stops the other installations.
 *
 * @throws MillraceError TOOL_MISSING, INSTALL_FAILED
 */
export async function installAll({ host, note, signal }: InstallOptions): Promise<Installed> {
  const failed = new AbortController();
  const stop = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  const java = await findJava(minimumJava, host.env);
  const pom = (name: keyof typeof places, options: Pick<PomFolder, 'runLastStep'> = {}) =>
    ensurePom({
      ...placeOf(name, host),
      host,
      ...options,
      javaHome: java.home,
      note: (text) => note?.(name, text),
      signal: stop,
    });
  const kafkaJars = pom('kafka');
  // The converter has no manifest that declares it as a plug-in, and a scan of all classes costs seconds at each start.
  const manifests = async (folder: string): Promise<void> => {
    note?.('debezium', 'writing manifests');
    const tool = ['-cp', join(await kafkaJars, '*'), 'org.apache.kafka.tools.ConnectPluginPath'];
    const args = ['-XX:TieredStopAtLevel=1', ...tool, 'sync-manifests', '--plugin-path', folder];
    await runCommand(java.command, args, { env: host.env, cwd: folder, signal: stop });
  };
  const all = [
    kafkaJars,
    pom('debezium', { runLastStep: manifests }),
    pom('registry'),
    ensureMinio({ host, note: (text) => note?.('minio', text), signal: stop }),
  ] as const;
  for (const each of all) each.catch((error: unknown) => failed.abort(error));
  const settled = await Promise.allSettled(all);
  signal?.throwIfAborted();
  failed.signal.throwIfAborted();
  const [kafka, debezium, registry, minio] = settled.map((each) => (each.status === 'fulfilled' ? each.value : ''));
  return { java, kafka: kafka ?? '', debezium: debezium ?? '', registry: registry ?? '', minio: minio ?? '' };
}
