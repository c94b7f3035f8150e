/** Faults that are in the input: hostile order, poison, incompatible schemas, records that are too large. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isError } from '../../../core/base/errors.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import { readTopic, tradesTopic } from '../../../proof/reading/topic.ts';
import type { DeadLetter } from '../../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import { valueSubject } from '../../../schemas/topics.ts';
import type { Burst, Stage } from '../burst.ts';
import { gzipBomb, type Injected, inject, newest } from '../harness/poison.ts';

const redelivered = 200;
const YEAR = 31_536_000_000_000n;

export const hostileOrder: Burst = {
  fault: 25,
  title: 'a partition’s last 200 changes delivered again; 100 trades out of order, 50 late, 20 dated a year ahead',
  injections: 20,
  async inject(stage, index) {
    const { db, random } = stage;
    const partition = index % 6;
    const changes = await newest(stage, partition, redelivered);
    if (changes.length > 0) await inject(stage, changes, partition);
    const rows = Array.from({ length: 170 }, (_, n) => {
      const { symbol, at } = { symbol: `ORDER${n % 12}-USD`, at: 1_704_067_200_000_000n + BigInt(index) * 20_000_000n };
      const late = n >= 100 && n < 150 ? -600_000_000n : 0n;
      const time = n >= 150 ? BigInt(Date.now()) * 1_000n + YEAR : at + late + BigInt(Math.floor(random() * 4_000_000));
      return ['hostile', symbol, `${index}-${n}`, formatTimestamp(time)];
    });
    await db.query(
      `INSERT INTO trades (venue, symbol, trade_id, executed_at, price, size)
       SELECT *, 100, 1 FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])`,
      [0, 1, 2, 3].map((column) => rows.map((row) => row[column])),
    );
  },
};

async function deadReasons({ log, schemas }: Stage, processor: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const portion of readTopic<DeadLetter>(log, schemas, `${processor}.dead`, contracts.dead_letter)) {
    for (const { value } of portion) {
      if (value.origin.topic === tradesTopic)
        found.set(`${value.origin.partition}/${value.origin.offset}`, value.reason);
    }
  }
  return found;
}

/** Where poison went, and the reasons its dead letters may have. */
type Expected = Map<string, readonly string[]>;

async function judge(stage: Stage, expected: Expected): Promise<string[]> {
  const violations: string[] = [];
  for (const processor of ['ohlcv', 'parquet']) {
    const dead = await deadReasons(stage, processor);
    for (const [place, reasons] of expected) {
      const reason = dead.get(place);
      if (reason === undefined) violations.push(`I1 poison at ${place} is no dead letter of ${processor}`);
      else if (!reasons.includes(reason))
        violations.push(`poison at ${place} is ${reason} in ${processor}.dead, not ${reasons.join(' or ')}`);
    }
  }
  return violations;
}

const poisoned: Expected = new Map();
let bombSchema = 0;
let foreignSchema = 0;

export const poison: Burst = {
  fault: 27,
  title:
    'poison: bad magic byte, truncated Avro, unknown and foreign schema, array bomb, gzip bomb, noise as large as the topic takes',
  injections: 24,
  alert: 'DeadLettersRising',
  async prepare({ schemas }) {
    poisoned.clear();
    bombSchema = 0;
    foreignSchema = await schemas.register(`${'faults.foreign'}-value`, contracts.candle_key);
  },
  async inject(stage, index) {
    const [good] = await newest(stage, 0, 1);
    if (good?.value == null) throw new Error('there is no record to spoil');
    const claiming = (id: number): Buffer => {
      const copy = Buffer.from(good.value as Buffer);
      copy.writeInt32BE(id, 1);
      return copy;
    };
    if (bombSchema === 0) bombSchema = await registerBomb(stage, good.value.readInt32BE(1));
    const kinds: readonly [string, readonly string[], Buffer][] = [
      ['text', ['BAD_MAGIC'], Buffer.from('{"this":"is json"}')],
      ['empty', ['BAD_MAGIC'], Buffer.alloc(0)],
      ['truncated', ['BAD_AVRO'], good.value.subarray(0, good.value.length - 7)],
      ['unknown schema', ['SCHEMA_UNKNOWN'], claiming(99_999_999)],
      ['foreign schema', ['SCHEMA_FOREIGN'], claiming(foreignSchema)],
      // Five million items of no bytes each.
      ['array bomb', ['TOO_LARGE'], Buffer.concat([claiming(bombSchema), Buffer.from([0x80, 0xad, 0xe2, 0x04, 0x00])])],
      // Its dead letter is larger than that.
      ['noise', ['BAD_MAGIC'], Buffer.concat([Buffer.from([1]), randomBytes(1_048_400)])],
    ];
    if (index % 8 === 7) {
      await gzipBomb(stage);
      stage.note('gzip bomb');
      return;
    }
    const [name, reasons, value] = kinds[index % 8] ?? kinds[0] ?? ['', [], Buffer.alloc(0)];
    const { partition, offset } = await inject(stage, [{ key: null, value }]);
    poisoned.set(`${partition}/${offset}`, reasons);
    stage.note(name);
  },
  check: (stage) => judge(stage, poisoned),
};

