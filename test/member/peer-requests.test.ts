import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/lib/errors.ts';
import { pack } from '../../src/lib/packed.ts';
import {
  decodePeerAnswer,
  decodePeerRequest,
  encodePeerAnswer,
  encodePeerRequest,
  type PeerAnswers,
  type PeerRequest,
} from '../../src/member/peer-requests.ts';

const natural = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const leaseId = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const bytes = fc.uint8Array({ maxLength: 64 }).map((array) => Buffer.from(array));

const caller = { user: fc.string({ unit: 'grapheme' }), authRevision: natural };

const anyRequest: fc.Arbitrary<PeerRequest> = fc.oneof(
  fc.record({ type: fc.constant('propose' as const), term: natural, commands: fc.array(bytes) }),
  fc.record({ type: fc.constant('lease-renew' as const), id: leaseId, ...caller }),
  fc.record({ type: fc.constant('lease-remaining' as const), id: leaseId }),
  fc.record({
    type: fc.constant('member-add' as const),
    peerUrls: fc.array(fc.string()),
    isLearner: fc.boolean(),
    ...caller,
  }),
  fc.record({
    type: fc.constantFrom('member-remove' as const, 'member-promote' as const),
    id: natural,
    ...caller,
  }),
  fc.record({ type: fc.constant('apply-hash' as const), index: natural }),
  fc.record({ type: fc.constant('tail-check' as const) }),
);

const ANSWERS: { readonly [T in keyof PeerAnswers]: readonly PeerAnswers[T][] } = {
  propose: ['accepted', 'refused', 'busy'],
  'lease-renew': [0, 60],
  'lease-remaining': [-1, 0, 9_000_000_000],
  'member-add': [1, 2 ** 48],
  'member-remove': [null],
  'member-promote': [null],
  'apply-hash': [null, { a: 0, b: 4_294_967_295 }],
  'tail-check': [
    { acknowledged: 0, removed: [] },
    { acknowledged: 7, removed: [3, 5] },
  ],
};
const TYPES = Object.keys(ANSWERS) as (keyof PeerAnswers)[];

/** What a decoder makes of bytes: anything but a StoreError is thrown on. */
function outcomeOf(decode: () => unknown): string {
  try {
    decode();
    return 'decoded';
  } catch (error) {
    if (error instanceof StoreError) return error.code;
    throw error;
  }
}

describe('requests', () => {
  test('come back as they went', () => {
    fc.assert(
      fc.property(anyRequest, (request) => {
        expect(decodePeerRequest(encodePeerRequest(request))).toEqual(request);
      }),
    );
  });

  test.each([
    ['nothing', pack([])],
    ['an unknown type', pack([99])],
    ['a negative type', pack([-1])],
    ['a missing field', pack([0])],
    ['an additional field', pack([7, 1])],
    ['a text for commands', pack([0, 1, ['command']])],
    ['a fraction for a term', pack([0, 1.5, []])],
    ['no array at all', pack('propose')],
  ])('%s is refused', (_, input) => {
    expect(outcomeOf(() => decodePeerRequest(input))).toBe('unimplemented');
  });
});

describe('answers', () => {
  test.each(TYPES)('to %s come back as they went', async (type) => {
    for (const answer of ANSWERS[type]) {
      const encoded = await encodePeerAnswer(type, Promise.resolve(answer));
      expect(decodePeerAnswer(type, encoded)).toEqual(answer);
    }
  });

  test('a failure arrives with its code and, once, its detail', async () => {
    const failed = Promise.reject(new StoreError('unhealthy', 'a voter is away'));
    const encoded = await encodePeerAnswer('member-add', failed);
    expect(() => decodePeerAnswer('member-add', encoded)).toThrow(
      new StoreError('unhealthy', 'a voter is away'),
    );
    const plain = await encodePeerAnswer('member-add', Promise.reject(new StoreError('not-leader')));
    expect(() => decodePeerAnswer('member-add', plain)).toThrow(new StoreError('not-leader'));
  });

  test('a bug is no answer', async () => {
    const bug = new TypeError('bug');
    await expect(encodePeerAnswer('member-remove', Promise.reject(bug))).rejects.toBe(bug);
  });

  test('an answer that is missing is never taken for a refusal, after which a proposal would be sent again', () => {
    for (const type of TYPES)
      expect(outcomeOf(() => decodePeerAnswer(type, pack([true, []])))).toBe('unimplemented');
  });
});
