import { MillraceError } from '../errors.ts';

interface KafkaErrorShape {
  name?: string;
  type?: string;
  code?: unknown;
  message?: string;
  cause?: unknown;
}

/** The innermost protocol error: kafkajs wraps what it gave up retrying. */
export function protocolType(error: unknown): string | undefined {
  let current = error as KafkaErrorShape | undefined;
  for (let depth = 0; current !== undefined && current !== null && depth < 8; depth++) {
    if (typeof current.type === 'string') return current.type;
    current = current.cause as KafkaErrorShape | undefined;
  }
  return undefined;
}

const fencing = new Set([
  'INVALID_PRODUCER_EPOCH',
  'PRODUCER_FENCED',
  'TRANSACTIONAL_ID_NOT_FOUND',
  'INVALID_PRODUCER_ID_MAPPING',
]);
const missing = new Set(['UNKNOWN_TOPIC_OR_PARTITION', 'INVALID_TOPIC_EXCEPTION']);

const leaderless = new Set(['NOT_LEADER_FOR_PARTITION', 'LEADER_NOT_AVAILABLE']);

/** The partition's leader has moved, or it has none yet: fresh metadata tell who it is. */
export function isLeaderless(error: unknown): boolean {
  return leaderless.has(protocolType(error) ?? '');
}

export function isFenced(error: unknown): boolean {
  return fencing.has(protocolType(error) ?? '');
}

/** What any failed request that is not part of a commit means to the runtime. */
export function toMillraceError(error: unknown, doing: string): MillraceError {
  if (error instanceof MillraceError) return error;
  const type = protocolType(error);
  const message = (error as KafkaErrorShape).message ?? String(error);
  if (type !== undefined && fencing.has(type)) {
    return new MillraceError('FENCED', `${doing}: a newer owner has taken over`, { cause: error });
  }
  if (type !== undefined && missing.has(type)) {
    return new MillraceError('TOPIC_MISSING', `${doing}: ${message}`, {
      cause: error,
      remedy: 'create the topics with: millrace topics apply',
    });
  }
  if (type === 'MESSAGE_TOO_LARGE' || type === 'RECORD_LIST_TOO_LARGE') {
    return new MillraceError('RECORD_TOO_LARGE', `${doing}: ${message}`, {
      cause: error,
      remedy: 'raise max.message.bytes of the topic, or lower runtime.commitRecords',
    });
  }
  return new MillraceError('KAFKA_UNREACHABLE', `${doing}: ${message}`, {
    cause: error,
    remedy: 'is the broker up? millrace status tells, millrace up starts it',
  });
}
