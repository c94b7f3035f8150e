/** A service and its context. */
import type { Registry } from '../../core/avro/registry/registry.ts';
import type { Config } from '../../core/base/config.ts';
import type { KafkaLog } from '../../core/kafka/log.ts';
import type { Logger } from '../../core/observability/logger.ts';
import type { Metrics } from '../../core/observability/metrics.ts';
import type { Control } from '../../core/runtime/control.ts';
import type { RunningStates } from '../../core/state/shown/running.ts';

export interface ServiceContext {
  readonly config: Config;
  readonly log: KafkaLog;
  readonly schemas: Registry;
  /** Pause orders of operators. */
  readonly control: Control;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Registry of the states of all running processors' tasks. */
  readonly states: RunningStates;
}

/** A running service. `done` rejects with an error that ends it. */
export interface Service extends AsyncDisposable {
  readonly name: string;
  readonly done: Promise<void>;
  readonly ready: boolean;
}

/** Starts a service. */
export type Start = (context: ServiceContext) => Promise<Service>;
