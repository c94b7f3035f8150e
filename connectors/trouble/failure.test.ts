import { describe, expect, test } from '@jest/globals';
import type { Client } from 'pg';
import { explainFailure } from './failure.ts';

type Answer = readonly object[] | Error;

/** Answers by a part of the statement's text. */
function database(answers: Readonly<Record<string, Answer>>) {
  const statements: string[] = [];
  const query = async (sql: string) => {
    statements.push(sql);
    const answer = Object.entries(answers).find(([part]) => sql.includes(part))?.[1] ?? [];
    if (answer instanceof Error) throw answer;
    return { rows: answer };
  };
  return { statements, db: { query } as unknown as Pick<Client, 'query'> };
}

const trace = (column: string, type: string) =>
  `org.apache.kafka.connect.errors.ConnectException: …\nCaused by: io.debezium.DebeziumException: Failed to properly convert data value for 'public.trades.${column}' of type ${type}\n\tat io.debezium`;

const catalog = (type: string) => ({ pg_attribute: [{ name: 'fee', type, modifier: -1 }] });
const keys = [{ key: "(venue, symbol, trade_id) = ('v', 's', '1')" }];

describe('a failed task is explained', () => {
  test.each([
    ['numeric', 'numeric', 'NaN or an infinity', `"fee" IN ('NaN'`],
    ['numeric[]', '_numeric', 'NaN or an infinity', '"fee" && ARRAY'],
    ['enum[]', '_mood', 'an array with a NULL in it', 'array_position("fee", NULL)'],
    ['"bit"[]', '_bit', 'a value of type bit[]', '"fee" IS NOT NULL'],
  ])('by the column, the rows and the way out: %s', async (type, told, what, condition) => {
    const { db, statements } = database({ ...catalog(type), ' LIMIT 5': keys });
    const lines = await explainFailure(db, trace('fee', told));
    expect(lines[0]).toBe(
      `public.trades.fee: Debezium cannot write ${what}; in rows (venue, symbol, trade_id) = ('v', 's', '1').`,
    );
    expect(lines.join(' ')).toContain('`millrace connectors delete --reset` and `millrace connectors recapture --yes`');
    expect(statements.some((sql) => sql.includes(condition))).toBe(true);
    expect(statements.at(-1)).toBe('RESET statement_timeout');
  });

  test('by the rows that are left, when they were corrected already', async () => {
    const { db } = database(catalog('numeric'));
    expect((await explainFailure(db, trace('fee', 'numeric')))[0]).toContain('no row has one any more');
  });

  test('by a change of its type, when its type has no such values', async () => {
    const { db } = database(catalog('bigint'));
    expect((await explainFailure(db, trace('fee', 'int8')))[0]).toContain(
      'its type was changed while capture was behind',
    );
  });

  test('by the longest rows and their columns, when a record was too large', async () => {
    const { db } = database({ 'FROM public.trades t': [{ key: '(…)', columns: 'meta 9000000, venue 1' }] });
    const lines = await explainFailure(db, 'org.apache.kafka.common.errors.RecordTooLargeException: The message is …');
    expect(lines[1]).toBe('public.trades: row (…) (bytes: meta 9000000, venue 1)');
  });

  test('as far as it can, when the search takes too long', async () => {
    const { db } = database({
      ...catalog('numeric'),
      ' LIMIT 5': new Error('canceling statement due to statement timeout'),
    });
    expect(await explainFailure(db, trace('fee', 'numeric'))).toEqual([
      'the rows could not be searched for: canceling statement due to statement timeout',
    ]);
  });

  test('not at all, when nothing here knows it: no question is asked', async () => {
    const { db, statements } = database({});
    expect(await explainFailure(db, 'java.net.ConnectException: refused')).toEqual([]);
    expect(statements).toEqual([]);
  });
});
