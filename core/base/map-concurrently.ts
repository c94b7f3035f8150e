/**
 * Calls `work` for each item, at most `concurrency` at a time. Items begin in their order, and results are in that order. After a failure no item
 * begins any more; the first failure is thrown once no call is under way.
 */
export async function mapConcurrently<T, R>(
  items: { readonly length: number; at(index: number): T | undefined },
  concurrency: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length && failures.length === 0; i = next++) {
      try {
        results[i] = await work(items.at(i) as T, i);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
  return results;
}
