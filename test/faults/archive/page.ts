/** The section of docs/soak.md about the archive at length. Bursts have the rest of the page, and each leaves the other's as it is. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { projectDir } from '../../../cli/settings/config.ts';
import type { Counts } from './sessions.ts';

export interface ArchiveOutcome {
  readonly seed: number;
  readonly counts: Counts;
  /** How often each was killed. */
  readonly kills: Readonly<Record<string, number>>;
  /** Trades in Postgres at the end, and listed files of their changes. */
  readonly trades: number;
  readonly files: number;
  readonly checks: number;
  readonly violations: readonly string[];
  readonly peakBytes: number;
  /** Of the load; of the rest of it until everything had come to rest and was verified. */
  readonly loadSeconds: number;
  readonly settleSeconds: number;
}

const page = join(projectDir, 'docs', 'soak.md');
const heading = '## The archive at length';

export async function writeArchiveResult(outcome: ArchiveOutcome): Promise<void> {
  const { bursts } = splitPage(await readFile(page, 'utf8'));
  await writeFile(page, `${bursts}${renderArchive(outcome, new Date())}`);
}

/** What is before the section, and the section; empty where there is none yet. */
export function splitPage(text: string): { readonly bursts: string; readonly archive: string } {
  const at = text.indexOf(heading);
  return at < 0
    ? { bursts: `${text.trimEnd()}\n\n`, archive: '' }
    : { bursts: text.slice(0, at), archive: text.slice(at) };
}

export function renderArchive(outcome: ArchiveOutcome, at: Date): string {
  const { seed, counts, kills, trades, files, checks, violations, peakBytes, loadSeconds, settleSeconds } = outcome;
  const changes = counts.insert + counts.update + counts.delete;
  const rows: readonly (readonly [string, string])[] = [
    [
      'changes committed',
      `${number(changes)}: ${number(counts.insert)} rows inserted, ${number(counts.update)} updated, ${number(counts.delete)} deleted`,
    ],
    ['in transactions', number(counts.transactions)],
    [
      'kill -9',
      Object.entries(kills)
        .map(([name, times]) => `${name} ${times}`)
        .join(', ') || 'none',
    ],
    ['trades at the end', number(trades)],
    ['listed files of their changes', number(files)],
    ['checks of `millrace verify`', String(checks)],
    [
      'violations',
      violations.length === 0 ? 'none' : `**${violations.join('; ').replaceAll('|', '/').replaceAll('\n', ' ')}**`,
    ],
    ['load, then until verified', `${loadSeconds} s, ${settleSeconds} s`],
    ['largest process', `${Math.round(peakBytes / 1024 / 1024)} MiB`],
    ['seed, date', `${seed}, ${at.toISOString().slice(0, 10)}`],
  ];
  return `${heading}

\`npm run soak -- archive\` ([faults.md](faults.md#the-archive-at-length)): rows inserted, updated and deleted at random while Kafka Connect, the broker, the processors and the sinks
are killed. Newest result:

| | |
|---|---|
${rows.map(([name, value]) => `| ${name} | ${value} |`).join('\n')}
`;
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}
