import { ConnectClient } from '../../connectors/client.ts';
import type { Config } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { definitionOf } from './capture.ts';

/** A hint that nothing is captured because no connector was ever applied; undefined if one was, or if Connect does not answer. */
export async function captureHint(config: Config): Promise<string | undefined> {
  try {
    const { name } = await definitionOf(config);
    if ((await new ConnectClient({ url: config.connect.url }).status(name)) !== undefined) return undefined;
  } catch (error) {
    if (error instanceof MillraceError) return undefined;
    throw error;
  }
  return 'nothing is captured yet: there is no connector; create it with: millrace connectors apply';
}
