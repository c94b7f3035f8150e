/** `millrace archive files`: prints the list while reading its columns. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { Command } from 'commander';
import { readListing } from '../../core/archive/listing/objects.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import { loadConfig } from '../settings/config.ts';
import { withLog } from '../stack/log.ts';
import { untilSignal } from '../terminal/signals.ts';
import { archivedTopic, dayOf, listed, urlOf } from './list.ts';

interface FilesOptions {
  readonly day?: string;
  readonly json?: boolean;
}

export function register(group: Command): void {
  group
    .command('files')
    .description(
      'print the exact list of files that hold a topic; a prefix of the bucket can contain files of unfinished cuts',
    )
    .argument('<topic>', `one of ${archivedTopics.join(', ')}`, archivedTopic)
    .option('--day <day>', 'only files of this day, YYYY-MM-DD', dayOf)
    .option('--json', 'print JSON, with offsets and hashes')
    .action(files);
}

async function files(topic: ArchivedTopic, options: FilesOptions, command: Command): Promise<void> {
  const { s3 } = loadConfig(command);
  const { day, json } = options;
  if (day !== undefined && json !== true) {
    const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted'));
    const found = await listed(command, [topic], { day }, signal);
    await writeLines(found.get(topic) ?? [], (object) => urlOf(s3, object), process.stdout);
    return;
  }
  // With --json, one day is read from the list too: manifests do not count dead letters.
  const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted'));
  const range = day === undefined ? {} : { days: (each: string) => each === day };
  const { objects } = await withLog(loadConfig(command), (log, schemas) =>
    readListing(log, schemas, topic, range, signal),
  );
  if (json !== true) await writeLines(objects, (object) => urlOf(s3, object), process.stdout);
  else await writeJson(objects, (object) => ({ ...object, url: urlOf(s3, object) }), process.stdout);
}

/** Writes one line for each object. */
export async function writeLines<T>(objects: Iterable<T>, line: (object: T) => string, out: Writable): Promise<void> {
  for (const object of objects) if (!out.write(`${line(object)}\n`)) await once(out, 'drain');
}

/** Writes one JSON array in the format of `printJson`, without the whole text in memory. */
export async function writeJson<T>(objects: Iterable<T>, of: (object: T) => object, out: Writable): Promise<void> {
  let before = '[';
  for (const object of objects) {
    const text = JSON.stringify([of(object)], (_key, each) => (typeof each === 'bigint' ? each.toString() : each), 2);
    // The text between the brackets: a line feed and the object, indented.
    if (!out.write(`${before}${text.slice(1, -2)}`)) await once(out, 'drain');
    before = ',';
  }
  out.write(before === '[' ? '[]\n' : '\n]\n');
}
