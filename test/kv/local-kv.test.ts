import { LocalKv } from '../../src/kv/local-kv.ts';
import { kvContract } from '../contract/kv.ts';
import { kvAuthContract } from '../contract/kv-auth.ts';
import { MemberWorld } from './member-world.ts';

const start = (): Promise<MemberWorld> => MemberWorld.start(async ({ member }) => new LocalKv(member));

kvContract('a member in this process', start);
kvAuthContract('a member in this process', start);
