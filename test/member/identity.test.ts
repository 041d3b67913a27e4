import fc from 'fast-check';
import { expect, test } from 'vitest';
import { initialCluster } from '../../src/member/identity.ts';

const THREE = [
  { name: 'a', peerUrls: ['http://a:2380', 'http://a:2381'] },
  { name: 'b', peerUrls: ['http://b:2380'] },
  { name: 'c', peerUrls: ['http://c:2380'] },
];

test('the order of members and of their addresses does not matter: every member computes the same ids', () => {
  const [a, b, c] = THREE;
  const shuffled = [c!, { ...a!, peerUrls: [...a!.peerUrls].reverse() }, b!];
  expect(initialCluster('token', shuffled)).toEqual(initialCluster('token', THREE));
});

test('another token, address or member makes another cluster with other members', () => {
  const base = initialCluster('token', THREE);
  const others = [
    initialCluster('other', THREE),
    initialCluster('token', THREE.slice(0, 2)),
    initialCluster('token', [...THREE.slice(0, 2), { name: 'c', peerUrls: ['http://c:2390'] }]),
  ];
  for (const other of others) {
    expect(other.clusterId).not.toBe(base.clusterId);
    const known = new Set(base.members.map(({ id }) => id));
    expect(other.members.some(({ id }) => known.has(id))).toBe(false);
  }
});

test('ids are positive integers that a number holds exactly, and differ from each other', () => {
  const names = fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 9 });
  fc.assert(
    fc.property(fc.string(), names, (token, each) => {
      const members = each.map((name, i) => ({ name, peerUrls: [`http://h${i}:2380`] }));
      const cluster = initialCluster(token, members);
      const ids = [cluster.clusterId, ...cluster.members.map(({ id }) => id)];
      expect(ids.every((id) => Number.isSafeInteger(id) && id > 0)).toBe(true);
      expect(new Set(ids).size).toBe(ids.length);
    }),
  );
});

test('the ids of a known cluster never change: data directories carry them', () => {
  expect(initialCluster('token', THREE)).toMatchInlineSnapshot(`
    {
      "clusterId": 1099340657824814,
      "members": [
        {
          "id": 2931489228551422,
          "name": "a",
          "peerUrls": [
            "http://a:2380",
            "http://a:2381",
          ],
        },
        {
          "id": 3840907940691155,
          "name": "b",
          "peerUrls": [
            "http://b:2380",
          ],
        },
        {
          "id": 7822446814632103,
          "name": "c",
          "peerUrls": [
            "http://c:2380",
          ],
        },
      ],
    }
  `);
});

test('a name given twice is refused', () => {
  const twice = [THREE[0]!, { ...THREE[0]! }];
  expect(() => initialCluster('token', twice)).toThrow('bad-options');
});
