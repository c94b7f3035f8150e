/** The contestants in the benchmark of windows, each in a separate process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runtimeEnv, runtimeFlags } from '../../cli/demo/pipeline.ts';
import { cacheDir, projectDir, stackDir } from '../../cli/settings/config.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import type { Config } from '../../core/base/config.ts';
import { ensureCached } from '../../infra/local/install/cache.ts';
import { runCommand } from '../../infra/local/install/command.ts';
import { findJava } from '../../infra/local/install/java.ts';
import { ensurePom } from '../../infra/local/install/maven.ts';
import { minimumJava } from '../../infra/local/parts.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { plainGroup } from './at-least-once.ts';

export interface Contestant {
  readonly name: string;
  /** The group whose commits show its progress. */
  readonly group: string;
  /** Topic of its candles; null if they are not comparable with Millrace's. */
  readonly output: string | null;
  /** Whether it created a topic, for the clean-up. */
  readonly leaves: (topic: string) => boolean;
  /** @param label distinguishes the logs of several processes */
  start(label?: string): Promise<Running>;
}

const killAfterMs = 10_000;

/** A running contestant. Disposal asks it to end, so that it leaves its group, and kills it after a time-out. */
export class Running implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #log: string;
  readonly #exit: Promise<unknown>;
  readonly #dir: string | undefined;
  #killed = false;

  constructor(command: string, args: readonly string[], log: string, env: NodeJS.ProcessEnv, dir?: string) {
    const file = openSync(log, 'w');
    this.#child = spawn(command, [...args], { env, stdio: ['ignore', file, file], cwd: projectDir });
    closeSync(file);
    this.#log = log;
    this.#dir = dir;
    this.#exit = once(this.#child, 'exit');
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Rejects when the process ends by itself. Otherwise it never settles. */
  async ended(): Promise<never> {
    await this.#exit;
    if (this.#killed) return new Promise(() => undefined);
    throw new Error(`process ${this.pid} has ended by itself:\n${readFileSync(this.#log, 'utf8').slice(-2_000)}`);
  }

  /** Kills the process with SIGKILL. Resolves when it has ended. */
  async kill(): Promise<void> {
    this.#killed = true;
    this.#child.kill('SIGKILL');
    await this.#exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#killed = true;
      this.#child.kill('SIGTERM');
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), killAfterMs);
      await this.#exit;
      clearTimeout(timer);
    }
    if (this.#dir !== undefined) await rm(this.#dir, { recursive: true, force: true });
  }
}

async function logFile(stack: string, name: string): Promise<string> {
  const dir = join(stackDir(stack), 'logs');
  await mkdir(dir, { recursive: true });
  return join(dir, `bench-${name.replaceAll(/[^a-z0-9]+/g, '-')}.log`);
}

/** `like the peer`: one-minute candles, each published once, when it closes. `as shipped`: the defaults, with their roll-ups and PARTIALs. */
export type Work = 'like the peer' | 'as shipped';

export function millrace(stack: string, work: Work, guarantee: 'exactly once' | 'at least once'): Contestant {
  const name = `millrace, ${work}, ${guarantee}`;
  const settings = work === 'as shipped' ? {} : { MILLRACE_OHLCV_INTERVALS: '1m', MILLRACE_OHLCV_PARTIAL_MS: '0' };
  const exactly = guarantee === 'exactly once';
  return {
    name,
    group: exactly ? 'millrace.ohlcv' : plainGroup('millrace.ohlcv'),
    output: 'market.candles',
    leaves: (topic) => topic === 'market.candles' || topic.startsWith('ohlcv.'),
    start: async (label = '') => {
      const entry = exactly
        ? ['cli/main.ts', '--stack', stack, 'run', 'ohlcv', '--port', '0']
        : ['bench/windows/at-least-once.ts', stack];
      const flags = [...runtimeFlags, ...(process.env['BENCH_NODE_FLAGS']?.split(' ') ?? [])];
      const env = { ...process.env, ...runtimeEnv, ...settings };
      return new Running(process.execPath, [...flags, ...entry], await logFile(stack, `${name} ${label}`), env);
    },
  };
}

export interface PeerOptions {
  readonly stack: string;
  readonly config: Config;
  readonly topic: string;
  readonly threads: number;
  /** `full`: Millrace's candle with all fields. `simple`: six numbers in arrival order. */
  readonly candle: 'full' | 'simple';
  readonly store: 'memory' | 'rocksdb';
  readonly classes: Classes;
}

