/** `millrace connectors`: keeps Kafka Connect in the state that connectors/*.json describe. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { isRunning, traceCauses } from '../../../connectors/apply.ts';
import { ConnectClient, type ConnectorStatus } from '../../../connectors/client.ts';
import { type Definition, differences } from '../../../connectors/definition/definition.ts';
import { dropSlot } from '../../../connectors/recapture/slot.ts';
import { summarize } from '../../../connectors/supervision/restarts.ts';
import type { Slot } from '../../../connectors/supervision/slot.ts';
import { Supervisor } from '../../../connectors/supervision/supervisor.ts';
import { troubleLine } from '../../../connectors/trouble/columns.ts';
import type { Config } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import { createLogger } from '../../../core/observability/logger.ts';
import {
  applyCapture,
  capturedColumnTroubles,
  definitionOf,
  definitions,
  explained,
  requireNoGap,
  slotState,
} from '../../capture/capture.ts';
import { recaptureConnector } from '../../capture/recapture.ts';
import { connectorLines, findingLines, isWhole, parkedLines } from '../../capture/source/lines.ts';
import { parkTable, unparkTable } from '../../capture/source/park.ts';
import { RestartLog } from '../../capture/source/restarts.ts';
import { forgetRecord } from '../../capture/source/settle.ts';
import { loadConfig } from '../../settings/config.ts';
import { printJson, say } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

export function register(program: Command): void {
  const group = program
    .command('connectors')
    .description('capture: apply, watch and repair the connectors of connectors/*.json');
  group
    .command('apply')
    .description('validate, apply the differences, and wait until all run')
    .option('--timeout <seconds>', 'longest wait until all run', '60')
    .option('--json', 'print JSON')
    .action(apply);
  group
    .command('validate')
    .description('let Kafka Connect check the definitions; changes nothing')
    .option('--json', 'print JSON')
    .action(validate);
  group
    .command('status')
    .description(
      'show connectors, tasks, restarts, the replication slot and findings about the source; exits with 1 unless all run as defined and all is captured',
    )
    .option('--trace', 'print the whole trace of a failed task')
    .option('--json', 'print JSON')
    .action(status);
  group
    .command('restart')
    .description('restart the connectors and their tasks, and wait until they run')
    .option('--failed', 'only failed connectors and tasks')
    .action(restart);
  group
    .command('delete')
    .description(
      'delete the connectors; offsets and replication slot stay, and the slot keeps WAL, unless --reset is given',
    )
    .option(
      '--reset',
      'delete offsets and slot too; the capture then begins again only with `recapture`, unless the topics are deleted',
    )
    .action(remove);
  group
    .command('recapture')
    .description(
      'fill the gap after a lost slot: writes the changes that the log lacks, once; shows the plan, and acts with --yes',
    )
    .option('--yes', 'carry out the plan')
    .option('--json', 'print JSON')
    .action(recaptureCommand);
  group
    .command('park')
    .description('leave a broken table out, so that the others go on; shows the plan, and acts with --yes')
    .argument('<table>', 'trades or instruments')
    .option('--yes', 'carry out the plan')
    .action((table: string, options: { yes?: boolean }, command: Command) =>
      parking(parkTable, table, options, command),
    );
  group
    .command('unpark')
    .description('capture a parked table again and fill its gap; shows the plan, and acts with --yes')
    .argument('<table>', 'trades or instruments')
    .option('--yes', 'carry out the plan')
    .action((table: string, options: { yes?: boolean }, command: Command) =>
      parking(unparkTable, table, options, command),
    );
  group
    .command('supervise')
    .description('restart failed tasks with growing waits, until a signal')
    .option('--json', 'log JSON lines, also on a terminal')
    .action(supervise);
}

interface Context {
  readonly config: Config;
  readonly client: ConnectClient;
  readonly wanted: readonly Definition[];
}

async function open(command: Command): Promise<Context> {
  const config = loadConfig(command);
  return { config, client: new ConnectClient({ url: config.connect.url }), wanted: await definitions(config) };
}

async function apply(options: { timeout: string; json?: boolean }, command: Command): Promise<void> {
  const { config, client, wanted } = await open(command);
  const timeoutMs = Number(options.timeout) * 1000;
  if (!(timeoutMs > 0))
    throw new MillraceError('CONFIG_INVALID', `--timeout ${options.timeout} is not a number of seconds`);
  const results = [];
  await using log = new KafkaLog(config.kafka);
  for (const definition of wanted) {
    const settled = await requireNoGap(config, client, definition, log);
    results.push(await applyCapture(config, client, settled, { timeoutMs }));
  }
  if (results.some(({ findings }) => findings.some(({ effect }) => effect !== 'weak'))) process.exitCode = 1;
  if (options.json) return printJson(results);
  for (const { name, action, changed, status, findings } of results) {
    const what = changed.length > 0 ? ` (${changed.join(', ')})` : '';
    say(`${name}  ${action}${what}  ${summary(status)}`);
    for (const line of findingLines(findings)) say(line);
  }
  for (const trouble of await capturedColumnTroubles(config)) say(`WARNING  ${troubleLine(trouble)}`);
}

async function validate(options: { json?: boolean }, command: Command): Promise<void> {
  const { client, wanted } = await open(command);
  const results = [];
  for (const { name, config } of wanted) results.push({ name, errors: await client.validate(name, config) });
  if (results.some(({ errors }) => errors.length > 0)) process.exitCode = 1;
  if (options.json) return printJson(results);
  for (const { name, errors } of results) {
    say(`${name}  ${errors.length === 0 ? 'valid' : `${errors.length} settings are not valid`}`);
    for (const { field, errors: reasons } of errors) say(`  ${field}: ${reasons.join('; ')}`);
  }
}

async function status(options: { trace?: boolean; json?: boolean }, command: Command): Promise<void> {
  const { config, client, wanted } = await open(command);
  const results = [];
  for (const whole of wanted) {
    const state = await slotState(config, client, whole);
    const { definition, record, findings, loss } = state;
    const found = await client.status(definition.name);
    const actual = found === undefined ? undefined : await client.config(definition.name);
    const changed = actual === undefined ? [] : differences(definition.config, actual);
    const restarts = summarize(record.restarts, Date.now());
    const runs = found !== undefined && isRunning(found);
    const asDefined = runs && changed.length === 0;
    if (!asDefined || loss !== undefined || !isWhole(findings, record, restarts)) process.exitCode = 1;
    const traces = [found, ...(found?.tasks ?? [])].flatMap((part) => part?.trace ?? []);
    const explanation = traces[0] === undefined ? [] : await explained(config, traces[0]);
    results.push({ name: definition.name, status: found, changed, restarts, explanation, state });
  }
  const troubles = await capturedColumnTroubles(config);
  if (options.json) {
    const [first] = results;
    return printJson({
      connectors: results.map(({ state: _state, ...result }) => result),
      slot: first?.state.slot ?? null,
      loss: first?.state.loss ?? null,
      findings: first?.state.findings ?? [],
      parked: first?.state.record.parked ?? {},
      guard: first?.state.record.guard ?? null,
      columns: troubles,
    });
  }
  for (const { name, status: found, changed, restarts, explanation, state } of results) {
    printConnector(name, found, changed, options.trace === true);
    for (const text of explanation) say(`  ${text}`);
    for (const line of connectorLines(found, state.record, restarts)) say(`  ${line}`);
    const { slot, loss } = state;
    if (slot === undefined)
      say(`slot ${config.capture.slot}  absent${loss === undefined ? '; the connector creates it' : ''}`);
    else say(slotLine(slot));
    if (loss !== undefined) say(`LOST  ${loss.reason}; fill the gap with: millrace connectors recapture`);
    for (const line of [...findingLines(state.findings), ...parkedLines(state.record.parked)]) say(line);
  }
  for (const trouble of troubles) say(`WARNING  ${troubleLine(trouble)}`);
}

function printConnector(
  name: string,
  found: ConnectorStatus | undefined,
  changed: readonly string[],
  trace: boolean,
): void {
  if (found === undefined) {
    say(`${name}  absent; create it with: millrace connectors apply`);
    return;
  }
  say(`${name}  ${summary(found)}${changed.length > 0 ? `  differs from its definition: ${changed.join(', ')}` : ''}`);
  for (const part of [found, ...found.tasks]) {
    if (part.trace === undefined) continue;
    for (const text of trace ? part.trace.trimEnd().split('\n') : traceCauses(part.trace)) say(`  ${text}`);
  }
}

async function restart(options: { failed?: boolean }, command: Command): Promise<void> {
  const { config, client, wanted } = await open(command);
  await using log = new KafkaLog(config.kafka);
  const settled = [];
  for (const definition of wanted) settled.push(await requireNoGap(config, client, definition, log));
  for (const { name } of settled) {
    if (!(await client.restart(name, { onlyFailed: options.failed === true }))) throw unknown(name);
  }
  for (const definition of settled) {
    // Kafka Connect answers before the restart begins.
    await sleep(500);
    const { status: found } = await applyCapture(config, client, definition);
    say(`${definition.name}  ${summary(found)}`);
  }
}

async function remove(options: { reset?: boolean }, command: Command): Promise<void> {
  const { config, client, wanted } = await open(command);
  for (const { name } of wanted) {
    const found = await client.status(name);
    if (options.reset && found !== undefined) {
      await client.stop(name);
      await forgetOffsets(client, name);
    }
    say(`${name}  ${(await client.delete(name)) ? 'deleted' : 'was not there'}`);
    if (options.reset) await forgetRecord(config, name);
  }
  if (options.reset)
    say(`slot ${config.capture.slot}  ${(await dropConfigured(config)) ? 'dropped' : 'was not there'}`);
}

/** Repeats the call: Kafka Connect refuses it until the stopped connector's tasks are gone. */
async function forgetOffsets(client: ConnectClient, name: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await client.deleteOffsets(name);
    } catch (error) {
      if (attempt === 50 || !(error instanceof MillraceError)) throw error;
      await sleep(200);
    }
  }
}

