/** Printed lines about a capture beside its state: findings, gaps, parked tables, restarts. */
import type { ConnectorStatus } from '../../../connectors/client.ts';
import type { Effect, SourceFinding } from '../../../connectors/source/findings.ts';
import type { CaptureRecord, Parked } from '../../../connectors/source/record.ts';
import { type RestartSummary, restartLine } from '../../../connectors/supervision/restarts.ts';

const words: Readonly<Record<Effect, string>> = {
  blind: 'NOT CAPTURED',
  refused: 'REFUSED',
  missed: 'MISSED',
  weak: 'weak',
};

/** Two lines for each finding. */
export function findingLines(findings: readonly SourceFinding[]): readonly string[] {
  return findings.flatMap(({ effect, cause, remedy, loses }) => [
    `${words[effect]}  ${cause}`,
    `  remedy: ${remedy}${loses ? ' Then fill the gap with: millrace connectors recapture' : ''}`,
  ]);
}

export function parkedLines(parked: Parked = {}): readonly string[] {
  return Object.entries(parked).map(
    ([table, { since, cause }]) =>
      `PARKED  ${table} since ${since}${cause === null ? '' : `, ${cause}`}; capture it again with: millrace connectors unpark ${table}`,
  );
}

/** The reason for the state STOPPED, the restarts, and the command that lets the other tables continue. */
export function connectorLines(
  status: Pick<ConnectorStatus, 'state' | 'tasks'> | undefined,
  { guard }: CaptureRecord,
  restarts: RestartSummary,
): readonly string[] {
  const lines: string[] = [];
  if (status?.state === 'STOPPED') {
    lines.push(
      guard?.stopped === true
        ? `stopped by the supervisor at ${guard.since}: ${guard.loss.reason}`
        : 'stopped by an operator, not by the supervisor; start it with: millrace connectors apply',
    );
  }
  const restarted = restartLine(restarts);
  if (restarted !== undefined) lines.push(restarted);
  if (restarts.failing || status?.tasks.some(({ state }) => state === 'FAILED') === true)
    lines.push('if one table is the cause, park it so that the others continue: millrace connectors park TABLE');
  return lines;
}

/** Whether no action is needed. A `weak` finding is reported, but the capture works. */
export function isWhole(findings: readonly SourceFinding[], record: CaptureRecord, restarts: RestartSummary): boolean {
  const parked = Object.keys(record.parked ?? {}).length > 0;
  return !parked && !restarts.failing && findings.every(({ effect }) => effect === 'weak');
}
