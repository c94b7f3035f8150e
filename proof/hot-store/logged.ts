import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { type HotTable, hotTables } from '../../core/hot-store/tables.ts';
import type { Committed, Log } from '../../core/log/log.ts';
import { canonicalText, hashRow } from '../../core/values/rowhash/rowhash.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { HotTopic } from '../../schemas/topics.ts';
import type { Scratch } from '../reading/scratch.ts';
import { readRaw, readTopic } from '../reading/topic.ts';

export interface LoadOptions {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly topic: HotTopic;
  readonly scratch: Scratch;
  /** Positions that the sink had committed before the table was read. */
  readonly committed: readonly Committed[];
}

/**
 * Fills `logged` with every record that is a row: partition, offset, key, event time, revision, row hash, and `below` (committed by the
 * sink). Records that the sink refused are left out.
 *
 * @returns the number of records that the sink has not taken yet, and whether the log has lost its beginning
 */
export async function loadLogged(options: LoadOptions): Promise<{ waiting: number; cut: boolean }> {
  const { log, schemas, topic, scratch, committed } = options;
  const table = hotTables[topic];
  const keys = table.columns.filter(({ name }) => table.key.includes(name));
  const eventTime = table.columns.find(({ name }) => name === table.eventTime);
  const positions = new Map(committed.map(({ partition, offset }) => [partition, offset]));
  const cut = (await log.starts(topic)).some((start) => start > 0n);
  const refused = await readRefused(log, schemas, topic);
  const decoder = new AvroDecoder<object>(schemas, table.schema);
  await scratch.db.run(
    'CREATE TABLE logged (p INTEGER, o BIGINT, k VARCHAR, t BIGINT, r INTEGER, h UBIGINT, below BOOLEAN)',
  );
  const rows = await scratch.appendTo('logged');
  let waiting = 0;
  for await (const { partition, records } of readRaw(log, topic)) {
    const missing = decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    const position = positions.get(partition) ?? 0n;
    for (const { offset, value, unreadable } of records) {
      const below = offset < position;
      if (!below) waiting++;
      const record = unreadable === undefined ? decoder.decodeIfReadable(value) : undefined;
      if (record === undefined || refused.has(`${partition}/${offset}`)) continue;
      const row = table.columns.map((column) => column.value(record));
      const key = canonicalText(
        keys,
        keys.map((column) => column.value(record)),
      );
      const time = eventTime?.value(record) ?? null;
      rows.add(partition, offset, key, time, table.revision(record), hashRow(table.columns, row), below);
    }
  }
  rows.close();
  return { waiting, cut };
}

/** One record of the log; undefined if it is no row, or deleted. */
export async function readRow(
  log: Log,
  schemas: Schemas,
  table: HotTable,
  partition: number,
  offset: bigint,
): Promise<object | undefined> {
  const decoder = new AvroDecoder<object>(schemas, table.schema);
  const range = { partition, from: offset, to: offset + 1n };
  for await (const { records } of readRaw(log, table.topic, undefined, range)) {
    const missing = decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    for (const { value } of records) return decoder.decodeIfReadable(value);
  }
  return undefined;
}

async function readRefused(log: Log, schemas: Schemas, topic: HotTopic): Promise<ReadonlySet<string>> {
  const refused = new Set<string>();
  for await (const portion of readTopic<DeadLetter>(log, schemas, 'hot-store.dead', contracts.dead_letter)) {
    for (const { value } of portion) {
      const { origin } = value;
      if (origin.topic === topic) refused.add(`${origin.partition}/${origin.offset}`);
    }
  }
  return refused;
}
