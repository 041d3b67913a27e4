import { expect, test } from 'vitest';
import { MalformedError, pack } from '../../../src/lib/packed.ts';
import type { Frame } from '../../../src/member/transport/frame.ts';
import {
  decodeHello,
  decodeRefusal,
  decodeWelcome,
  encodeHello,
  encodeRefusal,
  encodeWelcome,
  type Hello,
  nobody,
} from '../../../src/member/transport/handshake.ts';

const identity = {
  clusterId: 2 ** 52 + 1,
  memberId: 77,
  incarnation: 3,
  earlier: [2, 1],
  logSeq: 2 ** 33,
  peerUrls: ['http://n1:2380'],
};
const hello: Hello = { stream: 'append', sender: identity, to: 5 };

function payloadOf(frame: Frame): Buffer {
  return Buffer.concat(frame.parts).subarray(5);
}

test('hello, welcome and refusal come back equal', () => {
  for (const stream of ['append', 'heartbeat', 'request', 'snapshot'] as const) {
    expect(decodeHello(payloadOf(encodeHello({ ...hello, stream })))).toEqual({
      hello: { ...hello, stream },
    });
  }
  const probe: Hello = { stream: 'probe', sender: nobody, to: 0 };
  expect(decodeHello(payloadOf(encodeHello(probe)))).toEqual({ hello: probe });
  expect(decodeWelcome(payloadOf(encodeWelcome(identity)))).toEqual(identity);
  expect(decodeRefusal(payloadOf(encodeRefusal('removed')))).toBe('removed');
});

test('the bytes of format version 4 do not change', () => {
  expect(payloadOf(encodeHello(hello)).toString('hex')).toMatchInlineSnapshot(
    `"434e434c504545520004980105cb43300000000000014d03920201cb420000000000000091ae687474703a2f2f6e313a32333830"`,
  );
  expect(payloadOf(encodeWelcome({ ...identity, clusterId: 9 })).toString('hex')).toMatchInlineSnapshot(
    `"96094d03920201cb420000000000000091ae687474703a2f2f6e313a32333830"`,
  );
});

test('another version is answered with a reason, before anything else of it is read', () => {
  const payload = payloadOf(encodeHello(hello)).subarray(0, 10);
  payload.writeUInt16BE(9, 8);
  expect(decodeHello(payload)).toEqual({ refusal: 'format version 9 is not spoken here, version 4 is' });
});

test('only a probe may come from nobody', () => {
  const frame = encodeHello({ stream: 'append', sender: nobody, to: 5 });
  expect(() => decodeHello(payloadOf(frame))).toThrow(MalformedError);
});

test('of many addresses the first are told; more, or endless ones, are refused', () => {
  const urls = Array.from({ length: 17 }, (_, i) => `http://n${i}:2380`);
  const told = decodeWelcome(payloadOf(encodeWelcome({ ...identity, peerUrls: urls })));
  expect(told.peerUrls).toEqual(urls.slice(0, 16));
  for (const peerUrls of [urls, [`http://${'n'.repeat(1_024)}`]]) {
    const { clusterId, memberId, incarnation, earlier, logSeq } = identity;
    expect(() => decodeWelcome(pack([clusterId, memberId, incarnation, earlier, logSeq, peerUrls]))).toThrow(
      MalformedError,
    );
  }
});

test('an address that is too long is not told', () => {
  const peerUrls = [`http://${'n'.repeat(1_024)}`, 'http://n1:2380'];
  const told = decodeWelcome(payloadOf(encodeWelcome({ ...identity, peerUrls })));
  expect(told.peerUrls).toEqual(['http://n1:2380']);
});

test('a long reason is cut', () => {
  expect(decodeRefusal(payloadOf(encodeRefusal('x'.repeat(5000)))).length).toBe(512);
});
