/** What a connector definition needs to know about where it runs. */
import { MillraceError } from '../../core/base/errors.ts';
import type { Settings } from './definition.ts';

export interface CaptureSettings {
  /** Of the captured database, as Kafka Connect reaches it; user and password in it are not used. */
  readonly postgresUrl: string;
  /** The replication role. */
  readonly user: string;
  /** How Kafka Connect finds the role's password, e.g. `${dir:/run/secrets:capture.password}`. */
  readonly password: string;
  readonly slot: string;
  /** First part of every capture topic's name. */
  readonly prefix: string;
  /** Whether the connector tells transactions. */
  readonly transactions: boolean;
  /** Registry, as Kafka Connect reaches it. */
  readonly registryUrl: string;
}

/** Values for the placeholders. @throws MillraceError CONFIG_INVALID */
export function captureSettings(capture: CaptureSettings): Settings {
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
