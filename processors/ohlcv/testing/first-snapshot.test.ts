/** Candles from a log with interrupted first snapshots, at any point and any number of times (connectors/recapture). */
import { expect, test } from '@jest/globals';
import { Driver } from '../../../core/testing/driver.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import fc from '../../../test/support/property.ts';
import { ohlcv } from '../ohlcv.ts';
import { candles, Feed, SETTINGS } from './fixture.ts';
import { NOON } from './history.ts';

interface Row {
  readonly symbol: string;
  /** Seconds after noon. */
  readonly at: number;
  readonly price: number;
  readonly size: number;
}

type Table = Map<string, Row>;

const row = fc.record({
  symbol: fc.constantFrom('A', 'B'),
  at: fc.nat(300),
  price: fc.integer({ min: 1, max: 9 }),
  size: fc.integer({ min: 1, max: 9 }),
});
const change = fc.record({ kind: fc.constantFrom('c', 'u', 'd'), which: fc.nat(30), row });
const changes = fc.array(change, { maxLength: 6 });
const story = fc.record({
  /** Rows of the table at the start of the first snapshot, and the number written before the interruption. */
  table: fc.array(row, { maxLength: 20 }),
  written: fc.nat(20),
  /** Changes committed then, and the number of differences written before the filling is interrupted. */
  fillings: fc.array(fc.record({ changes, written: fc.nat(10) }), { maxLength: 3 }),
  last: changes,
  streamed: changes,
});

type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

const minute = 60_000_000n;

class Log {
  readonly #feed = new Feed();
  readonly #send: (change: TradeChange) => void;
  /** Each row in its newest record. */
  readonly known: Table = new Map();
  lsn = 10_000n;
  time = NOON + 10n * minute;

  constructor(send: (change: TradeChange) => void) {
    this.#send = send;
  }

  write(op: string, id: string, to: Row | undefined): void {
    const before = this.known.get(id);
    const of = to ?? before;
    if (of === undefined) throw new Error(`${op} of a row that is not known`);
    const texts = ({ at, price, size }: Row) => ({ at: instant(at), price: `${price}`, size: `${size}` });
    this.#send(
      this.#feed.change({
        ...{ id, op, symbol: of.symbol, lsn: this.lsn, log: formatTimestamp(this.time), ...texts(of) },
        ...(op === 'r' ? { snapshot: 'true' } : {}),
        ...(before === undefined ? {} : { was: texts(before) }),
      }),
    );
    if (to === undefined) this.known.delete(id);
    else this.known.set(id, to);
  }

  /** Writes the differences as `recapture` does: one change for each row, each at its own place. */
  fill(table: Table, limit: number): void {
    this.lsn += 1_000n;
    const differences: (() => void)[] = [];
    for (const [id, to] of table) {
      const from = this.known.get(id);
      if (from === undefined || JSON.stringify(from) !== JSON.stringify(to))
        differences.push(() => this.write(from === undefined ? 'r' : 'u', id, to));
    }
    for (const id of this.known.keys()) if (!table.has(id)) differences.push(() => this.write('d', id, undefined));
    for (const each of differences.slice(0, limit)) each();
  }
}

function instant(seconds: number): string {
  return formatTimestamp(NOON + BigInt(seconds) * 1_000_000n);
}

let ids = 0;

/** @returns the committed changes */
function commit(table: Table, all: readonly Change[]): { op: string; id: string; to: Row | undefined }[] {
  return all.map(({ kind, which, row: to }) => {
    const [id, from] = [...table][which % Math.max(1, table.size)] ?? [];
    if (kind === 'c' || id === undefined || from === undefined) {
      const made = `t${++ids}`;
      table.set(made, to);
      return { op: 'c', id: made, to };
    }
    if (kind === 'd') {
      table.delete(id);
      return { op: 'd', id, to: undefined };
    }
    // A row with another symbol would be another row.
    const next = { ...to, symbol: from.symbol };
    table.set(id, next);
    return { op: 'u', id, to: next };
  });
}

/** `A 12:01 n2 v7 l1 h5` */
function recompute(table: Table): string[] {
  const groups = Map.groupBy(table.values(), ({ symbol, at }) => `${symbol} ${instant(at - (at % 60)).slice(11, 16)}`);
  return [...groups]
    .map(([name, rows]) => {
      const volume = rows.reduce((sum, { size }) => sum + size, 0);
      const prices = rows.map(({ price }) => price);
      return `${name} n${rows.length} v${volume} l${Math.min(...prices)} h${Math.max(...prices)}`;
    })
    .sort();
}

async function shown(driver: Driver<TradeChange>): Promise<string[]> {
  const newest = new Map<string, string>();
  for (const { symbol, window_start, trade_count, volume, low, high } of await candles(driver)) {
    const name = `${symbol} ${formatTimestamp(window_start).slice(11, 16)}`;
    const whole = (units: bigint | null) => (units ?? 0n) / 100_000_000n;
    newest.set(
      name,
      trade_count === 0n ? '' : `${name} n${trade_count} v${whole(volume)} l${whole(low)} h${whole(high)}`,
    );
  }
  return [...newest.values()].filter((text) => text !== '').sort();
}

test('every trade counts once and as it is now, wherever first snapshot and fillings were interrupted, and whatever was committed meanwhile', async () => {
  await fc.assert(
    fc.asyncProperty(story, async (given) => {
      const settings = { ...SETTINGS, intervals: ['1m'], allowedLatenessMs: 86_400_000 };
      await using driver = await Driver.open<TradeChange>(ohlcv(settings));
      const log = new Log((each) => driver.send(each));
      const table: Table = new Map(given.table.map((each, i) => [`s${i}`, each]));
      for (const [id, each] of [...table].slice(0, given.written)) log.write('r', id, each);
      for (const { changes: meanwhile, written } of given.fillings) {
        commit(table, meanwhile);
        log.fill(table, written);
        await driver.beat(log.time);
      }
      commit(table, given.last);
      log.fill(table, Number.POSITIVE_INFINITY);
      for (const { op, id, to } of commit(table, given.streamed)) {
        log.lsn += 8n;
        log.time += 1_000_000n;
        log.write(op, id, to);
      }
      await driver.beat(log.time + 60n * minute);
      expect(await shown(driver)).toEqual(recompute(table));
    }),
    { numRuns: 150 },
  );
});

test('a trade that a transaction changed which was open where the snapshot’s slot begins is as it is now, also when its window is read again', async () => {
  await using driver = await Driver.open<TradeChange>(
    ohlcv({ ...SETTINGS, intervals: ['1m'], allowedLatenessMs: 86_400_000 }),
  );
  const feed = new Feed();
  const log = '12:00:30';
  driver.send(feed.change({ op: 'r', snapshot: 'true', lsn: 2_000n, at: '12:00:10', log, id: 'a', price: '100' }));
  driver.send(feed.change({ op: 'r', snapshot: 'true', lsn: 2_000n, at: '12:00:20', log, id: 'high', price: '200' }));
  driver.send(
    feed.change({ op: 'u', lsn: 1_500n, at: '12:00:10', log, id: 'a', price: '100', size: '5', was: { size: '1' } }),
  );
  driver.send(feed.change({ op: 'd', lsn: 2_100n, at: '12:00:20', log, id: 'high', price: '200' }));
  await driver.beat(NOON + 60n * minute);
  expect(await shown(driver)).toEqual(['BTC/USD 12:00 n1 v5 l100 h100']);
});
