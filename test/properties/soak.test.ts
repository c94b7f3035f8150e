import { expect, jest, test } from '@jest/globals';
import { parseSource } from '../architecture/imports.ts';
import fc from '../support/property.ts';
import { propertyTests } from './soak.ts';

test('properties draw from the seed of the run, so that a failure can be repeated', () => {
  expect(fc.readConfigureGlobal().seed).toBe(jest.getSeed());
});

test('a file with properties is found through what it imports, and a test of the real stack is none', () => {
  const program = {
    'core/a.test.ts': "import fc from 'fast-check';",
    'core/b.test.ts': "import { contract } from './b-contract.ts';",
    'core/b-contract.ts': "import fc from 'fast-check'; import './b.test.ts';",
    'core/c.test.ts': "import './c.ts';",
    'core/c.ts': '',
    'core/d.it.test.ts': "import fc from 'fast-check';",
  };
  const sources = new Map(Object.entries(program).map(([path, text]) => [path, parseSource(path, text)]));
  expect(propertyTests(sources)).toEqual(['core/a.test.ts', 'core/b.test.ts']);
});
