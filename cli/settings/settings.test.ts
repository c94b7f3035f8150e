import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Command } from 'commander';
import { register as registerStack } from '../commands/local/stack.ts';
import { register as registerStatus } from '../commands/proof/status.ts';
import { configOf, configSources, projectDir } from './config.ts';
import { shownSettings } from './shown.ts';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'millrace-settings-'));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command line in this process's environment, without its stack. MILLRACE_HOME is `home` by default. */
function millrace(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const { MILLRACE_STACK: _, MILLRACE_TEST_STACK: __, ...rest } = process.env;
  const command = [join(projectDir, 'cli', 'main.ts'), ...args];
  return new Promise((done) =>
    execFile(process.execPath, command, { env: { ...rest, MILLRACE_HOME: home, ...env } }, (error, out, err) =>
      done({ code: error === null ? 0 : Number(error.code), out, err }),
    ),
  );
}

/** What `millrace` rejects with, asked in this process: the same commands over the same variables. */
async function refusal(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<unknown> {
  const before = process.env;
  const { MILLRACE_STACK: _, MILLRACE_TEST_STACK: __, ...rest } = before;
  const program = new Command('millrace').option('--stack <name>').exitOverride();
  registerStack(program);
  registerStatus(program);
  process.env = { ...rest, MILLRACE_HOME: home, ...env };
  try {
    return await program.parseAsync(args, { from: 'user' }).then(
      () => undefined,
      (error: unknown) => error,
    );
  } finally {
    process.env = before;
  }
}

describe('a name of a stack', () => {
  test.each(['', '.', '..', '../..', 'My Stack', '/tmp', 'a/b', '-x', 'a'.repeat(32)])(
    '%j is refused before anything is removed, from the option and from the variable',
    async (name) => {
      mkdirSync(join(home, 'kept'), { recursive: true });
      const option = await refusal(['down', '--wipe', `--stack=${name}`]);
      const variable = await refusal(['down', '--wipe'], { MILLRACE_STACK: name });
      for (const error of [option, variable]) {
        expect(error).toMatchObject({
          code: 'CONFIG_INVALID',
          message: expect.stringContaining('is no name of a stack'),
        });
      }
      expect(existsSync(join(home, 'kept'))).toBe(true);
    },
  );

  test('that is refused ends the process with exit code 1, from the option and from the variable', async () => {
    mkdirSync(join(home, 'kept'), { recursive: true });
    const option = await millrace(['down', '--wipe', '--stack=../..']);
    const variable = await millrace(['down', '--wipe'], { MILLRACE_STACK: '' });
    for (const { code, err } of [option, variable]) {
      expect([code, err]).toEqual([1, expect.stringContaining('is no name of a stack [CONFIG_INVALID]')]);
    }
    expect(existsSync(join(home, 'kept'))).toBe(true);
  });

  test('of a folder that no start of a stack has made: the folder is not removed', async () => {
    mkdirSync(join(home, 'photos'));
    writeFileSync(join(home, 'photos', 'one.jpg'), 'x');
    const error = await refusal(['down', '--wipe', '--stack', 'photos']);
    expect(error).toMatchObject({
      message: expect.stringContaining('is not the folder of a stack photos; nothing was removed'),
    });
    expect(existsSync(join(home, 'photos', 'one.jpg'))).toBe(true);
  });

  test('of a stack that was never started does not fall back to the ports of another one', async () => {
    mkdirSync(join(home, 'blue'));
    writeFileSync(join(home, 'blue', 'stack.json'), JSON.stringify({ name: 'blue', config: {} }));
    expect(await refusal(['status', '--stack', 'bleu'])).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('there is no stack bleu; did you mean blue?'),
      remedy: expect.stringContaining('Stacks here: blue.'),
    });
  });

  test.each(['MILLRACE_HOME', 'MILLRACE_CACHE'])(
    '%s that is empty names no folder, and nothing is done',
    async (name) => {
      const error = await refusal(['doctor'], { [name]: '' });
      expect(error).toMatchObject({ message: expect.stringContaining(`${name} is ""`) });
    },
  );
});

