import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import { writeJson, writeLines } from './files.ts';

function collector(): { readonly out: Writable; readonly text: () => string } {
  let text = '';
  const write = (chunk: Buffer, _encoding: string, done: () => void): void => {
    text += chunk.toString();
    setImmediate(done);
  };
  return { out: new Writable({ highWaterMark: 16, write }), text: () => text };
}

test.each([[[]], [[1n]], [[1n, 2n, 3n]]])(
  'JSON of %j equals that of JSON.stringify, also for a slow reader',
  async (list) => {
    const { out, text } = collector();
    await writeJson(list, (offset) => ({ key: 'k', offset, nested: { none: null } }), out);
    out.end();
    await new Promise((resolve) => out.once('finish', resolve));
    const objects = list.map((offset) => ({ key: 'k', offset: `${offset}`, nested: { none: null } }));
    expect(text()).toBe(`${JSON.stringify(objects, null, 2)}\n`);
  },
);

test('lines are one for each object', async () => {
  const { out, text } = collector();
  await writeLines(['a', 'b'], (each) => `${each}!`, out);
  out.end();
  await new Promise((resolve) => out.once('finish', resolve));
  expect(text()).toBe('a!\nb!\n');
});
