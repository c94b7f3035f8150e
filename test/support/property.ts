/** fast-check, drawing from jest's seed (`--seed`): every test with properties imports it from here, so that its run can be repeated. */
import { jest } from '@jest/globals';
import fc from 'fast-check';

fc.configureGlobal({ seed: jest.getSeed() });

export default fc;
