import { DuckDBInstance } from '@duckdb/node-api';
import { expect, test } from '@jest/globals';
import { type ChangeSource, Snapshot } from './snapshot.ts';

const before = 1_000n;
const floor = 400n;

function snapshot(text: string): Snapshot {
  return new Snapshot({ text, before, floor, after: 1_010n });
}

/** Both answers, which must be equal. */
async function seen(shot: Snapshot, source: ChangeSource): Promise<boolean> {
  const instance = await DuckDBInstance.create(':memory:');
  const db = await instance.connect();
  const value = (each: bigint | string | null) => (each === null ? 'NULL' : `'${each}'`);
  const { op, txId, lsn } = source;
  const row = `SELECT ${value(op)}::VARCHAR AS _op, ${value(txId)}::BIGINT AS _tx_id, ${value(lsn)}::BIGINT AS _lsn`;
  const [found] = (await db.runAndReadAll(`SELECT ${shot.duckdb} AS seen FROM (${row})`)).getRowObjects();
  db.closeSync();
  instance.closeSync();
  expect(found?.['seen']).toBe(shot.sees(source));
  return shot.sees(source);
}

const change = (txId: bigint | null, lsn: bigint, op = 'u'): ChangeSource => ({ op, txId, lsn });

test('a transaction that had ended is visible, wherever its commit is in the log', async () => {
  expect(await seen(snapshot('90:100:'), change(89n, 500n))).toBe(true);
  expect(await seen(snapshot('90:100:90,95'), change(96n, 1_005n))).toBe(true);
});

test('a transaction that was running, or had not begun, is not', async () => {
  expect(await seen(snapshot('90:100:90,95'), change(95n, 500n))).toBe(false);
  // The first id after the last ended transaction: a transaction may have begun with it already.
  expect(await seen(snapshot('90:100:90,95'), change(100n, 500n))).toBe(false);
  expect(await seen(snapshot('90:100:90,95'), change(7_000n, 2_000n))).toBe(false);
});

test('32 bits of a transaction id are compared in the epoch of the snapshot', async () => {
  const shot = snapshot(`${(3n << 32n) + 5n}:${(3n << 32n) + 10n}:${(3n << 32n) + 5n}`);
  expect(await seen(shot, change(5n, 500n))).toBe(false);
  expect(await seen(shot, change(6n, 500n))).toBe(true);
  expect(await seen(shot, change(11n, 1_500n))).toBe(false);
  // An id of the previous 32-bit epoch, just before the wrap-around.
  expect(await seen(shot, change(4_294_967_290n, 500n))).toBe(true);
  expect(await seen(shot, change((3n << 32n) + 12n, 1_500n))).toBe(false);
});

test('an id after a wrap-around is recognised by the place in the WAL', async () => {
  const shot = snapshot('90:100:95');
  expect(await seen(shot, change(95n, 399n))).toBe(true);
  expect(await seen(shot, change(101n, 399n))).toBe(true);
});

test('a row that a snapshot has read is visible if the reading began before', async () => {
  expect(await seen(snapshot('90:100:95'), change(95n, 999n, 'r'))).toBe(true);
  expect(await seen(snapshot('90:100:'), change(null, 1_000n, 'r'))).toBe(false);
  expect(await seen(snapshot('90:100:'), { op: 'c', txId: null, lsn: null })).toBe(true);
});
