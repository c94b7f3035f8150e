/** Milliseconds. */
export const defaultLagMs = 60_000;

/**
 * Where schemas have their ids. Two implementations: the registry (registry.ts) and one in memory for drivers without a broker
 * (memory.ts).
 */
export interface Schemas {
  /** How long after its registration an id may still be unknown here, milliseconds: a replica lags. Default `defaultLagMs`. */
  readonly lagMs?: number;

  /**
   * The id of a schema under a subject, registered if it is new. The same schema gets the same id again.
   *
   * @throws MillraceError REGISTRY_UNREACHABLE; SCHEMA_INCOMPATIBLE when the subject's compatibility level refuses it.
   */
  register(subject: string, schema: object): Promise<number>;

  /**
   * The schema of an id, as it was registered.
   *
   * @throws MillraceError REGISTRY_UNREACHABLE; SCHEMA_UNKNOWN when the registry answered that there is none; SCHEMA_FOREIGN for one
   *   that is not Avro.
   */
  byId(id: number): Promise<object>;
}
