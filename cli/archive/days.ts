/** States of the archive's days: from the manifests' records and the files listed since. */
import { readDays } from '../../core/archive/listing/days.ts';
import { readTotals } from '../../core/archive/listing/totals.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/log/log.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import { printTable } from '../terminal/print.ts';

export interface DayLine {
  readonly topic: string;
  readonly day: string;
  /** Undefined until the day has a manifest. */
  readonly stands: ArchivePartition | undefined;
  /** Listed files that are not in its manifest yet. */
  readonly waiting: number;
}

/** One entry per topic and day. @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING */
export async function readDayLines(
  log: Log,
  schemas: Schemas,
  topics: readonly ArchivedTopic[],
  signal: AbortSignal,
): Promise<readonly DayLine[]> {
  const all = await readDays(log, schemas, signal);
  const lines: DayLine[] = [];
  for (const topic of topics) {
    const totals = await readTotals({ log, schemas, signal }, topic, all);
    lines.push(...totals.map(({ day, stands, waiting }) => ({ topic, day, stands, waiting })));
  }
  return lines;
}

export function printDays(lines: readonly DayLine[]): void {
  if (lines.length === 0) {
    process.stdout.write('the archive is empty\n');
    return;
  }
  printTable(
    ['topic', 'day', 'state', 'revision', 'files', 'rows', 'lost', 'waiting', 'manifest'],
    lines.map(({ topic, day, stands, waiting }, i) => [
      lines[i - 1]?.topic === topic ? '' : topic,
      day,
      stands?.state ?? '–',
      stands === undefined ? '–' : String(stands.revision),
      (stands?.files ?? 0n).toLocaleString('en-US'),
      (stands?.rows ?? 0n).toLocaleString('en-US'),
      (stands?.lost_rows ?? 0n).toLocaleString('en-US'),
      String(waiting),
      stands?.manifest_key ?? '–',
    ]),
  );
  if (lines.some(({ stands }) => stands === undefined)) {
    process.stdout.write('days without a manifest get one from millrace run manifests\n');
  }
}
