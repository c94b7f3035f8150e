/**
 * Every error of Millrace has a code, and the code decides what is done about it.
 *
 * `retry`: an infrastructure fault; wait and try again, nothing is lost. `skip`: nothing to do. `deadLetter`: this record is bad,
 * and only this record. `stop`: going on would lose or falsify data; a human is needed.
 */
export type Disposition = 'retry' | 'skip' | 'deadLetter' | 'stop';

/** The codes, each with its disposition. An operator-facing code has a page in runbooks/; a test holds both equal. */
export const errorCodes = {
  // the log
  KAFKA_UNREACHABLE: 'retry',
  FENCED: 'retry',
  COMMIT_UNKNOWN: 'retry',
  TRANSACTION_ABORTED: 'retry',
  POSITION_MISMATCH: 'stop',
  OFFSETS_EXPIRED: 'stop',
  OFFSET_OUT_OF_RANGE: 'stop',
  TOPIC_MISSING: 'stop',
  RECORD_TOO_LARGE: 'stop',
  KAFKA_FORBIDDEN: 'stop',
  KAFKA_REFUSED: 'stop',
  LOG_DAMAGED: 'stop',
  // Avro and the registry
  REGISTRY_UNREACHABLE: 'retry',
  SCHEMA_UNKNOWN: 'deadLetter',
  SCHEMA_FOREIGN: 'deadLetter',
  SCHEMA_INCOMPATIBLE: 'stop',
  ENCODE_FAILED: 'stop',
  FOLD_FAILED: 'stop',
  BAD_MAGIC: 'deadLetter',
  BAD_AVRO: 'deadLetter',
  TOO_LARGE: 'deadLetter',
  // processing
  FUTURE_EVENT_TIME: 'deadLetter',
  OUTSIDE_CALENDAR: 'deadLetter',
  BAD_RECORD: 'deadLetter',
  RULE_INVALID: 'deadLetter',
  STATE_CORRUPT: 'stop',
  STATE_VERSION: 'stop',
  STATE_DISK: 'retry',
  // capture and loading
  POSTGRES_UNREACHABLE: 'retry',
  POSTGRES_REFUSED: 'stop',
  MIGRATION_FAILED: 'stop',
  CONNECT_UNREACHABLE: 'retry',
  CONNECTOR_INVALID: 'stop',
  CONNECTOR_FAILED: 'stop',
  CONNECTOR_UNKNOWN: 'stop',
  SLOT_LOST: 'stop',
  CAPTURE_INCOMPLETE: 'stop',
  BACKFILL_ACTIVE: 'stop',
  BACKFILL_FAILED: 'stop',
  POSITION_LOST: 'stop',
  TOPIC_DIFFERS: 'stop',
  LOAD_REFUSED: 'stop',
  INTERRUPTED: 'stop',
  // cold storage
  S3_UNREACHABLE: 'retry',
  S3_DENIED: 'stop',
  S3_BUCKET_MISSING: 'stop',
  S3_CONFLICT: 'stop',
  CUT_UNREADABLE: 'stop',
  ARCHIVE_DAMAGED: 'stop',
  REPAIR_IMPOSSIBLE: 'stop',
  COPIES_FULL: 'stop',
  COMPACTION_FAILED: 'stop',
  QUERY_FAILED: 'stop',
  // the hot store
  HOT_STORE_UNAVAILABLE: 'retry',
  // commands
  PIPELINE_STUCK: 'retry',
  STAGE_BEHIND: 'retry',
  // configuration
  CONFIG_INVALID: 'stop',
  // any part
  DEFECT: 'stop',
  // operations
  CONFIRMATION_NEEDED: 'stop',
  GROUP_ACTIVE: 'stop',
  REPLAY_IMPOSSIBLE: 'stop',
  REBUILD_IMPOSSIBLE: 'stop',
  PORT_TAKEN: 'stop',
  TOOL_MISSING: 'stop',
  INSTALL_FAILED: 'stop',
  PART_FAILED: 'stop',
  STACK_BUSY: 'stop',
} as const satisfies Record<string, Disposition>;

/** Codes of all errors. The runbook of each is runbooks/errors/<code>.md. */
export type ErrorCode = keyof typeof errorCodes;

/** The place in the input where an error came. */
export interface ErrorOrigin {
  /** Processor or sink. */
  readonly processor: string;
  readonly topic: string;
  readonly partition: number;
  /** Null when it was no record: a heartbeat, a commit. */
  readonly offset: bigint | null;
}

export interface ErrorDetails {
  readonly origin?: ErrorOrigin | undefined;
  /** What the reader can do about it, one sentence in the imperative. */
  readonly remedy?: string;
  readonly cause?: unknown;
}

/** What every failure of Millrace is thrown as. `message` says what happened, `remedy` what the reader can do, `cause` what lies behind it. */
export class MillraceError extends Error {
  override readonly name = 'MillraceError';
  readonly code: ErrorCode;
  readonly disposition: Disposition;
  readonly remedy: string | undefined;
  readonly origin: ErrorOrigin | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.disposition = errorCodes[code];
    this.remedy = details.remedy;
    this.origin = details.origin;
  }
}

/** The same error with its origin, which is also told in the message; as it is when it has one. */
export function located(error: MillraceError, origin: ErrorOrigin): MillraceError {
  if (error.origin !== undefined) return error;
  const { code, message, remedy } = error;
  return new MillraceError(code, `${message} [${describeOrigin(origin)}]`, {
    cause: error,
    origin,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

/** `ohlcv, cdc.public.trades/3, offset 17`. */
export function describeOrigin({ processor, topic, partition, offset }: ErrorOrigin): string {
  return `${processor}, ${topic}/${partition}${offset === null ? '' : `, offset ${offset}`}`;
}

/** The error's disposition; anything that is not ours stops, because nobody decided what it means. */
export function dispositionOf(error: unknown): Disposition {
  return error instanceof MillraceError ? error.disposition : 'stop';
}

/** Whether something that was thrown is ours, of this code. */
export function isError(error: unknown, code: ErrorCode): error is MillraceError {
  return error instanceof MillraceError && error.code === code;
}

/** What was read; undefined where reading threw what processors and sinks put aside as a dead letter. For those who look at a record after them. */
export function unlessDead<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (dispositionOf(error) === 'deadLetter') return undefined;
    throw error;
  }
}
