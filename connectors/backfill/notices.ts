/** Debezium's notifications of a backfill, in the order of its rows. When the end is read, all rows before it are in the log. */
import { z } from 'zod';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { endsOf, type Log, readRange } from '../../core/log/log.ts';
import type { Backfill } from './signals.ts';

const shape = z.object({
  id: z.string(),
  type: z.string(),
  additional_data: z.record(z.string(), z.string()).nullish(),
});

export type Ending =
  | { readonly result: 'completed' | 'stopped' }
  /** @param status Debezium's status: SQL_EXCEPTION, UNKNOWN_SCHEMA, NO_PRIMARY_KEY, SKIPPED. */
  | { readonly result: 'failed'; readonly status: string };

/** Reader of the notifications. Each call continues after the last record read. */
export class Notices {
  readonly #log: Log;
  readonly #topic: string;
  readonly #id: string;
  readonly #decoder: AvroDecoder<unknown>;
  #position: bigint;
  #status: string | undefined;
  #ending: Ending | undefined;
  #heard = 0;

  constructor(log: Log, schemas: Schemas, topic: string, { id, notified }: Pick<Backfill, 'id' | 'notified'>) {
    this.#log = log;
    this.#topic = topic;
    this.#id = id;
    this.#position = notified;
    this.#decoder = new AvroDecoder(schemas, null);
  }

  /** Number of notices of this backfill so far: one for each portion. */
  get heard(): number {
    return this.#heard;
  }

  /** Result of the backfill; undefined while it runs. */
  async ending(signal?: AbortSignal): Promise<Ending | undefined> {
    const [to = 0n] = await endsOf(this.#log, this.#topic);
    const range = { topic: this.#topic, partition: 0, from: this.#position, to };
    const fetch = { maxWaitMs: 250, maxBytesPerPartition: 1_048_576, ...(signal && { signal }) };
    for await (const records of readRange(this.#log, range, fetch)) {
      await this.#decoder.prepare(this.#decoder.missing(records.map(({ value }) => value)));
      for (const { value } of records) if (value !== null) this.#take(shape.parse(this.#decoder.decode(value)));
    }
    if (to > this.#position) this.#position = to;
    return this.#ending;
  }

  /** A completed table has the status of its scan. A stopped table has none, and the whole backfill is reported as completed or aborted. */
  #take({ id, type, additional_data: more }: z.infer<typeof shape>): void {
    if (id !== this.#id) return;
    this.#heard++;
    if (type === 'TABLE_SCAN_COMPLETED') this.#status = more?.['status'];
    if (type === 'ABORTED') this.#ending ??= { result: 'stopped' };
    if (type === 'COMPLETED') this.#ending ??= endingOf(this.#status);
  }
}

function endingOf(status: string | undefined): Ending {
  if (status === undefined) return { result: 'stopped' };
  return status === 'SUCCEEDED' || status === 'EMPTY' ? { result: 'completed' } : { result: 'failed', status };
}
