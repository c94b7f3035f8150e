/** Former names of public types. They keep their meaning for one release, and are removed in the release after it. */
import type { PendingJoin } from '../core/processor/joins/as-of.ts';
import type { FirstSeen } from '../core/processor/joins/dedup.ts';
import type { TablePosition } from '../core/processor/joins/table.ts';
import { type AsOfResult, VersionedStore } from '../core/processor/joins/versioned-store.ts';
import type { PatternOutcome } from '../core/processor/pattern/pattern.ts';
import type { RecordVersion } from '../core/processor/windows/revisions/latest-versions.ts';
import type { VersionExtractor } from '../core/processor/windows/revisions/reread-cache.ts';
import type { RecordChange } from '../core/processor/windows/revisions/revision.ts';

/** @deprecated use AsOfResult */
export type Held<V> = AsOfResult<V>;
/** @deprecated use TablePosition */
export type Mark = TablePosition;
/** @deprecated use PatternOutcome */
export type Outcome<E> = PatternOutcome<E>;
/** @deprecated use VersionExtractor */
export type Reading<R> = VersionExtractor<R>;
/** @deprecated use RecordChange */
export type Change<R> = RecordChange<R>;
/** @deprecated use FirstSeen */
export type Seen = FirstSeen;
/** @deprecated use RecordVersion */
export type Version<R> = RecordVersion<R>;
/** @deprecated use VersionedStore */
export const Versions = VersionedStore;
/** @deprecated use VersionedStore */
export type Versions<V> = VersionedStore<V>;
/** @deprecated use PendingJoin */
export type Waiting<L> = PendingJoin<L>;
