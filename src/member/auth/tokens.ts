import type { AuthStore } from '../../core/auth/auth-store.ts';
import type { Principal } from '../../core/auth/operations.ts';
import type { CommandResult } from '../../core/outcome.ts';

/** A user who signed in, as the log told it. */
export type SignIn = Extract<CommandResult, { readonly type: 'authenticate' }>;

/** A token about to be given out: what the log is told of it, and the token itself once the index is known. */
export interface TokenOffer {
  readonly digest: string;
  readonly token: (signIn: SignIn, index: number) => string;
}

/** How clients prove, call by call, that they signed in. */
export interface Tokens {
  /**
   * A principal's revision is that of now, not of the time of signing in: a request refused because users or roles
   * changed meanwhile can be tried anew on the client's behalf.
   */
  readonly followsRevision: boolean;
  /** Tokens that this member has to remember; some may be over. */
  readonly held: number;
  /** @throws StoreError `unimplemented` when this member cannot give out tokens */
  offer(): TokenOffer;
  /** A sign-in was applied, here or anywhere. */
  signedIn(signIn: SignIn, index: number): void;
  /** The index that must be applied before the token can be judged; 0 when there is none. */
  awaitedIndex(token: string): number;
  /** Who the token is for, or null when it is none, or over. */
  identify(token: string, auth: AuthStore): Principal | null;
}
