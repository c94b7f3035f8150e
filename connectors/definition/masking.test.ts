import { describe, expect, test } from '@jest/globals';
import { maskedSql, maskedTable, noMasks, parseMasks } from '../../core/capture/masks.ts';
import { maskSettings, requireMaskable } from './masking.ts';

const masks = parseMasks(
  ['public.trades.conditions=mask:8', 'public.instruments.base=mask:8', 'public.trades.side=hash'],
  'pepper00',
);
const typed = (type?: string) => ({ query: async () => ({ rows: type === undefined ? [] : [{ type }] }) }) as never;

describe('masks', () => {
  test('become the connector’s settings, columns of one mask together, dots as dots', () => {
    expect(maskSettings(masks)).toEqual({
      'column.mask.with.8.chars': 'public\\.trades\\.conditions,public\\.instruments\\.base',
      'column.mask.hash.v2.SHA-256.with.salt.pepper00': 'public\\.trades\\.side',
    });
    expect(maskSettings(noMasks)).toEqual({});
  });

  test('change what of the table is compared, and leave an unmasked table as it is', () => {
    expect(maskedTable(masks, 'public.trades', ['venue', 'conditions'])).toBe(
      `(SELECT "venue" AS "venue", repeat('*', 8) AS "conditions" FROM public.trades)`,
    );
    expect(maskedTable(masks, 'public.heartbeat', ['id'])).toBe('public.heartbeat');
    expect(maskedSql(masks, 'public.trades', 'side', 's')).toBe(
      `encode(sha256(convert_to('pepper00' || s, 'UTF8')), 'hex')`,
    );
  });

  test.each([
    ['conditions=mask:8', 'is no mask'],
    ['public.trades.conditions=mask:0', 'is no mask'],
    ['public.trades.conditions=truncate:3', 'is no mask'],
    [`public.trades.x'=hash`, 'is no mask'],
  ])('that nobody understands are refused: %s', (text, reason) => {
    expect(() => parseMasks([text], 'pepper00')).toThrow(reason);
  });

  test('twice on one column, or a hash without a secret, are refused', () => {
    const once = 'public.trades.side=hash';
    expect(() => parseMasks([once, 'public.trades.side=mask:3'], 'pepper00')).toThrow('masked twice');
    expect(() => parseMasks([once], '')).toThrow('capture.maskSecret');
    expect(() => parseMasks([once], `it's a secret`)).toThrow('capture.maskSecret');
  });

  test.each([
    ['public.trades.venue=hash', 'part of a key'],
    ['public.trades.trade_id=mask:3', 'part of a key'],
    ['public.trades.executed_at=mask:3', 'the event time'],
    ['public.heartbeat.beat=mask:3', 'no captured table'],
  ])('of what holds the log together are refused: %s', async (text, reason) => {
    await expect(requireMaskable(typed('text'), parseMasks([text], 'pepper00'))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(reason),
    });
  });

  test('that Debezium would pass over in silence are refused: no such column, no text', async () => {
    const price = parseMasks(['public.trades.price=mask:3'], '');
    await expect(requireMaskable(typed(), price)).rejects.toThrow('is not there');
    await expect(requireMaskable(typed('numeric'), price)).rejects.toThrow('is numeric: only texts can be masked');
    await requireMaskable(typed('text'), masks);
  });
});
