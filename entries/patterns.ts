/** `millrace/patterns`: sequences, counts and absence of events, within a time. */
export { KeyedPattern } from '../core/processor/pattern/keyed.ts';
export {
  definePattern,
  type Pattern,
  type PatternEvent,
  type PatternOutcome,
  patternStateSchema,
} from '../core/processor/pattern/pattern.ts';
