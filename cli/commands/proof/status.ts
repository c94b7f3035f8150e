/** `millrace status`: the parts of the stack, the capture, the lag of each stage, and the state of the archive. */
import type { Command } from 'commander';
import { ConnectClient, type ConnectorStatus } from '../../../connectors/client.ts';
import { type RestartSummary, summarize } from '../../../connectors/supervision/restarts.ts';
import { normalPrefix } from '../../../core/archive/keys.ts';
import { openStore } from '../../../core/archive/s3/open.ts';
import type { Registry } from '../../../core/avro/registry/registry.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import type { Config } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { GroupAdmin } from '../../../core/kafka/groups.ts';
import type { KafkaLog } from '../../../core/kafka/log.ts';
import { readControl } from '../../../core/operations/control.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { PartStatus } from '../../../infra/local/stack.ts';
import type { ControlEntry } from '../../../schemas/gen/control_entry.ts';
import { firstKeptDay } from '../../archive/expire.ts';
import { printStanding, readReplaced, readStanding, type TopicStanding } from '../../archive/standing.ts';
import { definitionOf, definitions, type SourceState, sourceState } from '../../capture/capture.ts';
import { connectorLines, findingLines, isWhole, parkedLines } from '../../capture/source/lines.ts';
import { positionsOfStage } from '../../processors/positions.ts';
import { offsetRetentionDays, offsetRetentionWarning } from '../../run/retention.ts';
import { loadConfig, stackName } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { attach } from '../../stack/stack.ts';
import { eventTimes } from '../../status/event-times.ts';
import {
  countRecords,
  otherStages,
  type RecordCount,
  readStages,
  type Stage,
  type StageLag,
  stages,
} from '../../status/stages.ts';
import { printJson, printTable, say } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

const sideTopics = [
  ...['ohlcv', 'anomaly', 'enrichment', 'features'].flatMap((name) => [`${name}.late`, `${name}.dead`]),
  'parquet.dead',
  'hot-store.dead',
];
/** Counting reads the topic. A greater number is printed as "at least". */
const countLimit = 10_000;

export function register(program: Command): void {
  program
    .command('status')
    .description(
      'show the parts of the stack, the capture, each stage with its processes and its lag in records and log time, and the archive with pending compaction and expiry',
    )
    .option('--json', 'print JSON')
    .action(status);
}

/** An answer or the error in its place, so that one unreachable part does not hide the others. */
type Asked<T> = T | { readonly error: MillraceError };

async function status(options: { json?: boolean }, command: Command): Promise<void> {
  const config = loadConfig(command);
  const signal = untilSignal();
  const [parts, connectors, capture, lags, side, paused, archive, replaced, kept] = await Promise.all([
    readParts(command),
    asked(readConnectors(config)),
    asked(readCapture(config, signal)),
    asked(withLog(config, (log, schemas) => readLags(config, log, schemas, signal))),
    asked(withLog(config, (log) => readSide(log, signal))),
    asked(withLog(config, readControl)),
    asked(withLog(config, (log, schemas) => readArchive(config, log, schemas, signal))),
    asked(withLog(config, (log, schemas) => readBucket(config, log, schemas, signal))),
    asked(readOffsetRetention(config)),
  ]);
  const failed = [connectors, capture, lags].some(isError);
  if (failed || parts.some(({ running }) => !running) || !runs(connectors) || !captures(capture)) process.exitCode = 1;
  if (options.json === true) {
    printJson({
      parts,
      connectors: plain(connectors),
      ...(isError(capture) ? { slot: plain(capture) } : told(capture)),
      stages: plain(lags),
      records: plain(side),
      paused: plain(paused),
      archive: plain(archive),
      replaced: plain(replaced),
      offsetRetentionDays: plain(kept),
    });
    return;
  }
  printParts(parts);
  printCapture(connectors, capture);
  printStages(lags, side);
  printPaused(paused);
  printOffsetRetention(kept);
  say();
  if (isError(archive)) printProblem('archive', archive.error);
  else printStanding(archive, isError(replaced) ? [] : replaced);
  if (isError(replaced)) printProblem('replaced files', replaced.error);
}

async function readParts(command: Command): Promise<readonly PartStatus[]> {
  const name = stackName(command);
  try {
    const stack = await attach(name);
    return await stack.status();
  } catch (error) {
    if (error instanceof MillraceError && error.code === 'PART_FAILED') return []; // no local stack: parts run elsewhere
    throw error;
  }
}

