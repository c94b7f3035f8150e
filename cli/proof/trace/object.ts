/** Prints the trace of an object. */
import type { FileView, ObjectTrace, RowInFile } from '../../../proof/trace/object/trace.ts';
import { aligned, findingLines, labelled, manifestLine, shorter, values } from './lines.ts';

export function objectLines(trace: ObjectTrace): string[] {
  const { name, listed, siblings, manifest, file, log, row } = trace;
  return [
    listed?.url ?? name.key,
    '',
    ...labelled('from', [`${name.topic}/${name.partition}  day ${name.day}  epoch ${name.epoch}`]),
    ...(listed === null
      ? labelled('listed', ['by no record'])
      : [
          ...labelled('cut', [
            `offsets ${listed.cut.from}–${listed.cut.to}, of which ${listed.deadLetters} are dead letters`,
          ]),
          ...labelled('rows', [`${listed.rows}, offsets ${listed.offsets.first} to ${listed.offsets.last}`]),
          ...labelled('written', [`by schema ${listed.schemaId}, writer version ${listed.writerVersion}`]),
          ...labelled('SHA-256', [listed.sha256]),
          ...labelled('row hash', [listed.rowHash]),
          ...labelled('manifest', [manifestLine(manifest)]),
        ]),
    ...(file === null ? labelled('file', ['cannot be read']) : fileLines(file)),
    ...(log === null ? [] : labelled('log', [logLine(log)])),
    ...labelled(
      'beside',
      siblings.map(({ day, rows, url }) => `day ${day}, ${rows} rows: ${url}`),
    ),
    ...(row === null ? [] : ['', ...rowLines(row)]),
    '',
    ...findingLines(trace.findings, 'the file matches its record'),
  ];
}

function fileLines({ bytes, rowGroups, lsn, sourceTime, operations }: FileView): string[] {
  const groups = aligned(
    rowGroups.map(({ index, rows, bytes: size, firstOffset, lastOffset }) => [
      `row group ${index}`,
      `${rows} rows`,
      `${size} bytes`,
      firstOffset === null ? '' : `offsets ${firstOffset} to ${lastOffset}`,
    ]),
  );
  return [
    ...(lsn === null ? [] : labelled('LSN', [`${lsn.first} to ${lsn.last}`])),
    ...(sourceTime === null
      ? []
      : labelled('commits', [`${shorter(sourceTime.first)} to ${shorter(sourceTime.last)}`])),
    ...labelled('changes', [operations.map(({ op, rows }) => `${op ?? 'derived'} ${rows}`).join('  ')]),
    ...labelled('file', [`${bytes} bytes`, ...groups]),
  ];
}

function logLine({ start, end, holds }: NonNullable<ObjectTrace['log']>): string {
  const what = { all: 'still has all of it', some: 'has a part of it', none: 'has none of it' }[holds];
  return `${what}: it is at offsets ${start}–${end}`;
}

function rowLines({ offset, place, row, equal }: RowInFile): string[] {
  if (row === null) return [`offset ${offset}`, '  is not in the file'];
  const where =
    place === null
      ? []
      : [
          `row group ${place.rowGroup} (of ${place.rowGroups}), row ${place.rowInGroup} of it, ${place.row} of the file`,
        ];
  const compared =
    equal === null ? 'the log has deleted it' : equal ? 'equal to the record in the log' : 'not equal to the log';
  const lineage = Object.fromEntries(Object.entries(row).filter(([name]) => name.startsWith('_')));
  const data = Object.keys(row).filter((name) => name.startsWith('_'));
  return [
    `offset ${offset}`,
    ...labelled('place', where),
    ...labelled('row', [values(row, data)]),
    ...labelled('lineage', [values(lineage), compared]),
  ];
}
