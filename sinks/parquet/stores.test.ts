import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from '@jest/globals';
import { DirectoryStore } from '../../core/archive/s3/directory.ts';
import { MemoryStore } from '../../core/archive/s3/memory.ts';
import { testSink } from './fixtures/sink-contract.ts';

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-sink-'));
});

afterAll(() => rm(directory, { recursive: true }));

testSink('in memory', async () => new MemoryStore());
testSink('in a directory', async () => new DirectoryStore({ directory, bucket: 'archive' }));
