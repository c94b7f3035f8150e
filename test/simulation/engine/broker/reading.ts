import type { Log } from '../../../../core/log/log.ts';
import type { Broker } from './broker.ts';

/** The broker's log as it is, for reading after a run: no process, no network, no time. */
export function readingLog(broker: Broker): Log {
  const only = (): never => {
    throw new TypeError('this log is only read');
  };
  return {
    join: only,
    writer: only,
    fetcher: () => ({
      fetch: async (positions) =>
        positions.flatMap((at) => {
          const portion = broker.read(at);
          const { topic, partition, offset } = at;
          return portion === undefined ? [] : [{ topic, partition, from: offset, ...portion }];
        }),
      [Symbol.asyncDispose]: async () => undefined,
    }),
    committed: async (group, topic) => broker.committed(group, topic),
    starts: async (topic) => broker.starts(topic),
    ends: async (topic) => broker.ends(topic),
    [Symbol.asyncDispose]: async () => undefined,
  };
}
