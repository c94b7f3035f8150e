/**
 * A record that was a dead letter and was sent to its origin again carries headers that say so. Only the processor or sink that had refused
 * it takes it, and it takes it although an older position is long behind it; to all others it is a copy of what they had.
 */
export interface Redriven {
  /** Processor or sink that had refused it. */
  readonly processor: string;
  /** How often it was tried before, at least 1. */
  readonly attempts: number;
  /** `topic/partition/offset` of the record as it came first, however often it was redriven since. */
  readonly firstOrigin: string;
  /** `topic/partition/offset` of the dead letter that was redriven. */
  readonly letter: string;
}

type Headers = Readonly<Record<string, Buffer>>;

const names = {
  processor: 'millrace-redriven-for',
  attempts: 'millrace-redriven-attempts',
  firstOrigin: 'millrace-redriven-origin',
  letter: 'millrace-redriven-letter',
} as const;

/** Undefined for a record that was not redriven, which is nearly every one. */
export function redrivenOf(headers: Headers | undefined): Redriven | undefined {
  const processor = headers?.[names.processor];
  if (headers === undefined || processor === undefined) return undefined;
  const text = (name: string): string => headers[name]?.toString('utf8') ?? '';
  const attempts = Number(text(names.attempts));
  return {
    processor: processor.toString('utf8'),
    attempts: Number.isSafeInteger(attempts) && attempts > 0 ? attempts : 1,
    firstOrigin: text(names.firstOrigin),
    letter: text(names.letter),
  };
}

export function redrivenHeaders({ processor, attempts, firstOrigin, letter }: Redriven): Headers {
  return {
    [names.processor]: Buffer.from(processor),
    [names.attempts]: Buffer.from(String(attempts)),
    [names.firstOrigin]: Buffer.from(firstOrigin),
    [names.letter]: Buffer.from(letter),
  };
}
