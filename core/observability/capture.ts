import { Counter, Gauge, type Registry } from 'prom-client';

/** Metrics of capture: the connector, and the replication slot that it reads. Set by whoever watches them. */
export class CaptureMetrics {
  readonly connectorStatus: Gauge<'connector' | 'task'>;
  readonly connectorRestarts: Counter<'connector'>;
  readonly connectUp: Gauge;
  readonly walSizeBytes: Gauge<'slot'>;
  readonly slotLagBytes: Gauge<'slot'>;
  readonly slotActive: Gauge<'slot'>;
  readonly slotSafeBytes: Gauge<'slot'>;
  readonly slotLost: Gauge<'slot'>;
  readonly findings: Gauge<'effect' | 'subject'>;

  constructor(registry: Registry) {
    const registers = [registry];
    const ofSlot = (name: string, help: string): Gauge<'slot'> =>
      new Gauge({ name, help, labelNames: ['slot'], registers });
    this.connectorStatus = new Gauge({
      name: 'kafka_connect_connector_status',
      help: 'State of a connector (task "connector") or of one of its tasks: 1 = RUNNING, 0 = anything else or no answer.',
      labelNames: ['connector', 'task'],
      registers,
    });
    this.connectorRestarts = new Counter({
      name: 'millrace_connector_restarts_total',
      help: 'Restarts by the connector supervisor.',
      labelNames: ['connector'],
      registers,
    });
    this.connectUp = new Gauge({
      name: 'millrace_connect_up',
      help: '1 when Kafka Connect answered the last question.',
      registers,
    });
    this.walSizeBytes = ofSlot('wal_size_bytes', 'Write-ahead log that Postgres keeps for the replication slot.');
    this.slotLagBytes = ofSlot(
      'millrace_slot_lag_bytes',
      'Write-ahead log that the consumer of the slot has not confirmed yet.',
    );
    this.slotActive = ofSlot('millrace_slot_active', '1 when a consumer is attached to the slot, 0 otherwise.');
    this.slotSafeBytes = ofSlot(
      'millrace_slot_safe_bytes',
      'Write-ahead log until Postgres gives the slot up; absent when max_slot_wal_keep_size sets no limit.',
    );
    this.slotLost = ofSlot(
      'millrace_slot_lost',
      '1 when the slot cannot give what was not captured (gone, given up, or made anew) and capture is stopped, 0 otherwise.',
    );
    this.findings = new Gauge({
      name: 'millrace_capture_findings',
      help: 'What the source does not give as it has to be captured, by effect (blind, refused, missed, weak, parked) and by table.',
      labelNames: ['effect', 'subject'],
      registers,
    });
  }
}