/** The peer's class path, and the Java executable. */
export interface Classes {
  readonly java: string;
  readonly path: string;
}

/** Fetches Kafka Streams with Maven and compiles the peer, once for each version of its source. */
export async function installPeer(note: (text: string) => void): Promise<Classes> {
  const host = { env: process.env, cacheDir: cacheDir() };
  const java = await findJava(minimumJava, host.env);
  const source = join(projectDir, 'bench', 'peers', 'streams');
  const pom = join(source, 'pom.xml');
  const jars = await ensurePom({ host, name: 'streams', pom, javaHome: java.home, note });
  const files = readdirSync(source).filter((file) => file.endsWith('.java'));
  const classes = await ensureCached({
    cacheDir: host.cacheDir,
    name: 'peer',
    ingredients: [jars, java.home, ...files.map((file) => readFileSync(join(source, file), 'utf8'))],
    install: async (folder) => {
      note('compiling');
      const args = ['-cp', join(jars, '*'), '-d', folder, ...files.map((file) => join(source, file))];
      await runCommand(join(java.home, 'bin', 'javac'), args, { env: host.env });
    },
  });
  return { java: java.command, path: `${join(jars, '*')}:${classes}` };
}

/** The peer's reader schema of a change. Record names are the writer's, because Java's reader requires them. */
function peerReader(topic: string): object {
  const bytes = { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 8 };
  const row = {
    type: 'record',
    name: 'Value',
    fields: [
      { name: 'trade_id', type: 'string' },
      { name: 'venue_sequence', type: ['null', 'long'], default: null },
      { name: 'price', type: bytes },
      { name: 'size', type: bytes },
      { name: 'executed_at', type: 'string' },
    ],
  };
  const source = {
    type: 'record',
    name: 'Source',
    namespace: 'io.debezium.connector.postgresql',
    fields: [{ name: 'lsn', type: ['null', 'long'], default: null }],
  };
  return {
    type: 'record',
    name: 'Envelope',
    namespace: topic,
    fields: [
      { name: 'after', type: ['null', row], default: null },
      { name: 'source', type: source },
      { name: 'op', type: 'string' },
    ],
  };
}

/** Kafka Streams of the broker's version, exactly-once-v2, with a heap as large as Millrace's memory limit. */
export function kafkaStreams(options: PeerOptions): Contestant {
  const { stack, config, topic, threads, candle, store, classes } = options;
  // Members do not leave their group when they end, so each run uses a new group.
  const application = `peer-${candle}-${store}-${threads}-${Date.now().toString(36)}`;
  const output = 'peer.candles';
  const name = `kafka streams, ${candle} candle, ${store}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  return {
    name,
    group: application,
    output: candle === 'full' ? output : null,
    leaves: (each) => each === output || each.startsWith(`${application}-`),
    start: async () => {
      const dir = await mkdtemp(join(tmpdir(), 'millrace-peer-'));
      const registry = new Registry({ url: config.registry.url });
      const ids = {
        keyId: await registry.register('market.candles-key', contracts.candle_key),
        valueId: await registry.register('market.candles-value', contracts.candle),
      };
      await registry[Symbol.asyncDispose]();
      const schemas = {
        reader: peerReader(topic),
        tradeKey: contracts.trade_key,
        key: contracts.candle_key,
        value: contracts.candle,
      };
      const files: Record<string, string> = {};
      for (const [each, schema] of Object.entries(schemas)) {
        files[each] = join(dir, `${each}.avsc`);
        await writeFile(files[each], JSON.stringify(schema));
      }
      const settings = {
        brokers: config.kafka.brokers.join(','),
        registry: `${config.registry.url}/apis/ccompat/v7`,
        input: topic,
        output,
        application,
        threads,
        guarantee: 'exactly_once_v2',
        candle,
        store,
        state: dir,
        ...files,
        ...ids,
      };
      const args = Object.entries(settings).map(([each, value]) => `${each}=${value}`);
      const flags = ['-Xmx512m', '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-cp', classes.path];
      return new Running(classes.java, [...flags, 'Peer', ...args], await logFile(stack, name), process.env, dir);
    },
  };
}
