// biome-ignore-all lint/suspicious/noTemplateCurlyInString: placeholders of connector definitions
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';
import { decodeLimits } from '../../core/avro/decoder.ts';
import { isError } from '../../core/base/errors.ts';
import { captureRecordBytes, topics } from '../../schemas/topics.ts';
import { differences, parseDefinition } from './definition.ts';
import { captureSettings } from './settings.ts';

const settings = captureSettings({
  postgresUrl: 'postgres://owner:secret@db.example:5433/market%20data',
  user: 'millrace_capture',
  password: '${dir:/secrets:capture.password}',
  slot: 'millrace',
  prefix: 'cdc',
  transactions: true,
  registryUrl: 'http://registry:8080/',
});

const text = (config: Record<string, unknown>) => JSON.stringify({ name: 'x', config });

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isError(error, 'CONFIG_INVALID')) return error.message;
  }
  throw new Error('not refused');
}

describe('a definition', () => {
  test('gets its placeholders from configuration, and keeps those of Kafka Connect', () => {
    const { config } = parseDefinition(
      text({ a: '${postgres.host}:${postgres.port}/${postgres.database}', 'database.password': '${capture.password}' }),
      'x.json',
      settings,
    );
    expect(config).toEqual({
      a: 'db.example:5433/market data',
      'database.password': '${dir:/secrets:capture.password}',
    });
  });

  test('names every placeholder that has no value', () => {
    expect(refusal(() => parseDefinition(text({ a: '${b.c}', d: '${e}' }), 'x.json', settings))).toContain(
      '${b.c}, ${e}',
    );
  });

  test('with a secret in plain text is refused, and the secret is not in the message', () => {
    const message = refusal(() => parseDefinition(text({ 'database.password': 'hunter2' }), 'x.json', settings));
    expect(message).toContain('database.password');
    expect(message).not.toContain('hunter2');
  });

  test('that is no JSON, or has a value that is no string, is refused with the place', () => {
    expect(refusal(() => parseDefinition('{', 'x.json', settings))).toContain('x.json');
    expect(refusal(() => parseDefinition(text({ 'tasks.max': 1 }), 'x.json', settings))).toContain('config.tasks.max');
  });
});

test('differences names changed, missing and added settings, and ignores the name that Kafka Connect adds', () => {
  expect(differences({ a: '1', b: '2', c: '3' }, { name: 'x', a: '1', b: '0', d: '4' })).toEqual(['b', 'c', 'd']);
  expect(differences({ a: '1' }, { a: '1', name: 'x' })).toEqual([]);
});

describe('the trades connector', () => {
  const definition = async () => {
    const file = new URL('../trades.json', import.meta.url);
    return parseDefinition(await readFile(file, 'utf8'), 'trades.json', settings).config;
  };

  test('has its password by reference only, and no placeholder without a value', async () => {
    const config = await definition();
    expect(config['database.password']).toBe('${dir:/secrets:capture.password}');
    const left = Object.entries(config).filter(([key, value]) => value.includes('${') && key !== 'database.password');
    expect(left).toEqual([]);
  });

  test('reads every captured table only in a snapshot that begins with its slot', async () => {
    const config = await definition();
    const overrides = 'snapshot.select.statement.overrides';
    expect(config[overrides]).toBe(config['table.include.list']);
    for (const table of config[overrides]?.split(',') ?? []) {
      expect(config[`${overrides}.${table}`]).toBe(`SELECT * FROM ${table} WHERE public.millrace_first_snapshot()`);
    }
  });

  test('creates its topics as schemas/topics.ts lists them', async () => {
    const config = await definition();
    const captured = topics.filter((topic) => topic.createdBy === 'connect');
    expect(captured.map((topic) => topic.name.replace('cdc.', '')).sort()).toEqual(
      [...(config['table.include.list']?.split(',') ?? []), 'transaction', 'notifications'].sort(),
    );
    const groups = config['topic.creation.groups']?.split(',') ?? [];
    for (const topic of captured) {
      const group = groups.find((name) => new RegExp(`^${config[`topic.creation.${name}.include`]}$`).test(topic.name));
      const setting = (name: string) => config[`topic.creation.${group ?? 'default'}.${name}`];
      expect({
        name: topic.name,
        partitions: setting('partitions'),
        cleanup: setting('cleanup.policy'),
        retentionMs: setting('retention.ms'),
        compression: setting('compression.type'),
        compactionLagMs: setting('min.compaction.lag.ms'),
        maxBatchBytes: setting('max.message.bytes'),
      }).toEqual({
        name: topic.name,
        partitions: String(topic.partitions),
        cleanup: topic.cleanup,
        retentionMs: String(topic.retentionMs),
        compression: topic.compression,
        compactionLagMs: topic.compactionLagMs === undefined ? undefined : String(topic.compactionLagMs),
        maxBatchBytes: topic.maxBatchBytes === undefined ? undefined : String(topic.maxBatchBytes),
      });
    }
    expect(config['producer.override.max.request.size']).toBe(String(captureRecordBytes));
    // The limit leaves room for the fields that a dead letter adds.
    expect(decodeLimits.maxBytes).toBeGreaterThanOrEqual(captureRecordBytes + 65_536);
    expect(config['transforms.partition.partition.topic.num']).toBe(
      String(topics.find((topic) => topic.name === 'cdc.public.trades')?.partitions),
    );
  });
});
