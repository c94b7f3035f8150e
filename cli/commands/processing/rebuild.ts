/**
 * `millrace rebuild ohlcv`: rebuilds frozen candles from the log, with the trades that came too late. A plan, then the work with its
 * progress.
 */
import { type Command, InvalidArgumentError } from 'commander';
import type { Config } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { GroupAdmin } from '../../../core/kafka/groups.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import {
  countRebuilt,
  giveOrders,
  type IssuedOrders,
  openOrders,
  untilTaken,
} from '../../../processors/ohlcv/rebuild/carry-out.ts';
import { type PlannedSymbol, planRebuild, type RebuildPlan } from '../../../processors/ohlcv/rebuild/plan.ts';
import type { Sources } from '../../../processors/ohlcv/rebuild/reading.ts';
import type { Scope } from '../../../processors/ohlcv/rebuild/touched.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { notConfirmed, timeOf, waitSeconds } from '../../terminal/options.ts';
import { count, printJson, printTable, say } from '../../terminal/print.ts';
import { ProgressLine } from '../../terminal/progress.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface RebuildOptions {
  readonly venue?: string;
  readonly symbol?: readonly string[];
  readonly from?: bigint;
  readonly to?: bigint;
  readonly late?: boolean;
  readonly yes?: boolean;
  /** Seconds. */
  readonly wait: number;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command('rebuild')
    .description(
      'rebuild frozen candles from the log, with the trades that came too late for them; shows the plan, and acts with --yes',
    )
    .argument('<processor>', 'ohlcv', (name: string) => {
      if (name !== 'ohlcv') throw new InvalidArgumentError('only ohlcv has candles.');
      return name;
    })
    .option('--venue <venue>', 'only candles of this venue')
    .option('--symbol <symbol...>', 'only candles of these symbols')
    .option('--from <time>', 'only windows that end after this event time: a time, or a UTC day', (text: string) =>
      timeOf('--from', text),
    )
    .option('--to <time>', 'only windows that begin before this event time: a time, or a UTC day', (text: string) =>
      timeOf('--to', text),
    )
    .option('--late', 'candles of every symbol with a change that was not applied')
    .option('--yes', 'carry out the plan')
    .option('--wait <seconds>', 'longest wait for ohlcv to take an order', waitSeconds, 60)
    .option('--json', 'print JSON, with every candle')
    .action(rebuild);
}

async function rebuild(_: string, options: RebuildOptions, command: Command): Promise<void> {
  if (options.venue === undefined && options.symbol === undefined && options.late !== true) {
    throw new MillraceError('CONFIG_INVALID', 'no candles were named', {
      remedy: 'give --venue and --symbol, or --late for all candles with a change that was not applied',
    });
  }
  const config = loadConfig(command);
  const signal = untilSignal(
    () =>
      new MillraceError('INTERRUPTED', 'interrupted; the given orders stay valid', {
        remedy: 'run the command again: it plans the rest',
      }),
  );
  const { venue, symbol: symbols, from, to } = options;
  await withLog(config, async (log, schemas) => {
    await work({ log, schemas, signal }, config, { venue, symbols, from, to }, options);
  });
}

async function work(sources: Sources, config: Config, scope: Scope, options: RebuildOptions): Promise<void> {
  const json = options.json === true;
  const reading = new ProgressLine('reading');
  const onProgress = (records: number, offsets: number): void => {
    if (!json) reading.update({ done: records, total: offsets, text: `${count(records)} changes` });
  };
  await using stack = new AsyncDisposableStack();
  const writer = options.yes === true ? stack.use(await openOrders(sources)) : undefined;
  const plan = await planRebuild({ ...sources, settings: config.ohlcv, scope, onProgress });
  reading.end();
  const shown = { ...plan, orders: plan.orders.length };
  if (!json) printPlan(plan);
  if (plan.orders.length === 0) {
    if (json) printJson({ carriedOut: false, ...shown });
  } else if (writer === undefined) {
    if (json) printJson({ carriedOut: false, ...shown });
    throw notConfirmed();
  } else {
    const startedMs = performance.now();
    const given = await giveOrders(sources, writer, plan, BigInt(Date.now()) * 1000n);
    const rebuilt = (await runs(config)) ? await follow(sources, plan, given, options) : null;
    const took = (performance.now() - startedMs) / 1000;
    if (json) printJson({ carriedOut: true, rebuilt, seconds: took, ...shown });
    else if (rebuilt === null) say('ohlcv does not run: it carries out the orders when it starts');
    else say(`${count(rebuilt)} of ${count(candlesOf(plan))} candles rebuilt (${took.toFixed(1)} s)`);
  }
  refuseIncomplete(plan);
}

