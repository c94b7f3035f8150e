import { MillraceError } from '../../../../core/base/errors.ts';
import type {
  Committed,
  Fetched,
  Fetcher,
  FetchOptions,
  JoinOptions,
  Log,
  OutRecord,
  Position,
  Transaction,
  Writer,
  Written,
} from '../../../../core/log/log.ts';
import { partitionId } from '../../../../core/log/log.ts';
import { type Host, requestTimeoutMs } from '../processes/host.ts';
import { type Broker, Concurrent } from './broker.ts';
import type { Coordinator } from './coordinator.ts';
import { HostMembership } from './membership.ts';

const firstWaitMs = 2;
const longestWaitMs = 200;

/** The log as one process of the simulation sees it: every call is requests that take time, may be lost, and die with the process. */
export class HostLog implements Log {
  readonly #host: Host;
  readonly #broker: Broker;
  readonly #coordinator: Coordinator;

  constructor(host: Host, broker: Broker, coordinator: Coordinator) {
    this.#host = host;
    this.#broker = broker;
    this.#coordinator = coordinator;
  }

  join(options: JoinOptions): Promise<AsyncDisposable> {
    return HostMembership.join(this.#host, this.#coordinator, options);
  }

  fetcher(): Fetcher {
    return {
      fetch: (positions, options) => this.#fetch(positions, options),
      [Symbol.asyncDispose]: async () => undefined,
    };
  }

  async writer(transactionalId: string): Promise<Writer> {
    for (let waitMs = firstWaitMs; ; waitMs = Math.min(2 * waitMs, longestWaitMs)) {
      try {
        const epoch = await this.#ask('InitProducerId', () => this.#broker.initProducer(transactionalId));
        return new HostWriter(this.#host, this.#broker, transactionalId, epoch);
      } catch (error) {
        if (!(error instanceof Concurrent)) throw error;
      }
      await this.#host.clock.sleep(waitMs);
    }
  }

  committed(group: string, topic: string): Promise<readonly Committed[]> {
    return this.#ask('OffsetFetch', () => this.#broker.committed(group, topic));
  }

  starts(topic: string): Promise<readonly bigint[]> {
    return this.#ask('ListOffsets', () => this.#broker.starts(topic));
  }

  ends(topic: string): Promise<readonly bigint[]> {
    return this.#ask('ListOffsets', () => this.#broker.ends(topic));
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #fetch(positions: readonly Position[], options: FetchOptions): Promise<readonly Fetched[]> {
    const broker = this.#broker;
    const read = (): Fetched[] =>
      positions.flatMap((at) => {
        const portion = broker.read(at);
        return portion === undefined ? [] : [{ topic: at.topic, partition: at.partition, from: at.offset, ...portion }];
      });
    const fetched = await orUnreachable(
      this.#host.call<Fetched[]>(
        'Fetch',
        (answer) => {
          const ready = read();
          if (ready.length > 0 || options.maxWaitMs === 0) {
            answer({ value: ready });
            return;
          }
          const end = (): void => {
            cancel();
            forget();
            answer({ value: read() });
          };
          const cancel = broker.after(options.maxWaitMs, end);
          const forget = broker.onChange(() => {
            if (positions.some((at) => broker.readable(at))) end();
          });
        },
        requestTimeoutMs + options.maxWaitMs,
      ),
    );
    options.signal?.throwIfAborted();
    return fetched;
  }

  #ask<T>(request: string, serve: () => T): Promise<T> {
    return orUnreachable(ask(this.#host, request, serve));
  }
}

/**
 * A transactional writer as core/kafka's is, request by request. Unlike that one it can be used after a failure: who does so is to be
 * found out by what becomes of the data.
 */
class HostWriter implements Writer {
  readonly #host: Host;
  readonly #broker: Broker;
  readonly #id: string;
  readonly #epoch: number;

  constructor(host: Host, broker: Broker, id: string, epoch: number) {
    this.#host = host;
    this.#broker = broker;
    this.#id = id;
    this.#epoch = epoch;
  }

  async transact(transaction: Transaction): Promise<readonly Written[]> {
    if (transaction.records.length === 0 && transaction.offsets === undefined) return [];
    let written: Written[];
    try {
      written = await this.#write(transaction);
    } catch (error) {
      throw await this.#giveUp(error);
    }
    try {
      await ask(this.#host, 'EndTxn', () => this.#broker.endTransaction(this.#id, this.#epoch, 'commit'));
    } catch (cause) {
      if (cause instanceof MillraceError) throw cause;
      throw new MillraceError('COMMIT_UNKNOWN', `${this.#id}: ${(cause as Error).message}`, { cause });
    }
    return written;
  }

  async #write({ records, offsets }: Transaction): Promise<Written[]> {
    const partitions = [...Map.groupBy(records, partitionId).values()];
    if (partitions.length > 0) {
      const targets = partitions.map(([first]) => first as OutRecord);
      await this.#asking('AddPartitionsToTxn', () => this.#broker.addPartitions(this.#id, this.#epoch, targets));
    }
    const [written] = await Promise.all([
      Promise.all(
        partitions.map(async (each) => {
          const { topic, partition } = each[0] as OutRecord;
          const baseOffset = await this.#asking('Produce', () => this.#broker.produce(this.#id, this.#epoch, each));
          return { topic, partition, baseOffset };
        }),
      ),
      this.#commitOffsets(offsets),
    ]);
    return written;
  }

  async #commitOffsets(offsets: Transaction['offsets']): Promise<void> {
    if (offsets === undefined) return;
    const positions = offsets.positions.map((each) => ({ ...each, metadata: each.metadata ?? '' }));
    await this.#asking('AddOffsetsToTxn', () => this.#broker.addOffsets(this.#id, this.#epoch));
    await this.#asking('TxnOffsetCommit', () =>
      this.#broker.commitOffsets(this.#id, this.#epoch, offsets.group, positions),
    );
  }

  async #giveUp(cause: unknown): Promise<MillraceError> {
    if (cause instanceof MillraceError) return cause;
    await ask(this.#host, 'EndTxn', () => this.#broker.endTransaction(this.#id, this.#epoch, 'abort')).catch(
      () => undefined,
    );
    return new MillraceError('TRANSACTION_ABORTED', `${this.#id}: ${(cause as Error).message}`, { cause });
  }

  async #asking<T>(request: string, serve: () => T): Promise<T> {
    for (let waitMs = firstWaitMs; ; waitMs = Math.min(2 * waitMs, longestWaitMs)) {
      try {
        return await ask(this.#host, request, serve);
      } catch (error) {
        if (!(error instanceof Concurrent)) throw error;
      }
      await this.#host.clock.sleep(waitMs);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function ask<T>(host: Host, request: string, serve: () => T): Promise<T> {
  return host.call<T>(request, (answer) => {
    try {
      answer({ value: serve() });
    } catch (error) {
      answer({ error });
    }
  });
}

async function orUnreachable<T>(request: Promise<T>): Promise<T> {
  try {
    return await request;
  } catch (cause) {
    if (cause instanceof MillraceError || cause instanceof Concurrent) throw cause;
    throw new MillraceError('KAFKA_UNREACHABLE', (cause as Error).message, { cause });
  }
}
