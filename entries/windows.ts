/** `millrace/windows`: aggregates by key and window. Late records and corrections revise them; larger windows are merged from smaller ones. */

/** Which windows an event time belongs to. */
export { type Calendar, CalendarWindows, calendar } from '../core/processor/calendars/calendar.ts';
/** The watermark of a key. Microseconds. */
export { dueAt, observe, type Progress, startProgress, watermarkAt } from '../core/processor/watermark.ts';
export type { Aggregation, Emission } from '../core/processor/windows/aggregation.ts';
export { Plan } from '../core/processor/windows/plan.ts';
export type { RecordVersion } from '../core/processor/windows/revisions/latest-versions.ts';
export type { VersionExtractor } from '../core/processor/windows/revisions/reread-cache.ts';
export type { RecordChange, WindowOutcome } from '../core/processor/windows/revisions/revision.ts';
export { type Session, Sessions, type SessionsOptions, sessionStores } from '../core/processor/windows/sessions.ts';
export { Windowed, type WindowedOptions, windowStores } from '../core/processor/windows/windowed.ts';
export {
  assign,
  hopping,
  parseWindows,
  tumbling,
  type Window,
  type Windows,
} from '../core/processor/windows/windows.ts';
