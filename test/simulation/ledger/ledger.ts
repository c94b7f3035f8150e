import { MillraceError } from '../../../core/base/errors.ts';
import {
  type Context,
  defineProcessor,
  type Fold,
  type InputRecord,
  type Processor,
} from '../../../core/processor/define.ts';

/** A change of the table `entries`, as Debezium captures it, with nothing that a ledger does not need. */
export interface EntryChange {
  readonly op: string;
  readonly before: Entry | null;
  readonly after: Entry | null;
  readonly source: { readonly ts_us: bigint; readonly lsn: bigint; readonly sequence: string };
}

export interface Entry {
  readonly account: string;
  readonly id: string;
  readonly amount: bigint;
}

/** One for each entry that was booked. */
export interface Booked {
  readonly account: string;
  readonly id: string;
  readonly origin: bigint;
  readonly amount: bigint;
  readonly balance: bigint;
  readonly nth: bigint;
}

/** One for each account and period of log time with entries. */
export interface Statement {
  readonly account: string;
  readonly period: bigint;
  readonly entries: bigint;
  readonly balance: bigint;
  readonly revision: bigint;
}

/** An entry that was delivered again. */
export interface Repeated {
  readonly id: string;
  readonly origin: bigint;
}

interface Account {
  balance: bigint;
  nth: bigint;
  revision: bigint;
  /** Entries of the open period. */
  open: bigint;
}

const record = (name: string, fields: Readonly<Record<string, unknown>>): object => ({
  type: 'record',
  name,
  namespace: 'millrace.simulation',
  fields: Object.entries(fields).map(([field, type]) => ({ name: field, type })),
});

const entry = record('Entry', { account: 'string', id: 'string', amount: 'long' });

export const ledgerSchemas = {
  change: record('EntryChange', {
    op: 'string',
    before: ['null', entry],
    after: ['null', 'Entry'],
    source: record('EntrySource', { ts_us: 'long', lsn: 'long', sequence: 'string' }),
  }),
  key: record('AccountKey', { account: 'string' }),
  booked: record('Booked', {
    account: 'string',
    id: 'string',
    origin: 'long',
    amount: 'long',
    balance: 'long',
    nth: 'long',
  }),
  statement: record('Statement', {
    account: 'string',
    period: 'long',
    entries: 'long',
    balance: 'long',
    revision: 'long',
  }),
  repeated: record('Repeated', { id: 'string', origin: 'long' }),
  account: record('Account', { balance: 'long', nth: 'long', revision: 'long', open: 'long' }),
} as const;

/** Length of a period, microseconds of log time. */
export const period = 1_000_000n;
/** An entry of this amount is refused. */
export const badAmount = 13n;

/**
 * The smallest processor that has everything which the runtime can get wrong: a total that must count each change once, an output per
 * input record, time that closes periods, duplicates, and records that are bad.
 */
export function ledger(): Processor<EntryChange> {
  return defineProcessor<EntryChange>({
    name: 'ledger',
    version: '1',
    inputs: [
      { topic: 'cdc.public.entries', schema: ledgerSchemas.change, kind: 'change', primaryKey: ['account', 'id'] },
    ],
    outputs: [
      { topic: 'ledger.booked', keySchema: ledgerSchemas.key, valueSchema: ledgerSchemas.booked },
      { topic: 'ledger.statements', keySchema: ledgerSchemas.key, valueSchema: ledgerSchemas.statement },
      { topic: 'ledger.late', keySchema: null, valueSchema: ledgerSchemas.repeated },
    ],
    stores: [{ name: 'accounts', schema: ledgerSchemas.account }],
    timers: 'stored',
    create: (context) => new LedgerFold(context),
  });
}

class LedgerFold implements Fold<EntryChange> {
  readonly #context: Context<EntryChange>;

  constructor(context: Context<EntryChange>) {
    this.#context = context;
  }

  record({ value, offset }: InputRecord<EntryChange>): void {
    const row = value.after ?? value.before;
    if (row === null) throw new MillraceError('BAD_RECORD', 'an entry without its row');
    if (row.amount === badAmount) throw new MillraceError('BAD_RECORD', `entry ${row.id}: nobody books ${badAmount}`);
    const amount = value.op === 'd' ? -row.amount : row.amount;
    const account = this.#accounts.get(row.account) ?? { balance: 0n, nth: 0n, revision: 0n, open: 0n };
    if (account.open === 0n) this.#context.timers.set(row.account, periodOf(this.#context.logTime) + period);
    account.balance += amount;
    account.nth += 1n;
    account.open += 1n;
    this.#accounts.set(row.account, account);
    const booked: Booked = {
      account: row.account,
      id: row.id,
      origin: offset,
      amount,
      balance: account.balance,
      nth: account.nth,
    };
    this.#context.emit('ledger.booked', { account: row.account }, booked);
  }

  duplicate({ value, offset }: InputRecord<EntryChange>): void {
    const repeated: Repeated = { id: (value.after ?? value.before)?.id ?? '', origin: offset };
    this.#context.emit('ledger.late', null, repeated);
  }

  onTimer(account: string, ends: bigint): void {
    const state = this.#accounts.get(account) as Account;
    state.revision += 1n;
    const statement: Statement = {
      account,
      period: ends - period,
      entries: state.open,
      balance: state.balance,
      revision: state.revision,
    };
    state.open = 0n;
    this.#accounts.set(account, state);
    this.#context.emit('ledger.statements', { account }, statement);
  }

  get #accounts() {
    return this.#context.store<Account>('accounts');
  }
}

/** Start of the period that holds a log time. */
export function periodOf(logTime: bigint): bigint {
  return logTime - (logTime % period);
}
