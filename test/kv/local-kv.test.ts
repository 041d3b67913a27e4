import { LocalKv } from '../../src/kv/local-kv.ts';
import { kvContract } from '../contract/kv.ts';
import { MemberWorld } from './member-world.ts';

kvContract('a member in this process', () => MemberWorld.start(async ({ member }) => new LocalKv(member)));
