/** `millrace/joins`: the latest value of another topic as of an event time, a captured table, deduplication, another partitioning. */
export { AsOfJoin, type AsOfOptions, type PendingJoin } from '../core/processor/joins/as-of.ts';
export { Dedup, type FirstSeen } from '../core/processor/joins/dedup.ts';
export { byFields } from '../core/processor/joins/repartition.ts';
export {
  CapturedTable,
  type CapturedTableOptions,
  type RowChange,
  type TablePosition,
} from '../core/processor/joins/table.ts';
export { type AsOfResult, type StoredVersion, VersionedStore } from '../core/processor/joins/versioned-store.ts';
