/**
 * Candles from real Debezium envelopes: Millrace's ohlcv and Kafka Streams on the same topic, in turn. Each run is a separate process after
 * a clean reset. See docs/reference/benchmarks.md.
 */
import { parseArgs } from 'node:util';
import { Registry } from '../../core/avro/registry/registry.ts';
import type { Config } from '../../core/base/config.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { type Comparison, closedCandles, compare } from '../windows/compare.ts';
import { type Contestant, installPeer, kafkaStreams, millrace, type PeerOptions } from '../windows/contestants.ts';
import { input, openDataset } from '../windows/dataset.ts';
import { type Backlog, backlogOf, firstOf, type Measured, median, watch } from '../windows/measure.ts';
import { reset } from '../windows/reset.ts';

export const help = `bench windows [--rows 2000000] [--records ALL] [--runs 3] [--stack bench] [--only NAME,…] [--json]
  candles of the same captured trades by Millrace and by Kafka Streams: records/s, CPU, memory
  --records  number of captured rows in a run; each run starts at the first row
  --only  some of ${['exactly-once', 'at-least-once', 'as-shipped', 'peer', 'peer-2', 'peer-simple', 'peer-simple-2', 'peer-rocksdb'].join(', ')}`;

/** Millrace's rate is divided by its rate. */
const peers = ['peer', 'peer-2', 'peer-rocksdb'];

export interface Result {
  readonly name: string;
  readonly title: string;
  readonly runs: readonly Measured[];
  readonly recordsPerSecond: number;
  readonly cpuSecondsPerMillion: number;
  readonly peakMib: number;
}

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rows: { type: 'string', default: '2000000' },
      records: { type: 'string' },
      runs: { type: 'string', default: '3' },
      stack: { type: 'string', default: 'bench' },
      only: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const note = (text: string): void => console.error(text);
  const config = await openDataset(values.stack, Number(values.rows), note);
  const classes = await installPeer(note);
  const peer = (changes: Partial<PeerOptions>): Contestant =>
    kafkaStreams({
      stack: values.stack,
      config,
      topic: input,
      threads: 1,
      candle: 'full',
      store: 'memory',
      classes,
      ...changes,
    });
  const all: Readonly<Record<string, () => Contestant>> = {
    'exactly-once': () => millrace(values.stack, 'like the peer', 'exactly once'),
    peer: () => peer({}),
    'at-least-once': () => millrace(values.stack, 'like the peer', 'at least once'),
    'peer-2': () => peer({ threads: 2 }),
    'as-shipped': () => millrace(values.stack, 'as shipped', 'exactly once'),
    'peer-simple': () => peer({ candle: 'simple' }),
    'peer-simple-2': () => peer({ candle: 'simple', threads: 2 }),
    'peer-rocksdb': () => peer({ store: 'rocksdb' }),
  };
  const names = values.only?.split(',') ?? Object.keys(all);
  await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: 'bench' });
  await using schemas = new Registry({ url: config.registry.url });
  const whole = await backlogOf(log, input);
  const backlog = firstOf(whole, Number(values.records ?? whole.records));
  note(`${backlog.records} trades in ${backlog.targets.length} partitions`);
  const measured = new Map<string, { title: string; runs: Measured[] }>();
  const candles = new Map<string, ReadonlyMap<string, string>>();
  for (let round = 1; round <= Number(values.runs); round++) {
    for (const name of names) {
      const contestant = all[name]?.();
      if (contestant === undefined) throw new Error(`${name} is none of ${Object.keys(all).join(', ')}`);
      const result = await race(config, log, contestant, backlog);
      note(`round ${round}: ${describe(contestant.name, result)}`);
      const entry = measured.get(name) ?? { title: contestant.name, runs: [] };
      entry.runs.push(result);
      measured.set(name, entry);
      if (contestant.output === null) continue;
      const mine = await closedCandles(log, schemas, contestant.output);
      for (const [other, theirs] of candles) requireEqual(name, other, compare(mine, theirs));
      candles.set(name, mine);
    }
  }
  const results = [...measured].map(([name, { title, runs }]): Result => {
    const of = (field: keyof Measured): number => median(runs.map((each) => each[field]));
    const [recordsPerSecond, cpuSecondsPerMillion] = [of('recordsPerSecond'), of('cpuSecondsPerMillion')];
    const peakMib = Math.max(...runs.map((each) => each.peakMib));
    return { name, title, runs, recordsPerSecond, cpuSecondsPerMillion, peakMib };
  });
  const found = [...candles].map(([name, { size }]) => `${name} ${size}`).join(', ');
  if (values.json) console.log(JSON.stringify({ records: backlog.records, results }, null, 2));
  else print(results, found);
}

/** Runs one contestant over the whole backlog, from empty state. */
async function race(config: Config, log: KafkaLog, contestant: Contestant, backlog: Backlog): Promise<Measured> {
  await reset(config, contestant);
  await using running = await contestant.start();
  return await Promise.race([watch(log, contestant.group, backlog, [running.pid]), running.ended()]);
}

function requireEqual(name: string, other: string, { common, different }: Comparison): void {
  if (different.length > 0)
    throw new Error(`${name} and ${other} disagree about ${different.length} candles: ${different[0]}`);
  if (common === 0) throw new Error(`${name} and ${other} have no candle in common`);
}

function describe(title: string, of: Pick<Measured, 'recordsPerSecond' | 'cpuSecondsPerMillion' | 'peakMib'>): string {
  const rate = Math.round(of.recordsPerSecond).toLocaleString('en').padStart(9);
  const cpu = of.cpuSecondsPerMillion.toFixed(1).padStart(5);
  return `${title.padEnd(52)} ${rate}/s ${cpu} CPU s per million  ${of.peakMib.toFixed(0).padStart(4)} MiB`;
}

function print(results: readonly Result[], candles: string): void {
  for (const result of results) console.log(describe(result.title, result));
  const by = (name: string): Result | undefined => results.find((result) => result.name === name);
  const best = results
    .filter(({ name }) => peers.includes(name))
    .sort((a, b) => b.recordsPerSecond - a.recordsPerSecond);
  const [exactly, least, peer] = [by('exactly-once'), by('at-least-once'), best[0]];
  if (exactly !== undefined && peer !== undefined) {
    const ratio = (exactly.recordsPerSecond / peer.recordsPerSecond).toFixed(2);
    const cpu = (exactly.cpuSecondsPerMillion / Math.min(...best.map((each) => each.cpuSecondsPerMillion))).toFixed(2);
    console.log(`exactly once: ${ratio} × the rate of ${peer.title}, ${cpu} × the least CPU of the peer`);
  }
  if (exactly !== undefined && least !== undefined) {
    console.log(`exactly once: ${(exactly.recordsPerSecond / least.recordsPerSecond).toFixed(2)} × at least once`);
  }
  console.log(`closed candles, equal wherever two have closed the same window: ${candles}`);
}
