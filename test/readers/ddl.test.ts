import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { duckdbScript, trinoScript } from '../../cli/archive/query/ddl.ts';
import { trinoType } from '../../core/archive/reading/trino.ts';
import { namings } from '../../core/archive/reading/views.ts';
import { columnsWithLineage, tables } from '../../core/archive/rows/tables.ts';
import { parseConfig } from '../../core/base/config.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import { type Archive, makeArchive, writeArchive } from './archive.ts';

const config = parseConfig({
  s3: { bucket: 'lake', endpoint: 'http://127.0.0.1:9000', accessKeyId: 'AKIA-MINE', secretAccessKey: 'very-secret' },
  parquet: { topicsDir: 'archive' },
});
let archive: Archive;

beforeAll(async () => {
  archive = await makeArchive();
});

describe('the script for DuckDB', () => {
  test('runs as it is, and its views hold what the list says', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-ddl-'));
    const instance = await DuckDBInstance.create(':memory:');
    const db = await instance.connect();
    try {
      await writeArchive(archive, dir);
      // The very script, with the bucket on this disk: DuckDB's client for S3 is fetched at run time.
      const script = duckdbScript(archive.objects, config).replaceAll("'s3://lake/", `'${dir}/`);
      await db.run(script);
      // A second time, as after new files.
      await db.run(script);
      const count = async (sql: string) => (await db.runAndReadAll(sql)).getRowsJson();
      for (const [topic, name] of [
        ['cdc.public.trades', 'trades'],
        ['market.candles', 'candles'],
        ['market.anomalies', 'anomalies'],
      ] as const) {
        const rows = archive.objects.get(topic)?.reduce((sum, object) => sum + object.rows, 0n);
        expect(await count(`SELECT count(*) FROM ${name}`)).toEqual([[String(rows)]]);
      }
      expect(await count('SELECT count(*) FROM trades_now')).toEqual([['5']]);
      expect(await count('SELECT revision, volume FROM candles_newest')).toEqual([
        [2, '999999999999999999999999999999.99999999'],
      ]);
      expect(await count('SELECT count(*) FROM anomalies_newest')).toEqual([['0']]);
    } finally {
      db.closeSync();
      instance.closeSync();
      await rm(dir, { recursive: true });
    }
  });

  test('tells how to reach the bucket, and no key', () => {
    const script = duckdbScript(archive.objects, config);
    expect(script).toContain("ENDPOINT '127.0.0.1:9000', URL_STYLE 'path', USE_SSL false, SCOPE 's3://lake'");
    expect(script).not.toContain('AKIA-MINE');
    expect(script).not.toContain('very-secret');
  });

  test('names each listed object once, and nothing else', () => {
    const script = duckdbScript(archive.objects, config);
    const named = [...script.matchAll(/'s3:\/\/lake\/([^']+)'/g)].map(([, key]) => key);
    expect(named).toEqual([...archive.objects.values()].flat().map(({ key }) => key));
  });
});

describe('the script for Trino', () => {
  const columnsIn = (script: string, table: string): string[] => {
    const [, body = ''] =
      new RegExp(`CREATE TABLE IF NOT EXISTS hive\\.millrace\\.${table} \\(\\n([\\s\\S]*?)\\n\\) WITH`).exec(script) ??
      [];
    return body.split(',\n').map((line) => line.trim());
  };

  test.each(archivedTopics)("%s: has the columns of the files with exact types, the path's columns last", (topic) => {
    const script = trinoScript(archive.objects, config, 'cluster-1');
    const name = namings[topic].all;
    expect(columnsIn(script, `${name}_files`)).toEqual([
      ...columnsWithLineage(tables[topic]).map((column) => `"${column.name}" ${trinoType(column.type)}`),
      '"year" varchar',
      '"month" varchar',
      '"day" varchar',
    ]);
    expect(script).toContain(`external_location = 's3://lake/archive/cluster-1/${topic}/'`);
    expect(script).toContain(`CALL hive.system.sync_partition_metadata('millrace', '${name}_files', 'FULL')`);
  });

  test('has types that hold each value exactly', () => {
    expect(columnsIn(trinoScript(archive.objects, config, 'cluster-1'), 'candles_files')).toEqual(
      expect.arrayContaining([
        '"open" decimal(20, 8)',
        '"volume" decimal(38, 8)',
        '"notional" decimal(38, 16)',
        '"window_start" timestamp(6)',
        '"trade_count" bigint',
        '"revision" integer',
        '"interval" varchar',
      ]),
    );
  });

  test('reads each row once, and says that the files alone are at least once', () => {
    const script = trinoScript(archive.objects, config, 'cluster-1');
    expect(script).toContain('at least once');
    expect(script.match(/PARTITION BY "year", "month", "day", "_topic", "_partition", "_offset"/g)).toHaveLength(
      archivedTopics.length,
    );
    expect(script).toContain('PARTITION BY "venue", "symbol", "trade_id" ORDER BY "_offset" DESC');
  });

  test('has a table per tree of files, and one view over them', () => {
    const objects = (archive.objects.get('market.candles') ?? []).flatMap((object) => [
      object,
      { ...object, key: object.key.replace('cluster-1', 'cluster-0') },
    ]);
    const script = trinoScript(new Map([['market.candles', objects]] as const), config, 'cluster-1');
    expect(script.match(/external_location = '[^']*'/g)).toEqual([
      "external_location = 's3://lake/archive/cluster-1/market.candles/'",
      "external_location = 's3://lake/archive/cluster-0/market.candles/'",
    ]);
    expect(script.match(/FROM hive\.millrace\.candles_files(_2)?\n/g)).toHaveLength(2);
    expect(script.match(/CREATE OR REPLACE VIEW/g)).toHaveLength(2);
  });

  test('has a place for a topic of which nothing is listed yet', () => {
    const none = new Map<ArchivedTopic, []>([['market.anomalies', []]]);
    const script = trinoScript(none, parseConfig({ parquet: { topicsDir: '/cold/' } }), 'cluster-9');
    expect(script).toContain("external_location = 's3://millrace/cold/cluster-9/market.anomalies/'");
  });
});
