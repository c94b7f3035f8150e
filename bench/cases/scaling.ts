/** Gain of a second process: ohlcv over the same captured trades, in one process, and in two that share its partitions. */
import { parseArgs } from 'node:util';
import { KafkaLog } from '../../core/kafka/log.ts';
import { millrace, type Running } from '../windows/contestants.ts';
import { input, openDataset } from '../windows/dataset.ts';
import { backlogOf, median, watch } from '../windows/measure.ts';
import { reset } from '../windows/reset.ts';

export const help = `bench scaling [--rows 2000000] [--runs 3] [--stack bench]
  ohlcv as shipped in one process and in two: records/s, CPU, memory`;

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rows: { type: 'string', default: '2000000' },
      runs: { type: 'string', default: '3' },
      stack: { type: 'string', default: 'bench' },
    },
  });
  const config = await openDataset(values.stack, Number(values.rows), (text) => console.error(text));
  await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: 'bench' });
  const backlog = await backlogOf(log, input);
  const rates = new Map<number, number[]>([1, 2].map((processes) => [processes, []]));
  for (let round = 1; round <= Number(values.runs); round++) {
    for (const [processes, measured] of rates) {
      const contestant = millrace(values.stack, 'as shipped', 'exactly once');
      await reset(config, contestant);
      await using stack = new AsyncDisposableStack();
      const running: Running[] = [];
      for (let each = 0; each < processes; each++) running.push(stack.use(await contestant.start(`${each}`)));
      const ended = running.map((each) => each.ended());
      const pids = running.map(({ pid }) => pid);
      const result = await Promise.race([watch(log, contestant.group, backlog, pids), ...ended]);
      measured.push(result.recordsPerSecond);
      const rate = Math.round(result.recordsPerSecond).toLocaleString('en');
      const cpu = result.cpuSecondsPerMillion.toFixed(1);
      console.log(
        `${processes} ${processes === 1 ? 'process  ' : 'processes'} ${rate}/s, ${cpu} CPU s per million, ${result.peakMib.toFixed(0)} MiB each`,
      );
    }
  }
  const [one = 0, two = 0] = [...rates.values()].map(median);
  console.log(`two processes: ${(two / one).toFixed(2)} × one`);
}
