/** `millrace trace`: follows a row to its LSN, its candles and its Parquet file, and back. Read-only. */
import type { Command } from 'commander';
import { openStore } from '../../../core/archive/s3/open.ts';
import { Registry } from '../../../core/avro/registry/registry.ts';
import type { Config } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { GroupAdmin } from '../../../core/kafka/groups.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import { parseTarget } from '../../../core/operations/reset.ts';
import { tradesTopic } from '../../../proof/reading/topic.ts';
import { type CandleId, traceCandle } from '../../../proof/trace/candle/trace.ts';
import { parseObjectName } from '../../../proof/trace/object/name.ts';
import { traceObject } from '../../../proof/trace/object/trace.ts';
import type { ChangeRange } from '../../../proof/trace/row/changes.ts';
import { type RowTraceOptions, traceRow } from '../../../proof/trace/row/trace.ts';
import type { TraceSources, TradeId } from '../../../proof/trace/sources.ts';
import { masksOf } from '../../capture/capture.ts';
import { candleLines } from '../../proof/trace/candle.ts';
import { readable } from '../../proof/trace/json.ts';
import { objectLines } from '../../proof/trace/object.ts';
import { rowLines } from '../../proof/trace/row.ts';
import { loadConfig } from '../../settings/config.ts';
import { timeOf, wholeNumber } from '../../terminal/options.ts';
import { printJson } from '../../terminal/print.ts';
import { ProgressLine } from '../../terminal/progress.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface RowOptions {
  readonly from?: string;
  readonly to?: string;
  readonly json?: boolean;
}

interface CandleOptions {
  readonly revision?: string;
  readonly trades: string;
  readonly json?: boolean;
}

interface ObjectOptions {
  readonly offset?: string;
  readonly json?: boolean;
}

/** Shorter work shows no progress. */
const quietMs = 1_000;

export function register(program: Command): void {
  const group = program
    .command('trace')
    .description(
      'follow a row to its LSN, candles and Parquet file, and back; exits with 1 on a difference, or if nothing is found',
    )
    .argument('[table]')
    .argument('[key...]')
    .action((table: string | undefined) => {
      throw new MillraceError(
        'CONFIG_INVALID',
        table === undefined ? 'nothing to trace' : `${table} cannot be traced`,
        {
          remedy: 'trace trades VENUE SYMBOL TRADE_ID, candle VENUE SYMBOL INTERVAL WINDOW_START, or object KEY_OR_URL',
        },
      );
    });
  group
    .command('trades')
    .description('trace a row of public.trades: every change of it, its outputs, and its place in the archive')
    .argument('<venue>', 'venue of the row')
    .argument('<symbol>', "symbol in the venue's spelling, e.g. BTC/USD")
    .argument('<trade-id>', 'trade id of the row; after -- if it begins with a dash')
    .option('--from <place>', 'only changes from here on in the log: an offset, or a time of capture (ISO 8601)')
    .option('--to <place>', 'only changes before this place')
    .option('--json', 'print JSON')
    .action(traceTrade);
  group
    .command('candle')
    .description('trace a candle: its revisions and its trades, compared with a recomputation from them')
    .argument('<venue>')
    .argument('<symbol>', "symbol in the venue's spelling, e.g. BTC/USD")
    .argument('<interval>', 'a configured interval: 1m, 5m, 5m/1m, session')
    .argument('<window-start>', 'ISO 8601, e.g. 2013-11-25T12:00:00Z')
    .option('--revision <n>', 'the revision to trace; default: the newest')
    .option('--trades <n>', 'maximum number of its trades to list', '20')
    .option('--json', 'print JSON')
    .action(traceOneCandle);
  group
    .command('object')
    .description('trace an object of the archive: its offsets, cut, LSNs and schema')
    .argument('<object>', 'key or URL, from archive files')
    .option('--offset <n>', 'find this offset in the object, and follow its row')
    .option('--json', 'print JSON')
    .action(traceOneObject);
}

async function traceTrade(
  venue: string,
  symbol: string,
  trade_id: string,
  options: RowOptions,
  command: Command,
): Promise<void> {
  const config = loadConfig(command);
  await withSources(config, async (sources) => {
    const range = await rangeOf(sources, options);
    await followTrade(config, sources, { venue, symbol, trade_id }, options.json === true, range);
  });
}

async function traceOneCandle(
  venue: string,
  symbol: string,
  interval: string,
  start: string,
  options: CandleOptions,
  command: Command,
): Promise<void> {
  const config = loadConfig(command);
  const id = { venue, symbol, interval, windowStart: timeOf('the start of a window,', start) };
  const { revision } = options;
  await withSources(config, (sources) =>
    followCandle(sources, id, options.json === true, {
      trades: wholeNumber('--trades', options.trades, 0),
      ...(revision === undefined ? {} : { revision: wholeNumber('--revision', revision, 0) }),
    }),
  );
}

