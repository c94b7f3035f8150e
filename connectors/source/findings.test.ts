import { describe, expect, test } from '@jest/globals';
import { findingsOf, missedNow, seenIn } from './findings.ts';
import type { CaptureRecord } from './record.ts';
import { type Source, type SourceDefinition, type SourceTable, wantedOf } from './source.ts';

const wanted: SourceDefinition = wantedOf({
  'publication.name': 'millrace',
  'table.include.list': 'public.trades,public.heartbeat',
  'signal.data.collection': 'public.capture_signals',
  'database.user': 'millrace_capture',
});

const table = (name: string, oid: number, overrides: Partial<SourceTable> = {}): SourceTable => ({
  name,
  oid,
  partitioned: false,
  published: true,
  entry: oid + 1000,
  rowFilter: null,
  listed: false,
  unpublished: [],
  generated: [],
  partial: [],
  children: [],
  truncateRefused: true,
  rowSecurity: false,
  lackingRights: [],
  ...overrides,
});

interface Parts {
  readonly trades?: Partial<SourceTable>;
  readonly signals?: Partial<SourceTable>;
  readonly source?: Partial<Source>;
}

const sourceOf = ({ trades, signals, source }: Parts = {}): Source => ({
  version: 180_004,
  publication: { oid: 7, unpublished: [], viaRoot: false },
  tables: [
    table('public.trades', 1, trades),
    table('public.heartbeat', 2, { partial: [{ name: 'public.heartbeat', keyed: true }], truncateRefused: false }),
  ],
  signals: table('public.capture_signals', 3, signals),
  others: new Map(),
  heartbeat: true,
  walLimited: true,
  ...source,
});

const look = (parts?: Parts, record: CaptureRecord = {}) => findingsOf(wanted, sourceOf(parts), record);
const first = (parts?: Parts, record?: CaptureRecord) => look(parts, record)[0];

test('a source that gives all has no finding', () => {
  expect(look()).toEqual([]);
  expect(look({}, { seen: seenIn(wanted, sourceOf()) })).toEqual([]);
});

describe('changes are not captured', () => {
  test('of a table that is not in the publication', () => {
    expect(look({ trades: { published: false, entry: null } })).toEqual([
      {
        effect: 'blind',
        subject: 'public.trades',
        loses: true,
        cause: 'public.trades is not in publication millrace',
        remedy: 'ALTER PUBLICATION "millrace" ADD TABLE public.trades;',
      },
    ]);
  });

  test('of a table that was put in the place of the captured one, which the publication follows', () => {
    const source = { others: new Map([[1, 'public.trades_old']]) };
    const record = { seen: seenIn(wanted, sourceOf()) };
    expect(first({ trades: { oid: 9, published: false, entry: null }, source }, record)).toMatchObject({
      effect: 'blind',
      cause:
        'public.trades is another table than the one that was captured, which is public.trades_old now; publication millrace follows that one',
      remedy:
        'ALTER PUBLICATION "millrace" ADD TABLE public.trades; ALTER PUBLICATION "millrace" DROP TABLE public.trades_old;',
    });
  });

  test.each<[string, Parts, RegExp, RegExp]>([
    ['without the table', { trades: { oid: null, published: false } }, /there is no table public.trades/, /REPLICA/],
    ['without the publication', { source: { publication: undefined } }, /no publication/, /generated_columns = stored/],
    [
      'of operations that are left out',
      { source: { publication: { oid: 7, unpublished: ['update', 'delete'], viaRoot: false } } },
      /leaves out UPDATE, DELETE/,
      /SET \(publish = 'insert, update, delete, truncate'\)/,
    ],
    [
      'of rows that a filter leaves out',
      { trades: { rowFilter: '(size > 1)' } },
      /only rows .* \(size > 1\)/,
      /^BEGIN;/,
    ],
    [
      'of partitions that go by their own names',
      { trades: { partitioned: true } },
      /is partitioned/,
      /publish_via_partition_root = true/,
    ],
    ['of tables that inherit', { trades: { children: ['kid'] } }, /rows of kid .* by inheritance/, /NO INHERIT/],
    [
      'as a whole without REPLICA IDENTITY FULL',
      { trades: { partial: [{ name: 'public.trades', keyed: true }] } },
      /dead letters/,
      /REPLICA IDENTITY FULL/,
    ],
  ])('%s', (_what, parts, cause, remedy) => {
    const finding = first(parts);
    expect(finding).toMatchObject({ effect: 'blind' });
    expect(finding?.cause).toMatch(cause);
    expect(finding?.remedy).toMatch(remedy);
  });

  test('of columns that a list leaves out, and Postgres refuses the application’s updates for them', () => {
    const found = look({ trades: { listed: true, unpublished: ['conditions'] } });
    expect(found.map(({ effect }) => effect)).toEqual(['blind', 'refused']);
    expect(found[0]?.cause).toBe('publication millrace leaves out column conditions of public.trades');
  });
});