async function supervise(options: { json?: boolean }, command: Command): Promise<void> {
  const { config, client, wanted } = await open(command);
  const pretty = process.stderr.isTTY === true && options.json !== true;
  const log = createLogger({ pretty, bindings: { command: 'connectors supervise' } });
  const last = new Map<string, string>();
  const connect = () => connectPostgres({ url: config.postgres.url, name: 'millrace supervisor' });
  const logs = new Map(wanted.map(({ name }) => [name, new RestartLog({ connector: name, connect })]));
  const supervisor = new Supervisor({
    client,
    connectors: wanted.map(({ name }) => name),
    listener: {
      state: ({ connector, task, state }) => {
        const key = `${connector}/${task}`;
        if (last.get(key) !== state) log.info({ connector, task, state }, `${key} is ${state}`);
        last.set(key, state);
      },
      restarted: (event) => {
        log.warn(event, `restarted ${event.connector}/${event.task}, attempt ${event.attempt}: ${event.cause}`);
        const restarts = logs.get(event.connector);
        restarts?.add(event.task, event.cause);
        // Restarts that cannot be written now are written with the next one.
        restarts?.flush().catch((error: unknown) => log.warn({ err: error }, 'the restarts cannot be written'));
      },
      failed: (error) => log.warn({ err: error }, error.message),
    },
  });
  await supervisor.run(untilSignal());
}