describe('settings of the environment', () => {
  test('a variable that is no setting is refused, and the one that it resembles is named', () => {
    expect(() => configOf('dev', { MILLRACE_OHLCV_LATNESS_MS: '1' })).toThrow(
      'no setting is called MILLRACE_OHLCV_LATNESS_MS (did you mean MILLRACE_OHLCV_WATERMARK_DELAY_MS?)',
    );
  });

  test('other programs keep their variables', () => {
    expect(configOf('dev', { MILLRACEX: '1', PATH: '/bin' }).ohlcv.watermarkDelayMs).toBe(5_000);
  });

  test.each([
    ['NYSE=XNYS, coinbase = 24x7:Europe/Berlin', { NYSE: 'XNYS', coinbase: '24x7:Europe/Berlin' }],
    ['{"a,b": "XNYS"}', { 'a,b': 'XNYS' }],
    ['', {}],
  ])('a record is set by %j', (text, expected) => {
    expect(configOf('dev', { MILLRACE_OHLCV_CALENDARS: text }).ohlcv.calendars).toEqual(expected);
  });

  test('a record of another form is named with its setting', () => {
    expect(() => configOf('dev', { MILLRACE_OHLCV_CALENDARS: 'XNYS' })).toThrow('ohlcv.calendars');
  });

  test('the name of the stack is not one of them: folders go by the option', () => {
    expect(() => configOf('dev', { MILLRACE_STACK_NAME: 'other' })).toThrow('MILLRACE_STACK_NAME');
  });
});

describe('a setting under its former name', () => {
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const stackFile = (stack: string, config: object) => {
    mkdirSync(join(home, stack));
    writeFileSync(join(home, stack, 'stack.json'), JSON.stringify({ name: stack, config }));
    return join(home, stack, 'stack.json');
  };
  beforeEach(() => {
    warnings.length = 0;
    process.env['MILLRACE_HOME'] = home;
  });
  afterEach(() => {
    delete process.env['MILLRACE_HOME'];
  });

  test.each([
    ['MILLRACE_OHLCV_LATENESS_MS', 'MILLRACE_OHLCV_WATERMARK_DELAY_MS', 'ohlcv', 'watermarkDelayMs'],
    ['MILLRACE_OHLCV_HORIZON_MS', 'MILLRACE_OHLCV_ALLOWED_LATENESS_MS', 'ohlcv', 'allowedLatenessMs'],
    ['MILLRACE_FEATURES_LATENESS_MS', 'MILLRACE_FEATURES_WATERMARK_DELAY_MS', 'features', 'watermarkDelayMs'],
    ['MILLRACE_FEATURES_HORIZON_MS', 'MILLRACE_FEATURES_ALLOWED_LATENESS_MS', 'features', 'allowedLatenessMs'],
    ['MILLRACE_MANIFEST_LATENESS_MS', 'MILLRACE_MANIFEST_WATERMARK_DELAY_MS', 'manifest', 'watermarkDelayMs'],
  ] as const)('%s is taken, and the warning names %s', (former, now, section, name) => {
    const config = configOf('dev', { [former]: '7' }, {}, warn);
    expect((config[section] as Readonly<Record<string, unknown>>)[name]).toBe(7);
    expect(warnings).toEqual([`${former} is deprecated: it is called ${now} now`]);
    expect(configOf('dev', { [now]: '7' }, {}, warn)).toEqual(config);
    expect(warnings).toHaveLength(1);
  });

  test('of the file of the stack and of a flag is taken, and the name of now in a later origin wins', () => {
    const file = stackFile('old', { ohlcv: { horizonMs: 5, latenessMs: 6 }, manifest: { latenessMs: 7 } });
    const env = { MILLRACE_OHLCV_WATERMARK_DELAY_MS: '8' };
    const { ohlcv, features, manifest } = configOf('old', env, { features: { horizonMs: 9 } }, warn);
    expect([ohlcv.allowedLatenessMs, ohlcv.watermarkDelayMs, manifest.watermarkDelayMs]).toEqual([5, 8, 7]);
    expect(features.allowedLatenessMs).toBe(9);
    expect(warnings).toEqual([
      `${file}: ohlcv.horizonMs is deprecated: it is called ohlcv.allowedLatenessMs now`,
      `${file}: ohlcv.latenessMs is deprecated: it is called ohlcv.watermarkDelayMs now`,
      `${file}: manifest.latenessMs is deprecated: it is called manifest.watermarkDelayMs now`,
      'features.horizonMs is deprecated: it is called features.allowedLatenessMs now',
    ]);
  });

  test('beside the name of now in the same origin is refused', () => {
    const both = { MILLRACE_OHLCV_LATENESS_MS: '1', MILLRACE_OHLCV_WATERMARK_DELAY_MS: '1' };
    expect(() => configOf('dev', both, {}, warn)).toThrow(
      'MILLRACE_OHLCV_LATENESS_MS and MILLRACE_OHLCV_WATERMARK_DELAY_MS are two names of one setting',
    );
    stackFile('both', { ohlcv: { horizonMs: 5, allowedLatenessMs: 5 } });
    expect(() => configOf('both', {}, {}, warn)).toThrow('ohlcv.horizonMs and ohlcv.allowedLatenessMs are two names');
  });

  test('is warned of once in a start, on stderr: what is printed has the names of now', async () => {
    const { code, out, err } = await millrace(['config', '--set', '--json'], { MILLRACE_OHLCV_LATENESS_MS: '7' });
    expect(code).toBe(0);
    expect(JSON.parse(out)).toContainEqual({
      setting: 'ohlcv.watermarkDelayMs',
      value: 7,
      origin: 'environment',
      variable: 'MILLRACE_OHLCV_WATERMARK_DELAY_MS',
    });
    expect(err).toBe(
      'warning: MILLRACE_OHLCV_LATENESS_MS is deprecated: it is called MILLRACE_OHLCV_WATERMARK_DELAY_MS now\n',
    );
  });
});

