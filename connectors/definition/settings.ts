/** Settings of a connector definition that depend on the environment. */
import { MillraceError } from '../../core/base/errors.ts';
import type { DefinitionValues } from './definition.ts';

export interface CaptureSettings {
  /** Captured database, as Kafka Connect reaches it. User and password in the URL are ignored. */
  readonly postgresUrl: string;
  /** Name of the replication role. */
  readonly user: string;
  /** Reference by which Kafka Connect reads the role's password, e.g. `${dir:/run/secrets:capture.password}`. */
  readonly password: string;
  readonly slot: string;
  /** First part of all capture topic names. */
  readonly prefix: string;
  /** The connector publishes the begin and end of each transaction. */
  readonly transactions: boolean;
  /** Registry URL, as Kafka Connect reaches it. */
  readonly registryUrl: string;
}

/** Values for the placeholders. @throws MillraceError CONFIG_INVALID */
export function captureSettings(capture: CaptureSettings): DefinitionValues {
  let url: URL;
  try {
    url = new URL(capture.postgresUrl);
  } catch (cause) {
    throw new MillraceError('CONFIG_INVALID', 'the Postgres URL of the capture is no URL', { cause });
  }
  if (!/^\w+$/.test(capture.prefix)) {
    throw new MillraceError(
      'CONFIG_INVALID',
      `the capture prefix ${capture.prefix} has other characters than letters, digits and _`,
    );
  }
  return {
    'postgres.host': url.hostname,
    'postgres.port': url.port || '5432',
    'postgres.database': decodeURIComponent(url.pathname.slice(1)),
    'capture.user': capture.user,
    'capture.password': capture.password,
    'capture.slot': capture.slot,
    'capture.prefix': capture.prefix,
    'capture.transactions': String(capture.transactions),
    'registry.url': capture.registryUrl.replace(/\/+$/, ''),
  };
}
