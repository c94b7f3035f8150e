/**
 * jest's environment for Node, with an ordinary global object: each test file still has its own. The contextified global object of
 * `vm.createContext(object)` runs an interceptor at each use of `Map`, `Buffer` or `Number`: up to a fourth of the CPU time of a test file.
 */
import vm from 'node:vm';
import { TestEnvironment } from 'jest-environment-node';

export default class PlainEnvironment extends TestEnvironment {
  constructor(config, context) {
    const { createContext } = vm;
    vm.createContext = () => createContext(vm.constants.DONT_CONTEXTIFY);
    try {
      super(config, context);
    } finally {
      vm.createContext = createContext;
    }
  }
}
