import { MillraceError } from '../../core/base/errors.ts';

/** Prints one line, its causes, and the remedy. Prints the stack trace only with `debug`. */
export function printError(error: unknown, debug: boolean): void {
  const write = (text: string): void => {
    process.stderr.write(`${text}\n`);
  };
  if (error instanceof MillraceError) {
    write(`error: ${error.message} [${error.code}]`);
    for (const cause of causesOf(error)) write(`  because: ${cause.replaceAll('\n', `\n${' '.repeat(11)}`)}`);
    if (error.remedy !== undefined) write(`  remedy: ${error.remedy}`);
  } else {
    write(`error: ${error instanceof Error ? error.message || error.name : String(error)}`);
    if (!debug) write('  this is unexpected; run again with --debug for the stack trace');
  }
  if (debug && error instanceof Error) write(error.stack ?? '');
}

/** Messages of the chain of causes that add to what is printed already. */
function causesOf(error: Error): string[] {
  const causes: string[] = [];
  let said = error.message;
  let current = error.cause;
  while (current instanceof Error && causes.length < 3) {
    const { message } = current;
    if (message !== '' && !said.includes(message)) {
      causes.push(message);
      said += message;
    }
    current = current.cause;
  }
  return causes;
}

/** Prints one line to standard output. */
export function say(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** A whole number with thousands separators. */
export function count(number: bigint | number): string {
  return number.toLocaleString('en-US');
}

/** Prints a table with aligned columns to standard output. */
export function printTable(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] ?? '').length)));
  for (const row of [header, ...rows]) {
    process.stdout.write(
      `${row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd()}\n`,
    );
  }
}

export function printJson(value: unknown): void {
  process.stdout.write(
    `${JSON.stringify(value, (_key, each) => (typeof each === 'bigint' ? each.toString() : each), 2)}\n`,
  );
}
