import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { errorCodes } from '../../core/base/errors.ts';
import { Metrics } from '../../core/observability/metrics.ts';
import { VerificationMetrics } from '../../core/observability/verification.ts';
import { postgres } from '../local/parts.ts';
import { ensurePrometheus, type PrometheusResult } from './install.ts';

const run = promisify(execFile);
const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '../..');

interface Rule {
  alert?: string;
  record?: string;
  expr: string;
  for?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}
interface Group {
  name: string;
  rules: Rule[];
}

async function groups(file: string): Promise<Group[]> {
  return (parse(await readFile(join(here, 'rules', file), 'utf8')) as { groups: Group[] }).groups;
}

async function pages(folder: string): Promise<string[]> {
  const files = await readdir(join(root, 'runbooks', folder));
  return files
    .filter((file) => file.endsWith('.md'))
    .map((file) => file.slice(0, -3))
    .sort();
}

const alerts = (await groups('alerts.yml')).flatMap((group) => group.rules);
const recordings = (await groups('recording.yml')).flatMap((group) => group.rules);

describe('promtool', () => {
  let tools: PrometheusResult;
  // The first run on a machine downloads the Debian package, without root.
  beforeAll(async () => {
    const { env } = process;
    const cacheDir = env['MILLRACE_CACHE'] ?? join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'millrace');
    tools = await ensurePrometheus({ cacheDir, path: env['PATH'] ?? '' });
  }, 200_000);

  async function promtool(...args: string[]): Promise<string | undefined> {
    if ('missing' in tools) {
      process.stderr.write(`SKIPPED promtool ${args.slice(0, 2).join(' ')}: ${tools.missing}\n`);
      return undefined;
    }
    const { stdout, stderr } = await run(tools.promtool, args, { cwd: here }).catch((error: unknown) => {
      const { stdout: out, stderr: err } = error as { stdout: string; stderr: string };
      throw new Error(`promtool ${args.join(' ')}\n${out}${err}`);
    });
    return stdout + stderr;
  }

  test('accepts all rules', async () => {
    const output = await promtool('check', 'rules', 'rules/alerts.yml', 'rules/recording.yml');
    if (output !== undefined) expect(output).toContain(`SUCCESS: ${alerts.length} rules found`);
  });

  test('proves each alert firing and silent where its tests say so', async () => {
    const files = (await readdir(join(here, 'tests'))).map((file) => `tests/${file}`);
    const output = await promtool('test', 'rules', ...files);
    if (output !== undefined) expect(output.match(/SUCCESS/g)).toHaveLength(files.length);
  });

  test('accepts the configuration of the native stack and of the compose file', async () => {
    for (const file of ['prometheus.yml', 'prometheus.compose.yml']) {
      const output = await promtool('check', 'config', file);
      if (output !== undefined) expect(output).toContain('is valid prometheus config file');
    }
  });
});

test('every alert has a test that expects it to fire', async () => {
  const texts = await Promise.all(
    (await readdir(join(here, 'tests'))).map((file) => readFile(join(here, 'tests', file), 'utf8')),
  );
  const fired = texts
    .flatMap((text) => (parse(text) as { tests: { alert_rule_test?: Expected[] }[] }).tests)
    .flatMap((each) => each.alert_rule_test ?? [])
    .filter((each) => (each.exp_alerts ?? []).length > 0)
    .map((each) => each.alertname);
  expect([...new Set(fired)].sort()).toEqual(alerts.map((rule) => rule.alert).sort());
});
interface Expected {
  alertname: string;
  exp_alerts?: unknown[];
}

test('the alerts of the storage architecture keep their names, thresholds and durations', async () => {
  const group = (await groups('alerts.yml')).find(({ name }) => name === 'storage_architecture');
  const rule = (name: string) => group?.rules.find((each) => each.alert === name);
  expect(rule('ColdStorageLagHigh')).toMatchObject({ for: '5m', labels: { severity: 'warning' } });
  expect(rule('ColdStorageLagHigh')?.expr).toContain('cold_storage_lag_seconds > 300');
  expect(rule('WALGrowthHigh')).toMatchObject({ for: '10m', expr: 'delta(wal_size_bytes[5m]) > 1e9' });
  expect(rule('CDCConnectorDown')).toMatchObject({
    for: '1m',
    expr: 'kafka_connect_connector_status != 1 or absent(kafka_connect_connector_status)',
  });
});

test('the retained WAL that alerts is well below what the shipped stacks let Postgres keep', () => {
  const limit = /^(\d+)GB$/.exec(postgres.settings.max_slot_wal_keep_size)?.[1];
  const threshold = /> ([\d.e]+)$/.exec(alerts.find(({ alert }) => alert === 'WALRetainedHigh')?.expr ?? '')?.[1];
  expect(Number(threshold)).toBeLessThanOrEqual((Number(limit) * 1024 ** 3) / 2);
});