async function readConnectors(config: Config): Promise<readonly ConnectorStatus[]> {
  const client = new ConnectClient({ url: config.connect.url });
  const wanted = await definitions(config);
  const found = await Promise.all(wanted.map(({ name }) => client.status(name)));
  return found.map(
    (each, i) => each ?? { name: wanted[i]?.name ?? '', state: 'ABSENT', worker: '', trace: undefined, tasks: [] },
  );
}

type Capture = SourceState & { readonly restarts: RestartSummary };

async function readCapture(config: Config, signal: AbortSignal): Promise<Capture> {
  await using db = await connectPostgres({
    url: config.postgres.url,
    name: 'millrace status',
    connectTimeoutMs: 3000,
    signal,
  });
  const state = await sourceState(db, config, await definitionOf(config));
  return { ...state, restarts: summarize(state.record.restarts, Date.now()) };
}

function captures(capture: Asked<Capture>): boolean {
  return !isError(capture) && isWhole(capture.findings, capture.record, capture.restarts);
}

function told({ slot, findings, record, restarts }: Capture): Record<string, unknown> {
  return { slot: slot ?? null, findings, restarts, parked: record.parked ?? {}, guard: record.guard ?? null };
}

/** The lag of a stage, and the members of its consumer group: none if no process runs it. */
type ShownLag = StageLag & { readonly members: readonly string[] };

async function readLags(config: Config, log: KafkaLog, schemas: Registry, signal: AbortSignal): Promise<ShownLag[]> {
  await using groups = await GroupAdmin.open(config.kafka);
  const others = await otherStages(await groups.names(), (group) => groups.topics(group));
  const lags = await readStages({
    log,
    stages: [...stages, ...others],
    eventTimeOf: eventTimes(schemas),
    positionsOf: (stage: Stage) => positionsOfStage(schemas, stage),
    signal,
  });
  const members = new Map<string, readonly string[]>();
  for (const { stage } of lags) if (!members.has(stage)) members.set(stage, await groups.members(groupOf(stage)));
  return lags.map((lag) => ({ ...lag, members: members.get(lag.stage) ?? [] }));
}

async function readOffsetRetention({ kafka }: Config): Promise<number> {
  await using admin = await TopicAdmin.open(kafka);
  return await offsetRetentionDays(admin);
}

async function readSide(log: KafkaLog, signal: AbortSignal): Promise<Record<string, RecordCount>> {
  const counted: Record<string, RecordCount> = {};
  for (const topic of sideTopics) counted[topic] = await countRecords(log, topic, countLimit, signal);
  return counted;
}

async function readArchive(
  config: Config,
  log: KafkaLog,
  schemas: Schemas,
  signal: AbortSignal,
): Promise<TopicStanding[]> {
  await using store = openStore(config.s3);
  const { targetBytes, retentionDays } = config.compact;
  const kept = retentionDays === 0 ? undefined : firstKeptDay(retentionDays, Date.now());
  return await readStanding({ log, schemas, store, signal }, { targetBytes, firstKeptDay: kept });
}

async function readBucket(config: Config, log: KafkaLog, schemas: Schemas, signal: AbortSignal) {
  await using store = openStore(config.s3);
  const { readerGraceMs } = config.compact;
  const prefix = normalPrefix(config.parquet.topicsDir);
  const epoch = await log.clusterId();
  return await readReplaced({ log, schemas, store, signal, prefix, epoch, readerGraceMs, now: Date.now });
}

async function asked<T>(question: Promise<T>): Promise<Asked<T>> {
  try {
    return await question;
  } catch (error) {
    if (error instanceof MillraceError) return { error };
    throw error;
  }
}

function isError<T>(answer: Asked<T>): answer is { readonly error: MillraceError } {
  return typeof answer === 'object' && answer !== null && 'error' in answer && answer.error instanceof MillraceError;
}

function plain<T>(answer: Asked<T>): unknown {
  return isError(answer)
    ? { error: answer.error.message, code: answer.error.code, remedy: answer.error.remedy }
    : answer;
}

function runs(connectors: Asked<readonly ConnectorStatus[]>): boolean {
  if (isError(connectors)) return false;
  return connectors.every(
    ({ state, tasks }) => state === 'RUNNING' && tasks.length > 0 && tasks.every((task) => task.state === 'RUNNING'),
  );
}

