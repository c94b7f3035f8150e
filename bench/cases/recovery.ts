/**
 * Downtime of a killed processor. ohlcv is killed in the middle of a backlog, and its successor starts at once. The successor waits for the
 * end of the dead member's session, takes over, restores, and goes on.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { KafkaLog } from '../../core/kafka/log.ts';
import { millrace } from '../windows/contestants.ts';
import { input, openDataset } from '../windows/dataset.ts';
import { backlogOf, median, watch } from '../windows/measure.ts';
import { reset } from '../windows/reset.ts';

export const help = `bench recovery [--rows 2000000] [--runs 3] [--stack bench] [--live 24600]
  time from kill -9 to the first new output, less the session timeout; rate of draining the rest
  --live  records/s of the fastest capture, for comparison with the drain`;

/** As in core/kafka/membership/membership.ts. */
const sessionSeconds = 10;
const pollMs = 50;

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rows: { type: 'string', default: '2000000' },
      runs: { type: 'string', default: '3' },
      stack: { type: 'string', default: 'bench' },
      live: { type: 'string', default: '24600' },
    },
  });
  const config = await openDataset(values.stack, Number(values.rows), (text) => console.error(text));
  await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: 'bench' });
  const backlog = await backlogOf(log, input);
  const whole = Number(backlog.targets.reduce((sum, target) => sum + target, 0n));
  const missed: number[] = [];
  const drained: number[] = [];
  for (let round = 1; round <= Number(values.runs); round++) {
    const contestant = millrace(values.stack, 'as shipped', 'exactly once');
    const done = async (): Promise<number> =>
      (await log.committed(contestant.group, input)).reduce((sum, { offset }) => sum + Number(offset), 0);
    await reset(config, contestant);
    {
      await using first = await contestant.start('killed');
      while ((await Promise.race([done(), first.ended()])) < (whole * round) / 10) await delay(pollMs);
      await first.kill();
    }
    const killedMs = performance.now();
    const before = await done();
    await using second = await contestant.start('successor');
    while ((await Promise.race([done(), second.ended()])) <= before) await delay(pollMs);
    const seconds = (performance.now() - killedMs) / 1000;
    const rest = await Promise.race([watch(log, contestant.group, backlog, [second.pid]), second.ended()]);
    missed.push(seconds);
    drained.push(rest.recordsPerSecond);
    console.log(
      `killed at ${before.toLocaleString('en')} of ${whole.toLocaleString('en')} offsets: first output after ${seconds.toFixed(1)} s, ${(seconds - sessionSeconds).toFixed(1)} s beyond the session; drains ${Math.round(rest.recordsPerSecond).toLocaleString('en')}/s`,
    );
  }
  const beyond = Math.max(...missed) - sessionSeconds;
  const rate = median(drained);
  console.log(
    `at most ${beyond.toFixed(1)} s beyond the session timeout of ${sessionSeconds} s; the backlog drains at ${(rate / Number(values.live)).toFixed(1)} × the fastest capture`,
  );
}
