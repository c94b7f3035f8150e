import type { LogRecord } from '../../../core/log/log.ts';
import type { DeadLetter } from '../../../schemas/gen/dead_letter.ts';
import type { View } from '../engine/scenario.ts';
import { type Booked, badAmount, type EntryChange, periodOf, type Repeated, type Statement } from './ledger.ts';

const group = 'millrace.ledger';
const input = 'cdc.public.entries';

type Decode = (bytes: Buffer) => unknown;

/**
 * Says what is wrong with a ledger. It knows the source's changes and shares no code with what made the ledger.
 *
 * At any instant: what is booked, late and dead is exactly what the committed offset says (outputs and offset are seen together or not at
 * all, each change once), in the input's order, with the balances of a recount, and the offset never goes back. At the end: also each period of
 * each account is stated once, with revisions that rise by one.
 */
export class LedgerChecker {
  readonly #partitions: readonly PartitionChecker[];

  constructor(partitions: number, decode: Decode) {
    this.#partitions = Array.from({ length: partitions }, (_, at) => new PartitionChecker(at, decode));
  }

  glance(view: View): string[] {
    return this.#partitions.flatMap((each) => each.glance(view));
  }

  verdict(view: View): string[] {
    return this.#partitions.flatMap((each) => each.verdict(view));
  }
}

class PartitionChecker {
  readonly #partition: number;
  readonly #decode: Decode;
  readonly #recount: Recount;
  /** Outputs as far as they were found to be right, by topic. */
  readonly #right = new Map<string, number>();
  #committed = 0n;

  constructor(partition: number, decode: Decode) {
    this.#partition = partition;
    this.#decode = decode;
    this.#recount = new Recount(decode);
  }

  glance(view: View): string[] {
    const at = { topic: input, partition: this.#partition };
    if (view.completing(group, at)) return [];
    const committed = view.committed(group, at) ?? 0n;
    if (committed < this.#committed)
      return [`partition ${this.#partition}: committed ${committed} after ${this.#committed}`];
    this.#committed = committed;
    this.#recount.take(view.records(input, this.#partition));
    return [...this.#recount.results].flatMap(([topic, lines]) => {
      const due = lines.findIndex(({ origin }) => origin >= committed);
      const expected = lines.slice(0, due < 0 ? lines.length : due);
      const wrong = this.#compare(view, topic, expected, this.#right.get(topic));
      if (wrong.length === 0) this.#right.set(topic, expected.length);
      return wrong;
    });
  }

  verdict(view: View): string[] {
    return [...this.glance(view), ...this.#compare(view, 'ledger.statements', this.#recount.stated())];
  }

  #compare(view: View, topic: string, expected: readonly Line[], from = 0): string[] {
    const seen = view.records(topic, this.#partition);
    const length = Math.max(seen.length, expected.length);
    for (let at = from; at < length; at++) {
      const line = seen[at] === undefined ? 'nothing' : this.#line(topic, seen[at] as LogRecord);
      const due = expected[at]?.line ?? 'nothing';
      if (line === due) continue;
      return [
        `${topic}/${this.#partition}, committed to ${this.#committed}: number ${at} of ${seen.length} is ${line}; of ${expected.length} it should be ${due}`,
      ];
    }
    return [];
  }

  #line(topic: string, { value }: LogRecord): string {
    const decoded = this.#decode(value as Buffer);
    return topic === 'ledger.dead' ? deadLine((decoded as DeadLetter).origin.offset) : lineOf(decoded as object);
  }
}

interface Line {
  /** Offset of the input record that it comes from. */
  readonly origin: bigint;
  readonly line: string;
}

/** The ledger as a bookkeeper would write it: every change that was ever seen is remembered. */
class Recount {
  /** By topic. */
  readonly results: ReadonlyMap<string, Line[]> = new Map([
    ['ledger.booked', []],
    ['ledger.late', []],
    ['ledger.dead', []],
  ]);
  readonly #statements: Line[] = [];
  readonly #decode: Decode;
  readonly #seen = new Set<string>();
  readonly #totals = new Map<string, { balance: bigint; nth: bigint; revision: bigint }>();
  /** Entries by account of the open period. */
  #open = new Map<string, bigint>();
  #period = 0n;
  #taken = 0;

  constructor(decode: Decode) {
    this.#decode = decode;
  }

  /** Takes what it has not taken yet. */
  take(records: readonly LogRecord[]): void {
    for (const record of records.slice(this.#taken)) this.#record(record);
    this.#taken = records.length;
  }

  /** The statements, if nothing comes after what was taken. Asked again later, when something has: it changes nothing. */
  stated(): Line[] {
    return [...this.#statements, ...this.#openStatements()];
  }

  #close(): void {
    this.#statements.push(...this.#openStatements());
    for (const account of this.#open.keys()) this.#total(account).revision += 1n;
    this.#open = new Map();
  }

  #openStatements(): Line[] {
    return [...this.#open].sort().map(([account, entries]) => {
      const { balance, revision } = this.#total(account);
      const statement: Statement = { account, period: this.#period, entries, balance, revision: revision + 1n };
      return { origin: 0n, line: lineOf(statement) };
    });
  }

  #record({ offset, value }: LogRecord): void {
    if (value === null) return;
    let change: EntryChange;
    try {
      change = this.#decode(value) as EntryChange;
    } catch {
      this.#say('ledger.dead', offset, deadLine(offset));
      return;
    }
    const now = periodOf(change.source.ts_us);
    if (now > this.#period) {
      this.#close();
      this.#period = now;
    }
    const row = change.after ?? change.before;
    if (row === null) throw new TypeError('the source writes no change without a row');
    const { account, id } = row;
    const identity = `${change.source.sequence} ${change.op} ${id}`;
    if (this.#seen.has(identity)) {
      const repeated: Repeated = { id, origin: offset };
      this.#say('ledger.late', offset, lineOf(repeated));
      return;
    }
    this.#seen.add(identity);
    if (row.amount === badAmount) {
      this.#say('ledger.dead', offset, deadLine(offset));
      return;
    }
    const total = this.#total(account);
    const amount = change.op === 'd' ? -row.amount : row.amount;
    total.balance += amount;
    total.nth += 1n;
    const booked: Booked = { account, id, origin: offset, amount, balance: total.balance, nth: total.nth };
    this.#say('ledger.booked', offset, lineOf(booked));
    this.#open.set(account, (this.#open.get(account) ?? 0n) + 1n);
  }

  #total(account: string): { balance: bigint; nth: bigint; revision: bigint } {
    const total = this.#totals.get(account) ?? { balance: 0n, nth: 0n, revision: 0n };
    this.#totals.set(account, total);
    return total;
  }

  #say(topic: string, origin: bigint, line: string): void {
    this.results.get(topic)?.push({ origin, line });
  }
}

function lineOf(value: object): string {
  return Object.entries(value)
    .map(([name, each]) => `${name} ${each}`)
    .join(', ');
}

function deadLine(offset: bigint): string {
  return `offset ${offset}`;
}
