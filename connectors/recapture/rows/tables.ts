/** Facts from the definitions (connectors/*.json) that decide where the connector writes a record. A test holds both equal. */

import { partitionOf } from '../../../core/capture/routing.ts';
import { defaultPartition } from '../../../core/kafka/partition.ts';
import type { Text } from '../columns/row.ts';

export interface CapturedTable {
  /** Table name with schema. */
  readonly name: string;
  readonly primaryKey: readonly [string, ...string[]];
  /** Columns of the record's key. */
  readonly key: readonly string[];
  /** Column with the event time; null for tables without one. */
  readonly eventTime: string | null;
  /** Columns in which a table constraint refuses values that Debezium cannot write. */
  readonly checked: readonly string[];
  /** @param key encoded key of the record */
  partition(row: Readonly<Record<string, Text>>, key: Buffer, partitions: number): number;
}

/** All captured tables except the heartbeat table, which has no history. */
export const capturedTables: readonly CapturedTable[] = Object.freeze([
  {
    name: 'public.trades',
    primaryKey: ['venue', 'symbol', 'trade_id'],
    key: ['venue', 'symbol'],
    eventTime: 'executed_at',
    checked: ['price', 'size'],
    partition: ({ venue, symbol }, _key, partitions) => partitionOf([venue ?? '', symbol ?? ''], partitions),
  },
  {
    name: 'public.instruments',
    primaryKey: ['venue', 'symbol'],
    key: ['venue', 'symbol'],
    eventTime: null,
    checked: [],
    partition: (_row, key, partitions) => defaultPartition(key, partitions),
  },
]);

/** Captured tables that are not parked. */
export function tablesWithout(parked: readonly string[] = []): readonly CapturedTable[] {
  return capturedTables.filter(({ name }) => !parked.includes(name));
}

export function topicOf(prefix: string, table: CapturedTable): string {
  return `${prefix}.${table.name}`;
}
