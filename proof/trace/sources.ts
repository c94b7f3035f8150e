import type { Client } from 'pg';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Masks } from '../../core/capture/masks.ts';
import type { Log } from '../../core/log/log.ts';
import type { CandleSettings } from '../reading/windows.ts';

/** The places that a trace reads. It writes nothing. */
export interface TraceSources {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly bucket: string;
  readonly db: Client;
  /** Settings of the candles that `ohlcv` makes. */
  readonly candles: CandleSettings;
  /** Columns that leave Postgres masked. Default: none. */
  readonly masks?: Masks;
  /**
   * By partition, the offset of the first record at or after a time (milliseconds). Without it, derived topics are read from their start.
   */
  readonly offsetsAt?: (topic: string, millis: number) => Promise<readonly bigint[]>;
  readonly onProgress?: (progress: TraceProgress) => void;
  readonly signal?: AbortSignal;
}

export interface TraceProgress {
  /** The place being read: a partition, or the archive. */
  readonly what: string;
  readonly done: number;
  readonly total: number;
}

/** The identity of a trade. */
export interface TradeId {
  readonly venue: string;
  readonly symbol: string;
  readonly trade_id: string;
}
