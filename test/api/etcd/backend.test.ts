import { expectTypeOf, test } from 'vitest';
import type { EtcdBackend } from '../../../src/api/etcd/backend.ts';
import type { Member } from '../../../src/member/member.ts';

test('a member is what the face needs', () => {
  expectTypeOf<Member>().toExtend<EtcdBackend>();
});
