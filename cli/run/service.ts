/** What a service is, and what it is given. */
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
  /** Operators' orders to pause. */
  readonly control: Control;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Every processor's task shows its state here. */
  readonly states: RunningStates;
}

/** A running service. `done` rejects with what it cannot go on from. */
export interface Service extends AsyncDisposable {
  readonly name: string;
  readonly done: Promise<void>;
  readonly ready: boolean;
}

/** How a service is started. */
export type Start = (context: ServiceContext) => Promise<Service>;
