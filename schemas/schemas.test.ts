import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { type SchemaName, schemas } from './gen/index.ts';
import { generate, ownFolders } from './generate.ts';
import { archivedTopics, contracts, isTopic, objectsTopic, topic, topics } from './topics.ts';

const here = import.meta.dirname;

interface Field {
  readonly name: string;
  readonly doc?: string;
  readonly type: unknown;
  readonly default?: unknown;
}

interface Located {
  readonly path: string;
  readonly field: Field;
  /** Non-null branch of the type, as an object. */
  readonly type: {
    readonly type?: unknown;
    readonly logicalType?: string;
    readonly scale?: number;
    readonly items?: unknown;
  };
}

/** All fields of a schema, including nested records. */
function fieldsOf(node: unknown, path: string): Located[] {
  if (Array.isArray(node)) return node.flatMap((branch) => fieldsOf(branch, path));
  if (typeof node !== 'object' || node === null) return [];
  const { fields = [], items } = node as { fields?: readonly Field[]; items?: unknown };
  return [
    ...fieldsOf(items, path),
    ...fields.flatMap((field) => {
      const branches: unknown[] = Array.isArray(field.type) ? field.type : [field.type];
      const type = branches.find((branch) => branch !== 'null');
      const at = `${path}.${field.name}`;
      return [
        { path: at, field, type: typeof type === 'object' ? (type as Located['type']) : { type } },
        ...fieldsOf(field.type, at),
      ];
    }),
  ];
}

const fields = Object.entries(schemas).flatMap(([name, schema]) => fieldsOf(schema, name));

