export type Assignment = Record<string, number[]>;

/**
 * Spreads partitions evenly and lets each member keep what it has, because moving a task means restoring its state. Partitions of the same number
 * of several topics go together: they are the inputs of one task.
 *
 * Pure: the same members and claims give the same assignment, whoever is the leader.
 */
export function assignSticky(
  partitionsByTopic: ReadonlyMap<string, number>,
  claims: ReadonlyMap<string, Assignment>,
): Map<string, Assignment> {
  const members = [...claims.keys()].sort();
  const result = new Map<string, Assignment>(members.map((member) => [member, {}]));
  if (members.length === 0) return result;
  const load = new Map<string, number>(members.map((member) => [member, 0]));
  const loadOf = (member: string): number => load.get(member) ?? 0;
  const give = (member: string, partition: number): void => {
    for (const [topic, count] of partitionsByTopic) {
      if (partition < count) add(result.get(member) ?? {}, topic, partition);
    }
    load.set(member, loadOf(member) + 1);
  };
  const numbers = Math.max(0, ...partitionsByTopic.values());
  const fair = Math.floor(numbers / members.length);
  let larger = numbers % members.length;
  const homeless: number[] = [];
  for (let partition = 0; partition < numbers; partition++) {
    const claimants = members.filter((member) =>
      Object.values(claims.get(member) ?? {}).some((owned) => owned.includes(partition)),
    );
    const keeper = claimants.find((member) => loadOf(member) < fair || (loadOf(member) === fair && larger > 0));
    if (keeper === undefined) {
      homeless.push(partition);
      continue;
    }
    if (loadOf(keeper) === fair) larger--;
    give(keeper, partition);
  }
  for (const partition of homeless) {
    give(
      members.reduce((poorest, member) => (loadOf(member) < loadOf(poorest) ? member : poorest)),
      partition,
    );
  }
  return result;
}

/** Adds one partition to an assignment. */
export function add(assignment: Assignment, topic: string, partition: number): void {
  const partitions = assignment[topic];
  if (partitions === undefined) assignment[topic] = [partition];
  else partitions.push(partition);
}
