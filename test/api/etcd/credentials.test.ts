import { expect, test } from 'vitest';
import { addressOf } from '../../../src/api/etcd/credentials.ts';

test.each([
  ['192.0.2.1:5000', '192.0.2.1'],
  ['::ffff:192.0.2.1:5000', '192.0.2.1'],
  ['::1:5000', '0:0:0:0::/64'],
  ['2001:db8:1:2:3:4:5:6:5000', '2001:db8:1:2::/64'],
  ['2001:db8:1:2:ffff::9:5000', '2001:db8:1:2::/64'],
  ['2001:db8::7:5000', '2001:db8:0:0::/64'],
  ['fe80::1%eth0:5000', 'fe80:0:0:0::/64'],
  ['unknown:0', 'unknown'],
  ['', ''],
])('a client at %s counts as %s: all addresses of an IPv6 network are one', (peer, address) => {
  expect(addressOf({ peer })).toBe(address);
});
