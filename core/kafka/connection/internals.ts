import { createRequire } from 'node:module';
import { int32, string } from '../wire/primitives.ts';
import './request-queue.ts';

/**
 * The protocol layer of kafkajs, typed as far as we use it. kafkajs is pinned exactly, because these are not its public exports: its
 * public consumer cannot read at explicit positions, and its public producer hides which requests it repeats (docs/adr).
 */
export interface Cluster {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  /** Asks for the brokers of the cluster, and for no topic. */
  refreshMetadata(): Promise<void>;
  /** Connects if needed. After a failure the brokers have been asked for again. */
  findBroker(options: { nodeId: string | number }): Promise<Broker>;
  /** The next use of the broker opens new connections. Does not close the old ones. */
  removeBroker(broker: { host: string; port: number }): void;
  readonly brokerPool: BrokerPool;
}

interface BrokerPool {
  readonly metadata: { readonly clusterId: string | null } | null;
  createBroker(options: object): Broker;
  getNodeIds(): string[];
  findBroker(options: { nodeId: string | number }): Promise<Broker>;
  /** Any broker that a connection can be opened to. */
  findConnectedBroker(): Promise<Broker>;
}

export interface ClusterMetadata {
  readonly brokers: readonly { readonly nodeId: number }[];
  readonly topicMetadata: readonly TopicMetadata[];
}

export interface TopicMetadata {
  readonly topic: string;
  readonly topicErrorCode: number;
  readonly partitionMetadata: readonly { readonly partitionId: number; readonly leader: number }[];
}

interface TransactionId {
  transactionalId: string;
  producerId: string;
  producerEpoch: number;
}

export interface Broker {
  nodeId: number | string;
  connectionPool: { host: string; port: number; send(request: unknown): Promise<unknown> };
  disconnect(): Promise<void>;
  metadata(topics: readonly string[]): Promise<ClusterMetadata>;
  findGroupCoordinator(request: { groupId: string; coordinatorType: number }): Promise<{
    coordinator: { nodeId: number };
  }>;
  initProducerId(request: {
    transactionalId: string;
    transactionTimeout: number;
  }): Promise<{ producerId: string; producerEpoch: number }>;
  addPartitionsToTxn(request: TransactionId & { topics: { topic: string; partitions: number[] }[] }): Promise<unknown>;
  addOffsetsToTxn(request: TransactionId & { groupId: string }): Promise<unknown>;
  txnOffsetCommit(
    request: TransactionId & {
      groupId: string;
      topics: { topic: string; partitions: { partition: number; offset: string; metadata: string }[] }[];
    },
  ): Promise<unknown>;
  endTxn(request: TransactionId & { transactionResult: boolean }): Promise<unknown>;
  listOffsets(request: {
    replicaId: number;
    isolationLevel: number;
    topics: { topic: string; partitions: { partition: number; timestamp: string | number }[] }[];
  }): Promise<{ responses: { topic: string; partitions: { partition: number; offset: string }[] }[] }>;
  offsetFetch(request: { groupId: string; topics: { topic: string; partitions: { partition: number }[] }[] }): Promise<{
    responses: { topic: string; partitions: { partition: number; offset: string; metadata: string | null }[] }[];
  }>;
}

export interface KafkaLogEntry {
  level: number;
  namespace: string;
  log: { message: string; [key: string]: unknown };
}

export interface ClusterOptions {
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly onLog?: (entry: KafkaLogEntry) => void;
}

const require = createRequire(import.meta.url);
type Encode = () => Promise<unknown>;

const ClusterClass = require('kafkajs/src/cluster') as new (options: object) => Cluster;
const { createLogger } = require('kafkajs/src/loggers') as { createLogger(options: object): unknown };
const socketFactory = (require('kafkajs/src/network/socketFactory') as () => unknown)();
/** Builds Fetch requests of version 11, the newest that kafkajs encodes. */
export const fetchRequest = require('kafkajs/src/protocol/requests/fetch/v11/request') as (options: object) => {
  apiKey: number;
  encode: Encode;
};
/** Decodes Metadata responses of version 6. */
const { decode: decodeMetadata } = require('kafkajs/src/protocol/requests/metadata/v6/response') as { decode: object };
/** Decodes Produce responses of version 7. */
export const produceResponse = require('kafkajs/src/protocol/requests/produce/v7/response') as object;
export const { createErrorFromCode } = require('kafkajs/src/protocol/error') as {
  createErrorFromCode(code: number): Error & { type: string };
};

/** Connections are short of patience (a stopped broker must be noticed) and requests long of it (a loaded one must not). */
export const connectionTimeoutMs = 3_000;
export const requestTimeoutMs = 15_000;

/** kafkajs levels: 1 error, 2 warn, 4 info, 5 debug. Its own errors reach us as exceptions, so only warnings and up are passed on. */
export function logCreator(onLog: ClusterOptions['onLog']): () => (entry: KafkaLogEntry) => void {
  return () => (entry) => onLog?.(entry);
}

/**
 * kafkajs names every topic that was ever used, and fails the whole request for one that is deleted or forbidden. Our clusters name exactly
 * the topics that are asked for, and leave the errors of topics to the caller.
 */
async function metadata({ connectionPool }: Broker, topics: readonly string[]): Promise<ClusterMetadata> {
  const payload = Buffer.concat([int32(topics.length), ...topics.map(string), Buffer.of(0)]);
  const request = {
    apiKey: 3,
    apiVersion: 6,
    apiName: 'Metadata',
    encode: async () => ({ buf: payload, buffer: payload }),
  };
  const response = { decode: decodeMetadata, parse: async (decoded: ClusterMetadata) => decoded };
  return (await connectionPool.send({ request, response })) as ClusterMetadata;
}

export function createCluster(options: ClusterOptions): Cluster {
  const cluster = new ClusterClass({
    logger: createLogger({ level: 2, logCreator: logCreator(options.onLog) }),
    socketFactory,
    brokers: [...options.brokers],
    clientId: options.clientId,
    connectionTimeout: connectionTimeoutMs,
    requestTimeout: requestTimeoutMs,
    enforceRequestTimeout: true,
    metadataMaxAge: 60_000,
    allowAutoTopicCreation: false,
    maxInFlightRequests: null,
    isolationLevel: 0,
    retry: { retries: 2, initialRetryTime: 100, maxRetryTime: 1_000 },
  });
  const { brokerPool } = cluster;
  const create = brokerPool.createBroker;
  brokerPool.createBroker = (settings) => {
    const broker = create(settings);
    broker.metadata = (topics) => metadata(broker, topics);
    return broker;
  };
  return cluster;
}
