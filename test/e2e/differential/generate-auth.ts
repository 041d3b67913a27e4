import type { Prng } from '../../core/raft/prng.ts';
import { ROOT } from './comparison.ts';
import { key, rangeEnd } from './generate-kv.ts';
import type { Fields, Operation } from './operations.ts';
import { NOBODY } from './side.ts';

const TO_END = Buffer.from([0]);
const USERS = ['alice', 'bob', 'carol'] as const;
const ROLES = ['reader', 'writer', 'keeper'] as const;
const PASSWORDS = ['one', 'two'] as const;

/** One call on users, roles and permissions; as `root` when authentication is on. */
export function authCall(random: Prng, as?: string): Operation {
  const [method, request] = authRequest(random);
  return { type: 'call', path: `Auth/${method}`, request, ...(as === undefined ? {} : { as }) };
}

function authRequest(random: Prng): readonly [method: string, request: Fields] {
  const name = user(random);
  const role = roleName(random);
  switch (random.below(16)) {
    case 0:
    case 1:
      return ['UserAdd', { name, ...password(random) }];
    case 2:
      return ['UserGet', { name }];
    case 3:
      return ['UserList', {}];
    case 4:
      // Without root nothing could be compared any more.
      return ['UserDelete', { name: random.pick(USERS) }];
    case 5:
      return ['UserChangePassword', { name: random.pick(USERS), password: random.pick(PASSWORDS) }];
    case 6:
    case 7:
      return ['UserGrantRole', { user: name, role }];
    case 8:
      return ['UserRevokeRole', { name: random.pick(USERS), role }];
    case 9:
      return ['RoleAdd', { name: role }];
    case 10:
      return ['RoleGet', { role }];
    case 11:
      return ['RoleList', {}];
    case 12:
      return ['RoleDelete', { role: random.pick(ROLES) }];
    case 13:
      return ['RoleRevokePermission', { role, key: key(random), range_end: rangeEnd(random) }];
    default:
      return ['RoleGrantPermission', { name: role, perm: permission(random) }];
  }
}

function user(random: Prng): string {
  return random.chance(5) ? random.pick(['', 'nobody', 'root']) : random.pick(USERS);
}

function roleName(random: Prng): string {
  return random.chance(6) ? random.pick(['', 'none', 'root']) : random.pick(ROLES);
}

function password(random: Prng): Fields {
  if (random.chance(15)) return { options: { no_password: true } };
  return { password: random.chance(5) ? '' : random.pick(PASSWORDS) };
}

/** Never of an empty range: etcd 3.4 takes those, 3.6 and we refuse. */
function permission(random: Prng): Fields {
  const [from, end] = [key(random), rangeEnd(random)];
  const isEmpty =
    from.length === 0 || (end.length > 0 && !end.equals(TO_END) && Buffer.compare(from, end) >= 0);
  return {
    permType: random.below(3),
    key: from.length === 0 ? TO_END : from,
    ...(isEmpty ? {} : { range_end: end }),
  };
}

/** Switches authentication on, with every user known and most of them allowed something. */
export function enableAuth(random: Prng): Operation[] {
  const calls: readonly (readonly [string, Fields])[] = [
    ['UserAdd', ROOT],
    // Refused until root has its role.
    ['AuthEnable', {}],
    ['RoleAdd', { name: 'root' }],
    ['UserGrantRole', { user: 'root', role: 'root' }],
    ...ROLES.map((name) => ['RoleAdd', { name }] as const),
    ...USERS.map((name) => ['UserAdd', { name, password: PASSWORDS[0] }] as const),
    ...USERS.map((name) => ['UserGrantRole', { user: name, role: random.pick(ROLES) }] as const),
    ...ROLES.map((name) => ['RoleGrantPermission', { name, perm: permission(random) }] as const),
    ['AuthEnable', {}],
  ];
  return [
    ...calls.map(([method, request]) => ({ type: 'call', path: `Auth/${method}`, request }) as const),
    { type: 'login', ...ROOT },
    ...USERS.map((name) => ({ type: 'login', name, password: PASSWORDS[0] }) as const),
  ];
}

export function disableAuth(): Operation[] {
  return [
    { type: 'call', path: 'Auth/AuthDisable', request: {} },
    { type: 'login', ...ROOT },
    { type: 'call', path: 'Auth/AuthDisable', request: {}, as: ROOT.name },
  ];
}

/** In whose name something is asked; undefined: in nobody's, without a token. */
export function caller(random: Prng): string | undefined {
  if (random.chance(40)) return ROOT.name;
  if (random.chance(8)) return undefined;
  return random.chance(4) ? NOBODY : random.pick(USERS);
}

export function login(random: Prng): Operation {
  if (random.chance(20)) return { type: 'login', ...ROOT };
  return { type: 'login', name: user(random), password: random.pick([...PASSWORDS, '', 'wrong']) };
}
