import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ensureCached, folderOf, isCached } from './cache.ts';

let cacheDir: string;
beforeEach(() => {
  cacheDir = mkdtempSync(join(tmpdir(), 'millrace-cache-'));
});
afterEach(() => rmSync(cacheDir, { recursive: true, force: true }));

const part = (ingredients: readonly string[], install: (folder: string) => Promise<void> | void) => ({
  cacheDir,
  name: 'part',
  ingredients,
  install: async (folder: string) => install(folder),
});
const writes = (text: string) => (folder: string) => writeFileSync(join(folder, 'file'), text);

describe('an installed thing', () => {
  test('is installed once', async () => {
    const folder = await ensureCached(part(['1.0'], writes('one')));
    expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('one');
    const again = part(['1.0'], () => {
      throw new Error('installed twice');
    });
    expect(await ensureCached(again)).toBe(folder);
  });

  test('is installed anew when an ingredient changes, beside the old one', async () => {
    const one = await ensureCached(part(['1.0'], writes('one')));
    const two = await ensureCached(part(['1.1'], writes('two')));
    expect(two).not.toBe(one);
    expect(readFileSync(join(one, 'file'), 'utf8')).toBe('one');
    expect(folderOf(part(['a', 'b'], () => {}))).not.toBe(folderOf(part(['ab'], () => {})));
  });

  test('does not exist when its installation failed, leaves nothing behind, and the next attempt begins anew', async () => {
    const wanted = part(['1.0'], (folder) => {
      writes('half')(folder);
      throw new Error('interrupted');
    });
    await expect(ensureCached(wanted)).rejects.toThrow('interrupted');
    expect(await isCached(folderOf(wanted))).toBe(false);
    expect(readdirSync(cacheDir)).toEqual([]);
    const folder = await ensureCached(part(['1.0'], (into) => expect(readdirSync(into)).toEqual([])));
    expect(await isCached(folder)).toBe(true);
  });

  test('that two install at the same time is whole for both', async () => {
    const slowly = (text: string) =>
      part(['1.0'], async (folder) => {
        writes(text)(folder);
        await sleep(50);
      });
    const folders = await Promise.all([ensureCached(slowly('one')), ensureCached(slowly('two'))]);
    expect(new Set(folders).size).toBe(1);
    expect(['one', 'two']).toContain(readFileSync(join(folders[0], 'file'), 'utf8'));
    expect(readdirSync(cacheDir)).toHaveLength(1);
  });
});
