import { MillraceError } from '../base/errors.ts';

/** What operations ask of consumer groups and of time in topics, beyond what the runtime needs of a log. */
export interface Groups {
  /** Who is in the group now, for people to read; empty when nobody is. */
  members(group: string): Promise<readonly string[]>;
  /** By partition, the first offset whose record has this timestamp or a later one; the end when there is none. Milliseconds. */
  offsetsAt(topic: string, millis: number): Promise<readonly bigint[]>;
}

/** @param name of the processor or sink, for the message. @throws MillraceError GROUP_ACTIVE while the group has members. */
export async function requireStopped(groups: Groups, group: string, name: string): Promise<void> {
  const members = await groups.members(group);
  if (members.length === 0) return;
  throw new MillraceError('GROUP_ACTIVE', `${name} is running: ${members.join(', ')}`, {
    remedy: `stop every process that runs ${name}, then run the command again; after a kill -9 the group forgets a member in 10 s`,
  });
}
