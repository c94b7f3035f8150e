import { MillraceError } from '../../base/errors.ts';
import { createErrorFromCode } from './internals.ts';

/** Remedy for a topic that does not exist. */
export const createTopics =
  'create it with: millrace topics apply; a topic of your own processor with: millrace topics apply --module FILE';

interface KafkaErrorShape {
  name?: string;
  type?: string;
  message?: string;
  stack?: string;
  cause?: unknown;
}

/** An error and what caused it, outermost first: kafkajs wraps an error once it has given up repeating the request. */
function* chainOf(error: unknown): Generator<KafkaErrorShape> {
  let current = error as KafkaErrorShape | undefined;
  for (let depth = 0; current !== undefined && current !== null && depth < 8; depth++) {
    yield current;
    current = current.cause as KafkaErrorShape | undefined;
  }
}

/** Kafka's name of a protocol error. */
export function protocolType(error: unknown): string | undefined {
  for (const { type } of chainOf(error)) if (typeof type === 'string') return type;
  return undefined;
}

const fencing = new Set([
  'INVALID_PRODUCER_EPOCH',
  'PRODUCER_FENCED',
  'TRANSACTIONAL_ID_NOT_FOUND',
  'INVALID_PRODUCER_ID_MAPPING',
]);
const missing = new Set(['UNKNOWN_TOPIC_OR_PARTITION', 'INVALID_TOPIC_EXCEPTION']);
const tooLarge = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE']);
const leaderless = new Set(['NOT_LEADER_FOR_PARTITION', 'LEADER_NOT_AVAILABLE']);

const topicAccess = 'Describe and Read on the topic to read it, Describe and Write to write it';
/** Permissions by the error that tells of their lack. */
const permissions: Readonly<Record<string, string>> = {
  TOPIC_AUTHORIZATION_FAILED: topicAccess,
  GROUP_AUTHORIZATION_FAILED: 'Describe and Read on the group',
  CLUSTER_AUTHORIZATION_FAILED:
    'on the cluster: IdempotentWrite to write; Create, Alter and AlterConfigs to manage topics',
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 'Describe and Write on the transactional id',
};
const unauthenticated = new Set(['SASL_AUTHENTICATION_FAILED', 'UNSUPPORTED_SASL_MECHANISM', 'ILLEGAL_SASL_STATE']);

/** A broker that has refused such a request would refuse it again. */
const refused = new Set([
  'UNSUPPORTED_VERSION',
  'UNSUPPORTED_FOR_MESSAGE_FORMAT',
  'UNSUPPORTED_COMPRESSION_TYPE',
  'INVALID_REQUEST',
  'INVALID_RECORD',
  'INVALID_TIMESTAMP',
  'INVALID_TRANSACTION_TIMEOUT',
  'POLICY_VIOLATION',
]);
const unsupported = new Set(['KafkaJSServerDoesNotSupportApiKey', 'KafkaJSNotImplemented']);

const programming = new Set(['TypeError', 'RangeError', 'ReferenceError', 'SyntaxError', 'AssertionError']);

/** The partition's leader has moved, or it has none yet: fresh metadata tell who it is. */
export function isLeaderless(error: unknown): boolean {
  return leaderless.has(protocolType(error) ?? '');
}

/** A broker does not know a topic. Metadata decide whether there is none, or this broker has not heard of it yet. */
export function isUnknownTopic(error: unknown): boolean {
  return !(error instanceof MillraceError) && protocolType(error) === 'UNKNOWN_TOPIC_OR_PARTITION';
}

export function isFenced(error: unknown): boolean {
  return fencing.has(protocolType(error) ?? '');
}

/** The same meaning as `toMillraceError`, of an error code for one topic. An election that is not over stays kafkajs's error. */
export function topicError(code: number, topic: string): Error {
  const error = createErrorFromCode(code);
  return isLeaderless(error) ? error : toMillraceError(error, `asking for topic ${topic}`);
}

/** The meaning of a failed request, other than a commit, to the runtime. */
export function toMillraceError(error: unknown, doing: string): MillraceError {
  if (error instanceof MillraceError) return error;
  const type = protocolType(error) ?? '';
  const name = [...chainOf(error)].map((each) => each.name ?? '');
  const message = `${doing}: ${(error as KafkaErrorShape).message ?? String(error)}`;
  if (fencing.has(type)) {
    return new MillraceError('FENCED', `${doing}: a newer owner has taken over`, { cause: error });
  }
  if (missing.has(type)) {
    return new MillraceError('TOPIC_MISSING', message, {
      cause: error,
      remedy: createTopics,
    });
  }
  if (tooLarge.has(type)) {
    return new MillraceError('RECORD_TOO_LARGE', message, {
      cause: error,
      remedy: 'raise max.message.bytes of the topic, or lower runtime.commitRecords',
    });
  }
  const permission = permissions[type];
  if (permission !== undefined) {
    return new MillraceError('KAFKA_FORBIDDEN', message, { cause: error, remedy: `grant by an ACL: ${permission}` });
  }
  if (unauthenticated.has(type) || name.includes('KafkaJSSASLAuthenticationError')) {
    return new MillraceError('KAFKA_FORBIDDEN', message, {
      cause: error,
      remedy: 'check the mechanism and the credentials that the broker expects',
    });
  }
  if (refused.has(type) || name.some((each) => unsupported.has(each))) {
    return new MillraceError('KAFKA_REFUSED', message, {
      cause: error,
      remedy: 'compare the version and the settings of the broker with docs/how-to/operations/run-the-pipeline.md',
    });
  }
  if (isDefect(error)) {
    return new MillraceError('DEFECT', message, {
      cause: error,
      remedy: 'this is a defect of Millrace: please report it with the log',
    });
  }
  return new MillraceError('KAFKA_UNREACHABLE', message, {
    cause: error,
    remedy: 'is the broker up? millrace status tells, millrace up starts it',
  });
}

/** A programming error of ours. kafkajs has some of its own when a connection ends at the wrong moment; the next request works. */
function isDefect(error: unknown): boolean {
  for (const { name = '', stack = '' } of chainOf(error)) {
    if (!programming.has(name)) continue;
    const thrower = stack.split('\n').find((line) => /^ +at /.test(line) && !/\bnode:|<anonymous>/.test(line));
    return thrower === undefined || !/[\\/]kafkajs[\\/]/.test(thrower);
  }
  return false;
}
