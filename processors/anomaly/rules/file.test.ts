import { describe, expect, test } from '@jest/globals';
import { parseRules } from './file.ts';
import { compileRule, fromRecord, parseRule, toRecord } from './parse.ts';

const YAML = `
rules:
  - id: spike
    type: volume_spike
    volume: 3x          # of the mean
    move: 0.25%
    lookback: 30
    intervals: [1m, 5m]
    severity: medium
  - id: level
    type: threshold
    of: close
    above: 70000.10000001
    clear: 69000
    symbols: [BTC/USD]
  - { id: quiet, type: stale_feed, after: 30s, enabled: false }
`;

describe('a file of rules', () => {
  test('is YAML, each value read as text: no digit of a number is lost', () => {
    const [spike, level, quiet] = parseRules(YAML).map(compileRule);
    expect(spike).toMatchObject({
      volumeMultiple: 300_000_000n,
      priceChange: 250_000n,
      lookback: 30,
      severity: 'MEDIUM',
    });
    expect(level).toMatchObject({ side: 'above', limit: 7_000_010_000_001n, clear: 6_900_000_000_000n });
    expect(quiet).toMatchObject({ after: 30_000_000n, enabled: false });
  });

  test('may be JSON, and a list by itself', () => {
    const text = '[{"id": "gap", "type": "sequence_gap", "missing": 2}]';
    expect(parseRules(text).map(compileRule)).toEqual([expect.objectContaining({ type: 'sequence_gap', missing: 2n })]);
  });

  test('gives records that say the same again', () => {
    for (const record of parseRules(YAML)) expect(toRecord(fromRecord(record))).toEqual(record);
  });

  test('is refused with everything that is wrong, by rule and field', () => {
    const text =
      '[{id: a, type: price_jump, move: 5}, {id: B, type: stale_feed, after: 30s}, {id: c, type: z_score, of: mood, score: 0}]';
    expect(() => parseRules(text)).toThrow(
      expect.objectContaining({
        code: 'RULE_INVALID',
        message: expect.stringMatching(
          /rule a: move: has to be a percentage.*\nrule B: id: has to be lower-case.*\nrule c: of: .*score: has to be/s,
        ),
      }),
    );
  });

  test.each([
    ['there twice', '[{id: a, type: stale_feed, after: 1s}, {id: a, type: stale_feed, after: 2s}]'],
    ['not YAML', '[{id: a'],
    ['a list of rules', 'nothing: here'],
    ['a list of rules', '[]'],
    ['a list of rules', ''],
    ['without id', '[7]'],
  ])('is refused: %s', (message, text) => {
    expect(() => parseRules(text)).toThrow(
      expect.objectContaining({ code: 'RULE_INVALID', message: expect.stringContaining(message) }),
    );
  });
});

describe('a rule is refused', () => {
  const spike = { id: 'a', type: 'volume_spike', volume: '3x', move: '5%' };
  const level = { id: 'a', type: 'threshold', of: 'close' };
  test.each<[string, object]>([
    ['volume: has to be a multiple such as 3x', { ...spike, volume: '3' }],
    ['volume: has to be a multiple', { ...spike, volume: 'threex' }],
    ['move: has to be a percentage', { ...spike, move: '-1%' }],
    ['move: has to be a percentage', { ...spike, move: '0.0000001%' }],
    ['lookback: has to be a whole number from 1 to 1000', { ...spike, lookback: '0' }],
    ['direction', { ...spike, direction: 'sideways' }],
    ['colour', { ...spike, colour: 'red' }],
    ['intervals.0: has to be an interval', { ...spike, intervals: ['soon'] }],
    ['volume: has to be a multiple', { ...spike, volume: undefined }],
    ['needs either above or below', level],
    ['needs either above or below', { ...level, above: '1', below: '0' }],
    ['clear has to be on the other side', { ...level, above: '1', clear: '2' }],
    ['clear has to be on the other side', { ...level, below: '1', clear: '0' }],
    ['after: has to be a time', { id: 'a', type: 'stale_feed', after: '30' }],
    ['type', { id: 'a', type: 'hunch' }],
  ])('%s: %j', (message, fields) => {
    expect(() => parseRule(fields)).toThrow(
      expect.objectContaining({ code: 'RULE_INVALID', message: expect.stringContaining(message) }),
    );
  });
});
