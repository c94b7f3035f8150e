/** `millrace schemas`: the contracts of schemas/ against the registry, and the code that is generated from them. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { breakOf, mismatchOf } from '../../../core/avro/compatibility.ts';
import { type Compatibility, Registry } from '../../../core/avro/registry/registry.ts';
import { avroType } from '../../../core/avro/types.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { schemas } from '../../../schemas/gen/index.ts';
import { generate, ownFolders } from '../../../schemas/generate.ts';
import { type Contract, contracts, valueSubject } from '../../../schemas/topics.ts';
import { loadConfig } from '../../settings/config.ts';
import { printJson, printTable } from '../../terminal/print.ts';

const folder = join(import.meta.dirname, '../../../schemas');
const released = join(folder, 'released');
const generated = join(folder, 'gen');
const ours = ownFolders.map((name) => join(folder, name));

const captured = contracts()
  .filter(({ writer, subject }) => writer === 'connect' && subject.endsWith('-value'))
  .map(({ subject }) => subject.slice(0, -'-value'.length));

interface Result extends Contract {
  /** The result of the registry's check. `readable` and `unreadable` apply to schemas that Kafka Connect registered. */
  readonly state: 'new' | 'same' | 'compatible' | 'incompatible' | 'readable' | 'unreadable' | 'registered';
  readonly id?: number;
  readonly reason?: string;
}

export function register(program: Command): void {
  const group = program.command('schemas').description('the Avro contracts: compare, register, generate');
  group
    .command('check')
    .description('compare every schema with the registry; changes nothing, and exits with 1 if one is incompatible')
    .option('--json', 'print JSON')
    .action(check);
  group
    .command('push')
    .description('register every schema that Millrace writes, under BACKWARD compatibility')
    .option('--json', 'print JSON')
    .action(push);
  group
    .command('level')
    .description('show or set the compatibility level of the schemas that Kafka Connect registers for a captured table')
    .argument('<topic>', `one of ${captured.join(', ')}`, capturedTopic)
    .argument('[level]', 'BACKWARD, or NONE to accept a refused schema', levelOf)
    .option('--json', 'print JSON')
    .action(level);
  group
    .command('gen')
    .description('write schemas/gen from schemas/*/*.avsc')
    .option('--check', 'write nothing; exit with 1 if a file differs')
    .action(gen);
  group
    .command('release')
    .description('copy the present schemas to the released ones, with which later changes are compared')
    .action(release);
}

async function check(_options: unknown, command: Command): Promise<void> {
  const config = await loadConfig(command);
  await using registry = new Registry({ url: config.registry.url });
  const results = await checkAll(registry);
  print(results, command);
  if (results.some(isBroken)) process.exitCode = 1;
}

async function push(_options: unknown, command: Command): Promise<void> {
  const config = await loadConfig(command);
  await using registry = new Registry({ url: config.registry.url });
  await registry.setCompatibility('BACKWARD');
  const results: Result[] = [];
  for (const result of await checkAll(registry)) {
    const { subject, schema, writer, state } = result;
    if (writer === 'connect' || state === 'same') results.push(result);
    else
      results.push({
        subject,
        schema,
        writer,
        state: 'registered',
        id: await registry.register(subject, schemas[schema]),
      });
  }
  print(results, command);
  if (results.some(isBroken)) process.exitCode = 1;
}

async function level(
  topic: string,
  wanted: Compatibility | undefined,
  options: { readonly json?: boolean },
  command: Command,
): Promise<void> {
  const config = await loadConfig(command);
  await using registry = new Registry({ url: config.registry.url });
  const subject = valueSubject(topic);
  if (wanted !== undefined) await registry.setCompatibility(wanted, subject);
  const current = await registry.compatibility(subject);
  if (options.json === true) printJson({ subject, level: current });
  else process.stdout.write(`${subject}: ${current}\n`);
}

function capturedTopic(text: string): string {
  if (captured.includes(text)) return text;
  throw new InvalidArgumentError(`give one of ${captured.join(', ')}.`);
}

