import type { StoreDefinition } from '../../core/processor/define.ts';
import { VersionedStore } from '../../core/processor/joins/versioned-store.ts';
import type { Progress } from '../../core/processor/watermark.ts';
import type { Rules } from './settings.ts';

/**
 * The processor's state in the changelog. Times and counts are Avro doubles: they are numbers in memory, exact to 2^53, and need no
 * conversion.
 */
const decimal = { type: 'bytes', logicalType: 'decimal', precision: 38, scale: 8 } as const;

/** One bar per symbol and step with trades, kept while a window can include it. Value: `Bar`. */
export const barStore: StoreDefinition = VersionedStore.store('bars', {
  type: 'record',
  name: 'Bar',
  fields: [
    { name: 'close', type: decimal },
    { name: 'close_time', type: 'double' },
    { name: 'close_sequence', type: ['null', 'long'] },
    { name: 'close_id', type: 'string' },
    { name: 'buy', type: decimal },
    { name: 'sell', type: decimal },
    { name: 'unknown', type: decimal },
    { name: 'trade_count', type: 'double' },
    {
      name: 'profile',
      type: {
        type: 'array',
        items: {
          type: 'record',
          name: 'Bucket',
          fields: [
            { name: 'edge', type: decimal },
            { name: 'volume', type: decimal },
          ],
        },
      },
    },
    { name: 'from_offset', type: 'long' },
    { name: 'to_offset', type: 'long' },
    { name: 'to_lsn', type: 'long' },
    { name: 'from_log', type: 'double' },
  ],
});

/** Event-time progress of a symbol, and the instant of its next row. `NEVER` when no row will have a trade in its windows. */
export interface SymbolState extends Progress {
  next: number;
}

export const NEVER = Number.MAX_SAFE_INTEGER;

/** A venue's symbol. */
export interface SymbolEntry {
  readonly venue: string;
  readonly symbol: string;
  /** Key in the stores and of its timer. */
  readonly key: string;
  readonly state: SymbolState;
}

/** Key: JSON of [venue, symbol]. Never deleted: one small entry each. */
export const symbolStore: StoreDefinition = {
  name: 'symbols',
  schema: {
    type: 'record',
    name: 'Symbol',
    namespace: 'millrace.features',
    fields: [
      { name: 'max_event', type: 'double' },
      { name: 'max_log', type: 'double' },
      { name: 'floor', type: 'double' },
      { name: 'lateness', type: 'double' },
      { name: 'next', type: 'double' },
    ],
  },
};

/** Settings that the bars depend on: bars of other settings have another meaning. One entry. */
export interface Shape {
  readonly step: number;
  readonly longest: number;
  readonly digits: number;
}

export const shapeKey = 'bars';

export const shapeStore: StoreDefinition = {
  name: 'shape',
  schema: {
    type: 'record',
    name: 'Shape',
    namespace: 'millrace.features',
    fields: [
      { name: 'step', type: 'double' },
      { name: 'longest', type: 'double' },
      { name: 'digits', type: 'int' },
    ],
  },
};

/**
 * Trades whose last change became a dead letter or came after the allowed lateness. No bar has their present version, so a correction
 * subtracts nothing, and a recomputed bar leaves them out. Key: JSON of [venue, symbol, id].
 *
 * Kept for twice the allowed lateness: a trade may be up to one allowed lateness in the future, and its correction comes after it.
 */
export function refusedStore({ allowedLateness }: Rules): StoreDefinition {
  return {
    name: 'refused',
    schema: {
      type: 'record',
      name: 'Refused',
      namespace: 'millrace.features',
      fields: [{ name: 'at', type: 'double' }],
    },
    ttlMs: Math.max(1, (2 * allowedLateness) / 1000),
  };
}