async function runs({ kafka: { brokers, clientId } }: Config): Promise<boolean> {
  await using groups = await GroupAdmin.open({ brokers, clientId });
  return (await groups.members(groupOf('ohlcv'))).length > 0;
}

async function follow(
  sources: Sources,
  plan: RebuildPlan,
  given: IssuedOrders,
  options: RebuildOptions,
): Promise<number> {
  const progress = new ProgressLine('rebuilding');
  await untilTaken(sources, given, options.wait * 1000, ({ done, of }) => {
    if (options.json !== true) progress.update({ done, total: of, text: `${done} of ${of} orders` });
  });
  progress.end();
  return await countRebuilt(sources, plan, given);
}

/** @throws MillraceError REBUILD_IMPOSSIBLE: the log no longer has the input of some candles. */
function refuseIncomplete({ symbols }: RebuildPlan): void {
  const candles = symbols.reduce((sum, { incomplete }) => sum + incomplete.candles, 0);
  if (candles === 0) return;
  const trades = symbols.reduce((sum, { incomplete }) => sum + incomplete.trades, 0);
  throw new MillraceError(
    'REBUILD_IMPOSSIBLE',
    `the log has deleted input of ${count(candles)} candles: at least ${count(trades)} of their trades are missing`,
    {
      remedy:
        'they stay unchanged; millrace archive sql has their trades, and docs/how-to/processing/rebuild-candles.md describes the alternatives',
    },
  );
}

function candlesOf({ orders }: RebuildPlan): number {
  return orders.reduce((sum, { windows }) => sum + windows.length, 0);
}

function printPlan(plan: RebuildPlan): void {
  const { symbols, orders, pending, behind } = plan;
  const lines = symbols.flatMap(linesOf);
  if (lines.length > 0) {
    printTable(
      ['symbol', 'interval', 'candles', 'first', 'last', 'trades now', 'trades in the log', 'not applied'],
      lines,
    );
    say();
  }
  if (orders.length === 0) say('no frozen candle lacks a change that the log has');
  else say(`${count(candlesOf(plan))} candles get one more revision, REVISED for the reason REBUILT`);
  const notFrozen = symbols.reduce((sum, each) => sum + each.notFrozen, 0);
  if (notFrozen > 0) say(`${count(notFrozen)} candles are not frozen yet: they can be rebuilt when they are`);
  const incomplete = symbols.reduce((sum, each) => sum + each.incomplete.candles, 0);
  if (incomplete > 0) say(`${count(incomplete)} candles stay unchanged: the log has deleted a part of their input`);
  if (pending > 0) say(`ohlcv has ${count(pending)} orders of an earlier rebuild to carry out first`);
  if (behind > 0n) say(`ohlcv has ${count(behind)} offsets of the input to read: the plan does not include them`);
}

function linesOf({ venue, symbol, candles }: PlannedSymbol): string[][] {
  return [...Map.groupBy(candles, ({ interval }) => interval)].map(([interval, some]) => {
    const sum = (of: (candle: (typeof some)[number]) => number): string =>
      count(some.reduce((n, each) => n + of(each), 0));
    const at = (candle: (typeof some)[number] | undefined): string => formatTimestamp(candle?.windowStart ?? 0n);
    return [
      `${venue} ${symbol}`,
      interval,
      count(some.length),
      at(some[0]),
      at(some.at(-1)),
      sum(({ trades }) => trades),
      sum(({ tradesInLog }) => tradesInLog),
      sum(({ notApplied }) => notApplied),
    ];
  });
}