async function dropConfigured(config: Config): Promise<boolean> {
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace connectors' });
  return await dropSlot(db, config.capture.slot);
}

async function recaptureCommand(options: { yes?: boolean; json?: boolean }, command: Command): Promise<void> {
  const { config, client } = await open(command);
  await recaptureConnector({
    config,
    client,
    definition: await definitionOf(config),
    ...options,
    signal: untilSignal(),
  });
}

async function parking(
  work: typeof parkTable,
  table: string,
  options: { yes?: boolean },
  command: Command,
): Promise<void> {
  const { config, client } = await open(command);
  await work({ config, client, definition: await definitionOf(config), table, ...options, signal: untilSignal() });
}

function summary(status: ConnectorStatus): string {
  const tasks = status.tasks.map((task) => `task ${task.id} ${task.state}`).join(', ') || 'no task';
  return `${status.state}, ${tasks}`;
}

function slotLine(slot: Slot): string {
  const state = `${slot.active ? 'active' : 'no reader'}, ${slot.walStatus}`;
  return `slot ${slot.slot}  ${state}, ${megabytes(slot.retainedBytes)} of WAL kept, ${megabytes(slot.confirmedLagBytes)} not confirmed`;
}

function megabytes(bytes: bigint): string {
  return `${(Number(bytes) / 1e6).toFixed(1)} MB`;
}

function unknown(name: string): MillraceError {
  return new MillraceError('CONNECTOR_UNKNOWN', `Kafka Connect has no connector ${name}`, {
    remedy: 'Create it with `millrace connectors apply`.',
  });
}
