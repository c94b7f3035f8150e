/** Cost of the archive: its files compared with DuckDB's and pyarrow's, and the sink from Kafka to the bucket. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runtimeEnv, runtimeFlags } from '../../cli/demo/pipeline.ts';
import { stackDir } from '../../cli/settings/config.ts';
import { S3Store } from '../../core/archive/s3/s3.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { benchFiles } from '../archive/files.ts';
import { Running } from '../windows/contestants.ts';
import { input, openDataset } from '../windows/dataset.ts';
import { backlogOf, type Measured, median, watch } from '../windows/measure.ts';
import { reset } from '../windows/reset.ts';

export const help = `bench archive [--rows 1000000] [--runs 3] [--stack bench] [--files-only]
  Parquet of trade changes beside DuckDB and pyarrow; the sink from Kafka to the bucket: rows/s, CPU, memory`;

const group = 'millrace.parquet';
const topicsDir = 'bench';

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rows: { type: 'string', default: '1000000' },
      runs: { type: 'string', default: '3' },
      stack: { type: 'string', default: 'bench' },
      'files-only': { type: 'boolean', default: false },
    },
  });
  await benchFiles(100_000, (line) => console.log(line));
  if (values['files-only']) return;
  const config = await openDataset(values.stack, Number(values.rows), (text) => console.error(text));
  await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: 'bench' });
  await using store = new S3Store(config.s3);
  const backlog = await backlogOf(log, input);
  const logs = join(stackDir(values.stack), 'logs');
  await mkdir(logs, { recursive: true });
  const measured: Measured[] = [];
  const clear = async () => {
    const keys: string[] = [];
    for await (const { key } of store.list(`${topicsDir}/`)) keys.push(key);
    await store.remove(keys);
  };
  for (let round = 1; round <= Number(values.runs); round++) {
    // Removes the leftovers of a killed run too.
    await clear();
    await reset(config, { group, output: null, leaves: (topic) => topic.startsWith('archive.') });
    await using sink = new Running(
      process.execPath,
      [...runtimeFlags, 'cli/main.ts', '--stack', values.stack, 'run', 'parquet', '--port', '0'],
      join(logs, `bench-archive-${round}.log`),
      { ...process.env, ...runtimeEnv, MILLRACE_PARQUET_TOPICS_DIR: topicsDir },
    );
    const result = await Promise.race([watch(log, group, backlog, [sink.pid]), sink.ended()]);
    measured.push(result);
    console.log(`Kafka to bucket, ${backlog.records} rows: ${tell(result)}`);
  }
  await clear();
  const [rate, cpu] = [
    median(measured.map(({ recordsPerSecond }) => recordsPerSecond)),
    median(measured.map(({ cpuSecondsPerMillion }) => cpuSecondsPerMillion)),
  ];
  console.log(
    `median ${Math.round(rate).toLocaleString('en')} rows/s, ${Math.round(1e6 / cpu).toLocaleString('en')} rows per CPU second`,
  );
}

function tell({ recordsPerSecond, cpuSecondsPerMillion, peakMib }: Measured): string {
  const rate = Math.round(recordsPerSecond).toLocaleString('en');
  return `${rate}/s, ${cpuSecondsPerMillion.toFixed(1)} CPU s per million, ${peakMib.toFixed(0)} MiB`;
}
