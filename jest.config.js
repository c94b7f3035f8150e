/** Native ESM: run through `node --experimental-vm-modules`; see docs/adr. */
export default {
  testEnvironment: '<rootDir>/test/suite/environment.js',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2024' },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  testMatch: ['<rootDir>/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/', '/.millrace/'],
  modulePathIgnorePatterns: ['<rootDir>/.millrace/'],
  // Ends what hangs. How long a test takes is no assertion: machines differ.
  testTimeout: 180_000,
};
