/**
 * Writes a column of a row group: a dictionary where it is worth one, and pages. What is in a page and how pages are divided is as
 * hyparquet-writer has it, which writes the headers; ours is what is done per value.
 */
import type { ColumnChunk, OffsetIndex } from 'hyparquet';
import type { ByteWriter } from 'hyparquet-writer';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import type { Dictionary } from './dictionary.ts';
import { packHybrid, packRun, Scratch } from './packing.ts';
import type { Vector } from './vector.ts';
import { zstd } from './zstd.ts';

const pageBytes = 1 << 20;

export interface Written {
  readonly chunk: ColumnChunk;
  /** Where each page is, if there are several. */
  readonly offsetIndex?: OffsetIndex;
}

/** A page's rows, and the places of their values that are not null. */
interface Span {
  readonly row: number;
  readonly endRow: number;
  readonly from: number;
  readonly end: number;
}

const levels = new Scratch();
const values = new Scratch();

export function writeChunk(to: ByteWriter, name: string, column: Vector): Written {
  const start = to.offset;
  const dictionary = column.dictionary();
  let uncompressed = 0;
  let dictionaryAt: bigint | undefined;
  if (dictionary !== undefined) {
    dictionaryAt = BigInt(start);
    uncompressed += writeDictionary(to, column, dictionary);
  }
  const encoding = dictionary === undefined ? column.encoding : 'RLE_DICTIONARY';
  const data = BigInt(to.offset);
  const page_locations: OffsetIndex['page_locations'] = [];
  for (const span of spansOf(column, dictionary)) {
    const offset = to.offset;
    uncompressed += writePage(to, column, dictionary, span);
    page_locations.push({
      offset: BigInt(offset),
      compressed_page_size: to.offset - offset,
      first_row_index: BigInt(span.row),
    });
  }
  const chunk: ColumnChunk = {
    meta_data: {
      type: column.type,
      encodings: dictionary === undefined ? [encoding] : ['PLAIN', encoding],
      path_in_schema: [name],
      codec: 'ZSTD',
      num_values: BigInt(column.rows),
      total_compressed_size: BigInt(to.offset - start),
      total_uncompressed_size: BigInt(uncompressed),
      data_page_offset: data,
      ...(dictionaryAt === undefined ? {} : { dictionary_page_offset: dictionaryAt }),
      statistics: column.statistics,
    },
    file_offset: BigInt(start),
  };
  return page_locations.length > 1 ? { chunk, offsetIndex: { page_locations } } : { chunk };
}

/** @returns the bytes of the page before compression, its header included */
function writeDictionary(to: ByteWriter, column: Vector, { places, size }: Dictionary): number {
  values.clear();
  column.writePlain(values, places.subarray(0, size));
  const compressed = zstd(values.written());
  const start = to.offset;
  writePageHeader(to, {
    type: 'DICTIONARY_PAGE',
    uncompressed_page_size: values.length,
    compressed_page_size: compressed.length,
    dictionary_page_header: { num_values: size, encoding: 'PLAIN' },
  });
  const header = to.offset - start;
  to.appendBytes(compressed);
  return header + values.length;
}

/** Divides the rows so that no page but one of a single value is much larger than a page is to be. */
function spansOf(column: Vector, dictionary: Dictionary | undefined): readonly Span[] {
  const { rows, count, present } = column;
  const size = (from: number, end: number): number =>
    dictionary === undefined ? column.sizeOf(from, end) : (end - from) * 4;
  if (size(0, count) < pageBytes) return [{ row: 0, endRow: rows, from: 0, end: count }];
  const spans: Span[] = [];
  let [row, from, place, taken] = [0, 0, 0, 0];
  for (let at = 0; at < rows; at++) {
    const end = present === undefined || present[at] === 1 ? place + 1 : place;
    const own = size(place, end);
    taken += own;
    if (taken >= pageBytes && at > row) {
      spans.push({ row, endRow: at, from, end: place });
      row = at;
      from = place;
      taken = own;
    }
    place = end;
  }
  spans.push({ row, endRow: rows, from, end: count });
  return spans;
}

/** @returns the bytes of the page before compression, its header included */
function writePage(to: ByteWriter, column: Vector, dictionary: Dictionary | undefined, span: Span): number {
  const { row, endRow, from, end } = span;
  levels.clear();
  packLevels(column, row, endRow);
  values.clear();
  if (dictionary === undefined) {
    column.write(values, from, end);
  } else {
    const bitWidth = bitWidthOf(dictionary.indexes, from, end);
    values.byte(bitWidth);
    packHybrid(values, dictionary.indexes, from, end, bitWidth);
  }
  const compressed = zstd(values.written());
  const start = to.offset;
  writePageHeader(to, {
    type: 'DATA_PAGE_V2',
    uncompressed_page_size: levels.length + values.length,
    compressed_page_size: levels.length + compressed.length,
    data_page_header_v2: {
      num_values: endRow - row,
      num_nulls: endRow - row - (end - from),
      num_rows: endRow - row,
      encoding: dictionary === undefined ? column.encoding : 'RLE_DICTIONARY',
      definition_levels_byte_length: levels.length,
      repetition_levels_byte_length: 0,
      is_compressed: true,
    },
  });
  const header = to.offset - start;
  to.appendBytes(levels.written());
  to.appendBytes(compressed);
  return header + levels.length + values.length;
}

/** Which rows have a value. */
function packLevels({ present, nulls }: Vector, row: number, endRow: number): void {
  if (present !== undefined) packHybrid(levels, present, row, endRow, 1);
  else if (endRow - row >= 8) packRun(levels, nulls === 0 ? 1 : 0, endRow - row, 1);
  else packHybrid(levels, new Uint8Array(endRow - row).fill(nulls === 0 ? 1 : 0), 0, endRow - row, 1);
}

function bitWidthOf(indexes: Int32Array, from: number, end: number): number {
  let most = 0;
  for (let place = from; place < end; place++) if ((indexes[place] as number) > most) most = indexes[place] as number;
  return Math.ceil(Math.log2(most + 1));
}
