/**
 * Where schemas have their ids. Two implementations: the registry (registry.ts) and one in memory for drivers without a broker
 * (memory.ts).
 */
export interface Schemas {
  /**
   * The id of a schema under a subject, registered if it is new. The same schema gets the same id again.
   *
   * @throws MillraceError REGISTRY_UNREACHABLE; SCHEMA_INCOMPATIBLE when the subject's compatibility level refuses it.
   */
  register(subject: string, schema: object): Promise<number>;

  /**
   * The schema of an id, as it was registered.
   *
   * @throws MillraceError REGISTRY_UNREACHABLE; SCHEMA_UNKNOWN when the registry answered that there is none.
   */
  byId(id: number): Promise<object>;
}
