/** The supervisor's restarts, stored for other processes to read. */

import { type Restart, readRecord, writeRecord } from '../../../connectors/source/record.ts';
import { withRestarts } from '../../../connectors/supervision/restarts.ts';
import type { Postgres } from '../../../core/base/postgres.ts';

export interface RestartLogOptions {
  readonly connector: string;
  readonly connect: () => Promise<Postgres>;
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** Buffers restarts while Postgres is down, which is often their cause. */
export class RestartLog {
  readonly #options: RestartLogOptions;
  #waiting: Restart[] = [];

  constructor(options: RestartLogOptions) {
    this.#options = options;
  }

  add(task: number | 'connector', cause: string): void {
    const at = new Date(this.#now()).toISOString();
    this.#waiting.push({ at, part: task === 'connector' ? task : `task ${task}`, cause });
  }

  /** Writes the buffered restarts. @throws errors of Postgres; the restarts stay buffered */
  async flush(): Promise<void> {
    const added = this.#waiting;
    if (added.length === 0) return;
    const { connector, connect } = this.#options;
    await using db = await connect();
    const { restarts } = await readRecord(db, connector);
    await writeRecord(db, connector, 'restarts', withRestarts(restarts, added, this.#now()));
    this.#waiting = this.#waiting.slice(added.length);
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}
