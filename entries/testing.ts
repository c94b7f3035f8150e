/** `millrace/testing`: tests of processors without a broker, in virtual time. */

/** Schemas without a registry. */
export { MemorySchemas } from '../core/avro/registry/memory.ts';
/** Sends, advances time, crashes, resumes, and reads the outputs: by the same runtime as in production. */
export { Driver, type DriverOptions, type Emitted } from '../core/testing/driver.ts';
/** The log in memory, with fencing, transaction markers and faults on demand; to test a runtime of your own. */
export { MemoryLog, type TransactionFault } from '../core/testing/memory-log.ts';
