/**
 * Resolves with the first of several promises that settles, or after `ms`; Infinity is no limit.
 *
 * @throws the signal's reason once it is aborted
 */
export async function firstOf(pending: readonly Promise<unknown>[], ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = ms === Number.POSITIVE_INFINITY ? undefined : setTimeout(resolve, ms);
  const abort = (): void => reject(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  for (const each of pending)
    each.then(
      () => resolve(),
      () => resolve(),
    );
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}