function levelOf(text: string): Compatibility {
  if (text === 'BACKWARD' || text === 'NONE') return text;
  throw new InvalidArgumentError('give BACKWARD or NONE.');
}

function checkAll(registry: Registry): Promise<readonly Result[]> {
  return Promise.all(contracts().map((contract) => checkOne(registry, contract)));
}

function isBroken({ state }: Result): boolean {
  return state === 'incompatible' || state === 'unreadable';
}

async function checkOne(registry: Registry, contract: Contract): Promise<Result> {
  const schema = schemas[contract.schema];
  if (contract.writer === 'millrace') return { ...contract, ...(await registry.check(contract.subject, schema)) };
  const latest = await registry.latest(contract.subject);
  if (latest === undefined) return { ...contract, state: 'new' };
  const [reader, writer] = [avroType(schema), avroType(latest.schema)];
  const reason = mismatchOf(reader, writer);
  return reason === undefined
    ? { ...contract, state: 'readable', id: latest.id }
    : { ...contract, state: 'unreadable', id: latest.id, reason };
}

const meanings: Readonly<Record<Result['state'], string>> = {
  new: 'not registered yet',
  same: 'registered',
  compatible: 'a new version, compatible',
  incompatible: 'WOULD BREAK its readers',
  readable: 'written by Kafka Connect, readable',
  unreadable: 'written by Kafka Connect, NOT READABLE',
  registered: 'registered now',
};

function print(results: readonly Result[], command: Command): void {
  if (command.opts<{ json?: boolean }>().json) {
    printJson(results);
    return;
  }
  printTable(
    ['subject', 'schema', 'id', 'state'],
    results.map(({ subject, schema, state, id, reason }) => [
      subject,
      schema,
      id === undefined ? '-' : String(id),
      reason === undefined ? meanings[state] : `${meanings[state]}: ${reason}`,
    ]),
  );
}

function gen(options: { check?: boolean }): void {
  const wanted = generate([...ours, join(folder, 'capture')]);
  const actual = new Map(readdirSync(generated).map((file) => [file, readFileSync(join(generated, file), 'utf8')]));
  const differing = [...new Set([...wanted.keys(), ...actual.keys()])].filter(
    (file) => wanted.get(file) !== actual.get(file),
  );
  if (options.check) {
    if (differing.length === 0) {
      process.stdout.write(`schemas/gen: ${wanted.size} files up to date\n`);
      return;
    }
    throw new MillraceError('CONFIG_INVALID', `schemas/gen differs from the schemas: ${differing.join(', ')}`, {
      remedy: 'Run millrace schemas gen and commit schemas/gen.',
    });
  }
  for (const file of differing) {
    const text = wanted.get(file);
    if (text === undefined) rmSync(join(generated, file));
    else writeFileSync(join(generated, file), text);
    process.stdout.write(`${text === undefined ? 'removed' : 'written'}  schemas/gen/${file}\n`);
  }
  if (differing.length === 0) process.stdout.write(`schemas/gen: ${wanted.size} files up to date\n`);
}

function release(): void {
  mkdirSync(released, { recursive: true });
  for (const source of ours.flatMap((each) => readdirSync(each).map((name) => join(each, name)))) {
    const file = basename(source);
    const text = readFileSync(source, 'utf8');
    const before = readdirSync(released).includes(file) ? readFileSync(join(released, file), 'utf8') : undefined;
    if (before === text) continue;
    const reason = before === undefined ? undefined : breakOf(JSON.parse(text) as object, JSON.parse(before) as object);
    if (reason !== undefined) {
      throw new MillraceError(
        'SCHEMA_INCOMPATIBLE',
        `${file} cannot read the records of its released version: ${reason}`,
        {
          remedy: 'Give new fields a default, or create a new schema for an incompatible change.',
        },
      );
    }
    writeFileSync(join(released, file), text);
    process.stdout.write(`released  ${file}\n`);
  }
}
