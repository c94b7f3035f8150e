import { expect, test } from '@jest/globals';
import { testLog } from '../../../contracts/log-contract.ts';
import { Host } from '../processes/host.ts';
import { Random } from '../random.ts';
import { Scheduler } from '../scheduler.ts';
import { calm, Weather } from '../weather.ts';
import { Broker } from './broker.ts';
import { Coordinator } from './coordinator.ts';
import { HostLog } from './host-log.ts';

const climate = { ...calm, portionRecords: 100_000, markerMs: 0 };

/** The simulated log, with virtual time running as fast as it can beside the test. */
function open() {
  const scheduler = new Scheduler();
  const random = new Random(1);
  const broker = new Broker({ scheduler, random, ...climate });
  const coordinator = new Coordinator({
    scheduler,
    sessionTimeoutMs: 3_000,
    rebalanceTimeoutMs: 3_000,
    partitions: (topic) => broker.partitions(topic),
  });
  const weather = new Weather(calm, random, scheduler, 0);
  const host = new Host({
    name: 'p',
    scheduler,
    random,
    fate: (from, request) => weather.fate(from, request),
    skewMs: 0,
    onKilled: () => undefined,
  });
  let serial = 0;
  let open = true;
  const pump = async (): Promise<void> => {
    while (open) {
      const until = scheduler.events + 100;
      await scheduler.run(() => !open || scheduler.events >= until, Number.POSITIVE_INFINITY);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  void pump();
  return {
    log: new HostLog(host, broker, coordinator),
    topic: async (partitions: number) => {
      const name = `t${serial++}`;
      broker.create(name, partitions);
      return name;
    },
    scheduler,
    broker,
    host,
    async [Symbol.asyncDispose]() {
      open = false;
    },
  };
}

testLog('the simulated log', async () => open());

const record = { topic: 't0', partition: 0, key: null, value: Buffer.from('a'), timestamp: 0n };

test('a reader stops before a transaction that is open', async () => {
  await using subject = open();
  const { broker } = subject;
  await subject.topic(1);
  const epoch = broker.initProducer('slow');
  broker.addPartitions('slow', epoch, [record]);
  broker.produce('slow', epoch, [record]);
  broker.append({ ...record, value: Buffer.from('b') });
  expect(broker.visible(record)).toEqual([]);
  expect(broker.ends('t0')).toEqual([2n]);
  broker.endTransaction('slow', epoch, 'abort');
  await subject.host.clock.sleep(50);
  expect(broker.visible(record).map(({ value }) => `${value}`)).toEqual(['b']);
});

test('a killed process hears nothing any more, and what it has sent arrives', async () => {
  await using subject = open();
  const { host, log } = subject;
  await subject.topic(1);
  const said: string[] = [];
  void host
    .call<void>('Produce', (answer) => {
      said.push('served');
      answer({ value: undefined });
    })
    .then(() => said.push('heard'));
  host.kill('in this test');
  void log.ends('t0').then(() => said.push('heard'));
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(said).toEqual(['served']);
});

test('a stopped process goes on as if no time had passed, and finds its requests timed out', async () => {
  await using subject = open();
  const { host, scheduler } = subject;
  await subject.topic(1);
  const unanswered = host
    .call('Fetch', () => undefined)
    .catch((error: Error) => `${error.message} at ${scheduler.now}`);
  host.stop(10_000, 'in this test');
  expect(await unanswered).toBe('Fetch was not answered within 2000 ms at 10000');
});
