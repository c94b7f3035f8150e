/** The configured capture: connector definitions with their placeholders filled in, and the folder of the migrations. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Applied, type ApplyOptions, applyConnector, isRunning } from '../../connectors/apply.ts';
import type { ConnectClient } from '../../connectors/client.ts';
import { type Definition, readDefinition } from '../../connectors/definition/definition.ts';
import { maskSettings, requireMaskable } from '../../connectors/definition/masking.ts';
import { withoutTables } from '../../connectors/definition/parking.ts';
import { captureSettings } from '../../connectors/definition/settings.ts';
import { hasRecords } from '../../connectors/recapture/rows/known.ts';
import { findingsOf, type SourceFinding, seenIn } from '../../connectors/source/findings.ts';
import { addToRecord, type CaptureRecord, readRecord } from '../../connectors/source/record.ts';
import { readSource, type Source, wantedOf } from '../../connectors/source/source.ts';
import { type SlotState, slotStateOf } from '../../connectors/supervision/guard.ts';
import { readSlot, type Slot } from '../../connectors/supervision/slot.ts';
import { type ColumnTrouble, columnTroubles } from '../../connectors/trouble/columns.ts';
import { explainFailure } from '../../connectors/trouble/failure.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import type { Config } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { connectPostgres, type Postgres } from '../../core/base/postgres.ts';
import { type Masks, parseMasks } from '../../core/capture/masks.ts';
import type { Log } from '../../core/log/log.ts';
import { type MigrateOptions, migrate } from '../../storage/migrate.ts';
import { projectDir } from '../settings/config.ts';

/** The single connector's definition, because there is one slot. @throws MillraceError CONFIG_INVALID */
export async function definitionOf(config: Config): Promise<Definition> {
  const [definition] = await definitions(config);
  if (definition === undefined) throw new MillraceError('CONFIG_INVALID', 'connectors/ has no definition');
  return definition;
}

/** Every definition in connectors/, by file name. @throws MillraceError CONFIG_INVALID */
export async function definitions(config: Config): Promise<readonly Definition[]> {
  const { user, passwordReference, slot, prefix, postgresUrl, registryUrl, transactions } = config.capture;
  const settings = captureSettings({
    postgresUrl: postgresUrl || config.postgres.url,
    registryUrl: registryUrl || config.registry.url,
    password: passwordReference,
    user,
    slot,
    prefix,
    transactions: transactions === 'on',
  });
  const dir = join(projectDir, 'connectors');
  const files = (await readdir(dir)).filter((file) => file.endsWith('.json')).sort();
  const masks = maskSettings(masksOf(config));
  const found = await Promise.all(files.map((file) => readDefinition(join(dir, file), settings)));
  return found.map(({ name, config: settled }) => ({ name, config: { ...settled, ...masks } }));
}

/** @throws MillraceError CONFIG_INVALID */
export function masksOf({ capture }: Config): Masks {
  return parseMasks(capture.masks, capture.maskSecret);
}

/** Migrates the configured database. Sets the capture role's password if one is configured. See storage/migrate.ts. */
export function migrateDatabase(
  config: Config,
  options: Pick<MigrateOptions, 'log' | 'signal'> = {},
): Promise<readonly string[]> {
  const { password } = config.capture;
  return migrate({
    url: config.postgres.url,
    dir: join(projectDir, 'infra', 'sql'),
    ...(password === '' ? {} : { capturePassword: password }),
    ...options,
  });
}

export function slotLost(reason: string): MillraceError {
  return new MillraceError('SLOT_LOST', `${reason}: changes are missing`, {
    remedy: 'Run `millrace connectors recapture`: it shows its plan, and fills the gap with --yes.',
  });
}

/** State of a capture according to Postgres. */
export interface SourceState {
  readonly slot: Slot | undefined;
  readonly source: Source;
  readonly record: CaptureRecord;
  readonly findings: readonly SourceFinding[];
  /** The definition to apply: without parked tables. */
  readonly definition: Definition;
}

/** Reads the state from Postgres only. */
export async function sourceState(
  db: Pick<Postgres, 'query'>,
  config: Config,
  definition: Definition,
): Promise<SourceState> {
  const wanted = wantedOf(definition.config);
  const record = await readRecord(db, definition.name);
  const source = await readSource(db, wanted);
  return {
    slot: await readSlot(db, config.capture.slot),
    source,
    record,
    findings: findingsOf(wanted, source, record),
    definition: withoutTables(definition, Object.keys(record.parked ?? {})),
  };
}

export type CaptureState = SourceState & SlotState;