describe('schemas', () => {
  test('the generated code is what the schemas give, file by file', () => {
    const wanted = generate([...ownFolders, 'capture'].map((name) => join(here, name)));
    const folder = join(here, 'gen');
    expect(readdirSync(folder).sort()).toEqual([...wanted.keys()].sort());
    for (const [file, text] of wanted) expect(readFileSync(join(folder, file), 'utf8')).toBe(text);
  });

  test('the generator refuses a type that it does not know', () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-schemas-'));
    try {
      const schema = {
        type: 'record',
        name: 'X',
        fields: [{ name: 'a', type: { type: 'fixed', name: 'F', size: 3 } }],
      };
      writeFileSync(join(folder, 'x.avsc'), JSON.stringify(schema));
      expect(() => generate([folder])).toThrow('does not know the Avro type');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('every field says what it is, decimals with their scale and instants with their unit', () => {
    const undocumented = fields.filter(({ field, type }) => {
      const doc = field.doc ?? '';
      const { logicalType, scale } = typeof type.items === 'object' ? (type.items as Located['type']) : type;
      if (logicalType === 'decimal') return !doc.includes(`unscaled at scale ${scale}`);
      if (logicalType === 'timestamp-micros') return !doc.includes('microseconds since 1970');
      if (logicalType === 'timestamp-millis') return !doc.includes('milliseconds since 1970');
      return !doc.endsWith('.');
    });
    expect(undocumented.map(({ path }) => path)).toEqual([]);
  });

  test('nothing that must be exact is a float', () => {
    expect(fields.filter(({ type }) => type.type === 'float' || type.type === 'double')).toEqual([]);
  });

  test('a field that may be null has null as its default, so that it can be added or go', () => {
    const optional = fields.filter(({ field }) => Array.isArray(field.type) && field.type.includes('null'));
    expect(optional.length).toBeGreaterThan(10);
    expect(optional.filter(({ field }) => field.default !== null).map(({ path }) => path)).toEqual([]);
  });
});

describe('topics', () => {
  test('names are unique, and only listed names are topics', () => {
    expect(new Set(topics.map(({ name }) => name)).size).toBe(topics.length);
    expect([isTopic('market.candles'), isTopic('market.candle')]).toEqual([true, false]);
    expect(topic('market.candles')).toMatchObject({
      partitions: 6,
      key: 'candle_key',
      value: 'candle',
      compression: 'zstd',
    });
    expect(() => topic('nope' as 'market.candles')).toThrow(RangeError);
  });

  test('everything that is made of trades has as many partitions as trades', () => {
    const single = topics.filter(({ partitions }) => partitions !== 6);
    expect(single.map(({ name, partitions }) => [name, partitions])).toEqual([
      ['cdc.public.heartbeat', 1],
      ['cdc.transaction', 1],
      ['cdc.notifications', 1],
      ['rules', 1],
      ['ohlcv.rebuilds', 1],
      ['control', 1],
      ['aliases', 1],
      ['redrives', 1],
      ['archive.replacements', 1],
      ['archive.partitions', 1],
    ]);
  });

  test('a journal is kept for ever, since the archive keeps the inputs that it explains', () => {
    const journals = topics.filter(({ name }) => name.endsWith('.journal'));
    expect(journals).toHaveLength(4);
    for (const journal of journals) expect(journal).toMatchObject({ cleanup: 'delete', retentionMs: -1 });
  });

  test('a processor has snapshots beside its journal, kept as long as its input', () => {
    for (const journal of topics.filter(({ name }) => name.endsWith('.journal'))) {
      const name = journal.name.replace('.journal', '.snapshots');
      const { retentionMs } = topic('cdc.public.trades');
      const snapshots = { ...journal, name, retentionMs, key: null, value: null };
      expect(topics.find((each) => each.name === name)).toMatchObject(snapshots);
    }
  });

  test('what a table had before is kept as long as the input that was joined with it, and rules as long as anybody asks', () => {
    const { retentionMs } = topic('cdc.public.trades');
    expect(topic('cdc.public.instruments').compactionLagMs).toBeGreaterThanOrEqual(retentionMs);
    expect(topic('rules').compactionLagMs).toBeGreaterThanOrEqual(100 * 365 * 86_400_000);
  });

  test('changelogs are compacted and hold bytes of their processor only', () => {
    for (const entry of topics.filter(({ name }) => name.endsWith('.changelog'))) {
      expect(entry).toMatchObject({ cleanup: 'compact', retentionMs: -1, key: null, value: null });
    }
  });

  test('every archived topic has a topic that lists its objects for ever', () => {
    for (const name of archivedTopics) {
      expect(topic(objectsTopic(name))).toMatchObject({ value: 'archive_object', retentionMs: -1, cleanup: 'delete' });
    }
  });

  test('every schema is used by a topic, and every subject has one schema', () => {
    const used = new Set<SchemaName>(contracts().map(({ schema }) => schema));
    expect([...used].sort()).toEqual(Object.keys(schemas).sort());
    expect(new Set(contracts().map(({ subject }) => subject)).size).toBe(contracts().length);
  });

  test('the list cannot be changed', () => {
    expect(Object.isFrozen(topics) && topics.every((entry) => Object.isFrozen(entry))).toBe(true);
  });
});

describe('docs/reference', () => {
  const docs = ['topics.md', 'schemas.md']
    .map((page) => readFileSync(join(here, '../docs/reference', page), 'utf8'))
    .join('\n');

  test('has every topic as it is in the list', () => {
    const kept = (ms: number) => (ms === -1 ? 'for ever' : `${ms / 86_400_000} days`);
    for (const { name, partitions, cleanup, retentionMs, key, value, createdBy } of topics) {
      const by = createdBy === 'connect' ? 'Kafka Connect' : 'Millrace';
      const cells = [`\`${name}\``, partitions, cleanup, kept(retentionMs), key ?? '–', value ?? '–', by];
      expect(docs).toContain(`| ${cells.join(' | ')} |`);
    }
  });

  test('has every schema with its description', () => {
    for (const [name, schema] of Object.entries(schemas)) {
      expect(docs).toContain(`| \`${name}\` | \`${schema.namespace}.${schema.name}\` | ${schema.doc} |`);
    }
  });
});