function printParts(parts: readonly PartStatus[]): void {
  if (parts.length === 0) return;
  printTable(
    ['part', 'state', 'pid', 'ports', 'memory', 'since'],
    parts.map(({ title, running, pid, ports, memory, startedAt }) => [
      title,
      running ? 'running' : 'stopped',
      pid?.toString() ?? '',
      ports.join(' '),
      memory === undefined ? '' : megabytes(memory),
      startedAt === undefined ? '' : `${startedAt.slice(0, 19)}Z`,
    ]),
  );
  say();
}

function printCapture(connectors: Asked<readonly ConnectorStatus[]>, capture: Asked<Capture>): void {
  if (isError(connectors)) printProblem('connectors', connectors.error);
  else {
    for (const connector of connectors) {
      const { name, state, tasks } = connector;
      const each = tasks.map((task) => `task ${task.id} ${task.state}`).join(', ') || 'no task';
      const hint = state === 'ABSENT' ? '; create it with: millrace connectors apply' : '';
      say(`connector ${name}: ${state}, ${each}${hint}`);
      if (isError(capture)) continue;
      for (const line of connectorLines(connector, capture.record, capture.restarts)) say(`  ${line}`);
    }
  }
  if (isError(capture)) printProblem('capture', capture.error);
  else {
    const { slot, findings, record } = capture;
    if (slot === undefined) say('replication slot: none; the connector creates it');
    else {
      const reader = slot.active ? 'read' : 'no reader';
      say(
        `replication slot ${slot.slot}: ${reader}, ${slot.walStatus}, ${megabytes(Number(slot.confirmedLagBytes))} not confirmed, ${megabytes(Number(slot.retainedBytes))} of WAL kept`,
      );
    }
    for (const line of [...findingLines(findings), ...parkedLines(record.parked)]) say(line);
  }
  say();
}

function printStages(lags: Asked<readonly ShownLag[]>, side: Asked<Record<string, RecordCount>>): void {
  if (isError(lags)) {
    printProblem('stages', lags.error);
    return;
  }
  const counts = isError(side) ? {} : side;
  printTable(
    ['stage', 'run by', 'input', 'lag', 'behind in log time', 'last event', 'late', 'dead'],
    lags.map(({ stage, members, topic, started, expired, lagRecords, lagMs, lastEvent }, i) => {
      const first = lags.findIndex((each) => each.stage === stage) === i;
      return [
        stage,
        first ? runBy(members) : '',
        topic,
        expired > 0 ? `${lagRecords}, offsets expired` : started ? `${lagRecords}` : `${lagRecords}, not started`,
        duration(lagMs),
        lastEvent === undefined ? '' : formatTimestamp(lastEvent),
        first ? count(counts[`${stage}.late`]) : '',
        first ? count(counts[`${stage}.dead`]) : '',
      ];
    }),
  );
  const expired = new Set(lags.filter((lag) => lag.expired > 0).map(({ stage }) => stage));
  for (const stage of expired) say(`${stage}: offsets expired: millrace offsets restore ${stage}`);
}

function printOffsetRetention(days: Asked<number>): void {
  if (isError(days)) return; // the lines of the stages already report that Kafka does not answer
  const warning = offsetRetentionWarning(days);
  if (warning !== undefined) say(`warning: ${warning.found}\n  remedy: ${warning.remedy}`);
}

function printPaused(paused: Asked<readonly ControlEntry[]>): void {
  if (isError(paused)) {
    printProblem('orders to pause', paused.error);
    return;
  }
  for (const { name, partition, reason, paused_at } of paused) {
    const which = partition === null ? 'all tasks' : `task ${partition}`;
    const why = reason === null ? '' : `: ${reason}`;
    say(`paused: ${which} of ${name} since ${formatTimestamp(paused_at)}${why}`);
  }
}

function printProblem(what: string, error: MillraceError): void {
  say(`${what}: ${error.message} [${error.code}]`);
  if (error.remedy !== undefined) say(`  remedy: ${error.remedy}`);
}

function count(counted: RecordCount | undefined): string {
  if (counted === undefined) return '';
  return counted.more ? `${counted.records} or more` : `${counted.records}`;
}

function runBy(members: readonly string[]): string {
  if (members.length === 0) return 'nobody';
  return members.length === 1 ? '1 process' : `${members.length} processes`;
}

function duration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(1)} min`;
  return seconds < 172_800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86_400).toFixed(1)} d`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