/** Reads the slot before the position: see `lossOf`. @throws MillraceError CONFIG_INVALID: a mask would let values through */
export async function slotState(
  config: Config,
  client: ConnectClient,
  definition: Definition,
  signal?: AbortSignal,
): Promise<CaptureState> {
  const { slot: slotName } = config.capture;
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace connectors' });
  await requireMaskable(db, masksOf(config));
  const found = await sourceState(db, config, definition);
  const state = await slotStateOf(
    slotName,
    () => readSlot(db, slotName),
    () => client.position(definition.name, signal),
    found.record.guard?.loss,
  );
  return { ...found, ...state };
}

/** @throws MillraceError CAPTURE_INCOMPLETE: changes would not be captured, or have been missed */
export function requireComplete(findings: readonly SourceFinding[]): void {
  const grave = findings.filter(({ effect }) => effect === 'blind' || effect === 'missed');
  if (grave.length === 0) return;
  const lines = grave.map(({ cause, remedy }) => `  ${cause}\n    ${remedy}`);
  throw new MillraceError(
    'CAPTURE_INCOMPLETE',
    `the source does not provide all changes to capture:\n${lines.join('\n')}`,
    {
      remedy: `Follow the remedy below each line${
        grave.some(({ loses }) => loses) ? ', then run `millrace connectors recapture` to fill the missed rows.' : '.'
      }`,
    },
  );
}

/**
 * Applies a definition that has passed `requireNoGap`, and records the tables captured from then on. Returns the remaining findings too.
 */
export async function applyCapture(
  config: Config,
  client: ConnectClient,
  definition: Definition,
  options: ApplyOptions = {},
): Promise<Applied & { readonly findings: readonly SourceFinding[] }> {
  const applied = await applyConnector(client, definition, options);
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace connectors' });
  const { source, findings } = await sourceState(db, config, definition);
  await addToRecord(db, definition.name, 'seen', seenIn(wantedOf(definition.config), source));
  return { ...applied, findings };
}

/**
 * Checks that a connector can run without a gap. Returns the definition to apply: without parked tables.
 *
 * @throws MillraceError SLOT_LOST. CAPTURE_INCOMPLETE. POSITION_LOST: the connector would begin with a snapshot although the log has those
 *   rows already, or the slot is not the connector's own, or its first snapshot was interrupted and is not filled.
 */
export async function requireNoGap(
  config: Config,
  client: ConnectClient,
  definition: Definition,
  log: Pick<Log, 'ends'>,
): Promise<Definition> {
  const state = await slotState(config, client, definition);
  const { loss, slot, position } = state;
  if (loss !== undefined) throw slotLost(loss.reason);
  requireComplete(state.findings);
  if (position?.unfinished === false) return state.definition;
  const status = await client.status(definition.name);
  const running = status !== undefined && isRunning(status);
  if (position !== undefined) {
    if (running) return state.definition;
    throw new MillraceError(
      'POSITION_LOST',
      `the first snapshot of connector ${definition.name} was interrupted, and a restart would write its rows again`,
      {
        remedy:
          'The supervisor (`millrace run supervisor`) fills the missing rows; without one run `millrace connectors recapture`.',
      },
    );
  }
  const topic = tradesTopic(config);
  if (!(await hasRecords(log, topic))) {
    if (slot === undefined || running) return state.definition;
    throw new MillraceError(
      'POSITION_LOST',
      `connector ${definition.name} has no position, ${topic} has no records, and replication slot ${slot.slot} exists: it belongs to a log that is gone`,
      {
        remedy:
          'Run `millrace connectors delete --reset`, which drops the slot, then `millrace connectors apply`: a complete first snapshot needs a new slot.',
      },
    );
  }
  throw new MillraceError(
    'POSITION_LOST',
    `connector ${definition.name} has no position, and ${topic} has records: its first snapshot would count them twice`,
    {
      remedy: 'Run `millrace connectors recapture`: it shows its plan, and writes the missing changes with --yes.',
    },
  );
}

/** Columns of captured tables that the capture or a recapture cannot represent correctly. @throws MillraceError POSTGRES_UNREACHABLE */
export async function capturedColumnTroubles(config: Config): Promise<readonly ColumnTrouble[]> {
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace connectors' });
  await using registry = new Registry(config.registry);
  return await columnTroubles(db, registry, config.capture.prefix);
}

/** Explains a failed task's trace, with the rows at which it stopped. @throws MillraceError POSTGRES_UNREACHABLE */
export async function explained(config: Config, trace: string): Promise<readonly string[]> {
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace connectors' });
  return await explainFailure(db, trace);
}

/** The topic of captured trades. */
export function tradesTopic({ capture }: Config): string {
  return `${capture.prefix}.public.trades`;
}
