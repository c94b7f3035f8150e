import { MillraceError } from '../../core/base/errors.ts';
import { type AdminOptions, TopicAdmin } from '../../core/kafka/admin.ts';
import type { Processor } from '../../core/processor/define.ts';

/** Settings of a topic by their Kafka names, including the broker's defaults. */
type TopicSettings = Readonly<Record<string, string>>;

/**
 * Compares the retention of the inputs with the time that a processor may have to read again. A corrected trade of a window that is not
 * frozen needs the window's other trades. A missing topic is left to its readers.
 *
 * @throws MillraceError CONFIG_INVALID: names the topic and the setting.
 */
export async function requireRetention<In>(processor: Processor<In>, options: AdminOptions): Promise<void> {
  const { inputRetentionMs: neededMs } = processor;
  if (neededMs === undefined) return;
  await using admin = await TopicAdmin.open(options);
  const existing = await admin.partitions();
  const names = processor.inputs.map(({ topic }) => topic).filter((topic) => existing.has(topic));
  for (const [topic, settings] of await admin.settings(names)) {
    const short = shortfallOf(settings, neededMs);
    if (short === undefined) continue;
    throw new MillraceError(
      'CONFIG_INVALID',
      `${processor.name} may have to read ${topic} again ${neededMs} ms back, and ${short.why}`,
      { remedy: short.remedy },
    );
  }
}

/** The reason why records younger than `neededMs` may be gone; undefined if none is. */
export function shortfallOf(
  settings: TopicSettings,
  neededMs: number,
): { readonly why: string; readonly remedy: string } | undefined {
  const policies = (settings['cleanup.policy'] ?? 'delete').split(',').map((each) => each.trim());
  if (policies.includes('compact')) {
    const keptMs = Number(settings['min.compaction.lag.ms'] ?? 0);
    if (keptMs < neededMs) {
      return {
        why: `the topic is compacted: it keeps all records of a key for ${keptMs} ms (min.compaction.lag.ms)`,
        remedy: 'Raise min.compaction.lag.ms of the topic, or set its cleanup.policy to delete.',
      };
    }
  }
  if (!policies.includes('delete')) return undefined;
  const keptMs = Number(settings['retention.ms'] ?? -1);
  if (keptMs >= 0 && keptMs < neededMs) {
    return {
      why: `the topic keeps ${keptMs} ms (retention.ms)`,
      remedy: 'Raise retention.ms of the topic, or lower the allowed lateness.',
    };
  }
  const keptBytes = Number(settings['retention.bytes'] ?? -1);
  if (keptBytes < 0) return undefined;
  return {
    why: `the topic keeps ${keptBytes} bytes of each partition (retention.bytes), which may be less than that time`,
    remedy: 'Set retention.bytes of the topic to -1 (millrace topics apply does), so that only time decides.',
  };
}

const offsetsSetting = 'offsets.retention.minutes';
const minutesPerDay = 1_440;
/** Longest stop of a pipeline that needs no warning. */
const enoughDays = 90;

/** Days that Kafka keeps the offsets of a group without members: the minimum over all brokers. @throws MillraceError KAFKA_UNREACHABLE */
export async function offsetRetentionDays(admin: Pick<TopicAdmin, 'brokerSetting'>): Promise<number> {
  const minutes = [...(await admin.brokerSetting(offsetsSetting)).values()].map(Number);
  return Math.min(...minutes) / minutesPerDay;
}

/** Undefined for 90 days or more. */
export function offsetRetentionWarning(days: number): { readonly found: string; readonly remedy: string } | undefined {
  if (days >= enoughDays) return undefined;
  return {
    found: `Kafka deletes the offsets of a stopped pipeline after ${Number(days.toFixed(1))} days`,
    remedy: `Set ${offsetsSetting} of every broker to ${enoughDays * minutesPerDay} (${enoughDays} days) or more.`,
  };
}
