import { expect, test } from 'vitest';
import { AuthStore } from '../../../src/core/auth/auth-store.ts';
import type { Operation } from '../../../src/core/command.ts';
import type { Applied, StateMachine } from '../../../src/core/state-machine.ts';
import { StoreError } from '../../../src/lib/errors.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { Access } from '../../../src/member/auth/access.ts';
import { Accounts } from '../../../src/member/auth/accounts.ts';
import { Attempts } from '../../../src/member/auth/attempts.ts';
import { Passwords } from '../../../src/member/auth/passwords.ts';
import { SimpleTokens } from '../../../src/member/auth/simple-tokens.ts';
import { ClientCalls } from '../../../src/member/client-calls.ts';
import { Freshness } from '../../../src/member/freshness.ts';
import type { SignInOutcome } from '../../../src/member/observer.ts';
import { SILENT_OBSERVER } from '../../../src/member/observer.ts';
import type { CallContext } from '../../../src/member/proposals.ts';
import type { ReadyLoop } from '../../../src/member/ready-loop.ts';
import { systemRandom } from '../../../src/member/system.ts';
import { ManualClock } from '../manual-clock.ts';

const CONTEXT = { signal: new AbortController().signal };

/** Accounts before a log that another client's changes of the password always reach first. */
class Contended {
  readonly auth = new AuthStore(() => {});
  readonly outcomes: SignInOutcome[] = [];
  readonly accounts: Accounts;
  /** Changes that are still to come. */
  changes = 0;
  signIns = 0;
  #index = 0;
  #hash = '';

  constructor() {
    const clock = new ManualClock();
    const tokens = new SimpleTokens({ clock, random: systemRandom, ttlMs: 60_000 });
    const linearizable = async (): Promise<void> => undefined;
    const machine = { auth: this.auth, store: { currentRevision: 1 } } as unknown as StateMachine;
    const access = new Access({
      clock,
      auth: () => this.auth,
      tokens,
      appliedIndex: () => this.#index,
      linearizable,
      timeoutMs: 5_000,
      decided: () => {},
    });
    const calls = new ClientCalls({
      clusterId: 1,
      memberId: 1,
      loop: { replica: { machine }, view: { term: 1 } } as unknown as ReadyLoop,
      access,
      proposals: { propose: (operation, context) => this.#propose(operation, context) },
      reads: { linearizable },
      freshness: new Freshness({ clock, probe: () => {}, intervalMs: 100 }),
      learnerLinearizableReads: false,
      observer: SILENT_OBSERVER,
      fatal: () => {},
    });
    this.accounts = new Accounts({
      calls,
      tokens,
      passwords: new Passwords(4),
      attempts: new Attempts(clock),
      logger: silentLogger,
      signedIn: (outcome) => this.outcomes.push(outcome),
    });
  }

  async start(): Promise<void> {
    this.#hash = await new Passwords(4).hash('pw');
    this.auth.apply({ type: 'user-add', name: 'root', passwordHash: this.#hash, noPassword: false });
    this.auth.apply({ type: 'user-grant-role', name: 'root', role: 'root' });
    this.auth.apply({ type: 'auth-enable' });
  }

  signIn(): Promise<string> {
    return this.accounts.authenticate({ name: 'root', password: 'pw', address: 'a' }, CONTEXT).then(
      () => 'ok',
      (error: StoreError) => error.code,
    );
  }

  async #propose(operation: Operation, { authRevision = 0 }: CallContext): Promise<Applied> {
    if (operation.type !== 'authenticate') throw new StoreError('unimplemented');
    this.signIns += 1;
    if (this.changes > 0) {
      this.changes -= 1;
      this.auth.apply({ type: 'user-change-password', name: 'root', passwordHash: this.#hash });
    }
    this.#index += 1;
    const { name, tokenDigest } = operation;
    const refusal = this.auth.signInRefusal({ user: name, revision: authRevision });
    const result = { type: 'authenticate', user: name, tokenDigest, authRevision } as const;
    const outcome = refusal === null ? { ok: true, result } : { ok: false, code: refusal };
    return { index: this.#index, revision: 1, outcome } as unknown as Applied;
  }
}

test('a sign-in is begun anew five times while its password is changed, not for ever', async () => {
  const contended = new Contended();
  await contended.start();
  contended.changes = 5;
  expect(await contended.signIn()).toBe('ok');
  expect(contended.signIns).toBe(6);
  contended.changes = 6;
  expect(await contended.signIn()).toBe('auth-revision-old');
  expect([contended.signIns, contended.changes]).toEqual([12, 0]);
  expect(contended.outcomes).toEqual(['granted', 'failed']);
});
