import { dispositionOf } from '../../../../core/base/errors.ts';
import type { Log } from '../../../../core/log/log.ts';
import { positionsOfProcessor } from '../../../../core/operations/offsets/positions.ts';
import { planRestore, restoreOffsets } from '../../../../core/operations/offsets/restore.ts';
import type { Scenario } from '../scenario.ts';
import type { Host } from './host.ts';

const nobody = { members: async () => [], offsetsAt: async () => [] };
const againMs = 200;

/** `millrace offsets restore` for each processor of the scenario, run again until it succeeds. Every process has been stopped. */
export async function restoreAll(host: Host, log: Log, { processors }: Scenario): Promise<void> {
  for (const { processor } of processors) {
    const [primary, ...others] = processor.inputs.map(({ topic }) => topic);
    const positions = positionsOfProcessor(processor.name, [primary as string, ...others]);
    const options = { log, groups: nobody, positions };
    for (let done = false; !done; ) {
      try {
        await restoreOffsets(options, await planRestore(options));
        done = true;
      } catch (error) {
        if (dispositionOf(error) !== 'retry') throw error;
        await host.clock.sleep(againMs);
      }
    }
  }
}