test('every alert has a severity, a summary, a description and its own runbook', () => {
  for (const rule of alerts) {
    expect(rule.labels?.['severity']).toMatch(/^(critical|warning|info)$/);
    expect(rule.annotations).toEqual({
      summary: expect.any(String),
      description: expect.any(String),
      runbook: `runbooks/alerts/${rule.alert}.md`,
    });
  }
});

test('each alert has a page and each page an alert, and both name the same severity', async () => {
  expect(await pages('alerts')).toEqual(alerts.map((rule) => rule.alert ?? '').sort());
  for (const rule of alerts) {
    const page = await readFile(join(root, `runbooks/alerts/${rule.alert}.md`), 'utf8');
    expect(page.startsWith(`# ${rule.alert}\n\nSeverity: ${rule.labels?.['severity']}.\n`)).toBe(true);
  }
});

test('each error code has a page and each page a code, and both name the same disposition', async () => {
  expect(await pages('errors')).toEqual(Object.keys(errorCodes).sort());
  for (const [code, disposition] of Object.entries(errorCodes)) {
    const page = await readFile(join(root, `runbooks/errors/${code}.md`), 'utf8');
    expect(page.slice(0, 200)).toContain(`# ${code}\n\nDisposition: ${disposition}.`);
  }
});

test('no link in a runbook leads nowhere', async () => {
  const known = new Set([...(await pages('alerts')), ...(await pages('errors'))]);
  for (const folder of ['alerts', 'errors']) {
    for (const page of await pages(folder)) {
      const text = await readFile(join(root, 'runbooks', folder, `${page}.md`), 'utf8');
      for (const [, target] of text.matchAll(/\]\((?:\.\.\/(?:alerts|errors)\/)?([\w]+)\.md\)/g)) {
        expect(known).toContain(target);
      }
    }
  }
});

describe('every metric that is named exists in core/observability/metrics.ts', () => {
  const own = new Metrics();
  expect(new VerificationMetrics(own.registry, 60)).toBeDefined();
  const metrics = own.names();
  const known = new Set([...metrics, ...recordings.map((rule) => rule.record ?? ''), 'up']);

  test('in rules', () => {
    for (const rule of [...alerts, ...recordings]) expect(unknownNames(rule.expr, known)).toEqual([]);
  });

  test('in dashboards', async () => {
    const folder = join(here, '../grafana/dashboards');
    for (const file of await readdir(folder)) {
      const dashboard = JSON.parse(await readFile(join(folder, file), 'utf8')) as Dashboard;
      const expressions = dashboard.panels.flatMap((panel) => panel.targets ?? []).map(({ expr }) => expr);
      expect(expressions.length).toBeGreaterThan(10);
      for (const expression of expressions) expect(unknownNames(expression, known)).toEqual([]);
    }
  });

  test('and a name that does not exist is found out', () => {
    expect(unknownNames('sum by (name) (rate(millrace_nothing_total[5m])) > 3e9', known)).toEqual([
      'millrace_nothing_total',
    ]);
  });
});
interface Dashboard {
  panels: { targets?: { expr: string }[] }[];
}

const functions = new Set(
  'sum max min count by on and or unless absent rate increase delta histogram_quantile time vector'.split(' '),
);

/** Identifiers of an expression that are neither functions, labels, numbers nor known metrics. */
function unknownNames(expression: string, known: ReadonlySet<string>): string[] {
  const bare = expression
    .replace(/\{[^}]*\}/g, '')
    .replace(/\[[^\]]*\]/g, '')
    .replace(/\boffset\s+\w+/g, '')
    .replace(/\b(by|on)\s*\([^)]*\)/g, '');
  return [...bare.matchAll(/[a-z_:][\w:]*/gi)]
    .map(([word]) => word)
    .filter((word, index, words) => !functions.has(word) && !known.has(word) && words.indexOf(word) === index)
    .filter((word) => !/^e\d+$/.test(word));
}

test('an interrupted installation of Prometheus leaves nothing behind', async () => {
  const cacheDir = await mkdtemp(join(tmpdir(), 'millrace-prometheus-'));
  try {
    const aborted = ensurePrometheus({ cacheDir, signal: AbortSignal.abort(new Error('stopped')) });
    await expect(aborted).rejects.toThrow('stopped');
    expect(await readdir(cacheDir)).toEqual([]);
  } finally {
    await rm(cacheDir, { recursive: true });
  }
});
