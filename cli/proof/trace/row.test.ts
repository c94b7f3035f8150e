import { describe, expect, test } from '@jest/globals';
import type { RevisionView } from '../../../proof/trace/candle/revisions.ts';
import type { ChangeTrace, RowTrace } from '../../../proof/trace/row/trace.ts';
import { rowLines } from './row.ts';

const topic = 'cdc.public.trades';

function change(offset: bigint, over: Partial<ChangeTrace> = {}): ChangeTrace {
  return {
    operation: 'insert',
    source: 'log',
    topic,
    partition: 2,
    offset,
    transaction: 7n,
    lsn: '0/16B3748',
    lsnNumber: 23_803_720n,
    commitTime: '2025-06-02T12:00:00.000000Z',
    row: { venue: 'v', symbol: 'A/B', trade_id: 't 1', price: '100.50000000', conditions: null },
    before: null,
    schemaId: 1,
    repeats: null,
    redrivenFor: null,
    ledger: [],
    refusals: [],
    enriched: [],
    candles: [],
    archive: { state: 'waiting', object: null, place: null, manifest: null, equal: null },
    ...over,
  };
}

const revision = (over: Partial<RevisionView>): RevisionView => ({
  topic: 'market.candles',
  partition: 2,
  offset: 9n,
  status: 'PARTIAL',
  revision: 1,
  reason: 'CADENCE',
  input: { from: 3n, to: 4n },
  logTime: 0n,
  ...over,
});

function lines(over: Partial<RowTrace> = {}): string[] {
  return rowLines({
    table: 'trades',
    key: { venue: 'v', symbol: 'A/B', trade_id: 't 1' },
    found: true,
    postgres: { present: false, row: null, xmin: null, committedAt: null, writtenBy: null },
    changes: [],
    anomalies: [],
    searched: [{ where: `${topic}/2`, from: 0n, to: 9n, records: 8, found: 1, note: null, cut: false }],
    findings: [],
    ok: true,
    ...over,
  });
}

describe('the printed trace of a row says', () => {
  test('what Postgres has, and which change wrote it', () => {
    const row = { venue: 'v', symbol: 'A/B', trade_id: 't 1', price: '2.00000000', side: 'buy', conditions: 'a "b"\n' };
    const postgres = { present: true, row, xmin: 7n, committedAt: null, writtenBy: 5n };
    expect(lines({ postgres, changes: [change(5n)] }).slice(0, 6)).toEqual([
      'trades v A/B t 1',
      '',
      'Postgres',
      '  row       price 2  side buy  conditions "a \\"b\\"\\n"',
      '  written   by transaction 7: the insert at offset 5',
      '',
    ]);
  });

  test('where a change is, with its LSN in both spellings, and what is not there yet', () => {
    expect(lines({ changes: [change(5n)] })).toEqual(
      expect.arrayContaining([
        'insert at cdc.public.trades/2 offset 5',
        '  commit    2025-06-02T12:00:00Z  transaction 7  LSN 0/16B3748 (23803720)',
        '  row       price 100.5',
        '  archive   not yet: the sink has not committed it',
      ]),
    );
  });

  test('PARTIAL revisions in one line, and a candle that was not emitted since', () => {
    const window = {
      interval: '1m',
      windowStart: 0n,
      windowEnd: null,
      holds: true,
      partials: null,
      revisions: [],
      omitted: 0,
    };
    const partials = {
      count: 3,
      first: revision({}),
      last: revision({ revision: 3, offset: 11n, input: { from: 3n, to: 6n } }),
    };
    const closed = revision({
      status: 'CLOSED',
      revision: 4,
      reason: 'WATERMARK',
      offset: 12n,
      input: { from: 3n, to: 6n },
    });
    const candles = [
      { ...window, partials, revisions: [closed] },
      { ...window, interval: '5m', holds: false },
    ];
    expect(lines({ changes: [change(5n, { candles })] })).toEqual(
      expect.arrayContaining([
        '  candles   in      1m 1970-01-01T00:00:00Z  PARTIAL#1–3        CADENCE    market.candles/2 offset 11  input 3–6',
        '            in      1m 1970-01-01T00:00:00Z  CLOSED#4           WATERMARK  market.candles/2 offset 12  input 3–6',
        '            out of  5m 1970-01-01T00:00:00Z  not emitted since',
      ]),
    );
  });

  test('where was searched, and the verdict last', () => {
    expect(lines().slice(-3)).toEqual([
      '  cdc.public.trades/2  offsets 0–9  1 of 8',
      '',
      '✓ Postgres, log, candles and archive agree, 0 differences',
    ]);
  });

  test('each finding with its sign, and how many are differences', () => {
    const findings = [
      { kind: 'gone', what: 'old' },
      { kind: 'pending', what: 'new' },
      { kind: 'difference', what: 'wrong' },
    ] as const;
    expect(lines({ findings, ok: false }).slice(-4)).toEqual(['– old', '… new', '✗ wrong', '✗ 1 difference']);
  });

  test('that nothing was found, and what to do', () => {
    const text = lines({ found: false }).join('\n');
    expect(text).toContain('there is no such row');
    expect(text).toContain('✗ not found');
    expect(text).toContain('remedy:');
    expect(text).not.toContain('agree');
  });
});
