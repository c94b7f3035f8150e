/** Testing processors without a broker, in virtual time. Part of the public interface. */

// ---- For those who write processors ----

/** Sends, advances time, crashes, resumes, and reads what came out: by the same runtime as in production. */
export { Driver, type DriverOptions, type Emitted } from '../core/testing/driver.ts';

// ---- For those who test a runtime of their own ----

/** Schemas without a registry. */
export { MemorySchemas } from '../core/avro/registry/memory.ts';
/** The log in memory, with fencing, transaction markers and faults on demand. */
export { MemoryLog, type TransactionFault } from '../core/testing/memory-log.ts';
