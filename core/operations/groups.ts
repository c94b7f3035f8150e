/** What operations ask of consumer groups and of time in topics, beyond what the runtime needs of a log. */
export interface Groups {
  /** Who is in the group now, for people to read; empty when nobody is. */
  members(group: string): Promise<readonly string[]>;
  /** By partition, the first offset whose record has this timestamp or a later one; the end when there is none. Milliseconds. */
  offsetsAt(topic: string, millis: number): Promise<readonly bigint[]>;
}