async function traceOneObject(text: string, options: ObjectOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const name = parseObjectName(text, config.s3.bucket);
  const offset = options.offset === undefined ? undefined : BigInt(wholeNumber('--offset', options.offset, 0));
  await withSources(config, async (sources, done) => {
    const trace = await traceObject(sources, name, offset);
    done();
    const { row } = trace;
    const further = row === null ? null : await furtherOf(config, sources, row);
    done();
    if (options.json === true) printJson(readable({ ...trace, ...further?.json }));
    else print([...objectLines(trace), ...(further === null ? [] : ['', ...further.lines])]);
    if (!trace.ok || further?.ok === false) process.exitCode = 1;
  });
}

/** The next trace of an object's row: its trade, or its candle. */
async function furtherOf(
  config: Config,
  sources: TraceSources,
  {
    trade,
    candle,
  }: { readonly trade: TradeId | null; readonly candle: (CandleId & { readonly revision: number }) | null },
): Promise<{ readonly lines: readonly string[]; readonly json: object; readonly ok: boolean } | null> {
  if (trade !== null) {
    const found = await traceRow(sources, trade, { slot: config.capture.slot });
    return { lines: rowLines(found), json: { trade: found }, ok: found.ok };
  }
  if (candle === null) return null;
  const { revision, ...id } = candle;
  const found = await traceCandle(sources, id, { revision, trades: 20 });
  return { lines: candleLines(found), json: { candle: found }, ok: found.ok };
}

async function followTrade(
  config: Config,
  sources: TraceSources & { readonly done: () => void },
  id: TradeId,
  json: boolean,
  range: RowTraceOptions['range'],
): Promise<void> {
  const trace = await traceRow(sources, id, { slot: config.capture.slot, ...(range === undefined ? {} : { range }) });
  sources.done();
  if (json) printJson(readable(trace));
  else print(rowLines(trace));
  if (!trace.ok || !trace.found) process.exitCode = 1;
}

async function followCandle(
  sources: TraceSources & { readonly done: () => void },
  id: CandleId,
  json: boolean,
  options: { readonly trades: number; readonly revision?: number },
): Promise<void> {
  const trace = await traceCandle(sources, id, options);
  sources.done();
  if (json) printJson(readable(trace));
  else print(candleLines(trace));
  if (!trace.ok || !trace.found) process.exitCode = 1;
}

/** Opens the sources of a trace; `done` ends the progress line. */
async function withSources(
  config: Config,
  work: (sources: TraceSources & { readonly done: () => void }, done: () => void) => Promise<void>,
): Promise<void> {
  const { brokers, clientId } = config.kafka;
  const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted'));
  await using log = new KafkaLog({ brokers, clientId });
  await using schemas = new Registry({ url: config.registry.url, signal });
  await using groups = await GroupAdmin.open({ brokers, clientId });
  await using store = openStore(config.s3);
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace trace', signal });
  let progress: { readonly what: string; readonly line: ProgressLine; readonly since: number } | undefined;
  const done = (): void => {
    progress?.line.end();
    progress = undefined;
  };
  try {
    await db.query("SET TIME ZONE 'UTC'");
    const sources = {
      log,
      schemas,
      store,
      db,
      bucket: config.s3.bucket,
      candles: config.ohlcv,
      masks: masksOf(config),
      offsetsAt: (topic: string, millis: number) => groups.offsetsAt(topic, millis),
      onProgress: ({ what, done: at, total }: { what: string; done: number; total: number }) => {
        if (progress?.what !== what) {
          done();
          progress = { what, line: new ProgressLine('trace'), since: performance.now() };
        }
        if (performance.now() - progress.since > quietMs) progress.line.update({ done: at, total, text: what });
      },
      signal,
      done,
    };
    await work(sources, done);
  } finally {
    done();
  }
}

/**
 * Offsets of the options in each partition of the log. A time before the log's start sets no lower bound, so the archive is searched too.
 */
async function rangeOf(sources: TraceSources, { from, to }: RowOptions): Promise<RowTraceOptions['range']> {
  const first = from === undefined ? undefined : await offsetsOf(sources, from);
  const last = to === undefined ? undefined : await offsetsOf(sources, to);
  const starts = await sources.log.starts(tradesTopic);
  return (partition): ChangeRange => {
    const begin = first?.[partition];
    const end = last?.[partition];
    return {
      ...(begin === undefined || begin === starts[partition] ? {} : { from: begin }),
      ...(end === undefined ? {} : { to: end }),
    };
  };
}

async function offsetsOf({ log, offsetsAt }: TraceSources, text: string): Promise<readonly bigint[] | undefined> {
  const place = parseTarget(text);
  if (place.kind === 'offset') return (await log.ends(tradesTopic)).map(() => place.offset);
  return place.kind === 'time' ? await offsetsAt?.(tradesTopic, place.millis) : undefined;
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}