describe('Postgres refuses the application’s statements', () => {
  const stored = { generated: [{ name: 'notional', stored: true }], unpublished: ['notional'] };
  const virtual = { generated: [{ name: 'twice', stored: false }], unpublished: ['twice'] };

  test('for a stored generated column that is not published, from version 18 on', () => {
    expect(look({ trades: stored })).toEqual([
      {
        effect: 'refused',
        subject: 'public.trades',
        loses: false,
        cause: 'Postgres refuses UPDATE and DELETE of public.trades: generated column notional is not published',
        remedy: 'ALTER PUBLICATION "millrace" SET (publish_generated_columns = stored);',
      },
    ]);
    expect(look({ trades: stored, source: { version: 170_005 } })).toEqual([]);
    expect(look({ trades: { ...stored, unpublished: [] } })).toEqual([]);
  });

  test('for a virtual one always', () => {
    expect(first({ trades: virtual })).toMatchObject({
      effect: 'refused',
      cause: 'Postgres refuses UPDATE and DELETE of public.trades: virtual generated column twice cannot be published',
      remedy: 'ALTER TABLE public.trades DROP COLUMN "twice";',
    });
  });

  test('for a table without any replica identity', () => {
    const partial = [{ name: 'public.trades_2026', keyed: false }];
    expect(first({ trades: { partial } })).toMatchObject({
      effect: 'refused',
      cause: 'public.trades_2026 has no replica identity: Postgres refuses its UPDATE and DELETE',
      remedy: 'ALTER TABLE public.trades_2026 REPLICA IDENTITY FULL;',
    });
  });
});

describe('a recapture is due', () => {
  const seen = seenIn(wanted, sourceOf());

  test.each<[string, Parts, string]>([
    [
      'the table was made anew',
      { trades: { oid: 9 } },
      'public.trades is another table than the one that was captured',
    ],
    [
      'its entry in the publication was',
      { trades: { entry: 5 } },
      'public.trades was taken out of publication millrace and put back',
    ],
    [
      'the publication was',
      { source: { publication: { oid: 8, unpublished: [], viaRoot: false } }, trades: { entry: 5 } },
      'publication millrace was made anew',
    ],
  ])('when %s between two looks', (_what, parts, cause) => {
    const found = look(parts, { seen });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({
      effect: 'missed',
      cause: `${cause}: changes may be missing`,
      remedy: 'millrace connectors recapture',
    });
  });

  test('for what was noticed while it lasted, after it was mended', () => {
    const blind = look({ trades: { published: false, entry: null } });
    const missed = missedNow(blind, '2026-01-01T00:00:00Z');
    expect(look({ trades: { published: false, entry: null } }, { missed })).toEqual(blind);
    expect(look({}, { missed })).toMatchObject([
      { effect: 'missed', cause: expect.stringMatching(/not in publication millrace, from 2026-01-01T00:00:00Z on/) },
    ]);
  });

  test('not for a replica identity, of which no comparison tells anything', () => {
    const blind = look({ trades: { partial: [{ name: 'public.trades', keyed: true }] } });
    expect(missedNow(blind, '')).toEqual({});
  });
});

test('what only protects the capture is weak: rights, the trigger, row security, the heartbeat row, the limit of the log, signals', () => {
  const found = look({
    trades: { lackingRights: ['SELECT'], truncateRefused: false, rowSecurity: true },
    signals: { published: false },
    source: { heartbeat: false, walLimited: false },
  });
  expect(new Set(found.map(({ effect }) => effect))).toEqual(new Set(['weak']));
  expect(found.map(({ remedy }) => remedy)).toEqual([
    'GRANT SELECT ON public.trades TO "millrace_capture";',
    expect.stringContaining('ENABLE TRIGGER refuse_truncate'),
    'ALTER ROLE "millrace_capture" BYPASSRLS;',
    'ALTER PUBLICATION "millrace" ADD TABLE public.capture_signals;',
    expect.stringContaining('INSERT INTO public.heartbeat'),
    expect.stringContaining('max_slot_wal_keep_size'),
  ]);
});

test('of a parked table only what its application notices is told', () => {
  const record = { parked: { 'public.trades': { since: '', cause: null } } };
  expect(look({ trades: { published: false, entry: null } }, record)).toEqual([]);
  const virtual = { generated: [{ name: 'twice', stored: false }], unpublished: ['twice'] };
  expect(look({ trades: virtual }, record)).toMatchObject([{ effect: 'refused' }]);
});
