/**
 * The local stack as data: each part with its source, ports and settings. The compose file and the pom files have the same versions, ports
 * and settings; a test holds them equal.
 */

export const kafkaVersion = '4.3.1';

/** The brokers; the first one is also the controller. A stack has either the first one or all three. */
export const brokerNames = ['kafka', 'kafka2', 'kafka3'] as const;
export type BrokerName = (typeof brokerNames)[number];

export type PartName = BrokerName | 'postgres' | 'minio' | 'registry' | 'connect' | 'prometheus' | 'alertmanager';

/** Ports of the stack `dev`. Other stacks get free ports. */
export const defaultPorts = {
  postgres: 5432,
  kafka: 9092,
  kafkaController: 29093,
  kafka2: 9094,
  kafka3: 9095,
  registry: 8081,
  registryManagement: 8082,
  connect: 8083,
  minio: 9000,
  minioConsole: 9001,
  prometheus: 9090,
  alertmanager: 9093,
} as const;

export type PortName = keyof typeof defaultPorts;
export type Ports = Readonly<Record<PortName, number>>;

/** Oldest Java that runs every part: Apicurio Registry has class files of version 21. */
export const minimumJava = 21;

export const postgres = {
  title: 'Postgres',
  version: '18.4',
  settings: {
    wal_level: 'logical',
    max_replication_slots: '10',
    max_wal_senders: '10',
    // Limit of the WAL that a stopped capture holds back. Above it Postgres invalidates the slot, so that the disk does not fill.
    max_slot_wal_keep_size: '8GB',
    wal_sender_timeout: '30s',
    max_connections: '100',
    max_wal_size: '1GB',
    shared_buffers: '64MB',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_min_messages: 'warning',
  },
} as const;

export const kafka = {
  title: 'Kafka',
  version: kafkaVersion,
  artifacts: {
    'org.apache.kafka:kafka_2.13': kafkaVersion,
    'org.apache.kafka:kafka-tools': kafkaVersion,
    'org.apache.kafka:connect-runtime': kafkaVersion,
    'org.apache.logging.log4j:log4j-slf4j-impl': '2.25.4',
  },
  heap: ['-Xms192m', '-Xmx512m'],
  settings: {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.listener.names': 'CONTROLLER',
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': '1',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
    // Unlimited. By default, the offsets of a group that was stopped for 7 days are deleted.
    'offsets.retention.minutes': '2147483647',
    // One node: the default of 50 partitions each would only cost start time and memory.
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.num.partitions': '4',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    'log.retention.hours': '168',
    'log.segment.bytes': '268435456',
  },
} as const;

/** Settings of each broker in a stack of three: one may fail, and the others have all acknowledged records. */
export const replicated = {
  'default.replication.factor': '3',
  'min.insync.replicas': '2',
  'offsets.topic.replication.factor': '3',
  'transaction.state.log.replication.factor': '3',
  'transaction.state.log.min.isr': '2',
  'share.coordinator.state.topic.replication.factor': '3',
  'share.coordinator.state.topic.min.isr': '2',
} as const;

export const connect = {
  title: 'Kafka Connect',
  version: kafkaVersion,
  artifacts: {
    'io.debezium:debezium-connector-postgres': '3.7.0.Final',
    'io.apicurio:apicurio-registry-utils-converter': '2.6.13.Final',
  },
  heap: ['-Xms192m', '-Xmx512m'],
  settings: {
    'group.id': 'millrace-connect',
    'config.storage.topic': '_connect.configs',
    'offset.storage.topic': '_connect.offsets',
    'status.storage.topic': '_connect.status',
    'config.storage.replication.factor': '1',
    'offset.storage.replication.factor': '1',
    'status.storage.replication.factor': '1',
    'offset.storage.partitions': '1',
    'status.storage.partitions': '1',
    'exactly.once.source.support': 'enabled',
    'topic.creation.enable': 'true',
    'key.converter': 'org.apache.kafka.connect.json.JsonConverter',
    'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
    'plugin.discovery': 'service_load',
    // One worker: no other worker needs to return before a rebalance.
    'scheduled.rebalance.max.delay.ms': '1000',
    'offset.flush.interval.ms': '1000',
  },
  /** For a stack of three brokers. */
  replicated: {
    'config.storage.replication.factor': '3',
    'offset.storage.replication.factor': '3',
    'status.storage.replication.factor': '3',
  },
} as const;

export const registry = {
  title: 'Apicurio Registry',
  version: '3.3.3',
  artifacts: { 'io.apicurio:apicurio-registry-app': '3.3.3' },
  heap: ['-Xms64m', '-Xmx256m'],
  /** Settings in the form of the container image. Storage in Postgres, so that schema ids outlive the process. */
  settings: {
    APICURIO_STORAGE_KIND: 'sql',
    APICURIO_STORAGE_SQL_KIND: 'postgresql',
    APICURIO_DATASOURCE_USERNAME: 'registry',
    APICURIO_DATASOURCE_JDBC_INITIAL_SIZE: '2',
    APICURIO_DATASOURCE_JDBC_MIN_SIZE: '2',
    APICURIO_DATASOURCE_JDBC_MAX_SIZE: '20',
    // The converter's HTTP client requests an upgrade to HTTP/2 with its first request, and has no timeout. An upgraded POST was seen to
    // get an answer without a body. The connector's task then waited without limit, in the state RUNNING, and the slot did not move.
    QUARKUS_HTTP_HTTP2: 'false',
  },
} as const;

export const minio = {
  title: 'MinIO',
  /** Newest release on the Go module proxy. */
  version: 'v0.0.0-20260212201848-7aac2a2c5b7c',
  module: 'github.com/minio/minio',
  region: 'us-east-1',
  bucket: 'millrace',
  user: 'millrace',
} as const;

export const prometheus = { title: 'Prometheus', retention: '30d' } as const;
export const alertmanager = { title: 'Alertmanager' } as const;

/** Stop order of the parts: writers before the parts they write to, and the controller last of the brokers. */
export const stopOrder: readonly PartName[] = [
  'prometheus',
  'alertmanager',
  'connect',
  'registry',
  'kafka3',
  'kafka2',
  'kafka',
  'minio',
  'postgres',
];

export const titles: Readonly<Record<PartName, string>> = {
  postgres: postgres.title,
  kafka: kafka.title,
  kafka2: `${kafka.title} (broker 2)`,
  kafka3: `${kafka.title} (broker 3)`,
  minio: minio.title,
  registry: registry.title,
  connect: connect.title,
  prometheus: prometheus.title,
  alertmanager: alertmanager.title,
};
