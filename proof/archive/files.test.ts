import { expect, test } from '@jest/globals';
import { columnsWithLineage, tables } from '../../core/archive/rows/tables.ts';
import { MemoryStore } from '../../core/archive/s3/memory.ts';
import type { FileColumn } from '../../core/archive/writing/source-columns.ts';
import { flattened, ParquetFile } from '../../core/archive/writing/writer.ts';
import { sha256Of } from '../../core/values/sha256.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import { Files } from './files.ts';

const topic = 'cdc.public.trades';

test('rows are distinguished by their files, with any further columns of the source', async () => {
  const store = new MemoryStore();
  const objects: ArchiveObject[] = [];
  for (const [i, added] of [[], ['FileName', 'file_name']].entries()) {
    const more = added.map((name): FileColumn => ({ name, type: { kind: 'text' } }));
    const file = new ParquetFile([...columnsWithLineage(tables[topic]), ...more], flattened);
    file.add([...columnsWithLineage(tables[topic]).map(() => null), ...added]);
    const bytes = file.finish({});
    await store.putIfAbsent(`${i}`, bytes);
    objects.push({ key: `${i}`, sha256: sha256Of(bytes), writer_version: 2 } as ArchiveObject);
  }
  await using files = await Files.download(store, topic, objects);
  expect(files.differences.count).toBe(0);
  await files.hash(tables[topic], []);
  const found = await files.query('SELECT file, count(*) AS n FROM hashed GROUP BY file ORDER BY file');
  expect(found).toEqual([0, 1].map((file) => ({ file, n: 1n })));
});