/** The capture's own schema and an array of nothing behind it. Under a subject of its own: the converter takes the newest of its subject. */
async function registerBomb({ schemas }: Stage, id: number): Promise<number> {
  const schema = (await schemas.byId(id)) as { fields: readonly object[] };
  const bomb = { name: 'bomb', type: { type: 'array', items: 'null' }, default: [] };
  return schemas.register('faults.bomb-value', { ...schema, fields: [...schema.fields, bomb] });
}

/** Changes to a registered schema that would break its readers. */
const breaks: readonly ((fields: readonly Record<string, unknown>[]) => object[])[] = [
  (fields) => fields.map((field, i) => (i === 0 ? { ...field, type: 'boolean' } : field)),
  (fields) => [...fields, { name: 'without_a_default', type: 'long' }],
  (fields) =>
    fields
      .map((field, i) => (i === fields.length - 1 ? { ...field, name: 'renamed' } : field))
      .map(({ default: _, ...field }: Record<string, unknown>) => field),
];

export const incompatibleSchema: Burst = {
  fault: 20,
  title: 'incompatible schemas offered to the registry for captured and derived topics; a record of a foreign one',
  injections: 20,
  async prepare({ schemas }) {
    poisoned.clear();
    foreignSchema = await schemas.register('faults.foreign-value', contracts.candle_key);
  },
  async inject(stage, index) {
    const { schemas } = stage;
    for (const topic of [tradesTopic, 'market.candles']) {
      const latest = await schemas.latest(valueSubject(topic));
      if (latest === undefined) throw new Error(`${topic} has no schema yet`);
      const schema = latest.schema as { fields: readonly Record<string, unknown>[] };
      const broken = { ...schema, fields: breaks[index % breaks.length]?.(schema.fields) };
      const refusal = await schemas.register(valueSubject(topic), broken).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (!isError(refusal, 'SCHEMA_INCOMPATIBLE')) {
        throw new Error(`the registry took an incompatible schema of ${topic}: ${String(refusal)}`);
      }
    }
    const [good] = await newest(stage, 1, 1);
    if (good?.value == null) return;
    const foreign = Buffer.from(good.value);
    foreign.writeInt32BE(foreignSchema, 1);
    const { partition, offset } = await inject(stage, [{ key: null, value: foreign }]);
    poisoned.set(`${partition}/${offset}`, ['SCHEMA_FOREIGN']);
  },
  check: (stage) => judge(stage, poisoned),
};

async function committedAt({ log }: Stage, partition: number): Promise<bigint> {
  const committed = await log.committed(groupOf('ohlcv'), tradesTopic);
  return committed.find((each) => each.partition === partition)?.offset ?? 0n;
}

const refused: string[] = [];
/** Less than any dead letter, but enough for a transaction's marker (78 bytes): one that does not fit, the coordinator gives up for good. */
const noLetter = '100';

export const deadLettersRefused: Burst = {
  fault: 28,
  title: 'a row too long for a record; the dead-letter topic takes no record (too large for it) when one is due',
  injections: 20,
  async prepare() {
    refused.length = 0;
  },
  async inject(stage) {
    const { config, db } = stage;
    const tooLong = await db
      .query(
        `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at, conditions) VALUES ('long', 'X', $1, 1, 1, now(), repeat('x', 2000000))`,
        [randomBytes(8).toString('hex')],
      )
      .then(
        () => false,
        (error: Error) => error.message.includes('fit_into_a_record'),
      );
    if (!tooLong) refused.push('a row that no record can hold was taken');
    const processors = stage.member('processors');
    const failed = processors.failedStages;
    await using admin = await TopicAdmin.open({ brokers: config.kafka.brokers, clientId: 'faults' });
    const limit = (await admin.settings(['ohlcv.dead'])).get('ohlcv.dead')?.['max.message.bytes'] ?? '1048588';
    await admin.alter('ohlcv.dead', { 'max.message.bytes': noLetter });
    let place: Injected;
    try {
      place = await inject(stage, [{ key: null, value: Buffer.from('{"no":"avro"}') }]);
      for (let waited = 0; processors.failedStages === failed && waited < 30_000; waited += 250) await delay(250);
      if (processors.failedStages === failed) refused.push(`nothing stopped for ${place.partition}/${place.offset}`);
      const committed = await committedAt(stage, place.partition);
      if (committed > place.offset) {
        refused.push(`I1 ${place.partition}/${place.offset} was passed while its dead letter could not be written`);
      }
    } finally {
      await admin.alter('ohlcv.dead', { 'max.message.bytes': limit });
    }
  },
  check: async () => refused,
};
