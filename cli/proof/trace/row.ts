/** Prints the trace of a row. */
import type { Partials, WindowTrace } from '../../../proof/trace/candle/revisions.ts';
import type { AnomalyView } from '../../../proof/trace/row/anomalies.ts';
import type { ChangeLocation } from '../../../proof/trace/row/located.ts';
import type { ChangeTrace, RowTrace } from '../../../proof/trace/row/trace.ts';
import {
  aligned,
  at,
  findingLines,
  instant,
  labelled,
  manifestLine,
  revision,
  searchedLines,
  shorter,
  values,
} from './lines.ts';

const key = ['venue', 'symbol', 'trade_id'];

export function rowLines(trace: RowTrace): string[] {
  const { venue, symbol, trade_id } = trace.key;
  return [
    `${trace.table} ${venue} ${symbol} ${trade_id}`,
    '',
    ...postgresLines(trace),
    ...trace.changes.flatMap((change, i) => ['', ...changeLines(change, firstIn(trace.changes.slice(0, i), change))]),
    ...(trace.anomalies.length === 0 ? [] : ['', 'anomalies', ...anomalyLines(trace.anomalies)]),
    '',
    'searched',
    ...searchedLines(trace.searched).map((line) => `  ${line}`),
    '',
    ...(trace.found
      ? findingLines(trace.findings, 'Postgres, log, candles and archive agree')
      : [
          '✗ not found: neither in Postgres nor in the searched parts of log and archive',
          '  remedy: give venue, symbol and id exactly as in the row; without --from and --to everything is searched',
        ]),
  ];
}

function postgresLines({ postgres, changes }: RowTrace): string[] {
  if (postgres.row === null) return ['Postgres', '  there is no such row'];
  const written = changes.find(({ offset }) => offset === postgres.writtenBy);
  const by =
    written === undefined ? 'not among the changes below' : `the ${written.operation} at offset ${written.offset}`;
  const when = postgres.committedAt === null ? '' : `, committed ${shorter(postgres.committedAt)}`;
  return [
    'Postgres',
    ...labelled('row', [values(postgres.row, key)]),
    ...labelled('written', [`by transaction ${postgres.xmin}: ${by}${when}`]),
  ];
}

/** The first change in the same object: the object was described there. */
function firstIn(before: readonly ChangeTrace[], { archive }: ChangeTrace): bigint | undefined {
  const key = archive.object?.key;
  return key === undefined ? undefined : before.find((each) => each.archive.object?.key === key)?.offset;
}

function changeLines(change: ChangeTrace, sameObject: bigint | undefined): string[] {
  const { operation, transaction, lsn, commitTime, row, before, repeats, redrivenFor, source } = change;
  const notes = [
    ...(repeats === null ? [] : [`the same change as at offset ${repeats}, delivered again`]),
    ...(redrivenFor === null ? [] : [`redriven for ${redrivenFor} only`]),
    ...(source === 'archive' ? ['read from the archive: the log has deleted it'] : []),
  ];
  return [
    `${operation} at ${at(change)}`,
    ...labelled('commit', [
      `${shorter(commitTime)}  transaction ${transaction ?? 'unknown'}  LSN ${lsn ?? 'unknown'} (${change.lsnNumber ?? '–'})`,
    ]),
    ...labelled('row', [values(row, key)]),
    ...(before === null || Object.keys(before).length === 0 ? [] : labelled('before', [values(before)])),
    ...labelled('note', notes),
    ...labelled('candles', candleLines(change.candles)),
    ...labelled('late', ledgerLines(change)),
    ...labelled(
      'dead',
      change.refusals.map(
        (each) => `${each.reason} by ${each.processor}, attempt ${each.attempts}: ${each.error}  (${at(each)})`,
      ),
    ),
    ...labelled('enriched', change.enriched.map(at)),
    ...labelled('archive', archiveLines(change.archive, sameObject)),
  ];
}

function candleLines(windows: readonly WindowTrace[]): string[] {
  return aligned(
    windows.flatMap(({ interval, windowStart, holds, partials, revisions, omitted }) => {
      const name = `${interval} ${instant(windowStart)}`;
      const role = holds ? 'in' : 'out of';
      const rows = [
        ...(partials === null ? [] : [partialCells(partials)]),
        ...(omitted === 0 ? [] : [[`${omitted} older revisions`]]),
        ...revisions.map(revision),
      ];
      return rows.length === 0 ? [[role, name, 'not emitted since']] : rows.map((cells) => [role, name, ...cells]);
    }),
  );
}

export function partialCells({ count, first, last }: Partials): string[] {
  if (count === 1) return revision(first);
  const [status, reason, where, made] = revision(last);
  return [`${status?.replace('#', `#${first.revision}–`)}`, `${reason}`, `${where}`, `${made}`];
}

function ledgerLines({ ledger }: ChangeTrace): string[] {
  return ledger.map((entry) => {
    const { reason, effect, interval, windowStart, latenessUs, topic, partition, offset } = entry;
    const window = interval === null ? '' : ` ${interval}${windowStart === null ? '' : ` ${instant(windowStart)}`}`;
    const behind = latenessUs === null ? '' : `, ${Number(latenessUs / 1000n) / 1000} s behind the watermark`;
    return `${reason}: ${effect}${window}${behind}  (${at({ topic, partition, offset })})`;
  });
}

const states: Readonly<Record<ChangeLocation['state'], string>> = {
  listed: 'listed',
  waiting: 'not yet: the sink has not committed it',
  refused: 'a dead letter of the sink, so not a row',
  expired: 'expired with its day',
  lost: 'lost: its object is gone, and nothing can produce it again',
  missing: 'in no listed object',
};

function archiveLines(
  { state, object, place, equal, manifest }: ChangeLocation,
  sameObject: bigint | undefined,
): string[] {
  if (object === null) return [states[state]];
  const row =
    place === null
      ? 'the row is not in it'
      : `row group ${place.rowGroup} (of ${place.rowGroups}), row ${place.rowInGroup} of it; read there${equal === null ? '' : equal ? ', equal to the log' : ', and not equal to the log'}`;
  if (sameObject !== undefined) return [`the object of offset ${sameObject}`, row];
  return [
    object.url,
    `day ${object.day}  cut ${object.cut.from}–${object.cut.to}  ${object.rows} rows  schema ${object.schemaId}`,
    `SHA-256 ${object.sha256}`,
    manifestLine(manifest),
    row,
  ];
}

function anomalyLines(anomalies: readonly AnomalyView[]): string[] {
  return aligned(
    anomalies.map((each) => [
      `  ${each.type} ${each.status}#${each.revision} ${each.severity}`,
      each.because === 'trade' ? 'of the trade' : `of its candle ${each.interval} ${instant(each.windowStart)}`,
      at(each),
    ]),
  );
}
