import { expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { type Change, ChangeIdentity, parseSequence, type Sequence } from './identity.ts';

const at = (text: string): Sequence => parseSequence(text) as Sequence;
const change = (text: string, id: string, operation = 'c'): Change => ({ sequence: at(text), operation, row: { id } });

test('a sequence is two LSNs; the first is null before the first commit that was seen', () => {
  expect(parseSequence('["24023119","24023128"]')).toEqual({ commit: '24023119', lsn: '24023128' });
  expect(parseSequence('[null,"24023128"]')).toEqual({ commit: '0', lsn: '24023128' });
  expect(parseSequence('["000","0017"]')).toEqual({ commit: '0', lsn: '17' });
  expect(parseSequence('24023128')).toBeUndefined();
});

test('a change is new once; rows of one statement share a sequence and are told apart by operation and key', () => {
  const identity = new ChangeIdentity(['id']);
  expect(identity.admit(change('["9","20"]', 'a'))).toBe(true);
  expect(identity.admit(change('["9","20"]', 'a'))).toBe(false);
  expect(identity.admit(change('["9","20"]', 'b'))).toBe(true);
  expect(identity.admit(change('["9","20"]', 'a', 'u'))).toBe(true);
  expect(identity.admit(change('["9","20"]', 'b'))).toBe(false);
});

test('sequences are compared as numbers: the commit first, whatever the LSN', () => {
  const identity = new ChangeIdentity(['id']);
  expect(identity.admit(change('["9","200"]', 'a'))).toBe(true);
  expect(identity.admit(change('["10","30"]', 'b'))).toBe(true);
  expect(identity.admit(change('["9","300"]', 'c'))).toBe(false);
  expect(identity.admit(change('["10","4"]', 'd'))).toBe(false);
});

test('a snapshot of it knows what it knew, so any suffix that is delivered again is recognised', () => {
  const step = fc.record({ forward: fc.boolean(), id: fc.constantFrom('a', 'b', 'c') });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), fc.nat(30), (steps, from) => {
      let lsn = 8;
      const changes = steps.map(({ forward, id }) => {
        lsn += forward ? 1 : 0;
        return change(`["7","${lsn}"]`, id);
      });
      const first = new ChangeIdentity(['id']);
      const admitted = changes.filter((each) => first.admit(each));
      const names = changes.map(({ sequence, row }) => `${sequence.lsn}${String(row?.['id'])}`);
      expect(admitted).toHaveLength(new Set(names).size);
      const restored = new ChangeIdentity(['id'], JSON.parse(JSON.stringify(first.snapshot())));
      expect(changes.slice(from).filter((each) => restored.admit(each))).toEqual([]);
    }),
  );
});
