import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { parseConfig } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { mapConnector } from './mapping.ts';
import { rules } from './rules.ts';

/** The cold sink of the design document, with the topics of this repository. */
const sink = {
  name: 'cold-storage-sink',
  config: {
    'connector.class': 'io.confluent.connect.s3.S3SinkConnector',
    topics: 'cdc.public.trades,market.candles',
    's3.region': 'us-west-2',
    's3.bucket.name': 'ai-trader-cold-storage',
    's3.part.size': 5242880,
    'flush.size': '10000',
    'storage.class': 'io.confluent.connect.s3.storage.S3Storage',
    'format.class': 'io.confluent.connect.s3.format.parquet.ParquetFormat',
    'partitioner.class': 'io.confluent.connect.storage.partitioner.TimeBasedPartitioner',
    'path.format': "'year'=YYYY/'month'=MM/'day'=dd",
    'partition.duration.ms': 86400000,
    'timestamp.extractor': 'Record',
  },
};

const config = (over: object): object => ({ ...sink.config, ...over });

function refusal(over: object): MillraceError {
  try {
    mapConnector(config(over));
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe("the configuration of Kafka Connect's S3 sink", () => {
  test('sets the settings with an equal meaning', () => {
    const mapped = mapConnector(sink);
    expect(mapped.config).toEqual({
      s3: {
        region: 'us-west-2',
        bucket: 'ai-trader-cold-storage',
        partSize: 5_242_880,
        endpoint: 'https://s3.us-west-2.amazonaws.com',
      },
      parquet: { flushSize: 10_000 },
    });
    expect(parseConfig(mapped.config)).toMatchObject(mapped.config);
  });

  test('is reported setting by setting, none left out', () => {
    const { taken } = mapConnector(sink);
    expect(taken.map(({ setting }) => setting).sort()).toEqual(
      [...Object.keys(sink.config), 'name', 'store.url'].sort(),
    );
    expect(taken.find(({ setting }) => setting === 'flush.size')).toMatchObject({
      value: '10000',
      becomes: 'parquet.flushSize',
    });
    expect(taken.find(({ setting }) => setting === 'timestamp.extractor')?.note).toContain('executed_at');
    expect(taken.find(({ setting }) => setting === 'topics')?.note).toContain('market.anomalies');
  });

  test('is taken as Connect lists it and as a plain object', () => {
    expect(mapConnector({ ...sink, tasks: undefined, type: 'sink' })).toEqual(mapConnector(sink));
    expect(mapConnector(sink.config).config).toEqual(mapConnector(sink).config);
  });

  test('keeps a service of its own, its intervals and its folder', () => {
    const over = {
      'store.url': 'http://minio:9000',
      'rotate.interval.ms': '600000',
      'rotate.schedule.interval.ms': '30000',
      'topics.dir': 'cold',
      'value.converter': 'io.confluent.connect.avro.AvroConverter',
      'value.converter.schema.registry.url': 'http://registry:8081',
    };
    expect(mapConnector(config(over)).config).toMatchObject({
      s3: { endpoint: 'http://minio:9000' },
      parquet: { rotateIntervalMs: 600_000, flushMs: 30_000, topicsDir: 'cold' },
      registry: { url: 'http://registry:8081' },
    });
    expect(mapConnector(config({ 'rotate.interval.ms': -1 })).config.parquet).toMatchObject({ rotateIntervalMs: 0 });
    expect(mapConnector(config({ 'rotate.schedule.interval.ms': -1 })).config.parquet).not.toHaveProperty('flushMs');
  });

  test('accepts a class by its last name', () => {
    const short = { 'format.class': 'Parquet', 'partitioner.class': 'TimeBasedPartitioner' };
    expect(mapConnector(config(short)).config).toEqual(mapConnector(sink).config);
  });

  test.each<[object, string]>([
    [{ 'format.class': 'io.confluent.connect.s3.format.json.JsonFormat' }, 'files are Parquet'],
    [{ 'parquet.codec': 'snappy' }, 'zstd'],
    [{ 'partitioner.class': 'io.confluent.connect.storage.partitioner.HourlyPartitioner' }, 'folders are days'],
    [{ 'partition.duration.ms': 3600000 }, 'give 86400000'],
    [{ 'path.format': "'dt'=YYYY-MM-dd" }, 'year=YYYY/month=MM/day=dd'],
    [{ timezone: 'America/New_York' }, 'days are UTC'],
    [{ locale: 'ar-EG' }, 'digits'],
    [{ 'timestamp.extractor': 'Wallclock' }, 'RecordField'],
    [{ 'timestamp.field': 'created_at' }, 'executed_at'],
    [{ 'schema.compatibility': 'NONE' }, 'give BACKWARD'],
    [{ 'behavior.on.null.values': 'ignore' }, 'parquet.dead'],
    [{ 'errors.tolerance': 'none' }, 'dead letter'],
    [{ 'flush.size': 'many' }, 'no whole number'],
    [{ 'flush.size': 0 }, 'parquet.flushSize'],
    [{ 's3.part.size': 1024 }, 's3.partSize'],
    [{ 'tasks.max': 'x' }, 'no whole number'],
    [{ topics: 'ai_trader.public.market_data' }, 'cdc.public.trades'],
    [{ 'topics.regex': '.*' }, 'name them in topics'],
    [{ transforms: 'unwrap' }, 'changeLogTopics'],
    [{ 'transforms.unwrap.type': 'io.debezium.transforms.ExtractNewRecordState' }, 'flattened'],
    [{ 'consumer.override.max.poll.records': 500 }, 'runtime.'],
    [{ 's3.credentials.provider.class': 'x.Y' }, 'MILLRACE_S3_SECRET_ACCESS_KEY'],
    [{ 'aws.secret.access.key': '$' + '{file:/secrets:key}' }, 'only Kafka Connect resolves'],
    [{ 'connector.class': 'io.aiven.kafka.connect.s3.AivenKafkaConnectS3SinkConnector' }, 'S3SinkConnector'],
    [{ 'some.thing': 'else' }, 'not known here'],
    [{ toString: 'x' }, 'not known here'],
    [{ nested: {} }, 'not a text'],
  ])('is refused with %j, and gets a remedy', (over, words) => {
    const error = refusal(over);
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(error.message).toContain(words);
  });

  test('is refused with all its errors at once', () => {
    const { message } = refusal({ 'parquet.codec': 'gzip', timezone: 'Europe/Berlin', 'some.thing': 'else' });
    expect(message).toMatch(
      /^3 settings of the connector cannot be taken over: parquet\.codec: .*timezone: .*some\.thing: /,
    );
  });

  test.each([null, [], 'x', 7, { config: [] }])('is refused when it is %j', (json) => {
    expect(() => mapConnector(json)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  test('shows no key', () => {
    const keys = { 'aws.access.key.id': 'AKIA123', 'aws.secret.access.key': 'top-secret' };
    const { taken, config: mapped } = mapConnector(config(keys));
    expect(JSON.stringify(taken)).not.toMatch(/AKIA123|top-secret/);
    expect(mapped.s3).toMatchObject({ accessKeyId: 'AKIA123', secretAccessKey: 'top-secret' });
  });

  test('is documented setting by setting', () => {
    const page = readFileSync(new URL('../../../docs/reference/storage/s3-sink-settings.md', import.meta.url), 'utf8');
    for (const setting of Object.keys(rules)) expect(page).toContain(`\`${setting}\``);
  });
});
