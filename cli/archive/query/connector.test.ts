import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { configOf } from '../../settings/config.ts';

let dir: string;
let file: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'millrace-connector-'));
  file = join(dir, 'sink.json');
  writeFileSync(
    file,
    JSON.stringify({ config: { 'flush.size': '77', 's3.bucket.name': 'cold', 'rotate.interval.ms': 5 } }),
  );
});

afterAll(() => rmSync(dir, { recursive: true }));

describe("the configuration with a connector's file", () => {
  test('has its settings, and those of the environment before them', () => {
    const env = { MILLRACE_PARQUET_CONNECTOR: file, MILLRACE_PARQUET_FLUSH_SIZE: '5' };
    const { parquet, s3 } = configOf('no-such-stack', env);
    expect(parquet).toMatchObject({ flushSize: 5, rotateIntervalMs: 5 });
    expect(s3.bucket).toBe('cold');
  });

  test.each(['none.json', ''])('that cannot be read (%j) is refused, naming the setting', (name) => {
    const env = { MILLRACE_PARQUET_CONNECTOR: join(dir, name) };
    expect(() => configOf('no-such-stack', env)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        remedy: expect.stringContaining('MILLRACE_PARQUET_CONNECTOR'),
      }),
    );
  });
});
