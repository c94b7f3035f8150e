/** Fills an interrupted first snapshot. */
import type { ConnectClient } from '../../connectors/client.ts';
import { FirstSnapshot, type FirstSnapshotListener } from '../../connectors/recapture/first-snapshot.ts';
import { recapture } from '../../connectors/recapture/recapture.ts';
import { hasRecords } from '../../connectors/recapture/rows/known.ts';
import { dropSlot } from '../../connectors/recapture/slot.ts';
import type { Registry } from '../../core/avro/registry/registry.ts';
import type { Config } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { connectPostgres } from '../../core/base/postgres.ts';
import type { Log } from '../../core/log/log.ts';
import { masksOf, type SourceState, tradesTopic } from './capture.ts';
import { settleRecord } from './source/settle.ts';

export interface FirstSnapshotParts {
  readonly config: Config;
  readonly client: ConnectClient;
  readonly connector: string;
  /** The definition without parked tables, and the state before the filling. */
  readonly state: (signal?: AbortSignal) => Promise<Pick<SourceState, 'definition' | 'source' | 'record'>>;
  readonly log: Log;
  readonly schemas: Registry;
  readonly listener?: FirstSnapshotListener;
}

/** Its checks throw the errors of recapture.ts, and POSITION_LOST: the topic has records, and the registry lacks their schema. */
export function firstSnapshot(parts: FirstSnapshotParts): FirstSnapshot {
  const { config, client, connector, log, schemas, listener } = parts;
  const { slot, prefix } = config.capture;
  const topic = tradesTopic(config);
  return new FirstSnapshot({
    connector,
    client,
    fill: async (signal) => {
      const state = await parts.state(signal);
      const { definition, record } = state;
      const done = await recapture({
        ...{ client, definition, log, schemas, slot, prefix, masks: masksOf(config) },
        parked: Object.keys(record.parked ?? {}),
        postgresUrl: config.postgres.url,
        ...(signal && { signal }),
      });
      await settleRecord(config, state);
      return done;
    },
    reset: async (signal) => {
      if (await hasRecords(log, topic)) {
        throw new MillraceError('POSITION_LOST', `${topic} has records, and the registry lacks their schema`, {
          remedy: 'Restore the registry: the log cannot be read without it.',
        });
      }
      await client.deleteOffsets(connector, signal);
      await using db = await connectPostgres({
        url: config.postgres.url,
        name: 'millrace supervisor',
        ...(signal && { signal }),
      });
      await dropSlot(db, slot, signal);
    },
    ...(listener && { listener }),
  });
}