test.each([
  [{ ohlcv: { latnessMs: 1 } }, 'no setting is called ohlcv.latnessMs (did you mean ohlcv.watermarkDelayMs?)'],
  [
    { ohlcv: { alowedLatenessMs: 1 } },
    'no setting is called ohlcv.alowedLatenessMs (did you mean ohlcv.allowedLatenessMs?)',
  ],
  [{ olhcv: {} }, 'no setting is called olhcv (did you mean ohlcv?)'],
  [{ kafka: { lateness: 1 } }, 'no setting is called kafka.lateness'],
])('a file or flag with an unknown setting is refused, and the one that it resembles is named: %j', (tree, message) => {
  expect(() => configOf('dev', {}, tree)).toThrow(message);
});

describe('millrace config', () => {
  test('shows where each value comes from, the last origin winning', () => {
    const sources = configSources('dev', { MILLRACE_OHLCV_WATERMARK_DELAY_MS: '7' }, { http: { port: 1 } });
    const shown = shownSettings(sources);
    const one = (setting: string) => shown.find((each) => each.setting === setting);
    expect(one('ohlcv.watermarkDelayMs')).toEqual({
      setting: 'ohlcv.watermarkDelayMs',
      value: 7,
      origin: 'environment',
      variable: 'MILLRACE_OHLCV_WATERMARK_DELAY_MS',
    });
    expect(one('http.port')).toMatchObject({ value: 1, origin: 'flag' });
    expect(one('ohlcv.allowedLatenessMs')).toMatchObject({ value: 3_600_000, origin: 'default' });
  });

  test('prints secrets masked', async () => {
    const { out, code } = await millrace(['config', '--set'], {
      MILLRACE_S3_SECRET_ACCESS_KEY: 'open-sesame',
      MILLRACE_POSTGRES_URL: 'postgres://me:open-sesame@127.0.0.1/db',
    });
    expect(code).toBe(0);
    expect(out).toContain('MILLRACE_S3_SECRET_ACCESS_KEY');
    expect(out).not.toContain('open-sesame');
  });
});

test('a home below a file is told with its remedy, and is not unexpected', async () => {
  const file = join(home, 'file');
  writeFileSync(file, '');
  const { code, err } = await millrace(['up'], { MILLRACE_HOME: join(file, 'home') });
  expect([code, err]).toEqual([1, expect.stringContaining('a part of this path is not a folder [CONFIG_INVALID]')]);
  expect(err).toContain('remedy: Correct the path.');
});
