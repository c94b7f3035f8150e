import { MillraceError } from '../../base/errors.ts';
import { isBackfilled } from '../../capture/backfilled.ts';
import { type Change, parseSequence } from '../../capture/identity.ts';
import type { LogRecord } from '../../log/log.ts';
import type { Input, InputRecord } from '../../processor/define.ts';

/** The year 2200 in microseconds. Log time never goes back, so one absurd value would hold it for ever. */
const latestLogTime = 7_258_118_400_000_000n;

/** The part of a Debezium envelope that the runtime itself reads. */
interface Envelope {
  readonly op: string;
  readonly before?: Readonly<Record<string, unknown>> | null;
  readonly after?: Readonly<Record<string, unknown>> | null;
  readonly source: {
    readonly ts_us?: bigint | null;
    readonly lsn?: bigint | null;
    readonly sequence?: string | null;
    readonly snapshot?: string | null;
  };
}

export interface ReadInput<In> {
  readonly record: InputRecord<In>;
  /** How to recognise the change again; undefined for input that needs no dedup. */
  readonly change: Change | undefined;
  /** It repeats what the log had, and is not folded. */
  readonly backfilled: boolean;
}

/**
 * Finds a record's log time and identity.
 *
 * @throws MillraceError BAD_RECORD when a change lacks what every change has.
 */
export function readInput<In>(input: Input<In>, partition: number, raw: LogRecord, value: In): ReadInput<In> {
  const { topic } = input;
  if (input.kind === 'derived') {
    return {
      record: { value, topic, partition, offset: raw.offset, logTime: raw.timestamp * 1000n, lsn: null },
      change: undefined,
      backfilled: false,
    };
  }
  const { op, before, after, source } = value as unknown as Envelope;
  const logTime = source.ts_us;
  if (logTime === undefined || logTime === null)
    throw new MillraceError('BAD_RECORD', 'the change has no commit time (source.ts_us)');
  if (logTime < 0n || logTime > latestLogTime) {
    throw new MillraceError(
      'BAD_RECORD',
      `the change's commit time (source.ts_us) ${logTime} is no time that Postgres gives`,
    );
  }
  const record = { value, topic, partition, offset: raw.offset, logTime, lsn: source.lsn ?? null };
  const sequence = typeof source.sequence === 'string' ? parseSequence(source.sequence) : undefined;
  // Rows of a snapshot all carry the snapshot's one LSN: looking them up would keep the whole table in memory.
  const backfilled = isBackfilled({ source });
  if (sequence === undefined || op === 'r' || backfilled) return { record, change: undefined, backfilled };
  return { record, change: { sequence, operation: op, row: after ?? before }, backfilled: false };
}
