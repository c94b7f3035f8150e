import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { runDoctor } from './machine/doctor.ts';
import { Stack, servicesOf } from './stack.ts';
import { type StackRecord, writeRecord } from './state.ts';

const scratch = mkdtempSync(join(tmpdir(), 'millrace-brokers-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const host = { env: {}, cacheDir: scratch };

const brokersOf = (stack: Stack): number => (stack.config['kafka'] as { brokers: readonly string[] }).brokers.length;

/** The folder of a stack that was started once, as `millrace up` leaves it. */
async function made(name: string, brokers: number | undefined): Promise<string> {
  const dir = join(scratch, name);
  const stack = await Stack.load({ name, dir, host });
  const record: StackRecord = { name, startedAt: '', ports: stack.ports, parts: {}, config: {} };
  await writeRecord(dir, brokers === undefined ? record : { ...record, brokers });
  return dir;
}

test('a stack has one broker unless three are wanted; each has an address and a part', async () => {
  const one = await Stack.load({ name: 'one', dir: join(scratch, 'one'), host });
  const three = await Stack.load({ name: 'three', dir: join(scratch, 'three'), host, brokers: 3 });
  expect([brokersOf(one), brokersOf(three)]).toEqual([1, 3]);
  const names = (await three.status()).map(({ name }) => name);
  expect(names.filter((name) => name.startsWith('kafka'))).toEqual(['kafka', 'kafka2', 'kafka3']);
  expect((await one.status()).map(({ name }) => name)).toEqual(servicesOf(1).map(({ name }) => name));
});

test.each([undefined, 1, 3])('a stack that was made with %s brokers keeps them', async (brokers) => {
  const name = `kept-${brokers}`;
  const dir = await made(name, brokers);
  expect((await Stack.load({ name, dir, host })).brokers).toBe(brokers ?? 1);
  const other = brokers === 3 ? 1 : 3;
  await expect(Stack.load({ name, dir, host, brokers: other })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    remedy: expect.stringContaining(`millrace down --wipe --stack ${name}`),
  });
});

test('the doctor looks at the ports of every broker', async () => {
  const dir = await made('looked-at', 3);
  const { ports } = await Stack.load({ name: 'looked-at', dir, host });
  const findings = (await runDoctor({ name: 'looked-at', dir, host })).map(({ what }) => what);
  expect(findings).toEqual(expect.arrayContaining([`port ${ports.kafka2}`, `port ${ports.kafka3}`]));
});
